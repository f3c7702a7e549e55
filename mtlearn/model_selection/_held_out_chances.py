"""Probabilities of rows by networks that were not trained on them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from mtlearn._typing import Array, Floats
from mtlearn.estimators._view import find_net, predict_outputs, transform
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.model_selection._cross_fits import cross_fits

__all__ = ["cross_chances", "known_chances"]


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
    ask = partial(_chances, classes)
    parts = cross_fits(estimator, X, y, params, ask, cv=cv, groups=groups, n_jobs=n_jobs)
    return _mean_chances(parts, len(y))


def _chances(classes: Mapping[str, Array], fitted: Any, X: Any) -> dict[str, Floats]:
    found = predict_outputs(fitted, X, list(classes), proba=True)
    heads = find_net(fitted)[0].heads_
    return {name: _of_classes(heads[name], found[name], classes[name]) for name in classes}


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


def _mean_chances(parts: list[tuple[Array, dict[str, Floats]]], n_rows: int) -> dict[str, Floats]:
    """Return the mean probabilities of each row over the splits that held it out, NaN of none."""
    counts = np.zeros((n_rows, 1))
    sums = {name: np.zeros((n_rows, part.shape[1])) for name, part in parts[0][1].items()}
    for held, part in parts:
        counts[held] += 1
        for name, values in part.items():
            sums[name][held] += values
    with np.errstate(invalid="ignore"):
        return {name: total / counts for name, total in sums.items()}
