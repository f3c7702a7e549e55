"""A dict of parts of the same rows, as one object that scikit-learn can count and index."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from mtlearn._validation import check_known

__all__ = ["NamedRows"]


class NamedRows(dict[str, Any], ABC):
    """What Targets and Inputs share: rows in parts by name, with DataFrame's semantics.

    The length is the number of rows, and the iteration gives the names. A string or a list of
    strings takes parts, anything else rows. Nothing can be changed in place.

    Subclasses say what a part is, and how its rows are taken and joined.
    """

    __slots__ = ()

    _noun: ClassVar[str]
    _example: ClassVar[str]

    def __init__(self, data: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        items = dict(data)
        self._check_names(items)
        super().__init__({name: self._convert(value, name) for name, value in items.items()})
        lengths = {name: self._count(part) for name, part in dict.items(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"{self._owner()}: all {self._noun}s must have the same number of rows. Got "
                f"{lengths}."
            )

    @staticmethod
    @abstractmethod
    def _check_names(names: Iterable[object]) -> None:
        """Raise unless the names can be used."""

    @staticmethod
    @abstractmethod
    def _convert(value: Any, name: str) -> Any:
        """Return a part as it is kept."""

    @staticmethod
    @abstractmethod
    def _take(part: Any, rows: Any) -> Any:
        """Return some rows of a part: a slice or an array of positions."""

    @staticmethod
    @abstractmethod
    def _join(parts: list[Any]) -> Any:
        """Return the rows of several parts, one after the other."""

    @staticmethod
    @abstractmethod
    def _is_same(part: Any, other: Any) -> bool:
        """Tell whether two parts have the same values, missing ones at the same places."""

    @staticmethod
    @abstractmethod
    def _describe(part: Any) -> str:
        """Return a line about a part."""

    @staticmethod
    @abstractmethod
    def _why_no_array(names: list[str]) -> str:
        """Return what to do instead of making an array."""

    @staticmethod
    def _count(part: Any) -> int:
        return part.shape[0]

    @classmethod
    def _owner(cls) -> str:
        return cls.__name__

    @property
    def shape(self) -> tuple[int]:
        """The number of rows, as a tuple: what scikit-learn asks of an ``X`` and a ``y``."""
        return (next((self._count(part) for part in dict.values(self)), 0),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            check_known([key], self, subject=self._owner(), noun=self._noun)
            return dict.__getitem__(self, key)
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]  # scikit-learn indexes the rows of anything with a shape in this way
        if isinstance(key, slice):
            return type(self)({name: self._take(part, key) for name, part in self.items()})
        keys = np.asarray(key)
        if keys.ndim != 1 or isinstance(key, tuple):
            raise TypeError(
                f"{self._owner()}: index by a name, a list of names, or several rows. Got {key!r}; "
                f"for one row write {self._example}[[3]], for two names "
                f"{self._example}[['a', 'b']]."
            )
        if not keys.size:
            return self[:0]
        if keys.dtype.kind in "UTO" and all(isinstance(name, str) for name in keys):
            return type(self)({name: self[name] for name in keys.tolist()})
        rows = np.arange(len(self))[keys]  # one meaning, and one error, for all kinds of parts
        return type(self)({name: self._take(part, rows) for name, part in self.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)) or set(self) != set(other):
            return False
        return all(self._is_same(self[name], other[name]) for name in self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        if not dict.__len__(self):
            return f"{self._owner()} of no {self._noun}"
        width = max(map(len, self))
        lines = [f"{self._owner()} of {len(self)} rows:"]
        lines += [f"  {name:<{width}}  {self._describe(part)}" for name, part in self.items()]
        return "\n".join(lines)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            f"{self._owner()}: several {self._noun}s {list(self)} are not one array, which this "
            f"tool of scikit-learn or numpy asked for. {self._why_no_array(list(self))}"
        )

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        axis = {"axis": 0, **dict(zip(["axis"], args[1:], strict=False)), **kwargs}
        if func is not np.concatenate or axis != {"axis": 0}:
            self.__array__()
        parts = list(args[0])
        if not all(isinstance(part, type(self)) and set(part) == set(self) for part in parts):
            raise TypeError(
                f"{self._owner()}: only {self._owner()} of the same names can be concatenated. Got "
                f"{[list(p) if isinstance(p, NamedRows) else type(p).__name__ for p in parts]}."
            )
        return type(self)({name: self._join([p[name] for p in parts]) for name in parts[0]})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.items()),)

    def __or__(self, other: Any) -> Any:
        return type(self)({**self, **other}) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return type(self)({**other, **self}) if isinstance(other, Mapping) else NotImplemented

    def copy(self) -> Self:
        """Return another object with the same parts."""
        return type(self)(self)

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{self._owner()}: cannot be changed in place. Make a new one, for example "
            f"{self._owner()}({{**{self._example}, 'name': values}})."
        )

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = _refuse
    setdefault = _refuse  # pyright: ignore[reportAssignmentType]
    update = _refuse  # pyright: ignore[reportAssignmentType]
