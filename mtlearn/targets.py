"""Several targets of the same rows, as one object that scikit-learn can count and index."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from mtlearn._arrays import as_array, column_names, missing_mask, stack_columns
from mtlearn._typing import Array
from mtlearn._validation import check_known, check_output_names

__all__ = ["Targets"]


class Targets(dict[str, Array]):
    """Targets by name: a dict of arrays that scikit-learn can split by rows.

    A plain dict has as many items as targets, so scikit-learn takes that for the number of rows.
    Targets has DataFrame's semantics instead: its length is the number of rows and its iteration
    gives the names. It therefore works as ``y`` in ``train_test_split``, ``cross_validate``,
    ``GridSearchCV`` and the like. It cannot be changed; make a new one, for example
    ``Targets({**y, "price": log_price})``.

    ``y["price"]`` is the array of one target, ``y[["price", "kind"]]`` the Targets of some of
    them, ``y[rows]`` the Targets of some rows (a slice, a mask or an array of positions).

    Parameters
    ----------
    data : mapping of str to array-like of shape (n_samples,) or (n_samples, n_columns), default=()
        The targets by name. Lists, Series of pandas and polars and numpy arrays become numpy
        arrays; a missing label is NaN, None or NaT.

    Attributes
    ----------
    shape : tuple of int
        ``(n_samples,)``.

    Raises
    ------
    TypeError
        If a name is no string, or if an array is asked for: several targets are not one array.
    ValueError
        If the targets differ in length, are not one- or two-dimensional, or have a name that
        is empty, is ``"val"`` or contains ``"__"``.

    See Also
    --------
    mtlearn.MultiOutputNet : Learns all targets of a Targets at once, and predicts one.

    Examples
    --------
    >>> from mtlearn import Targets
    >>> y = Targets({"price": [1.5, 2.0, 9.0], "kind": ["flat", "flat", None]})
    >>> len(y), list(y), y["price"].mean()
    (3, ['price', 'kind'], np.float64(4.166666666666667))
    >>> y[[0, 2]]
    Targets of 2 rows:
      price  float64          1.5, 9.0
      kind   object           'flat', None    1 missing
    """

    __slots__ = ()

    def __init__(self, data: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        items = dict(data)
        check_output_names(items, subject="Targets")
        super().__init__({name: as_array(value, name) for name, value in items.items()})
        lengths = {name: len(values) for name, values in dict.items(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"Targets: all targets must have the same number of rows. Got {lengths}."
            )

    @classmethod
    def from_frame(cls, frame: Any, *, groups: Mapping[str, Sequence[str]] | None = None) -> Self:
        """Make Targets from the columns of a DataFrame.

        Parameters
        ----------
        frame : DataFrame of pandas or polars, or Table of pyarrow
            One column per target.
        groups : mapping of str to sequence of str, default=None
            Columns that together are one target of several columns, by the target's name:
            ``{"tags": ["tag_rock", "tag_pop"]}``. It stands where its first column stood.

        Returns
        -------
        Targets
            The targets in the order of the columns.

        Raises
        ------
        ValueError
            If a group names an unknown column, or two groups the same one.

        Examples
        --------
        >>> import pandas as pd
        >>> from mtlearn import Targets
        >>> frame = pd.DataFrame({"price": [1.5, 2.0], "rock": [0, 1], "pop": [1, 1]})
        >>> Targets.from_frame(frame, groups={"tags": ["rock", "pop"]})
        Targets of 2 rows:
          price  float64          1.5, 2.0
          tags   int64 (2, 2)     [0 1], [1 1]
        """
        groups = groups or {}
        columns: list[str] = column_names(frame)
        if len(set(columns)) < len(columns):
            raise ValueError(
                f"Targets: the columns of a frame must have different names. Got {columns}."
            )
        group_of: dict[str, str] = {}
        for group, members in groups.items():
            check_known(members, columns, subject=f"Targets: `groups[{group!r}]`", noun="column")
            for member in members:
                if member in group_of:
                    raise ValueError(
                        f"Targets: `groups` must use a column once. Column {member!r} is in "
                        f"{group_of[member]!r} and in {group!r}."
                    )
                group_of[member] = group
            if group in columns and group not in members:
                raise ValueError(
                    f"Targets: `groups` must not take the name of another column. Got {group!r}; "
                    f"rename the group or the column."
                )
        data: dict[str, Any] = {}
        for column in columns:
            name = group_of.get(column, column)
            if name not in data:
                members = list(groups[name]) if column in group_of else None
                data[name] = frame[column] if members is None else stack_columns(frame, members)
        return cls(data)

    def to_frame(self, *, groups: Mapping[str, Sequence[str]] | None = None) -> Any:
        """Return the targets as a pandas DataFrame.

        Parameters
        ----------
        groups : mapping of str to sequence of str, default=None
            Column names for the targets of several columns, as given to `from_frame`; by default
            ``tags`` becomes ``tags_0``, ``tags_1``, and so on.

        Returns
        -------
        pandas.DataFrame
            One column per target, and per column of a target of several.

        Raises
        ------
        ValueError
            If a group's number of names differs from the target's number of columns.
        """
        import pandas as pd

        groups = groups or {}
        check_known(groups, self, subject="Targets: `groups`", noun="target")
        columns: list[tuple[str, Array]] = []
        for name, values in self.items():
            if values.ndim == 1:
                columns.append((name, values))
                continue
            names = groups.get(name, [f"{name}_{j}" for j in range(values.shape[1])])
            if len(names) != values.shape[1]:
                raise ValueError(
                    f"Targets: `groups[{name!r}]` must name {values.shape[1]} columns. "
                    f"Got {list(names)}."
                )
            columns += zip(names, values.T, strict=True)
        labels = [label for label, _ in columns]
        if len(set(labels)) < len(labels):
            raise ValueError(
                f"Targets: the columns of a frame must have different names. Got {labels}; name "
                f"those of a target of several columns with `groups`."
            )
        return pd.DataFrame(dict(columns))

    @property
    def shape(self) -> tuple[int]:
        """The number of rows, as a tuple: what scikit-learn asks of a ``y``."""
        return (next((len(values) for values in dict.values(self)), 0),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            check_known([key], self, subject="Targets", noun="target")
            return dict.__getitem__(self, key)
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]  # scikit-learn indexes the rows of anything with a shape in this way
        if isinstance(key, list) and key and all(isinstance(name, str) for name in key):
            return type(self)({name: self[name] for name in key})
        if isinstance(key, np.ndarray) and key.dtype.kind == "U":
            return self[key.tolist()]
        if isinstance(key, tuple) or (np.ndim(key) == 0 and not isinstance(key, slice)):
            raise TypeError(
                f"Targets: index by a name, a list of names, or several rows. Got {key!r}; "
                f"for one row write y[[3]], for two names y[['a', 'b']]."
            )
        rows = key if isinstance(key, slice) else np.asarray(key)
        if not isinstance(rows, slice) and rows.size == 0:
            rows = rows.astype(np.intp)
        return type(self)({name: values[rows] for name, values in self.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Targets) or set(self) != set(other):
            return False
        return all(_same(self[name], other[name]) for name in self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        if not dict.__len__(self):
            return "Targets of no target"
        width = max(map(len, self))
        lines = [f"Targets of {len(self)} rows:"]
        lines += [f"  {name:<{width}}  {_describe(values)}" for name, values in self.items()]
        return "\n".join(lines)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        name = next(iter(self), "name")
        raise TypeError(
            f"Targets: several targets {list(self)} are not one array, which this tool of "
            f"scikit-learn or numpy asked for. Pick one with y[{name!r}], or give the others as "
            f"`aux=` to MultiOutputNetRegressor or MultiOutputNetClassifier."
        )

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if func is not np.concatenate or args[1:] not in ((), (0,)) or kwargs.get("axis", 0) != 0:
            self.__array__()
        parts = list(args[0])
        if not all(isinstance(part, Targets) and set(part) == set(self) for part in parts):
            raise TypeError(
                "Targets: only Targets of the same names can be concatenated. Got "
                f"{[list(p) if isinstance(p, Targets) else type(p).__name__ for p in parts]}."
            )
        return type(self)({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.items()),)

    def copy(self) -> Self:
        """Return Targets of the same arrays."""
        return type(self)(self)

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError(
            "Targets: cannot be changed in place. Make a new one, for example "
            "Targets({**y, 'name': values})."
        )

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = _refuse
    setdefault = _refuse  # pyright: ignore[reportAssignmentType]
    update = _refuse  # pyright: ignore[reportAssignmentType]


def _same(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    missing = missing_mask(a)
    if not np.array_equal(missing, missing_mask(b)):
        return False
    return bool(np.all(a[~missing] == b[~missing]))


def _describe(values: Array) -> str:
    kind = f"{values.dtype}" + (f" {values.shape}" if values.ndim == 2 else "")
    shown = (
        [str(v) if isinstance(v, np.ndarray) else repr(v) for v in values[:3].tolist()]
        if values.ndim == 1
        else [str(row) for row in values[:3]]
    )
    tail = ", ..." if len(values) > 3 else ""
    n_missing = int(missing_mask(values).sum())
    missing = f"    {n_missing} missing" if n_missing else ""
    return f"{kind:<15}  {', '.join(shown)}{tail}{missing}"
