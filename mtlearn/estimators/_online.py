"""The estimator for streams of rows whose features come and go."""

from collections.abc import Collection, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mtlearn._params import NestedParams
from mtlearn._sklearn import Interval, StrOptions, fit_context, validate_parameter_constraints
from mtlearn._torch_state import training_settings
from mtlearn._typing import Floats, LossWeights, SampleWeight
from mtlearn._validation import check_known, naming
from mtlearn._version import take_version, with_version
from mtlearn.estimators._online_predictions import OnlinePredictions
from mtlearn.estimators._outputs import (
    ARRAY_NAME,
    as_targets,
    check_all_targets,
    check_classes,
    labels_of,
)
from mtlearn.estimators._row_by_row import RowByRow
from mtlearn.estimators._stream_start import start_stream
from mtlearn.estimators._view import OutputView
from mtlearn.estimators._weights import find_label_weights, rows_that_count
from mtlearn.heads import ClassHead, Head
from mtlearn.trunks import Hedge, Trunk
from mtlearn.weighting import MultiplicativeWeights

__all__ = ["OnlineMultiOutputNet"]

FITTED = (
    "output_names_",
    "loss_weights_",
    "network_",
    "n_features_in_",
    "feature_names_in_",
    "_feature_names",
    "_y_is_array",
)


