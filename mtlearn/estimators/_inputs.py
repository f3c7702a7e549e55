"""Dict X: each input as a checked array."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtlearn._arrays import column_names, column_types, is_frame, stack_columns
from mtlearn._typing import Array, InputSpec
from mtlearn._validation import check_known, naming
from mtlearn.estimators._outputs import check_not_lazy
from mtlearn.inputs import Inputs

__all__ = ["check_inputs", "float_type", "refuse_dates"]


def check_inputs(
    X: Mapping[str, Any], owner: str, before: Mapping[str, InputSpec] | None
) -> tuple[Inputs, dict[str, InputSpec]]:
    """Return inputs as arrays of numbers, and what is known of each.

    Integers stay so, as int64; of a frame, and of floats, it is float32 if all are, else float64.

    Parameters
    ----------
    X : Inputs or mapping of str to array-like
        The inputs.
    owner : str
        Who complains.
    before : mapping of str to InputSpec, default=None
        What is known from ``fit``; None in ``fit``.

    Raises
    ------
    TypeError
        For dates, and for what holds no numbers.
    ValueError
        For no rows, values that are not finite, and inputs that differ from those of ``fit``.
    """
    with naming(owner):
        X = X if isinstance(X, Inputs) else Inputs(X)
    if len(X) == 0:
        raise ValueError(f"{owner}: `X` must have a row. Got {X!r}.")
    if before is not None:
        check_known(X, before, subject=f"{owner}: `X`", noun="input")
        missing = [name for name in before if name not in list(X)]
        if missing:
            raise ValueError(f"{owner}: `X` must have all inputs of fit. Missing are {missing}.")
    arrays: dict[str, Array] = {}
    columns: dict[str, tuple[str, ...] | None] = {}
    for name, part in X.items():
        with naming(f"{owner}: input {name!r}"):
            columns[name] = tuple(map(str, column_names(part))) if is_frame(part) else None
            arrays[name] = _as_numbers(part)
    floats = {array.dtype for array in arrays.values() if array.dtype.kind == "f"}
    dtype = np.float32 if floats == {np.dtype(np.float32)} else np.float64
    specs = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            array = array.astype(dtype, copy=False)
        arrays[name] = np.ascontiguousarray(array)
        specs[name] = InputSpec(array.shape[1:], array.dtype.kind == "i", columns[name])
        if before is not None:
            with naming(f"{owner}: input {name!r}"):
                _check_same(specs[name], before[name])
    return Inputs(arrays), specs


def float_type(X: Array | Inputs) -> str:
    """Return the floating point type of a table, or of the inputs that have one."""
    if not isinstance(X, Inputs):
        return str(X.dtype)
    found = [str(part.dtype) for part in X.values() if part.dtype.kind == "f"]
    return found[0] if found else "float32"


def refuse_dates(X: Any, owner: str) -> None:
    """Raise a TypeError for dates and durations, which would be taken for huge numbers."""
    types = column_types(X) if is_frame(X) else [("X", getattr(X, "dtype", ""))]
    kinds = ("date", "time", "duration")  # how all libraries' names of such types begin
    dates = [name for name, dtype in types if str(dtype).lower().startswith(kinds)]
    if dates:
        raise TypeError(
            f"{owner}: `X` must hold numbers. Got dates, times or durations in {dates}; make "
            f"numbers of them first, for example with a ColumnTransformer."
        )


def _as_numbers(part: Any) -> Array:
    """Return finite floats or integers; the columns of a frame as floats."""
    check_not_lazy(part, "`X`")
    refuse_dates(part, "`X`")
    array = part
    if is_frame(part):
        array = stack_columns(part, column_names(part))
        if array.dtype.kind in "biuO":
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"an input must hold numbers. Got {array.dtype}; make numbers of it first: ids of "
            f"texts, sequences of one length, codes of categories."
        )
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    if array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    finite = np.isfinite(array)
    if not finite.all():
        n_bad = int((~finite.reshape(len(array), -1).all(axis=1)).sum())
        raise ValueError(
            f"values must be finite. {n_bad} of {len(array)} rows hold NaN or infinity; impute "
            f"them first."
        )
    return array


def _check_same(spec: InputSpec, before: InputSpec) -> None:
    """Raise a ValueError for other columns than in fit, another width, or floats for integers."""
    if spec.columns != before.columns and None not in (spec.columns, before.columns):
        raise ValueError(f"the columns must be those of fit, {before.columns}. Got {spec.columns}.")
    is_sequence = before.is_integer and len(before.shape) == 1
    same = len(spec.shape) == len(before.shape) and (is_sequence or spec.shape == before.shape)
    if not same:
        raise ValueError(f"a row must have the shape of fit, {before.shape}. Got {spec.shape}.")
    if 0 in spec.shape and 0 not in before.shape:
        raise ValueError("sequences must have a step. Got none; pad them as those of fit.")
    if before.is_integer and not spec.is_integer:
        raise ValueError("the values must be integers, as in fit. Got floats.")
