"""What weights that go from one value to another share."""

from numbers import Integral, Real
from typing import Any, ClassVar

from mtlearn._sklearn import Interval
from mtlearn.weighting._base import Schedule

__all__ = ["Between"]


class Between(Schedule):
    """A weight that goes from one value to another, and stays.

    Parameters
    ----------
    start : float
        The weight in epoch 0.
    end : float, default=0.0
        The weight from epoch `epochs` on.
    epochs : int, default=20
        How many epochs the change takes.
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
