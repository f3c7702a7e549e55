"""Which rows a fit holds out to watch its losses on."""

import copy
from collections.abc import Collection
from typing import Any

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from mtlearn._arrays import as_columns
from mtlearn._engine._data import Rows
from mtlearn._random import part_seed
from mtlearn._typing import Array, ArrayLike

__all__ = ["AUTO_ROWS", "hold_out"]

AUTO_ROWS = 10_000


def hold_out(
    rows: Rows,
    validation_fraction: Any,
    *,
    trained: Collection[str],
    main_output: str | None,
    stratify: bool,
    groups: ArrayLike | None,
    seed: int,
) -> tuple[Rows, Rows]:
    """Split rows into those to train on and those to watch the losses on.

    A share is drawn from the rows with a label of the main output, or of any trained output; the
    other rows are trained on.

    Parameters
    ----------
    rows : Rows
        All rows.
    validation_fraction : float or cross-validation splitter
        The share of rows to watch, or a splitter whose first split is taken.
    trained : collection of str
        The outputs with weight in the loss.
    main_output : str or None
        The output to watch, and what a splitter sees as ``y``; None for all.
    stratify : bool
        Whether the share has the main output's classes in proportion.
    groups : array-like of shape (n_samples,) or None
        What the splitter shall not divide.
    seed : int
        The seed of the fit, and of a splitter without one.

    Returns
    -------
    training, validation : Rows
        The two parts.

    Raises
    ------
    ValueError
        If there are too few rows, no rows to watch, or an output without a label left to train on.
    """
    seed = part_seed(seed, "validation") % 2**32
    watched = sorted(trained)
    if main_output is not None and main_output in trained:
        watched = [main_output]
    y = None if main_output is None else rows.targets[main_output]
    labelled = np.any([as_columns(rows.weights[name]).any(axis=1) for name in watched], axis=0)
    if hasattr(validation_fraction, "split"):
        train, valid = _by_splitter(validation_fraction, rows.n_rows, y, groups, seed)
    else:
        if groups is not None:
            raise ValueError(
                "`groups` needs a splitter that respects them. Got validation_fraction="
                f"{validation_fraction!r}; pass validation_fraction=GroupShuffleSplit()."
            )
        pool = np.flatnonzero(labelled)
        strata = y[pool] if stratify and y is not None else None
        valid = pool[_by_share(float(validation_fraction), len(pool), strata, seed)]
        train = np.setdiff1d(np.arange(rows.n_rows), valid)
    training, validation = rows.take(train), rows.take(valid)
    empty = [name for name in trained if not training.weights[name].any()]
    if empty:
        raise ValueError(
            f"the held-out rows leave the outputs {empty} without a label to train on; lower "
            f"`validation_fraction`, or pass X_val and y_val."
        )
    if not any(validation.weights[name].any() for name in watched):
        raise ValueError(
            f"the held-out rows have no label of {watched}, which early stopping watches; raise "
            f"`validation_fraction`, or pass X_val and y_val."
        )
    return training, validation


def _by_splitter(
    splitter: Any, n_rows: int, y: Array | None, groups: ArrayLike | None, seed: int
) -> tuple[Array, Array]:
    if isinstance(splitter, type):
        raise ValueError(
            f"`validation_fraction` must be an instance. Got the class; write "
            f"{splitter.__name__}()."
        )
    splitter = copy.copy(splitter)
    if getattr(splitter, "random_state", 0) is None and getattr(splitter, "shuffle", True):
        splitter.random_state = seed
    labels = np.zeros(n_rows) if y is None else y
    for train, valid in splitter.split(np.zeros((n_rows, 1)), labels, groups):
        return train, valid
    raise ValueError(f"`validation_fraction` must give a split. {splitter!r} gave none.")


def _by_share(share: float, n_rows: int, strata: Array | None, seed: int) -> Array:
    """Return the positions of the rows to watch; a class of a single row is never among them."""
    if n_rows < 2:
        raise ValueError(
            f"early stopping needs at least 2 rows with labels. Got n_samples = {n_rows}; pass "
            f"early_stopping=False, or X_val and y_val."
        )
    size = min(max(1, round(share * n_rows)), n_rows - 1)
    if strata is not None:
        _, codes, counts = np.unique(strata.astype(str), return_inverse=True, return_counts=True)
        pool = np.flatnonzero(counts[codes] > 1)
        n_classes = int((counts > 1).sum())
        size = min(size, len(pool) - 1)
        if 0 < n_classes <= min(size, len(pool) - size):
            splitter = StratifiedShuffleSplit(1, test_size=size, random_state=seed)
            return pool[next(splitter.split(pool, codes[pool]))[1]]
        size = max(size, 1)
    splitter = ShuffleSplit(1, test_size=size, random_state=seed)
    return next(splitter.split(np.zeros(n_rows)))[1]
