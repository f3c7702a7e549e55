"""What strategies that see gradients share: lengths and angles instead of scalar products."""

from abc import ABC, abstractmethod

import numpy as np

from mtlearn._typing import Floats, Mask
from mtlearn.weighting._weighting import Weigher

__all__ = ["GramianWeigher", "nonzero"]

TINY = 1e-12  # of the longest gradient; a factor must not leave the range of float32


def nonzero(products: Floats) -> Mask:
    """Tell which gradients are not 0: none if any product is not finite."""
    if not np.isfinite(products).all():
        return np.zeros(len(products), dtype=bool)
    norms = np.sqrt(np.maximum(np.diagonal(products), 0))
    return norms > TINY * norms.max(initial=0)


class GramianWeigher(Weigher, ABC):
    """Factors for the outputs whose gradients are not 0; those of the others are 1."""

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return the factors of the step; ones unless there are two gradients to combine."""
        assert products is not None
        factors, present = np.ones(self.n_outputs), nonzero(products)
        if present.sum() > 1:
            inner = products[np.ix_(present, present)]
            norms = np.sqrt(np.diagonal(inner))
            cosines = np.clip(inner / norms / norms[:, None], -1, 1)
            factors[present] = self.combine(norms, cosines)
        return factors

    @abstractmethod
    def combine(self, norms: Floats, cosines: Floats) -> Floats:
        """Return what to multiply the gradients by.

        Parameters
        ----------
        norms : ndarray of shape (n_present,)
            Their lengths, above 0.
        cosines : ndarray of shape (n_present, n_present)
            The cosines of their angles.
        """
