"""What the network of a fitted estimator is made of, and which outputs train what."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._optimizers import frozen
from mtlearn._engine._recipe import DTYPES, Recipe
from mtlearn._optional import import_optional
from mtlearn._typing import Spec
from mtlearn.estimators._tracing import OWN, Tracer
from mtlearn.heads import Head
from mtlearn.trunks import Graph, ModuleTrunk, Trunk
from mtlearn.trunks._graph_module import OnSeveral

__all__ = ["Stage", "as_frame", "find_architecture"]

MAX_TEXT = 48


@dataclass(frozen=True)
class Stage:
    """One stage of a network.

    Parameters
    ----------
    name : str
        Its name: that of an input, of a part of the trunk, or of an output.
    part : str
        What it is, in short.
    takes : tuple of str
        The stages that it is computed from.
    shape : tuple of int or None
        The shape of a row of what it returns; None where that is no tensor.
    n_parameters : int
        The number of its parameters that no stage before it has.
    trained_by : tuple of str
        The outputs whose losses reach its parameters.
    kind : {"input", "trunk", "output", "constant"}
        Where it belongs; a constant is an output without layers.
    """

    name: str
    part: str
    takes: tuple[str, ...]
    shape: tuple[int, ...] | None
    n_parameters: int
    trained_by: tuple[str, ...]
    kind: str


def find_architecture(estimator: Any) -> list[Stage]:
    """Return the stages of a fitted estimator's network, in the order of computing.

    They are found by passing two rows of zeros through a copy of the network.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator of mtlearn; of several members, the first.

    Returns
    -------
    list of Stage
        The inputs, then the parts of the trunk, then the outputs.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "members_"):
        return find_architecture(estimator.members_[0])
    recipe: Recipe = estimator._recipe
    spec: Spec = estimator._spec
    module = _copied(estimator)
    trainable = _trainable(module, recipe)
    for parameter in module.parameters():
        if parameter.is_floating_point():  # so that the graph of autograd is complete
            parameter.requires_grad_(True)
    with recipe.settings():
        try:
            tracer, raw = _trace(module, spec, recipe, with_gradients=True)
        except RuntimeError:  # some modules do with X what torch forbids where it has a gradient
            tracer, raw = _trace(module, spec, recipe, with_gradients=False)
        heads = dict(zip(module.names, module.heads, strict=True))
        reached = {
            name: _reached(tensor, [module.trunk, heads[name]]) & trainable
            for name, tensor in raw.items()
            if not recipe.is_left_out(name)
        }
    found = _Stages(estimator.heads_, reached)
    for name, (kind, shape) in _inputs(spec, recipe).items():
        found.add(Stage(name, kind, (), shape, 0, (), "input"))
    names = _names_of_parts(estimator.trunk_, tracer)
    for step in tracer.steps:
        found.add(
            Stage(step.name, names[step.name], tuple(step.takes), step.shape, 0, (), "trunk"),
            step.parameters,
        )
    layers = dict(zip(module.names, zip(module.taps, module.heads, strict=True), strict=True))
    for name, head in estimator.heads_.items():
        if name not in layers:
            why = "loss weight 0" if recipe.is_left_out(name) else "constant target"
            stage = Stage(name, f"a constant ({why})", (), head.raw_shape_, 0, (), "constant")
            found.add(stage)
            continue
        tap, modules = layers[name]
        taps = [*tap] if isinstance(tap, tuple) else [tap]
        takes = dict.fromkeys(source for one in taps for source in tracer.taps[one])
        shape = tuple(raw[name].shape[1:])
        stage = Stage(name, _describe(head), tuple(takes), shape, 0, (), "output")
        found.add(stage, list(modules.parameters()))
    return found.stages


def as_frame(stages: list[Stage], *, needed_by: str) -> Any:
    """Return the stages as a DataFrame, by name."""
    pandas = import_optional("pandas", needed_by=needed_by, install="pandas")
    rows = [
        {
            "kind": stage.kind,
            "part": stage.part,
            "takes": ", ".join(stage.takes),
            "shape": stage.shape,
            "n_parameters": stage.n_parameters,
            "trained_by": ", ".join(stage.trained_by) or ("none" if stage.n_parameters else ""),
        }
        for stage in stages
    ]
    index = pandas.Index([stage.name for stage in stages], name="stage", dtype=object)
    return pandas.DataFrame(rows, index=index)


class _Stages:
    """Collects stages, and counts each parameter once."""

    def __init__(self, outputs: Mapping[str, Any], reached: Mapping[str, set[int]]) -> None:
        self.stages: list[Stage] = []
        self._outputs, self._reached = list(outputs), reached
        self._seen: set[int] = set()

    def add(self, stage: Stage, parameters: list[nn.Parameter] | None = None) -> None:
        new = {id(p): p.numel() for p in parameters or [] if id(p) not in self._seen}
        self._seen.update(new)
        by = [n for n in self._outputs if not self._reached.get(n, set()).isdisjoint(new)]
        self.stages.append(replace(stage, n_parameters=sum(new.values()), trained_by=tuple(by)))


