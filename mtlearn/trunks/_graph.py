"""The trunk for networks with several inputs, branches and merges."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias

import torch
from torch import nn

from mtlearn._params import NamedParts
from mtlearn._random import part_seed, seeded
from mtlearn._typing import Array
from mtlearn._validation import check_known, naming
from mtlearn.inputs import Inputs
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._graph_module import (
    MERGES,
    TABLE,
    GraphModule,
    Merge,
    OnSeveral,
    check_concatenable,
)
from mtlearn.trunks._module import as_trunk
from mtlearn.trunks._zeros import row_shape

__all__ = ["Graph"]

Stage: TypeAlias = tuple[str, Any, str | Sequence[str]]


class Graph(NamedParts, Trunk):
    """Stages that take inputs, or what other stages make of them.

    Shape: a dict of the inputs' shapes to a dict of (n_samples, n_units), one per stage whose rows
    have one axis. Heads attach to stages by name, at any depth: ``Classification(at="lstm")``.

    Parameters
    ----------
    stages : list of (name, part, inputs)
        The parts by name. A part is a trunk, a torch module or a callable that makes one, or how
        to merge: ``"concatenate"``, ``"add"``, ``"multiply"``, or ``"take"``, which takes steps of
        a sequence, side by side, at the positions that its second input holds. Its inputs are the
        name of an input of X or of another stage, or a list of names, which are concatenated
        unless the part merges them itself. A table X has the name ``"X"``. The order of the stages
        is free, and changes nothing.

    Raises
    ------
    ValueError
        In ``fit``: for names that are taken twice or unknown, cycles, inputs of X that no stage
        takes, stages that nothing takes and no head can take, and shapes that do not go together.

    See Also
    --------
    mtlearn.Inputs : Several inputs as X.

    Notes
    -----
    Where not all outputs are predicted, only the stages are computed that these need. Each stage's
    first weights are drawn from a seed of its own.

    References
    ----------
    The form is that of scikit-learn's ColumnTransformer; the networks are those of Keras's
    functional interface (Chollet et al., 2015).

    Examples
    --------
    >>> from mtlearn.trunks import MLP, Embedding, Graph, Recurrent
    >>> graph = Graph([
    ...     ("embed", Embedding(10_000, 512), "main_input"),
    ...     ("lstm", Recurrent(32), "embed"),
    ...     ("dense", MLP((64, 64, 64)), ["lstm", "aux_input"])])
    >>> module = graph.build({"main_input": (100,), "aux_input": (5,)})
    >>> sum(p.numel() for p in module.parameters())
    5200640
    >>> graph.set_params(lstm__n_units=16).get_params()["lstm__n_units"]
    16
    """

    _named_parts, _part_noun = "stages", "stage"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"stages": [list, tuple]}

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages

    def note(self, X: Array | Inputs, rows: Array | None = None) -> Self:
        """Let the parts that take an input of X learn what they need of it; see `Trunk.note`."""
        inputs = X if isinstance(X, Inputs) else {TABLE: X}
        for name, part, takes in self.stages:
            names = [takes] if isinstance(takes, str) else list(takes)
            if isinstance(part, Trunk) and len(names) == 1 and names[0] in list(inputs):
                with naming(f"Graph: stage {name!r}"):
                    part.note(inputs[names[0]], rows)
        return self

    @property
    def differs_by_output(self) -> bool:
        """Whether some stage gives outputs tensors of their own."""
        return any(_differs(part) for _, part, _ in self.stages)

    def build(self, n_features: Any) -> nn.Module:
        """Return a module that takes a dict of tensors, or the tensor of a table."""
        return self.build_named(n_features)

    def build_named(self, n_features: Any, outputs: Collection[str] = ()) -> nn.Module:
        """Return the same for these outputs, to which some stages may give tensors of their own."""
        is_table = not isinstance(n_features, Mapping)
        shapes: dict[str, tuple[int, ...]] = (
            {TABLE: _as_shape(n_features)} if is_table else dict(n_features)
        )
        stages = self._checked(list(shapes))
        seed = torch.initial_seed()
        modules: dict[str, nn.Module] = {}
        for name in _in_order(stages):
            part, inputs = stages[name]
            with naming(f"Graph: stage {name!r} on {inputs}"), seeded(part_seed(seed, name)):
                of = [shapes[i] for i in inputs]
                modules[name], shapes[name] = _build_stage(part, of, outputs)
        taken = {i for _, inputs in stages.values() for i in inputs}
        lost = [n for n in stages if n not in taken and len(shapes[n]) != 1]
        if lost:
            raise ValueError(
                f"Graph: every stage must lead to a head. Nothing takes {lost}, whose rows have "
                f"the shapes {[shapes[n] for n in lost]}; a head takes rows of one axis."
            )
        inputs = {name: names for name, (_, names) in stages.items()}
        ends = [name for name in modules if len(shapes[name]) == 1]
        by_output = {name: sorted(outputs) for name in modules if _differs(stages[name][0])}
        return GraphModule(modules, inputs, ends, is_table, by_output if outputs else {})

    def check_params(self) -> None:
        """Raise for stages that are none, and for bad parameters of parts."""
        super().check_params()
        for stage in self.stages:
            if not isinstance(stage, tuple | list) or len(stage) != 3:
                raise ValueError(
                    f"Graph: a stage must be (name, part, inputs). Got {stage!r}; write "
                    f"('dense', MLP(), 'X')."
                )
            takes = stage[2] if isinstance(stage[2], list | tuple) else [stage[2]]
            if not all(isinstance(name, str) for name in takes):
                raise ValueError(
                    f"Graph: stage {stage[0]!r} must take an input or a stage by its name, or a "
                    f"list of names. Got {stage[2]!r}; a table X has the name 'X'."
                )
            if isinstance(stage[1], Trunk):
                with naming(f"Graph: stage {stage[0]!r}"):
                    stage[1].check_params()

    def _checked(self, of_X: list[str]) -> dict[str, tuple[Any, list[str]]]:
        """Return the part and the inputs of each stage."""
        names = [name for name, _, _ in self.stages]
        twice = sorted({name for name in names if [*names, *of_X].count(name) > 1})
        if twice or not names:
            raise ValueError(
                f"Graph: stages must have names that are not taken. Got {names or 'no stage'}, "
                f"beside the inputs {of_X}; {twice} are taken twice."
            )
        stages = {}
        for name, part, inputs in self.stages:
            if not isinstance(name, str) or not name or "__" in name:
                raise ValueError(
                    f"Graph: the name of a stage must be a string without '__'. Got {name!r}."
                )
            takes = [inputs] if isinstance(inputs, str) else list(inputs)
            subject = f"Graph: stage {name!r}"
            check_known(takes, [*names, *of_X], subject=subject, noun="input or stage")
            if not takes:
                raise ValueError(f"{subject} must take an input. Got none.")
            many = [i for i, other, _ in self.stages if i in takes and _differs(other)]
            if many:
                raise ValueError(
                    f"{subject} must take the same for all outputs. Stage {many[0]!r} makes "
                    f"something else for each; let heads take it, with at={many[0]!r}."
                )
            stages[name] = part, takes
        unused = [i for i in of_X if all(i not in takes for _, takes in stages.values())]
        if unused:
            raise ValueError(
                f"Graph: some stage must take every input of X. None takes {unused}; leave them "
                f"out of X, or add a stage."
            )
        return stages


def _differs(part: Any) -> bool:
    return isinstance(part, Trunk) and part.differs_by_output


def _build_stage(
    part: Any, shapes: Sequence[tuple[int, ...]], outputs: Collection[str]
) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the module of a stage, and the shape of a row that it returns."""
    differs = bool(outputs) and _differs(part)
    if isinstance(part, str):
        check_known([part], MERGES, subject="the part", noun="merge")
        module: nn.Module = Merge(part)
    else:
        if len(shapes) > 1:
            check_concatenable(shapes)
        joined = shapes[0]
        if joined:
            joined = (*joined[:-1], sum(shape[-1] for shape in shapes))
        trunk = as_trunk(part)
        shape = sum(joined) if len(joined) == 1 else joined
        inner = trunk.build_named(shape, outputs) if differs else trunk.build(shape)
        module = OnSeveral(inner, getattr(trunk, "takes_integers", False))
    shape = row_shape(module, shapes, differs=differs)
    return module.train(), shape


def _in_order(stages: Mapping[str, tuple[Any, Sequence[str]]]) -> Iterator[str]:
    """Yield the stages by name, each after those it takes."""
    done: set[str] = set()
    left = sorted(stages)
    while left:
        ready = [n for n in left if all(i in done or i not in stages for i in stages[n][1])]
        if not ready:
            raise ValueError(f"Graph: stages must not wait for each other. {_cycle(stages, left)}.")
        yield from ready
        done.update(ready)
        left = [name for name in left if name not in done]


def _cycle(stages: Mapping[str, tuple[Any, Sequence[str]]], left: Sequence[str]) -> str:
    """Return a path through stages that leads back to its beginning."""
    path = [left[0]]
    while True:
        following = next(i for i in stages[path[-1]][1] if i in left)
        if following in path:
            return " -> ".join([*path[path.index(following) :], following][::-1])
        path.append(following)


def _as_shape(n_features: int | Sequence[int]) -> tuple[int, ...]:
    return (n_features,) if isinstance(n_features, int) else tuple(n_features)
