"""A weight that changes along half a wave of the cosine."""

import math
from numbers import Integral, Real
from typing import Any, ClassVar

from mtlearn._sklearn import Interval
from mtlearn.weighting._base import Schedule

__all__ = ["Cosine"]


class Cosine(Schedule):
    r"""A weight that goes from one value to another, slowly at both ends.

    In epoch :math:`t` it is :math:`e + (s - e) (1 + \cos(\pi \min(t / n, 1))) / 2`, with `start`
    :math:`s`, `end` :math:`e` and `epochs` :math:`n`.

    Parameters
    ----------
    start : float
        The weight in epoch 0.
    end : float, default=0.0
        The weight from epoch `epochs` on.
    epochs : int, default=20
        How many epochs the change takes.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017 (there for
    the learning rate).

    Examples
    --------
    >>> from mtlearn.weighting import Cosine
    >>> [round(Cosine(0.3, epochs=3)(epoch), 3) for epoch in range(5)]
    [0.3, 0.225, 0.075, 0.0, 0.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "start": [Interval(Real, 0, None, closed="left")],
        "end": [Interval(Real, 0, None, closed="left")],
        "epochs": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, start: float, end: float = 0.0, epochs: int = 20) -> None:
        self.start = start
        self.end = end
        self.epochs = epochs

    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch; see `Schedule`."""
        share = min(epoch / self.epochs, 1.0)
        return float(self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2)