def _copied(estimator: Any) -> MultiOutputModule:
    """Return a copy of the network, on the CPU: torch's GPU code trains no LSTM in eval mode."""
    with torch.inference_mode(False):
        try:
            module = copy.deepcopy(estimator.module_)
        except (RuntimeError, TypeError):  # it keeps what cannot be copied, such as its last pass
            module = copy.copy(estimator).module_
            ours = dict(estimator.module_.named_parameters())
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(ours[name].requires_grad)
        return module.cpu().eval()


def _trainable(module: MultiOutputModule, recipe: Recipe) -> set[int]:
    """Return the parameters that a fit changes."""
    try:
        with frozen(module, recipe.param_groups):
            return {id(p) for p in module.parameters() if p.requires_grad}
    except ValueError:  # all that learned was dropped
        return set()


def _trace(
    module: MultiOutputModule, spec: Spec, recipe: Recipe, *, with_gradients: bool
) -> tuple[Tracer, dict[str, Tensor]]:
    """Pass two rows of zeros through the network; return the trace, and the raw outputs."""
    inputs: dict[str, Tensor] = {}
    for name, (kind, shape) in _inputs(spec, recipe).items():
        if kind == "integers":
            inputs[name] = torch.zeros(2, *shape, dtype=torch.int64)
            continue
        zeros = torch.zeros(2, *shape, dtype=DTYPES[recipe.dtype])
        # A copy, since what has a gradient of its own may not be changed in place.
        inputs[name] = zeros.requires_grad_().clone() if with_gradients else zeros
    X: Any = inputs["X"] if isinstance(spec, int) else inputs
    tracer = Tracer(module.trunk, inputs)
    try:
        return tracer, module(X)
    finally:
        tracer.close()


def _inputs(spec: Spec, recipe: Recipe) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return what each input holds, and the shape of a row."""
    if isinstance(spec, int):
        return {"X": (recipe.dtype, (spec,))}
    return {
        name: ("integers" if one.is_integer else recipe.dtype, one.shape)
        for name, one in spec.items()
    }


def _reached(raw: Tensor, modules: list[nn.Module]) -> set[int]:
    """Return the parameters of modules that the loss of an output has a gradient for."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    if not raw.requires_grad or not parameters:
        return set()
    found = torch.autograd.grad(raw.sum(), parameters, retain_graph=True, allow_unused=True)
    return {id(p) for p, g in zip(parameters, found, strict=True) if g is not None}


def _names_of_parts(trunk: Trunk, tracer: Tracer) -> dict[str, str]:
    """Return what each step of a trunk is."""
    given = {name: part for name, part, _ in trunk.stages} if isinstance(trunk, Graph) else {}
    parts = {}
    for step in tracer.steps:
        part = given.get(step.name)
        if step.name == OWN:
            parts[step.name] = f"parameters of {type(tracer.trunk).__name__}"
        elif isinstance(part, str) or (isinstance(part, Trunk) and type(part) is not ModuleTrunk):
            parts[step.name] = _describe(part)
        elif step.name == "trunk" and step.modules == [tracer.trunk] and not given:
            whole = step.modules[0] if type(trunk) is ModuleTrunk else trunk
            parts[step.name] = _describe(whole)
        else:
            parts[step.name] = _cut(", ".join(map(_describe, step.modules)))
    return parts


def _describe(part: Any) -> str:
    """Return a short text: ``Embedding(10000, 512)``."""
    if isinstance(part, str):
        return part
    if isinstance(part, BaseEstimator):
        return _cut(f"{type(part).__name__}({', '.join(_arguments(part))})")
    return _describe_module(part)


def _arguments(part: BaseEstimator) -> list[str]:
    """Return the arguments that are no defaults; those of a head that say where it is are left."""
    texts, is_positional = [], True
    values = part.get_params(deep=False)
    for name, parameter in signature(type(part)).parameters.items():
        value = values.get(name, parameter.default)
        text = repr(value)
        is_where = isinstance(part, Head) and name in ("at", "target")
        if is_where or text == repr(parameter.default):
            is_positional = False
            continue
        if callable(value):
            text = getattr(value, "__name__", type(value).__name__)
        is_positional = is_positional and parameter.kind is not Parameter.KEYWORD_ONLY
        texts.append(text if is_positional else f"{name}={text}")
    return texts


def _describe_module(module: nn.Module) -> str:
    """Return the class of a module, with the sizes that its text begins with."""
    children = list(module.children())
    if type(module).forward is nn.Sequential.forward:
        return _cut(", ".join(map(_describe_module, children)))
    if isinstance(module, OnSeveral):  # of a Graph: what is inside is the user's
        return _describe_module(module.module)
    name = type(module).__name__
    if children:
        return name
    sizes = re.match(r"(?:\w+=)?\d+(?:, (?:(?:in|out)_features=)?\d+)*(?=,|$)", module.extra_repr())
    return f"{name}({re.sub(r'[a-z_]+=', '', sizes[0])})" if sizes else name


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."
