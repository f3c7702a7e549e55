"""The estimator for an array of classes, with auxiliary targets."""

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mtlearn._engine._callbacks import Callbacks
from mtlearn._engine._checkpoint import Checkpoint
from mtlearn._sklearn import StrOptions, fit_context
from mtlearn._typing import Array, ArrayLike, LossWeights, SampleWeight
from mtlearn.estimators._base import BaseMultiOutputNet
from mtlearn.estimators._class_columns import class_targets, join_columns
from mtlearn.estimators._outputs import (
    ARRAY_NAME,
    check_validation,
    with_aux,
)
from mtlearn.estimators._task_callbacks import with_callbacks
from mtlearn.heads import ClassHead, Classification, Head, MultiLabel
from mtlearn.targets import Targets
from mtlearn.trunks import Trunk

__all__ = ["MultiOutputNetClassifier"]


class MultiOutputNetClassifier(ClassifierMixin, BaseMultiOutputNet):
    """Learn an array of classes, and auxiliary targets with it, with one network.

    It is a scikit-learn classifier in every respect, with ordinary arrays in and out. The
    auxiliary targets, given to ``fit`` as ``aux=``, shape the trunk during training only. Its own
    output is called ``"y"``; an indicator matrix is one multilabel output, and a matrix of
    several classes per column is the outputs ``"y0"``, ``"y1"`` and so on. So is an indicator
    matrix if `heads` names all of these.

    Parameters
    ----------
    trunk : Trunk, torch.nn.Module or callable, default=None
        The part of the network that all outputs share; None for ``MLP()``. A module is a
        template: it is copied and trained from the weights it holds. A callable makes the module,
        from the number of features if it takes an argument. A module that returns a dict of named
        tensors lets heads attach to any of them with ``at=``.
    heads : dict of str to Head, default=None
        How each output is learned, by the output's name. An output that is not named has its head
        inferred from its target; ``"y"`` is a `Classification` or a `MultiLabel`. A head with
        ``target=`` learns another output's target.
    loss_weights : dict of str to (float or callable), default=None
        The weight of each output's loss in the total; 1 for an output that is not named. With 0 the
        output is left out of the training, and predicted by its best constant. A schedule of
        `mtlearn.weighting`, or another function of the epoch, makes a weight that changes.
    weighting : str, Weighting or torchjd object, default=None
        The strategy that weighs the outputs' losses against each other while they are learned:
        "uncertainty", "log", "dwa", "random", "famo", "gradcosine", "pcgrad", "mgda", "nash" or
        "hedge", or an object of `mtlearn.weighting`, or of torchjd. Its factors multiply
        `loss_weights`.
    class_weight : dict or "balanced", default=None
        Weights of the classes of `y`, for a head that `heads` does not name.
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
        of the best epoch. It is the loss of ``"y"``, else the total. "auto" for
        10,000 rows or more, and wherever ``X_val`` is given.
    validation_fraction : float or cross-validation splitter, default=0.1
        The share of rows to hold out, stratified if ``"y"`` has classes; or a splitter, such as
        ``GroupShuffleSplit()`` or ``TimeSeriesSplit()``, whose first split is taken.
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
        The outputs, those of `y` and the auxiliary ones.
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
    classes_ : ndarray of shape (n_classes,), or list of that
        The classes of `y`; a list for a matrix of several classes per column.
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
    MultiOutputNetRegressor : The same for numbers.
    MultiOutputNet : Predicts several named targets, and has the formulas.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNetClassifier, Targets
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> kind, price = np.where(X[:, 1] > 0, "flat", "house"), 10 + 3 * X[:, 0] - X[:, 1]
    >>> net = MultiOutputNetClassifier(loss_weights={"price": 0.3}, random_state=0)
    >>> net.fit(X, kind, aux=Targets({"price": price})).score(X, kind) > 0.95
    True
    >>> net.predict_proba(X[:2]).shape
    (2, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMultiOutputNet._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        trunk: Trunk | nn.Module | Callable[..., nn.Module] | None = None,
        heads: Mapping[str, Head] | None = None,
        *,
        loss_weights: LossWeights = None,
        weighting: Any = None,
        class_weight: Mapping[Any, float] | str | None = None,
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
        self.class_weight = class_weight

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: SampleWeight = None,
        *,
        aux: Any = None,
        groups: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: Any = None,
        sample_weight_val: SampleWeight = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn `y`, and the auxiliary targets with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of any kind; a matrix of 0 and 1 is multilabel.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output (``"y"`` is the name
            of `y`).
        aux : Targets, dict of array-like or DataFrame, default=None
            Auxiliary targets of the same rows by name, of any kind. scikit-learn splits Targets
            and DataFrames together with the rows, but not a plain dict.
        groups : array-like of shape (n_samples,), default=None
            Groups for the splitter in `validation_fraction`.
        X_val : array-like of shape (n_val, n_features), default=None
            Rows to watch the losses on, in place of held-out ones.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their `y`.
        sample_weight_val : array-like of shape (n_val,) or mapping of str to that, default=None
            Their weights.
        checkpoint : Checkpoint, str or path-like, default=None
            A folder to keep the state of the training in. The same call again goes on from there,
            and ends as if it had never stopped.

        Returns
        -------
        MultiOutputNetClassifier
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
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        own = self._own_targets(y, self._own_names if goes_on else None)
        targets, heads = with_aux(own, aux, self._owner), self._find_heads(own)
        check_validation(X_val, y_val, sample_weight_val, self._owner)
        held = None
        if X_val is not None:
            held = X_val, self._own_targets(y_val, list(own)), sample_weight_val
        main = ARRAY_NAME if list(own) == [ARRAY_NAME] else None
        return self._fit(
            X,
            targets,
            sample_weight,
            heads,
            main_output=main,
            validation=held,
            groups=groups,
            given_y=y,
            checkpoint=checkpoint,
            own={"_own_names": list(own)},
        )

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: SampleWeight = None,
        *,
        aux: Any = None,
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
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of any kind; a matrix of 0 and 1 is multilabel.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, for all outputs or by output.
        aux : Targets, dict of array-like or DataFrame, default=None
            Auxiliary targets of the same rows by name; all of them in each call.
        classes : array-like, list of array-like, or dict of str to that, default=None
            All classes that may come, needed where the first call lacks some.

        Returns
        -------
        MultiOutputNetClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            For bad parameters, names, labels or weights, for a class that neither `classes`
            nor the first call had, and for a missing target; the message names the output.
        mtlearn.exceptions.DivergenceError
            If a loss or a weight leaves the finite numbers; the estimator is as it was.
        """
        is_first = not self.__sklearn_is_fitted__()
        own = self._own_targets(y, _declared_columns(y, classes) if is_first else self._own_names)
        targets, heads = with_aux(own, aux, self._owner), self._find_heads(own)
        if classes is not None and not isinstance(classes, Mapping):
            names = list(own)
            by_column = [classes] if names == [ARRAY_NAME] else list(classes)
            if len(by_column) != len(names):
                raise ValueError(
                    f"{self._owner}: `classes` must be a list with the classes of each of the "
                    f"{len(names)} columns of `y`. Got {len(by_column)}."
                )
            classes = dict(zip(names, by_column, strict=True))
        names = {"_own_names": list(own)}
        main = ARRAY_NAME if list(own) == [ARRAY_NAME] else None
        return self._partial_fit(X, targets, sample_weight, heads, classes or {}, names, main)

    def predict(self, X: ArrayLike) -> Array:
        """Predict `y`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions, in the shape of `y`.
        """
        return self._like_y(self._predict(X))

    def predict_proba(self, X: ArrayLike) -> Any:
        """Predict the class probabilities of `y`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or list of that
            The probabilities with the columns of ``classes_``; of an indicator matrix those of
            each label; a list for a matrix of several classes per column.
        """
        probabilities = self._predict_proba(X)
        return self._one_or_list([probabilities[name] for name in self._own_names])

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy, averaged over the outputs of `y`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            The share of right predictions; of an indicator matrix the share of rows that are all
            right.
        """
        check_is_fitted(self)
        scores = self._scores(X, self._targets_as_in_fit(y), sample_weight)
        return float(np.mean([scores[name] for name in self._own_names]))

    @property
    def classes_(self) -> Any:
        """The classes of `y`; a list of them for a matrix of several classes per column."""
        check_is_fitted(self)
        return self._one_or_list([self._own_head(name).classes_ for name in self._own_names])

    def _needed_outputs(self) -> list[str]:
        return self._own_names

    def _like_y(self, predicted: Mapping[str, Array]) -> Array:
        columns = [predicted[name] for name in self._own_names]
        return columns[0] if self._own_names == [ARRAY_NAME] else join_columns(columns)

    def _one_or_list(self, values: list[Array]) -> Any:
        return values[0] if self._own_names == [ARRAY_NAME] else values

    def _own_targets(self, y: Any, names: list[str] | None = None) -> Targets:
        return class_targets(y, names, self._owner, heads=self.heads or ())

    def _targets_as_in_fit(self, y: Any) -> Targets:
        return self._own_targets(y, self._own_names)

    def _own_head(self, name: str) -> ClassHead:
        head = self.heads_[name]
        assert isinstance(head, ClassHead)
        return head

    def _find_heads(self, own: Targets) -> dict[str, Head]:
        heads = dict(self.heads or {})
        for name in own:
            if name not in heads:
                heads[name] = self._default_head(own[name])
                continue
            if not isinstance(heads[name], ClassHead):
                raise ValueError(
                    f"{self._owner}: the head of {name!r} must predict classes. Got "
                    f"{heads[name]!r}; use MultiOutputNetRegressor for numbers."
                )
            if self.class_weight is not None:
                raise ValueError(
                    f"{self._owner}: `class_weight` must be None where `heads` has {name!r}. Got "
                    f"{self.class_weight!r}; give it to that head."
                )
        return heads

    def _default_head(self, y: Array) -> Head:
        if y.ndim == 1:
            return Classification(class_weight=self.class_weight)
        if self.class_weight is not None:
            raise ValueError(
                f"{self._owner}: `class_weight` must be None for an indicator matrix. Got "
                f"{self.class_weight!r}; pass heads={{'y': MultiLabel(pos_weight=...)}}."
            )
        return MultiLabel()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _declared_columns(y: Any, classes: Any) -> list[str] | None:
    """Return the names of the columns of `y` if `classes` has an array for each; else None."""
    if not isinstance(classes, list | tuple) or np.ndim(y) != 2 or len(classes) != np.shape(y)[1]:
        return None
    is_list = all(np.ndim(of_column) == 1 for of_column in classes)
    return [f"{ARRAY_NAME}{j}" for j in range(len(classes))] if is_list else None
