"""The estimator for several named targets."""

import os
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mtlearn._engine._callbacks import Callbacks
from mtlearn._engine._checkpoint import Checkpoint
from mtlearn._sklearn import fit_context
from mtlearn._typing import Array, ArrayLike, LossWeights, SampleWeight
from mtlearn._validation import check_known
from mtlearn.estimators._base import BaseMultiOutputNet
from mtlearn.estimators._outputs import (
    ARRAY_NAME,
    as_targets,
    check_all_targets,
    check_validation,
    is_indicator,
)
from mtlearn.estimators._task_callbacks import with_callbacks
from mtlearn.exceptions import HeadInferenceWarning
from mtlearn.heads import ClassHead, Head
from mtlearn.targets import Targets
from mtlearn.trunks import Trunk

__all__ = ["MultiOutputNet"]


class MultiOutputNet(BaseMultiOutputNet):
    r"""Learn several targets, numbers and classes mixed, with one network.

    A trunk that all outputs share and a head for each of them are trained on one total

    .. math:: L = \sum_k w_k L_k + \alpha \lVert W \rVert^2

    with the loss :math:`L_k` and the weight :math:`w_k` of output :math:`k`, and the squared
    weights :math:`W` of all layers. There is one backward pass and one step of one optimizer for
    each batch: the trunk gets the weighted sum of the outputs' gradients, and a head's own layers
    get the gradient of their output alone, times its weight.

    Parameters
    ----------
    trunk : Trunk, torch.nn.Module or callable, default=None
        The part of the network that all outputs share; None for ``MLP()``. A module is a
        template: it is copied and trained from the weights it holds. A callable makes the module,
        from the number of features if it takes an argument. A module that returns a dict of named
        tensors lets heads attach to any of them with ``at=``.
    heads : dict of str to Head, default=None
        How each output is learned, by the output's name. An output that is not named has its head
        inferred: numbers in floats are regressed, a matrix of booleans or of 0 and 1 is
        multilabel, anything else has classes. A head with ``target=`` learns another output's
        target.
    loss_weights : dict of str to (float or callable), default=None
        The weight of each output's loss in the total; 1 for an output that is not named. With 0 the
        output is left out of the training, and predicted by its best constant. A schedule of
        `mtlearn.weighting`, or another function of the epoch, makes a weight that changes.
    weighting : str, Weighting or torchjd object, default=None
        The strategy that weighs the outputs' losses against each other while they are learned:
        "uncertainty", "log", "dwa", "random", "famo", "gradcosine", "pcgrad", "mgda", "nash" or
        "hedge", or an object of `mtlearn.weighting`, or of torchjd. Its factors multiply
        `loss_weights`.
    main_output : str, default=None
        The output whose score ``score`` returns; None for the mean over outputs.
    normalize_losses : bool, default=True
        Whether to standardise numbers and to divide each loss by that of the best constant, so
        that 1.0 means no better than a constant on every output. False gives the raw sum.
    missing_targets : {"raise", "ignore"}, default="raise"
        Whether missing labels (NaN, None, NaT) are an error, or left out of losses and scores.
    optimizer : {"adagrad", "adam", "adamw", "rmsprop", "sgd"} or callable, default="adam"
        The optimizer by name, with torch's defaults, or what makes one from parameters and ``lr``:
        a class of ``torch.optim`` or ``functools.partial(torch.optim.SGD, momentum=0.9)``.
    optimizer_params : dict of str to Any, default=None
        Parameters of the optimizer but its learning rate: ``{"weight_decay": 0.01}``.
    param_groups : dict of str to dict, default=None
        Settings of the optimizer for parts of the network: ``"trunk"``, a module inside it such
        as ``"trunk.0"``, or an output. ``{"trunk": {"lr": 1e-4}}`` makes a slower trunk. A part
        with the ``lr`` 0 is frozen: it stays as it is, without dropout or penalty.
    learning_rate : float, default=1e-3
        The learning rate.
    learning_rate_schedule : {"cosine", "onecycle", "plateau"}, default=None
        How the learning rate changes. "cosine" lowers it to 0 at `max_epochs`; "onecycle" raises
        it to `learning_rate` over the first 30 % of the steps and lowers it then; "plateau"
        divides it by 5 whenever the watched loss (without validation the training loss) has not
        fallen for more than half of `n_iter_no_change` epochs. None for no change.
    alpha : float, default=2e-3
        The L2 penalty: `alpha` times the sum of all squared weights (never biases) is added to
        the loss once.
    batch_size : int, "auto" or callable, default="auto"
        Rows per step; "auto" for ``min(200, n_samples)``. A function takes the number of rows that
        are trained on to it.
    max_epochs : int or "auto", default="auto"
        How often to go through the rows; "auto" for 100, and for more where 100
        epochs have fewer than 200 steps.
    shuffle : bool, default=True
        Whether to go through the rows in a new order in each epoch.
    early_stopping : bool or "auto", default="auto"
        Whether to hold rows out and to stop once the loss on them no longer falls, with the weights
        of the best epoch. It is the loss of the main output, if there is one, else the total.
        "auto" for 10,000 rows or more, and wherever ``X_val`` is given.
    validation_fraction : float or cross-validation splitter, default=0.1
        The share of rows to hold out, stratified if the main output has classes; or a splitter,
        such as ``GroupShuffleSplit()`` or ``TimeSeriesSplit()``, whose first split is taken.
    n_iter_no_change : int, default=10
        How many epochs in a row may be no better than the best before training stops.
    early_stopping_tol : float, default=0.0
        Which epoch is the best: the last one whose loss on the rows held out is at most this share
        above the least. 0 takes the least; a few hundredths train on while the loss is flat.
    callbacks : list or dict of callbacks, default=None
        Callbacks of skorch, by themselves, as pairs with a name, or by name in a dict. Every fit
        uses copies of them. In place of one that cannot be copied, a function without arguments
        that makes it.
    device : str or torch.device, default="cpu"
        Where to train and to predict.
    dtype : {"auto", "float32", "float64"}, default="auto"
        The type of the weights; "auto" for that of `X` (integers count as float64).
    refit : bool, default=False
        Whether to use the rows held out by early stopping after all: as many networks again are
        trained on all rows for the number of epochs that was best, and the predictions of these and
        of the first are averaged (see `n_members`).
    n_members : int, default=1
        How many networks to train, whose predictions are averaged: numbers, and the probabilities
        of classes. They differ in what they draw: first weights, the order of rows, dropout. They
        are trained side by side, which saves time where layers are small. With early stopping each
        holds out a fold of its own, and all stop at the epoch of the least mean loss.
    n_threads : int, default=1
        Threads for torch's operators during ``fit``, restored after it; None for torch's own
        setting. More than one pays from some hundreds of units on.
    fast_step : bool or "auto", default="auto"
        Whether a training step computes gradients by formula instead of by torch's autograd, which
        takes a fraction of the time. "auto" does so for the layers and losses that have a formula,
        and leaves the others to autograd; True raises an error where one has none; False leaves
        all to autograd. The gradients are the same but for rounding.
    warm_start : bool, default=False
        Whether ``fit`` goes on from where the last one ended, with the network, the optimizer's
        moments and the scales of the targets as they are then.
    verbose : int or "progress", default=0
        Whether to print a line with all losses after each epoch; "progress" for a bar with the
        time left instead.
    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, the order of rows and dropout; an int for the same result each
        time. The global generators of numpy and torch are left alone.

    Attributes
    ----------
    output_names_ : list of str
        The outputs, in the order of `y`.
    heads_ : dict of str to Head
        The fitted heads.
    trunk_ : Trunk
        The trunk's specification.
    module_ : torch.nn.Module
        The network, in evaluation mode; only if ``n_members=1``.
    members_ : list of estimator
        The fitted estimators of one network each; only if `n_members` is larger.
    net_ : skorch.NeuralNet
        The net that trained it; not pickled, but made anew when asked for.
    fast_step_ : bool
        Whether the last training computed gradients by formula.
    history_ : list of dict
        One row per epoch: ``loss``, ``<output>_loss`` (unweighted), ``<output>_weight`` and
        ``penalty``, such that ``loss == sum(weight * loss) + penalty``; with validation also
        ``val_loss``, ``val_<output>_loss`` and ``val_penalty``, with a schedule
        ``learning_rate``, and what `callbacks` record.
    loss_weights_ : dict of str to float
        The weight of each output's loss; of a schedule, that of the first epoch.
    classes_ : dict of str to ndarray
        The classes of every output that has some; their array alone if `y` was an array.
    n_iter_ : int
        The number of epochs, of all fits that went on from each other.
    best_epoch_ : int
        The epoch, from 1 on, that the weights are of: the last one without early stopping, unless
        training diverged.
    n_features_in_ : int
        The number of columns of `X`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where all are strings.

    See Also
    --------
    MultiOutputNetRegressor : The same for an array of numbers, with auxiliary targets.
    MultiOutputNetClassifier : The same for an array of classes, with auxiliary targets.
    mtlearn.Targets : Named targets that scikit-learn can split.

    Notes
    -----
    On a batch :math:`B` the loss of output :math:`k` is

    .. math:: L_k = \frac{1}{|B|} \sum_{i \in B} \frac{s_{ik} m_{ik}}{c_k b_k} \ell_{ik}

    with the losses :math:`\ell` of the rows, the sample (and class) weights :math:`s`, the mask
    :math:`m` of observed labels, the mean :math:`c_k` of :math:`s m` over the training rows, and
    the loss :math:`b_k` of the best constant (1 without `normalize_losses`). Over a whole epoch
    this is the weighted mean over the observed labels, and a batch with a single label makes no
    huge step. Keras divides by :math:`|B|` too, but not by :math:`c_k`.

    References
    ----------
    Caruana, "Multitask Learning", 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> y = {"price": 10 + 3 * X[:, 0] - X[:, 1], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = MultiOutputNet(loss_weights={"kind": 0.3}, random_state=0).fit(X, y)
    >>> predicted = net.predict(X)
    >>> type(predicted).__name__, predicted["kind"].dtype, predicted["price"].shape
    ('Targets', dtype('<U5'), (300,))
    >>> {name: score > 0.9 for name, score in net.scores(X, y).items()}
    {'price': True, 'kind': True}
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMultiOutputNet._parameter_constraints,
        "main_output": [str, None],
    }

    def __init__(
        self,
        trunk: Trunk | nn.Module | Callable[..., nn.Module] | None = None,
        heads: Mapping[str, Head] | None = None,
        *,
        loss_weights: LossWeights = None,
        weighting: Any = None,
        main_output: str | None = None,
        normalize_losses: bool = True,
        missing_targets: str = "raise",
        optimizer: str | Callable[..., Any] = "adam",
        optimizer_params: Mapping[str, Any] | None = None,
        param_groups: Mapping[str, Mapping[str, Any]] | None = None,
        learning_rate: float = 1e-3,
        learning_rate_schedule: str | None = None,
        alpha: float = 2e-3,
        batch_size: int | str | Callable[[int], int] = "auto",
        max_epochs: int | str = "auto",
        shuffle: bool = True,
        early_stopping: bool | str = "auto",
        validation_fraction: Any = 0.1,
        n_iter_no_change: int = 10,
        early_stopping_tol: float = 0.0,
        callbacks: Callbacks = None,
        device: str | torch.device = "cpu",
        dtype: str = "auto",
        refit: bool = False,
        n_members: int = 1,
        n_threads: int | None = 1,
        fast_step: bool | str = "auto",
        warm_start: bool = False,
        verbose: int | bool | str = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            trunk,
            heads,
            loss_weights=loss_weights,
            weighting=weighting,
            normalize_losses=normalize_losses,
            missing_targets=missing_targets,
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            param_groups=param_groups,
            learning_rate=learning_rate,
            learning_rate_schedule=learning_rate_schedule,
            alpha=alpha,
            batch_size=batch_size,
            max_epochs=max_epochs,
            shuffle=shuffle,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            early_stopping_tol=early_stopping_tol,
            callbacks=callbacks,
            device=device,
            dtype=dtype,
            refit=refit,
            n_members=n_members,
            n_threads=n_threads,
            fast_step=fast_step,
            warm_start=warm_start,
            verbose=verbose,
            random_state=random_state,
        )
        self.main_output = main_output

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: SampleWeight = None,
        *,
        groups: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: Any = None,
        sample_weight_val: SampleWeight = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn all targets of `y`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets by name. An array is one target named ``"y"``.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output; ones for an output not named.
        groups : array-like of shape (n_samples,), default=None
            Groups for the splitter in `validation_fraction`.
        X_val : array-like of shape (n_val, n_features), default=None
            Rows to watch the losses on, in place of held-out ones.
        y_val : Targets, dict of array-like, DataFrame or array-like, default=None
            Their targets; the main output's at least.
        sample_weight_val : array-like of shape (n_val,) or mapping of str to that, default=None
            Their weights.
        checkpoint : Checkpoint, str or path-like, default=None
            A folder to keep the state of the training in. The same call again goes on from there,
            and ends as if it had never stopped.

        Returns
        -------
        MultiOutputNet
            The fitted estimator.

        Raises
        ------
        ValueError
            For bad parameters, names, labels or weights; the message names the output. For a
            `checkpoint` of other data or parameters; the message says what differs.
        OSError
            If a checkpoint cannot be written; the last one is as it was.
        mtlearn.exceptions.DivergenceError
            If a loss or a weight leaves the finite numbers. The estimator then has the best
            weights so far, or the last good ones; it is as it was if the first epoch diverges.
        """
        targets, is_array = as_targets(y, self._owner)
        if is_array and ARRAY_NAME not in (self.heads or {}):
            self._warn_of_indicators(targets[ARRAY_NAME])
        if self.main_output is not None:
            names = [*targets, *(self.heads or {})]
            check_known([self.main_output], names, subject=f"{self._owner}: `main_output`")
        check_validation(X_val, y_val, sample_weight_val, self._owner)
        held = None
        if X_val is not None:
            held = X_val, as_targets(y_val, f"{self._owner} (y_val)")[0], sample_weight_val
        self._fit(
            X,
            targets,
            sample_weight,
            self.heads,
            main_output=self.main_output,
            validation=held,
            groups=groups,
            given_y=y,
            checkpoint=checkpoint,
            own={"_y_is_array": is_array and _has_one_output(targets, self.heads)},
        )
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: SampleWeight = None,
        *,
        classes: Any = None,
    ) -> Self:
        """Learn from a piece of a stream: one pass over its rows, in their order.

        The first call makes the network, and takes the scales of the targets from its rows;
        they are kept. Later calls, or calls after ``fit``, go on. `max_epochs`, `shuffle` and
        validation play no part.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            The targets by name, all of them in each call; missing labels are
            left out with ``missing_targets="ignore"``.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output.
        classes : dict of str to array-like, or array-like, default=None
            All classes that may come, needed where the first call lacks some.

        Returns
        -------
        MultiOutputNet
            The fitted estimator.

        Raises
        ------
        ValueError
            For bad parameters, names, labels or weights, for a class that neither `classes`
            nor the first call had, and for a missing target; the message names the output.
        mtlearn.exceptions.DivergenceError
            If a loss or a weight leaves the finite numbers; the estimator is as it was.
        """
        targets, is_array = as_targets(y, self._owner)
        if classes is not None and not isinstance(classes, Mapping):
            if not is_array:
                raise ValueError(
                    f"{self._owner}: `classes` must be a dict by output where `y` has names. Got "
                    f"{classes!r}."
                )
            classes = {ARRAY_NAME: classes}
        own = {"_y_is_array": is_array and _has_one_output(targets, self.heads)}
        return self._partial_fit(
            X, targets, sample_weight, self.heads, classes or {}, own, self.main_output
        )

    def predict(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order; None for all. Only their heads are computed.

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
        Targets, or ndarray of shape (n_samples, n_classes)
            The probabilities by name, with the columns of ``classes_``; of a multilabel output
            those of each label. An array if `y` was one.
        """
        probabilities = self._predict_proba(X, outputs)
        if self._y_is_array and not probabilities:
            raise AttributeError(f"{self._owner}: no output has classes, so no probabilities.")
        return self._like_y(probabilities)

    def predict_std(self, X: ArrayLike, outputs: Collection[str] | None = None) -> Any:
        """Predict the standard deviation of the outputs that have one.

        These are the outputs with a `mtlearn.heads.Gaussian`: how far labels are from `predict`.
        With ``n_members`` it is also the other numbers, of which the members' spread says how far
        the predictions of other networks are, and nothing of the noise of labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        outputs : list of str, default=None
            Which outputs, in which order; None for all.

        Returns
        -------
        Targets, or ndarray of shape (n_samples,)
            The standard deviations by name; an array if `y` was one.

        Raises
        ------
        AttributeError
            If no output has one.

        References
        ----------
        Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty
        Estimation using Deep Ensembles", 2017.
        """
        return self._like_y(self._predict_std(X, outputs))

    def score(self, X: ArrayLike, y: Any, sample_weight: SampleWeight = None) -> float:
        """Return the score of the main output, or the mean over outputs if there is none.

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
        check_is_fitted(self)
        main = self.output_names_ if self.main_output is None else [self.main_output]
        check_known(main, self.output_names_, subject=f"{self._owner}: `main_output`")
        scores = self._scores(X, self._all_targets(y), sample_weight, main)
        return float(np.mean([scores[name] for name in sorted(scores)]))

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

        Raises
        ------
        ValueError
            If a target is missing from `y` or unknown, or has a class that ``fit`` has not seen.
        """
        check_is_fitted(self)
        return self._scores(X, self._all_targets(y), sample_weight)

    @property
    def classes_(self) -> Any:
        """The classes of every output that has some, by name; an array if `y` was one."""
        check_is_fitted(self)
        classes = {
            n: head.classes_ for n, head in self.heads_.items() if isinstance(head, ClassHead)
        }
        if not classes:
            raise AttributeError(f"{self._owner}: no output has classes.")
        return classes[ARRAY_NAME] if self._y_is_array else classes

    def _warn_of_indicators(self, y: Array) -> None:
        if y.ndim == 2 and y.dtype.kind in "iu" and is_indicator(y):
            warnings.warn(
                f"{self._owner}: a matrix of the integers 0 and 1 is taken for one multilabel "
                f"output; pass heads={{'y': MultiLabel()}}. Where scikit-learn's cross_val_predict "
                f"made it of the classes of a DataFrame, its result is wrong: pass Targets.",
                HeadInferenceWarning,
                stacklevel=4,
            )

    def _all_targets(self, y: Any) -> Targets:
        targets, _ = as_targets(y, self._owner)
        check_all_targets(targets, self.heads_, self._owner)
        return targets

    def _needed_outputs(self) -> list[str]:
        return [] if self.main_output is None else [self.main_output]

    def _like_y(self, outputs: dict[str, Array]) -> Any:
        return outputs[ARRAY_NAME] if self._y_is_array else Targets(outputs)


def _has_one_output(y: Targets, heads: Mapping[str, Head] | None) -> bool:
    return {*y, *(heads or {})} == {ARRAY_NAME}
