"""A fitted estimator as an ONNX file."""

import json
import logging
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._atomic import write_atomically
from mtlearn._optional import import_optional
from mtlearn._typing import Array, Spec
from mtlearn._validation import naming
from mtlearn._version import VERSION
from mtlearn.deployment._deployed_net import DeployedNet, deployed
from mtlearn.deployment._find import find_parts
from mtlearn.deployment._onnx_steps import joined, steps_as_onnx
from mtlearn.deployment._transforms import forward_of
from mtlearn.estimators._view import transform

__all__ = ["to_onnx"]

OPSET = 18
INSTALL = '"scikit-mtlearn[onnx]"'
ONLY_SINGLES = (nn.Conv1d, nn.Conv2d, nn.RNNBase)
TYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(int64)": np.int64}
TABLE = "X"


def to_onnx(
    fitted: Any,
    path: str | os.PathLike[str],
    outputs: Collection[str] | None = None,
    *,
    X: Any = None,
    dtype: str = "auto",
) -> Path:
    r"""Write a file that predicts without Python what a fitted estimator predicts.

    The graph takes any number of rows: the input ``"X"`` of a table, or the inputs by their names.
    It returns the tensors of `to_torch`, by the same names. Before the file is written, the graph
    is run by onnxruntime on random rows, and on those of `X`, and compared with the network.

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
        If the graph does not predict the same to 1e-5.
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
            exact = deployed(net, outputs, module.steps)
            _check(model, exact, *_given_rows(net, steps, exact, X))
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
    spec: Spec = net._spec if before is None else steps[0].n_features_in_
    rows = _random_rows(spec, given, has_zeros=False)
    wanted = getattr(torch, own_type if dtype == "auto" else dtype)
    make = partial(deployed, net, outputs, before, for_onnx=True)
    model, module = _of_network(make, rows, wanted)
    for has_zeros in (False, True):
        rows = _random_rows(spec, "float64", has_zeros=has_zeros)
        for n_rows in (1, 3):
            some = {name: values[:n_rows].numpy() for name, values in rows.items()}
            _check(model, module, some, some)
    if not steps or before is not None:
        return model, module
    first = None
    for kind in dict.fromkeys([given, "float32"] if dtype == "auto" else [given]):
        try:  # some converters know single precision only
            return _runnable(joined(steps_as_onnx(steps, kind, OPSET, INSTALL), model)), module
        except ValueError as error:
            first = first or error
    assert first is not None
    raise first


def _of_network(
    make: Callable[..., DeployedNet], rows: Mapping[str, Tensor], dtype: torch.dtype
) -> tuple[Any, DeployedNet]:
    """Return a graph that onnxruntime can run, in single precision if it must, and its module."""
    module = make(dtype=dtype)
    if dtype == torch.float32:
        return _runnable(_exported(module, rows)), module
    if not any(isinstance(part, ONLY_SINGLES) for part in module.modules()):
        model = _exported(module, rows)
        if _fault(model) is None:
            return model, module
    module = make(dtype=torch.float32)
    return _runnable(_exported(module, rows)), module


def _runnable(model: Any) -> Any:
    """Return a graph; raise a ValueError if onnxruntime cannot run it."""
    fault = _fault(model)
    if fault is not None:
        text = str(fault).strip().splitlines()[0]
        raise ValueError(f"onnxruntime cannot run the graph. {text}") from fault
    return model


class _Flat(nn.Module):
    """The module with its inputs and outputs in a row."""

    def __init__(self, module: DeployedNet) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.module.inputs is None:
            return tuple(self.module(inputs[0]).values())
        return tuple(self.module(dict(zip(self.module.inputs, inputs, strict=True))).values())


def _exported(module: DeployedNet, rows: Mapping[str, Tensor]) -> Any:
    """Return the graph, with any number of rows."""
    flat = _Flat(module).eval()
    shapes = ({0: torch.export.Dim("rows")},) * len(rows)
    arguments = tuple(rows.values())
    first: Exception | None = None
    with _quietly(), torch.no_grad():
        for strict in (False, True):  # the latter follows what the former takes for constant
            try:
                program = torch.export.export(
                    flat, arguments, dynamic_shapes=(shapes,), strict=strict
                )
                found = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=OPSET,
                    input_names=list(rows),
                    output_names=module.output_names,
                    verbose=False,
                )
            except Exception as error:  # noqa: BLE001 (torch raises errors of many kinds)
                first = first or error
                continue
            assert found is not None
            return found.model_proto
    raise ValueError(
        f"the network has a part that has no counterpart in ONNX: {_culprits(module)}. "
        f"{type(first).__name__}: {str(first).strip().splitlines()[0]}"
    ) from first


def _culprits(module: DeployedNet) -> str:
    """Return the parts that are none of mtlearn's or torch's, or else all of the network."""
    names = {
        type(part).__name__
        for part in module.modules()
        if not type(part).__module__.startswith(("torch.", "mtlearn."))
    }
    return f"probably {sorted(names)}" if names else "see the error of torch"


def _random_rows(spec: Spec, dtype: str, *, has_zeros: bool) -> dict[str, Tensor]:
    """Return three rows, whose integers are 0; with `has_zeros`, sequences that end in zeros."""
    generator = np.random.default_rng(0)

    def one(shape: tuple[int, ...], is_integer: bool) -> Tensor:
        if is_integer:
            return torch.zeros(3, *shape, dtype=torch.int64)
        values = generator.normal(size=(3, *shape))
        if has_zeros and len(shape) > 1:
            values[1, shape[0] // 2 :] = 0
            values[2] = 0
        return torch.tensor(values.astype(dtype))

    if isinstance(spec, int):
        return {TABLE: one((spec,), False)}
    return {name: one(part.shape, part.is_integer) for name, part in spec.items()}


def _given_rows(
    net: Any, steps: list[Any], module: DeployedNet, X: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return a user's rows as the graph takes them, and as the module does."""
    if steps:
        rows = {TABLE: np.asarray(X, dtype=np.float64)}
        whole = module.steps is not None
        return rows, rows if whole else {TABLE: np.asarray(transform(X, steps))}
    found = net._check_X(X, reset=False)
    rows = {TABLE: found} if isinstance(found, np.ndarray) else dict(found.items())
    return rows, rows


def _check(
    model: Any, module: DeployedNet, rows: dict[str, Array], of_module: dict[str, Array]
) -> None:
    """Raise a RuntimeError unless the graph gives what the module gives."""
    session = _session(model)
    types = {one.name: TYPES[one.type] for one in session.get_inputs()}
    given = {name: values.astype(types[name]) for name, values in rows.items() if name in types}
    expected = _Flat(module)(*(torch.tensor(values) for values in of_module.values()))
    found = session.run(None, given)
    for name, ours, theirs in zip(module.output_names, expected, found, strict=True):
        if not _is_close(ours.numpy(), theirs):
            raise RuntimeError(
                f"the graph predicts of {name!r} {theirs.ravel()[:3]} and the network "
                f"{ours.numpy().ravel()[:3]}. Nothing was written."
            )


def _is_close(ours: Array, theirs: Array) -> bool:
    if ours.dtype.kind != "f":  # of equal chances either class may win
        return ours.shape == theirs.shape
    size = float(np.nanmax(np.abs(ours), initial=0.0)) or 1.0
    return bool(np.allclose(ours / size, theirs / size, rtol=0, atol=1e-5, equal_nan=True))


def _session(model: Any) -> Any:
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
        _session(model)
    except Exception as error:  # noqa: BLE001 (its errors have no common class)
        return error
    return None


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
