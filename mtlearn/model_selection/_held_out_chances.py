"""Probabilities of rows by networks that were not trained on them."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, check_cv
from sklearn.utils.parallel import Parallel, delayed

from mtlearn._sklearn import safe_indexing
from mtlearn._typing import Array, Floats
from mtlearn.estimators._view import find_net, predict_outputs
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.model_selection._iterative_stratification import IterativeStratification

__all__ = ["cross_chances", "known_chances", "transform"]

N_FOLDS = 5


def cross_chances(
    estimator: Any,
    X: Any,
    y: Any,
    params: Mapping[str, Any],
    classes: Mapping[str, Array],
    *,
    cv: Any,
    groups: Any,
    n_jobs: int | None,
) -> dict[str, Floats]:
    """Return the mean probabilities of each row by the estimators of all splits that held it out.

    Of two classes it is that of the second; NaN for a row that no split holds out.
    """
    splits = list(_splitter(cv, groups).split(X, y, groups))
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_fit_fold)(estimator, X, y, params, *split, classes) for split in splits
    )
    return _mean_chances(list(parts), splits, len(y))


def _splitter(cv: Any, groups: Any) -> Any:
    if cv is None or isinstance(cv, Integral):
        n_folds = N_FOLDS if cv is None else int(cv)
        return (
            GroupKFold(n_folds)
            if groups is not None
            else IterativeStratification(n_folds, random_state=0)
        )
    return check_cv(cv)


def _fit_fold(
    estimator: Any,
    X: Any,
    y: Any,
    params: Mapping[str, Any],
    train: Array,
    test: Array,
    classes: Mapping[str, Array],
) -> dict[str, Floats]:
    """Return the probabilities of test rows by the estimator fitted on the others."""
    n_rows = len(y)
    of_fold = {
        name: safe_indexing(value, train) if _has_rows(value, n_rows) else value
        for name, value in params.items()
    }
    fitted = clone(estimator).fit(safe_indexing(X, train), safe_indexing(y, train), **of_fold)
    found = predict_outputs(fitted, safe_indexing(X, test), list(classes), proba=True)
    heads = find_net(fitted)[0].heads_
    return {name: _of_classes(heads[name], found[name], classes[name]) for name in classes}


def _has_rows(value: Any, n_rows: int) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str) and len(value) == n_rows


def _of_classes(head: Head, chances: Array, classes: Array) -> Floats:
    """Return a label's probabilities, of two classes that of the second, which may be unseen."""
    if isinstance(head, MultiLabel):
        return chances.astype(np.float64)
    assert isinstance(head, ClassHead)
    second = np.flatnonzero(head.classes_ == classes[1])
    return chances[:, second].sum(axis=1, keepdims=True, dtype=np.float64)


def known_chances(fitted: Any, X: Any, names: list[str], *, is_held_out: bool) -> dict[str, Floats]:
    """Return the probabilities of all rows by the fitted estimator, or by members without them."""
    net, steps = find_net(fitted)
    rows = transform(X, steps)
    found = net._predict_held_out(rows) if is_held_out else net._predict_proba(rows, names)
    heads = {name: net.heads_[name] for name in names}
    return {
        name: _of_classes(head, found[name], head.classes_)
        if found[name].shape[1:] == (len(head.classes_),)
        else np.full((len(found[name]), 1), np.nan)
        for name, head in heads.items()
    }


def _mean_chances(
    parts: list[dict[str, Floats]], splits: list[tuple[Array, Array]], n_rows: int
) -> dict[str, Floats]:
    """Return the mean probabilities of each row over the splits that held it out, NaN of none."""
    counts = np.zeros((n_rows, 1))
    sums = {name: np.zeros((n_rows, part.shape[1])) for name, part in parts[0].items()}
    for part, (_, test) in zip(parts, splits, strict=True):
        counts[test] += 1
        for name, values in part.items():
            sums[name][test] += values
    with np.errstate(invalid="ignore"):
        return {name: total / counts for name, total in sums.items()}


def transform(X: Any, steps: list[Any]) -> Any:
    for step in steps:
        X = step.transform(X)
    return X
