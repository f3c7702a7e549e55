"""scikit-learn's scorers for single outputs of a net."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.metaestimators import available_if

from mtlearn._arrays import as_columns, homogeneous, is_frame, missing_mask
from mtlearn._sklearn import safe_indexing
from mtlearn._typing import Array
from mtlearn._validation import check_known
from mtlearn.estimators import OutputView
from mtlearn.estimators._view import find_net, predict_outputs
from mtlearn.heads import ClassHead
from mtlearn.model_selection._rows import by_name
from mtlearn.targets import Targets

__all__ = ["make_output_scorer", "output_scoring"]

Scoring: TypeAlias = str | Callable[..., float]


def make_output_scorer(output: str, scoring: Scoring) -> "OutputScorer":
    """Make a scorer of one output, for all tools of scikit-learn that take ``scoring=``.

    Rows whose label of the output is missing are left out.

    Parameters
    ----------
    output : str
        The output.
    scoring : str or callable
        The name of a scorer of scikit-learn, or a scorer ``(estimator, X, y) -> float``, which
        gets a view of the output and its labels alone.

    Returns
    -------
    callable
        The scorer ``(estimator, X, y, sample_weight=None) -> float`` of a net, a Pipeline that
        ends in one, or a search. `y` has the targets by name; `sample_weight` may be by output.

    Raises
    ------
    ValueError
        For an unknown name of a scorer; when called, for an unknown output, and if no label of
        the output is observed.

    See Also
    --------
    output_scoring : Several metrics at once.
    mtlearn.OutputView : The view of one output.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from mtlearn import MultiOutputNet, Targets
    >>> from mtlearn.model_selection import make_output_scorer
    >>> X = np.random.default_rng(0).normal(size=(120, 3))
    >>> y = Targets({"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")})
    >>> scorer = make_output_scorer("kind", "roc_auc")
    >>> scores = cross_val_score(MultiOutputNet(random_state=0), X, y, cv=3, scoring=scorer)
    >>> bool(scores.min() > 0.9)
    True
    """
    return OutputScorer(output, get_scorer(scoring))


def output_scoring(**metrics: tuple[str, Scoring]) -> "OutputScoring":
    """Make one scorer of several metrics, over any outputs.

    However many metrics there are, it costs one ``predict`` and one ``predict_proba``.

    Parameters
    ----------
    **metrics : (str, str or callable)
        The output and the scorer of each metric, by the metric's name.

    Returns
    -------
    callable
        The scorer ``(estimator, X, y, sample_weight=None) -> dict``, for ``scoring=`` of
        ``cross_validate`` and of searches, whose ``refit`` then names a metric.

    Raises
    ------
    ValueError
        For no metric, or an unknown name of a scorer.
    TypeError
        For a metric that is no pair.

    See Also
    --------
    make_output_scorer : One metric of one output.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_validate
    >>> from mtlearn import MultiOutputNet, Targets
    >>> from mtlearn.model_selection import output_scoring
    >>> X = np.random.default_rng(0).normal(size=(120, 3))
    >>> y = Targets({"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")})
    >>> scoring = output_scoring(acc=("kind", "accuracy"), r2=("price", "r2"))
    >>> found = cross_validate(MultiOutputNet(random_state=0), X, y, cv=3, scoring=scoring)
    >>> sorted(found)
    ['fit_time', 'score_time', 'test_acc', 'test_r2']
    """
    if not metrics:
        raise ValueError("output_scoring: at least one metric is needed. Write acc=('kind', 'f1').")
    for name, metric in metrics.items():
        if not isinstance(metric, tuple) or len(metric) != 2:
            raise TypeError(
                f"output_scoring: a metric must be a pair of an output and a scorer. Got "
                f"{name}={metric!r}; write {name}=('output', 'accuracy')."
            )
    return OutputScoring({name: (output, get_scorer(s)) for name, (output, s) in metrics.items()})


class OutputScoring(BaseEstimator):
    """The metrics of some outputs; what `output_scoring` makes.

    Parameters
    ----------
    metrics : dict of str to (str, callable)
        The output and the scorer of each metric.
    """

    __metadata_request__score: ClassVar[dict[str, str]] = {"estimator": UNUSED}

    def __init__(self, metrics: Mapping[str, tuple[str, Callable[..., float]]]) -> None:
        self.metrics = metrics

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> dict[str, float]:
        """Return all metrics by name."""
        return self.score(estimator, X, y, sample_weight)

    def score(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Return all metrics by name; the method by which scikit-learn routes sample weights."""
        outputs = {output for output, _ in self.metrics.values()}
        answers = _Answers(estimator, X, sorted(outputs))
        targets = by_name(y)
        weight_of = _weights(sample_weight, estimator, outputs)
        scores: dict[str, float] = {}
        for name, (output, scorer) in self.metrics.items():
            labels, rows = _observed(targets, answers, output)
            weights = {}
            weight = weight_of.get(output)
            if weight is not None:
                weights["sample_weight"] = np.asarray(weight)[rows]
            scored = X if len(rows) == len(targets) else safe_indexing(X, rows)
            view = _Answered(estimator, output, answers, scored, rows)
            scores[name] = float(scorer(view, scored, labels, **weights))
        return scores

    def _accept_sample_weight(self) -> bool:
        return True  # scikit-learn asks every scorer this when a search gets sample weights


