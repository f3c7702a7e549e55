"""Parameters of parts, and nested names through dicts: ``loss_weights__aux``.

scikit-learn's ``get_params`` descends into estimators but not into dicts, and into no parameter
that is None. This mixin adds both, so that a grid search reaches every part by name.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from mtlearn._sklearn import validate_parameter_constraints
from mtlearn._validation import suggest

__all__ = ["NestedParams", "Part"]


class Part(BaseEstimator):
    """A specification of a part of the network: parameters, and what they may be."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    def check_params(self) -> None:
        """Raise for a parameter outside its constraints, and for sizes of layers that are none."""
        params = self.get_params(deep=False)
        validate_parameter_constraints(
            self._parameter_constraints, params, caller_name=type(self).__name__
        )
        sizes = params.get("hidden_layer_sizes", ())
        if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
            raise ValueError(
                f"`hidden_layer_sizes` of {type(self).__name__} must hold positive integers. "
                f"Got {sizes!r}."
            )


class NestedParams(BaseEstimator):
    """A BaseEstimator whose dict parameters and default parts take part in nested names.

    Subclasses declare ``_dict_params``, the parameters that are None or a dict by name;
    ``_nested_dict_params``, those of them whose entries are dicts too; and ``_default_parts``, the
    parameters that are None or a part, each with what makes the part that None stands for.
    """

    _dict_params: ClassVar[tuple[str, ...]] = ()
    _nested_dict_params: ClassVar[tuple[str, ...]] = ()
    _default_parts: ClassVar[dict[str, Callable[[], Any]]] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, with ``deep`` those of the parts and dict entries too."""
        params = super().get_params(deep=deep)
        if not deep:
            return params
        for param in self._dict_params:
            if isinstance(params[param], dict):
                for key, value in params[param].items():
                    params.update(_nested(f"{param}__{key}", value))
        for param, default in self._default_parts.items():
            if params[param] is None:
                nested = _nested(param, default())
                del nested[param]
                params.update(nested)
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by (nested) name; dicts given by the user are never changed."""
        whole = {key: value for key, value in params.items() if "__" not in key}
        nested: dict[str, dict[str, Any]] = defaultdict(dict)
        for key, value in params.items():
            name, found, rest = key.partition("__")
            if found:
                nested[name][rest] = value
        super().set_params(**whole)
        for name, changes in nested.items():
            if name in self._dict_params:
                setattr(self, name, self._with_entries(name, changes))
            else:
                if name in self._default_parts and getattr(self, name) is None:
                    setattr(self, name, self._default_parts[name]())
                super().set_params(**{f"{name}__{key}": value for key, value in changes.items()})
        return self

    def _with_entries(self, param: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Return a new dict for `param`, with whole entries set first and then their parameters."""
        entries = dict(getattr(self, param) or {})
        for key in sorted(changes, key=lambda key: "__" in key):
            entry, found, rest = key.partition("__")
            if not found:
                entries[entry] = changes[key]
            elif param in self._nested_dict_params:
                entries[entry] = {**(entries.get(entry) or {}), rest: changes[key]}
            elif hasattr(entries.get(entry), "set_params"):
                entries[entry] = clone(entries[entry])
                entries[entry].set_params(**{rest: changes[key]})
            else:
                raise ValueError(
                    f"{type(self).__name__}: the parameter '{param}__{key}' needs "
                    f"`{param}` to hold a part named {entry!r}; it holds {sorted(entries)}"
                    f"{suggest(entry, entries)}."
                )
        return entries


def _nested(prefix: str, value: Any) -> dict[str, Any]:
    inner: Mapping[str, Any] = {}
    if isinstance(value, Mapping):
        inner = value
    elif hasattr(value, "get_params") and not isinstance(value, type):
        inner = value.get_params()
    return {prefix: value} | {f"{prefix}__{name}": sub for name, sub in inner.items()}
