"""torchjd's strategies: its weightings of gradients, and the aggregators that are built of one."""

import copy
from typing import Any

import numpy as np
import torch

from mtlearn._optional import import_optional
from mtlearn._random import seeded
from mtlearn._typing import Floats
from mtlearn._validation import naming
from mtlearn.weighting._gramian import nonzero
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["TorchJD", "is_torchjd"]

INSTALL = '"scikit-mtlearn[torchjd]"'


def is_torchjd(value: Any) -> bool:
    """Tell whether an object is of a class of torchjd, or of one derived from such a class."""
    return any(base.__module__.partition(".")[0] == "torchjd" for base in type(value).__mro__)


class TorchJD(Weighting):
    """A strategy of the package torchjd.

    Its weights are the factors, as they are: torchjd's own scale.

    Parameters
    ----------
    weighting : torchjd.aggregation.Weighting or torchjd.aggregation.WeightedAggregator
        A weighting that takes the matrix of scalar products of the gradients (in torchjd's words
        their Gramian), or an aggregator that is built of a weighting. One that is built of a
        weighting of the gradients themselves sees the symmetric square root of this matrix in
        their place, which has the same scalar products.

    Notes
    -----
    The object is a template: it is copied, and what the copy remembers is reset at the beginning. A
    gradient that is 0, such as that of an output without labels in the batch, is shown as one of
    middle length that is orthogonal to all others, which disturbs none of them.
    """

    sees_gradients = True

    def __init__(self, weighting: Any) -> None:
        self.weighting = weighting

    def check_params(self) -> None:
        """Raise unless the parameter is a weighting or an aggregator that is built of one.

        Raises
        ------
        ImportError
            If torchjd is not installed.
        TypeError
            For anything else.
        """
        super().check_params()
        aggregation = _aggregation()
        if not isinstance(self.weighting, aggregation.Weighting | aggregation.WeightedAggregator):
            name = getattr(type(self.weighting), "__name__", repr(self.weighting))
            raise TypeError(
                f"`weighting` must be a weighting of torchjd, or an aggregator of it that is built "
                f"of a weighting (a WeightedAggregator). Got an object of the class {name}, which "
                f"gives no weights for the gradients."
            )

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return a copy of the torchjd object."""
        aggregation, weighting, of_gradients = _aggregation(), self.weighting, False
        if isinstance(weighting, aggregation.GramianWeightedAggregator):
            weighting = weighting.gramian_weighting
        elif isinstance(weighting, aggregation.WeightedAggregator):
            weighting, of_gradients = weighting.weighting, True
        weighting = _in_doubles(copy.deepcopy(weighting))
        if hasattr(weighting, "reset"):
            weighting.reset()
        return TorchJDWeigher(len(weights), weighting, of_gradients, seed)


class TorchJDWeigher(Weigher):
    """The copy of the torchjd object, and a generator for what it draws."""

    def __init__(self, n_outputs: int, weighting: Any, of_gradients: bool, seed: int) -> None:
        super().__init__(n_outputs)
        self.weighting = weighting
        self.of_gradients = of_gradients
        self.generator = np.random.default_rng(seed)

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return torchjd's weights for the gradients; ones for those that are 0."""
        assert products is not None
        factors, present = np.ones(self.n_outputs), nonzero(products)
        if not present.any():
            return factors
        squares = np.diagonal(products)
        matrix = np.where(np.outer(present, present), products, 0.0)
        np.fill_diagonal(matrix, np.where(present, squares, squares[present].mean()))
        if self.of_gradients:
            matrix = _square_root(matrix)
        name = type(self.weighting).__name__
        with naming(f"torchjd's {name}"), torch.no_grad(), seeded(self._seed()):
            weights = self.weighting(torch.from_numpy(matrix)).double().cpu().numpy()
        if not np.isfinite(weights).all():
            raise ValueError(
                f"torchjd's {name} gave weights that are not finite, {weights}, for gradients of "
                f"the lengths {np.sqrt(np.diagonal(products))}; choose another strategy."
            )
        factors[present] = weights[present]
        return factors

    def _seed(self) -> int:
        return int(self.generator.integers(2**63))


def _aggregation() -> Any:
    return import_optional("torchjd.aggregation", needed_by="`weighting`", install=INSTALL)


def _in_doubles(weighting: Any) -> Any:
    """Return the object with all numbers that it holds, such as preferences, in float64."""
    for module in weighting.double().modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                vars(module)[name] = value.double()
    return weighting


def _square_root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
