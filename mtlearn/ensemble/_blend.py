"""Several estimators as one, each output with weights of its own."""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from mtlearn._arrays import as_columns
from mtlearn._params import NamedParts
from mtlearn._sklearn import fit_context
from mtlearn._typing import Array, ArrayLike, Floats, SampleWeight
from mtlearn._validation import check_known, naming
from mtlearn.ensemble._find_weights import find_weights
from mtlearn.estimators._class_columns import (
    class_targets,
    is_matrix_of_classes,
    join_columns,
    names_columns,
)
from mtlearn.estimators._outputs import ARRAY_NAME, as_targets, check_all_targets, labels_of
from mtlearn.estimators._predictions import NamedOutputs, Predictions
from mtlearn.estimators._view import OutputView, find_net, predict_outputs, transform
from mtlearn.estimators._weights import find_label_weights
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.targets import Targets

__all__ = ["Blend"]


class Blend(NamedParts, NamedOutputs):
    r"""The weighted mean of several estimators, with weights for each output.

    The weights are those, out of all multiples of 0.1 that sum to 1, by which the mean of the
    predictions has the least squared error on rows that the networks were not trained on. Nets with
    early stopping hold such rows out; with ``n_members`` as large as the number of folds, all rows
    are held out by some member, and nothing is trained for it. Numbers are averaged, and so are the
    probabilities of classes, whose squared error is Brier's.

    Parameters
    ----------
    estimators : list of (name, estimator)
        Estimators of mtlearn, or Pipelines that end in one. They learn the same outputs.

    Attributes
    ----------
    estimators_ : list of estimator
        The fitted estimators.
    weights_ : dict of str to dict of str to float
        The weight of each estimator, by output and by the estimator's name.
    output_names_ : list of str
        The outputs.
    heads_ : dict of str to Head
        The first estimator's fitted heads.
    classes_ : dict of str to ndarray
        The classes of every output that has some; their array alone if `y` was an array, and a list
        for a matrix of several classes per column.

    See Also
    --------
    mtlearn.MultiOutputNet : With ``n_members``, networks that differ in what they draw only.

    Notes
    -----
    Where an estimator holds no rows out, or no row is held out by all, the weights are equal.

    References
    ----------
    Breiman, "Stacked Regressions", 1996, has weights that are at least 0; Wolpert, "Stacked
    Generalization", 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.ensemble import Blend
    >>> from mtlearn.preprocessing import PiecewiseLinear
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = {"steps": np.floor(2 * X[:, 0]), "line": X[:, 0] - X[:, 1]}
    >>> net = MultiOutputNet(n_members=4, early_stopping=True, validation_fraction=0.25,
    ...                      random_state=0)
    >>> blend = Blend([("plain", net), ("bins", make_pipeline(PiecewiseLinear(), net))]).fit(X, y)
    >>> {name: sum(weights.values()) for name, weights in blend.weights_.items()}
    {'steps': 1.0, 'line': 1.0}
    >>> blend.predict(X)["line"].shape
    (200,)
    """

    _named_parts, _part_noun, _n_fields = "estimators", "estimator", 2
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"estimators": [list, tuple]}

    def __init__(self, estimators: Sequence[tuple[str, Any]]) -> None:
        self.estimators = estimators

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: SampleWeight = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit all estimators, then find their weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets by name. An array is one target named ``"y"``, but a matrix of several
            classes per column is the targets ``"y0"``, ``"y1"`` and so on.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output.
        groups : array-like of shape (n_samples,), default=None
            Groups for the splitters in `validation_fraction`.

        Returns
        -------
        Blend
            The fitted estimator.

        Raises
        ------
        ValueError
            For no estimators, names taken twice, and what an estimator refuses.
        """
        self._check_estimators()
        targets, is_array, columns = self._divide(y)
        given = {"sample_weight": sample_weight, "groups": groups}
        fitted = []
        for name, estimator in self.estimators:
            with naming(f"Blend: estimator {name!r}"):
                fitted.append(_fit(clone(estimator), X, targets, given))
        nets = [find_net(one)[0] for one in fitted]
        if not all(isinstance(net, Predictions) for net in nets):
            raise TypeError("Blend: `estimators` must be nets of mtlearn. Got a Blend among them.")
        heads: dict[str, Head] = nets[0].heads_
        names = [name for name, _ in self.estimators]
        held = [_held_out(one, X) for one in fitted]
        labels = labels_of(targets, heads)
        weights, _ = find_label_weights(labels, sample_weight, nets[0].missing_targets, "Blend")
        self.weights_ = {
            output: dict(
                zip(
                    names,
                    find_weights(
                        [part[output] for part in held],
                        _as_numbers(labels[output], head),
                        weights[output],
                    ),
                    strict=True,
                )
            )
            for output, head in heads.items()
        }
        self.estimators_, self.heads_, self.output_names_ = fitted, heads, list(heads)
        self._missing_targets = nets[0].missing_targets
        self._own_names = list(targets) if is_array and set(targets) == set(heads) else None
        self._columns = columns
        return self

    def predict(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order; None for all.

        Returns
        -------
        Targets, or ndarray of shape (n_samples,) or (n_samples, n_columns)
            The predictions by name; an array if `y` was one.
        """
        return self._like_y(self._predict(X, outputs))

    def predict_proba(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the class probabilities of the outputs that have classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order; None for all.

        Returns
        -------
        Targets, or ndarray of shape (n_samples, n_classes), or list of that
            The probabilities by name; an array if `y` was one, and a list for a matrix of several
            classes per column.
        """
        chances = self._predict_proba(X, outputs)
        if self._own_names and not chances:
            raise AttributeError("Blend: no output has classes, so no probabilities.")
        return self._one_or_list(chances) if self._own_names else Targets(chances)

    def predict_std(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the standard deviation of the outputs for which all estimators do.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order; None for all.

        Returns
        -------
        Targets, or ndarray of shape (n_samples,) or (n_samples, n_columns)
            That of the mixture: its variance is the mean of the variances, and the variance of the
            means. By name; an array if `y` was one.

        Raises
        ------
        AttributeError
            If no output has one.
        """
        return self._like_y(self._predict_std(X, outputs))

    def score(self, X: ArrayLike, y: Any, sample_weight: SampleWeight = None) -> float:
        """Return the score of the estimators' main output, or the mean over outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets by name.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows.

        Returns
        -------
        float
            The scores of the heads: R2 for Regression, accuracy for Classification.
        """
        scores = self.scores(X, y, sample_weight)
        return float(np.mean([scores[name] for name in self._needed_outputs() or sorted(scores)]))

    def scores(self, X: ArrayLike, y: Any, sample_weight: SampleWeight = None) -> dict[str, float]:
        """Return the score of each output.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets by name.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows.

        Returns
        -------
        dict of str to float
            The scores of the heads: R2 for Regression, accuracy for Classification.
        """
        check_is_fitted(self)
        targets = self._targets_as_in_fit(y)
        check_all_targets(targets, self.heads_, "Blend")
        return self._scores(X, targets, sample_weight)

    def output(self, name: str) -> OutputView:
        """Return one output as a scikit-learn regressor or classifier of its own.

        Parameters
        ----------
        name : str
            The output.

        Returns
        -------
        OutputView
            A view on this fitted estimator.
        """
        return OutputView(self, name)

    @property
    def classes_(self) -> Any:
        """The classes of every output that has some, by name; an array or a list if `y` was one."""
        check_is_fitted(self)
        classes = {n: h.classes_ for n, h in self.heads_.items() if isinstance(h, ClassHead)}
        if not classes:
            raise AttributeError("Blend: no output has classes.")
        return self._one_or_list(classes) if self._own_names else classes

    def _divide(self, y: Any) -> tuple[Targets, bool, list[str] | None]:
        """Return `y` by name, whether it is an array, and the names of an array of classes."""
        targets, is_array = as_targets(y, "Blend")
        named = {name for _, one in self.estimators for name in _named_heads(one)}
        if not is_array or ARRAY_NAME in named:
            return targets, is_array, None
        array = targets[ARRAY_NAME]
        if not (is_matrix_of_classes(array) or names_columns(named, array)):
            return targets, is_array, None
        targets = class_targets(array, None, "Blend", heads=named)
        return targets, is_array, list(targets)

    def _targets_as_in_fit(self, y: Any) -> Targets:
        """Return `y` by name, an array of classes divided as in `fit`."""
        targets, is_array = as_targets(y, "Blend")
        if is_array and self._columns is not None:
            return class_targets(targets[ARRAY_NAME], self._columns, "Blend")
        return targets

    def _needed_outputs(self) -> list[str]:
        """Return the main output, if there is one."""
        main = getattr(find_net(self.estimators_[0])[0], "main_output", None)
        return [] if main is None else [main]

    def _predict_held_out(self, X: ArrayLike) -> dict[str, Array]:
        """Return the probabilities of training rows by members that held them out, else NaN."""
        held = [_held_out(one, X) for one in self.estimators_]
        return {
            name: np.add.reduce(
                [
                    weight * as_columns(part[name])
                    for weight, part in zip(self.weights_[name].values(), held, strict=True)
                    if weight > 0
                ]
            )
            for name in self._with_classes()
        }

    def _with_classes(self, names: Collection[str] | None = None) -> list[str]:
        return [n for n, head in self._heads(names).items() if isinstance(head, ClassHead)]

    def _check_estimators(self) -> None:
        names = [entry[0] for entry in self._complete_entries()]
        if not names or len(names) != len(self.estimators) or len(set(names)) < len(names):
            raise ValueError(
                f"Blend: `estimators` must be a list of (name, estimator), each name once. Got "
                f"{self.estimators!r}."
            )

    def _heads(self, names: Collection[str] | None) -> dict[str, Head]:
        check_is_fitted(self)
        names = self.output_names_ if names is None else list(names)
        check_known(names, self.heads_, subject="Blend: `outputs`")
        return {name: self.heads_[name] for name in names}

    def _predict(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        heads = self._heads(names)
        deciding = {n: head for n, head in heads.items() if isinstance(head, ClassHead)}
        chances = self._mean(X, list(deciding), proba=True)
        numbers = self._mean(X, [name for name in heads if name not in deciding], proba=False)
        decided = {name: head.decide(chances[name]) for name, head in deciding.items()}
        return {name: (decided | numbers)[name] for name in heads}

    def _predict_proba(
        self, X: ArrayLike, names: Collection[str] | None = None
    ) -> dict[str, Array]:
        return self._mean(X, self._with_classes(names), proba=True)

    def _predict_std(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        heads = {n: h for n, h in self._heads(names).items() if not isinstance(h, ClassHead)}
        if not heads:
            raise AttributeError("Blend: classes have no standard deviation.")
        stds = [_stds(one, X, list(heads)) for one in self.estimators_]
        kept = [name for name in heads if all(name in of_one for of_one in stds)]
        means = [predict_outputs(one, X, kept) for one in self.estimators_]
        return {
            name: _std_of_mixture(
                [mean[name] for mean in means],
                [std[name] for std in stds],
                list(self.weights_[name].values()),
            )
            for name in kept
        }

    def _scores(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        names: Collection[str] | None = None,
    ) -> dict[str, float]:
        heads = {n: h for n, h in self._heads(names).items() if (h.target or n) in list(y)}
        labels = labels_of(y, heads)
        weights, _ = find_label_weights(labels, sample_weight, self._missing_targets, "Blend")
        predicted = self._predict(X, list(heads))
        return {n: h.score(labels[n], predicted[n], weights[n]) for n, h in heads.items()}

    def _mean(self, X: ArrayLike, names: Sequence[str], *, proba: bool) -> dict[str, Array]:
        if not names:
            return {}
        each = [predict_outputs(one, X, names, proba=proba) for one in self.estimators_]
        return {
            name: np.sum(
                [
                    w * part[name]
                    for w, part in zip(self.weights_[name].values(), each, strict=True)
                ],
                axis=0,
            )
            for name in names
        }

    def _like_y(self, predicted: dict[str, Array]) -> Any:
        if self._own_names is None:
            return Targets(predicted)
        one = self._own_names == [ARRAY_NAME]
        return predicted[ARRAY_NAME] if one else join_columns(predicted.values())

    def _one_or_list(self, values: dict[str, Array]) -> Any:
        return values[ARRAY_NAME] if self._own_names == [ARRAY_NAME] else list(values.values())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _stds(fitted: Any, X: ArrayLike, names: list[str]) -> dict[str, Array]:
    net, steps = find_net(fitted)
    return net._predict_std(transform(X, steps), names)


def _std_of_mixture(
    means: Sequence[Array], stds: Sequence[Array], weights: Sequence[float]
) -> Array:
    mean = np.average(means, axis=0, weights=weights)
    squares = [std**2 + (one - mean) ** 2 for std, one in zip(stds, means, strict=True)]
    return np.sqrt(np.average(squares, axis=0, weights=weights))


def _fit(estimator: Any, X: ArrayLike, y: Targets, given: dict[str, Any]) -> Any:
    """Fit an estimator, or a Pipeline whose last step gets what is given besides."""
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    return estimator.fit(X, y, **{prefix + k: v for k, v in given.items() if v is not None})


def _named_heads(estimator: Any) -> list[str]:
    """Return the outputs that the parameters of an estimator, or of a Pipeline's end, name."""
    net = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return list(getattr(net, "heads", None) or {})


def _held_out(fitted: Any, X: ArrayLike) -> dict[str, Array]:
    """Return what the members predict of rows that they held out; NaN for rows that none did."""
    net, steps = find_net(fitted)
    return net._predict_held_out(transform(X, steps))


def _as_numbers(labels: Array, head: Head) -> Floats:
    """Return labels as numbers, one column for each class."""
    if isinstance(head, ClassHead) and not isinstance(head, MultiLabel):
        return (labels[:, None] == head.classes_).astype(np.float64)
    return as_columns(labels).astype(np.float64)
