"""The parameters of each stage of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtlearn._engine._module import MultiOutputModule
from mtlearn.estimators._tracing import Tracer

__all__ = ["StageParameters", "stage_parameters"]


@dataclass(frozen=True)
class StageParameters:
    """A stage: its name, whether it is in the trunk, and the parameters no stage before has."""

    name: str
    in_trunk: bool
    parameters: tuple[nn.Parameter, ...] = ()

    @property
    def learned(self) -> list[nn.Parameter]:
        """Return the parameters that are not frozen."""
        return [p for p in self.parameters if p.requires_grad]


def stage_parameters(
    module: MultiOutputModule, inputs: Mapping[str, Tensor], outputs: Sequence[str]
) -> list[StageParameters]:
    """Return the stages of a network that may have parameters, as the summary names them.

    Parameters
    ----------
    module : MultiOutputModule
        The network, in evaluation mode.
    inputs : mapping of str to Tensor
        Some rows of each input; of a table, by the name "X".
    outputs : sequence of str
        The outputs, in the order of their stages; those without layers are left out.

    Returns
    -------
    list of StageParameters
        The parts of the trunk in the order of computing, then the outputs.
    """
    X = inputs["X"] if list(inputs) == ["X"] else dict(inputs)
    tracer = Tracer(module.trunk, inputs)
    try:
        with torch.no_grad():
            module(X)
    finally:
        tracer.close()
    heads = dict(zip(module.names, module.heads, strict=True))
    found = [(step.name, True, step.parameters) for step in tracer.steps]
    found += [(name, False, list(heads[name].parameters())) for name in outputs if name in heads]
    seen: set[int] = set()
    stages = []
    for name, in_trunk, parameters in found:
        new = {id(p): p for p in parameters if id(p) not in seen}
        seen.update(new)
        stages.append(StageParameters(name, in_trunk, tuple(new.values())))
    return stages
