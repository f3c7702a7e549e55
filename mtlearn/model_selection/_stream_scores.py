"""What was predicted of a stream's outputs, beside what came."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, ClassVar, TypeAlias

import numpy as np
from sklearn.metrics import mean_absolute_error, r2_score

from mtlearn._arrays import as_columns, missing_mask
from mtlearn._typing import Array, Floats, Mask

__all__ = ["ClassScores", "Metric", "NumberScores", "OutputScores", "takes"]

Metric: TypeAlias = Callable[..., float]


class OutputScores(ABC):
    """The labels of an output and its predictions, filled in batch by batch.

    Parameters
    ----------
    name : str
        The output.
    labels : ndarray of shape (n_samples,) or (n_samples, n_columns)
        The labels.
    owner : str
        Who complains.
    """

    error_name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]
    found: Array

    def __init__(self, name: str, labels: Array, owner: str) -> None:
        self.name = name
        self.shape = labels.shape
        self.observed: Mask = np.all(~as_columns(missing_mask(labels)), axis=1)
        self.predicted: Mask = np.zeros(len(labels), dtype=bool)
        self.owner = owner

    def note(self, rows: slice, predicted: Any) -> None:
        """Keep the predictions of some rows.

        Raises
        ------
        ValueError
            If they have another shape than the labels, or are not finite.
        """
        array = np.asarray(predicted)
        shape = (rows.stop - rows.start, *self.shape[1:])
        if array.size != prod(shape) or len(array) != shape[0]:
            raise ValueError(
                f"{self.owner}: output {self.name!r}: `predict` must return the shape of the "
                f"labels, {shape}. Got {array.shape}."
            )
        self.found[rows] = self._encode(array.reshape(shape))
        self.predicted[rows] = True

    def score(
        self, scored: Mask, weight: Floats | None, metrics: Mapping[str, Metric] | None
    ) -> dict[str, float]:
        """Return the metrics over the rows that are scored; the default ones for None."""
        chosen = self.metrics if metrics is None else metrics
        if not scored.any():
            return dict.fromkeys(chosen, float("nan"))
        y_true, y_pred = self._true(scored), self._found(scored)
        scores = {}
        for name, metric in chosen.items():
            options = {}
            if weight is not None and takes(metric, "sample_weight"):
                options["sample_weight"] = weight[scored]
            scores[name] = float(metric(y_true, y_pred, **options))
        return scores

    @abstractmethod
    def errors(self, scored: Mask) -> Floats:
        """Return the errors of the rows that are scored."""

    @abstractmethod
    def predictions(self) -> Array:
        """Return the predictions of all rows, with missing ones where there is none."""

    @abstractmethod
    def _encode(self, values: Array) -> Array:
        """Return labels as they are kept."""

    @abstractmethod
    def _true(self, rows: Mask) -> Array:
        """Return the labels of some rows."""

    @abstractmethod
    def _found(self, rows: Mask) -> Array:
        """Return the predictions of some rows."""


class NumberScores(OutputScores):
    """Numbers, with their absolute errors."""

    error_name = "mean absolute error"
    metrics: ClassVar[Mapping[str, Metric]] = {"mae": mean_absolute_error, "r2": r2_score}

    def __init__(self, name: str, labels: Array, owner: str) -> None:
        super().__init__(name, labels, owner)
        self.labels = np.where(missing_mask(labels), np.nan, labels).astype(np.float64)
        self.found = np.full(labels.shape, np.nan)

    def errors(self, scored: Mask) -> Floats:
        """Return the absolute errors of the rows that are scored, averaged over columns."""
        return _mean_of_columns(np.abs(self.labels[scored] - self.found[scored]))

    def predictions(self) -> Floats:
        """Return the predictions of all rows, NaN where there is none."""
        return self.found

    def _encode(self, values: Array) -> Floats:
        numbers = values.astype(np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError(
                f"{self.owner}: output {self.name!r}: predictions must be finite. Got "
                f"{numbers[~np.isfinite(numbers)][0]}: the estimator has diverged; lower its "
                f"learning rate or scale `X`."
            )
        return numbers

    def _true(self, rows: Mask) -> Floats:
        return self.labels[rows]

    def _found(self, rows: Mask) -> Floats:
        return self.found[rows]


class ClassScores(OutputScores):
    """Classes, as numbers of them, whatever they are."""

    error_name = "error rate"
    metrics: ClassVar[Mapping[str, Metric]]

    def __init__(self, name: str, labels: Array, owner: str) -> None:
        super().__init__(name, labels, owner)
        self.codes: dict[Any, int] = {}
        self.labels = np.full(labels.shape, -1, dtype=np.int32)
        self.labels[self.observed] = self._encode(labels[self.observed])
        self.found = np.full(labels.shape, -1, dtype=np.int32)

    def errors(self, scored: Mask) -> Floats:
        """Return 1 for each wrong row that is scored, the share of wrong ones of several labels."""
        return _mean_of_columns(self.labels[scored] != self.found[scored])

    def predictions(self) -> Array:
        """Return the predictions of all rows, None where there is none."""
        if self.predicted.all():
            return self._decode(self.found)
        labels = np.full(self.shape, None, dtype=object)
        labels[self.predicted] = self._decode(self.found[self.predicted])
        return labels

    def _encode(self, values: Array) -> Array:
        codes = self.codes
        found = [codes.setdefault(label, len(codes)) for label in values.ravel().tolist()]
        return np.array(found, dtype=np.int32).reshape(values.shape)

    def _decode(self, codes: Array) -> Array:
        labels = list(self.codes)
        kinds = {isinstance(label, str) for label in labels}
        known = np.array(labels, dtype=object if len(kinds) > 1 else None)
        return known[codes]

    def _true(self, rows: Mask) -> Array:
        return self._decode(self.labels[rows])

    def _found(self, rows: Mask) -> Array:
        return self._decode(self.found[rows])


def takes(function: Callable[..., Any], name: str) -> bool:
    """Tell whether a function has a parameter of a name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # what is written in C may have no signature
        return False


def _mean_of_columns(errors: Array) -> Floats:
    return as_columns(errors).mean(axis=1, dtype=np.float64)


def _accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    return float(np.average(as_columns(y_true == y_pred).mean(axis=1), weights=sample_weight))


def _balanced_accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the mean over classes of the share found, and over the columns of several labels.

    scikit-learn's warns of classes that are predicted before they come, as in a stream they may be.
    """
    weight = np.ones(len(y_true)) if sample_weight is None else sample_weight
    columns = zip(as_columns(y_true).T, as_columns(y_pred).T, strict=True)
    return float(np.mean([_balanced(true, true == pred, weight) for true, pred in columns]))


def _balanced(labels: Array, right: Array, weight: Array) -> float:
    _, code = np.unique(labels, return_inverse=True)
    return float(np.mean(np.bincount(code, weight * right) / np.bincount(code, weight)))


ClassScores.metrics = {"accuracy": _accuracy, "balanced_accuracy": _balanced_accuracy}
