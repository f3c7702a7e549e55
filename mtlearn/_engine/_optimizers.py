"""Optimizers by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

__all__ = ["OPTIMIZERS", "find_optimizer"]

# Fused kernels update all parameters in one call; on small nets that is most of a step's time.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, fused=True),
}


def find_optimizer(optimizer: str | Callable[..., Any]) -> Callable[..., torch.optim.Optimizer]:
    """Return what makes the optimizer: a name's entry, or the class or partial as given."""
    return OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
