"""What every schedule does: give the weight of a loss in each epoch."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from numbers import Real
from typing import Any

from mtlearn._params import Part

__all__ = ["Schedule", "is_weight", "weight_at"]


class Schedule(Part, ABC):
    """The weight of an output's loss as a function of the epoch.

    Any function of the epoch will do in its place; a schedule is one with parameters, which a
    search can set by name: ``loss_weights__aux__start``. An estimator with a lambda cannot be
    pickled; one with a schedule can, or with a function that can be imported.
    """

    @abstractmethod
    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch.

        Parameters
        ----------
        epoch : int
            The epoch, counted from 0 over all fits that go on from each other; of a stream, the
            piece.

        Returns
        -------
        float
            The weight, at least 0.
        """


def weight_at(schedule: Callable[[int], Any], epoch: int, subject: str) -> float:
    """Return the weight that a function gives for an epoch.

    Parameters
    ----------
    schedule : callable
        A schedule, or any function of the epoch.
    epoch : int
        The epoch, counted from 0.
    subject : str
        The beginning of messages.

    Returns
    -------
    float
        The weight.

    Raises
    ------
    ValueError
        If the function raises an error, or gives anything but a finite number of at least 0.
    """
    try:
        weight = schedule(epoch)
    except Exception as error:
        raise ValueError(
            f"{subject} must be a function of the epoch, the number 0, 1, ... It raised "
            f"{type(error).__name__} for epoch {epoch}: {error}"
        ) from error
    if not is_weight(weight):
        raise ValueError(
            f"{subject} must give finite numbers of at least 0. Got {weight!r} for epoch {epoch}."
        )
    return float(weight)


def is_weight(value: Any) -> bool:
    """Tell whether a value is a number that a loss can be multiplied by."""
    try:
        return isinstance(value, Real) and 0 <= float(value) < inf
    except OverflowError:  # an integer that no float can hold
        return False
