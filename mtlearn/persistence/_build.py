"""The network of a model file: its tensors are checked before any is made.

The parts are built as after a fit, with two differences. Layers are made without memory, on torch's
device "meta", and get what the file has for them; so a file cannot ask for more memory than it has
bytes. And the trunk is not run to find its widths, which the file knows.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mtlearn._engine._module import MultiOutputModule, all_tensors
from mtlearn._engine._recipe import DTYPES
from mtlearn._layers import Dropout
from mtlearn._random import seeded
from mtlearn._typing import Array
from mtlearn.estimators._state import FittedState
from mtlearn.exceptions import ModelFileError
from mtlearn.trunks import ModuleTrunk, Trunk

__all__ = ["build_network", "build_trunk", "check_moments", "dropout_seeds", "run_on_zeros"]

# Tensors of so many numbers are always real; others until there are so many together.
SMALL, REAL = 64, 2**24
MAX_WIDTH = 2**31

_FACTORIES = {
    torch.arange,
    torch.empty,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.randperm,
    torch.zeros,
}


def run_on_zeros(net: FittedState) -> dict[str | None, Array]:
    """Return what a fitted trunk makes of two rows of zeros, by name; None names a lone tensor."""
    dtype, device = DTYPES[net._recipe.dtype], torch.device(net._recipe.device)
    spec = net._spec
    zeros: Any = torch.zeros(2, spec if isinstance(spec, int) else 0, dtype=dtype, device=device)
    if not isinstance(spec, int):
        kinds = {True: torch.int64, False: dtype}
        zeros = {
            name: torch.zeros(2, *one.shape, dtype=kinds[one.is_integer], device=device)
            for name, one in spec.items()
        }
    with seeded(0), torch.no_grad():
        out = net.module_.trunk(zeros)
    named = {None: out} if isinstance(out, Tensor) else out
    return {
        name: tensor.cpu().numpy()
        for name, tensor in named.items()
        if name is None or isinstance(name, str)
    }


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
        The widths of what `run_on_zeros` returns.
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
    if torch.device(net._recipe.device).type == "meta":
        raise ModelFileError("its network is on a device that computes nothing")
    planned = replace(net._recipe, device="meta")
    with _WithoutMemory(len(weights)) as mode:
        trunk = _KnownWidths(net.trunk_, _check_widths(widths), mode)
        module = planned.build(trunk, net.heads_, net._spec)
    trunk.put_back()
    _check_shapes(all_tensors(module), weights)
    _fill(module, all_tensors(module), weights, net._recipe.device)
    for name, layer in _dropouts(module).items():
        layer._seed = int(seeds[name])
    return module.eval()


def build_trunk(trunk: Trunk, n_features: int, weights: Mapping[str, Array]) -> nn.Module:
    """Return the module of a stream's trunk, with its weights; see `build_network`."""
    if not n_features:
        return nn.Identity()
    with _WithoutMemory(len(weights)) as mode, seeded(0):
        mode.is_active = not isinstance(trunk, ModuleTrunk)
        module = trunk.build(n_features).double()
    tensors = module.state_dict(keep_vars=True)
    _check_shapes(tensors, weights)
    _fill(module, tensors, weights, "cpu")
    return module.eval()


def check_moments(net: FittedState) -> None:
    """Raise unless what an optimizer remembers has the shapes of the parameters, as it must."""
    state = vars(net).get("_net_state")
    if state is None or not isinstance(net._recipe.optimizer, str):
        return
    parameters = dict(net.module_.named_parameters())
    for name, moments in state["moments"].items():
        parameter = parameters[name]
        for values in moments.values():
            if np.shape(values) != () and not _is_as(values, parameter):
                raise ModelFileError(f"the moments of {name!r} are not of its shape and type")


class _KnownWidths(Trunk):
    """A trunk whose module gives zeros of known widths, as long as its `forward` is replaced."""

    def __init__(self, trunk: Trunk, widths: dict[str | None, int], mode: "_WithoutMemory") -> None:
        self.trunk = trunk
        self.widths = widths
        self.mode = mode
        self.forwards: list[tuple[nn.Module, Any]] = []

    @property
    def differs_by_output(self) -> bool:
        return self.trunk.differs_by_output

    def build(self, n_features: Any) -> nn.Module:
        return self._with_widths(lambda: self.trunk.build(n_features))

    def build_named(self, n_features: Any, outputs: Collection[str] = ()) -> nn.Module:
        return self._with_widths(lambda: self.trunk.build_named(n_features, outputs))

    def _with_widths(self, build: Callable[[], nn.Module]) -> nn.Module:
        # A user's own code makes what it makes: it may need the values of its tensors.
        self.mode.is_active = not isinstance(self.trunk, ModuleTrunk)
        module = build()
        self.mode.is_active = True
        widths = self.widths

        def answer(*_: Any) -> Any:
            zeros = {name: torch.zeros(2, width) for name, width in widths.items()}
            return zeros.get(None, zeros)

        self.forwards.append((module, vars(module).get("forward")))
        module.forward = answer
        return module

    def put_back(self) -> None:
        """Give the modules their own `forward` again."""
        for module, forward in self.forwards:
            if forward is None:
                del module.forward
            else:
                module.forward = forward


