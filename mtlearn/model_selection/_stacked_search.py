"""scikit-learn's grid search with the networks of all fits trained side by side."""

import copy
from functools import partial
from typing import Any, ClassVar, Self

from joblib import effective_n_jobs, parallel_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from mtlearn._sklearn import StrOptions
from mtlearn.estimators import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor
from mtlearn.model_selection._fold_memory import FoldMemory
from mtlearn.model_selection._rows import as_inputs, as_rows, rows_in
from mtlearn.model_selection._search import GridSearchCV
from mtlearn.model_selection._stacking_backend import StackingBackend

__all__ = ["StackedGridSearchCV"]

NETS = (MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor)


class StackedGridSearchCV(GridSearchCV):
    """A grid search that trains the networks of all candidates and folds side by side.

    Small networks leave most of a processor idle. Here those that differ only in parameters that
    keep shapes (``loss_weights``, ``learning_rate``, ``alpha``, ``dropout``, ``label_smoothing``,
    ``random_state``, ...) are trained as one: a layer of all of them is one product of matrices.
    Others are grouped by shape, and what cannot be stacked is fitted by itself.

    Parameters, attributes and methods are those of
    :class:`sklearn.model_selection.GridSearchCV`, with these differences:

    - Each of the `n_jobs` processes has a share of the fits, and trains these side by side.
      `pre_dispatch` plays no part.
    - `verbose` may be ``"progress"``, for a bar.
    - The transformers of a Pipeline without `memory` are fitted once per fold and parameters; one
      without a `random_state` draws once for all candidates.
    - ``cv_results_["mean_fit_time"]`` is a share of the time of all, since they train together.
    - Ctrl-C ends the search: a net that is fitted by itself ends after its batch.

    Each fit ends where it would end by itself up to rounding, with its own batches, dropout,
    validation and early stopping; a long training may carry the rounding further.

    Notes
    -----
    Stacked are fits by ``optimizer="adam"`` or ``"adamw"`` of networks whose layers and losses
    have formulas (see ``fast_step``), without `callbacks`, `param_groups` and `verbose`. At most
    256 fits, or about 1 GiB of rows and weights, are held at a time.

    See Also
    --------
    GridSearchCV : Fits one after the other, or in processes.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.model_selection import StackedGridSearchCV
    >>> X = np.random.default_rng(0).normal(size=(90, 3))
    >>> y = {"main": X[:, 0], "aux": X[:, 0] + X[:, 1]}
    >>> net = MultiOutputNet(main_output="main", max_epochs=20, random_state=0)
    >>> search = StackedGridSearchCV(net, {"loss_weights__aux": [0.1, 0.3, 1.0]}, cv=3)
    >>> sorted(search.fit(X, y).best_params_)
    ['loss_weights__aux']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GridSearchCV._parameter_constraints,
        "verbose": ["verbose", StrOptions({"progress"})],
    }

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
        X, y, params = as_inputs(X), as_rows(y), rows_in(params)
        estimator = self.estimator
        if not _has_net(estimator):
            return self._run(estimator, X, y, params)
        remembers = isinstance(estimator, Pipeline) and estimator.memory is None
        if remembers:
            estimator = clone(estimator).set_params(memory=FoldMemory())
        with tqdm(unit="fit", disable=self.verbose != "progress") as bar:
            backend = StackingBackend(
                effective_n_jobs(self.n_jobs), partial(_set_total, bar), partial(_move, bar)
            )
            config = parallel_config(backend=backend)
            backend.ends = config.unregister  # the refit runs as it would without a search
            with config:
                self._run(estimator, X, y, params)
        _share_fit_times(self.cv_results_, self.n_splits_, backend.seconds)
        if remembers and self.refit is not False:
            self.best_estimator_.set_params(memory=None)
        return self

    def _run(self, estimator: Any, X: Any, y: Any, params: dict[str, Any]) -> Self:
        """Run scikit-learn's search with another estimator; keep what it found."""
        given = self.get_params(deep=False)
        search = copy.copy(self)
        search.estimator = estimator
        search.verbose = 0 if self.verbose == "progress" else self.verbose
        search.pre_dispatch = "all"
        super(StackedGridSearchCV, search).fit(X, y, **params)
        self.__dict__.update({**vars(search), **given})
        return self


def _has_net(estimator: Any) -> bool:
    """Tell whether an estimator is a net, or holds one."""
    return any(isinstance(part, NETS) for part in [estimator, *estimator.get_params().values()])


def _set_total(bar: Any, n_fits: int) -> None:
    bar.reset(total=n_fits)


def _move(bar: Any, n_ended: int, n_training: int, n_epochs: int) -> None:
    bar.set_postfix({"training": n_training, "epoch": n_epochs}, refresh=not n_ended)
    bar.update(n_ended)


def _share_fit_times(results: dict[str, Any], n_splits: int, seconds: float) -> None:
    """Make times, each of which lasts until a stack has ended, shares of the time of all."""
    share = seconds / max(n_splits * results["mean_fit_time"].sum(), seconds)
    for name in ("mean_fit_time", "std_fit_time"):
        results[name] *= share
