"""The process-wide settings of torch that a fit needs, held and put back."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

__all__ = ["suspended_settings", "training_settings"]

# The threads of OpenMP do not survive a fork: a child that asks for more than one waits forever.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class _Held:
    """What the first of the fits that run at the same time found; the last one puts it back."""

    lock = threading.Lock()
    here = threading.local()
    n_fits = 0
    n_threads = 1
    generator_state = torch.empty(0)


@contextmanager
def training_settings(n_threads: int | None, seed: int) -> Iterator[None]:
    """Hold torch's thread count and seed its global generator while a fit runs.

    Fits in several threads share both: the first to begin remembers what it found, each restores
    the thread count of its thread, and the last to end restores the generator. Only a user's own
    module draws from the global generator; the parts of mtlearn have generators of their own.

    Parameters
    ----------
    n_threads : int or None
        Threads for torch's operators; None leaves the count as it is.
    seed : int
        The seed of torch's global CPU generator.
    """
    depth = getattr(_Held.here, "depth", 0)
    if depth == 0:
        _take(n_threads, lambda: torch.default_generator.manual_seed(seed))
    _Held.here.depth = depth + 1
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _Held.here.depth = depth
        if depth == 0:
            _give_back()


@contextmanager
def suspended_settings() -> Iterator[None]:
    """Give the settings of a fit back while it waits, and take them again afterwards."""
    n_threads, state = torch.get_num_threads(), torch.default_generator.get_state()
    depth, _Held.here.depth = _Held.here.depth, 0
    _give_back()
    try:
        yield
    finally:
        _Held.here.depth = depth
        _take(n_threads, lambda: torch.default_generator.set_state(state))


def _take(n_threads: int | None, set_generator: Callable[[], object]) -> None:
    with _Held.lock:
        if _Held.n_fits == 0:
            _Held.n_threads = torch.get_num_threads()
            _Held.generator_state = torch.default_generator.get_state()
            set_generator()
        if n_threads is not None and torch.get_num_threads() != n_threads:
            torch.set_num_threads(n_threads)
        _Held.n_fits += 1


def _give_back() -> None:
    with _Held.lock:
        _Held.n_fits -= 1
        if _Held.n_fits == 0:
            torch.default_generator.set_state(_Held.generator_state)
        if torch.get_num_threads() != _Held.n_threads:  # torch counts for each thread
            torch.set_num_threads(_Held.n_threads)
