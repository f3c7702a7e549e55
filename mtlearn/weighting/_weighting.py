"""What every weighting does: weigh the outputs' losses against each other, step by step."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from mtlearn._params import Part
from mtlearn._typing import Floats

__all__ = ["Weigher", "Weighting"]


class Weighting(Part, ABC):
    """A strategy that weighs the losses of several outputs while they are learned.

    It never sees the network. A weighting is a specification; what it remembers of one training is
    in the `Weigher` that `begin` makes. Its factors multiply the weights in ``loss_weights``.

    Attributes
    ----------
    sees_gradients : bool
        Whether its factors depend on the gradients of the outputs' losses for what they share in
        the trunk, which takes a backward pass for each output. They are for the trunk alone then:
        what belongs to one output is trained by its own loss, with the weight in ``loss_weights``.
    sees_steps : bool
        Whether its factors change within an epoch.
    sees_step_results : bool
        Whether it is told the losses of a batch after the step too, which takes a forward pass.
    """

    sees_gradients: ClassVar[bool] = False
    sees_steps: ClassVar[bool] = True
    sees_step_results: ClassVar[bool] = False

    @abstractmethod
    def begin(self, weights: Floats, main: int | None, seed: int) -> "Weigher":
        """Return what weighs the losses of one training.

        Parameters
        ----------
        weights : ndarray of shape (n_outputs,)
            The weights in ``loss_weights`` of the outputs that are trained, in the order of their
            names.
        main : int or None
            The position of the main output; None if there is none.
        seed : int
            Seeds what it draws.

        Returns
        -------
        Weigher
            Its state, at the beginning.
        """


class Weigher:
    """The state of a weighting in one training: numpy arrays and plain values, to be pickled.

    Parameters
    ----------
    n_outputs : int
        The number of outputs.
    """

    def __init__(self, n_outputs: int) -> None:
        self.n_outputs = n_outputs

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return what to multiply the weights of the losses by in a step.

        Parameters
        ----------
        losses : ndarray of shape (n_outputs,)
            The losses of the batch; 0 for an output without labels in it.
        products : ndarray of shape (n_outputs, n_outputs) or None
            The scalar products of the gradients of the weighted losses for what the outputs share;
            None unless the weighting sees gradients.

        Returns
        -------
        ndarray of shape (n_outputs,)
            The factors; here ones.
        """
        return np.ones(self.n_outputs)

    def end_step(self, losses: Floats, after: Callable[[], Floats]) -> None:
        """Take note of a step.

        Parameters
        ----------
        losses : ndarray of shape (n_outputs,)
            The losses of the batch before it.
        after : callable
            Returns those after it.
        """

    def end_epoch(self, losses: Floats) -> None:
        """Take note of an epoch.

        Parameters
        ----------
        losses : ndarray of shape (n_outputs,)
            The mean losses of its steps.
        """
