"""The steps of a Pipeline before the network as an ONNX graph, by skl2onnx."""

import copy
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from mtlearn._optional import import_optional
from mtlearn.deployment._onnx_export import INSTALL

__all__ = ["joined", "steps_as_onnx"]

MADE = "steps__made"


def steps_as_onnx(steps: list[Any], table: str, dtype: str, opset: int) -> Any:
    """Return a graph of fitted transformers, from a table of numbers to one.

    Parameters
    ----------
    steps : list of transformer
        The transformers.
    table : str
        The name of the graph's input.
    dtype : {"float32", "float64"}
        Its type.
    opset : int
        The version of ONNX's operators.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.
    ValueError
        If it cannot convert some of them.
    """
    convert = import_optional("skl2onnx", needed_by="to_onnx of such a Pipeline", install=INSTALL)
    kinds = import_optional(
        "skl2onnx.common.data_types", needed_by="to_onnx of such a Pipeline", install=INSTALL
    )
    kind = kinds.DoubleTensorType if dtype == "float64" else kinds.FloatTensorType
    pipeline = Pipeline([(f"step{i}", by_position(step)) for i, step in enumerate(steps)])
    try:
        return convert.convert_sklearn(
            pipeline,
            initial_types=[(table, kind([None, steps[0].n_features_in_]))],
            target_opset={"": opset, "ai.onnx.ml": 3},
        )
    except Exception as error:  # its errors have no common class
        names = [type(step).__name__ for step in steps]
        raise ValueError(
            f"the steps {names} of the Pipeline have no counterpart in ONNX for a table of "
            f"numbers. Write the last step by itself, to_onnx(pipeline[-1], path), and transform "
            f"rows before by pipeline[:-1].transform. {type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error


def by_position(step: Any) -> Any:
    """Return a transformer whose columns, if it chooses some, have positions in place of names."""
    if isinstance(step, Pipeline):
        return Pipeline([(name, by_position(one)) for name, one in step.steps])
    if not isinstance(step, ColumnTransformer):
        return step
    names = list(getattr(step, "feature_names_in_", []))
    found = copy.copy(step)
    found.transformers_ = [
        (name, by_position(part), _positions(columns, names, step.n_features_in_))
        for name, part, columns in step.transformers_
    ]
    return found


def _positions(columns: Any, names: list[str], n_columns: int) -> Any:
    """Return the positions of the columns that a ColumnTransformer gives to one of its parts."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):  # the last is in it
            first = 0 if columns.start is None else names.index(columns.start)
            after = None if columns.stop is None else names.index(columns.stop) + 1
            columns = slice(first, after, columns.step)
        return list(range(n_columns)[columns])
    if isinstance(columns, str) or np.ndim(columns) == 0:
        return names.index(columns) if isinstance(columns, str) else columns
    if len(columns) and all(isinstance(one, bool | np.bool_) for one in columns):
        return np.flatnonzero(columns).tolist()
    return [names.index(c) if isinstance(c, str) else range(n_columns)[c] for c in columns]


def joined(first: Any, second: Any) -> Any:
    """Return one graph after the other."""
    onnx = import_optional("onnx", needed_by="to_onnx", install=INSTALL)
    first = onnx.compose.add_prefix(first, "steps__", rename_inputs=False)
    second = onnx.compose.add_prefix(second, "net__", rename_outputs=False, rename_functions=False)
    made, wanted = first.graph.output[0], second.graph.input[0]
    kind = wanted.type.tensor_type.elem_type
    if made.type.tensor_type.elem_type != kind:
        cast = onnx.helper.make_node("Cast", [made.name], [MADE], to=kind, name="steps__cast")
        first.graph.node.append(cast)
        made.name = MADE
        made.type.tensor_type.elem_type = kind
    versions = {one.domain: one.version for one in first.opset_import}
    # The operators of the steps are those of the later version too: it was asked for.
    versions |= {one.domain: one.version for one in second.opset_import}
    for model in (first, second):
        del model.opset_import[:]
        model.opset_import.extend(
            onnx.helper.make_opsetid(domain, version) for domain, version in versions.items()
        )
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    return onnx.compose.merge_models(first, second, io_map=[(made.name, wanted.name)])
