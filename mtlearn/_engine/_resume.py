"""What training needs beside the weights to go on as if it had never stopped."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtlearn._engine._net import Net
from mtlearn._layers import Dropout

__all__ = ["load_training_state", "restart_generators", "training_state"]


def training_state(net: Net) -> dict[str, Any]:
    """Return the optimizer's moments and the states of all generators, as numpy arrays."""
    parameters = net.get_all_learnable_params()
    moments = net.optimizer_.state
    return {
        "moments": {
            name: {key: _to_numpy(value) for key, value in moments[parameter].items()}
            for name, parameter in parameters
            if parameter in moments
        },
        "batches": net.iterator_train__generator.get_state().numpy(),
        "dropout": {
            name: state.numpy()
            for name, layer in _dropouts(net)
            if (state := layer.generator_state()) is not None
        },
    }


def load_training_state(net: Net, state: Mapping[str, Any], *, moments: bool = True) -> None:
    """Put a net into a state that `training_state` returned.

    Parameters
    ----------
    net : Net
        A net of the same network.
    state : mapping of str to Any
        The state.
    moments : bool, default=True
        Whether to restore the optimizer's moments too; its settings stay those of the net.
    """
    if moments:
        optimizer = net.optimizer_
        names = {parameter: name for name, parameter in net.get_all_learnable_params()}
        ordered = [names[p] for group in optimizer.param_groups for p in group["params"]]
        optimizer.load_state_dict(
            {
                "state": {
                    i: {key: _to_torch(value) for key, value in state["moments"][name].items()}
                    for i, name in enumerate(ordered)
                    if name in state["moments"]
                },
                "param_groups": optimizer.state_dict()["param_groups"],
            }
        )
        for parameter, name in names.items():  # torch has changed some types
            found = optimizer.state.get(parameter, {})
            for key, value in found.items():
                if isinstance(value, Tensor):
                    found[key] = torch.tensor(state["moments"][name][key], device=value.device)
    net.iterator_train__generator.set_state(torch.tensor(state["batches"]))
    for name, layer in _dropouts(net):
        generator_state = state["dropout"].get(name)
        layer.set_generator_state(
            None if generator_state is None else torch.tensor(generator_state)
        )


def restart_generators(net: Net) -> None:
    """Let dropout begin anew, as a network does that was stored without this state."""
    for _, layer in _dropouts(net):
        layer.set_generator_state(None)


def _dropouts(net: Net) -> Iterator[tuple[str, Dropout]]:
    for name, layer in net.module_.named_modules():
        if isinstance(layer, Dropout):
            yield name, layer


def _to_numpy(value: Any) -> Any:
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else value


def _to_torch(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray | np.generic) else value
