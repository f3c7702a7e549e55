"""Seeds: one for each named part, so that the order of outputs never changes a draw."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from mtlearn._typing import RandomState

__all__ = ["part_seed", "root_seed", "seeded"]

_LOCK = threading.RLock()


def root_seed(random_state: RandomState) -> int:
    """Return the seed that all seeds of one fit come from.

    None draws fresh entropy and leaves numpy's global generator alone; a RandomState is advanced,
    as scikit-learn's convention has it.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state)


def part_seed(root: int, name: str) -> int:
    """Return the seed of the part called `name`: the same at any position, in any process."""
    digest = hashlib.sha256(f"{root}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator and its default type inside, then restore both.

    One thread at a time may do so. Weights are drawn in float32 whatever the caller's default, so
    that it changes no draw.
    """
    with _LOCK:
        state, dtype = torch.default_generator.get_state(), torch.get_default_dtype()
        torch.default_generator.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.default_generator.set_state(state)
            torch.set_default_dtype(dtype)
