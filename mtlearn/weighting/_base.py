"""What every schedule does: give the weight of a loss in each epoch."""

from abc import ABC, abstractmethod

from mtlearn._params import Part

__all__ = ["Schedule"]


class Schedule(Part, ABC):
    """The weight of an output's loss as a function of the epoch.

    Any function of the epoch will do in its place; a schedule is one with parameters, which a
    search can set by name: ``loss_weights__aux__start``.
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
