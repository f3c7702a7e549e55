"""What callbacks may ask of a net while it trains: its predictions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from skorch import NeuralNet

from mtlearn._engine._predict import raw_outputs
from mtlearn._typing import Array
from mtlearn.heads import ClassHead, Head
from mtlearn.targets import Targets

__all__ = ["Predicting"]


class Predicting(NeuralNet):
    """A skorch net that predicts all outputs by name, as scoring callbacks ask for them.

    Attributes
    ----------
    heads : mapping of str to Head
        The fitted heads of all outputs.
    """

    heads: Mapping[str, Head]
    module_: Any
    criterion_: Any

    def predict(self, X: Array) -> Targets:
        """Predict all outputs."""
        raw = self._raw_outputs(X)
        return Targets({name: head.decode(raw[name]) for name, head in self.heads.items()})

    def predict_proba(self, X: Array) -> Targets:
        """Predict the class probabilities of the outputs that have classes."""
        raw = self._raw_outputs(X)
        classes = {name: head for name, head in self.heads.items() if isinstance(head, ClassHead)}
        return Targets({name: head.decode_proba(raw[name]) for name, head in classes.items()})

    def _raw_outputs(self, X: Array) -> dict[str, Array]:
        module = self.module_
        training = module.training
        try:
            raw = raw_outputs(module.eval(), self.heads, np.asarray(X), self.criterion_.dtype)
        finally:
            module.train(training)
        return raw
