"""Fits of one net with other weights of its losses: the same splits and seeds for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.model_selection import RepeatedStratifiedKFold, check_cv, cross_validate
from sklearn.pipeline import Pipeline

from mtlearn._arrays import as_columns, homogeneous, missing_mask
from mtlearn._engine._side_by_side import side_by_side
from mtlearn._named_rows import NamedRows
from mtlearn._sklearn import safe_indexing
from mtlearn._typing import Array, Floats
from mtlearn._validation import check_known, naming
from mtlearn.estimators import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor
from mtlearn.estimators._class_columns import class_targets
from mtlearn.estimators._outputs import ARRAY_NAME, as_targets, with_aux
from mtlearn.estimators._view import OutputView
from mtlearn.heads import ClassHead
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets

__all__ = ["Candidate", "Splits", "Sweep", "check_scoring", "find_splits", "find_sweep"]

NETS = (MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier)
OWNER = "auxiliary_effect"

# Train and test rows of each.
Splits = Sequence[tuple[Array, Array]]


@dataclass(frozen=True)
class Candidate:
    """Parameters to fit with, and how to call them in a message."""

    title: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What is fitted and scored.

    Parameters
    ----------
    net : estimator
        A net, or a Pipeline that ends in one.
    prefix : str
        What the names of the net's parameters begin with in `net`.
    main : str
        The main output.
    X, y : array-like, Inputs or Targets
        The rows.
    fit_params : mapping of str to Any
        Parameters of ``fit``.
    labels : ndarray of shape (n_samples,) or (n_samples, n_columns)
        The labels of the main output.
    has_classes : bool
        Whether these are classes.
    outputs : sequence of str
        The names of all outputs.
    """

    net: Any
    prefix: str
    main: str
    X: Any
    y: Any
    fit_params: Mapping[str, Any]
    labels: Array
    has_classes: bool
    outputs: Sequence[str]

    def scores(
        self,
        candidates: Sequence[Candidate],
        splits: Splits,
        seeds: Sequence[int],
        scoring: Any,
        n_jobs: int | None,
    ) -> Floats:
        """Return the score of each candidate on each split, trained side by side.

        Returns
        -------
        ndarray of shape (n_candidates, n_splits)
            The scores.
        """
        scorer = _MainScorer(self.main, scoring) if isinstance(scoring, str) else scoring
        random_states = [k for k in self.net.get_params() if k.split("__")[-1] == "random_state"]
        jobs, titles = [], []
        for candidate in candidates:
            for j, (split, seed) in enumerate(zip(splits, seeds, strict=True)):
                net = clone(self.net).set_params(**dict.fromkeys(random_states, int(seed)))
                net.set_params(**candidate.params)
                rows = self.X, self.y, split, scorer, self.fit_params
                jobs.append(partial(_score, get_config(), net, *rows))
                titles.append(f"{OWNER}: {candidate.title}, split {j}")
        found = []
        for title, (score, error) in zip(titles, _run(jobs, n_jobs), strict=True):
            with naming(title):
                if error is not None:
                    raise error
                if not np.isfinite(score):
                    raise ValueError(f"the score must be a finite number. Got {score}.")
            found.append(score)
        return np.reshape(found, (len(candidates), len(splits)))


def find_sweep(net: Any, X: Any, y: Any, fit_params: Mapping[str, Any] | None) -> Sweep:
    """Check what a user gave.

    Raises
    ------
    TypeError
        If `net` is neither a net nor a Pipeline that ends in one, or its weights are no dict.
    ValueError
        If it has no main output, or one of weight 0.
    """
    inner, prefix = net, ""
    while isinstance(inner, Pipeline):
        step, inner = inner.steps[-1]
        prefix += f"{step}__"
    if not isinstance(inner, NETS):
        raise TypeError(
            f"{OWNER}: `net` must be an estimator of mtlearn, or a Pipeline that ends in one. Got "
            f"{net!r}."
        )
    if isinstance(X, Mapping) and not hasattr(X, "tocsr") and not isinstance(X, NamedRows):
        X = Inputs(X)
    params = {name: _as_rows(value) for name, value in (fit_params or {}).items()}
    heads = dict(inner.heads or {})
    aux = params.get(f"{prefix}aux", params.get("aux"))
    targets, main = _find_targets(inner, y, aux)
    outputs = [*targets, *(name for name in heads if name not in list(targets))]
    check_known([main], outputs, subject=f"{OWNER}: `main_output`")
    given = {} if inner.loss_weights is None else inner.loss_weights
    if not isinstance(given, Mapping):
        raise TypeError(f"{OWNER}: the net's `loss_weights` must be a dict or None. Got {given!r}.")
    weight = given.get(main)
    if not callable(weight) and weight == 0:
        raise ValueError(
            f"{OWNER}: the main output must be trained. Got loss_weights={{{main!r}: {weight!r}}}."
        )
    head = heads.get(main)
    target = getattr(head, "target", None) or main
    check_known([target], targets, subject=f"{OWNER}: `y`", noun="target")
    labels = targets[target]
    has_classes = isinstance(head, ClassHead) or (
        head is None and _are_classes(labels, type(inner))
    )
    return Sweep(net, prefix, main, X, _as_rows(y), params, labels, has_classes, outputs)


