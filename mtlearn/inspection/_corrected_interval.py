"""Confidence intervals of differences between scores whose training rows overlap."""

import numpy as np
from scipy.special import stdtrit

from mtlearn._typing import Floats

__all__ = ["corrected_intervals"]


def corrected_intervals(
    differences: Floats, test_ratio: float, level: float, n_intervals: int
) -> tuple[Floats, Floats, Floats]:
    r"""Return means of differences, and the ends of their confidence intervals.

    The corrected resampled t-interval: of J differences with the variance :math:`s^2`, the mean
    has the variance :math:`(1/J + \text{n_test} / \text{n_train}) s^2`, and its quotient is taken
    to have Student's distribution with J - 1 degrees of freedom.

    Parameters
    ----------
    differences : ndarray of shape (..., n_splits)
        The differences of the scores of each split.
    test_ratio : float
        The rows that a split tests on, by those that it trains on.
    level : float
        The probability that `n_intervals` intervals hold at once, by Bonferroni's inequality.
    n_intervals : int
        How many these are.

    Returns
    -------
    means, lower, upper : ndarray of shape (...)
        The means and the ends.

    References
    ----------
    Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
    """
    n_splits = differences.shape[-1]
    means = differences.mean(axis=-1)
    are_equal = np.ptp(differences, axis=-1) == 0  # rounding leaves a deviation of equal ones
    deviations = np.where(are_equal, 0.0, differences.std(axis=-1, ddof=1))
    quantile = stdtrit(n_splits - 1, 1 - (1 - level) / (2 * n_intervals))
    half = quantile * np.sqrt(1 / n_splits + test_ratio) * deviations
    return means, means - half, means + half
