"""Files of arrays and plain values, which are there as a whole, and checked when they are read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtlearn._atomic import write_atomically
from mtlearn._typing import Array

__all__ = ["DamagedFileError", "read_plain", "write_plain"]

MAGIC = b"mtlearn plain 1\n"
KINDS = "biuf"


class DamagedFileError(ValueError):
    """A file is not what was written."""


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
