"""The network of a model file: its tensors are checked before any is made.

The parts are built as after a fit, with two differences. Layers are made without memory, on torch's
device "meta", and get what the file has for them; so a file cannot ask for more memory than it has
bytes. And the trunk is not run to find its widths, which the file knows.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mtlearn._engine._module import MultiOutputModule, add_heads, all_tensors, build_body
from mtlearn._engine._recipe import DTYPES
from mtlearn._layers import Dropout
from mtlearn._random import part_seed, seeded
from mtlearn._typing import Array
from mtlearn.estimators._state import FittedState
from mtlearn.exceptions import ModelFileError
from mtlearn.persistence._without_memory import WithoutMemory
from mtlearn.trunks import ModuleTrunk, Trunk

__all__ = ["build_network", "build_trunk", "dropout_seeds", "is_as"]

MAX_WIDTH = 2**31


def dropout_seeds(module: nn.Module) -> dict[str, int]:
    """Return the seed of each dropout layer, for those that have not drawn yet."""
    return {name: layer._seed for name, layer in _dropouts(module).items()}


def build_network(
    net: FittedState,
    weights: Mapping[str, Array],
    widths: list[list[Any]],
    seeds: Mapping[str, int],
) -> MultiOutputModule:
    """Return the network of an estimator, with its weights.

    Parameters
    ----------
    net : FittedState
        The estimator, with its fitted parts and its recipe.
    weights : mapping of str to ndarray
        All parameters and buffers.
    widths : list of [str or None, int]
        The widths of the trunk's tensors.
    seeds : mapping of str to int
        What `dropout_seeds` returned.

    Returns
    -------
    MultiOutputModule
        The network, in evaluation.

    Raises
    ------
    ModelFileError
        If the weights do not have the shapes that the parts imply.
    """
    recipe, known = net._recipe, _check_widths(widths)
    if torch.device(recipe.device).type == "meta":
        raise ModelFileError("its network is on a device that computes nothing")
    heads, dtype = recipe.trained(net.heads_), DTYPES[recipe.dtype]
    mode = WithoutMemory(len(weights))
    with _mode_for(net.trunk_, mode), seeded(part_seed(recipe.seed, "trunk")):
        body = build_body(net.trunk_, heads, net._spec, dtype, recipe.trunk_outputs or None)
    with mode:
        module = add_heads(body, heads, known, recipe.seed, dtype)
    _fill(module, all_tensors(module), weights, recipe.device)
    dropouts = _dropouts(module)
    if set(seeds) != set(dropouts):
        raise ModelFileError("its seeds are not those of the layers that draw")
    for name, layer in dropouts.items():
        if type(seeds[name]) is not int or not 0 <= seeds[name] < 2**63:
            raise ModelFileError(f"the layer {name!r} has a seed that there cannot be")
        layer._seed = seeds[name]
    return module.eval()


def build_trunk(
    trunk: Trunk, n_features: int, weights: Mapping[str, Array], seed: int
) -> nn.Module:
    """Return the module of a stream's trunk, with its weights; see `build_network`."""
    if not n_features:
        return nn.Identity()
    mode, seed = WithoutMemory(len(weights)), part_seed(seed, f"trunk/{n_features}")
    with _mode_for(trunk, mode), seeded(seed):
        module = trunk.build(n_features).double()
    _fill(module, module.state_dict(keep_vars=True), weights, "cpu")
    return module.eval()


def is_as(values: Array, tensor: Tensor) -> bool:
    """Tell whether an array has the shape and the type of a tensor."""
    kind = str(tensor.dtype).removeprefix("torch.")
    return values.shape == tuple(tensor.shape) and values.dtype.name == kind


def _mode_for(trunk: Trunk, mode: WithoutMemory) -> AbstractContextManager[Any]:
    """Return the mode to build a trunk in.

    A user's own code makes what it makes: it may need the values of its tensors.
    """
    return nullcontext() if isinstance(trunk, ModuleTrunk) else mode


def _check_widths(widths: list[list[Any]]) -> dict[str | None, int]:
    found = {}
    for name, width in widths:
        if not isinstance(name, str | None) or type(width) is not int or not 0 <= width < MAX_WIDTH:
            raise ModelFileError("it has no widths of the trunk as `save` writes them")
        found[name] = width
    return found


def _fill(
    module: nn.Module, tensors: Mapping[str, Tensor], weights: Mapping[str, Array], device: str
) -> None:
    """Put weights in the place of the tensors of a network, if they are of its shapes."""
    _check_shapes(tensors, weights)
    made = {
        tensor: _like(tensor, torch.tensor(weights[name], device=device))
        for name, tensor in tensors.items()
    }
    for part in module.modules():
        own = chain(
            part.named_parameters(recurse=False, remove_duplicate=False),
            part.named_buffers(recurse=False, remove_duplicate=False),
        )
        for name, tensor in list(own):
            if tensor in made:
                setattr(part, name, made[tensor])
            elif tensor.is_meta:
                raise ModelFileError(f"the tensor {name!r} of its network is not there")


def _check_shapes(tensors: Mapping[str, Tensor], weights: Mapping[str, Array]) -> None:
    """Raise unless the weights are those of the network, by name, shape and type."""
    if set(tensors) != set(weights):
        odd = sorted(set(tensors) ^ set(weights))[:5]
        raise ModelFileError(f"its tensors are not those of its network, which differ in {odd}")
    for name, tensor in tensors.items():
        values: Any = weights[name]
        if is_lazy(tensor):  # a user's layer that takes the shape of what it is given first
            tensor.materialize(values.shape)  # pyright: ignore[reportAttributeAccessIssue]
        if not is_as(values, tensor):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelFileError(
                f"the weights {name!r} have the shape {values.shape} and the type "
                f"{values.dtype}; its parts imply {tuple(tensor.shape)} and {kind}"
            )


def _like(tensor: Tensor, values: Tensor) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values


def _dropouts(module: nn.Module) -> dict[str, Dropout]:
    return {n: layer for n, layer in module.named_modules() if isinstance(layer, Dropout)}
