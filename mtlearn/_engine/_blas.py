"""The threads of BLAS."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["blas_threads"]


class _Held:
    """The thread count, which is that of the process: the last to hold it restores it."""

    lock = Lock()
    n_users = 0
    limit: Any = None


@contextmanager
def blas_threads(n_threads: int | None) -> Iterator[None]:
    """Hold the number of threads of numpy's and scipy's linear algebra.

    For small matrices more than one takes longer, by far where other processes use the cores.
    Where several threads of the process hold it, the first has its will.

    Parameters
    ----------
    n_threads : int or None
        The number; None leaves it as it is.
    """
    if n_threads is None:
        yield
        return
    with _Held.lock:
        if _Held.n_users == 0:
            _Held.limit = _libraries().limit(limits=n_threads)
        _Held.n_users += 1
    try:
        yield
    finally:
        with _Held.lock:
            _Held.n_users -= 1
            if _Held.n_users == 0:
                _Held.limit.restore_original_limits()


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
