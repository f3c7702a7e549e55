"""Writing a file whole or not at all."""

import errno
import glob
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["remove_unfinished", "write_atomically"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its place, flush it to the disk, and put it there in one step.

    Parameters
    ----------
    path : Path
        The file; what it held before stays until the new content is complete.
    data : bytes
        The content.

    Raises
    ------
    OSError
        If anything fails, such as a full disk. Nothing is left behind, and an old file stays;
        unless only the folder could not be flushed, once the new file was in its place.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        kind = IsADirectoryError if path.is_dir() else OSError
        raise kind(errno.EISDIR if path.is_dir() else errno.EINVAL, "not a regular file", str(path))
    beside = path.with_name(f"{_beginning(path)}{secrets.token_hex(8)}.tmp")
    try:
        mode = stat.S_IMODE(path.stat().st_mode) & 0o777 if path.exists() else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # on Windows
        descriptor = os.open(beside, flags, 0o666 if mode is None else 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                beside.chmod(mode)  # before there is anything to read
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _named(error, path, "could not write", "what was there is kept") from error
        raise
    try:
        _flush_folder(path.parent)
    except OSError as error:
        what = "could not flush the folder"
        raise _named(error, path, what, "the new file is there") from error


def remove_unfinished(path: Path) -> None:
    """Remove what writes of a file that were cut off have left beside it."""
    for left in path.parent.glob(f"{glob.escape(_beginning(path))}*.tmp"):
        left.unlink(missing_ok=True)


def _beginning(path: Path) -> str:
    """Return how the names begin under which a file is written; names have at most 255 bytes."""
    return f".{path.name[:50]}."


def _named(error: OSError, path: Path, what: str, state: str) -> OSError:
    """Return an error of the same kind that names the file."""
    number = error.errno or errno.EIO
    return OSError(number, f"{what}, {os.strerror(number)}; {state}", str(path))


def _flush_folder(folder: Path) -> None:
    """Flush the entry of a new file to the disk, where folders can be flushed."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
