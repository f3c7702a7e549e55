"""The pickled state of a fitted estimator: numpy arrays and plain values."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from mtlearn._engine._module import MultiOutputModule, all_tensors
from mtlearn._engine._recipe import Recipe
from mtlearn._engine._resume import training_state
from mtlearn._typing import Array
from mtlearn.heads import Head
from mtlearn.trunks import Trunk

__all__ = ["NumpyState"]


class NumpyState(BaseEstimator):
    """Pickles the weights of the network as arrays, and builds it anew from its parts.

    Where training may go on, the optimizer's moments and the states of the generators are with
    them.
    """

    heads_: dict[str, Head]
    trunk_: Trunk
    module_: MultiOutputModule
    history_: list[dict[str, float]]
    n_features_in_: int
    _recipe: Recipe

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


def _to_columns(rows: list[dict[str, float]]) -> dict[str, Array]:
    """Return one array per column; NaN where a row lacks it, as an interrupted epoch may."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _to_rows(columns: dict[str, Array]) -> list[dict[str, float]]:
    lists = [values.tolist() for values in columns.values()]
    return [
        {name: value for name, value in zip(columns, row, strict=True) if value == value}
        for row in zip(*lists, strict=True)
    ]
