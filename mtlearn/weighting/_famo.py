"""Weights by what the last steps did to each loss."""

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from mtlearn._sklearn import Interval
from mtlearn._typing import Floats
from mtlearn.weighting._softmax import softmax
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["FAMO"]

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # Adam's usual ones


class FAMO(Weighting):
    r"""Fast adaptive multitask optimization: losses that fall slowly in ratio get more weight.

    With the losses :math:`L_k` of a batch, :math:`D_k = \max(L_k, f)` and
    :math:`z = \mathrm{softmax}(\xi)` the factors are

    .. math:: K \frac{z_k / D_k}{\sum_j z_j / D_j},

    K the number of outputs and :math:`f` the `floor`. After the step the losses of the same batch
    are found again, which takes a forward pass, and :math:`\xi`, which begins at 0, takes a step of
    Adam along

    .. math:: -(J^T d + \gamma \xi), \qquad d_k = \log D_k - \log D_k', \qquad
        (J^T d)_k = z_k \Bigl(d_k - \sum_j z_j d_j\Bigr),

    with :math:`D_k'` of the losses after the step, the Jacobian J of the softmax and the `decay`
    :math:`\gamma`. The directions do not change when a loss is multiplied by a constant, as long as
    none is below the floor.

    Parameters
    ----------
    learning_rate : float, default=0.025
        The size of the steps of :math:`\xi`.
    decay : float, default=0.001
        How much :math:`\xi` is drawn to 0.
    floor : float, default=0.05
        Losses below it, and below 0, count as it.

    Notes
    -----
    An output whose loss is 0 in a batch, which has no labels there, is left out of the step: its
    factor is 1, its :math:`\xi_k` stays, and K and the sums are those of the others.

    References
    ----------
    Liu, Feng, Stone and Liu, "FAMO: Fast Adaptive Multitask Optimization", 2023. Their factors have
    the sum 1 instead of K; here they are all 1 for equal losses at the beginning. Their bounds of
    the losses are 0 here; the floor is not in their work.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import FAMO
    >>> weigher = FAMO().begin(np.ones(2), main=None, seed=0)
    >>> losses, after = np.array([1.0, 1.0]), np.array([0.5, 1.0])
    >>> weigher.factors(losses, None)
    array([1., 1.])
    >>> weigher.end_step(losses, lambda: after)
    >>> weigher.factors(losses, None).round(3)
    array([0.975, 1.025])
    """

    sees_step_results = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "decay": [Interval(Real, 0, None, closed="left")],
        "floor": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self, learning_rate: float = 0.025, decay: float = 0.001, floor: float = 0.05
    ) -> None:
        self.learning_rate = learning_rate
        self.decay = decay
        self.floor = floor

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what learns from the steps."""
        return FAMOWeigher(len(weights), self.learning_rate, self.decay, self.floor)


class FAMOWeigher(Weigher):
    """The logits of the weights, and the moments and step counts of Adam for each of them."""

    def __init__(self, n_outputs: int, learning_rate: float, decay: float, floor: float) -> None:
        super().__init__(n_outputs)
        self.learning_rate = learning_rate
        self.decay = decay
        self.floor = floor
        self.logits, self.first, self.second = np.zeros((3, n_outputs))
        self.n_steps = np.zeros(n_outputs)

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return the factors of the step."""
        factors, present = np.ones(self.n_outputs), losses != 0
        if present.any():
            shares = softmax(self.logits[present]) / self._bounded(losses[present])
            factors[present] = len(shares) * shares / shares.sum()
        return factors

    def end_step(self, losses: Floats, after: Callable[[], Floats]) -> None:
        """Take a step of Adam on the logits."""
        present = losses != 0
        if not present.any():
            return
        shares = softmax(self.logits[present])
        before, now = self._bounded(losses[present]), self._bounded(after()[present])
        fall = np.log(before) - np.log(now)
        slopes = shares * (fall - shares @ fall) + self.decay * self.logits[present]
        self.n_steps[present] += 1
        self.first[present] += (1 - BETA1) * (slopes - self.first[present])
        self.second[present] += (1 - BETA2) * (slopes**2 - self.second[present])
        first = self.first / (1 - BETA1 ** np.maximum(self.n_steps, 1))
        second = self.second / (1 - BETA2 ** np.maximum(self.n_steps, 1))
        self.logits[present] -= (self.learning_rate * first / (np.sqrt(second) + EPS))[present]

    def _bounded(self, losses: Floats) -> Floats:
        return np.maximum(losses, self.floor)
