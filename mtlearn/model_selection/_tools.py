"""scikit-learn's functions of model selection for targets in plain dicts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import model_selection
from sklearn.base import is_classifier

from mtlearn._arrays import is_frame
from mtlearn._sklearn import safe_indexing
from mtlearn._typing import Array
from mtlearn.estimators._class_columns import is_matrix_of_classes
from mtlearn.model_selection._rows import as_inputs, as_rows, rows_in
from mtlearn.targets import Targets

__all__ = [
    "cross_val_predict",
    "cross_val_score",
    "cross_validate",
    "learning_curve",
    "train_test_split",
]


def train_test_split(*arrays: Any, **options: Any) -> list[Any]:
    """Split arrays, and dicts of arrays, into rows to train on and rows to test on.

    Parameters
    ----------
    *arrays : array-like, Targets, Inputs or dict of array-like
        What to split; plain dicts become Targets.
    **options : Any
        What :func:`sklearn.model_selection.train_test_split` takes.

    Returns
    -------
    list
        The two parts of each.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.model_selection import train_test_split
    >>> X, y = np.eye(4), {"price": np.arange(4.0), "kind": ["a", "b", "a", "b"]}
    >>> X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    >>> len(y), len(y_test)
    (2, 2)
    """
    return model_selection.train_test_split(*map(as_rows, arrays), **options)


def cross_validate(
    estimator: Any, X: Any, y: Any = None, *, params: Any = None, **options: Any
) -> dict[str, Any]:
    """Fit and score on each split.

    Parameters
    ----------
    estimator : estimator
        What to fit.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
        The rows.
    y : dict of array-like, Targets or array-like, default=None
        The targets.
    params : dict of str to Any, default=None
        Parameters of ``fit``, such as ``sample_weight`` or ``aux``; these may be dicts of arrays.
    **options : Any
        What :func:`sklearn.model_selection.cross_validate` takes besides.

    Returns
    -------
    dict of str to ndarray
        The scores and times of each split.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import cross_validate
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": X[:, 1] > 0}
    >>> len(cross_validate(MultiOutputNet(random_state=0), X, y, cv=3)["test_score"])
    3
    """
    return model_selection.cross_validate(
        estimator, as_inputs(X), as_rows(y), params=rows_in(params), **options
    )


def cross_val_score(
    estimator: Any, X: Any, y: Any = None, *, params: Any = None, **options: Any
) -> Array:
    """Fit and score on each split, with one score.

    Parameters
    ----------
    estimator : estimator
        What to fit.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
        The rows.
    y : dict of array-like, Targets or array-like, default=None
        The targets.
    params : dict of str to Any, default=None
        Parameters of ``fit``, such as ``sample_weight`` or ``aux``; these may be dicts of arrays.
    **options : Any
        What :func:`sklearn.model_selection.cross_val_score` takes besides.

    Returns
    -------
    ndarray of shape (n_splits,)
        The scores.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import cross_val_score, make_output_scorer
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": X[:, 1] > 0}
    >>> scoring = make_output_scorer("price", "r2")
    >>> cross_val_score(MultiOutputNet(random_state=0), X, y, cv=3, scoring=scoring).shape
    (3,)
    """
    return model_selection.cross_val_score(
        estimator, as_inputs(X), as_rows(y), params=rows_in(params), **options
    )


def learning_curve(
    estimator: Any, X: Any, y: Any = None, *, params: Any = None, **options: Any
) -> tuple[Array, ...]:
    """Fit on more and more rows, and score.

    Parameters
    ----------
    estimator : estimator
        What to fit.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
        The rows.
    y : dict of array-like, Targets or array-like, default=None
        The targets.
    params : dict of str to Any, default=None
        Parameters of ``fit``, such as ``sample_weight`` or ``aux``; these may be dicts of arrays.
    **options : Any
        What :func:`sklearn.model_selection.learning_curve` takes besides.

    Returns
    -------
    tuple of ndarray
        The numbers of rows, the scores on the training rows and those on the test rows.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import learning_curve
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": X[:, 1] > 0}
    >>> sizes, _, _ = learning_curve(MultiOutputNet(random_state=0), X, y, cv=3,
    ...                              train_sizes=[10, 40])
    >>> sizes.tolist()
    [10, 40]
    """
    return model_selection.learning_curve(
        estimator, as_inputs(X), as_rows(y), params=rows_in(params), **options
    )


def cross_val_predict(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    method: str = "predict",
    params: Any = None,
    cv: Any = None,
    **options: Any,
) -> Any:
    """Predict each row by the estimator that was fitted without it.

    Where `y` has names, so have the predictions. The columns of probabilities, also those of a
    matrix of classes, are then those of all classes that a fit has seen, with 0 where a fold's own
    fit has not seen a class.

    Parameters
    ----------
    estimator : estimator
        What to fit.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
        The rows.
    y : dict of array-like, Targets or array-like, default=None
        The targets.
    method : str, default="predict"
        The method that predicts.
    params : dict of str to Any, default=None
        Parameters of ``fit``, such as ``sample_weight`` or ``aux``; these may be dicts of arrays.
    cv : int, cross-validation splitter or iterable, default=None
        The splits, each row in the test part of one.
    **options : Any
        What :func:`sklearn.model_selection.cross_val_predict` takes besides.

    Returns
    -------
    Targets, ndarray or list of ndarray
        The predictions, in the order of the rows; a list of one array per column for the
        probabilities of a matrix of classes.

    Raises
    ------
    ValueError
        If the test parts of `cv` are no partition of the rows.

    Notes
    -----
    For probabilities, :func:`sklearn.model_selection.cross_val_predict` puts numbers in the place
    of the classes of an array. A matrix of two classes in each column is then one of 0 and 1,
    which :class:`~mtlearn.MultiOutputNetClassifier` learns as one output of labels: the result is
    one array of shape (n_samples, n_columns). Here the classes stay what they are.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import cross_val_predict
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": X[:, 1] > 0}
    >>> net = MultiOutputNet(random_state=0)
    >>> cross_val_predict(net, X, y, cv=3, method="predict_proba")["kind"].shape
    (60, 2)
    """
    X, y = as_inputs(X), as_rows(y)
    is_proba = method == "predict_proba"
    if is_proba and is_frame(y) and not is_classifier(estimator):
        y = Targets.from_frame(y)
    if not (is_proba and (isinstance(y, Targets) or _is_matrix_of_classes(y))):
        return model_selection.cross_val_predict(
            estimator, X, y, method=method, params=rows_in(params), cv=cv, **options
        )
    results = model_selection.cross_validate(
        estimator,
        X,
        y,
        cv=model_selection.check_cv(cv, None),
        scoring=_no_score,
        params=rows_in(params),
        return_estimator=True,
        return_indices=True,
        error_score="raise",
        **options,
    )
    fitted, tests = results["estimator"], results["indices"]["test"]
    tested = np.concatenate(tests)
    if not np.array_equal(np.sort(tested), np.arange(len(y))):
        raise ValueError(
            "cross_val_predict: the test parts of `cv` must be a partition of the rows, as those "
            f"of KFold are. Got {len(tested)} rows, {len(np.unique(tested))} of them different."
        )
    parts = [
        net.predict_proba(safe_indexing(X, test)) for net, test in zip(fitted, tests, strict=True)
    ]
    classes = [net.classes_ for net in fitted]
    if isinstance(parts[0], Targets):
        return Targets(
            {
                name: _join(
                    [part[name] for part in parts], [fold[name] for fold in classes], tested
                )
                for name in parts[0]
            }
        )
    if isinstance(parts[0], list):
        columns = zip(zip(*parts, strict=True), zip(*classes, strict=True), strict=True)
        return [_join(column, known, tested) for column, known in columns]
    return _join(parts, classes, tested)


def _is_matrix_of_classes(y: Any) -> bool:
    return is_matrix_of_classes(y if isinstance(y, np.ndarray) else np.asarray(y, dtype=object))


def _no_score(_estimator: Any, _X: Any, _y: Any) -> float:
    return 0.0


def _join(parts: Sequence[Array], known: Sequence[Array], tested: Array) -> Array:
    """Return the probabilities of all folds, in the order of the rows, for the classes of all."""
    same = all(np.array_equal(known[0], other) for other in known)
    columns = known[0] if same else np.unique(np.concatenate(known))
    position = {label: j for j, label in enumerate(columns.tolist())}
    joined = np.zeros((len(tested), len(columns)), dtype=parts[0].dtype)
    start = 0
    for part, labels in zip(parts, known, strict=True):
        rows = tested[start : start + len(part)]
        chosen = np.array([position[label] for label in labels.tolist()])
        joined[rows[:, None], chosen] = part
        start += len(part)
    return joined
