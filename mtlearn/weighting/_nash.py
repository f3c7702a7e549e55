"""The fair bargain between the gradients."""

import numpy as np

from mtlearn._typing import Floats
from mtlearn.weighting._gramian import GramianWeigher
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["NashMTL"]

RIDGE = 1e-6  # bounds the answer where gradients cancel each other
MAX_STEPS = 100


class NashMTL(Weighting):
    r"""Nash bargaining: the update that the outputs would agree on, whatever the size of a loss.

    The factors are :math:`K a_k / \sum_j a_j`, K the number of outputs, with the only
    :math:`a_k > 0` that solve

    .. math:: G^T G\, a = 1 / a,

    where the columns of G are the gradients of the weighted losses for what the outputs share in
    the trunk, and 1 / a is taken by entries. Of all updates of its length :math:`G a` has the
    largest product of the outputs' gains. Multiplying a loss does not change its direction. Equal
    gradients have the plain sum for an update.

    Notes
    -----
    Found in the multiples :math:`x_k = a_k \|g_k\|` of gradients of length 1, for two outputs with
    the cosine c of their angle as :math:`x_1 = x_2 = 1 / \sqrt{1 + c}`, for more by Newton's
    method. :math:`10^{-6}` is added to the diagonal of their scalar products: where gradients
    cancel each other, there is no solution otherwise. Gradients that are 0, such as those of
    outputs without labels in the batch, take no part.

    References
    ----------
    Navon et al., "Multi-Task Learning as a Bargaining Game", 2022. They solve a sequence of convex
    programs. Every solution of theirs makes an update of the length :math:`\sqrt{K}`, which they
    may shorten to 1. Here it is of the size of the gradients, and 0 where they cancel each other.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import NashMTL
    >>> weigher = NashMTL().begin(np.ones(2), main=None, seed=0)
    >>> gradients = np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> factors = weigher.factors(np.ones(2), gradients @ gradients.T)
    >>> factors
    array([0.5, 1.5])
    >>> factors @ gradients
    array([1.5, 1.5])
    """

    sees_gradients = True

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return what finds the bargain."""
        return NashWeigher(len(weights))


class NashWeigher(GramianWeigher):
    """Nothing to remember."""

    def combine(self, norms: Floats, cosines: Floats) -> Floats:
        """Return the solution, times what makes its mean 1."""
        if len(norms) == 2:
            multiples = np.full(2, (1 + RIDGE + cosines[0, 1]) ** -0.5)
        else:
            multiples = _solve(cosines)
        shares = multiples / norms
        return len(norms) * shares / shares.sum()


def _solve(cosines: Floats) -> Floats:
    """Return the x > 0 with C x = 1 / x, the least of x' C x / 2 - sum(log x)."""
    n = len(cosines)
    ridge = max(RIDGE, RIDGE - np.linalg.eigvalsh(cosines)[0])
    matrix, x = cosines + ridge * np.eye(n), np.ones(n)
    for _ in range(MAX_STEPS):
        slopes = matrix @ x - 1 / x
        step = np.linalg.solve(matrix + np.diag(x**-2), slopes)
        decrement = np.sqrt(max(slopes @ step, 0.0))
        x = x - step / (1 + decrement)  # the damping that keeps x above 0
        if decrement < 1e-9:
            break
    return x
