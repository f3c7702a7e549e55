"""A weight that is multiplied every so many epochs."""

from numbers import Integral, Real
from typing import Any, ClassVar

from mtlearn._sklearn import Interval
from mtlearn.weighting._base import Schedule

__all__ = ["Step"]


class Step(Schedule):
    r"""A weight that is multiplied by a factor every so many epochs.

    In epoch :math:`t` it is :math:`s f^{\lfloor t / n \rfloor}`, with `start` :math:`s`, `factor`
    :math:`f` and `epochs` :math:`n`.

    Parameters
    ----------
    start : float
        The weight in epoch 0.
    factor : float, default=0.5
        What it is multiplied by.
    epochs : int, default=10
        How many epochs a weight is kept.

    References
    ----------
    torch's StepLR does the same to the learning rate.

    Examples
    --------
    >>> from mtlearn.weighting import Step
    >>> [round(Step(0.4, factor=0.5, epochs=2)(epoch), 3) for epoch in range(5)]
    [0.4, 0.4, 0.2, 0.2, 0.1]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "start": [Interval(Real, 0, None, closed="left")],
        "factor": [Interval(Real, 0, None, closed="left")],
        "epochs": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, start: float, factor: float = 0.5, epochs: int = 10) -> None:
        self.start = start
        self.factor = factor
        self.epochs = epochs

    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch; see `Schedule`."""
        return float(self.start * self.factor ** (epoch // self.epochs))
