"""Which outputs get thresholds, by which metrics."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from mtlearn._arrays import as_columns, homogeneous
from mtlearn._typing import Array, Floats, Mask
from mtlearn._validation import check_known
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.model_selection._label_metrics import LabelMetric, Score, named_metric
from mtlearn.model_selection._threshold_search import search_thresholds

__all__ = ["Metric", "find_metrics", "tune"]

Metric: TypeAlias = str | Callable[..., float]


def _has_threshold(head: Head) -> bool:
    is_binary = isinstance(head, ClassHead) and len(head.classes_) == 2
    return isinstance(head, MultiLabel) or is_binary


def find_metrics(scoring: Any, heads: Mapping[str, Head], owner: str) -> dict[str, Metric]:
    """Return the metric of every output that is to have thresholds."""
    tunable = [name for name, head in heads.items() if _has_threshold(head)]
    if isinstance(scoring, Mapping):
        check_known(scoring, heads, subject=f"{owner}: `scoring`")
    wanted = list(scoring) if isinstance(scoring, Mapping) else tunable
    without = [name for name in wanted if name not in tunable]
    if without or not wanted:
        kinds = {name: type(head).__name__ for name, head in heads.items()}
        what = f"`scoring` must name outputs with {{}}. Got {without}" if without else ""
        what = what or "`estimator` must have an output with {}. Got none"
        raise ValueError(
            f"{owner}: {what.format('labels or two classes, which have thresholds')}; the outputs "
            f"are {kinds}."
        )
    metrics = {name: scoring[name] if isinstance(scoring, Mapping) else scoring for name in wanted}
    for name, metric in metrics.items():
        if isinstance(metric, str):
            is_multilabel = isinstance(heads[name], MultiLabel)
            subject = f"{owner}: `scoring` of output {name!r}"
            named_metric(metric, is_multilabel=is_multilabel, owner=subject)
        elif not callable(metric):
            raise TypeError(
                f"{owner}: `scoring` must hold names of metrics or functions. Got {metric!r} for "
                f"{name!r}."
            )
    return metrics


def tune(
    head: Head, metric: Metric, chances: Floats, labels: Array, weight: Floats, n_thresholds: int
) -> tuple[Floats, float]:
    """Return the thresholds of one output, and their score."""
    is_multilabel = isinstance(head, MultiLabel)
    assert isinstance(head, ClassHead)
    y = np.zeros(weight.shape, dtype=bool)
    y[weight > 0] = as_columns(labels)[weight > 0] == (1 if is_multilabel else head.classes_[1])
    if isinstance(metric, str):
        score = named_metric(metric, is_multilabel=is_multilabel, owner="scoring")
    else:
        complete = (weight > 0).all(axis=1)
        y, chances, weight = y[complete], chances[complete], weight[complete]
        score = LabelMetric(_of_labels(metric, head, homogeneous(labels[complete])))
    start = head.threshold_ if isinstance(head, MultiLabel) else np.array([0.5])
    return search_thresholds(y, chances, weight, start, score, n_thresholds=n_thresholds)


def _of_labels(metric: Callable[..., float], head: ClassHead, labels: Array) -> Score:
    """Return a user's metric of labels as one of yes and no."""
    takes_weight = "sample_weight" in inspect.signature(metric).parameters

    def score(_: Mask, predicted: Mask, weight: Floats) -> float:
        decided = (
            predicted.astype(head.dtype_)
            if isinstance(head, MultiLabel)
            else head.classes_[predicted[:, 0].astype(int)]
        )
        weights = {"sample_weight": weight.max(axis=1)} if takes_weight else {}
        return float(metric(labels, decided, **weights))

    return score
