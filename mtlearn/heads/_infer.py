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


def infer_head(y: Array, name: str = "name") -> Head:
    """Return the head for a target: numbers are regressed, all else is classified.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_columns)
        The labels; missing ones say nothing.
    name : str, default="name"
        The output's name, for messages.

    Returns
    -------
    Head
        `Regression` for floats of one or two dimensions, `MultiLabel` for a matrix of booleans
        or of integers 0 and 1, `Classification` for anything else of one dimension.

    Raises
    ------
    ValueError
        For what cannot be told: a float column with missing values whose observed values are few
        whole numbers (they were integers before a missing value made them floats), for any other
        matrix, and for dates, complex numbers and records.

    Warns
    -----
    HeadInferenceWarning
        If there would be more than 20 classes, and more than the square root of the number of
        labels for integers, or than half of it for anything else.
    """
    if y.dtype.kind in "cmMV":
        raise ValueError(
            f"values of type {y.dtype} have no head; turn them into numbers or classes."
        )
    observed = homogeneous(y[~missing_mask(y)])
    if observed.dtype.kind == "f":
        values = np.unique(observed) if observed.size < y.size else observed[:0]
        if 0 < len(values) <= FEW and np.all(np.floor(values) == values):
            raise ValueError(
                f"the head cannot be told: floats with missing values and only the whole numbers "
                f"{values.tolist()} may be numbers or classes. Pass "
                f"heads={{{name!r}: Regression()}} or "
                f"heads={{{name!r}: {'Classification' if y.ndim == 1 else 'MultiLabel'}()}}."
            )
        return Regression()
    if y.ndim == 2:
        return _infer_matrix(y, observed, name)
    n_classes = len(set(observed.tolist()))
    many = np.sqrt(len(observed)) if observed.dtype.kind in "iu" else len(observed) / 2
    if n_classes > max(FEW, many):
        warnings.warn(
            f"output {name!r}: values of type {observed.dtype} are taken for classes, {n_classes} "
            f"of them here; pass heads={{{name!r}: Regression()}} to learn numbers.",
            HeadInferenceWarning,
            stacklevel=2,
        )
    return Classification()


def _infer_matrix(y: Array, observed: Array, name: str) -> Head:
    kind = observed.dtype.kind
    if kind == "b" or (kind in "iu" and np.isin(observed, (0, 1)).all()):
        return MultiLabel()
    raise ValueError(
        f"the head cannot be told: a matrix of type {y.dtype} is neither one of floats nor of 0 "
        f"and 1. Give each column a name of its own, as in Targets.from_frame, or pass "
        f"heads={{{name!r}: Regression()}}. (Where scikit-learn's cross_val_predict made class "
        f"numbers of a DataFrame, pass Targets instead of the DataFrame.)"
    )
