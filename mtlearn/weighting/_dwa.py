"""Weights by how fast the losses fall."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from mtlearn._sklearn import Interval
from mtlearn._typing import Floats
from mtlearn.weighting._softmax import softmax
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["DWA"]


class DWA(Weighting):
    r"""Dynamic weight average: outputs whose losses fall slowly get more weight.

    In epoch t the factors are :math:`K \,\mathrm{softmax}(r / T)` with
    :math:`r_k = L_k(t-1) / L_k(t-2)`, where :math:`L_k(t)` is the mean training loss of output k in
    epoch t, K the number of outputs and T the temperature. They are 1 in the first two epochs.

    Parameters
    ----------
    temperature : float, default=2.0
        How even the weights are; large for nearly equal ones.

    References
    ----------
    Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", 2019. Where they begin
    with :math:`r_k = 1`, as here, the first losses of others may differ.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import DWA
    >>> weigher = DWA().begin(np.ones(2), main=None, seed=0)
    >>> for losses in ([1.0, 1.0], [0.5, 0.9]):
    ...     weigher.end_epoch(np.array(losses))
    >>> weigher.factors(np.ones(2), None).round(3)
    array([0.9, 1.1])
    """

    sees_steps = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, temperature: float = 2.0) -> None:
        self.temperature = temperature

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what remembers the losses of two epochs."""
        return DWAWeigher(len(weights), self.temperature)


class DWAWeigher(Weigher):
    """The mean losses of the last two epochs."""

    def __init__(self, n_outputs: int, temperature: float) -> None:
        super().__init__(n_outputs)
        self.temperature = temperature
        self.last: list[Floats] = []

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return the factors of the epoch."""
        if len(self.last) < 2:
            return np.ones(self.n_outputs)
        before, last = self.last
        ratios = np.divide(last, before, out=np.ones(self.n_outputs), where=before > 0)
        return self.n_outputs * softmax(ratios / self.temperature)

    def end_epoch(self, losses: Floats) -> None:
        """Take note of the mean losses."""
        self.last = [*self.last, np.asarray(losses, dtype=np.float64)][-2:]
