"""A weight that changes along half a wave of the cosine."""

import math

from mtlearn.weighting._between import Between

__all__ = ["Cosine"]


class Cosine(Between):
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

    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch; see `Schedule`."""
        share = min(epoch / self.epochs, 1.0)
        return float(self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2)
