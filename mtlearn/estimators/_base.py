"""What the estimators share: their parameters, the fit, the raw predictions, the pickled state."""

from abc import ABC
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from mtlearn._engine._module import MultiOutputModule, all_tensors
from mtlearn._engine._net import Net
from mtlearn._engine._optimizers import OPTIMIZERS
from mtlearn._engine._predict import raw_outputs
from mtlearn._engine._train import DTYPES, Recipe, history_rows, train
from mtlearn._params import NestedParams
from mtlearn._random import root_seed
from mtlearn._sklearn import Interval, StrOptions
from mtlearn._typing import Array, ArrayLike, SampleWeight
from mtlearn._validation import naming
from mtlearn.estimators._outputs import (
    find_heads,
    find_label_weights,
    find_loss_weights,
    labels_of,
)
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import ClassHead, Head
from mtlearn.targets import Targets
from mtlearn.trunks import MLP, Trunk, as_trunk

__all__ = ["BaseMultiOutputNet"]


class BaseMultiOutputNet(NestedParams, ABC):
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

    def _fit(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        heads: Mapping[str, Head] | None,
    ) -> Self:
        """Fit all outputs; whatever fails leaves the estimator as it was."""
        before = self.__dict__.copy()
        try:
            return self._fit_checked(self._check_X(X, reset=True), y, sample_weight, heads)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit_checked(
        self,
        X: Array,
        y: Targets,
        sample_weight: SampleWeight,
        heads: Mapping[str, Head] | None,
    ) -> Self:
        self._check_rows(X, y)
        fitted = find_heads(y, heads, self._owner)
        names = list(fitted)
        loss_weights = find_loss_weights(self.loss_weights, names, self._owner)
        labels, weights = self._labels(y, fitted, sample_weight)
        recipe = self._make_recipe(X, loss_weights)
        for name, head in fitted.items():
            with naming(f"{self._owner}: output {name!r}"), recipe.settings():
                head.fit(labels[name], weights[name], normalize=recipe.normalize_losses)
        with naming(self._owner):
            trunk = clone(as_trunk(self.trunk))
            trunk.check_params()
            module, net, recipe = train(recipe, trunk, fitted, X, labels, weights)
        self.output_names_ = names
        self.heads_ = fitted
        self.trunk_ = trunk
        self.loss_weights_ = loss_weights
        self.module_ = module
        self.history_ = history_rows(net, fitted, loss_weights)
        if net is None:
            self.__dict__.pop("net_", None)
        else:
            self.net_ = net
        self.n_iter_ = len(self.history_)
        self._recipe = recipe
        return self

    def _make_recipe(self, X: Array, loss_weights: Mapping[str, float]) -> Recipe:
        return Recipe(
            loss_weights=dict(loss_weights),
            normalize_losses=bool(self.normalize_losses),
            optimizer=self.optimizer,
            learning_rate=float(self.learning_rate),
            alpha=float(self.alpha),
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            device=str(self.device),
            dtype=str(X.dtype) if self.dtype == "auto" else self.dtype,
            n_threads=self.n_threads,
            verbose=int(self.verbose),
            seed=root_seed(self.random_state),
        )

    def _raw(self, X: ArrayLike) -> dict[str, Array]:
        """Return the raw values of every output."""
        check_is_fitted(self)
        rows = self._check_X(X, reset=False)
        raw = raw_outputs(self.module_, self.heads_, rows, DTYPES[self._recipe.dtype])
        for name, values in raw.items():
            self._check_finite(name, values)
        return raw

    def _predict(self, X: ArrayLike) -> dict[str, Array]:
        """Return the predictions of every output."""
        predicted = {}
        for name, raw in self._raw(X).items():
            predicted[name] = self.heads_[name].decode(raw)
            if not isinstance(self.heads_[name], ClassHead):
                self._check_finite(name, predicted[name])
        return {name: predicted[name] for name in self.output_names_}

    def _predict_proba(self, X: ArrayLike) -> dict[str, Array]:
        """Return the class probabilities of every output that has classes."""
        raw = self._raw(X)
        return {
            name: head.decode_proba(raw[name])
            for name, head in self.heads_.items()
            if isinstance(head, ClassHead)
        }

    def _scores(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        names: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Return the default score of the outputs, by default of all that learn a target of `y`."""
        predicted = self._predict(X)
        self._check_rows(next(iter(predicted.values())), y)
        heads = {
            name: head
            for name, head in self.heads_.items()
            if (head.target or name) in list(y) and (names is None or name in names)
        }
        labels, weights = self._labels(y, heads, sample_weight)
        scores = {}
        for name, head in heads.items():
            with naming(f"{self._owner}: output {name!r}"):
                if labels[name].shape[1:] != predicted[name].shape[1:]:
                    raise ValueError(
                        f"the labels must have the shape {predicted[name].shape}, as in fit. Got "
                        f"{labels[name].shape}."
                    )
                scores[name] = head.score(labels[name], predicted[name], weights[name])
        return scores

    def _labels(
        self, y: Targets, heads: Mapping[str, Head], sample_weight: SampleWeight
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        labels = labels_of(y, heads)
        return labels, find_label_weights(labels, sample_weight, self.missing_targets, self._owner)

    def _check_X(self, X: ArrayLike, *, reset: bool) -> Array:
        return validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=reset)

    def _check_rows(self, X: Array, y: Targets) -> None:
        if len(y) != len(X):
            raise ValueError(
                f"{self._owner}: `y` must have as many rows as X, {len(X)}. Got {len(y)} rows of "
                f"the targets {list(y)}."
            )

    def _check_finite(self, name: str, values: Array) -> None:
        bad = np.logical_not(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if bad.any():
            raise DivergenceError(
                f"{self._owner}: output {name!r}: the predictions of {int(bad.sum())} of "
                f"{len(bad)} rows are not finite. Scale X, or lower `learning_rate` and fit again."
            )

    @property
    def _owner(self) -> str:
        return type(self).__name__

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def __getstate__(self) -> dict[str, Any]:
        """Return numpy arrays and plain values: no skorch net, no torch module."""
        state: dict[str, Any] = dict(super().__getstate__())  # pyright: ignore[reportCallIssue, reportArgumentType]
        state.pop("net_", None)
        module = state.pop("module_", None)
        if module is not None:
            state["_weights"] = {
                name: tensor.detach().cpu().numpy() for name, tensor in all_tensors(module).items()
            }
            state["history_"] = _to_columns(self.history_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            self._recipe = self._recipe.on_this_machine()
            module = self._recipe.build(self.trunk_, self.heads_, self.n_features_in_)
            with torch.no_grad():
                for name, tensor in all_tensors(module).items():
                    tensor.copy_(torch.tensor(weights[name]))
            self.module_ = module.eval()
            self.history_ = _to_rows(state["history_"])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _to_columns(rows: list[dict[str, float]]) -> dict[str, Array]:
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _to_rows(columns: dict[str, Array]) -> list[dict[str, float]]:
    lists = [values.tolist() for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
