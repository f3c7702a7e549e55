"""A torch module as an ONNX graph that onnxruntime can run."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._optional import import_optional
from mtlearn._typing import Array
from mtlearn.deployment._deployed_net import DeployedNet

__all__ = [
    "INSTALL",
    "OPSET",
    "TABLE",
    "Flat",
    "graph_of",
    "input_names",
    "random_rows",
    "runnable",
    "session_of",
]

OPSET = 18
INSTALL = '"scikit-mtlearn[onnx]"'
ONLY_SINGLES = (nn.Conv1d, nn.Conv2d, nn.RNNBase)
TABLE = "X"
INSIDE = "net__"


class Flat(nn.Module):
    """The module with its inputs and outputs in a row."""

    def __init__(self, module: DeployedNet) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.module.inputs is None:
            return tuple(self.module(inputs[0]).values())
        return tuple(self.module(dict(zip(self.module.inputs, inputs, strict=True))).values())


def graph_of(
    make: Callable[..., DeployedNet], dtype: torch.dtype, type_of_inputs: str
) -> tuple[Any, DeployedNet]:
    """Return a graph that onnxruntime can run, and the module that it was made from.

    Parameters
    ----------
    make : callable
        From a `dtype` to the module.
    dtype : torch.dtype
        The floating point type of the network, unless onnxruntime has it in single precision only.
    type_of_inputs : str
        That of the inputs.

    Raises
    ------
    ValueError
        If torch cannot export the module, or onnxruntime cannot run the graph.
    """
    module = make(dtype=dtype)
    if dtype == torch.float32:
        return runnable(_exported(module, type_of_inputs)), module
    if not any(isinstance(part, ONLY_SINGLES) for part in module.modules()):
        model = _exported(module, type_of_inputs)
        if _fault(model) is None:
            return model, module
    module = make(dtype=torch.float32)
    return runnable(_exported(module, type_of_inputs)), module


def input_names(module: DeployedNet) -> dict[str, str]:
    """Return the graph's name of each input, which no output can have."""
    names = [TABLE] if module.inputs is None else list(module.inputs)
    return {name: f"{name}__input" if name in module.output_names else name for name in names}


def random_rows(module: DeployedNet, dtype: str, *, has_zeros: bool = False) -> dict[str, Array]:
    """Return three rows, whose integers are 0; with `has_zeros`, sequences that end in zeros."""
    generator = np.random.default_rng(0)

    def one(shape: tuple[int, ...], is_integer: bool) -> Array:
        if is_integer:
            return np.zeros((3, *shape), dtype=np.int64)
        values = generator.normal(size=(3, *shape))
        if has_zeros and len(shape) > 1:
            values[1, shape[0] // 2 :] = 0
            values[2] = 0
        return values.astype(dtype)

    if isinstance(module.spec, int):
        return {TABLE: one((module.spec,), False)}
    return {name: one(part.shape, part.is_integer) for name, part in module.spec.items()}


def runnable(model: Any) -> Any:
    """Return a graph; raise a ValueError if onnxruntime cannot run it."""
    fault = _fault(model)
    if fault is not None:
        text = str(fault).strip().splitlines()[0]
        raise ValueError(f"onnxruntime cannot run the graph. {text}") from fault
    return model


def session_of(model: Any) -> Any:
    """Return what runs a graph."""
    runtime = import_optional("onnxruntime", needed_by="to_onnx", install=INSTALL)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _fault(model: Any) -> Exception | None:
    """Return why onnxruntime cannot run a graph; None if it can."""
    try:
        session_of(model)
    except Exception as error:  # noqa: BLE001 (its errors have no common class)
        return error
    return None


def _exported(module: DeployedNet, dtype: str) -> Any:
    """Return the graph, with any number of rows."""
    rows = random_rows(module, dtype)
    shapes = ({0: torch.export.Dim("rows")},) * len(rows)
    inputs = [f"{INSIDE}input{i}" for i in range(len(rows))]
    outputs = [f"{INSIDE}output{i}" for i in range(len(module.output_names))]
    first: Exception | None = None
    with _quietly(), torch.no_grad():
        for strict in (False, True):  # the latter follows what the former takes for constant
            try:
                program = torch.export.export(
                    Flat(module).eval(),
                    tuple(torch.tensor(values) for values in rows.values()),
                    dynamic_shapes=(shapes,),
                    strict=strict,
                )
                found = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=OPSET,
                    input_names=inputs,
                    output_names=outputs,
                    verbose=False,
                )
            except Exception as error:  # noqa: BLE001 (torch raises errors of many kinds)
                first = first or error
                continue
            assert found is not None
            final = [*input_names(module).values(), *module.output_names]
            return _named(found.model_proto, dict(zip([*inputs, *outputs], final, strict=True)))
    raise ValueError(
        f"the network has a part that has no counterpart in ONNX: {_culprits(module)}. "
        f"{type(first).__name__}: {str(first).strip().splitlines()[0]}"
    ) from first


def _named(model: Any, names: Mapping[str, str]) -> Any:
    """Return a graph with the final names of inputs and outputs, which nothing inside shares."""
    onnx = import_optional("onnx", needed_by="to_onnx", install=INSTALL)
    model = onnx.compose.add_prefix(model, INSIDE, rename_inputs=False, rename_outputs=False)
    for edge in (*model.graph.input, *model.graph.output):
        edge.name = names[edge.name]
    _rename(model.graph, names)
    return model


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    """Rename what the nodes of a graph, and of those inside them, take and make."""
    for node in graph.node:
        for edges in (node.input, node.output):
            edges[:] = [names.get(edge, edge) for edge in edges]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, names)


def _culprits(module: DeployedNet) -> str:
    """Return the parts that are none of mtlearn's or torch's, or else all of the network."""
    names = {
        type(part).__name__
        for part in module.modules()
        if not type(part).__module__.startswith(("torch.", "mtlearn."))
    }
    return f"probably {sorted(names)}" if names else "see the error of torch"


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch's remarks on its own inside from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    fast = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # it has no counterpart
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
