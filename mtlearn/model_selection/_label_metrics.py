"""Metrics of yes/no labels by name, with weights of labels and gaps."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from mtlearn._typing import Array, Floats, Mask
from mtlearn._validation import suggest

__all__ = ["LabelMetric", "named_metric"]

# From the labels, those predicted and the weight of each, all of shape (n_samples, n_labels).
LabelMetric: TypeAlias = Callable[[Mask, Mask, Floats], float]

FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    "f1": lambda right, wrong: _ratio(2 * right, 2 * right + wrong),
    "jaccard": lambda right, wrong: _ratio(right, right + wrong),
}


def named_metric(name: str, *, is_multilabel: bool, owner: str) -> tuple[LabelMetric, bool]:
    """Return a metric of scikit-learn's name, and whether it is a mean over labels.

    Of a target of two classes, both are labels for ``"f1_macro"`` and the like, and the second one
    alone for ``"f1"``. A label of weight 0 is left out.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    known = _metrics_of_labels() if is_multilabel else _metrics_of_two_classes()
    if name not in known:
        what = "labels" if is_multilabel else "two classes"
        raise ValueError(
            f"{owner}: the metric of {what} must be one of {sorted(known)} or a function of labels "
            f"and predictions. Got {name!r}{suggest(name, known)}."
        )
    return known[name], is_multilabel and name in _means_over_labels()


def _means_over_labels() -> list[str]:
    return [*(f"{name}_macro" for name in FORMULAS), "balanced_accuracy"]


def _metrics_of_labels() -> dict[str, LabelMetric]:
    averaged = {
        f"{name}_{average}": _averaged(formula, average)
        for name, formula in FORMULAS.items()
        for average in ("macro", "micro", "samples", "weighted")
    }
    return {**averaged, "accuracy": _accuracy, "balanced_accuracy": _balanced_accuracy}


def _metrics_of_two_classes() -> dict[str, LabelMetric]:
    plain = {name: _averaged(formula, "macro") for name, formula in FORMULAS.items()}
    both = {
        f"{name}_{average}": _of_both(_averaged(formula, average))
        for name, formula in FORMULAS.items()
        for average in ("macro", "micro", "weighted")
    }
    return {**plain, **both, "accuracy": _accuracy, "balanced_accuracy": _balanced_accuracy}


def _averaged(formula: Callable[[Array, Array], Array], average: str) -> LabelMetric:
    axis = {"micro": None, "samples": 1}.get(average, 0)

    def metric(y: Mask, predicted: Mask, weight: Floats) -> float:
        present = (weight > 0).astype(np.float64) if average == "samples" else weight
        right = np.asarray(np.sum(present * (y & predicted), axis=axis))
        wrong = np.asarray(np.sum(present * (y ^ predicted), axis=axis))
        scores = formula(right, wrong)
        if average == "weighted":
            return _mean(scores, np.sum(weight * y, axis=0))
        if average == "samples":
            return _mean(scores, weight.max(axis=1))
        return _mean(scores, np.any(weight > 0, axis=0)) if average == "macro" else float(scores)

    return metric


def _of_both(metric: LabelMetric) -> LabelMetric:
    def of_both(y: Mask, predicted: Mask, weight: Floats) -> float:
        return metric(np.hstack([~y, y]), np.hstack([~predicted, predicted]), np.tile(weight, 2))

    return of_both


def _accuracy(y: Mask, predicted: Mask, weight: Floats) -> float:
    """Return the share of rows whose observed labels are all right."""
    right = ((y == predicted) | (weight <= 0)).all(axis=1)
    return _mean(right, weight.max(axis=1))


def _balanced_accuracy(y: Mask, predicted: Mask, weight: Floats) -> float:
    """Return the mean over labels of the share that is right where it is present and absent."""
    present, absent = np.sum(weight * y, axis=0), np.sum(weight * ~y, axis=0)
    found = _ratio(np.sum(weight * (y & predicted), axis=0), present)
    spared = _ratio(np.sum(weight * ~(y | predicted), axis=0), absent)
    kinds = (present > 0).astype(int) + (absent > 0)
    return _mean((found + spared) / np.maximum(kinds, 1), kinds > 0)


def _ratio(part: Array, whole: Array) -> Array:
    """Return a quotient, 0 where it would be one of zeros."""
    return np.asarray(part, dtype=np.float64) / np.where(whole > 0, whole, 1.0)


def _mean(scores: Array, weight: Array) -> float:
    return float(np.sum(scores * weight) / total) if (total := np.sum(weight)) > 0 else 0.0