class OnlineMultiOutputNet(RowByRow, OnlinePredictions, NestedParams):
    r"""Learn several targets from a stream, of which any feature may be absent from any row.

    Every row is learned once, when it comes, and then forgotten. A NaN, a column that a frame
    lacks and a key that a dict lacks stand for a feature that is not available now; features, and
    classes, that never came before may come at any time. Absent values are estimated from those
    that are there, and every output is a mixture of linear models and of the heads of each layer of
    a network, weighed by how well each has predicted so far.

    Parameters
    ----------
    trunk : Trunk, torch.nn.Module or callable, default=None
        The part that all outputs share; None for ``Hedge()``. Each of its tensors has heads. Of
        others than `mtlearn.trunks.Hedge`, `mtlearn.trunks.AuxDrop` and `mtlearn.trunks.AuxNet`
        the features are fixed by the first rows.
    heads : dict of str to Head, default=None
        How each output is learned, as in `MultiOutputNet`; one that is not named has its head
        inferred from the first rows. Hidden layers of a head, and ``at=``, have no meaning here.
    loss_weights : dict of str to float, default=None
        The weight of each output's loss for the trunk; 1 for an output that is not named. With 0
        the output is predicted by its best constant so far.
    main_output : str, default=None
        The output whose score ``score`` returns; None for the mean over outputs.
    normalize_losses : bool, default=True
        Whether to standardise numbers by their mean and standard deviation so far, and to divide
        each loss by that of the best constant so far. False gives the raw sum.
    missing_targets : {"raise", "ignore"}, default="raise"
        Whether missing labels (NaN, None, NaT) are an error, or left out.
    scale : bool, default=True
        Whether to standardise each feature by the mean and the standard deviation of the values
        so far, clipped to 4 standard deviations.
    impute : bool or "auto", default="auto"
        Whether to estimate absent features from the others by their running covariance, in place
        of the mean. It takes time of the third power of their number; "auto" does so up to 250.
    expert_weighting : MultiplicativeWeights, default=None
        How the weights of the experts follow their losses; None for ``MultiplicativeWeights()``.
    expert_losses : {"both", "mean", "weighted"}, default="both"
        Whether the trunk learns from the mean of the experts' losses, from their sum by the
        experts' weights, as Sahoo et al. have it, or from half of each: then a deep network learns
        about as fast as a shallow one, for the best layer has the most to say, and no layer waits.
    second_order : bool, default=True
        Whether heads make second-order steps, which need no learning rate; False for those of
        `optimizer`.
    forgetting : float, default=1.0
        What the past is multiplied by before each row, in (0, 1]: 1 remembers all rows alike,
        0.999 about the last 1,000, for streams that drift.
    balanced : bool, default=False
        Whether to predict the class whose probability exceeds its frequency so far by the largest
        factor, which is better by the balanced accuracy, in place of the most probable one.
    optimizer : {"adagrad", "adam", "adamw", "rmsprop", "sgd"} or callable, default="adagrad"
        The optimizer of the trunk; without `second_order` of the heads too.
    optimizer_params : dict of str to Any, default=None
        Parameters of the optimizer but its learning rate; for "adagrad"
        ``initial_accumulator_value`` is 0.1 unless it is set.
    learning_rate : float, default=0.1
        The learning rate.
    batch_size : int, default=1
        How many of the rows of a call make one step.
    n_threads : int or None, default=1
        Threads for torch's operators while learning, and for linear algebra, whose matrices are
        small here; None for the settings there are.
    random_state : int, RandomState instance or None, default=None
        Seeds the first weights and what a trunk draws.

    Attributes
    ----------
    output_names_ : list of str
        The outputs, in the order of `y`.
    heads_ : dict of str to Head
        The heads, fitted to the labels so far.
    expert_names_ : list of str
        The tensors of the trunk that have heads.
    expert_weights_ : dict of str to ndarray of shape (n_experts,)
        The weights of the experts of each output.
    loss_weights_ : dict of str to float
        The weight of each output's loss.
    network_ : OnlineNetwork
        All that was learned.
    classes_ : dict of str to ndarray
        The classes so far of every output that has some; their array alone if `y` was an array.
    n_rows_seen_ : int
        The number of rows learned.
    n_features_in_ : int
        The number of features so far.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, in the order of their coming, where they have names.

    See Also
    --------
    MultiOutputNet : Goes through the rows many times; has ``partial_fit`` for complete rows.
    mtlearn.model_selection.prequential : Predicts each row before it is learned, and scores.
    mtlearn.datasets.withhold_features : Makes features absent as the literature does.

    Notes
    -----
    Parameters are those of the first call of a stream, but for `balanced` and `missing_targets`. A
    row without any feature is predicted by the best constant so far, and teaches nothing but that
    constant. Numbers are standardised by the mean and the standard deviation of their labels so
    far; when these change, the heads are changed so that they predict the same as before (van
    Hasselt et al.). Heads for other kinds of labels take their scale, and that constant, from the
    first call that has some, and keep them. The weights of a head begin as normal with mean 0 and
    a variance by which, of standard normal features, the raw outputs have the variance 10.

    An expert of `width` features takes memory and time of ``width ** 2`` for each raw output, by
    its second-order steps; steps of n rows take memory of ``n ** 2`` and time of ``n ** 3``.

    References
    ----------
    Sahoo et al., "Online Deep Learning: Learning Deep Neural Networks on the Fly", 2018 (the
    mixture); Agarwal et al., "Auxiliary Network: Scalable and Agile Online Learning for Dynamic
    System with Inconsistently Available Inputs", 2022; van Hasselt et al., "Learning values across
    many orders of magnitude", 2016 (scales that change).

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import OnlineMultiOutputNet
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 4))
    >>> y = {"kind": np.where(X[:, 0] > 0, "high", "low"), "sum": X.sum(axis=1)}
    >>> X[rng.random(X.shape) < 0.1] = np.nan
    >>> net = OnlineMultiOutputNet(random_state=0)
    >>> for start in range(0, 500, 50):
    ...     rows = slice(start, start + 50)
    ...     net = net.partial_fit(X[rows], {name: values[rows] for name, values in y.items()})
    >>> {name: score > 0.8 for name, score in net.scores(X, y).items()}
    {'kind': True, 'sum': True}
    >>> net.expert_names_
    ['masked', 'linear', 'hidden_1', 'hidden_2']
    """

    _dict_params: ClassVar[tuple[str, ...]] = ("heads", "loss_weights", "optimizer_params")
    _default_parts = {"trunk": Hedge, "expert_weighting": MultiplicativeWeights}  # noqa: RUF012

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "trunk": [Trunk, nn.Module, callable, None],
        "heads": [dict, None],
        "loss_weights": [dict, None],
        "main_output": [str, None],
        "normalize_losses": ["boolean"],
        "missing_targets": [StrOptions({"raise", "ignore"})],
        "scale": ["boolean"],
        "impute": ["boolean", StrOptions({"auto"})],
        "expert_weighting": [MultiplicativeWeights, None],
        "expert_losses": [StrOptions({"both", "mean", "weighted"})],
        "second_order": ["boolean"],
        "forgetting": [Interval(Real, 0, 1, closed="right")],
        "balanced": ["boolean"],
        "optimizer": [str, callable],
        "optimizer_params": [dict, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        trunk: Any = None,
        heads: Mapping[str, Head] | None = None,
        *,
        loss_weights: LossWeights = None,
        main_output: str | None = None,
        normalize_losses: bool = True,
        missing_targets: str = "raise",
        scale: bool = True,
        impute: bool | str = "auto",
        expert_weighting: MultiplicativeWeights | None = None,
        expert_losses: str = "both",
        second_order: bool = True,
        forgetting: float = 1.0,
        balanced: bool = False,
        optimizer: Any = "adagrad",
        optimizer_params: Mapping[str, Any] | None = None,
        learning_rate: float = 0.1,
        batch_size: int = 1,
        n_threads: int | None = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.trunk = trunk
        self.heads = heads
        self.loss_weights = loss_weights
        self.main_output = main_output
        self.normalize_losses = normalize_losses
        self.missing_targets = missing_targets
        self.scale = scale
        self.impute = impute
        self.expert_weighting = expert_weighting
        self.expert_losses = expert_losses
        self.second_order = second_order
        self.forgetting = forgetting
        self.balanced = balanced
        self.optimizer = optimizer
        self.optimizer_params = optimizer_params
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_threads = n_threads
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: SampleWeight = None) -> Self:
        """Forget everything, and learn the rows once, in their order.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame or list of dict
            The rows, NaN where a feature is absent.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets by name.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output.

        Returns
        -------
        OnlineMultiOutputNet
            The fitted estimator.

        Raises
        ------
        ValueError
            As `partial_fit`, and if no label has a weight; the estimator is as it was then.
        """
        kept = self.__dict__.copy()
        for name in FITTED:
            self.__dict__.pop(name, None)
        try:
            self.partial_fit(X, y, sample_weight)
            if not any(output.labels.n_labels for output in self.network_.outputs.values()):
                raise ValueError(
                    f"{self._owner}: some label must be observed with a weight above zero."
                )
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(kept)
            raise
        return self

    def partial_fit(
        self, X: Any, y: Any, sample_weight: SampleWeight = None, *, classes: Any = None
    ) -> Self:
        """Learn rows, each once, in their order, `batch_size` at a step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame or list of dict
            The rows, NaN where a feature is absent. Columns and keys are taken by name: they may
            come in any order, be fewer than before, or new. Arrays keep their width.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets by name, all of them in each call.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output.
        classes : dict of str to array-like, or array-like, default=None
            All classes that may come, after which others are an error. Classes that are not
            declared may come at any time.

        Returns
        -------
        OnlineMultiOutputNet
            The fitted estimator.

        Raises
        ------
        ValueError
            For bad parameters, names, labels or weights, infinite values, a class that was not
            declared beside those that were; nothing of the call is learned then.
        mtlearn.exceptions.DivergenceError
            If a loss leaves the finite numbers; the steps before it are kept.
        """
        if not hasattr(self, "network_"):
            params = self.get_params(deep=False)
            validate_parameter_constraints(
                self._parameter_constraints, params, caller_name=self._owner
            )
        targets, is_array = as_targets(y, self._owner)
        if classes is not None and not isinstance(classes, Mapping):
            classes = {ARRAY_NAME: classes}
        rows, names = self._rows(X, learns=True)
        if len(targets) != len(rows):
            raise ValueError(
                f"{self._owner}: `y` must have as many rows as X, {len(rows)}. Got {len(targets)}."
            )
        started = (
            None
            if hasattr(self, "network_")
            else start_stream(self, targets, classes or {}, is_array=is_array)
        )
        network = self.network_ if started is None else started["network_"]
        heads = {name: output.head for name, output in network.outputs.items()}
        check_all_targets(targets, heads, self._owner)
        if classes and started is None:
            with naming(self._owner):
                check_classes(heads, classes)
        labels = labels_of(targets, heads)
        units = dict.fromkeys(labels, 0)
        weights, _ = find_label_weights(
            labels, sample_weight, self.missing_targets, self._owner, units
        )
        for name, output in network.outputs.items():
            with naming(f"{self._owner}: output {name!r}"):
                output.labels.check(labels[name], weights[name])
        with torch.inference_mode(False), naming(self._owner):
            network.widen(names)
        self.__dict__.update(started or {})
        self._keep_names(X, names)
        if sample_weight is not None:  # a row of weight 0 is as if it had not come
            kept = np.flatnonzero(rows_that_count(sample_weight, list(labels), len(rows)))
            rows = rows[kept]
            labels = {name: values[kept] for name, values in labels.items()}
            weights = {name: values[kept] for name, values in weights.items()}
        recipe = network.recipe
        with (
            training_settings(recipe.n_threads, recipe.seed + network.n_steps),
            naming(self._owner),
        ):
            network.learn_in_steps(rows, labels, weights, recipe.batch_size)
        return self

    def predict(self, X: Any, outputs: Collection[str] | None = None) -> Any:
        """Predict the outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame or list of dict
            The rows, NaN where a feature is absent; features that were never learned play no part.
        outputs : list of str, default=None
            Which outputs, in which order; None for all.

        Returns
        -------
        Targets, or ndarray of shape (n_samples,) or (n_samples, n_columns)
            The predictions by name; an array if `y` was one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            For an output of which no label came yet.
        """
        return self._like_y(self._predict(X, outputs))

    def predict_proba(self, X: Any, outputs: Collection[str] | None = None) -> Any:
        """Predict the class probabilities of the outputs that have classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame or list of dict
            The rows, NaN where a feature is absent.
        outputs : list of str, default=None
            Which outputs, in which order; None for all.

        Returns
        -------
        Targets, or ndarray of shape (n_samples, n_classes)
            The probabilities by name, with the columns of ``classes_``.
        """
        probabilities = self._predict_proba(X, outputs)
        if self._y_is_array and not probabilities:
            raise AttributeError(f"{self._owner}: no output has classes, so no probabilities.")
        return self._like_y(probabilities)

    def score(self, X: Any, y: Any, sample_weight: SampleWeight = None) -> float:
        """Return the score of the main output, or the mean over outputs if there is none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame or list of dict
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
        check_is_fitted(self)
        main = self.output_names_ if self.main_output is None else [self.main_output]
        check_known(main, self.output_names_, subject=f"{self._owner}: `main_output`")
        scores = self._scores(X, as_targets(y, self._owner)[0], sample_weight, main)
        return float(np.mean([scores[name] for name in sorted(scores)]))

    def scores(self, X: Any, y: Any, sample_weight: SampleWeight = None) -> dict[str, float]:
        """Return the score of each output.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame or list of dict
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
        return self._scores(X, as_targets(y, self._owner)[0], sample_weight)

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
        """The classes so far of every output that has some, by name; an array if `y` was one."""
        check_is_fitted(self)
        classes = {
            name: head.classes_
            for name, head in self.heads_.items()
            if isinstance(head, ClassHead) and hasattr(head, "classes_")
        }
        if not classes:
            raise AttributeError(f"{self._owner}: no output has classes.")
        return classes[ARRAY_NAME] if self._y_is_array else classes

    @property
    def expert_names_(self) -> list[str]:
        """The tensors of the trunk that have heads."""
        check_is_fitted(self)
        return list(self.network_.expert_names)

    @property
    def expert_weights_(self) -> dict[str, Floats]:
        """The weights of the experts of each output."""
        check_is_fitted(self)
        return {n: output.weigher.weights.copy() for n, output in self.network_.outputs.items()}

    @property
    def n_rows_seen_(self) -> int:
        """The number of rows learned."""
        check_is_fitted(self)
        return next(iter(self.network_.outputs.values())).labels.n_rows

    def __getstate__(self) -> dict[str, Any]:
        return with_version(dict(super().__getstate__()))  # pyright: ignore[reportCallIssue, reportArgumentType]

    def __setstate__(self, state: dict[str, Any]) -> None:
        take_version(state, type(self).__name__)
        super().__setstate__(state)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.allow_nan = True
        return tags
