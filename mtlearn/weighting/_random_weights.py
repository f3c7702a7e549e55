"""Weights that are drawn anew in every step."""

import numpy as np

from mtlearn._typing import Floats
from mtlearn.weighting._softmax import softmax
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["RandomWeights"]


class RandomWeights(Weighting):
    r"""Random weights in every step: the control that any other strategy has to beat.

    The factors are :math:`K \,\mathrm{softmax}(z)` with K independent standard normal :math:`z_k`,
    K the number of outputs. Their mean over the steps is 1 for each output.

    References
    ----------
    Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task
    Learning", 2022. Their factors have the sum 1 instead of K.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import RandomWeights
    >>> weigher = RandomWeights().begin(np.ones(2), main=None, seed=0)
    >>> weigher.factors(np.ones(2), None).round(3)
    array([1.128, 0.872])
    """

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what draws the factors."""
        return RandomWeigher(len(weights), seed)


class RandomWeigher(Weigher):
    """A generator."""

    def __init__(self, n_outputs: int, seed: int) -> None:
        super().__init__(n_outputs)
        self.generator = np.random.default_rng(seed)

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return factors that are drawn."""
        return self.n_outputs * softmax(self.generator.normal(size=self.n_outputs))
