"""Labels of any origin as numpy arrays, and where they are missing."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtlearn._typing import Array, Mask

__all__ = [
    "as_array",
    "as_columns",
    "column_names",
    "column_types",
    "homogeneous",
    "is_frame",
    "keep_kinds",
    "missing_mask",
    "series_to_numpy",
    "stack_columns",
]


def is_frame(y: object) -> bool:
    """Tell a DataFrame, of any library, from an array."""
    return hasattr(y, "columns") and hasattr(y, "__getitem__") and not isinstance(y, Mapping)


def column_names(frame: Any) -> list[str]:
    """Return the names of a frame's columns; of pyarrow's tables `columns` are the values."""
    return list(frame.column_names if hasattr(type(frame), "column_names") else frame.columns)


def column_types(frame: Any) -> list[tuple[str, Any]]:
    """Return the names and types of a frame's columns, in the words of its library."""
    types = frame.dtypes if hasattr(frame, "dtypes") else frame.schema.types
    return list(zip(column_names(frame), types, strict=True))


def as_array(values: Any, name: str) -> Array:
    """Return one target as a numpy array of one or two dimensions.

    Raises
    ------
    TypeError
        If the values are sparse.
    ValueError
        If they are a scalar, ragged, or of three or more dimensions.
    """
    if hasattr(values, "tocsr"):
        raise TypeError(f"Targets: target {name!r} is sparse; pass values.toarray().")
    if is_frame(values):
        array = stack_columns(values, column_names(values))
    elif hasattr(values, "to_numpy"):
        array = series_to_numpy(values)
    else:
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise ValueError(f"Targets: target {name!r} is no regular array: {error}") from error
        if array.dtype.kind == "U" and not isinstance(values, np.ndarray):
            array = keep_kinds(values, array)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"Targets: a target must have the shape (n_samples,) or (n_samples, n_columns). "
            f"Target {name!r} has the shape {array.shape}."
        )
    if array.ndim == 2 and array.shape[1] == 0:
        raise ValueError(f"Targets: every target needs a column. Target {name!r} has no column.")
    return array


def missing_mask(values: Array) -> Mask:
    """Return where labels are missing: NaN, None, NaT or pandas' NA; the shape of `values`."""
    if values.dtype.kind in "fc":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind == "O":
        flags = [_is_missing(value) for value in values.ravel()]
        return np.array(flags, dtype=bool).reshape(values.shape)
    return np.zeros(values.shape, dtype=bool)


def as_columns(values: Array) -> Array:
    """Return a vector as a matrix of one column, and a matrix as it is."""
    return values if values.ndim == 2 else values[:, None]


def homogeneous(labels: Array) -> Array:
    """Return observed labels as numbers where a None or NaN among them had made them objects."""
    if labels.dtype.kind == "O" and not any(isinstance(label, str) for label in labels):
        return np.array(labels.tolist())
    return labels


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def series_to_numpy(series: Any) -> Array:
    """Return a Series' values; integers and booleans of pandas stay so beside missing ones."""
    if not hasattr(series, "dtype"):
        return _arrow_to_numpy(series)
    kind = getattr(series.dtype, "kind", "O")
    if kind in "biu" and hasattr(series.dtype, "na_value") and series.isna().any():
        return series.to_numpy(dtype=object, na_value=None)
    if hasattr(series, "cat") and hasattr(series, "isna") and series.isna().any():
        labels = [*series.cat.categories, None]  # numpy would make floats of integers
        return np.array([labels[code] for code in series.cat.codes] + [None], dtype=object)[:-1]
    if kind == "f" and hasattr(series.dtype, "na_value"):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(series.to_numpy())


def _arrow_to_numpy(values: Any) -> Array:
    """Return a pyarrow array's values; integers and booleans stay so beside missing ones."""
    kind = values[:0].to_numpy(zero_copy_only=False).dtype.kind
    if values.null_count and kind != "f":
        return np.array([*values.to_pylist(), None], dtype=object)[:-1]
    return np.asarray(values.to_numpy(zero_copy_only=False))


def stack_columns(frame: Any, columns: list[str]) -> Array:
    """Return columns of a DataFrame as a matrix."""
    return np.column_stack([series_to_numpy(frame[column]) for column in columns])


def keep_kinds(values: Any, strings: Array) -> Array:
    """Undo numpy's conversion of a mixed list, such as [1, 'a'] or ['a', nan], to strings."""
    objects = np.asarray(values, dtype=object)
    return strings if all(isinstance(value, str) for value in objects.ravel()) else objects
