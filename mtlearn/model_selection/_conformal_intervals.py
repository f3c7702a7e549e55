"""Intervals for numbers that hold their share of the labels, by held-out rows."""

from collections.abc import Collection, Mapping
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mtlearn._arrays import as_columns
from mtlearn._sklearn import HasMethods, fit_context
from mtlearn._typing import Array, ArrayLike, Floats, SampleWeight
from mtlearn._validation import naming
from mtlearn.estimators import MultiOutputNetRegressor
from mtlearn.estimators._outputs import ARRAY_NAME, labels_of
from mtlearn.estimators._view import find_net
from mtlearn.heads import Head
from mtlearn.heads._scale import as_numbers
from mtlearn.model_selection._conformity import Band, HeldOut, Intervals, find_bands, forecasts
from mtlearn.model_selection._cross_fits import cross_fits
from mtlearn.model_selection._held_out_wrapper import (
    HeldOutWrapper,
    answered,
    innermost,
    targets_of,
)
from mtlearn.model_selection._rows import as_inputs, as_rows

__all__ = ["ConformalIntervalsCV"]

OWNER = "ConformalIntervalsCV"


class ConformalIntervalsCV(HeldOutWrapper):
    r"""Predict intervals of numbers that hold the share of labels asked for.

    Quantiles and standard deviations that a network predicts are learned from the labels that it
    fits, so that its intervals tend to be too narrow, most of all where rows are few. This
    estimator sees on rows that the network was not trained on how far labels are from what is
    predicted of them, and widens (or narrows) the intervals by as much as it takes. What
    ``predict`` returns stays as it is.

    Parameters
    ----------
    estimator : estimator
        An estimator of mtlearn, or a Pipeline that ends in one, with an output that predicts
        numbers.
    cv : int, cross-validation splitter, iterable or "prefit", default=None
        Where the held-out rows come from. An int (None for 5) is a number of folds in which all
        targets are alike, by `IterativeStratification`; with `groups`, folds of whole groups. With
        "prefit" the estimator is fitted already, on other rows than those that ``fit`` then gets.
    n_jobs : int, default=None
        The number of folds that are fitted at the same time, in processes.

    Attributes
    ----------
    estimator_ : estimator
        The estimator fitted on all rows, which predicts.
    errors_ : dict of str to ndarray of shape (n_held, n_columns)
        How far the labels of held-out rows are from what was predicted of them, by output: with
        `mtlearn.heads.Quantile`, how far above each quantile, in rising order; with
        `mtlearn.heads.Gaussian` the distance from the mean in standard deviations; of other numbers
        the distance. NaN where a label is missing, or without weight.
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
    TunedThresholdsCV : Chooses the thresholds of labels on held-out rows.
    mtlearn.heads.Quantile : Predicts quantiles of a number.
    mtlearn.heads.Gaussian : Predicts the mean and the standard deviation.

    Notes
    -----
    Each held-out label :math:`y_i` has a score :math:`s_i`, and an interval holds all labels whose
    score is at most :math:`d`:

    - With a Quantile head :math:`s_i = \max(v_a - y_i, y_i - v_b)`, and the interval is
      :math:`[v_a - d, v_b + d]`. The quantiles :math:`v_a, v_b` are those that the head predicts
      nearest to :math:`(1 - l) / 2` and :math:`(1 + l) / 2` for the level :math:`l`, of two that
      are as near the outer one. Ends that a negative :math:`d` would let cross meet in the middle.
    - With a Gaussian head :math:`s_i = |y_i - \mu_i| / \sigma_i`, and the interval is
      :math:`\mu \pm d \sigma`.
    - Otherwise :math:`s_i = |y_i - p_i|`, and the interval is :math:`p \pm d`, of the same width
      for all rows. This is also the case of Gaussian heads in a `mtlearn.ensemble.Blend`, which
      has no standard deviation.

    Of :math:`n` scores :math:`d` is the :math:`\lceil (n + 1) l \rceil`-th, for each output and
    each column by itself. With ``cv="prefit"`` the interval of a new row then holds its label with
    a chance of at least :math:`l`, whatever the network, if this row and the :math:`n` are drawn
    alike and independently of those that were trained on. With folds the networks that are scored
    were trained on fewer rows than the one that predicts, which makes intervals a little wide as a
    rule; there is no such guarantee. It is a chance over all rows: among those of a kind the share
    may be another.

    With weights :math:`w_i`, :math:`d` is the least score such that those up to it have the weight
    :math:`l (\sum_i w_i + w)`, where :math:`w = \sum_i w_i^2 / \sum_i w_i` stands for the new row;
    only their ratios count. A row that several splits hold out has a score for each, which share
    its weight. Missing labels are left out.

    There is no ``cv="held_out"``: the rows that a member held out for early stopping are predicted
    by it alone, which is less exact than the mean of all members, and intervals would be too wide.

    References
    ----------
    Romano, Patterson and Candes, "Conformalized Quantile Regression", 2019; Lei, G'Sell, Rinaldo,
    Tibshirani and Wasserman, "Distribution-Free Predictive Inference for Regression", 2018
    (division by the spread); Vovk, "Cross-conformal predictors", 2015; Tibshirani, Barber, Candes
    and Ramdas, "Conformal Prediction Under Covariate Shift", 2019 (weights).

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import Quantile
    >>> from mtlearn.model_selection import ConformalIntervalsCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1200, 8))
    >>> y = {"price": X[:, 0] + rng.normal(size=1200)}
    >>> train, test = slice(0, 200), slice(200, None)
    >>> net = MultiOutputNet(heads={"price": Quantile([0.1, 0.9])}, max_epochs=100, random_state=0)
    >>> intervals = ConformalIntervalsCV(net, cv=5).fit(X[train], {"price": y["price"][train]})
    >>> def share_inside(low, high):
    ...     return np.mean((low <= y["price"][test]) & (y["price"][test] <= high))
    >>> bool(share_inside(*intervals.predict(X[test])["price"].T) < 0.7)
    True
    >>> found = intervals.predict_interval(X[test], level=0.8)["price"]
    >>> found.shape, bool(0.76 < share_inside(*found.T) < 0.87)
    ((1000, 2), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "cv": ["cv_object", str],
        "n_jobs": [Integral, None],
    }

    def __init__(self, estimator: Any, *, cv: Any = None, n_jobs: int | None = None) -> None:
        self.estimator = estimator
        self.cv = cv
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
        """Fit the estimator, and see how far labels are from what is predicted of them.

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
        ConformalIntervalsCV
            The fitted estimator.

        Raises
        ------
        ValueError
            For an estimator without an output that predicts numbers, an output without a label in
            held-out rows, ``cv="held_out"``, and what the estimator refuses.
        TypeError
            For an estimator that is not of mtlearn.
        """
        self._check_estimator()
        self._check_cv()
        X, y = as_inputs(X), as_rows(y)
        params = self._params_of_fit(sample_weight, groups, fit_params)
        fitted = self._fit_on_all(X, y, params)
        net = find_net(fitted)[0]
        heads = {name: net.heads_[name] for name in answered(net)}
        bands = find_bands(net, heads)
        if not bands:
            kinds = {name: type(head).__name__ for name, head in heads.items()}
            raise ValueError(
                f"{OWNER}: `estimator` must have an output that predicts numbers. Got none; the "
                f"outputs are {kinds}."
            )
        labels = labels_of(targets_of(net, y, OWNER), {name: heads[name] for name in bands})
        _check_columns(labels, heads)
        weights = self._weights(labels, sample_weight, net.heads_)
        ask = partial(forecasts, bands)
        if isinstance(self.cv, str):
            parts = [(np.arange(len(y)), ask(fitted, X))]
        else:
            how = {"cv": self.cv, "groups": groups, "n_jobs": self.n_jobs}
            parts = cross_fits(self.estimator, X, y, params, ask, **how)
        self._held = self._find_held(bands, labels, weights, parts)
        self._bands = bands
        self.errors_ = {name: held.errors for name, held in self._held.items()}
        self.heads_, self.output_names_ = net.heads_, list(net.heads_)
        self.estimator_ = fitted
        return self

    def predict_interval(
        self, X: ArrayLike, level: float = 0.9, outputs: Collection[str] | None = None
    ) -> Any:
        """Predict intervals that hold a share of the labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        level : float, default=0.9
            The share of labels that intervals shall hold, in (0, 1).
        outputs : list of str, default=None
            Which outputs, in which order; None for all that predict numbers.

        Returns
        -------
        Targets, or ndarray of shape (n_samples, 2) or (n_samples, n_columns, 2)
            The lower and the upper ends by name, in this shape; an array if `y` was one.

        Raises
        ------
        ValueError
            For a level outside (0, 1), one that needs more held-out labels than there were, an
            unknown output, and one that predicts no numbers.
        """
        check_is_fitted(self)
        if isinstance(level, bool) or not isinstance(level, Real) or not 0 < level < 1:
            raise ValueError(f"{OWNER}: `level` must be a number in (0, 1). Got {level!r}.")
        names = list(self._bands) if outputs is None else list(self._heads(outputs))
        without = [name for name in names if name not in self._bands]
        if without:
            raise ValueError(
                f"{OWNER}: `outputs` must name outputs with intervals, {list(self._bands)}. Got "
                f"{without}."
            )
        bands = {name: self._bands[name] for name in names}
        found = {}
        for name, forecast in forecasts(bands, self.estimator_, X).items():
            with naming(f"{OWNER}: output {name!r}"):
                ends = bands[name].ends(forecast, self._held[name], float(level))
            columns = self.heads_[name].constant_label().shape[1:]
            found[name] = np.stack(ends, axis=-1).reshape(len(forecast), *columns, 2)
        is_array = _gives_arrays(find_net(self.estimator_)[0])
        return found[ARRAY_NAME] if is_array else Intervals(found)

    def _check_cv(self) -> None:
        if isinstance(self.cv, str) and self.cv == "held_out":
            raise ValueError(
                f"{OWNER}: `cv` cannot be 'held_out': a member predicts the rows that it held out "
                f"less exactly than all members together predict new ones, so that intervals "
                f"would be too wide. Pass cv=5."
            )
        if isinstance(self.cv, str) and self.cv != "prefit":
            raise ValueError(
                f"{OWNER}: `cv` must be an int, a splitter, splits or 'prefit'. Got {self.cv!r}."
            )

    def _find_held(
        self,
        bands: Mapping[str, Band],
        labels: Mapping[str, Array],
        weights: Mapping[str, Floats],
        parts: list[tuple[Array, dict[str, Floats]]],
    ) -> dict[str, HeldOut]:
        """Return what the held-out rows of all splits say of each output."""
        found = {}
        for name, band in bands.items():
            subject = f"{OWNER}: output {name!r}"
            all_weights = as_columns(weights[name])
            with naming(subject):
                numbers = as_numbers(as_columns(labels[name]), all_weights, "an interval")
            rows = np.concatenate([np.arange(len(numbers))[held] for held, _ in parts])
            forecast = np.concatenate([part[name] for _, part in parts])
            if len(forecast) != len(rows):
                raise ValueError(
                    f"{subject}: `y` must have as many rows as X, {len(forecast)}. Got {len(rows)}."
                )
            of_rows = all_weights[np.unique(rows)]
            if not of_rows.any(axis=0).all():
                raise ValueError(
                    f"{subject}: intervals need held-out rows with a label, in each column. Got "
                    f"none with cv={self.cv!r}."
                )
            weight = all_weights[rows] / np.bincount(rows)[rows, None]
            errors = np.where(weight > 0, band.errors(forecast, numbers[rows]), np.nan)
            found[name] = HeldOut(errors, weight, (of_rows**2).sum(axis=0) / of_rows.sum(axis=0))
        return found


def _check_columns(labels: Mapping[str, Array], heads: Mapping[str, Head]) -> None:
    """Raise a ValueError for labels that are not of the columns that were fitted."""
    for name, values in labels.items():
        columns = heads[name].constant_label().shape[1:]
        if values.shape[1:] != columns:
            raise ValueError(
                f"{OWNER}: output {name!r}: the labels must have the shape "
                f"{(len(values), *columns)}, as in the fit of `estimator`. Got {values.shape}."
            )


def _gives_arrays(net: Any) -> bool:
    """Tell whether an estimator predicts an array of one output."""
    net = innermost(net)
    if isinstance(net, MultiOutputNetRegressor):
        return True
    return getattr(net, "_y_is_array", False) or getattr(net, "_own_names", None) == [ARRAY_NAME]
