"""Writing a file whole or not at all."""

import errno
import os
import secrets
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
        If anything fails, such as a full disk. Nothing is left behind, and an old file stays.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        kind = IsADirectoryError if path.is_dir() else OSError
        raise kind(errno.EISDIR if path.is_dir() else errno.EINVAL, "not a regular file", str(path))
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
        _flush_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _named(error, path) from error
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what writes of a file that were cut off have left beside it."""
    for left in path.parent.glob(f".{path.name[:100]}.*.tmp"):
        left.unlink(missing_ok=True)


def _named(error: OSError, path: Path) -> OSError:
    """Return an error of the same kind that names the file."""
    number = error.errno or errno.EIO
    text = f"could not write, {os.strerror(number)}; what was there is kept"
    return OSError(number, text, str(path))


_BINARY = getattr(os, "O_BINARY", 0)  # Windows


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
