"""Which rows a member of an ensemble holds out."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from mtlearn._arrays import missing_mask
from mtlearn._typing import Array

__all__ = ["MemberFold"]


@dataclass(frozen=True)
class MemberFold:
    """A splitter whose first split holds out the fold of one member.

    Parameters
    ----------
    validation_fraction : float or cross-validation splitter
        The share of rows to hold out, at most; or a splitter, whose splits the members share.
    member : int
        The position of the member.
    n_members : int
        How many there are.
    seed : int
        Shuffles the rows, in the same way for all members.
    """

    validation_fraction: Any
    member: int
    n_members: int
    seed: int

    def split(self, X: Array, y: Array, groups: Any = None) -> Iterator[tuple[Array, Array]]:
        """Yield the rows to train on and those held out."""
        splitter = self.validation_fraction
        if hasattr(splitter, "split"):
            splitter = copy.copy(splitter)
            if getattr(splitter, "random_state", 0) is None and getattr(splitter, "shuffle", True):
                splitter.random_state = self.seed
            splits = list(splitter.split(X, y, groups))
            yield splits[self.member % len(splits)]
            return
        pool = np.flatnonzero(~missing_mask(y)) if y.ndim == 1 else np.arange(len(X))
        n_folds = min(max(self.n_members, round(1 / float(splitter))), len(pool))
        if n_folds < 2:
            raise ValueError(
                f"early stopping needs at least 2 rows with labels. Got {len(pool)}; pass "
                f"early_stopping=False, or X_val and y_val."
            )
        folds = [held for _, held in _make_folds(y[pool], n_folds, self.seed).split(pool, y[pool])]
        size = min(map(len, folds))  # members of one size are trained side by side
        held = pool[folds[self.member % n_folds][:size]]
        yield np.setdiff1d(np.arange(len(X)), held), held


def _make_folds(y: Array, n_folds: int, seed: int) -> Any:
    """Return folds, with the classes in proportion where there are enough rows of each."""
    if y.ndim == 1 and y.dtype.kind != "f":
        _, counts = np.unique(y.astype(str), return_counts=True)
        if counts.min() >= n_folds:
            return StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    return KFold(n_folds, shuffle=True, random_state=seed)