class _WithoutMemory(TorchFunctionMode):
    """Lets large tensors be made without memory, on the device "meta".

    What is computed of them is zeros, since only shapes are of interest. Small tensors are real
    until there are too many: layers draw seeds and count by them, and look at the rows of zeros
    that they are tried out on.
    """

    def __init__(self, n_tensors: int) -> None:
        super().__init__()
        self.calls_left = 10_000 + 50 * n_tensors
        self.real_left = REAL
        self.is_active = True

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not self.is_active:
            return func(*args, **kwargs)
        if func in _FACTORIES:
            return self._make(func, args, kwargs)
        given = list(_tensors((args, kwargs)))
        are_small = all(tensor.numel() <= SMALL and not tensor.is_meta for tensor in given)
        if are_small or func.__name__ == "__get__":
            return func(*args, **kwargs)
        planned = func(*_without_memory(args), **_without_memory(kwargs))
        found = list(_tensors(planned))
        if not found:  # a question, or a change in place
            return func(*args, **kwargs)
        if any(tensor is of_caller for tensor in found for of_caller in given):
            return planned
        if any(tensor.is_meta for tensor in given):
            return self._with_zeros(planned)
        fits = self._may_be_real(sum(tensor.numel() for tensor in found))
        return func(*args, **kwargs) if fits else planned

    def _with_zeros(self, planned: Any) -> Any:
        """Return what was computed with zeros for tensors, where there is room for them."""
        if isinstance(planned, list | tuple):
            return type(planned)(map(self._with_zeros, planned))
        if not isinstance(planned, Tensor) or not self._may_be_real(planned.numel()):
            return planned
        return torch.zeros(planned.shape, dtype=planned.dtype)

    def _make(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise ModelFileError("its parts have far more layers than it has tensors")
        planned = func(*args, **{**kwargs, "device": "meta"})
        return func(*args, **kwargs) if self._may_be_real(planned.numel()) else planned

    def _may_be_real(self, n: int) -> bool:
        if n > SMALL:
            self.real_left -= n
        return n <= SMALL or self.real_left >= 0


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors among the arguments of a function."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _tensors(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)


def _without_memory(value: Any) -> Any:
    """Return arguments with their tensors on the device without memory."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, torch.device):
        return torch.device("meta")
    if isinstance(value, dict):
        return {key: _without_memory(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_without_memory, value))
    return value


def _check_widths(widths: list[list[Any]]) -> dict[str | None, int]:
    found = {}
    for name, width in widths:
        if not isinstance(name, str | None) or type(width) is not int or not 0 <= width < MAX_WIDTH:
            raise ModelFileError("it has no widths of the trunk as `save` writes them")
        found[name] = width
    return found


def _check_shapes(tensors: Mapping[str, Tensor], weights: Mapping[str, Array]) -> None:
    """Raise unless the weights are those of the network, by name, shape and type."""
    if set(tensors) != set(weights):
        odd = sorted(set(tensors) ^ set(weights))[:5]
        raise ModelFileError(f"its tensors are not those of its network, which differ in {odd}")
    for name, tensor in tensors.items():
        values = weights[name]
        if not _is_as(values, tensor):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelFileError(
                f"the weights {name!r} have the shape {values.shape} and the type "
                f"{values.dtype}; its parts imply {tuple(tensor.shape)} and {kind}"
            )


def _is_as(values: Array, tensor: Tensor) -> bool:
    """Tell whether an array has the shape and the type of a tensor."""
    kind = str(tensor.dtype).removeprefix("torch.")
    return values.shape == tuple(tensor.shape) and values.dtype.name == kind


def _fill(
    module: nn.Module, tensors: Mapping[str, Tensor], weights: Mapping[str, Array], device: str
) -> None:
    """Put weights in the place of the tensors of a network."""
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


def _like(tensor: Tensor, values: Tensor) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values


def _dropouts(module: nn.Module) -> dict[str, Dropout]:
    return {n: layer for n, layer in module.named_modules() if isinstance(layer, Dropout)}
