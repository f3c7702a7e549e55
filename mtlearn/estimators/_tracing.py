"""What happens in a trunk: which of its modules are used, in which order, and on what."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mtlearn._engine._joined_taps import JoinedTaps
from mtlearn._layers import NamedLayers
from mtlearn.trunks._graph_module import GraphModule

__all__ = ["OWN", "Step", "Tracer"]

MAX_CALLS = 4
OWN = "(own)"


@dataclass
class Step:
    """One use of a part of the trunk: its modules, what it takes, and the shape of a row."""

    name: str
    modules: list[nn.Module]
    parameters: list[nn.Parameter]
    takes: list[str] = field(default_factory=list)
    shape: tuple[int, ...] | None = None


class Tracer:
    """Records the steps of a trunk in a forward pass.

    Where the trunk does not say itself what a part takes, it is read off the graph of autograd:
    going back from what a module gets, one meets what others returned.

    Parameters
    ----------
    trunk : torch.nn.Module
        The trunk. Its hooks are removed by `close`.
    inputs : mapping of str to Tensor
        The inputs of X.

    Attributes
    ----------
    steps : list of Step
        The uses of the trunk's parts, in their order.
    taps : dict of (str or None) to list of str
        What each tensor that the trunk returns is made of: steps and inputs.
    """

    def __init__(self, trunk: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        while isinstance(trunk, JoinedTaps):
            trunk = trunk.trunk
        self.trunk = trunk
        self.inputs = list(inputs)
        self.steps: list[Step] = []
        self.taps: dict[str | None, list[str]] = {}
        self._nodes: dict[Any, str] = {}
        self._storages: dict[int, str] = {}
        self._own = {id(p) for p in trunk.parameters(recurse=False)}
        self._tells = isinstance(trunk, GraphModule)
        self._kept: list[Tensor] = []  # else their storage may be that of others later
        for name, tensor in inputs.items():
            self._mark(name, tensor)
        self._hooks = [trunk.register_forward_hook(self._end)]
        for name, modules in _layers_of(trunk).items():
            self._follow(f"trunk.{name}" if name in inputs else name, modules)

    def close(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

    def _follow(self, name: str, modules: list[nn.Module]) -> None:
        parameters = [p for module in modules for p in module.parameters()]
        is_plain = not parameters and not any(True for m in modules for _ in m.children())
        running: list[Step] = []
        n_calls = 0

        def begin(_: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal n_calls
            n_calls += 1
            called = name if n_calls == 1 else f"{name} ({n_calls})"
            running.append(Step(called, modules, parameters, self._sources([args, kwargs])))
            running[-1].shape = _row_shape([args, kwargs])

        def end(_: nn.Module, __: Any, out: Any) -> None:
            if not running:  # a part of the group alone was called
                return
            step = running.pop()
            before, step.shape = step.shape, _row_shape(out)
            if is_plain and step.shape == before and not self._tells:
                return  # an activation, say
            if not step.takes:
                step.takes = [self.steps[-1].name] if self.steps else list(self.inputs)
            self.steps.append(step)
            for tensor in _tensors_in(out):
                self._mark(step.name, tensor)

        self._hooks.append(modules[0].register_forward_pre_hook(begin, with_kwargs=True))
        self._hooks.append(modules[-1].register_forward_hook(end))

    def _end(self, trunk: nn.Module, _: Any, out: Any) -> None:
        """Take note of what the trunk returns; of one step where its inside cannot be told."""
        calls = [id(step.modules[0]) for step in self.steps]
        parameters = list(trunk.parameters())
        if (parameters and not calls) or _too_many(calls):
            self.steps = [Step("trunk", [trunk], parameters, list(self.inputs), _row_shape(out))]
            whole: list[str] | None = ["trunk"]
        else:
            whole = None
            self._declare(trunk)
        named: dict[Any, Any] = dict(out) if isinstance(out, Mapping) else {None: out}
        for tap, tensor in named.items():
            last = [self.steps[-1].name] if self.steps else list(self.inputs)
            self.taps[tap] = whole or self._sources(tensor) or last
        if self._tells:
            self.taps |= {step.name: [step.name] for step in self.steps}
        self._add_rest(trunk)

    def _declare(self, trunk: nn.Module) -> None:
        """Let the steps of a graph take what the user wrote."""
        if isinstance(trunk, GraphModule):
            inputs = dict(zip(trunk.names, trunk.inputs, strict=True))
            for step in self.steps:
                step.takes = list(inputs.get(step.name, step.takes))

    def _add_rest(self, trunk: nn.Module) -> None:
        """Add a step for parameters that are in no other."""
        found = {id(p) for step in self.steps for p in step.parameters}
        rest = [p for p in trunk.parameters() if id(p) not in found]
        if rest:
            self.steps.insert(0, Step(OWN, [trunk], rest))

    def _mark(self, name: str, tensor: Tensor) -> None:
        self._kept.append(tensor)
        if tensor.grad_fn is not None:
            self._nodes[tensor.grad_fn] = name
        if tensor.numel():
            self._storages[tensor.untyped_storage().data_ptr()] = name

    def _sources(self, value: Any) -> list[str]:
        """Return the steps and inputs that tensors are made of, with no other between."""
        found: dict[str, None] = {}
        nodes = []
        for tensor in _tensors_in(value):
            if tensor.grad_fn is not None:
                nodes.append(tensor.grad_fn)
            elif id(tensor) in self._own:
                found[OWN] = None
            elif tensor.numel():
                name = self._storages.get(tensor.untyped_storage().data_ptr())
                found |= {} if name is None else {name: None}
        seen = set()
        while nodes:
            node = nodes.pop(0)
            if node is None or node in seen:
                continue
            seen.add(node)
            if node in self._nodes:
                found[self._nodes[node]] = None
            elif id(getattr(node, "variable", None)) in self._own:
                found[OWN] = None
            else:
                nodes.extend(following for following, _ in node.next_functions)
        order = [OWN, *self.inputs, *(step.name for step in self.steps)]
        return sorted(found, key=order.index)


def _layers_of(trunk: nn.Module) -> dict[str, list[nn.Module]]:
    """Return the parts of a trunk by name, each as modules that are called one after the other."""
    if isinstance(trunk, GraphModule):
        return {n: [m] for n, m in zip(trunk.names, trunk.stages, strict=True)}
    if isinstance(trunk, NamedLayers) or type(trunk).forward is nn.Sequential.forward:
        return _grouped(trunk)
    paths: dict[str, str] = getattr(trunk, "part_paths", {})
    if paths:
        return {name: [trunk.get_submodule(path)] for name, path in paths.items()}
    return dict(_children(trunk))


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        items: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
        for item in items:
            yield from _tensors_in(item)


def _children(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, list[nn.Module]]]:
    for name, child in module.named_children():
        if type(child).forward is nn.Module.forward:  # a list or dict, which is not called itself
            yield from _children(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", [child]


def _grouped(layers: nn.Module) -> dict[str, list[nn.Module]]:
    """Return the layers of a Sequential; what follows a layer of weights belongs to it."""
    groups: list[tuple[str, list[nn.Module]]] = []
    for name, layer in layers.named_children():
        has_weights = any(p.ndim > 1 for p in layer.parameters())
        begun = groups and any(p.ndim > 1 for m in groups[-1][1] for p in m.parameters())
        if not groups or (has_weights and begun):
            groups.append((name, []))
        elif has_weights:  # what came before had none
            groups[-1] = (name, groups[-1][1])
        groups[-1][1].append(layer)
    return {
        f"hidden_{i}" if name.isdigit() else name: modules
        for i, (name, modules) in enumerate(groups, 1)
    }


def _too_many(calls: list[int]) -> bool:
    return any(calls.count(call) > MAX_CALLS for call in calls)


def _row_shape(value: Any) -> tuple[int, ...] | None:
    tensor = next(_tensors_in(value), None)
    return None if tensor is None else tuple(tensor.shape[1:])
