"""A fitted estimator as an ONNX file."""

import json
import os
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mtlearn._atomic import write_atomically
from mtlearn._optional import import_optional
from mtlearn._validation import naming
from mtlearn._version import VERSION
from mtlearn.deployment._deployed_net import DeployedNet, deployed
from mtlearn.deployment._find import find_parts
from mtlearn.deployment._onnx_check import check_on, check_on_random_rows
from mtlearn.deployment._onnx_export import INSTALL, OPSET, graph_of, input_names, runnable
from mtlearn.deployment._onnx_steps import joined, steps_as_onnx
from mtlearn.deployment._transforms import forward_of

__all__ = ["to_onnx"]


def to_onnx(
    fitted: Any,
    path: str | os.PathLike[str],
    outputs: Collection[str] | None = None,
    *,
    X: Any = None,
    dtype: str = "auto",
) -> Path:
    r"""Write a file that predicts without Python what a fitted estimator predicts.

    The graph takes any number of rows: the input ``"X"`` of a table, or, by their names, those of
    several inputs that the outputs need. It returns the tensors of `to_torch`, by the same names.
    An input that has the name of an output gets another: ``"X__input"``. Before the file is
    written, the graph is run by onnxruntime on random rows, and on those of `X`, and compared with
    the network.

    Parameters
    ----------
    fitted : estimator
        A fitted MultiOutputNet, MultiOutputNetRegressor or MultiOutputNetClassifier, a Pipeline
        that ends in one, or a search over either.
    path : str or path-like
        The file. It is there as a whole, or as it was before.
    outputs : list of str, default=None
        The outputs to keep; all that only the others need is left out. None for all that
        ``predict`` returns.
    X : array-like, Inputs or dict of array-like, default=None
        Rows as ``predict`` takes them, to compare the graph with the network on. Give some where
        skl2onnx converts steps of a Pipeline: random rows tell nothing of those.
    dtype : {"auto", "float32", "float64"}, default="auto"
        The floating point type of the inputs and of the network. "auto" takes that of the network,
        for inputs of a Pipeline "float64". Networks with layers that onnxruntime has in single
        precision only, such as convolutions and recurrent layers, are computed in it whatever the
        type of the inputs.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    ImportError
        If the packages that this needs are not installed.
    TypeError
        For anything else than such an estimator.
    ValueError
        For what `to_torch` refuses, and for a part, or a step of a Pipeline, that has no
        counterpart in ONNX; the message names it.
    RuntimeError
        If the graph does not predict the same to 1e-5: of probabilities, and of numbers in units
        of the target's scale, or of the largest one where they are far from zero.
    OSError
        If the file cannot be written.

    See Also
    --------
    mtlearn.deployment.to_torch : The same as a torch module; describes what is returned.

    Notes
    -----
    Classes are positions. The file has them, as JSON, in its metadata ``"mtlearn"``, beside the
    names of the features and the version of mtlearn. Sequences have as many steps as in fit: pad
    shorter ones.

    If `to_torch` does not know all steps of a Pipeline, they are converted by skl2onnx, in single
    precision where that has no other. They take a table of numbers; its columns are by position.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.deployment import to_onnx
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = MultiOutputNet(random_state=0).fit(X, y)
    >>> to_onnx(net, "net.onnx")  # doctest: +SKIP
    PosixPath('net.onnx')
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("net.onnx")  # doctest: +SKIP
    >>> price, kind, kind_proba = session.run(None, {"X": X})  # doctest: +SKIP
    """
    if dtype not in ("auto", "float32", "float64"):
        raise ValueError(f"to_onnx: `dtype` must be 'auto', 'float32' or 'float64'. Got {dtype!r}.")
    for name in ("onnx", "onnxruntime", "onnxscript"):
        import_optional(name, needed_by="to_onnx", install=INSTALL)
    net, steps = find_parts(fitted, "to_onnx")
    with naming("to_onnx"):
        model, module = _graph(net, steps, outputs, dtype)
        if X is not None:  # what is predicted of them must not suffer from single precision
            check_on(model, deployed(net, outputs, module.steps), net, steps, X)
        _describe(model, fitted, module)
        content = model.SerializeToString()
    write_atomically(Path(path), content)
    return Path(path)


def _graph(
    net: Any, steps: list[Any], outputs: Collection[str] | None, dtype: str
) -> tuple[Any, DeployedNet]:
    """Return the graph, and the module that it was made from, without what skl2onnx converts."""
    own = [forward_of(step) for step in steps]
    known = [part for part in own if part is not None]
    before = nn.Sequential(*known) if known and len(known) == len(own) else None
    own_type = (net.members_[0] if hasattr(net, "members_") else net)._recipe.dtype
    given = dtype if dtype != "auto" else "float64" if steps else own_type
    wanted = getattr(torch, own_type if dtype == "auto" else dtype)
    n_columns = None if before is None else steps[0].n_features_in_
    make = partial(deployed, net, outputs, before, n_columns=n_columns, for_onnx=True)
    model, module = graph_of(make, wanted, given)
    check_on_random_rows(model, module)
    if not steps or before is not None:
        return model, module
    table = next(iter(input_names(module).values()))
    first = None
    for kind in dict.fromkeys([given, "float32"] if dtype == "auto" else [given]):
        try:  # some converters know single precision only
            return runnable(joined(steps_as_onnx(steps, table, kind, OPSET), model)), module
        except ValueError as error:
            first = first or error
    assert first is not None
    raise first


def _describe(model: Any, fitted: Any, module: DeployedNet) -> None:
    """Put what a reader of the file has to know into its metadata."""
    onnx = import_optional("onnx", needed_by="to_onnx", install=INSTALL)
    model.producer_name, model.producer_version = "mtlearn", VERSION
    names = getattr(fitted, "feature_names_in_", None)
    known = {
        "version": VERSION,
        "outputs": module.names,
        "classes": {name: classes.tolist() for name, classes in module.classes.items()},
        "feature_names": None if names is None else [str(name) for name in names],
    }
    onnx.helper.set_model_props(model, {"mtlearn": json.dumps(known, sort_keys=True, default=str)})
