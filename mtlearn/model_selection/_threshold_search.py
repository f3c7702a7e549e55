"""The thresholds of probabilities by which a metric is best."""

import numpy as np

from mtlearn._typing import Array, Floats, Mask
from mtlearn.model_selection._label_metrics import LabelMetric

__all__ = ["search_thresholds", "threshold_candidates"]

TOLERANCE = 1e-12  # sums in another order differ by less


def search_thresholds(
    y: Mask,
    chances: Floats,
    weight: Floats,
    start: Floats,
    metric: LabelMetric,
    *,
    n_thresholds: int,
) -> tuple[Floats, float]:
    """Return a threshold for each label, and the score that these have.

    Label by label, the best of some candidates is taken while the others stay, until no change of
    one makes the score better. Of thresholds with the same score it is the nearest to `start`.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_labels), dtype=bool
        The labels.
    chances : ndarray of shape (n_samples, n_labels)
        Their probabilities.
    weight : ndarray of shape (n_samples, n_labels)
        The weights of the labels, zero where one is missing.
    start : ndarray of shape (n_labels,)
        The thresholds to begin with; a label that is there always or never keeps its own.
    metric : LabelMetric
        The score of labels, predicted ones and weights.
    n_thresholds : int
        How many candidates a label has at most.

    Returns
    -------
    thresholds : ndarray of shape (n_labels,)
        The thresholds.
    score : float
        The score of all labels.
    """
    thresholds = np.array(start, dtype=np.float64)
    predicted = chances > thresholds
    candidates = {
        j: threshold_candidates(y[:, j], chances[:, j], weight[:, j], start[j], n_thresholds)
        for j in range(y.shape[1])
        if len(np.unique(y[weight[:, j] > 0, j])) == 2
    }
    improves = True
    while improves:
        improves = False
        for j, values in candidates.items():
            score_of = metric.of_label(j, y, predicted, weight)
            scores = np.array([score_of(chances[:, j] > value) for value in values])
            now = score_of(predicted[:, j])
            chosen = _first_best(scores)
            if (
                np.nan_to_num(scores[chosen], nan=-np.inf)
                > np.nan_to_num(now, nan=-np.inf) + TOLERANCE
            ):
                thresholds[j] = values[chosen]
                predicted[:, j] = chances[:, j] > values[chosen]
                improves = not metric.by_column
    return thresholds, metric(y, predicted, weight)


def threshold_candidates(
    y: Mask, chances: Floats, weight: Floats, start: float, n_thresholds: int
) -> Floats:
    """Return thresholds to try for one label, the nearest to `start` first.

    They are midpoints between probabilities, but not where the rows on both sides have the same
    label: a metric that rewards right predictions has no maximum there. Of more than
    `n_thresholds`, evenly spaced ones are taken.
    """
    rows = weight > 0
    values, group = np.unique(chances[rows], return_inverse=True)
    n_present = np.bincount(group, weights=y[rows])
    share = n_present / np.bincount(group)
    pure = np.where(np.isin(share, (0.0, 1.0)), share, np.nan)
    with_ends = np.concatenate([[0.0], values, [1.0]])
    midpoints = (with_ends[1:] + with_ends[:-1]) / 2
    matters = np.concatenate([[True], pure[1:] != pure[:-1], [True]])
    midpoints = midpoints[matters]
    if len(midpoints) > n_thresholds:
        midpoints = midpoints[np.linspace(0, len(midpoints) - 1, n_thresholds).round().astype(int)]
    found = np.unique(midpoints)
    return found[np.argsort(np.abs(found - start), kind="stable")]


def _first_best(scores: Array) -> int:
    """Return the first of the highest scores, up to rounding; a NaN is no score."""
    if np.isnan(scores).all():
        return 0
    return int(np.flatnonzero(scores >= np.nanmax(scores) - TOLERANCE)[0])
