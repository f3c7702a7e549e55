"""scikit-learn's searches for targets in plain dicts."""

from typing import Any, Self

from sklearn import model_selection
from sklearn.base import BaseEstimator

from mtlearn.model_selection._rows import as_inputs, as_rows, rows_in

__all__ = ["GridSearchCV", "RandomizedSearchCV"]


class _TakesDicts(BaseEstimator):
    """Lets a search divide plain dicts by rows."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Run the search; `X`, `y` and any parameter of ``fit`` may be a dict of arrays by name.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : dict of array-like, Targets or array-like, default=None
            The targets.
        **params : Any
            What ``fit`` of the estimator takes besides, such as ``sample_weight`` or ``aux``.

        Returns
        -------
        Self
            The fitted search.
        """
        return super().fit(as_inputs(X), as_rows(y), **rows_in(params))  # pyright: ignore[reportAttributeAccessIssue]


class GridSearchCV(_TakesDicts, model_selection.GridSearchCV):
    """scikit-learn's GridSearchCV, for `y` and parameters of ``fit`` in plain dicts too.

    Parameters, attributes and methods are those of
    :class:`sklearn.model_selection.GridSearchCV`.

    See Also
    --------
    output_scoring : Several metrics, for ``scoring=``.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import GridSearchCV, make_output_scorer
    >>> X = np.random.default_rng(0).normal(size=(90, 3))
    >>> y = {"main": X[:, 0], "aux": X[:, 0] + X[:, 1]}
    >>> search = GridSearchCV(MultiOutputNet(random_state=0, max_epochs=20),
    ...                       {"loss_weights__aux": [0.0, 0.3]}, cv=3,
    ...                       scoring=make_output_scorer("main", "r2"))
    >>> sorted(search.fit(X, y).best_params_)
    ['loss_weights__aux']
    """


class RandomizedSearchCV(_TakesDicts, model_selection.RandomizedSearchCV):
    """scikit-learn's RandomizedSearchCV, for `y` and parameters of ``fit`` in plain dicts too.

    Parameters, attributes and methods are those of
    :class:`sklearn.model_selection.RandomizedSearchCV`.

    See Also
    --------
    GridSearchCV : Tries all combinations.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.stats import loguniform
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import RandomizedSearchCV
    >>> X = np.random.default_rng(0).normal(size=(90, 3))
    >>> y = {"main": X[:, 0], "aux": X[:, 0] + X[:, 1]}
    >>> net = MultiOutputNet(main_output="main", random_state=0, max_epochs=20)
    >>> search = RandomizedSearchCV(net, {"loss_weights__aux": loguniform(0.01, 1)}, n_iter=2,
    ...                             cv=3, random_state=0)
    >>> sorted(search.fit(X, y).best_params_)
    ['loss_weights__aux']
    """
