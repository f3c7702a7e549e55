"""Files of arrays and plain values, which are there as a whole, and checked when they are read."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtlearn._atomic import write_atomically
from mtlearn._typing import Array

__all__ = ["BROKEN", "DamagedFileError", "read_plain", "write_plain"]

MAGIC = b"mtlearn plain 1\n"
KINDS = "biuf"

# What broken content can raise before it is recognised as such.
BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
    try:
        decoder = _Decoder(body[8 + size :])
        found = decoder.decode(json.loads(bytes(body[8 : 8 + size])))
        decoder.check_end()
    except BROKEN as error:
        raise DamagedFileError(
            f"{str(path)!r} is no file of this kind ({type(error).__name__}: {str(error)[:200]})."
        ) from error
    return found


def _encode(value: Any, arrays: list[Array], where: str) -> Any:
    """Return what JSON can hold, and put arrays aside."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _encode(value.item(), arrays, where)
    if isinstance(value, np.ndarray) and value.dtype.kind in KINDS:
        arrays.append(np.ascontiguousarray(value))
        return {"$array": [value.dtype.str, list(value.shape)]}
    is_generator = isinstance(value, np.random.Generator)
    if is_generator and isinstance(value.bit_generator, np.random.PCG64):
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
                generator = np.random.Generator(np.random.PCG64(0))
                generator.bit_generator.state = self.decode(inner)
                return generator
            case "$tuple":
                return tuple(self.decode(item) for item in inner)
            case "$dict":
                return {key: self.decode(item) for key, item in inner}
        raise ValueError(f"it holds something of the unknown kind {kind[:40]!r}")

    def check_end(self) -> None:
        """Raise if there is more than was decoded."""
        if self.position != len(self.content):
            raise ValueError("it holds more than it says")

    def _array(self, dtype: str, shape: list[int]) -> Array:
        kind = np.dtype(dtype)
        if kind.kind not in KINDS or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"it holds an array of {dtype!r:.20} and of the shape {shape!r:.40}")
        end = self.position + math.prod(shape) * kind.itemsize
        if end > len(self.content):
            raise ValueError("it holds less than it says")
        found = np.frombuffer(self.content[self.position : end], kind)
        self.position = end
        return found.reshape(shape).copy()
