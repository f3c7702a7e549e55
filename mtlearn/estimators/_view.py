"""One output of a fitted estimator, as an estimator of its own."""

from collections.abc import Collection
from typing import Any, NoReturn, Self

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if

from mtlearn._typing import Array, ArrayLike
from mtlearn._validation import check_known
from mtlearn.estimators._predictions import NamedOutputs, has_std
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.targets import Targets

__all__ = ["OutputView", "find_net", "predict_outputs", "transform"]


def _has_classes(view: "OutputView") -> bool:
    return isinstance(view.head_, ClassHead)


def _has_std(view: "OutputView") -> bool:
    return has_std(view.head_)


class OutputView(BaseEstimator):
    """One output of a fitted estimator, as a scikit-learn regressor or classifier.

    Tools that want an estimator with one ``y`` take it: scorers, permutation importance, partial
    dependence, calibration of a frozen estimator, displays. It holds no model of its own, is its
    own clone, and cannot be fitted.

    Parameters
    ----------
    fitted : estimator
        A fitted estimator of mtlearn, a Blend, a Pipeline that ends in one, or a search over these.
    name : str
        The output.

    Attributes
    ----------
    head_ : Head
        The fitted head of the output.
    classes_ : ndarray of shape (n_classes,)
        The classes, for an output that has some.
    n_features_in_ : int
        The number of columns of `X` in `fitted`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where all are strings.

    Raises
    ------
    TypeError
        If `fitted` is none of these.
    ValueError
        If it has no output of that name.

    See Also
    --------
    MultiOutputNet.output : Makes a view.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import roc_auc_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from mtlearn import MultiOutputNet, OutputView
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = make_pipeline(StandardScaler(), MultiOutputNet(random_state=0)).fit(X, y)
    >>> kind = OutputView(net, "kind")
    >>> bool(roc_auc_score(y["kind"], kind.predict_proba(X)[:, 1]) > 0.95)
    True
    """

    def __init__(self, fitted: Any, name: str) -> None:
        self.fitted = fitted
        self.name = name
        self._find()

    def fit(self, X: ArrayLike, y: Any = None) -> NoReturn:  # noqa: ARG002 (tools pass both)
        """Refuse to fit: a view has no model of its own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Not used.
        y : array-like, default=None
            Not used.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            f"OutputView: a view cannot be fitted. Fit {type(self.fitted).__name__} and take a "
            f"view of it; wrap the view in FrozenEstimator where a tool would fit it."
        )

    def predict(self, X: ArrayLike) -> Array:
        """Predict the output.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as `fitted` takes them.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_columns)
            The predictions.
        """
        return predict_outputs(self.fitted, X, [self.name])[self.name]

    @available_if(_has_classes)
    def predict_proba(self, X: ArrayLike) -> Array:
        """Predict the class probabilities of the output.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as `fitted` takes them.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            The probabilities, with the columns of `classes_`.
        """
        return predict_outputs(self.fitted, X, [self.name], proba=True)[self.name]

    @available_if(_has_std)
    def predict_std(self, X: ArrayLike) -> Array:
        """Predict the standard deviation of the output.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as `fitted` takes them.

        Returns
        -------
        ndarray of shape (n_samples,)
            The standard deviations of the labels about the predictions.
        """
        net, steps = self._find()
        return net._predict_std(transform(X, steps), [self.name])[self.name]

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the output's own score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as `fitted` takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            The labels of the output.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            The scores of the heads: R2 for Regression, accuracy for Classification.
        """
        net, steps = self._find()
        labels = Targets({self.head_.target or self.name: y})
        return net._scores(transform(X, steps), labels, sample_weight, [self.name])[self.name]

    @property
    def head_(self) -> Head:
        """The fitted head of the output."""
        return self._find()[0].heads_[self.name]

    @property
    def classes_(self) -> Array:
        """The classes of the output."""
        if not isinstance(self.head_, ClassHead):
            raise AttributeError(f"OutputView: the output {self.name!r} has no classes.")
        return self.head_.classes_

    @property
    def n_features_in_(self) -> int:
        """The number of columns of X."""
        return self.fitted.n_features_in_

    @property
    def feature_names_in_(self) -> Array:
        """The names of the columns of X."""
        return self.fitted.feature_names_in_

    def _find(self) -> tuple[Any, list[Any]]:
        """Return the estimator of mtlearn, and the transformers before it."""
        net, steps = find_net(self.fitted)
        check_known([self.name], net._heads(None), subject="OutputView: `name`")
        return net, steps

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if isinstance(self.head_, ClassHead):
            tags.estimator_type = "classifier"
            multi_label = isinstance(self.head_, MultiLabel)
            tags.classifier_tags = ClassifierTags(
                multi_class=len(self.head_.classes_) > 2, multi_label=multi_label
            )
            tags.target_tags.multi_output = multi_label
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
            tags.target_tags.multi_output = self.head_.constant_label().shape[1:] != ()
        tags.target_tags.required = True
        return tags


def find_net(fitted: Any) -> tuple[Any, list[Any]]:
    """Return the estimator of mtlearn that something fitted ends in, and what transforms its rows.

    Parameters
    ----------
    fitted : estimator
        A fitted estimator of mtlearn, a Pipeline that ends in one, or a search over either.

    Returns
    -------
    net : NamedOutputs
        The estimator.
    steps : list of transformer
        What is before it, in this order.

    Raises
    ------
    TypeError
        If `fitted` is none of these.
    """
    inner, steps = fitted, []
    while not isinstance(inner, NamedOutputs):
        if hasattr(inner, "best_estimator_"):
            inner = inner.best_estimator_
        elif isinstance(inner, Pipeline):
            steps += [step for _, step in inner.steps[:-1] if hasattr(step, "transform")]
            inner = inner[-1]
        else:
            raise TypeError(
                f"OutputView: `fitted` must be a fitted estimator of mtlearn, a Pipeline that "
                f"ends in one, or a search over either. Got {inner!r}."
            )
    return inner, steps


def predict_outputs(
    fitted: Any, X: ArrayLike, names: Collection[str], *, proba: bool = False
) -> dict[str, Array]:
    """Return the predictions, or the class probabilities, of some outputs in one pass."""
    net, steps = find_net(fitted)
    rows = transform(X, steps)
    return net._predict_proba(rows, names) if proba else net._predict(rows, names)


def transform(X: Any, steps: list[Any]) -> Any:
    """Return rows as the transformers of a Pipeline leave them."""
    for step in steps:
        X = step.transform(X)
    return X
