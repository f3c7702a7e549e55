"""Metrics of yes/no labels by name, with weights of labels and gaps."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from mtlearn._typing import Array, Floats, Mask
from mtlearn._validation import suggest

__all__ = ["LabelMetric", "Score", "named_metric"]

# From the labels, those predicted and the weight of each, all of shape (n_samples, n_labels).
Score: TypeAlias = Callable[[Mask, Mask, Floats], float]
Formula: TypeAlias = Callable[[Array, Array], Array]

FORMULAS: dict[str, Formula] = {
    "f1": lambda right, wrong: _ratio(2 * right, 2 * right + wrong),
    "jaccard": lambda right, wrong: _ratio(right, right + wrong),
}


class LabelMetric:
    """A score of labels, of those predicted and of the weight of each.

    Parameters
    ----------
    score : callable
        The score of three arrays of shape (n_samples, n_labels).
    by_column : bool, default=False
        Whether it is a mean over labels, so that each can be chosen by itself.
    """

    def __init__(self, score: Score, *, by_column: bool = False) -> None:
        self.score = score
        self.by_column = by_column

    def __call__(self, y: Mask, predicted: Mask, weight: Floats) -> float:
        return self.score(y, predicted, weight)

    def of_label(self, j: int, y: Mask, predicted: Mask, weight: Floats) -> Callable[[Mask], float]:
        """Return the score by what is predicted for label `j`, while the others stay.

        Of a mean over labels it is the score of that label alone.
        """
        part = slice(j, j + 1) if self.by_column else slice(None)
        trial, own = predicted[:, part].copy(), 0 if self.by_column else j

        def score(column: Mask) -> float:
            trial[:, own] = column
            return self.score(y[:, part], trial, weight[:, part])

        return score


class _OfCounts(LabelMetric):
    """A formula of how many labels are right and wrong: of each row and averaged, or of all."""

    def __init__(self, formula: Formula, *, by_row: bool) -> None:
        super().__init__(self._score)
        self.formula = formula
        self.by_row = by_row

    def of_label(self, j: int, y: Mask, predicted: Mask, weight: Floats) -> Callable[[Mask], float]:
        """Return the score by what is predicted for label `j`, while the others stay."""
        cells, rows = self._weights(weight)
        own_y, own_cells = y[:, [j]], cells[:, [j]]
        cells[:, j] = 0.0
        others = self._count(y, predicted, cells)

        def score(column: Mask) -> float:
            return self._mean(others + self._count(own_y, column[:, None], own_cells), rows)

        return score

    def _score(self, y: Mask, predicted: Mask, weight: Floats) -> float:
        cells, rows = self._weights(weight)
        return self._mean(self._count(y, predicted, cells), rows)

    def _weights(self, weight: Floats) -> tuple[Floats, Floats]:
        """Return the weights of labels within what is counted together, and of that."""
        if self.by_row:
            return (weight > 0).astype(np.float64), weight.max(axis=1)
        return weight.copy(), np.ones(())

    def _count(self, y: Mask, predicted: Mask, cells: Floats) -> Array:
        return _count(y, predicted, cells, axis=1 if self.by_row else None)

    def _mean(self, counts: Array, rows: Floats) -> float:
        return _mean(self.formula(*counts), rows)


def named_metric(name: str, *, is_multilabel: bool, owner: str) -> LabelMetric:
    """Return a metric of scikit-learn's name.

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
    return known[name]


def _metrics_of_labels() -> dict[str, LabelMetric]:
    balanced = LabelMetric(_balanced_accuracy, by_column=True)
    averaged = {
        f"{name}_{average}": _averaged(formula, average)
        for name, formula in FORMULAS.items()
        for average in ("macro", "micro", "samples", "weighted")
    }
    return {**averaged, "accuracy": _accuracy(), "balanced_accuracy": balanced}


def _metrics_of_two_classes() -> dict[str, LabelMetric]:
    balanced = LabelMetric(_balanced_accuracy)
    plain = {name: _averaged(formula, "macro") for name, formula in FORMULAS.items()}
    both = {
        f"{name}_{average}": _of_both(_averaged(formula, average))
        for name, formula in FORMULAS.items()
        for average in ("macro", "micro", "weighted")
    }
    return {**plain, **both, "accuracy": _accuracy(), "balanced_accuracy": balanced}


def _averaged(formula: Formula, average: str) -> LabelMetric:
    if average in ("micro", "samples"):
        return _OfCounts(formula, by_row=average == "samples")

    def score(y: Mask, predicted: Mask, weight: Floats) -> float:
        scores = formula(*_count(y, predicted, weight, axis=0))
        is_macro = average == "macro"
        return _mean(scores, np.any(weight > 0, axis=0) if is_macro else np.sum(weight * y, axis=0))

    return LabelMetric(score, by_column=True)


def _of_both(metric: LabelMetric) -> LabelMetric:
    def of_both(y: Mask, predicted: Mask, weight: Floats) -> float:
        return metric(np.hstack([~y, y]), np.hstack([~predicted, predicted]), np.tile(weight, 2))

    return LabelMetric(of_both)


def _accuracy() -> LabelMetric:
    """Return the share of rows whose observed labels are all right."""
    return _OfCounts(lambda _, wrong: wrong == 0, by_row=True)


def _count(y: Mask, predicted: Mask, weight: Floats, axis: int | None) -> Array:
    """Return the sums of weights of labels found, and of labels missed or predicted wrongly."""
    cells = y & predicted, y ^ predicted
    return np.stack([np.sum(weight * part, axis=axis) for part in cells])


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
