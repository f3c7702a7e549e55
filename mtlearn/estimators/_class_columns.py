"""An array of classes as one output, or as one output per column, and back."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from mtlearn._arrays import homogeneous, keep_kinds, missing_mask
from mtlearn._typing import Array
from mtlearn.estimators._outputs import ARRAY_NAME, is_indicator, refuse_names
from mtlearn.targets import Targets

__all__ = ["class_targets", "is_matrix_of_classes", "join_columns", "names_columns"]


def class_targets(
    y: Any, names: Sequence[str] | None, owner: str, *, heads: Collection[str] = ()
) -> Targets:
    """Return an array of classes as one output, or as one per column; as those named, if any are.

    A vector and an indicator matrix are the output ``"y"``, and a matrix of several classes per
    column is ``"y0"``, ``"y1"`` and so on. So is an indicator matrix if `heads` name these.

    Raises
    ------
    TypeError
        If `y` has names.
    ValueError
        If `y` holds numbers that are no classes, or has other columns than `names` say.
    """
    refuse_names(y, owner)
    if isinstance(y, list | tuple):
        y = _with_kinds(y)
    y = check_array(
        y,
        dtype=None,
        ensure_2d=False,
        ensure_all_finite=False,
        input_name="y",
        estimator=owner,
    )
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    for column in [y] if y.dtype.kind != "O" else y.reshape(len(y), -1).T:
        observed = homogeneous(column[~missing_mask(column)])
        if observed.size:
            check_classification_targets(observed)
    columns = Targets(
        {f"{ARRAY_NAME}{j}": y[:, j] for j in range(y.shape[1])} if y.ndim == 2 else {}
    )
    if names is None:
        is_one = y.ndim == 1 or (not names_columns(heads, y) and is_indicator(y))
        return Targets({ARRAY_NAME: y}) if is_one else columns
    if list(names) == [ARRAY_NAME]:
        return Targets({ARRAY_NAME: y})
    if list(columns) != list(names):
        raise ValueError(
            f"{owner}: `y` must have {len(names)} columns, as in fit. Got the shape {y.shape}."
        )
    return columns


def is_matrix_of_classes(y: Array) -> bool:
    """Tell a matrix of several classes per column from numbers, indicators and vectors."""
    if y.ndim != 2 or y.dtype.kind not in "biuOSU":
        return False
    observed = homogeneous(y[~missing_mask(y)])
    return observed.dtype.kind in "biuOSU" and not is_indicator(y)


def names_columns(heads: Collection[str], y: Array) -> bool:
    """Tell whether heads are given for all columns of a matrix, and none for the whole."""
    if y.ndim != 2 or ARRAY_NAME in heads:
        return False
    return all(f"{ARRAY_NAME}{j}" in heads for j in range(y.shape[1]))


def join_columns(columns: Iterable[Array]) -> Array:
    """Return the predictions of all columns as one matrix, of objects where their kinds differ."""
    columns = list(columns)
    if len({column.dtype.kind for column in columns}) > 1:
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


def _with_kinds(y: Any) -> Any:
    """Return a list whose numbers or missing labels numpy would turn into strings as objects."""
    try:
        array = np.asarray(y)
    except ValueError:  # a ragged list, of which scikit-learn's check says more
        return y
    return keep_kinds(y, array) if array.dtype.kind == "U" else y
