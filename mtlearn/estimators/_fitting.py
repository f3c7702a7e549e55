"""How an estimator learns: anew, further, or a piece of a stream at a time."""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from sklearn.base import clone
from sklearn.utils.validation import check_consistent_length
from torch import nn

from mtlearn._engine._callbacks import Callbacks, copy_callbacks
from mtlearn._engine._checkpoint import Checkpoint
from mtlearn._engine._data import Rows
from mtlearn._engine._kept_training import KeptTraining
from mtlearn._engine._recipe import Recipe
from mtlearn._engine._train import Trained, train
from mtlearn._sklearn import validate_parameter_constraints
from mtlearn._typing import Array, ArrayLike, LossWeights, SampleWeight, Spec
from mtlearn._validation import naming
from mtlearn.estimators._checkpointing import begin_training
from mtlearn.estimators._continuing import (
    check_known_labels,
    check_same_network,
    check_several_classes,
)
from mtlearn.estimators._outputs import (
    check_all_targets,
    check_classes,
    declare_classes,
    find_heads,
)
from mtlearn.estimators._predictions import Predictions
from mtlearn.estimators._state import FittedState
from mtlearn.estimators._task_callbacks import CallbackSupportMixin, TaskCallbacks
from mtlearn.estimators._validation import hold_out
from mtlearn.estimators._weights import find_loss_weights, warn_of_lone_output
from mtlearn.heads import Classification, Head
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets
from mtlearn.trunks import Trunk, as_trunk

__all__ = ["Fitting"]


class Fitting(CallbackSupportMixin, Predictions, FittedState):
    """Fits from rows and Targets; whatever fails leaves the estimator as it was."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]

    trunk: Trunk | nn.Module | Callable[..., nn.Module] | None
    loss_weights: LossWeights
    learning_rate_schedule: str | None
    normalize_losses: bool
    validation_fraction: Any
    early_stopping: bool | str
    callbacks: Callbacks
    warm_start: bool
    _spec: Spec

    @abstractmethod
    def _stops_early(self, n_rows: int, *, is_validated: bool) -> bool:
        """Tell whether held-out rows end the training, by the parameters."""

    @abstractmethod
    def _make_recipe(
        self, X: Array | Inputs, loss_weights: Mapping[str, float], *, is_validated: bool
    ) -> Recipe:
        """Return how to train, by the parameters."""

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
        given_y: Any,
        own: Mapping[str, Any] | None = None,
        checkpoint: Checkpoint | KeptTraining | str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit all outputs; with ``warm_start``, go on from where the last fit ended.

        `given_y` is what the user passed, and `own` what the subclass keeps beside the rest.
        """
        before = self._before() if self.warm_start else None
        task = TaskCallbacks.begin(self)
        with self._as_it_was_on_failure(before):
            values, parts = self._check_start(X, y, heads, before)
            rows, units = self._find_rows(values, y, parts, sample_weight)
            check_consistent_length(values, groups)
            held = validation and self._find_held(*validation, parts, rows, main_output)
            recipe = self._find_recipe(values, parts, before, is_validated=held is not None)
            recipe, kept_training = begin_training(self, checkpoint, recipe, rows, held, groups)
            with naming(self._owner), recipe.settings(_n_epochs(before)):
                training = rows
                if before is None:
                    for name, head in parts.items():
                        head.note(rows.targets[name], rows.weights[name])
                else:
                    check_known_labels(rows, parts, recipe)
                if held is None and recipe.early_stopping:
                    training, held = hold_out(
                        rows,
                        self.validation_fraction,
                        trained=[name for name in parts if not recipe.is_left_out(name)],
                        main_output=main_output,
                        stratify=isinstance(parts.get(main_output or ""), Classification),
                        groups=groups,
                        seed=recipe.seed,
                    )
                if before is None:
                    _fit_heads(parts, training, rows, normalize=recipe.normalize_losses)
                kept = self._kept(recipe, parts, heads, units, before) | dict(own or {})
                if held is not None and held.index is not None:
                    kept["_held_out_rows"] = held.index
                callbacks = copy_callbacks(self.callbacks)
                if task is not None:
                    given = {**kept, "_recipe": recipe}, X, given_y, sample_weight
                    callbacks.append(TaskCallbacks(task, self, *given))
                trained = train(
                    recipe,
                    kept["trunk_"],
                    parts,
                    self._spec,
                    training,
                    held,
                    main_output,
                    callbacks=callbacks,
                    before=before,
                    checkpoint=kept_training,
                )
            self._keep(trained, kept, continues=bool(self.warm_start))
        return self._or_raise(trained)

    def _partial_fit(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        heads: Mapping[str, Head] | None,
        classes: Mapping[str, ArrayLike],
        own: Mapping[str, Any] | None = None,
        main_output: str | None = None,
    ) -> Self:
        """Go once through the rows in their order, from where the last call ended."""
        # scikit-learn's own validation leaves out all calls but the first.
        params = self.get_params(deep=False)
        validate_parameter_constraints(self._parameter_constraints, params, caller_name=self._owner)
        for param in ("early_stopping", "learning_rate_schedule"):
            if getattr(self, param) not in (None, False, "auto"):
                raise ValueError(
                    f"{self._owner}: `{param}` needs an end, which a stream has not. Got "
                    f"{getattr(self, param)!r}; use fit, or leave it out."
                )
        before = self._before()
        with self._as_it_was_on_failure(before):
            declared = heads
            if before is None:
                declared = declare_classes(heads or {}, classes, y, self._owner)
            values, parts = self._check_start(X, y, declared, before)
            units = None if before is None else self._weight_units
            rows, units = self._find_rows(values, y, parts, sample_weight, units)
            recipe = self._find_recipe(values, parts, before, is_validated=False)
            recipe = replace(recipe, shuffle=False, max_epochs=1, early_stopping=False)
            with naming(self._owner), recipe.settings(_n_epochs(before)):
                if before is None:
                    _fit_heads(
                        parts, rows, rows, normalize=recipe.normalize_losses, more_to_come=True
                    )
                    check_several_classes(parts)
                else:
                    check_known_labels(rows, parts, recipe)
                check_classes(parts, classes)
                kept = self._kept(recipe, parts, heads, units, before) | dict(own or {})
                trained = train(
                    recipe,
                    kept["trunk_"],
                    parts,
                    self._spec,
                    rows,
                    main_output=main_output,
                    callbacks=copy_callbacks(self.callbacks),
                    before=before,
                    totals={} if before is None else before.totals,
                )
            self._keep(trained, kept, continues=True)
        return self._or_raise(trained)

    def _check_start(
        self,
        X: ArrayLike,
        y: Targets,
        heads: Mapping[str, Head] | None,
        before: Trained | None,
    ) -> tuple[Array | Inputs, dict[str, Head]]:
        """Return the checked rows, and the heads: new ones, or those of the run before."""
        values = self._check_X(X, reset=before is None)
        self._check_rows(values, y)
        if before is None:
            return values, find_heads(y, heads, self._owner)
        recipe = before.recipe
        check_same_network(
            (self.trunk, self.trunk_),
            (self._not_dropped(heads), self._not_dropped(self._given_heads)),
            self.heads_,
            (self.normalize_losses, recipe.normalize_losses),
            self._owner,
        )
        check_all_targets(y, self.heads_, self._owner)
        return values, self.heads_

    def _find_recipe(
        self,
        X: Array | Inputs,
        heads: Mapping[str, Head],
        before: Trained | None,
        *,
        is_validated: bool,
    ) -> Recipe:
        given = self.loss_weights if before is None else self._not_dropped(self.loss_weights)
        weights, schedules = find_loss_weights(given, list(heads), self._owner)
        recipe = self._make_recipe(X, weights, is_validated=is_validated)
        recipe = replace(recipe, schedules=schedules)
        if before is None:
            warn_of_lone_output(heads, recipe.weighting, self._owner)
            return recipe
        outputs = before.recipe.outputs or ()
        without = [
            name
            for name, head in heads.items()
            if not (recipe.is_left_out(name) or name in outputs or head.is_constant_)
        ]
        if without:
            raise ValueError(
                f"{self._owner}: `loss_weights` must be 0 for outputs that had the weight 0 when "
                f"the network was made, and therefore no layers. Got {without}; fit anew with "
                f"warm_start=False."
            )
        return replace(
            recipe,
            seed=before.recipe.seed,
            dtype=before.recipe.dtype,
            outputs=outputs,
            param_groups=self._not_dropped(recipe.param_groups),
        )

    def _not_dropped(self, by_name: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the entries of outputs that were not dropped from the fitted estimator."""
        return {n: value for n, value in (by_name or {}).items() if n not in self._dropped}

    def _kept(
        self,
        recipe: Recipe,
        heads: dict[str, Head],
        given_heads: Mapping[str, Head] | None,
        units: dict[str, int],
        before: Trained | None,
    ) -> dict[str, Any]:
        """Return the fitted attributes that are known before the training."""
        trunk = clone(as_trunk(self.trunk)) if before is None else self.trunk_
        trunk.check_params()
        return {
            "output_names_": list(heads),
            "heads_": heads,
            "trunk_": trunk,
            "loss_weights_": dict(recipe.loss_weights),
            "_weight_units": units,
            "_dropped": [] if before is None else self._dropped,
            "_given_heads": _clone_heads(given_heads) if before is None else self._given_heads,
        }

    def _or_raise(self, trained: Trained) -> Self:
        if trained.error is not None:
            with naming(self._owner):
                raise trained.error
        return self


def _fit_heads(
    heads: Mapping[str, Head],
    training: Rows,
    rows: Rows,
    *,
    normalize: bool,
    more_to_come: bool = False,
) -> None:
    """Let heads learn their encodings from the training rows; from all if these have no label."""
    for name, head in heads.items():
        with naming(f"output {name!r}"):
            source = training if training.weights[name].any() else rows
            settings = {"more_to_come": True} if more_to_come else {}
            head.fit(source.targets[name], source.weights[name], normalize=normalize, **settings)


def _clone_heads(heads: Mapping[str, Head] | None) -> dict[str, Head]:
    """Return copies of heads, so that changes of the user's own are seen."""
    return {name: clone(head) for name, head in (heads or {}).items()}


def _n_epochs(before: Trained | None) -> int:
    return 0 if before is None else len(before.history)
