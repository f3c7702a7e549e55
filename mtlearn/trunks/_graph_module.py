"""The torch module of a graph of stages."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._validation import naming

__all__ = ["MERGES", "TABLE", "GraphModule", "Merge", "OnSeveral", "check_concatenable"]

TABLE = "X"


class GraphModule(nn.Module):
    r"""The stages of a Graph.

    Shape: a dict of (n_samples, \*shape), or a table, to a dict of (n_samples, n_units).

    Parameters
    ----------
    modules : mapping of str to torch.nn.Module
        The stages in an order in which they can be computed.
    inputs : mapping of str to list of str
        What each takes.
    ends : collection of str
        The stages that heads can take.
    is_table : bool
        Whether X is a tensor.
    by_output : mapping of str to sequence of str, default=()
        The stages that make a tensor for each output, with the names of these.

    Attributes
    ----------
    takes_taps : bool
        That `forward` can be asked for some stages only.
    default : str or None
        The stage for heads that name none: the only one that no other takes.
    groups : dict of str to dict of str to str
        The names of the tensors that differ by output, of each such stage.
    """

    takes_taps = True

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        inputs: Mapping[str, Sequence[str]],
        ends: Collection[str],
        is_table: bool,
        by_output: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.names = list(modules)
        self.stages = nn.ModuleList(modules.values())
        self.inputs = [list(inputs[name]) for name in self.names]
        self.ends, self.is_table = list(ends), is_table
        taken = {i for takes in self.inputs for i in takes}
        last = [name for name in self.ends if name not in taken]
        self.default = last[0] if len(last) == 1 else None
        self.groups = {
            stage: {output: f"{stage}/{output}" for output in outputs}
            for stage, outputs in by_output.items()
        }

    def forward(
        self, X: Tensor | dict[str, Tensor], taps: Collection[str | None] | None = None
    ) -> dict[str, Tensor]:
        """Return the tensors of the stages named, by default of all that heads can take."""
        wanted = self._wanted(taps)
        needed = self._needed(wanted)
        done: dict[str, Any] = {TABLE: X} if isinstance(X, Tensor) else dict(X)
        for name, module, inputs in zip(self.names, self.stages, self.inputs, strict=True):
            if name in needed:
                only = {"taps": wanted[name]} if wanted.get(name) else {}
                try:
                    done[name] = module(*(done[i] for i in inputs), **only)
                except (RuntimeError, TypeError, ValueError):
                    with naming(f"Graph: stage {name!r}"):
                        raise
        found: dict[str, Tensor] = {}
        for name, outputs in wanted.items():
            group = self.groups.get(name)
            found |= {group[o]: done[name][o] for o in outputs} if group else {name: done[name]}
        return found

    def without_others(self, taps: Collection[str | None]) -> "GraphModule":
        """Return the graph with the stages that some need; they are shared."""
        wanted = self._wanted(taps)
        needed = self._needed(wanted)
        modules: dict[str, Any] = dict(zip(self.names, self.stages, strict=True))
        kept = {
            name: module.without_others(wanted[name]) if wanted.get(name) else module
            for name, module in modules.items()
            if name in needed
        }
        inputs = dict(zip(self.names, self.inputs, strict=True))
        by_output = {name: wanted[name] for name in self.groups if wanted.get(name)}
        graph = GraphModule(kept, inputs, list(wanted), self.is_table, by_output)
        return graph.train(self.training)

    @property
    def part_paths(self) -> dict[str, str]:
        """Where the module of each stage is."""
        stages = zip(self.names, self.stages, strict=True)
        inner = {name: ".module" if isinstance(m, OnSeveral) else "" for name, m in stages}
        return {name: f"stages.{i}{inner[name]}" for i, name in enumerate(self.names)}

    def _wanted(self, taps: Collection[str | None] | None) -> dict[str, list[str]]:
        """Return the ends that are named, each with the outputs that it differs by."""
        wanted = {}
        for name in self.ends:
            group = self.groups.get(name, {})
            outputs = [o for o, tensor in group.items() if taps is None or tensor in taps]
            if outputs or taps is None or name in taps:
                wanted[name] = outputs
        return wanted

    def _needed(self, names: Collection[str]) -> set[str]:
        needed = set(names)
        for name, inputs in reversed(list(zip(self.names, self.inputs, strict=True))):
            if name in needed:
                needed.update(inputs)
        return needed


class Merge(nn.Module):
    """Several tensors as one, by one of `MERGES`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, *tensors: Tensor) -> Tensor:
        return MERGES[self.how](*tensors)

    def extra_repr(self) -> str:
        return self.how


