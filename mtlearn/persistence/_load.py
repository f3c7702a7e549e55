"""Loading a fitted estimator."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlearn._plain_files import BROKEN
from mtlearn._version import VERSION
from mtlearn.exceptions import ModelFileError
from mtlearn.persistence._container import as_text, parse, unpack
from mtlearn.persistence._decode import Decoder
from mtlearn.persistence._format import check_format, writer
from mtlearn.persistence._registry import NETS

__all__ = ["load"]

_FIELDS = {"format", "needs", "versions", "class", "given", "estimator"}


def load(
    path: str | os.PathLike[str],
    *,
    objects: Mapping[str, Any] | None = None,
    max_bytes: int = 2**32,
) -> Any:
    """Load a fitted estimator from a file of `save`.

    No code from the file is run, and no class is looked up by a name in it but those of a fixed
    list of mtlearn's own. The file's size, its digest, its header and the shapes of its tensors are
    checked, in this order, before the network is made.

    Parameters
    ----------
    path : str or path-like
        The file.
    objects : dict of str to Any, default=None
        What the file does not hold because it is not mtlearn's own, by the names that `load` asks
        for: ``{"trunk": module}`` or ``{"heads__price__loss": function}``. Of a target's
        transformer it is the fitted one, ``{"heads__price__transformer_": fitted}``. A part of a
        class of your own needs the class, by its name.
    max_bytes : int, default=4294967296
        The size of file to read at most.

    Returns
    -------
    MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier or OnlineMultiOutputNet
        The estimator. On the same platform it predicts the same, bit for bit.

    Raises
    ------
    mtlearn.exceptions.ModelFileError
        If the file is damaged, of another kind, of a newer format, or needs other `objects`.
    OSError
        If the file is not there or cannot be read.

    See Also
    --------
    mtlearn.persistence.save : Save such a file.

    Notes
    -----
    Files of release 1.0 and later are loaded by every later release. The objects that you pass are
    used as they are: their code runs, as it did in the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.persistence import load, save
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> trunk = nn.Sequential(nn.Linear(1, 8), nn.Tanh())
    >>> net = MultiOutputNet(trunk, max_epochs=3, random_state=0).fit(X, {"y": X[:, 0]})
    >>> path = getfixture("tmp_path") / "net.safetensors"
    >>> save(net, path)
    >>> load(path, objects={"trunk": trunk}).predict(X) == net.predict(X)
    True
    """
    path = Path(path)
    data = _read(path, max_bytes)
    header: dict[str, Any] = {}
    try:
        text, tensors = unpack(data)
        del data
        header = parse(text)
        check_format(header)
        if set(header) != _FIELDS or as_text(header) != text:
            raise ModelFileError("its header is not written as `save` writes it")
        decoder = Decoder(tensors, _needed(header), objects or {})
        net = decoder.decode(header["estimator"])
        if not isinstance(net, tuple(NETS.values())):
            raise ModelFileError("it holds no estimator")
        if header["class"] != type(net).__name__:
            raise ModelFileError(f"it holds a {type(net).__name__}, and names another class")
        if tensors:
            raise ModelFileError(f"it holds tensors that nothing needs: {sorted(tensors)[:5]}")
    except (*BROKEN, MemoryError) as error:
        raise ModelFileError(_message(path, header, error)) from error
    return net


def _read(path: Path, max_bytes: int) -> bytes:
    _check_status(path, path.stat(), max_bytes)
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        _check_status(path, status, max_bytes)  # another file may have taken its place
        return file.read(status.st_size)


def _check_status(path: Path, status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{path}: it is not a regular file.")
    if status.st_size > max_bytes:
        raise ModelFileError(
            f"{path}: it has {status.st_size:,} bytes, more than `max_bytes`, {max_bytes:,}."
        )


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _needed(header: dict[str, Any]) -> dict[str, str]:
    needed = header["given"]
    if not isinstance(needed, dict) or not all(isinstance(v, str) for v in needed.values()):
        raise ModelFileError("it has no list of the objects that it needs")
    return needed


def _message(path: Path, header: Any, error: BaseException) -> str:
    text = str(error)
    if isinstance(error, MemoryError):
        text = "there is not enough memory for it"
    elif not isinstance(error, ModelFileError):
        text = f"its content is not what `save` writes ({type(error).__name__}: {text[:1000]})"
    text = f"{path}: {text.rstrip('.')[:2000]}."
    found = writer(header) if isinstance(header, dict) else VERSION
    if header and found != VERSION:
        text += f" It was written by mtlearn {found}; this is {VERSION}."
    return text
