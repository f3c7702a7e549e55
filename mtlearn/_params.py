"""Parameters of parts, and nested names through dicts and lists: ``loss_weights__aux``.

scikit-learn's ``get_params`` descends into estimators but not into dicts or lists, and into no
parameter that is None. The mixins add these, so that a grid search reaches every part by name.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from mtlearn._sklearn import validate_parameter_constraints
from mtlearn._validation import check_known, suggest

__all__ = ["NamedParts", "NestedParams", "Part"]


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


class NamedParts(BaseEstimator):
    """A BaseEstimator with a list of parts by name, as scikit-learn's ColumnTransformer has one.

    The parts and their parameters are parameters too: ``name`` and ``name__parameter``. Parts that
    have no parameters, such as strings, modules and callables, can be set as a whole.

    Subclasses declare ``_named_parts``, the parameter that is a list of (name, part, anything),
    ``_part_noun``, what errors call an entry of it, and ``_n_fields``, how many it has.
    """

    _named_parts: ClassVar[str]
    _part_noun: ClassVar[str]
    _n_fields: ClassVar[int] = 3

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, with ``deep`` the parts by name and their parameters too."""
        params = super().get_params(deep=deep)
        if not deep:
            return params
        nested: dict[str, Any] = {}
        for name, part, *_ in self._complete_entries():
            nested[name] = part
            if _has_params(part):
                nested |= {f"{name}__{key}": value for key, value in part.get_params().items()}
        return nested | params

    def set_params(self, **params: Any) -> Self:
        """Set the list, a part by its name, or a parameter of one as ``name__parameter``.

        The list comes first, then whole parts, in a new list, and then parameters of parts. As in
        scikit-learn's Pipeline, these change the part itself.
        """
        own = super().get_params(deep=False)
        listed = [key for key in params if key.startswith(f"{self._named_parts}__")]
        if listed:
            raise ValueError(
                f"{type(self).__name__}: `{self._named_parts}` is a list without parameters. Got "
                f"{listed[0]!r}; write the name of {self._part_noun} alone, without "
                f"'{self._named_parts}__'."
            )
        entries = _entries((own | params)[self._named_parts])
        others = {key: value for key, value in params.items() if key.partition("__")[0] not in own}
        whole = {key: value for key, value in others.items() if "__" not in key}
        parts = {name: part for name, part, *_ in filter(self._is_entry, entries)}
        owner, noun = type(self).__name__, self._part_noun
        check_known([key.partition("__")[0] for key in others], parts, subject=owner, noun=noun)
        parts |= whole
        nested: dict[str, dict[str, Any]] = defaultdict(dict)
        for key, value in others.items():
            name, found, rest = key.partition("__")
            if found and not _has_params(parts[name]):
                raise ValueError(
                    f"{owner}: {noun} {name!r} is no part with parameters. Got {key!r}."
                )
            if found:
                nested[name][rest] = value
        super().set_params(**{key: value for key, value in params.items() if key not in others})
        if whole:
            changed = [
                (e[0], whole.get(e[0], e[1]), *e[2:]) if self._is_entry(e) else e for e in entries
            ]
            setattr(self, self._named_parts, changed)
        for name, changes in nested.items():
            parts[name].set_params(**changes)
        return self

    def _complete_entries(self) -> list[Any]:
        """Return the entries that have a name and all fields."""
        return list(filter(self._is_entry, _entries(getattr(self, self._named_parts))))

    def _is_entry(self, entry: Any) -> bool:
        is_complete = isinstance(entry, list | tuple) and len(entry) == self._n_fields
        return is_complete and isinstance(entry[0], str)


def _entries(parts: Any) -> Sequence[Any]:
    """Return the entries; none of what is no list, which `fit` is to refuse, not `repr`."""
    return parts if isinstance(parts, list | tuple) else ()


def _has_params(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _nested(prefix: str, value: Any) -> dict[str, Any]:
    inner: Mapping[str, Any] = {}
    if isinstance(value, Mapping):
        inner = value
    elif _has_params(value):
        inner = value.get_params()
    return {prefix: value} | {f"{prefix}__{name}": sub for name, sub in inner.items()}
