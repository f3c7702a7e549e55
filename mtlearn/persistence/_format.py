"""The number of the format, and which releases know it."""

import re
from typing import Any

from mtlearn._version import VERSION
from mtlearn.exceptions import ModelFileError

__all__ = ["FORMAT", "NEEDS", "check_format", "writer"]

# Raised by what an older release would misread; `NEEDS` is the first release that knows it. New
# classes, parameters with a default and fitted attributes that may be absent do not raise it.
FORMAT = 1
NEEDS = "0.1"


def check_format(header: Any) -> None:
    """Raise a ModelFileError for a header of a format that this release does not know."""
    if not isinstance(header, dict) or type(header.get("format")) is not int:
        raise ModelFileError("its header has no number of a format")
    if header["format"] > FORMAT:
        raise ModelFileError(
            f"it needs mtlearn {_version(header.get('needs'))} or newer; this is {VERSION}"
        )
    if header["format"] < 1:
        raise ModelFileError(f"its format has the number {header['format']}, which there never was")


def writer(header: Any) -> str:
    """Return the version that wrote a file."""
    versions = header.get("versions")
    return _version(versions.get("mtlearn") if isinstance(versions, dict) else None)


def _version(value: Any) -> str:
    known = isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z.+!-]{1,40}", value)
    return str(value) if known else "of an unknown version"
