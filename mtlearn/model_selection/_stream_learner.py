"""An estimator that predicts and learns a stream batch by batch."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mtlearn._arrays import homogeneous, is_frame, missing_mask
from mtlearn._typing import Array, Floats
from mtlearn.heads import ClassHead, Classification, Head
from mtlearn.model_selection._stream import Stream
from mtlearn.model_selection._stream_scores import takes
from mtlearn.targets import Targets

__all__ = ["ExpertWeights", "StreamLearner", "find_classified"]


def find_classified(estimator: Any, targets: Targets) -> list[str]:
    """Return the outputs whose labels are classes, to the estimator or by their type."""
    has_tags = hasattr(estimator, "__sklearn_tags__")
    if has_tags and is_classifier(estimator):
        return list(targets)
    if has_tags and is_regressor(estimator):
        return []
    heads = _heads(estimator)
    return [name for name, labels in targets.items() if _is_classified(heads.get(name), labels)]


def _is_classified(head: Any, labels: Array) -> bool:
    if isinstance(head, Head):
        return isinstance(head, ClassHead)
    return homogeneous(labels[~missing_mask(labels)]).dtype.kind != "f"


def _heads(estimator: Any) -> Mapping[str, Any]:
    heads = getattr(estimator, "heads", None)
    return heads if isinstance(heads, Mapping) else {}


class StreamLearner:
    """A copy of an estimator, which predicts and learns batches.

    Parameters
    ----------
    estimator : estimator
        What to copy.
    stream : Stream
        What it will learn.
    classified : list of str
        The outputs that have classes.
    warm_start : bool
        Whether the copy goes on from where `estimator` is.
    declare_classes : bool
        Whether to pass all classes of the stream to the first ``partial_fit``.
    owner : str
        Who complains.

    Attributes
    ----------
    estimator : estimator
        The copy.
    """

    def __init__(
        self,
        estimator: Any,
        stream: Stream,
        classified: list[str],
        *,
        warm_start: bool,
        declare_classes: bool,
        owner: str,
    ) -> None:
        for method in ("partial_fit", "predict"):
            if not hasattr(estimator, method):
                raise TypeError(
                    f"{owner}: `estimator` must have the method {method!r}, to learn a stream. Got "
                    f"{type(estimator).__name__}, which has none."
                )
        self.estimator = copy.deepcopy(estimator) if warm_start else clone(estimator)
        if stream.weights is not None and not takes(estimator.partial_fit, "sample_weight"):
            raise TypeError(
                f"{owner}: `sample_weight` must be None for an estimator whose `partial_fit` takes "
                f"no weights. Got weights and {type(estimator).__name__}."
            )
        self.owner = owner
        self.names = stream.names
        self._first: dict[str, Any] = {}
        if declare_classes and takes(estimator.partial_fit, "classes") and not self._is_fitted():
            self._first = self._declared(stream, classified)

    def predict(self, X: Any) -> Mapping[str, Any] | None:
        """Return the predictions by output; None before the estimator is fitted."""
        try:
            predicted = self.estimator.predict(X)
        except NotFittedError:
            return None
        return self._by_name(predicted)

    def learn(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Learn a batch."""
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator.partial_fit(X, y, **self._first, **options)
        self._first = {}

    def _is_fitted(self) -> bool:
        try:
            check_is_fitted(self.estimator)
        except (NotFittedError, TypeError):
            return False
        return True

    def _declared(self, stream: Stream, classified: list[str]) -> dict[str, Any]:
        """Return the classes as ``partial_fit`` takes them: an array, one per column or by name."""
        targets, heads = stream.targets, _heads(self.estimator)
        is_array = isinstance(stream.y, np.ndarray)
        if is_array and classified and targets[self.names[0]].shape[1:] > (1,):
            return {"classes": [_classes(column) for column in stream.y.T]}
        if is_frame(stream.y) and is_classifier(self.estimator):
            return {"classes": [_classes(targets[name]) for name in self.names]}
        classes = {}
        for name in classified:
            head = heads.get(name, Classification())
            is_open = isinstance(head, Classification) and head.classes is None
            if is_open and targets[name].shape[1:] in ((), (1,)):
                classes[name] = _classes(targets[name])
        if not classes:
            return {}
        return {"classes": next(iter(classes.values())) if is_array else classes}

    def _by_name(self, predicted: Any) -> Mapping[str, Any]:
        if isinstance(predicted, Mapping):
            missing = [name for name in self.names if name not in list(predicted)]
            if missing:
                raise ValueError(
                    f"{self.owner}: `predict` must return all outputs of `y`. Missing are "
                    f"{missing}; leave them out of `y`."
                )
            return predicted
        if is_frame(predicted):
            return self._by_name(Targets.from_frame(predicted))
        if len(self.names) == 1:
            return {self.names[0]: predicted}
        columns = np.asarray(predicted)
        if columns.ndim != 2 or columns.shape[1] != len(self.names):
            raise ValueError(
                f"{self.owner}: `predict` must return a column for each of the outputs "
                f"{self.names}, or a dict. Got the shape {columns.shape}."
            )
        return dict(zip(self.names, columns.T, strict=True))


class ExpertWeights:
    """The weights of an estimator's experts over time.

    Parameters
    ----------
    n_records : int
        How often they are noted.
    """

    def __init__(self, n_records: int) -> None:
        self.n_records = n_records
        self.tables: dict[str, Floats] = {}

    def note(self, record: int, estimator: Any) -> None:
        """Note the weights as they are now, if there are any."""
        weights_of = getattr(estimator, "expert_weights_", None)
        if not isinstance(weights_of, Mapping):
            return
        for name, given in weights_of.items():
            weights = np.ravel(given)
            table = self.tables.get(name, np.empty((self.n_records, 0)))
            n_more = len(weights) - table.shape[1]
            if n_more > 0:
                table = np.pad(table, [(0, 0), (0, n_more)], constant_values=np.nan)
                self.tables[name] = table
            table[record, : len(weights)] = weights

    def names(self, estimator: Any) -> list[str]:
        """Return the names of the experts."""
        named = list(getattr(estimator, "expert_names_", []))
        n_experts = max((table.shape[1] for table in self.tables.values()), default=0)
        return [*named, *(f"expert_{i}" for i in range(len(named), n_experts))]


def _classes(labels: Array) -> Array:
    return np.unique(homogeneous(labels[~missing_mask(labels)]))
