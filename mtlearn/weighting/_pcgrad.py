"""Gradients without what conflicts with another output's."""

import numpy as np

from mtlearn._typing import Floats
from mtlearn.weighting._gramian import GramianWeigher
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["PCGrad"]


class PCGrad(Weighting):
    r"""Projecting conflicting gradients: each gives up what goes against another.

    The update of what the outputs share in the trunk is :math:`\sum_k p_k`. Each :math:`p_k` begins
    as the gradient :math:`g_k` of the weighted loss of output k. Then, over the other outputs j in
    a random order,

    .. math:: p_k \leftarrow p_k - \frac{\min(p_k \cdot g_j, 0)}{g_j \cdot g_j}\, g_j.

    Where no two gradients conflict it is the plain sum: all factors are 1.

    Notes
    -----
    Found from the scalar products of the gradients alone. Gradients that are 0 take no part.

    References
    ----------
    Yu et al., "Gradient Surgery for Multi-Task Learning", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import PCGrad
    >>> weigher = PCGrad().begin(np.ones(2), main=None, seed=0)
    >>> gradients = np.array([[1.0, 0.0], [-1.0, 1.0]])
    >>> factors = weigher.factors(np.ones(2), gradients @ gradients.T)
    >>> factors
    array([2. , 1.5])
    >>> factors @ gradients
    array([0.5, 1.5])
    """

    sees_gradients = True

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what draws the orders."""
        return PCGradWeigher(len(weights), seed)


class PCGradWeigher(GramianWeigher):
    """A generator of orders."""

    def __init__(self, n_outputs: int, seed: int) -> None:
        super().__init__(n_outputs)
        self.generator = np.random.default_rng(seed)

    def combine(self, norms: Floats, cosines: Floats) -> Floats:
        """Return the sums of the coefficients of each gradient in all projections."""
        total = np.zeros(len(norms))
        for k, norm in enumerate(norms):
            projected = np.zeros(len(norms))  # coefficients of the gradients of length 1
            projected[k] = norm
            order = self.generator.permutation(len(norms))
            for j in order[order != k]:
                projected[j] -= min(projected @ cosines[j], 0.0)
            total += projected
        return total / norms
