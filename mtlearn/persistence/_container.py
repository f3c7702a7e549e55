"""The container: a safetensors file with a text in its header, and the digest of both."""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from mtlearn._typing import Array
from mtlearn.exceptions import ModelFileError

__all__ = ["DTYPES", "HEADER_LIMIT", "TEXT_LIMIT", "as_text", "pack", "parse", "unpack"]

# How long a header is at most, how deeply it is nested, and how large its arrays of texts are.
HEADER_LIMIT, DEPTH_LIMIT, TEXT_LIMIT = 2**24, 64, 2**26

# The types of numbers, by the names that safetensors has for them.
DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}

# A file begins with the length of its header, and the header with these letters; the digest
# follows at once, and then the text. So it is found before anything is parsed.
_START = b'{"__metadata__":{"mtlearn":"'
_DIGEST = 8 + len(_START)
_TEXT = _DIGEST + 64

_OTHER_FILES = {
    b"\x80": "a pickle",
    b"PK": "a zip archive, such as torch.save, Keras and skops write",
    b"\x89HDF": "an HDF5 file",
}


def pack(text: str, tensors: Mapping[str, Array]) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    text : str
        What is no tensor, as ASCII.
    tensors : mapping of str to ndarray
        The tensors, of the types in `DTYPES`.

    Returns
    -------
    bytes
        A file that safetensors can read, with a SHA-256 of all of it but the digest itself.

    Raises
    ------
    ValueError
        If the header is longer, or nested more deeply, than a reader takes.
    RuntimeError
        If safetensors writes another header than the releases that are known.
    """
    _check_depth(text)
    data = bytearray(save(dict(tensors), {"mtlearn": "0" * 64 + text}))
    if data[8:_DIGEST] != _START:
        raise RuntimeError("this version of safetensors writes its header in another order.")
    if _header_length(data) > HEADER_LIMIT:
        raise ValueError(
            f"the description of the estimator takes {_header_length(data):,} bytes, more than the "
            f"{HEADER_LIMIT:,} that a model file may have beside its tensors."
        )
    data[_DIGEST:_TEXT] = _digest(data)
    return bytes(data)


def unpack(data: bytes) -> tuple[str, dict[str, Array]]:
    """Return the text and the tensors of a file; see `pack`.

    Raises
    ------
    ModelFileError
        For anything but what `pack` returns, before more is allocated than the file has bytes.
    """
    for start, kind in _OTHER_FILES.items():
        if data.startswith(start) and data[8:_DIGEST] != _START:
            _refuse(f"it is {kind}, and no file of mtlearn.persistence.save")
    if len(data) < _TEXT or data[8:_DIGEST] != _START:
        _refuse("it is no file of mtlearn.persistence.save, or its beginning is damaged")
    length = _header_length(data)
    if length > HEADER_LIMIT or 8 + length > len(data):
        _refuse("the length of its header is wrong: it is damaged or cut off")
    if data[_DIGEST:_TEXT] != _digest(data):
        _refuse("its content does not have the digest that it was saved with: it is damaged")
    header = parse(str(data[8 : 8 + length], "utf-8", "replace"))
    _check_header(header)
    try:
        found = deserialize(data)
    except SafetensorError as error:
        raise ModelFileError(f"its tensors are no safetensors: {error}") from error
    tensors = {}
    for name, tensor in found:
        values = np.frombuffer(tensor["data"], DTYPES[header[name]["dtype"]])
        tensors[name] = values.reshape(tensor["shape"])
    return header["__metadata__"]["mtlearn"][64:], tensors


def as_text(value: Any) -> str:
    """Return a value as JSON, in the one way of writing that a file may have."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def parse(text: str) -> Any:
    """Return what a text in JSON says; finite numbers only, and no key twice."""
    _check_depth(text)
    try:
        return json.loads(
            text, object_pairs_hook=_without_repeats, parse_constant=_finite, parse_float=_finite
        )
    except (RecursionError, ValueError) as error:
        raise ModelFileError(f"its header is no JSON as `save` writes it: {error}") from error


def _check_header(header: Any) -> None:
    if not isinstance(header, dict) or set(header["__metadata__"]) != {"mtlearn"}:
        _refuse("its header has other fields than `save` writes")
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            _refuse(f"the tensor {name[:100]!r} has other fields than `save` writes")
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
            _refuse(f"the tensor {name[:100]!r} has no type that `save` writes")


def _check_depth(text: str) -> None:
    """Raise for brackets inside more brackets than `save` writes."""
    outside, in_string = [], False
    for piece in text.split('"'):
        if in_string:
            backslashes = len(piece) - len(piece.rstrip("\\"))
            in_string = backslashes % 2 == 1  # the quote was escaped, and belongs to the string
        else:
            outside.append(piece)
            in_string = True
    brackets = re.sub(r"[^][{}]+", "", "".join(outside)).replace("{", "[").replace("}", "]")
    for _ in range(DEPTH_LIMIT):
        brackets = brackets.replace("[]", "")
    if brackets:
        _refuse(f"its header is nested more than {DEPTH_LIMIT} times, or has no end")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _header_length(data: bytes | bytearray) -> int:
    return struct.unpack("<Q", data[:8])[0]


def _digest(data: bytes | bytearray) -> bytes:
    view = memoryview(data)
    digest = hashlib.sha256(view[:_DIGEST])
    digest.update(view[_TEXT:])
    return digest.hexdigest().encode()


def _refuse(why: str) -> NoReturn:
    raise ModelFileError(why)
