"""The state of a fitted estimator: set by a run, continued by the next, pickled as numpy arrays."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mtlearn._engine._module import MultiOutputModule, all_tensors
from mtlearn._engine._net import Net
from mtlearn._engine._recipe import Recipe
from mtlearn._engine._resume import load_training_state, training_state
from mtlearn._engine._train import Trained, undone_on_failure
from mtlearn._typing import Array, Spec
from mtlearn._version import take_version, with_version
from mtlearn.heads import Head
from mtlearn.trunks import Trunk

__all__ = ["FittedState", "to_rows"]


class FittedState(BaseEstimator):
    """Keeps what a run leaves, and pickles it as arrays and plain values.

    The network is built anew from its parts. Where training may go on, the optimizer's moments
    and the states of the generators are with its weights.
    """

    output_names_: list[str]
    heads_: dict[str, Head]
    trunk_: Trunk
    module_: MultiOutputModule
    loss_weights_: dict[str, float]
    fast_step_: bool
    history_: list[dict[str, float]]
    n_iter_: int
    best_epoch_: int
    n_features_in_: int
    _spec: Spec
    _recipe: Recipe
    _continues: bool
    _dropped: list[str]
    _given_heads: dict[str, Head]
    _totals: Mapping[str, tuple[float, int]]
    _weight_units: dict[str, int]

    @cached_property
    def net_(self) -> Net:
        """The skorch net: the one that trained the network, made anew after unpickling."""
        check_is_fitted(self)
        net = self._recipe.make_net(self.module_, self.heads_)
        state = self.__dict__.pop("_net_state", None)
        if state is not None:
            load_training_state(net, state)
        return net

    def __getstate__(self) -> dict[str, Any]:
        """Return numpy arrays and plain values: no skorch net, no torch module."""
        state: dict[str, Any] = dict(super().__getstate__())  # pyright: ignore[reportCallIssue, reportArgumentType]
        net = state.pop("net_", None)
        if net is not None and state.get("_continues"):
            state["_net_state"] = training_state(net)
        module = state.pop("module_", None)
        if module is not None:
            state["_weights"] = {
                name: tensor.detach().cpu().numpy() for name, tensor in all_tensors(module).items()
            }
            state["history_"], state["_absent"] = _to_columns(self.history_)
        return with_version(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights, absent = state.pop("_weights", None), state.pop("_absent", {})
        take_version(state, type(self).__name__)
        super().__setstate__(state)
        if weights is not None:
            self._recipe = self._recipe.on_this_machine()
            module = self._recipe.build(self.trunk_, self.heads_, self._spec)
            with torch.no_grad():
                for name, tensor in all_tensors(module).items():
                    tensor.copy_(torch.tensor(weights[name]))
            self.module_ = module.eval()
            self.history_ = to_rows(state["history_"], absent)

    def _keep(self, trained: Trained, attributes: dict[str, Any], *, continues: bool) -> None:
        """Set the fitted attributes, all at once for threads that predict meanwhile."""
        for stale in ("net_", "_net_state", "members_"):
            self.__dict__.pop(stale, None)
        found = {
            "module_": trained.module,
            "history_": trained.history,
            "n_iter_": len(trained.history),
            "fast_step_": trained.net is not None and trained.net.is_fast,
            "best_epoch_": trained.best_epoch,
            "_recipe": trained.recipe,
            "_totals": trained.totals,
            "_continues": continues,
        }
        net = {} if trained.net is None else {"net_": trained.net}
        self.__dict__.update({**attributes, **found, **net})

    def _before(self) -> Trained | None:
        """Return the run to continue; None if the estimator is not fitted."""
        if not hasattr(self, "module_"):
            return None
        has_net = "net_" in self.__dict__ or "_net_state" in self.__dict__
        return Trained(
            recipe=self._recipe,
            module=self.module_,
            net=self.net_ if self._continues and has_net else None,
            totals=self._totals,
            history=self.history_,
            best_epoch=self.best_epoch_,
        )

    @contextmanager
    def _as_it_was_on_failure(self, before: Trained | None) -> Iterator[None]:
        attributes = self.__dict__.copy()
        try:
            with undone_on_failure(before):
                yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(attributes)
            raise


def _to_columns(rows: list[dict[str, float]]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return one array per column, and the rows that lack it where some do."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    absent = {name: np.array([name not in row for row in rows]) for name in names}
    return columns, {name: mask for name, mask in absent.items() if mask.any()}


def to_rows(columns: dict[str, Array], absent: dict[str, Array]) -> list[dict[str, float]]:
    """Return the rows of a history from its columns, without the entries that were not there."""
    lists = [values.tolist() for values in columns.values()]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    for name, mask in absent.items():
        for i in np.flatnonzero(mask):
            del rows[i][name]
    return rows
