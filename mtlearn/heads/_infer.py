"""Which head a target gets when the user names none: the one place that guesses."""

import warnings

import numpy as np

from mtlearn._arrays import homogeneous, missing_mask
from mtlearn._typing import Array
from mtlearn.exceptions import HeadInferenceWarning
from mtlearn.heads._base import Head
from mtlearn.heads._classification import Classification
from mtlearn.heads._multilabel import MultiLabel
from mtlearn.heads._regression import Regression

__all__ = ["infer_head"]

FEW = 20


def infer_head(y: Array) -> Head:
    """Return the head for a target: numbers are regressed, all else is classified.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_columns)
        The labels; missing ones say nothing.

    Returns
    -------
    Head
        `Regression` for floats of one or two dimensions, `MultiLabel` for a matrix of booleans
        or of integers 0 and 1, `Classification` for anything else of one dimension.

    Raises
    ------
    ValueError
        For what cannot be told: a float column with missing values whose observed values are few
        whole numbers (they were integers before a missing value made them floats), any other
        matrix, and dates.

    Warns
    -----
    HeadInferenceWarning
        If integers would be more than 20 classes, and more than the square root of their number.
    """
    if y.dtype.kind in "mM":
        raise ValueError("dates have no head; turn them into numbers or classes.")
    observed = homogeneous(y[~missing_mask(y)])
    if y.ndim == 2:
        return _infer_matrix(y, observed)
    if observed.dtype.kind == "f":
        values = np.unique(observed) if len(observed) < len(y) else observed[:0]
        if 0 < len(values) <= FEW and np.all(np.floor(values) == values):
            raise ValueError(
                f"the head cannot be told: a float column with missing values and only the whole "
                f"numbers {values.tolist()} may hold numbers or classes. Pass "
                f"heads={{name: Regression()}} or heads={{name: Classification()}}."
            )
        return Regression()
    if observed.dtype.kind in "iu":
        n_classes = len(np.unique(observed))
        if n_classes > max(FEW, np.sqrt(len(observed))):
            warnings.warn(
                f"integers are taken for classes, {n_classes} of them here; pass "
                f"heads={{name: Regression()}} to learn them as numbers.",
                HeadInferenceWarning,
                stacklevel=2,
            )
    return Classification()


def _infer_matrix(y: Array, observed: Array) -> Head:
    kind = observed.dtype.kind
    if kind == "f":
        return Regression()
    if kind == "b" or (kind in "iu" and np.isin(observed, (0, 1)).all()):
        return MultiLabel()
    raise ValueError(
        f"the head cannot be told: a matrix of type {y.dtype} is neither one of floats nor of 0 "
        f"and 1. Give each column a name of its own, as in Targets.from_frame, or pass "
        f"heads={{name: Regression()}}. (Where scikit-learn's cross_val_predict made class "
        f"numbers of a DataFrame, pass Targets instead of the DataFrame.)"
    )
