"""Several targets of the same rows, as one object that scikit-learn can count and index."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from mtlearn._arrays import as_array, column_names, missing_mask, stack_columns
from mtlearn._named_rows import NamedRows
from mtlearn._typing import Array
from mtlearn._validation import check_known, check_output_names

__all__ = ["Targets"]


class Targets(NamedRows):
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

    _noun = "target"
    _example = "y"

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

    @staticmethod
    def _check_names(names: Iterable[object]) -> None:
        check_output_names(names, subject="Targets")

    @staticmethod
    def _convert(value: Any, name: str) -> Array:
        return as_array(value, name)

    @staticmethod
    def _take(part: Array, rows: Any) -> Array:
        return part[rows]

    @staticmethod
    def _join(parts: list[Array]) -> Array:
        return np.concatenate(parts)

    @staticmethod
    def _is_same(part: Array, other: Array) -> bool:
        if part.shape != other.shape:
            return False
        missing = missing_mask(part)
        if not np.array_equal(missing, missing_mask(other)):
            return False
        return bool(np.all(part[~missing] == other[~missing]))

    @staticmethod
    def _describe(part: Array) -> str:
        kind = f"{part.dtype}" + (f" {part.shape}" if part.ndim == 2 else "")
        shown = (
            [str(v) if isinstance(v, np.ndarray) else repr(v) for v in part[:3].tolist()]
            if part.ndim == 1
            else [str(row) for row in part[:3]]
        )
        tail = ", ..." if len(part) > 3 else ""
        n_missing = int(missing_mask(part).sum())
        missing = f"    {n_missing} missing" if n_missing else ""
        return f"{kind:<15}  {', '.join(shown)}{tail}{missing}"

    @staticmethod
    def _why_no_array(names: list[str]) -> str:
        name = names[0] if names else "name"
        return (
            f"Pick one with y[{name!r}], or give the others as `aux=` to MultiOutputNetRegressor "
            f"or MultiOutputNetClassifier."
        )
