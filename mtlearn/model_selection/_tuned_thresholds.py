"""Thresholds of labels and of two classes, chosen on held-out rows."""

from collections.abc import Collection, Mapping
from copy import copy
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np

from mtlearn._arrays import as_columns
from mtlearn._sklearn import HasMethods, Interval, StrOptions, fit_context
from mtlearn._typing import Array, ArrayLike, Floats, SampleWeight
from mtlearn.estimators._outputs import labels_of
from mtlearn.estimators._view import find_net, predict_outputs
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.model_selection._held_out_chances import cross_chances, known_chances
from mtlearn.model_selection._held_out_wrapper import HeldOutWrapper, answered, targets_of
from mtlearn.model_selection._rows import as_inputs, as_rows
from mtlearn.model_selection._threshold_metrics import Metric, find_metrics, tune
from mtlearn.targets import Targets

__all__ = ["TunedThresholdsCV"]

OWNER = "TunedThresholdsCV"


class TunedThresholdsCV(HeldOutWrapper):
    """Choose the thresholds of labels, and of two classes, by a metric on held-out rows.

    A label is predicted where its probability is above 0.5, by which a rare one may never be. This
    estimator finds for each column of each multilabel output, and for each output of two classes,
    the threshold by which the metric asked for is best on rows that the network that predicts them
    was not trained on. Probabilities stay as they are. It is for several outputs what
    :class:`sklearn.model_selection.TunedThresholdClassifierCV` is for one of two classes.

    Parameters
    ----------
    estimator : estimator
        An estimator of mtlearn, or a Pipeline that ends in one.
    scoring : str, callable, or dict of str to these, default="f1_macro"
        The metric to make as large as possible; a dict has one for each output that is to have
        thresholds, and the other outputs keep theirs. The names are scikit-learn's: ``"f1_macro"``,
        ``"f1_micro"``, ``"f1_weighted"``, the same with ``"jaccard"``, ``"accuracy"`` and
        ``"balanced_accuracy"`` (of labels the mean over these); for labels also ``"f1_samples"``
        and ``"jaccard_samples"``, for two classes ``"f1"`` and ``"jaccard"`` of the second one. A
        function gets the labels and the predictions of the rows with all labels, and their weights
        if it takes ``sample_weight``.
    cv : int, cross-validation splitter, iterable, "held_out" or "prefit", default=None
        Where the held-out rows come from. An int (None for 5) is a number of folds in which all
        targets are alike, by `IterativeStratification`; with `groups`, folds of whole groups. With
        "held_out" nothing more is trained: the rows are those that the estimator's own members
        held out for early stopping. With "prefit" the estimator is fitted already, on other rows
        than those that ``fit`` then gets.
    n_thresholds : int, default=100
        How many thresholds to try for a label at most.
    n_jobs : int, default=None
        The number of folds that are fitted at the same time, in processes.

    Attributes
    ----------
    estimator_ : estimator
        The estimator fitted on all rows, which predicts by its own thresholds.
    thresholds_ : dict of str to (ndarray of shape (n_labels,) or float)
        The thresholds by output: of a multilabel output one for each label, of two classes that of
        the second one.
    best_scores_ : dict of str to float
        The metric of each of these outputs on the held-out rows.
    output_names_ : list of str
        The outputs.
    heads_ : dict of str to Head
        The fitted heads of the outputs.
    classes_ : dict of str to ndarray, ndarray or list of ndarray
        The classes, as `estimator_` has them.
    n_features_in_ : int
        The number of columns of `X`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where all are strings.

    See Also
    --------
    mtlearn.heads.MultiLabel : Takes thresholds that are known.

    Notes
    -----
    The probabilities of all held-out rows are put together, and the metric is computed once, where
    scikit-learn takes the mean of the metrics of the folds. Rows that several splits hold out have
    the mean of their probabilities.

    Candidates are midpoints between the probabilities of rows that differ in the label. A metric
    that is a mean over labels is made best for each by itself. Any other, such as ``"f1_micro"``,
    is improved label by label, beginning with the thresholds of the head, until no change of one
    label makes it better; another combination may be better still. Of thresholds with the same
    score it is the nearest to that of the head, which is 0.5 unless it was given; a label that all
    held-out rows have, or none, keeps that too. Missing labels are left out, and weights of rows
    count in the metrics that have a name.

    With ``cv="held_out"`` the probabilities are those of single members, and the transformers of a
    Pipeline have seen the rows: thresholds are found sooner, and less exactly.

    The scores of ``score`` are those of the heads, so accuracy, at the thresholds found. A metric
    as a score is what `make_output_scorer` is for.

    References
    ----------
    Yang, "A Study of Thresholding Strategies for Text Categorization", 2001; Lipton, Elkan and
    Naryanaswamy, "Optimal Thresholding of Classifiers to Maximize F1 Measure", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import f1_score
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import TunedThresholdsCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 3))
    >>> y = {"price": X[:, 0], "tags": (X[:, :2] + rng.normal(size=(600, 2)) > 2).astype(int)}
    >>> net = MultiOutputNet(max_epochs=30, random_state=0)
    >>> tuned = TunedThresholdsCV(net, cv=3).fit(X, y)
    >>> tuned.thresholds_["tags"].shape
    (2,)
    >>> before, after = tuned.estimator_.predict(X)["tags"], tuned.predict(X)["tags"]
    >>> bool(f1_score(y["tags"], before, average="macro")
    ...      < f1_score(y["tags"], after, average="macro"))
    True
    """

    _elsewhere = "; scikit-learn's TunedThresholdClassifierCV takes others"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "scoring": [str, callable, dict],
        "cv": ["cv_object", StrOptions({"held_out", "prefit"})],
        "n_thresholds": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        scoring: Metric | Mapping[str, Metric] = "f1_macro",
        cv: Any = None,
        n_thresholds: int = 100,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.scoring = scoring
        self.cv = cv
        self.n_thresholds = n_thresholds
        self.n_jobs = n_jobs

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: SampleWeight = None,
        *,
        groups: ArrayLike | None = None,
        **fit_params: Any,
    ) -> Self:
        """Fit the estimator, and find the thresholds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets, as the estimator takes them.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output.
        groups : array-like of shape (n_samples,), default=None
            Groups for `cv`, and for the splitter in the estimator's `validation_fraction`.
        **fit_params : Any
            What ``fit`` of the estimator takes besides, such as ``aux``; for a Pipeline with the
            name of the step before it, such as ``net__aux``.

        Returns
        -------
        TunedThresholdsCV
            The fitted estimator.

        Raises
        ------
        ValueError
            For an estimator without labels or two classes, an unknown output or metric, held-out
            rows that do not exist, and what the estimator refuses.
        TypeError
            For an estimator that is not of mtlearn.
        """
        self._check_estimator()
        X, y = as_inputs(X), as_rows(y)
        params = self._params_of_fit(sample_weight, groups, fit_params)
        fitted = self._fit_on_all(X, y, params)
        net = find_net(fitted)[0]
        targets = targets_of(net, y, OWNER)
        heads = {name: net.heads_[name] for name in answered(net)}
        metrics = find_metrics(self.scoring, heads, OWNER)
        if isinstance(self.cv, str):
            chances = known_chances(fitted, X, list(metrics), is_held_out=self.cv == "held_out")
        else:
            chances = cross_chances(
                self.estimator,
                X,
                y,
                params,
                {name: heads[name].classes_ for name in metrics},
                cv=self.cv,
                groups=groups,
                n_jobs=self.n_jobs,
            )
        found = self._find_thresholds(metrics, heads, targets, chances, sample_weight, net.heads_)
        self.thresholds_ = {name: thresholds for name, (thresholds, _) in found.items()}
        self.best_scores_ = {name: score for name, (_, score) in found.items()}
        self.heads_ = {name: _with_threshold(h, found.get(name)) for name, h in net.heads_.items()}
        self.estimator_, self.output_names_ = fitted, list(net.heads_)
        return self

    def predict(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict by the thresholds found.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order, where the estimator can tell; None for all.

        Returns
        -------
        Targets or ndarray
            What the estimator's own ``predict`` returns.
        """
        return super().predict(X, outputs)

    def _find_thresholds(
        self,
        metrics: Mapping[str, Metric],
        heads: Mapping[str, Head],
        targets: Targets,
        chances: Mapping[str, Floats],
        sample_weight: SampleWeight,
        known: Collection[str],
    ) -> dict[str, tuple[Any, float]]:
        labels = labels_of(targets, {name: heads[name] for name in metrics})
        weights = self._weights(labels, sample_weight, known)
        found: dict[str, tuple[Any, float]] = {}
        for name, metric in metrics.items():
            head, was_held = heads[name], np.isfinite(chances[name]).all(axis=1)
            weight = as_columns(weights[name])[was_held]
            rows = weight.any(axis=1)
            if not rows.any():
                raise ValueError(
                    f"{OWNER}: output {name!r}: thresholds need held-out rows with a label. Got "
                    f"none with cv={self.cv!r}; give the estimator early_stopping=True, or pass "
                    f"cv=5."
                )
            part = chances[name][was_held][rows], labels[name][was_held][rows], weight[rows]
            thresholds, score = tune(head, metric, *part, self.n_thresholds)
            found[name] = thresholds if isinstance(head, MultiLabel) else thresholds[0], score
        return found

    def _predict(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        heads = self._heads(names)
        tuned = [name for name in heads if name in self.thresholds_]
        others = [name for name in heads if name not in self.thresholds_]
        found = predict_outputs(self.estimator_, X, others) if others else {}
        if tuned:
            chances = predict_outputs(self.estimator_, X, tuned, proba=True)
            found |= {n: _decide(heads[n], chances[n], self.thresholds_[n]) for n in tuned}
        return {name: found[name] for name in heads}


def _decide(head: Head, chances: Array, threshold: Any) -> Array:
    """Return what is predicted at a threshold."""
    assert isinstance(head, ClassHead)
    if isinstance(head, MultiLabel):
        return head.decide(chances)
    return head.classes_[(chances[:, 1] > threshold).astype(int)]


def _with_threshold(head: Head, found: tuple[Any, float] | None) -> Head:
    """Return a head, that of labels with the thresholds found."""
    if found is None or not isinstance(head, MultiLabel):
        return head
    head = copy(head)
    head.threshold_ = found[0]
    return head
