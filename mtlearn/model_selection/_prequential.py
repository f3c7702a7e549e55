"""Test, then train: the evaluation of a learner on a stream."""

from collections.abc import Mapping
from numbers import Integral
from time import perf_counter
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from mtlearn._typing import Array, Floats, SampleWeight
from mtlearn._validation import check_known
from mtlearn.model_selection._prequential_result import PrequentialResult
from mtlearn.model_selection._stream import Stream
from mtlearn.model_selection._stream_learner import ExpertWeights, StreamLearner, find_classified
from mtlearn.model_selection._stream_scores import (
    ClassScores,
    Metric,
    NumberScores,
    OutputScores,
)
from mtlearn.targets import Targets

__all__ = ["prequential"]

OWNER = "prequential"
LEAST_WINDOW, WINDOWS, RECORDS = 50, 20, 500


def prequential(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    metrics: Mapping[str, Metric] | Mapping[str, Mapping[str, Metric]] | None = None,
    batch_size: int = 1,
    sample_weight: SampleWeight = None,
    warm_start: bool = False,
    declare_classes: bool = True,
    window: int | Literal["auto"] = "auto",
    record_every: int | Literal["auto"] = "auto",
    verbose: int | Literal["progress"] = 0,
) -> PrequentialResult:
    """Test on each row of a stream, then train on it.

    The rows come in their order, `batch_size` at a time: ``predict`` has them first, and
    ``partial_fit`` has them with their targets then. So each prediction is one of rows never seen,
    and all rows are used for both. What comes before the estimator can predict, the first batch as
    a rule, is learned and not scored.

    Parameters
    ----------
    estimator : estimator
        What learns: any estimator with ``partial_fit`` and ``predict``. It stays as it is; a copy
        learns the stream, and is in the result.
    X : array-like of shape (n_samples, n_features), DataFrame, Inputs, dict of array-like or list \
of dict
        The rows, in the order of time. They are passed on as they are: in DataFrames, in Inputs, in
        lists of dicts.
    y : Targets, dict of array-like, DataFrame or array-like
        The targets, numbers and classes. Rows where an output's label is missing are passed on,
        for the estimator to accept or refuse, and not scored for that output.
    metrics : dict of str to callable, or dict of str to dict of str to callable, default=None
        Functions ``(y_true, y_pred) -> float`` such as those of `sklearn.metrics`, by a name; where
        `y` has several outputs, in a dict by output. One that has a parameter ``sample_weight``
        gets the weights. By default, and for outputs not named, "accuracy" and "balanced_accuracy"
        of classes and "mae" and "r2" of numbers; of a matrix of labels the means over its columns.
    batch_size : int, default=1
        The rows that are predicted, and then learned, at once. The last batch may have less.
    sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
        Weights of the rows, for learning, errors and metrics; for all outputs or by output.
    warm_start : bool, default=False
        Whether to go on with a copy of `estimator` as it is, fitted or not, such as the one of an
        earlier result. False for an unfitted clone.
    declare_classes : bool, default=True
        Whether the first ``partial_fit`` is told all classes of `y`, if it has a parameter
        ``classes``. scikit-learn's classifiers require it.
    window : int or "auto", default="auto"
        The number of rows of the windowed error and of the availability; "auto" for a twentieth of
        all, but at least 50.
    record_every : int or "auto", default="auto"
        After how many batches the curves have a point; "auto" for at most 500 points or so.
    verbose : int or "progress", default=0
        Whether to show a bar with the rows done and the time left: "progress", or an integer above
        0.

    Returns
    -------
    PrequentialResult
        Predictions, metrics and curves by output, and the estimator that has learned the stream.

    Raises
    ------
    TypeError
        For an estimator without ``partial_fit`` or ``predict``, and one that takes no weights.
    ValueError
        For bad parameters, `X` and `y` of different lengths, and numbers predicted that are not
        finite.

    See Also
    --------
    mtlearn.inspection.PrequentialDisplay : Draws the result.
    mtlearn.datasets.withhold_features : Makes streams whose features come and go.

    Notes
    -----
    The error of a row is 0 or 1 for a class, the absolute error for a number, and the mean over its
    columns for a matrix. The outputs of a classifier of scikit-learn's type have classes, those of
    a regressor numbers; otherwise `heads` of the estimator say it, and then the type of labels:
    floats are numbers.

    Memory is taken once, for the predictions and errors of all rows, and the rows are never copied
    as a whole.

    References
    ----------
    Dawid, "Statistical Theory: The Prequential Approach", Journal of the Royal Statistical Society
    A, 1984. Gama, Sebastião and Rodrigues, "On Evaluating Stream Learning Algorithms", Machine
    Learning, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import SGDClassifier
    >>> from mtlearn.model_selection import prequential
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> y = np.where(X[:, 0] > 0, "up", "down")
    >>> result = prequential(SGDClassifier(random_state=0), X, y)
    >>> result.metrics["y"]["accuracy"] > 0.9
    True
    >>> result.n_before_fit, result.predictions["y"][0], bool(result.scored["y"][0])
    (1, None, False)
    """
    _check_integers(batch_size=batch_size)
    _check_integers("auto", window=window, record_every=record_every)
    if verbose != "progress" and not isinstance(verbose, Integral):
        raise ValueError(f"{OWNER}: `verbose` must be an integer or 'progress'. Got {verbose!r}.")
    stream = Stream(X, y, sample_weight, OWNER)
    classified = find_classified(estimator, stream.targets)
    metrics_of = _metrics_by_output(metrics, stream.names)
    learner = StreamLearner(
        estimator,
        stream,
        classified,
        warm_start=warm_start,
        declare_classes=declare_classes,
        owner=OWNER,
    )
    scores: dict[str, OutputScores] = {
        name: (ClassScores if name in classified else NumberScores)(name, labels, OWNER)
        for name, labels in stream.targets.items()
    }
    n_batches = -(-stream.n_rows // batch_size)
    every = max(1, n_batches // RECORDS) if record_every == "auto" else record_every
    experts = ExpertWeights(-(-n_batches // every))
    started = perf_counter()
    with tqdm(total=stream.n_rows, unit="row", disable=not verbose) as bar:
        n_before_fit = _run(stream, learner, scores, experts, batch_size, every, bar)
    seconds = perf_counter() - started
    n_last = max(LEAST_WINDOW, stream.n_rows // WINDOWS) if window == "auto" else int(window)
    rows = np.minimum(np.arange(1, experts.n_records + 1) * every * batch_size, stream.n_rows)
    return PrequentialResult(
        estimator=learner.estimator,
        predictions=Targets({name: found.predictions() for name, found in scores.items()}),
        **_assess(stream, scores, metrics_of, rows, n_last),
        error_names={name: found.error_name for name, found in scores.items()},
        rows=rows,
        availability=_curves(stream.availability(), np.ones(stream.n_rows), rows, n_last)[1],
        expert_names=experts.names(learner.estimator),
        expert_weights=experts.tables,
        window=n_last,
        n_before_fit=n_before_fit,
        seconds=seconds,
    )


def _run(
    stream: Stream,
    learner: StreamLearner,
    scores: Mapping[str, OutputScores],
    experts: ExpertWeights,
    batch_size: int,
    every: int,
    bar: Any,
) -> int:
    """Test and train on each batch; return how many rows came before the first prediction."""
    n_before_fit = 0
    for k, start in enumerate(range(0, stream.n_rows, batch_size)):
        rows = slice(start, min(start + batch_size, stream.n_rows))
        X, y, weight = stream.batch(rows)
        try:
            predicted = learner.predict(X)
            if predicted is None:
                n_before_fit += rows.stop - rows.start
            else:
                for name, found in scores.items():
                    found.note(rows, predicted[name])
            learner.learn(X, y, weight)
        except Exception as error:
            error.add_note(f"{OWNER}: this was at the rows {rows.start} to {rows.stop - 1}.")
            raise
        if (k + 1) % every == 0 or rows.stop == stream.n_rows:
            experts.note(k // every, learner.estimator)
        bar.update(rows.stop - rows.start)
    return n_before_fit


def _assess(
    stream: Stream,
    scores: Mapping[str, OutputScores],
    metrics_of: Mapping[str, Mapping[str, Metric]],
    rows: Array,
    window: int,
) -> dict[str, Any]:
    """Return which rows count for each output, the metrics over them and the curves of errors."""
    parts: dict[str, Any] = {
        part: {} for part in ("scored", "metrics", "cumulative_error", "windowed_error")
    }
    for name, found in scores.items():
        weight = stream.weight_of(name)
        scored = found.predicted & found.observed & (weight > 0)
        errors = np.zeros(stream.n_rows)
        errors[scored] = found.errors(scored)
        parts["scored"][name] = scored
        parts["metrics"][name] = found.score(
            scored, None if stream.weights is None else weight, metrics_of.get(name)
        )
        curves = _curves(errors, weight * scored, rows, window)
        parts["cumulative_error"][name], parts["windowed_error"][name] = curves
    return parts


def _curves(values: Floats, weight: Floats, rows: Array, window: int) -> tuple[Floats, Floats]:
    """Return the weighted means of the values of all rows up to some, and of the last ones."""
    sums, weights = (np.append(0.0, np.cumsum(part)) for part in (weight * values, weight))
    counts = np.append(0, np.cumsum(weight > 0))
    means = []
    for before in (np.zeros_like(rows), np.maximum(rows - window, 0)):
        part, whole = sums[rows] - sums[before], weights[rows] - weights[before]
        some = counts[rows] > counts[before]
        means.append(np.divide(part, whole, out=np.full(len(rows), np.nan), where=some))
    return means[0], means[1]


def _check_integers(*others: str, **params: Any) -> None:
    for name, value in params.items():
        is_other = isinstance(value, str) and value in others
        if not is_other and (not isinstance(value, Integral) or value < 1):
            choice = "".join(f", or {other!r}" for other in others)
            raise ValueError(
                f"{OWNER}: `{name}` must be an integer of at least 1{choice}. Got {value!r}."
            )


def _metrics_by_output(metrics: Any, names: list[str]) -> dict[str, Mapping[str, Metric]]:
    """Return the user's metrics by output."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"{OWNER}: `metrics` must be a dict of functions by name. Got {metrics!r}; write "
            f"{{'f1': sklearn.metrics.f1_score}}."
        )
    if any(isinstance(some, Mapping) for some in metrics.values()):
        check_known(metrics, names, subject=f"{OWNER}: `metrics`")
        by_output = dict(metrics)
    elif len(names) == 1:
        by_output = {names[0]: metrics}
    else:
        raise ValueError(
            f"{OWNER}: `metrics` must be by output, since `y` has the outputs {names}. Got "
            f"{list(metrics)}; write {{{names[0]!r}: {{'name': function}}}}."
        )
    for output, some in by_output.items():
        if not isinstance(some, Mapping):
            raise TypeError(
                f"{OWNER}: `metrics[{output!r}]` must be a dict of functions by name. Got {some!r}."
            )
        for name, metric in some.items():
            if not callable(metric):
                raise TypeError(
                    f"{OWNER}: the metric {name!r} must be a function of labels and predictions, "
                    f"such as sklearn.metrics.f1_score. Got {metric!r}."
                )
    return by_output
