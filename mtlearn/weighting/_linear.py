"""A weight that changes by the same amount in every epoch."""

from mtlearn.weighting._between import Between

__all__ = ["Linear"]


class Linear(Between):
    r"""A weight that goes from one value to another in equal steps.

    In epoch :math:`t` it is :math:`s + (e - s) \min(t / n, 1)`, with `start` :math:`s`, `end`
    :math:`e` and `epochs` :math:`n`.

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
    Lee et al., "Deeply-Supervised Nets", 2015, lower the weights of auxiliary outputs to 0 so.

    Examples
    --------
    >>> from mtlearn.weighting import Linear
    >>> [round(Linear(0.3, epochs=3)(epoch), 3) for epoch in range(5)]
    [0.3, 0.2, 0.1, 0.0, 0.0]
    """

    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch; see `Schedule`."""
        share = min(epoch / self.epochs, 1.0)
        return float(self.start + (self.end - self.start) * share)
