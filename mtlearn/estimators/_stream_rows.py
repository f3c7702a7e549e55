"""The rows of a stream: arrays, frames and dicts, whose features come and go by name."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np

from mtlearn._arrays import column_names, missing_mask, series_to_numpy
from mtlearn._typing import Array, Floats
from mtlearn.estimators._inputs import refuse_dates

__all__ = ["is_rows_of_dicts", "rows_by_name"]

PLAIN = {float, int, bool, np.float64}  # what most dicts hold, and numpy converts at once


def is_rows_of_dicts(X: Any) -> bool:
    """Tell a list of dicts, one for each row."""
    is_list = isinstance(X, Sequence) and not isinstance(X, str | bytes)
    return is_list and len(X) > 0 and all(isinstance(row, Mapping) for row in X)


def rows_by_name(X: Any, known: Sequence[str], owner: str) -> tuple[Floats, list[str]]:
    """Return rows as a matrix, with NaN where a feature is absent, and the features' names.

    Parameters
    ----------
    X : DataFrame or list of dict
        The rows.
    known : sequence of str
        The features there are already, which come first.
    owner : str
        Who complains.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features)
        The values.
    names : list of str
        The features: those known, then the new ones in the order of their coming. The keys of a
        dict have no order, and come sorted.

    Raises
    ------
    TypeError
        For names that are neither strings nor integers, and values that are no numbers.
    ValueError
        For no row, a name that comes twice, and infinite values.
    """
    are_dicts = is_rows_of_dicts(X)
    if are_dicts:
        given = list(dict.fromkeys(name for row in X for name in sorted(row, key=str)))
    else:
        refuse_dates(X, owner)
        given = column_names(X)
        if len(set(given)) < len(given):
            raise ValueError(f"{owner}: a feature of `X` must come once. Got the columns {given}.")
    others = [name for name in given if not isinstance(name, str | Integral)]
    if others:
        raise TypeError(
            f"{owner}: features must be named by strings or integers. Got {others[0]!r} of type "
            f"{type(others[0]).__name__}; rename the columns, or pass an array."
        )
    if len(X) == 0:
        raise ValueError(f"{owner}: `X` must have a row. Got 0 rows.")
    is_known = set(known)
    names = [*known, *(name for name in given if name not in is_known)]
    if are_dicts and {kind for row in X for kind in map(type, row.values())} <= PLAIN:
        with suppress(OverflowError):  # of an int, which is told of below
            rows = np.array([[row.get(name, np.nan) for name in names] for row in X], np.float64)
            if not np.isinf(rows).any():
                return rows, names
    places = {name: i for i, name in enumerate(names)}
    rows = np.full((len(X), len(names)), np.nan)
    for name in given:
        column = [row.get(name) for row in X] if are_dicts else X[name]
        rows[:, places[name]] = _as_floats(column, name, owner)
    return rows, names


def _as_floats(column: Any, name: str, owner: str) -> Floats:
    """Return a column's numbers, NaN for what is missing."""
    if hasattr(column, "to_numpy"):
        values: Array = np.asarray(series_to_numpy(column))
    elif set(map(type, column)) == {float}:  # what most streams have
        values = np.array(column)
    else:
        values = np.array([*column, None], dtype=object)[:-1]  # lists among them stay such
    if values.dtype.kind == "O":
        values = np.where(missing_mask(values), np.nan, values)
        others = [value for value in values if not _is_number(value)]
    else:
        others = values[:1] if values.dtype.kind in "cmMUS" else []
    if len(others):
        raise TypeError(
            f"{owner}: the feature {name!r} of `X` must hold numbers. Got {others[0]!r}; make "
            f"numbers of it first."
        )
    found = values.astype(np.float64)
    n_infinite = int(np.isinf(found).sum())
    if n_infinite:
        raise ValueError(
            f"{owner}: the values of `X` must be finite, or NaN where a feature is absent. Input X "
            f"contains infinity in {n_infinite} values of {name!r}."
        )
    return found


def _is_number(value: Any) -> bool:
    """Tell what makes a finite number or an infinite one, but a text."""
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, str | bytes)
