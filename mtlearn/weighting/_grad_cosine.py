"""Weights by whether an auxiliary output pulls the way of the main one."""

from typing import Any, ClassVar

import numpy as np

from mtlearn._typing import Floats
from mtlearn.weighting._gramian import nonzero
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["GradCosine"]


class GradCosine(Weighting):
    r"""Gradient cosine: auxiliary outputs teach the trunk only where they agree with the main one.

    With the gradient :math:`g_m` of the main output's weighted loss for what the outputs share in
    the trunk, and :math:`g_a` of an auxiliary one's, the update is

    .. math:: g_m + \sum_a \max(0, \cos(g_m, g_a))\, g_a.

    It never goes against the main output's gradient, and multiplying a loss changes no cosine. Of
    one batch cosines are noisy: large batches help.

    Parameters
    ----------
    hard : bool, default=False
        Take an auxiliary gradient whole where the cosine is above 0, in place of a share of it.

    Notes
    -----
    It needs a ``main_output``. In a batch without labels of it there is nothing to agree with: all
    factors are 1.

    References
    ----------
    Du et al., "Adapting Auxiliary Losses Using Gradient Similarity", 2018: the weighted version;
    with `hard` the unweighted one.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import GradCosine
    >>> weigher = GradCosine().begin(np.ones(3), main=0, seed=0)
    >>> gradients = np.array([[1.0, 0.0], [3.0, 4.0], [-1.0, 1.0]])
    >>> weigher.factors(np.ones(3), gradients @ gradients.T)
    array([1. , 0.6, 0. ])
    """

    sees_gradients = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"hard": ["boolean"]}

    def __init__(self, hard: bool = False) -> None:
        self.hard = hard

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what looks at the angles.

        Raises
        ------
        ValueError
            If there is no main output.
        """
        if main is None:
            raise ValueError(
                "GradCosine needs a main output that the others can agree with, of a weight above "
                "0. There is none; set `main_output` to its name."
            )
        return GradCosineWeigher(len(weights), main, self.hard)


class GradCosineWeigher(Weigher):
    """The position of the main output."""

    def __init__(self, n_outputs: int, main: int, hard: bool) -> None:
        super().__init__(n_outputs)
        self.main = main
        self.hard = hard

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return the cosines where they are above 0."""
        assert products is not None
        factors, present = np.ones(self.n_outputs), nonzero(products)
        if not present[self.main]:
            return factors
        norms = np.sqrt(np.diagonal(products)[present])
        cosines = products[self.main, present] / norms / np.sqrt(products[self.main, self.main])
        factors[present] = cosines > 0 if self.hard else np.clip(cosines, 0, 1)
        factors[self.main] = 1
        return factors
