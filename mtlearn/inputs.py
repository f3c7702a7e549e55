"""Several inputs of the same rows, as one object that scikit-learn can count and index."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mtlearn._arrays import column_names, is_frame, keep_kinds, missing_mask, series_to_numpy
from mtlearn._named_rows import NamedRows
from mtlearn._sklearn import safe_indexing
from mtlearn._typing import Array
from mtlearn._validation import check_input_names

__all__ = ["Inputs"]


class Inputs(NamedRows):
    """Inputs by name: a dict of arrays and frames that scikit-learn can split by rows.

    What Targets is for ``y``, this is for ``X``: texts or ids beside a table, images beside their
    captions. scikit-learn would take a plain dict's number of inputs for the number of rows. Inputs
    has DataFrame's semantics: its length is the number of rows and its iteration gives the names,
    so that it goes through ``train_test_split``, ``cross_validate``, ``GridSearchCV`` and
    Pipelines. It cannot be changed; make a new one, for example ``Inputs({**X, "ids": ids})``.

    ``X["ids"]`` is one input, ``X[["ids", "table"]]`` the Inputs of some, and ``X[rows]`` those of
    some rows (a slice, a mask or an array of positions).

    Parameters
    ----------
    data : mapping of str to array-like of shape (n_samples, ...), or DataFrame, default=()
        The inputs by name. Arrays have any number of dimensions; DataFrames of pandas and polars
        stay what they are, with the names of their columns. A list of sequences of different
        lengths becomes an array of them, one per row.

    Attributes
    ----------
    shape : tuple of int
        ``(n_samples,)``.

    Raises
    ------
    TypeError
        If a name is no string, if an input is sparse, or if an array is asked for: several inputs
        are not one array.
    ValueError
        If the inputs differ in their number of rows, are single values, or have a name that is
        empty or contains ``"__"``.

    See Also
    --------
    mtlearn.Targets : The same for ``y``.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import Inputs
    >>> X = Inputs({"text": ["free entry", "see you", "ok"], "pixels": np.zeros((3, 1, 8, 8)),
    ...             "words": [[3, 7], [5], [2, 4, 9]]})
    >>> len(X), list(X), X["pixels"].shape
    (3, ['text', 'pixels', 'words'], (3, 1, 8, 8))
    >>> X[[0, 2]]
    Inputs of 2 rows:
      text    <U10 (2,)
      pixels  float64 (2, 1, 8, 8)
      words   sequences of 2 to 3
    """

    __slots__ = ()

    _noun = "input"
    _example = "X"

    @staticmethod
    def _check_names(names: Iterable[object]) -> None:
        check_input_names(names, subject="Inputs")

    @staticmethod
    def _convert(value: Any, name: str) -> Any:
        if hasattr(value, "tocsr"):
            raise TypeError(f"Inputs: input {name!r} is sparse; pass values.toarray().")
        if isinstance(value, Mapping):
            raise TypeError(
                f"Inputs: an input must be an array or a DataFrame. Got {type(value).__name__} for "
                f"{name!r}; give its entries as inputs of their own."
            )
        if is_frame(value):
            return value
        try:
            array = _as_array(value)
        except ValueError as error:
            raise ValueError(
                f"Inputs: input {name!r} is no regular array, and no list of them: {error}"
            ) from error
        if array.ndim == 0:
            raise ValueError(
                f"Inputs: an input must have rows. Input {name!r} is the single value {value!r}."
            )
        return array

    @staticmethod
    def _take(part: Any, rows: Any) -> Any:
        return safe_indexing(part, rows) if is_frame(part) else part[rows]

    @staticmethod
    def _join(parts: list[Any]) -> Any:
        kinds = {(type(p), *column_names(p)) if is_frame(p) else np.ndarray for p in parts}
        if len(kinds) > 1:
            raise ValueError(
                f"Inputs: only arrays, or frames of the same columns, can be concatenated. Got "
                f"{[column_names(p) if is_frame(p) else type(p).__name__ for p in parts]}."
            )
        if not is_frame(parts[0]):
            return np.concatenate(parts)
        library = type(parts[0]).__module__.split(".")[0]
        if library == "pandas":
            import pandas as pd

            return pd.concat(parts)
        if library == "polars":
            import polars as pl

            return pl.concat(parts)
        raise TypeError(f"Inputs: frames of {library} cannot be concatenated; pass pandas'.")

    @staticmethod
    def _is_same(part: Any, other: Any) -> bool:
        if is_frame(part) or is_frame(other):
            return type(part) is type(other) and bool(part.equals(other))
        if part.shape != other.shape:
            return False
        missing = missing_mask(part)
        if not np.array_equal(missing, missing_mask(other)):
            return False
        if part.dtype.kind == "O" or other.dtype.kind == "O":
            return all(map(_is_equal, part[~missing], other[~missing]))
        return bool(np.all(part[~missing] == other[~missing]))

    @staticmethod
    def _describe(part: Any) -> str:
        if is_frame(part):
            names = column_names(part)
            shown = ", ".join(map(str, names[:4])) + (", ..." if len(names) > 4 else "")
            return f"{type(part).__name__} {tuple(part.shape)}: {shown}"
        lengths = _lengths(part)
        if len(lengths):
            return f"sequences of {lengths.min()} to {lengths.max()}"
        return f"{part.dtype} {part.shape}"

    @staticmethod
    def _why_no_array(names: list[str]) -> str:
        name = names[0] if names else "name"
        return f"Pick one with X[{name!r}]; a step for one input of a Pipeline takes it so."


def _as_array(values: Any) -> Array:
    """Return an array, of sequences where these differ in length."""
    if hasattr(values, "to_numpy"):
        return series_to_numpy(values)
    if not isinstance(values, list | tuple):
        return np.asarray(values)
    rows = [np.asarray(row) if _is_sequence(row) else row for row in values]
    shapes = {row.shape for row in rows if isinstance(row, np.ndarray)}
    if len(shapes) <= 1:
        array = np.asarray(values)
        return keep_kinds(values, array) if array.dtype.kind == "U" else array
    types = [row.dtype for row in rows if isinstance(row, np.ndarray) and row.size]
    rows = [
        np.empty(0, types[0]) if isinstance(row, list | tuple) and not row else array
        for row, array in zip(values, rows, strict=True)
    ]
    ragged = np.empty(len(rows), dtype=object)
    ragged[:] = rows
    return ragged


def _is_equal(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray) and isinstance(other, np.ndarray):
        return Inputs._is_same(value, other)
    return bool(np.array_equal(value, other))


def _is_sequence(row: Any) -> bool:
    return isinstance(row, list | tuple | np.ndarray)


def _lengths(part: Array) -> Array:
    """Return the lengths of sequences; empty if the rows are none."""
    if part.dtype.kind != "O" or part.ndim != 1 or not all(map(_is_sequence, part)):
        return np.empty(0, dtype=int)
    return np.array([len(row) for row in part], dtype=int)