def _find_targets(net: Any, y: Any, aux: Any) -> tuple[Targets, str]:
    """Return all targets by name, and the name of the main output."""
    owner, main = type(net).__name__, ARRAY_NAME
    if isinstance(net, MultiOutputNet):
        main = net.main_output
        if main is None:
            raise ValueError(
                f"{OWNER}: the net needs a main output, whose score is compared. Got "
                f"main_output=None; pass main_output='name' to {owner}."
            )
        return as_targets(y, owner)[0], main
    if isinstance(net, MultiOutputNetRegressor):
        return with_aux(Targets({ARRAY_NAME: np.asarray(y)}), aux, owner), main
    own = class_targets(y, None, owner, heads=net.heads or {})
    if list(own) != [ARRAY_NAME]:
        raise ValueError(
            f"{OWNER}: the net needs a main output, whose score is compared. Got a matrix of "
            f"classes, {list(own)}; use MultiOutputNet with `main_output`."
        )
    return with_aux(own, aux, owner), main


def _as_rows(value: Any) -> Any:
    """Return a plain dict as Targets, which can be divided by rows; all else as it is."""
    is_plain = isinstance(value, Mapping) and not isinstance(value, NamedRows)
    return Targets(value) if is_plain else value


def _are_classes(labels: Array, net: type) -> bool:
    """Tell whether labels without a head are taken for classes."""
    if net is not MultiOutputNet:
        return net is MultiOutputNetClassifier
    return homogeneous(labels[~missing_mask(labels)]).dtype.kind != "f"


def find_splits(sweep: Sweep, cv: Any, n_repeats: int, groups: Any, seed: int) -> Splits:
    """Return the splits: those of a splitter, or of folds that are drawn `n_repeats` times.

    Folds have equal shares of each class of the main output, and of rows without a label of it.

    Raises
    ------
    ValueError
        For less than two splits, and for groups without a splitter.
    """
    folds = 5 if cv is None else cv
    if isinstance(folds, int | np.integer):
        if groups is not None:
            raise ValueError(
                f"{OWNER}: `groups` are for a splitter that takes them. Got cv={cv!r}; pass "
                f"cv=GroupKFold(5), for example."
            )
        drawn = RepeatedStratifiedKFold(n_splits=folds, n_repeats=n_repeats, random_state=seed)
        strata = _strata(sweep.labels, has_classes=sweep.has_classes)
        splits = list(drawn.split(np.zeros(len(strata)), strata))
    else:
        splits = list(check_cv(folds).split(sweep.X, sweep.y, groups))
    if len(splits) < 2:
        raise ValueError(
            f"{OWNER}: `cv` must give two splits or more, for an interval. Got {len(splits)}."
        )
    return splits


def _strata(labels: Array, *, has_classes: bool) -> Array:
    missing = as_columns(missing_mask(labels)).any(axis=1)
    strata = np.zeros(len(labels), dtype=int)
    if has_classes and labels.ndim == 1:
        observed = homogeneous(labels[~missing])
        strata[~missing] = np.unique(observed, return_inverse=True)[1]
    strata[missing] = -1
    return strata


def check_scoring(scoring: Any) -> None:
    """Check how to score, before anything is fitted.

    Raises
    ------
    ValueError
        If it is neither a function nor the name of a scorer of scikit-learn.
    """
    if isinstance(scoring, str):
        with naming(OWNER):
            get_scorer(scoring)
    elif not (scoring is None or callable(scoring)):
        raise ValueError(
            f"{OWNER}: `scoring` must be the name of one scorer, a function or None. Got "
            f"{scoring!r}."
        )


@dataclass(frozen=True)
class _MainScorer:
    """scikit-learn's scorer of the main output, on the rows with a label of it."""

    main: str
    scoring: str

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        view = OutputView(estimator, self.main)
        targets, _ = as_targets(y, OWNER)
        labels = targets[view.head_.target or self.main]
        rows = np.flatnonzero(~as_columns(missing_mask(labels)).any(axis=1))
        scorer = get_scorer(self.scoring)
        return scorer(view, safe_indexing(X, rows), homogeneous(labels[rows]))


def _score(
    config: Mapping[str, Any], net: Any, X: Any, y: Any, split: Any, scoring: Any, params: Any
) -> float:
    """Fit on a split, and score; with scikit-learn's settings, which threads do not share."""
    with config_context(**config):
        found = cross_validate(
            net, X, y, cv=[split], scoring=scoring, params=params, error_score="raise"
        )
    return float(found["test_score"][0])


def _run(jobs: Sequence[Any], n_jobs: int | None) -> list[Any]:
    n_processes = min(effective_n_jobs(n_jobs), len(jobs))
    if n_processes == 1:
        return side_by_side(jobs)
    bounds = [len(jobs) * i // n_processes for i in range(n_processes + 1)]
    parts = [jobs[a:b] for a, b in pairwise(bounds)]
    found = Parallel(n_jobs=n_processes)(delayed(side_by_side)(part) for part in parts)
    return [outcome for part in found for outcome in part]
