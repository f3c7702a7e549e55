"""The weights of several predictions whose mean has the least error."""

from collections.abc import Iterator, Sequence

import numpy as np

from mtlearn._arrays import as_columns
from mtlearn._typing import Array, Floats

__all__ = ["find_weights"]

N_STEPS = 10


def find_weights(held: Sequence[Array], labels: Floats, weight: Floats) -> list[float]:
    """Return the weights of the mean with the least squared error on rows with a label."""
    columns = [as_columns(part) for part in held]
    known = np.all([np.isfinite(part).all(axis=1) for part in columns], axis=0)
    label_weight = np.broadcast_to(as_columns(weight), labels.shape) * known[:, None]
    if not label_weight.any():
        return [1 / len(held)] * len(held)
    rows = label_weight.any(axis=1)
    safe = np.where(label_weight[rows] > 0, labels[rows], 0.0)
    errors = {}
    for shares in _shares(len(held)):
        mean = sum(share * part[rows] for share, part in zip(shares, columns, strict=True))
        errors[shares] = float((label_weight[rows] * (safe - mean) ** 2).sum())
    return list(min(errors, key=lambda shares: (errors[shares], np.ptp(shares))))


def _shares(n_parts: int, left: int = N_STEPS) -> Iterator[tuple[float, ...]]:
    """Yield all weights of parts that are multiples of a step and sum to 1."""
    if n_parts == 1:
        yield (left / N_STEPS,)
        return
    for first in range(left + 1):
        for others in _shares(n_parts - 1, left - first):
            yield (first / N_STEPS, *others)
