"""What the estimators share: their parameters, and what is made of a fitted one."""

import copy
from abc import ABC
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import Tags
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mtlearn._engine._callbacks import Callbacks
from mtlearn._engine._recipe import DTYPES, Recipe
from mtlearn._engine._schedules import SCHEDULES
from mtlearn._params import NestedParams
from mtlearn._random import root_seed
from mtlearn._sklearn import HasMethods, Interval, StrOptions
from mtlearn._typing import Array, LossWeights
from mtlearn._validation import naming
from mtlearn.estimators._architecture import as_frame, find_architecture
from mtlearn.estimators._html import ShowsOutputs
from mtlearn.estimators._inputs import float_type
from mtlearn.estimators._members import Members
from mtlearn.estimators._validation import AUTO_ROWS
from mtlearn.estimators._view import OutputView
from mtlearn.heads import Head
from mtlearn.inputs import Inputs
from mtlearn.trunks import MLP, Trunk
from mtlearn.weighting._find import find_weighting

__all__ = ["BaseMultiOutputNet"]


class BaseMultiOutputNet(Members, ShowsOutputs, NestedParams, ABC):
    """One network for several outputs, whatever form ``y`` has.

    Subclasses say how ``y`` becomes Targets and how predictions of each output become what their
    ``predict`` returns.
    """

    # A folder is for one fit: searches and cross-validations have no use for it.
    __metadata_request__fit: ClassVar[dict[str, str]] = {"checkpoint": UNUSED}

    _dict_params: ClassVar[tuple[str, ...]] = (
        "heads",
        "loss_weights",
        "optimizer_params",
        "param_groups",
        "callbacks",
    )
    _nested_dict_params: ClassVar[tuple[str, ...]] = ("param_groups",)
    _default_parts: ClassVar[dict[str, Callable[[], Any]]] = {"trunk": MLP}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "trunk": [Trunk, nn.Module, callable, None],
        "heads": [dict, None],
        "loss_weights": [dict, None],
        "weighting": [object],  # `find_weighting` says more
        "normalize_losses": ["boolean"],
        "missing_targets": [StrOptions({"raise", "ignore"})],
        "optimizer": [str, callable],
        "optimizer_params": [dict, None],
        "param_groups": [dict, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "learning_rate_schedule": [StrOptions(set(SCHEDULES)), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            callable,
        ],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "shuffle": ["boolean"],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), HasMethods("split")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping_tol": [Interval(Real, 0, None, closed="left")],
        "callbacks": [list, tuple, dict, None],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "refit": ["boolean"],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "fast_step": ["boolean", StrOptions({"auto"})],
        "warm_start": ["boolean"],
        "verbose": ["verbose", StrOptions({"progress"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        trunk: Trunk | nn.Module | Callable[..., nn.Module] | None = None,
        heads: Mapping[str, Head] | None = None,
        *,
        loss_weights: LossWeights = None,
        weighting: Any = None,
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
        self.trunk = trunk
        self.heads = heads
        self.loss_weights = loss_weights
        self.weighting = weighting
        self.normalize_losses = normalize_losses
        self.missing_targets = missing_targets
        self.optimizer = optimizer
        self.optimizer_params = optimizer_params
        self.param_groups = param_groups
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping_tol = early_stopping_tol
        self.callbacks = callbacks
        self.device = device
        self.dtype = dtype
        self.refit = refit
        self.n_members = n_members
        self.n_threads = n_threads
        self.fast_step = fast_step
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

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

    def summary(self) -> Any:
        """Return what the network is made of, and which outputs train what.

        Returns
        -------
        DataFrame
            One row per stage, in the order of computing: the inputs, the parts of the trunk, the
            outputs. The columns are ``kind``, ``part`` (what it is), ``takes`` (the stages that it
            is computed from), ``shape`` (of a row), ``n_parameters``, and ``trained_by``: the
            outputs whose losses reach its parameters.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        check_is_fitted(self)
        return as_frame(find_architecture(self), needed_by=f"{type(self).__name__}.summary")

    def drop_outputs(self, names: Collection[str]) -> Self:
        """Return a fitted estimator without some outputs; the others predict the same, bit for bit.

        The copy is smaller by the heads of these outputs, and keeps its parameters: fitting it
        again (without ``warm_start``) learns all outputs again.

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
        if self._has_members:
            smaller = copy.copy(self)
            smaller._keep_members([m.drop_outputs(names) for m in self.members_], None)
            return smaller
        kept = {name: head for name, head in self.heads_.items() if name not in dropped}
        weights = {name: self.loss_weights_[name] for name in kept}
        smaller = copy.copy(self)
        for left in ("net_", "_net_state"):
            smaller.__dict__.pop(left, None)
        smaller._continues = False
        smaller._dropped = [*self._dropped, *dropped]
        smaller.module_ = self.module_.without(dropped)
        smaller.heads_, smaller.output_names_ = kept, list(kept)
        smaller.loss_weights_ = weights
        outputs = tuple(name for name in self._recipe.outputs or () if name in kept)
        smaller._recipe = replace(
            self._recipe,
            loss_weights=dict(weights),
            outputs=outputs,
            trunk_outputs=self._recipe.trunk_outputs or self._recipe.outputs,
            schedules=smaller._not_dropped(self._recipe.schedules),
            param_groups=smaller._not_dropped(self._recipe.param_groups),
        )
        return copy.deepcopy(smaller)

    def _needed_outputs(self) -> list[str]:
        """Return the outputs that ``predict`` and ``score`` cannot do without."""
        return []

    def _make_recipe(
        self, X: Array | Inputs, loss_weights: Mapping[str, float], *, is_validated: bool
    ) -> Recipe:
        with naming(self._owner):
            weighting = find_weighting(self.weighting)
        return Recipe(
            loss_weights=dict(loss_weights),
            normalize_losses=bool(self.normalize_losses),
            optimizer=self.optimizer,
            optimizer_params=dict(self.optimizer_params or {}),
            param_groups=copy.deepcopy(self.param_groups or {}),
            learning_rate=float(self.learning_rate),
            learning_rate_schedule=self.learning_rate_schedule,
            alpha=float(self.alpha),
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            shuffle=bool(self.shuffle),
            early_stopping=self._stops_early(len(X), is_validated=is_validated),
            stop_after=getattr(self, "_stop_after", None),
            n_iter_no_change=int(self.n_iter_no_change),
            early_stopping_tol=float(self.early_stopping_tol),
            device=str(self.device),
            dtype=float_type(X) if self.dtype == "auto" else self.dtype,
            n_threads=self.n_threads,
            fast_step=self.fast_step if self.fast_step == "auto" else bool(self.fast_step),
            verbose=self.verbose,
            seed=root_seed(self.random_state),
            shares_stopping=getattr(self, "_shares_stopping", False),
            weighting=weighting,
            weighting_as_text=repr(weighting),
        )

    def _stops_early(self, n_rows: int, *, is_validated: bool) -> bool:
        if self.early_stopping == "auto":
            return n_rows >= AUTO_ROWS or is_validated
        return bool(self.early_stopping)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_") or hasattr(self, "members_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags
