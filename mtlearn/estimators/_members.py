"""Ensembles: several networks of one estimator, trained side by side."""

import copy
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import clone

from mtlearn._engine._checkpoint import Checkpoint, CheckpointRun
from mtlearn._engine._data import Rows
from mtlearn._engine._kept_training import KeptTraining
from mtlearn._engine._side_by_side import side_by_side
from mtlearn._random import part_seed, root_seed
from mtlearn._typing import Array, ArrayLike, RandomState, SampleWeight
from mtlearn.estimators._checkpointing import begin_checkpoint
from mtlearn.estimators._fitting import Fitting
from mtlearn.estimators._member_fold import MemberFold
from mtlearn.estimators._outputs import find_heads
from mtlearn.estimators._predictions import has_std
from mtlearn.heads import ClassHead, Head
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets

__all__ = ["Members"]

# What the fitted members have in common, or nearly so.
SHARED = (
    "output_names_",
    "heads_",
    "trunk_",
    "loss_weights_",
    "fast_step_",
    "_recipe",
    "_dropped",
    "_given_heads",
)


class Members(Fitting):
    """Fits and predicts with ``n_members`` networks, each an estimator of its own."""

    n_members: int
    refit: bool
    random_state: RandomState
    members_: list[Self]

    def embed(self, X: ArrayLike, at: str | None = None) -> Array:
        """Return what the trunk makes of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        at : str, default=None
            The name of the trunk's tensor; None for the only one.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            The tensor, in the network's type; those of several members side by side.
        """
        if not self._has_members:
            return super().embed(X, at)
        rows = self._check_X(X, reset=False)
        return np.concatenate([member.embed(rows, at) for member in self.members_], axis=1)

    @property
    def _has_members(self) -> bool:
        return "members_" in self.__dict__

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
        given: dict[str, Any] = {"main_output": main_output, "given_y": given_y, "own": own}
        refits = self.refit and self._stops_early(len(y), is_validated=validation is not None)
        if self.n_members == 1 and not refits and not (self.warm_start and self._has_members):
            labels = y, sample_weight, heads
            given["checkpoint"] = checkpoint
            return super()._fit(X, *labels, validation=validation, groups=groups, **given)
        with self._as_it_was_on_failure(None):
            goes_on = self.warm_start and self.__sklearn_is_fitted__()
            values = self._check_X(X, reset=not goes_on)
            if validation is not None:
                validation = (self._check_X(validation[0], reset=False), *validation[1:])
            labels = values, y, sample_weight, heads
            seed, run = root_seed(self.random_state), None
            names = [self._names(stage) for stage in ("member", "refit")[: 1 + refits]]
            if checkpoint is not None:
                rows = self._all_rows(*labels, main_output, validation)
                run = begin_checkpoint(self, checkpoint, seed, *rows, groups, names)
                seed = run.seed
            members = self._members_to_go_on() if goes_on else self._new_members(seed, names[0])
            with _as_they_were_on_failure(members):
                kept = _kept_trainings(run, names[0])
                _fit_all(members, kept, *labels, validation=validation, groups=groups, **given)
            history = _mean_history([member.history_ for member in members])
            if refits:
                again = self._new_members(seed, names[1])
                for member in again:
                    member.early_stopping = False
                    member._stop_after = members[0].best_epoch_
                kept = _kept_trainings(run, names[1])
                _fit_all(again, kept, *labels, validation=None, groups=None, **given)
                members = [*members, *again]
            self._keep_members(members, own)
            self.history_, self.n_iter_ = history, len(history)
        return self

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
        if self.n_members == 1 and not self._has_members:
            return super()._partial_fit(X, y, sample_weight, heads, classes, own, main_output)
        with self._as_it_was_on_failure(None):
            goes_on = self.__sklearn_is_fitted__()
            members = self._members_to_go_on() if goes_on else self._begin_members()
            values = self._check_X(X, reset=not goes_on)
            with _as_they_were_on_failure(members):
                for member in members:
                    member._partial_fit(values, y, sample_weight, heads, classes, own, main_output)
            self._keep_members(members, own)
        return self

    def _predict(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        """Return the means of the members' predictions; classes by the means of probabilities."""
        if not self._has_members:
            return super()._predict(X, names)
        heads = self._heads(names)
        rows = self._check_X(X, reset=False)
        chances = self._mean_proba(rows, heads)
        numbers = [name for name in heads if name not in chances]
        found = {}
        if numbers:
            each = [member._predict(rows, numbers) for member in self.members_]
            found = {name: np.mean([one[name] for one in each], axis=0) for name in numbers}
        return {
            name: head.decide(chances[name]) if isinstance(head, ClassHead) else found[name]
            for name, head in heads.items()
        }

    def _predict_std(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        """Return the standard deviations about the mean prediction: those of members, and theirs.

        The variance of a mixture is the mean of the variances and the variance of the means. Of a
        head that predicts no variance it is the latter.
        """
        if not self._has_members:
            return super()._predict_std(X, names)
        heads = {n: h for n, h in self._heads(names).items() if not isinstance(h, ClassHead)}
        if not heads:
            raise AttributeError(f"{self._owner}: classes have no standard deviation.")
        rows = self._check_X(X, reset=False)
        each = [member._predict(rows, list(heads)) for member in self.members_]
        found = {name: np.std([one[name] for one in each], axis=0) for name in heads}
        own = [name for name, head in heads.items() if has_std(head)]
        if own:
            stds = [member._predict_std(rows, own) for member in self.members_]
            for name in own:
                mean = np.mean([one[name] ** 2 for one in stds], axis=0)
                found[name] = np.hypot(np.sqrt(mean), found[name])
        return found

    def _predict_proba(
        self, X: ArrayLike, names: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Return the means of the members' probabilities."""
        if not self._has_members:
            return super()._predict_proba(X, names)
        heads = self._heads(names)
        return self._mean_proba(self._check_X(X, reset=False), heads)

    def _predict_held_out(self, X: ArrayLike) -> dict[str, Array]:
        """Return what is predicted of the training rows by members that held them out.

        X are all rows of ``fit``. Of outputs with classes, it is the probabilities. The values of
        rows that no member held out are NaN.
        """
        rows = self._check_X(X, reset=False)
        members = self.members_ if self._has_members else [self]
        sums: dict[str, Array] = {}
        counts = np.zeros(len(rows))
        for member in members:
            held = member.__dict__.get("_held_out_rows")
            if held is None:
                continue
            counts[held] += 1
            found = member._predict(rows[held]) | member._predict_proba(rows[held])
            for name, values in found.items():
                of_all = sums.setdefault(name, np.zeros((len(rows), *values.shape[1:])))
                of_all[held] += values
        with np.errstate(invalid="ignore"):
            means = {n: (s.T / counts).T for n, s in sums.items()}
        return means or {name: np.full(len(rows), np.nan) for name in self.heads_}

    def _mean_proba(self, rows: Any, heads: Mapping[str, Head]) -> dict[str, Array]:
        with_classes = [name for name, head in heads.items() if isinstance(head, ClassHead)]
        if not with_classes:
            return {}
        each = [member._predict_proba(rows, with_classes) for member in self.members_]
        return {name: np.mean([one[name] for one in each], axis=0) for name in with_classes}

    def _all_rows(
        self,
        X: Array | Inputs,
        y: Targets,
        sample_weight: SampleWeight,
        heads: Mapping[str, Head] | None,
        main_output: str | None,
        validation: tuple[ArrayLike, Targets, SampleWeight] | None,
    ) -> tuple[Rows, Rows | None]:
        """Return the rows to learn, and those that the user gave to watch the losses on."""
        self._check_rows(X, y)
        parts = find_heads(y, heads, self._owner)
        rows, _ = self._find_rows(X, y, parts, sample_weight)
        return rows, validation and self._find_held(*validation, parts, rows, main_output)

    def _names(self, stage: str) -> list[str]:
        """Return the names of the members that are trained in a stage."""
        return [f"{stage}/{i}" for i in range(self.n_members)]

    def _begin_members(self) -> list[Self]:
        return self._new_members(root_seed(self.random_state), self._names("member"))

    def _new_members(self, seed: int, names: Sequence[str]) -> list[Self]:
        """Return estimators of one network each, which draw from seeds of their own."""
        members = []
        for i, name in enumerate(names):
            member = clone(self)
            for of_tasks in ("_skl_callbacks", "_parent_callback_ctx"):
                member.__dict__.pop(of_tasks, None)
            member.set_params(
                n_members=1,
                refit=False,
                verbose=0,
                random_state=part_seed(seed, name) % 2**31,
            )
            member.validation_fraction = MemberFold(
                self.validation_fraction, i, self.n_members, part_seed(seed, "folds") % 2**31
            )
            member._shares_stopping = True
            members.append(member)
        return members

    def _members_to_go_on(self) -> list[Self]:
        """Return copies of the fitted members, with the parameters that the estimator has now."""
        if not self._has_members or len(self.members_) != self.n_members:
            raise ValueError(
                f"{self._owner}: training can only go on with the networks that were fitted. "
                f"`n_members` is {self.n_members} now; clone the estimator and fit it anew."
            )
        params = self.get_params(deep=False)
        for of_member in ("n_members", "refit", "verbose", "random_state", "validation_fraction"):
            del params[of_member]
        members = [copy.copy(member) for member in self.members_]
        return [member.set_params(**params) for member in members]

    def _keep_members(self, members: list[Self], own: Mapping[str, Any] | None) -> None:
        """Set the fitted attributes, all at once for threads that predict meanwhile."""
        for stale in ("module_", "net_", "_net_state"):
            self.__dict__.pop(stale, None)
        shared = {name: members[0].__dict__[name] for name in SHARED}
        self.__dict__.update(
            {
                **shared,
                "members_": members,
                "history_": _mean_history([member.history_ for member in members]),
                "n_iter_": max(member.n_iter_ for member in members),
                "best_epoch_": members[0].best_epoch_,
                **(own or {}),
            }
        )


def _kept_trainings(run: CheckpointRun | None, names: Sequence[str]) -> list[KeptTraining | None]:
    return [None if run is None else KeptTraining(run, name) for name in names]


def _fit_all(
    members: list[Any], kept: list[KeptTraining | None], *args: Any, **kwargs: Any
) -> None:
    fits = [
        partial(member._fit, *args, **kwargs, checkpoint=of_member)
        for member, of_member in zip(members, kept, strict=True)
    ]
    for _, error in side_by_side(fits, all_at_once=True):
        if error is not None:
            raise error


def _as_they_were_on_failure(members: list[Any]) -> ExitStack:
    stack = ExitStack()
    for member in members:
        stack.enter_context(member._as_it_was_on_failure(member._before()))
    return stack


def _mean_history(histories: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """Return the means of the members' losses in each epoch, over those that still learned."""
    n_epochs = max(map(len, histories))
    rows = []
    for epoch in range(n_epochs):
        of_members = [history[epoch] for history in histories if epoch < len(history)]
        names = [name for name in of_members[0] if all(name in row for row in of_members)]
        rows.append({n: float(np.mean([row[n] for row in of_members])) for n in names})
    return rows
