"""Weights by a variance that is learned for each output."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from mtlearn._sklearn import Interval
from mtlearn._typing import Floats
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["Uncertainty"]


class Uncertainty(Weighting):
    r"""Uncertainty weighting: a learned variance for each output, small where its loss is small.

    The factors are :math:`e^{-v_k}`, where the logarithm :math:`v_k` of the variance of output k
    begins at 0 and goes down the gradient of :math:`\frac{1}{2} L_k e^{-v_k} + \frac{1}{2} v_k`:

    .. math:: v_k \leftarrow \min(\max(v_k - \tfrac{\eta}{2} (1 - L_k e^{-v_k}), -c), c),

    with the loss :math:`L_k` of the batch, the `learning_rate` :math:`\eta` and the `limit`
    :math:`c`. A loss that stays has :math:`v_k = \log L_k` in the end, so that all outputs count
    the same; `LogSum` has these factors at once.

    Parameters
    ----------
    learning_rate : float, default=0.05
        The size of the steps of the variances, which the network's optimizer and its learning rate
        have no part in. They are not drawn towards 0 by any penalty.
    limit : float, default=3.0
        The largest size of :math:`v_k`: the factors are between :math:`e^{-c}` and :math:`e^c`.
        Without it they would grow without end on an output whose loss goes to 0.

    See Also
    --------
    mtlearn.weighting.LogSum : The same in the end, without anything to learn.

    Notes
    -----
    The variance of an output whose loss is 0 in a batch, which has no labels there, stays as it is.

    References
    ----------
    Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene
    Geometry and Semantics", 2018. Their factors are :math:`e^{-v_k} / 2` for numbers and
    :math:`e^{-v_k}` for classes; here they are 1 for all outputs at :math:`v_k = 0`. The network's
    optimizer learns their variances, which have no limit.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import Uncertainty
    >>> weigher = Uncertainty(learning_rate=0.5).begin(np.ones(2), main=None, seed=0)
    >>> for _ in range(200):
    ...     factors = weigher.factors(np.array([0.5, 2.0]), None)
    >>> factors.round(3)
    array([2. , 0.5])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "limit": [Interval(Real, 0, 50, closed="both")],
    }

    def __init__(self, learning_rate: float = 0.05, limit: float = 3.0) -> None:
        self.learning_rate = learning_rate
        self.limit = limit

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what holds the variances."""
        return UncertaintyWeigher(len(weights), self.learning_rate, self.limit)


class UncertaintyWeigher(Weigher):
    """The logarithms of the variances."""

    def __init__(self, n_outputs: int, learning_rate: float, limit: float) -> None:
        super().__init__(n_outputs)
        self.learning_rate = learning_rate
        self.limit = limit
        self.log_variances = np.zeros(n_outputs)

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return the factors, and learn from the losses."""
        factors = np.exp(-self.log_variances)
        slopes = np.where(losses == 0, 0.0, (1 - losses * factors) / 2)
        moved = self.log_variances - self.learning_rate * slopes
        self.log_variances = np.minimum(np.maximum(moved, -self.limit), self.limit)
        return factors
