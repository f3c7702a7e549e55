"""What wrappers share that learn something of an estimator's outputs from held-out rows."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mtlearn._arrays import is_frame
from mtlearn._typing import Array, ArrayLike, Floats, SampleWeight
from mtlearn._validation import check_known
from mtlearn.estimators import MultiOutputNetRegressor, OutputView
from mtlearn.estimators._outputs import ARRAY_NAME, as_targets, check_all_targets, labels_of
from mtlearn.estimators._predictions import NamedOutputs
from mtlearn.estimators._view import find_net, predict_outputs, transform
from mtlearn.estimators._weights import find_label_weights
from mtlearn.heads import ClassHead, Head
from mtlearn.model_selection._rows import rows_in
from mtlearn.targets import Targets

__all__ = ["HeldOutWrapper", "answered", "innermost", "targets_of"]


def _has_std(wrapper: "HeldOutWrapper") -> bool:
    return hasattr(find_net(wrapper.estimator_)[0], "predict_std")


def _has_proba(wrapper: "HeldOutWrapper") -> bool:
    is_fitted = hasattr(wrapper, "estimator_")
    return not is_fitted or hasattr(find_net(wrapper.estimator_)[0], "predict_proba")


class HeldOutWrapper(NamedOutputs):
    """An estimator of mtlearn, fitted on all rows, of which held-out rows tell something more.

    Subclasses have the parameters `estimator` and `cv` and their own ``fit``, which sets
    `estimator_` and `heads_`.
    """

    _elsewhere: ClassVar[str] = ""

    estimator: Any
    estimator_: Any
    cv: Any

    def predict(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the outputs.

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
        check_is_fitted(self)
        net, _ = find_net(self.estimator_)
        is_array = isinstance(innermost(net), MultiOutputNetRegressor)
        if is_array and outputs is not None:
            check_known(outputs, [ARRAY_NAME], subject=f"{self._owner}: `outputs`")
        names = answered(net) if is_array or outputs is None else outputs
        return self._like_y(self._predict(X, names))

    @available_if(_has_proba)
    def predict_proba(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order, where the estimator can tell; None for all.

        Returns
        -------
        Targets, ndarray or list of ndarray
            What the estimator's own ``predict_proba`` returns.
        """
        check_is_fitted(self)
        return self._ask("predict_proba", X, outputs)

    @available_if(_has_std)
    def predict_std(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the standard deviation of the outputs that have one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order, where the estimator can tell; None for all.

        Returns
        -------
        Targets or ndarray
            What the estimator's own ``predict_std`` returns.
        """
        return self._ask("predict_std", X, outputs)

    def score(self, X: ArrayLike, y: Any, sample_weight: SampleWeight = None) -> float:
        """Return the score of the estimator's main output, or the mean over outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows.

        Returns
        -------
        float
            The scores of the heads, of what ``predict`` returns: R2 for Regression, accuracy for
            Classification.
        """
        check_is_fitted(self)
        net, _ = find_net(self.estimator_)
        scores = self._scores_of(X, y, sample_weight, net._needed_outputs() or None)
        return float(np.mean([scores[name] for name in sorted(scores)]))

    def scores(self, X: ArrayLike, y: Any, sample_weight: SampleWeight = None) -> dict[str, float]:
        """Return the score of each output.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows.

        Returns
        -------
        dict of str to float
            The scores of the heads, of what ``predict`` returns: R2 for Regression, accuracy for
            Classification.
        """
        check_is_fitted(self)
        return self._scores_of(X, y, sample_weight, None)

    def output(self, name: str) -> OutputView:
        """Return one output as a scikit-learn regressor or classifier of its own.

        Parameters
        ----------
        name : str
            The output.

        Returns
        -------
        OutputView
            A view on this fitted estimator, which predicts what it predicts.
        """
        return OutputView(self, name)

    @property
    def classes_(self) -> Any:
        """The classes, as the fitted estimator has them."""
        check_is_fitted(self)
        return find_net(self.estimator_)[0].classes_

    @property
    def n_features_in_(self) -> int:
        """The number of columns of X."""
        check_is_fitted(self)
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> Array:
        """The names of the columns of X."""
        check_is_fitted(self)
        return self.estimator_.feature_names_in_

    def _check_estimator(self) -> None:
        """Raise a TypeError for an estimator that does not end in one of mtlearn."""
        inner = self.estimator
        while not isinstance(inner, NamedOutputs):
            if isinstance(inner, Pipeline):
                inner = inner.steps[-1][1]
            elif hasattr(inner, "refit") and hasattr(inner, "estimator"):  # a search
                inner = inner.estimator
            else:
                raise TypeError(
                    f"{self._owner}: `estimator` must be an estimator of mtlearn, or a Pipeline "
                    f"that ends in one. Got {self.estimator!r}{self._elsewhere}."
                )

    def _params_of_fit(
        self, sample_weight: SampleWeight, groups: ArrayLike | None, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the parameters of the estimator's own ``fit``, which a Pipeline has by step."""
        given = {"sample_weight": sample_weight, "groups": groups}
        prefix = f"{self.estimator.steps[-1][0]}__" if isinstance(self.estimator, Pipeline) else ""
        params = {prefix + name: value for name, value in given.items() if value is not None}
        return rows_in({**params, **more})

    def _fit_on_all(self, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
        """Return the estimator fitted on all rows, or as it is if it was fitted before."""
        if isinstance(self.cv, str) and self.cv == "prefit":
            check_is_fitted(self.estimator)
            return self.estimator
        return clone(self.estimator).fit(X, y, **params)

    def _weights(
        self,
        labels: Mapping[str, Array],
        sample_weight: SampleWeight,
        known: Collection[str],
        missing: str = "ignore",
    ) -> dict[str, Floats]:
        """Return the weight of every label of some outputs, of all those known; 0 if missing."""
        weight_of = Targets.from_frame(sample_weight) if is_frame(sample_weight) else sample_weight
        if isinstance(weight_of, Mapping):
            check_known(weight_of, known, subject=f"{self._owner}: `sample_weight`")
            weight_of = {n: weight_of[n] for n in labels if n in list(weight_of)}
        return find_label_weights(labels, weight_of, missing, self._owner)[0]

    def _heads(self, names: Collection[str] | None) -> dict[str, Head]:
        check_is_fitted(self)
        kept = find_net(self.estimator_)[0]._heads(names)
        return {name: self.heads_[name] for name in kept}

    def _predict(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        return predict_outputs(self.estimator_, X, list(self._heads(names)))

    def _predict_proba(
        self, X: ArrayLike, names: Collection[str] | None = None
    ) -> dict[str, Array]:
        with_classes = [n for n, head in self._heads(names).items() if isinstance(head, ClassHead)]
        return predict_outputs(self.estimator_, X, with_classes, proba=True)

    def _predict_std(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        net, steps = find_net(self.estimator_)
        return net._predict_std(transform(X, steps), names)

    def _scores(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        names: Collection[str] | None = None,
    ) -> dict[str, float]:
        heads = {n: h for n, h in self._heads(names).items() if (h.target or n) in list(y)}
        labels = labels_of(y, heads)
        net = innermost(find_net(self.estimator_)[0])
        missing = net.missing_targets if hasattr(net, "missing_targets") else net._missing_targets
        weights = self._weights(labels, sample_weight, net.heads_, missing)
        predicted = self._predict(X, list(heads))
        return {n: h.score(labels[n], predicted[n], weights[n]) for n, h in heads.items()}

    def _scores_of(
        self, X: ArrayLike, y: Any, sample_weight: SampleWeight, names: Collection[str] | None
    ) -> dict[str, float]:
        net, _ = find_net(self.estimator_)
        targets = self._targets_as_in_fit(y)
        own = answered(net)
        check_all_targets(targets, {name: self.heads_[name] for name in own}, self._owner)
        return self._scores(X, targets, sample_weight, own if names is None else names)

    def _targets_as_in_fit(self, y: Any) -> Targets:
        """Return `y` by name, as the fitted estimator understands it."""
        return targets_of(find_net(self.estimator_)[0], y, self._owner)

    def _needed_outputs(self) -> list[str]:
        return find_net(self.estimator_)[0]._needed_outputs()

    def _ask(self, method: str, X: ArrayLike, outputs: Collection[str] | None) -> Any:
        net, steps = find_net(self.estimator_)
        which = {} if outputs is None else {"outputs": outputs}
        return getattr(net, method)(transform(X, steps), **which)

    def _like_y(self, predicted: dict[str, Array]) -> Any:
        net = innermost(find_net(self.estimator_)[0])
        if isinstance(net, MultiOutputNetRegressor):
            return predicted[ARRAY_NAME]
        return net._like_y(predicted)

    @property
    def _owner(self) -> str:
        return type(self).__name__

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Tags:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type, tags.classifier_tags = inner.estimator_type, inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags, tags.input_tags = inner.target_tags, inner.input_tags
        return tags


def innermost(net: Any) -> Any:
    """Return the estimator that predicts, of one that may be wrapped."""
    while isinstance(net, HeldOutWrapper):
        net = find_net(net.estimator_)[0]
    return net


def answered(net: NamedOutputs) -> list[str]:
    """Return the outputs that ``predict`` of an estimator returns."""
    net = innermost(net)
    if isinstance(net, MultiOutputNetRegressor):
        return [ARRAY_NAME]
    return list(getattr(net, "_own_names", None) or net.heads_)


def targets_of(net: Any, y: Any, owner: str) -> Targets:
    """Return `y` by name, as a fitted estimator understands it."""
    net = innermost(net)
    if hasattr(net, "_targets_as_in_fit"):
        return net._targets_as_in_fit(y)
    if isinstance(net, MultiOutputNetRegressor):
        return Targets({ARRAY_NAME: net._check_y(y)})
    return as_targets(y, owner)[0]
