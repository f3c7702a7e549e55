"""Fits on parts of the rows, for what can be said of the rows that were held out."""

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

from sklearn.base import clone
from sklearn.model_selection import GroupKFold, check_cv
from sklearn.utils.parallel import Parallel, delayed

from mtlearn._sklearn import safe_indexing
from mtlearn._typing import Array, Floats
from mtlearn.model_selection._iterative_stratification import IterativeStratification

__all__ = ["cross_fits"]

N_FOLDS = 5


def cross_fits(
    estimator: Any,
    X: Any,
    y: Any,
    params: Mapping[str, Any],
    ask: Callable[[Any, Any], dict[str, Floats]],
    *,
    cv: Any,
    groups: Any,
    n_jobs: int | None,
) -> list[tuple[Array, dict[str, Floats]]]:
    """Return the rows that each split holds out, and what is said of them.

    Parameters
    ----------
    estimator : estimator
        What is cloned and fitted on the other rows of each split.
    X, y : Any
        All rows and their targets.
    params : mapping of str to Any
        Parameters of ``fit``; what has as many rows as `y` is divided with it.
    ask : callable
        What is asked of a fitted estimator and some rows; it can be pickled.
    cv : int, cross-validation splitter or iterable
        An int (None for 5) is a number of stratified folds; with `groups`, folds of whole groups.
    groups : array-like of shape (n_samples,) or None
        The groups.
    n_jobs : int or None
        The number of splits that are fitted at the same time.

    Returns
    -------
    list of (ndarray, dict)
        The positions of the rows of each split, and the answer.
    """
    splits = list(_splitter(cv, groups).split(X, y, groups))
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_fit_fold)(estimator, X, y, params, *split, ask) for split in splits
    )
    return [(held, part) for (_, held), part in zip(splits, list(parts), strict=True)]


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
    ask: Callable[[Any, Any], dict[str, Floats]],
) -> dict[str, Floats]:
    """Return what the estimator fitted on the training rows says of the others."""
    n_rows = len(y)
    of_fold = {
        name: safe_indexing(value, train) if _has_rows(value, n_rows) else value
        for name, value in params.items()
    }
    fitted = clone(estimator).fit(safe_indexing(X, train), safe_indexing(y, train), **of_fold)
    return ask(fitted, safe_indexing(X, test))


def _has_rows(value: Any, n_rows: int) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str) and len(value) == n_rows