class OnSeveral(nn.Module):
    """A module on several tensors, which are concatenated."""

    def __init__(self, module: nn.Module, takes_integers: bool) -> None:
        super().__init__()
        self.module, self.takes_integers = module, takes_integers

    def forward(self, *tensors: Tensor, taps: Collection[str] | None = None) -> Any:
        x = concatenate(*tensors)
        if not x.is_floating_point() and not self.takes_integers:
            x = x.to(next((p.dtype for p in self.parameters()), torch.get_default_dtype()))
        return self.module(x) if taps is None else self.module(x, taps)

    def without_others(self, taps: Collection[str]) -> "OnSeveral":
        """Return the module, which differs by output, with what some outputs need."""
        module: Any = self.module
        return OnSeveral(module.without_others(taps), self.takes_integers)


def add(*tensors: Tensor) -> Tensor:
    """Return the sum of tensors of one shape."""
    _check_equal(tensors, "add")
    return reduce(torch.add, tensors)


def concatenate(*tensors: Tensor) -> Tensor:
    """Return tensors side by side on the last axis, as floats if one of them is."""
    if len(tensors) == 1:
        return tensors[0]
    check_concatenable([tuple(t.shape[1:]) for t in tensors])
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), tensors[0].dtype)
    return torch.cat([t.to(dtype) for t in tensors], -1)


def multiply(*tensors: Tensor) -> Tensor:
    """Return the product of tensors of one shape."""
    _check_equal(tensors, "multiply")
    return reduce(torch.mul, tensors)


def take(*tensors: Tensor) -> Tensor:
    """Return steps of sequences, side by side: those at the positions in the second tensor.

    Shape: (n_samples, n_steps, n_units) and (n_samples, n_taken) to (n_samples, n_out), where n_out
    is n_taken times n_units.
    """
    if [t.ndim for t in tensors] != [3, 2]:
        raise ValueError(
            f"to take steps, the inputs must be sequences, with rows of the shape (n_steps, "
            f"n_units), and the positions to take, (n_taken,). Got "
            f"{[tuple(t.shape[1:]) for t in tensors]}."
        )
    sequences, positions = tensors[0], tensors[1].long()
    n_steps = sequences.shape[1]
    outside = (positions < 0) | (positions >= n_steps)
    if bool(outside.any()):
        raise ValueError(
            f"the positions of steps to take must be in 0 to {n_steps - 1}. Got "
            f"{int(positions[outside][0])}."
        )
    rows = torch.arange(len(sequences), device=sequences.device)
    return sequences[rows[:, None], positions].flatten(1)


MERGES: dict[str, Callable[..., Tensor]] = {
    "add": add,
    "concatenate": concatenate,
    "multiply": multiply,
    "take": take,
}


def check_concatenable(shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise a ValueError unless the shapes of rows differ in nothing but the last axis."""
    if len({(len(shape), shape[:-1]) for shape in shapes}) > 1 or not all(shapes):
        raise ValueError(
            f"to concatenate, shapes must be equal but for the last axis. Got {list(shapes)}."
        )


def _check_equal(tensors: Sequence[Tensor], how: str) -> None:
    shapes = [tuple(t.shape[1:]) for t in tensors]
    if len(set(shapes)) > 1:
        raise ValueError(f"to {how}, shapes must be equal. Got {shapes}.")
