"""What the estimators share: their parameters, the fit, the raw predictions, the pickled state."""

import copy
from abc import ABC
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mtlearn._engine._data import Rows
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._net import Net
from mtlearn._engine._optimizers import OPTIMIZERS
from mtlearn._engine._train import DTYPES, Recipe, best_epoch, history_rows, train
from mtlearn._params import NestedParams
from mtlearn._random import root_seed
from mtlearn._sklearn import HasMethods, Interval, StrOptions
from mtlearn._typing import Array, ArrayLike, SampleWeight
from mtlearn._validation import check_known, naming
from mtlearn.estimators._outputs import (
    find_heads,
    find_loss_weights,
)
from mtlearn.estimators._predictions import Predictions
from mtlearn.estimators._state import NumpyState
from mtlearn.estimators._validation import AUTO_ROWS, hold_out
from mtlearn.estimators._view import OutputView
from mtlearn.heads import Classification, Head
from mtlearn.targets import Targets
from mtlearn.trunks import MLP, Trunk, as_trunk

__all__ = ["BaseMultiOutputNet"]


class BaseMultiOutputNet(Predictions, NumpyState, NestedParams, ABC):
    """One network for several outputs, whatever form ``y`` has.

    Subclasses say how ``y`` becomes Targets and how predictions of each output become what their
    ``predict`` returns.
    """

    _dict_params: ClassVar[tuple[str, ...]] = ("heads", "loss_weights")
    _default_parts: ClassVar[dict[str, Callable[[], Any]]] = {"trunk": MLP}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "trunk": [Trunk, nn.Module, callable, None],
        "heads": [dict, None],
        "loss_weights": [dict, None],
        "normalize_losses": ["boolean"],
        "missing_targets": [StrOptions({"raise", "ignore"})],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), HasMethods("split")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    output_names_: list[str]
    heads_: dict[str, Head]
    trunk_: Trunk
    module_: MultiOutputModule
    loss_weights_: dict[str, float]
    history_: list[dict[str, float]]
    n_iter_: int
    best_epoch_: int
    n_features_in_: int
    _recipe: Recipe

    def __init__(
        self,
        trunk: Trunk | nn.Module | Callable[..., nn.Module] | None = None,
        heads: Mapping[str, Head] | None = None,
        *,
        loss_weights: Mapping[str, float] | None = None,
        normalize_losses: bool = True,
        missing_targets: str = "raise",
        optimizer: str | Callable[..., Any] = "adam",
        learning_rate: float = 1e-3,
        alpha: float = 2e-3,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        early_stopping: bool | str = "auto",
        validation_fraction: Any = 0.1,
        n_iter_no_change: int = 10,
        device: str | torch.device = "cpu",
        dtype: str = "auto",
        n_threads: int | None = 1,
        verbose: int | bool = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.trunk = trunk
        self.heads = heads
        self.loss_weights = loss_weights
        self.normalize_losses = normalize_losses
        self.missing_targets = missing_targets
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.dtype = dtype
        self.n_threads = n_threads
        self.verbose = verbose
        self.random_state = random_state

    @cached_property
    def net_(self) -> Net:
        """The skorch net: the one that trained the network, made anew after unpickling."""
        check_is_fitted(self)
        return self._recipe.make_net(self.module_, self.heads_)

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

    def drop_outputs(self, names: Collection[str]) -> Self:
        """Return a fitted estimator without some outputs; the others predict the same, bit for bit.

        The copy is smaller by the heads of these outputs, and keeps its parameters: fitting it
        again learns all outputs again.

        Parameters
        ----------
        names : list of str
            The outputs to leave out.

        Returns
        -------
        Self
            The new estimator; this one does not change.

        Raises
        ------
        ValueError
            For an unknown output, and if none would be left, or not what ``predict`` and
            ``score`` need.
        """
        dropped = self._heads(names)
        needed = [name for name in self._needed_outputs() if name in dropped]
        if needed or len(dropped) == len(self.output_names_):
            raise ValueError(
                f"{self._owner}: an estimator must keep an output, and its main ones. Got "
                f"{list(dropped)} of {self.output_names_} to drop."
            )
        kept = {name: head for name, head in self.heads_.items() if name not in dropped}
        weights = {name: self.loss_weights_[name] for name in kept}
        smaller = copy.copy(self)
        smaller.__dict__.pop("net_", None)
        smaller.module_ = self.module_.without(dropped)
        smaller.heads_, smaller.output_names_ = kept, list(kept)
        smaller.loss_weights_ = weights
        smaller._recipe = replace(self._recipe, loss_weights=dict(weights))
        return copy.deepcopy(smaller)

    def _needed_outputs(self) -> list[str]:
        """Return the outputs that ``predict`` and ``score`` cannot do without."""
        return []

    def _fit(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        heads: Mapping[str, Head] | None,
        *,
        main_output: str | None,
        validation: tuple[ArrayLike, Targets, SampleWeight] | None,
        groups: ArrayLike | None,
    ) -> Self:
        """Fit all outputs; whatever fails leaves the estimator as it was."""
        before = self.__dict__.copy()
        try:
            rows = self._check_X(X, reset=True)
            self._check_rows(rows, y)
            fitted = find_heads(y, heads, self._owner)
            all_rows = Rows(rows, *self._labels(y, fitted, sample_weight))
            held = None
            if validation is not None:
                held = self._check_held(*validation, fitted, all_rows.targets, main_output)
            return self._fit_checked(all_rows, held, fitted, main_output, groups)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit_checked(
        self,
        rows: Rows,
        held: Rows | None,
        heads: dict[str, Head],
        main_output: str | None,
        groups: ArrayLike | None,
    ) -> Self:
        names = list(heads)
        loss_weights = find_loss_weights(self.loss_weights, names, self._owner)
        recipe = self._make_recipe(rows.X, loss_weights, held)
        with naming(self._owner), recipe.settings():
            for name, head in heads.items():
                head.note(rows.targets[name], rows.weights[name])
            training = rows
            if held is None and recipe.early_stopping:
                training, held = hold_out(
                    rows,
                    self.validation_fraction,
                    trained=[name for name in names if loss_weights[name] != 0],
                    main_output=main_output,
                    stratify=isinstance(heads.get(main_output or ""), Classification),
                    groups=groups,
                    seed=recipe.seed,
                )
            for name, head in heads.items():
                with naming(f"output {name!r}"):
                    source = training if training.weights[name].any() else rows
                    labels, weight = source.targets[name], source.weights[name]
                    head.fit(labels, weight, normalize=recipe.normalize_losses)
            trunk = clone(as_trunk(self.trunk))
            trunk.check_params()
            module, net, recipe = train(recipe, trunk, heads, training, held, main_output)
        self.output_names_ = names
        self.heads_ = heads
        self.trunk_ = trunk
        self.loss_weights_ = loss_weights
        self.module_ = module
        self.history_ = history_rows(net, heads, loss_weights)
        if net is None:
            self.__dict__.pop("net_", None)
        else:
            self.net_ = net
        self.n_iter_ = len(self.history_)
        self.best_epoch_ = best_epoch(net)
        self._recipe = recipe
        return self

    def _check_held(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        heads: Mapping[str, Head],
        fitted: Mapping[str, Array],
        main_output: str | None,
    ) -> Rows:
        """Return the validation rows that the user gave."""
        rows = self._check_X(X, reset=False)
        self._check_rows(rows, y)
        targets = [head.target or name for name, head in heads.items()]
        check_known(y, targets, subject=f"{self._owner}: `y_val`", noun="target")
        known = {name: head for name, head in heads.items() if (head.target or name) in list(y)}
        if main_output is not None and main_output not in known:
            raise ValueError(
                f"{self._owner}: `y_val` must hold the target of the main output "
                f"{main_output!r}. Got {list(y)}."
            )
        labels, weights = self._labels(y, known, sample_weight)
        for name, values in labels.items():
            if values.shape[1:] != fitted[name].shape[1:]:
                raise ValueError(
                    f"{self._owner}: output {name!r}: the labels of `y_val` must have the columns "
                    f"of those of `y`, shape {fitted[name].shape}. Got {values.shape}."
                )
        return Rows(rows, labels, weights)

    def _make_recipe(
        self, X: Array, loss_weights: Mapping[str, float], held: Rows | None
    ) -> Recipe:
        stops = self.early_stopping
        return Recipe(
            loss_weights=dict(loss_weights),
            normalize_losses=bool(self.normalize_losses),
            optimizer=self.optimizer,
            learning_rate=float(self.learning_rate),
            alpha=float(self.alpha),
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            early_stopping=(
                len(X) >= AUTO_ROWS or held is not None if stops == "auto" else bool(stops)
            ),
            n_iter_no_change=int(self.n_iter_no_change),
            device=str(self.device),
            dtype=str(X.dtype) if self.dtype == "auto" else self.dtype,
            n_threads=self.n_threads,
            verbose=int(self.verbose),
            seed=root_seed(self.random_state),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags
