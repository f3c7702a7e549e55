"""The rows of a stream: checked, and taken batch by batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtlearn._arrays import column_names, is_frame, missing_mask, series_to_numpy
from mtlearn._sklearn import safe_indexing
from mtlearn._typing import Array, Floats, SampleWeight
from mtlearn._validation import check_known
from mtlearn.inputs import Inputs
from mtlearn.model_selection._rows import as_inputs, as_rows, by_name
from mtlearn.targets import Targets

__all__ = ["ARRAY_NAME", "Stream"]

ARRAY_NAME = "y"
CHUNK = 4096  # rows at a time


class Stream:
    """Rows, targets and weights of a stream.

    Parameters
    ----------
    X : array-like, DataFrame, Inputs or dict of array-like, or list of dict
        The rows.
    y : Targets, dict of array-like, DataFrame or array-like
        The targets.
    sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
        The weights.
    owner : str
        Who complains.
    """

    def __init__(self, X: Any, y: Any, sample_weight: SampleWeight, owner: str) -> None:
        if y is None:
            raise ValueError(f"{owner}: `y` must be given, since each row is scored. Got None.")
        self.X = _as_rows_of(X)
        self.n_rows = len(self.X) if isinstance(self.X, list) else self.X.shape[0]
        self.targets: Targets = by_name(y)
        self.names: list[str] = list(self.targets)
        if not self.n_rows or not self.names:
            raise ValueError(f"{owner}: a stream must have a row and a target. Got {X!r}, {y!r}.")
        if len(self.targets) != self.n_rows:
            raise ValueError(
                f"{owner}: `X` and `y` must have the same number of rows. Got {self.n_rows} and "
                f"{len(self.targets)}."
            )
        has_names = isinstance(y, Mapping) or is_frame(y)
        self.y = as_rows(y) if has_names else self.targets[ARRAY_NAME]
        self.weights = self._check_weights(sample_weight, owner)

    def batch(self, rows: slice) -> tuple[Any, Any, Any]:
        """Return the rows, targets and weights of a batch."""
        weights = self.weights
        if isinstance(weights, dict):
            weights = {name: weight[rows] for name, weight in weights.items()}
        elif weights is not None:
            weights = weights[rows]
        return _take(self.X, rows), _take(self.y, rows), weights

    def weight_of(self, name: str) -> Floats:
        """Return the weight of each row for an output."""
        weights = self.weights
        if isinstance(weights, dict):
            weights = weights.get(name)
        return np.ones(self.n_rows) if weights is None else weights

    def availability(self) -> Floats:
        """Return of each row the share of its values that are there."""
        shares = np.empty(self.n_rows)
        if isinstance(self.X, list):
            names = {name for row in self.X for name in row}
            for i, row in enumerate(self.X):
                there = ~missing_mask(np.array([*row.values(), None], dtype=object))
                shares[i] = there.sum() / max(len(names), 1)
            return shares
        for start in range(0, self.n_rows, CHUNK):
            rows = slice(start, start + CHUNK)
            counts = [_count_values(part) for part in _parts(_take(self.X, rows))]
            there, n_values = np.sum([n for n, _ in counts], axis=0), sum(n for _, n in counts)
            shares[rows] = there / max(n_values, 1)
        return shares

    def _check_weights(
        self, weights: SampleWeight, owner: str
    ) -> Floats | dict[str, Floats] | None:
        if weights is None:
            return None
        if isinstance(weights, Mapping):
            check_known(weights, self.names, subject=f"{owner}: `sample_weight`")
            return {name: self._as_weights(some, owner) for name, some in weights.items()}
        return self._as_weights(weights, owner)

    def _as_weights(self, weights: Any, owner: str) -> Floats:
        array = np.asarray(weights, dtype=np.float64)
        if array.shape != (self.n_rows,) or not np.all(np.isfinite(array) & (array >= 0)):
            raise ValueError(
                f"{owner}: `sample_weight` must be a finite number of at least 0 for each of "
                f"{self.n_rows} rows. Got the shape {array.shape}."
            )
        return array


def _as_rows_of(X: Any) -> Any:
    """Return what can be divided by rows: an array, a frame, Inputs or a list of dicts."""
    if hasattr(X, "tocsr"):
        return X.tocsr()
    if isinstance(X, list | tuple) and X and all(isinstance(row, Mapping) for row in X):
        return list(X)
    X = as_inputs(X)
    return X if isinstance(X, Inputs) or is_frame(X) else np.asarray(X)


def _take(values: Any, rows: slice) -> Any:
    return safe_indexing(values, rows) if is_frame(values) else values[rows]


def _parts(X: Any) -> list[Any]:
    """Return the arrays that rows are made of."""
    if isinstance(X, Inputs):
        return [array for part in X.values() for array in _parts(part)]
    if is_frame(X):
        return [series_to_numpy(X[name]) for name in column_names(X)]
    return [X]


def _count_values(part: Any) -> tuple[Array, int]:
    """Return how many values of each row are there, and how many there can be."""
    n_rows = part.shape[0]
    if hasattr(part, "tocsr"):
        return np.full(n_rows, part.shape[1]), part.shape[1]
    there = np.isfinite(part) if part.dtype.kind == "f" else ~missing_mask(part)
    there = there.reshape(n_rows, -1)
    return there.sum(axis=1), there.shape[1]
