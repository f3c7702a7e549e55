"""What training needs beside the weights to go on as if it had never stopped."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._engine._net import Net
from mtlearn._layers import Dropout
from mtlearn._typing import Array

__all__ = [
    "copy_moments",
    "dropout_states",
    "load_training_state",
    "put_moments",
    "set_dropout_states",
    "training_state",
]


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
        "dropout": dropout_states(net.module_),
        "weighing": None if net.weighing is None else copy.deepcopy(net.weighing.weigher),
    }


def load_training_state(
    net: Net, state: Mapping[str, Any], *, moments: bool = True, weighing: bool = True
) -> None:
    """Put a net into a state that `training_state` returned.

    Parameters
    ----------
    net : Net
        A net of the same network.
    state : mapping of str to Any
        The state.
    moments : bool, default=True
        Whether to restore the optimizer's moments too; its settings stay those of the net.
    weighing : bool, default=True
        Whether to restore what a weighting remembers too.
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
    set_dropout_states(net.module_, state["dropout"])
    if weighing and net.weighing is not None and state["weighing"] is not None:
        net.weighing.weigher = copy.deepcopy(state["weighing"])


def copy_moments(net: Net) -> dict[str, Any]:
    """Return a copy of the optimizer's moments and of the batches' generator, on the device."""
    return {
        "moments": {
            parameter: {
                key: value.clone() if isinstance(value, Tensor) else value
                for key, value in moments.items()
            }
            for parameter, moments in net.optimizer_.state.items()
        },
        "batches": net.iterator_train__generator.get_state(),
        "weighing": None if net.weighing is None else copy.deepcopy(net.weighing.weigher),
    }


def put_moments(net: Net, copied: Mapping[str, Any]) -> None:
    """Put the moments and the generator back."""
    net.optimizer_.state.clear()
    net.optimizer_.state.update(copied["moments"])
    net.iterator_train__generator.set_state(copied["batches"])
    if net.weighing is not None:
        net.weighing.weigher = copied["weighing"]


def dropout_states(module: nn.Module) -> dict[str, Array]:
    """Return the state of each dropout layer that has drawn."""
    return {
        name: state.numpy()
        for name, layer in _dropouts(module)
        if (state := layer.generator_state()) is not None
    }


def set_dropout_states(module: nn.Module, states: Mapping[str, Array]) -> None:
    """Set what the dropout layers draw next; one without a state begins anew."""
    for name, layer in _dropouts(module):
        state = states.get(name)
        layer.set_generator_state(None if state is None else torch.tensor(state))


def _dropouts(module: nn.Module) -> Iterator[tuple[str, Dropout]]:
    for name, layer in module.named_modules():
        if isinstance(layer, Dropout):
            yield name, layer


def _to_numpy(value: Any) -> Any:
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else value


def _to_torch(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray | np.generic) else value
