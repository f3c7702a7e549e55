"""Files of arrays and plain values, which are there as a whole, and checked when they are read."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mtlearn._typing import Array

__all__ = ["DamagedFileError", "read_plain", "remove_unfinished", "write_atomically", "write_plain"]

MAGIC = b"mtlearn plain 1\n"
KINDS = "biuf"


class DamagedFileError(ValueError):
    """A file is not what was written."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file such that a reader, or a power cut, finds the old one or the new one.

    Raises
    ------
    OSError
        If it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _named(error, path) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise _named(error, path) from error
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what writes of a file that were cut off have left beside it."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def write_plain(path: Path, value: Any) -> None:
    """Write arrays and plain values to a file, atomically.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        For a value that is neither.
    """
    arrays: list[Array] = []
    header = json.dumps(_encode(value, arrays, "state"), separators=(",", ":")).encode()
    body = b"".join([len(header).to_bytes(8, "little"), header, *(a.tobytes() for a in arrays)])
    write_atomically(path, MAGIC + hashlib.sha256(body).digest() + body)


def read_plain(path: Path) -> Any:
    """Return what `write_plain` wrote.

    Raises
    ------
    DamagedFileError
        If the file is anything else.
    OSError
        If it cannot be read.
    """
    content = path.read_bytes()
    start = len(MAGIC) + 32
    body = memoryview(content)[start:]
    digest = content[len(MAGIC) : start]
    if not content.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
        raise DamagedFileError(f"{str(path)!r} is damaged: its content is not what was written.")
    size = int.from_bytes(body[:8], "little")
    return _Decoder(body[8 + size :]).decode(json.loads(bytes(body[8 : 8 + size])))


def _named(error: OSError, path: Path) -> OSError:
    """Return an error of the same kind that names the file."""
    number = error.errno or errno.EIO
    text = f"could not write, {os.strerror(number)}; what was there is kept"
    return OSError(number, text, str(path))


def _sync_folder(folder: Path) -> None:
    """Make the name of a file last; some systems cannot, or need not."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _encode(value: Any, arrays: list[Array], where: str) -> Any:
    """Return what JSON can hold, and put arrays aside."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _encode(value.item(), arrays, where)
    if isinstance(value, np.ndarray) and value.dtype.kind in KINDS:
        arrays.append(np.ascontiguousarray(value))
        return {"$array": [value.dtype.str, list(value.shape)]}
    if isinstance(value, np.random.Generator):
        return {"$generator": _encode(value.bit_generator.state, arrays, where)}
    if isinstance(value, list | tuple):
        items = [_encode(item, arrays, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping) and all(isinstance(key, str | int) for key in value):
        pairs = [[key, _encode(item, arrays, f"{where}[{key!r}]")] for key, item in value.items()]
        return {"$dict": pairs}
    raise TypeError(f"{where} must be an array or a plain value. Got {type(value).__name__}.")


class _Decoder:
    """Turns JSON back; takes arrays from the bytes in the order in which they were put there."""

    def __init__(self, content: memoryview) -> None:
        self.content, self.position = content, 0

    def decode(self, value: Any) -> Any:
        """Return what was encoded."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, inner),) = value.items()
        match kind:
            case "$array":
                return self._array(*inner)
            case "$generator":
                state = self.decode(inner)
                generator = np.random.Generator(getattr(np.random, state["bit_generator"])())
                generator.bit_generator.state = state
                return generator
            case "$tuple":
                return tuple(self.decode(item) for item in inner)
        return {key: self.decode(item) for key, item in inner}

    def _array(self, dtype: str, shape: list[int]) -> Array:
        count = int(np.prod(shape, dtype=np.int64))
        kind = np.dtype(dtype)
        found = np.frombuffer(self.content, kind, count, self.position)
        self.position += count * kind.itemsize
        return found.reshape(shape).copy()
