"""Weights that make the total a sum of logarithms."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from mtlearn._sklearn import Interval
from mtlearn._typing import Floats
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["LogSum"]


class LogSum(Weighting):
    r"""Sum of logarithms: every output counts by the ratio in which its loss falls.

    The factors are :math:`1 / \max(L_k, f)` with the loss :math:`L_k` of output k in the batch and
    the `floor` :math:`f`: where no loss is below the floor, the steps go down the gradient of

    .. math:: \sum_k w_k \log L_k,

    with the weights :math:`w_k` in ``loss_weights``. A loss that is multiplied by a constant
    changes nothing then.

    Parameters
    ----------
    floor : float, default=0.05
        Losses below it, and below 0, count as it: no factor is above :math:`1 / f`.

    See Also
    --------
    mtlearn.weighting.Uncertainty : Comes to these factors slowly.

    Notes
    -----
    The factor of an output whose loss is 0 in a batch, which has no labels there, is 1.

    References
    ----------
    Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
    Multi-Task Learning", 2019, minimise the geometric mean of the losses, which has the same
    minimum. The factors are those of Kendall et al., 2018, at the best variances. The floor is not
    in either.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import LogSum
    >>> weigher = LogSum().begin(np.ones(3), main=None, seed=0)
    >>> weigher.factors(np.array([0.5, 2.0, 0.001]), None)
    array([ 2. ,  0.5, 20. ])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "floor": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, floor: float = 0.05) -> None:
        self.floor = floor

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what divides by the losses."""
        return LogSumWeigher(len(weights), self.floor)


class LogSumWeigher(Weigher):
    """Nothing but the floor."""

    def __init__(self, n_outputs: int, floor: float) -> None:
        super().__init__(n_outputs)
        self.floor = floor

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return one over each loss."""
        return np.where(losses == 0, 1.0, 1 / np.maximum(losses, self.floor))
