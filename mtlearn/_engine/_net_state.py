"""The whole state of a net between two epochs, as arrays and plain values."""

from collections.abc import Mapping
from typing import Any

import torch
from skorch.callbacks import EpochTimer, LRScheduler, PrintLog

from mtlearn._engine._module import all_tensors
from mtlearn._engine._resume import load_training_state, training_state
from mtlearn._engine._stopping import as_arrays, as_tensors, put_tensors

__all__ = ["STATE_FIELDS", "keeps_its_state", "net_state", "put_net_state"]

STATE_FIELDS = {
    "weights",
    "training",
    "weigher",
    "history",
    "used_weights",
    "least_losses",
    "callbacks",
    "groups",
    "generator",
    "is_fast",
    "has_ended",
}


def net_state(net: Any, *, has_ended: bool) -> dict[str, Any]:
    """Return the state of a net.

    Parameters
    ----------
    net : Net
        The net, which is about to begin an epoch, or has ended its last one.
    has_ended : bool
        Whether it has.
    """
    training = training_state(net)
    weighing = training.pop("weighing")
    rows = net.history if has_ended else net.history[:-1]
    states = {name: _state_of(callback) for name, callback in net.callbacks_}
    return {
        "weights": as_arrays(all_tensors(net.module_)),
        "training": training,
        "weigher": {} if weighing is None else vars(weighing),
        "history": [dict(row) for row in rows],
        "used_weights": [dict(weights) for weights in net.used_weights],
        "least_losses": dict(net.recorder.best),
        "callbacks": {name: state for name, state in states.items() if state is not None},
        "groups": [
            {key: value for key, value in group.items() if key != "params"}
            for group in net.optimizer_.param_groups
        ],
        "generator": torch.default_generator.get_state().numpy(),
        "is_fast": net.is_fast,
        "has_ended": has_ended,
    }


def put_net_state(net: Any, state: Mapping[str, Any]) -> int:
    """Put a net that begins into a state; return the number of epochs that are left.

    Raises
    ------
    Exception
        If it is not the state of such a net.
    """
    weights = as_tensors(state["weights"])
    shapes = {name: tensor.shape for name, tensor in all_tensors(net.module_).items()}
    if {name: tensor.shape for name, tensor in weights.items()} != shapes:
        raise ValueError("its weights are not those of the network")
    with torch.no_grad():
        put_tensors(net.module_, weights)
    load_training_state(net, {**state["training"], "weighing": None})
    if net.weighing is not None and net.weighing.weigher is not None:
        vars(net.weighing.weigher).update(state["weigher"])
    net.history.extend(state["history"])
    net.used_weights = list(state["used_weights"])
    net.recorder.best = dict(state["least_losses"])
    net.is_fast = bool(state["is_fast"])
    for name, callback in net.callbacks_:
        if name in state["callbacks"]:
            _put_state(callback, state["callbacks"][name])
    for group, kept in zip(net.optimizer_.param_groups, state["groups"], strict=True):
        group.update(kept)
    torch.default_generator.set_state(torch.tensor(state["generator"]))
    return 0 if state["has_ended"] else net.max_epochs - len(net.history)


def keeps_its_state(callback: Any) -> bool:
    """Tell whether the state of a callback is known, or it has none."""
    is_stateless = getattr(callback, "is_stateless", False)
    known = isinstance(callback, EpochTimer | PrintLog) or hasattr(callback, "state_dict")
    return is_stateless or known


def _state_of(callback: Any) -> Any:
    """Return the state of a callback; None if it has none."""
    if isinstance(callback, LRScheduler):
        schedule = callback.lr_scheduler_.state_dict()
        return {"schedule": schedule, "batch": getattr(callback, "batch_idx_", 0)}
    return callback.state_dict() if hasattr(callback, "state_dict") else None


def _put_state(callback: Any, state: Any) -> None:
    if isinstance(callback, LRScheduler):
        callback.lr_scheduler_.load_state_dict(state["schedule"])
        callback.batch_idx_ = state["batch"]
    else:
        callback.load_state_dict(state)
