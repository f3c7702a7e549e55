"""Targets of any form made divisible by rows."""

from collections.abc import Mapping
from typing import Any

from mtlearn._arrays import is_frame
from mtlearn._named_rows import NamedRows
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets

__all__ = ["as_inputs", "as_rows", "by_name", "rows_in"]


def as_rows(value: Any) -> Any:
    """Return a plain dict as Targets, which scikit-learn can divide by rows; all else as it is."""
    if isinstance(value, Mapping) and not isinstance(value, NamedRows):
        return Targets(value)
    return value


def as_inputs(X: Any) -> Any:
    """Return a plain dict of inputs as Inputs, all else as it is."""
    is_sparse = hasattr(X, "tocsr")  # some of them are dicts
    if isinstance(X, Mapping) and not is_sparse and not isinstance(X, NamedRows):
        return Inputs(X)
    return X


def rows_in(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return parameters of ``fit``, with dicts of auxiliary targets or weights as Targets."""
    return {name: as_rows(value) for name, value in (params or {}).items()}


def by_name(value: Any) -> Targets:
    """Return targets of any form as Targets; an array is one target named ``"y"``."""
    if isinstance(value, Targets):
        return value
    if is_frame(value):
        return Targets.from_frame(value)
    return Targets(value) if isinstance(value, Mapping) else Targets({"y": value})
