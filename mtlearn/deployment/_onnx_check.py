"""The comparison of an ONNX graph with the network that it was made from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mtlearn._typing import Array
from mtlearn.deployment._deployed_net import DeployedNet
from mtlearn.deployment._onnx_export import TABLE, Flat, input_names, random_rows, session_of
from mtlearn.estimators._view import transform

__all__ = ["check_on", "check_on_random_rows"]

TOLERANCE = 1e-5
TYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(int64)": np.int64}


def check_on_random_rows(model: Any, module: DeployedNet) -> None:
    """Compare a graph with its module on rows that have the shape of those of fit.

    Raises
    ------
    RuntimeError
        If they differ.
    """
    session = session_of(model)
    for has_zeros in (False, True):
        rows = random_rows(module, "float64", has_zeros=has_zeros)
        for n_rows in (1, 3):
            some = {name: values[:n_rows] for name, values in rows.items()}
            _check(session, module, some, some)


def check_on(model: Any, module: DeployedNet, net: Any, steps: list[Any], X: Any) -> None:
    """Compare a graph with a network on a user's rows.

    Parameters
    ----------
    model : onnx.ModelProto
        The graph, of all steps and the network.
    module : DeployedNet
        The network, with the steps or without.
    net : BaseMultiOutputNet
        Its estimator.
    steps : list of transformer
        What is before it.
    X : array-like, Inputs or dict of array-like
        The rows, as the first step takes them.

    Raises
    ------
    RuntimeError
        If they differ.
    """
    if steps:
        given = {TABLE: np.asarray(X, dtype=np.float64)}
        is_whole = module.steps is not None
        taken = given if is_whole else {TABLE: np.asarray(transform(X, steps))}
    else:
        found = net._check_X(X, reset=False)
        given = taken = {TABLE: found} if isinstance(found, np.ndarray) else dict(found.items())
    _check(session_of(model), module, given, taken)


def _check(
    session: Any, module: DeployedNet, given: Mapping[str, Array], taken: Mapping[str, Array]
) -> None:
    """Raise a RuntimeError unless the graph makes of rows what the module makes of them."""
    types = {one.name: TYPES[one.type] for one in session.get_inputs()}
    names = input_names(module)
    rows = {new: given[name].astype(types[new]) for name, new in names.items()}
    expected = Flat(module)(*(torch.tensor(taken[name]) for name in names))
    units = module.units()
    for name, ours, theirs in zip(
        module.output_names, expected, session.run(None, rows), strict=True
    ):
        unit = units[name].numpy() if name in units else 1.0
        if not _is_close(ours.numpy(), theirs, unit):
            raise RuntimeError(
                f"the graph predicts of {name!r} {theirs.ravel()[:3]} and the network "
                f"{ours.numpy().ravel()[:3]}. Nothing was written."
            )


def _is_close(ours: Array, theirs: Array, unit: Any) -> bool:
    """Tell whether predictions are the same, each column as its numbers are large or vary."""
    if ours.shape != theirs.shape or ours.dtype.kind != "f":  # of equal chances either may win
        return ours.shape == theirs.shape
    largest = np.nanmax(np.abs(ours), axis=0, initial=0.0)
    size = np.maximum(np.where(np.isfinite(unit), unit, 0.0), largest)
    size = np.where(size > 0, size, 1.0)
    return bool(np.allclose(ours / size, theirs / size, rtol=0, atol=TOLERANCE, equal_nan=True))