class OutputScorer(OutputScoring):
    """One metric of one output; what `make_output_scorer` makes.

    Parameters
    ----------
    output : str
        The output.
    scorer : callable
        The scorer.
    """

    def __init__(self, output: str, scorer: Callable[..., float]) -> None:
        self.output = output
        self.scorer = scorer

    @property
    def metrics(self) -> dict[str, tuple[str, Callable[..., float]]]:
        """The one metric."""
        return {self.output: (self.output, self.scorer)}

    def score(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Return the metric; the method by which scikit-learn routes sample weights."""
        return super().score(estimator, X, y, sample_weight)[self.output]


class _Answers:
    """What a net predicts of some outputs, each method called once at most."""

    def __init__(self, estimator: Any, X: Any, outputs: Collection[str]) -> None:
        self.estimator = estimator
        self.X = X
        self.heads = {name: OutputView(estimator, name).head_ for name in outputs}
        self._found: dict[bool, dict[str, Array]] = {}

    def get(self, output: str, *, proba: bool) -> Array:
        if proba not in self._found:
            names = [
                name
                for name, head in self.heads.items()
                if isinstance(head, ClassHead) or not proba
            ]
            self._found[proba] = predict_outputs(self.estimator, self.X, names, proba=proba)
        return self._found[proba][output]


class _Answered(OutputView):
    """The view of an output whose predictions for some rows, `X`, are known."""

    def __init__(self, fitted: Any, name: str, answers: _Answers, X: Any, rows: Array) -> None:
        super().__init__(fitted, name)
        self.answers = answers
        self.X = X
        self.rows = rows

    def predict(self, X: Any) -> Array:
        if X is not self.X:
            return super().predict(X)
        return self.answers.get(self.name, proba=False)[self.rows]

    @available_if(lambda view: isinstance(view.head_, ClassHead))
    def predict_proba(self, X: Any) -> Array:
        if X is not self.X:
            return super().predict_proba(X)
        return self.answers.get(self.name, proba=True)[self.rows]


def _weights(sample_weight: Any, estimator: Any, outputs: Collection[str]) -> Mapping[str, Any]:
    """Return the rows' weights by output."""
    if is_frame(sample_weight):
        sample_weight = Targets.from_frame(sample_weight)
    if not isinstance(sample_weight, Mapping):
        return dict.fromkeys(outputs, sample_weight)
    known = find_net(estimator)[0].output_names_
    check_known(sample_weight, known, subject="make_output_scorer: `sample_weight`")
    return sample_weight


def _observed(y: Targets, answers: _Answers, output: str) -> tuple[Array, Array]:
    """Return an output's labels where all of a row are observed, and these rows."""
    target = answers.heads[output].target or output
    check_known([target], y, subject="make_output_scorer: `y`", noun="target")
    labels = y[target]
    rows = np.flatnonzero(~as_columns(missing_mask(labels)).any(axis=1))
    if not len(rows):
        raise ValueError(
            f"make_output_scorer: output {output!r}: some label must be observed to score it. All "
            f"{len(labels)} are missing."
        )
    return homogeneous(labels[rows]), rows
