"""How a stream begins: the heads, the recipe and an empty network."""

from collections.abc import Mapping
from typing import Any

from sklearn.base import clone

from mtlearn._engine._online_network import OnlineNetwork, OnlineRecipe
from mtlearn._engine._online_output import OnlineOutput
from mtlearn._engine._optimizers import check_optimizer
from mtlearn._random import root_seed
from mtlearn._typing import ArrayLike
from mtlearn._validation import check_known, naming
from mtlearn.estimators._outputs import ARRAY_NAME, declare_classes, find_heads
from mtlearn.estimators._weights import find_loss_weights
from mtlearn.heads import Head, PairOrder
from mtlearn.targets import Targets
from mtlearn.trunks import Hedge, as_trunk
from mtlearn.weighting import MultiplicativeWeights

__all__ = ["start_stream"]

MOST_IMPUTED = 250
SHARES_BY_WEIGHT = {"mean": 0.0, "both": 0.5, "weighted": 1.0}
FIRST_SQUARES = {"initial_accumulator_value": 0.1}


def start_stream(
    net: Any, y: Targets, classes: Mapping[str, ArrayLike], *, is_array: bool
) -> dict[str, Any]:
    """Return the fitted attributes of an OnlineMultiOutputNet whose stream begins.

    Parameters
    ----------
    net : OnlineMultiOutputNet
        The estimator, with parameters within their constraints.
    y : Targets
        The first labels.
    classes : mapping of str to array-like
        The classes that are declared.
    is_array : bool
        Whether the labels came as an array.

    Raises
    ------
    ValueError
        For names of unknown outputs, and for parts and parameters that a stream cannot have.
    """
    owner = type(net).__name__
    declared = declare_classes(net.heads or {}, classes, y, owner)
    heads = find_heads(y, declared, owner)
    for name, head in heads.items():
        _check_head(head, f"{owner}: output {name!r}")
    if net.main_output is not None:
        check_known([net.main_output], heads, subject=f"{owner}: `main_output`")
    weights, schedules = find_loss_weights(net.loss_weights, list(heads), owner)
    if schedules:
        raise ValueError(
            f"{owner}: `loss_weights` must be numbers, for a stream has no epochs. Got "
            f"schedules for {sorted(schedules)}."
        )
    trunk = clone(as_trunk(net.trunk or Hedge()))
    weighting = net.expert_weighting or MultiplicativeWeights()
    with naming(owner):
        trunk.check_params()
        weighting.check_params()
        recipe = _make_recipe(net, weights)
    outputs = {
        name: OnlineOutput(
            head,
            weighting,
            is_trained=weights[name] > 0,
            normalize_losses=bool(net.normalize_losses),
            second_order=recipe.second_order,
            forgetting=recipe.forgetting,
        )
        for name, head in heads.items()
    }
    return {
        "output_names_": list(heads),
        "loss_weights_": weights,
        "network_": OnlineNetwork(recipe, trunk, outputs),
        "_y_is_array": is_array and list(heads) == [ARRAY_NAME],
    }


def _make_recipe(net: Any, loss_weights: Mapping[str, float]) -> OnlineRecipe:
    """Return how to learn, by the parameters."""
    params = dict(net.optimizer_params or {})
    if net.optimizer == "adagrad":
        params = {**FIRST_SQUARES, **params}
    check_optimizer(net.optimizer, params)
    return OnlineRecipe(
        loss_weights=loss_weights,
        optimizer=net.optimizer,
        optimizer_params=params,
        learning_rate=float(net.learning_rate),
        second_order=bool(net.second_order),
        share_by_weight=SHARES_BY_WEIGHT[net.expert_losses],
        scale=bool(net.scale),
        most_imputed=MOST_IMPUTED if net.impute == "auto" else 1e9 * bool(net.impute),
        forgetting=float(net.forgetting),
        seed=root_seed(net.random_state),
        batch_size=int(net.batch_size),
        n_threads=net.n_threads,
    )


def _check_head(head: Head, subject: str) -> None:
    """Raise a ValueError for a head that a stream cannot have."""
    if isinstance(head, PairOrder):
        raise ValueError(f"{subject}: PairOrder learns from pairs, which a stream has not.")
    for param in ("hidden_layer_sizes", "at"):
        if getattr(head, param, None):
            raise ValueError(
                f"{subject}: `{param}` of a head has no meaning for a stream, where every layer of "
                f"the trunk has heads. Got {getattr(head, param)!r}; leave it out."
            )
