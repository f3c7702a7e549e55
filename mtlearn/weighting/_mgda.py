"""The shortest mixture of the gradients."""

import numpy as np

from mtlearn._typing import Floats
from mtlearn.weighting._gramian import GramianWeigher
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["MGDA"]

TOLERANCE = 1e-12


class MGDA(Weighting):
    r"""Multiple-gradient descent: the shortest mixture of the gradients, which lowers every loss.

    The factors are :math:`K a_k` with

    .. math:: a = \arg\min \Bigl\| \sum_k a_k g_k \Bigr\|^2, \qquad a_k \ge 0, \quad
        \sum_k a_k = 1,

    where :math:`g_k` is the gradient of the weighted loss of output k for what the outputs share in
    the trunk, and K their number. A small step along this mixture raises no loss; it is 0 where no
    direction lowers all of them. Equal gradients have the plain sum for an update.

    Notes
    -----
    The output with the shortest gradient has the most say: an output that is learned already holds
    the others back, and multiplying a loss changes the direction. The minimum is found exactly, for
    two outputs by its formula, for more by a search over the sets of outputs that take part.
    Gradients that are 0, such as those of outputs without labels in the batch, take no part.

    References
    ----------
    Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", 2012;
    Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", 2018. Their update is
    shorter by 1/K.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import MGDA
    >>> weigher = MGDA().begin(np.ones(2), main=None, seed=0)
    >>> gradients = np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> weigher.factors(np.ones(2), gradients @ gradients.T).round(3)
    array([0.2, 1.8])
    """

    sees_gradients = True

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what finds the mixture."""
        return MGDAWeigher(len(weights))


class MGDAWeigher(GramianWeigher):
    """Nothing to remember."""

    def combine(self, norms: Floats, cosines: Floats) -> Floats:
        """Return the mixture's coefficients, times their number."""
        # In multiples x = a * norm / h of the gradients of length 1, whatever the lengths are:
        # the least x' C x with h' x = 1, from the least x' C x + (h' x - 1)^2 by its direction.
        h = norms.min() / norms
        if len(norms) == 2:
            shares = np.maximum(h * (h - cosines[0, 1] * h[::-1]), 0)
            coefficients = shares if shares.any() else np.ones(2)
        else:
            coefficients = _nonnegative_least_squares(cosines + np.outer(h, h), h) * h
        return len(norms) * coefficients / coefficients.sum()


def _nonnegative_least_squares(matrix: Floats, target: Floats) -> Floats:
    """Return the least x' A x / 2 - b' x with no negative x, by Lawson and Hanson's active sets."""
    x, free = np.zeros(len(target)), np.zeros(len(target), dtype=bool)
    for _ in range(10 * len(target)):
        slopes = np.where(free, -np.inf, target - matrix @ x)
        if slopes.max() <= TOLERANCE:
            break
        free[slopes.argmax()] = True
        while free.any():
            best = np.zeros(len(target))
            best[free] = np.linalg.lstsq(matrix[np.ix_(free, free)], target[free])[0]
            if best[free].min() > 0:
                x = best
                break
            low = free & (best <= 0)
            share = (x[low] / (x[low] - best[low] + np.finfo(float).tiny)).min()
            x = x + share * (best - x)
            free &= x > TOLERANCE * x.max()
            x[~free] = 0
    return x
