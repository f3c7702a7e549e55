"""Which rows a fit holds out to watch its losses on."""

from typing import Any

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from mtlearn._engine._data import Rows
from mtlearn._random import part_seed
from mtlearn._typing import Array, ArrayLike
from mtlearn.heads import ClassHead, Head

__all__ = ["AUTO_ROWS", "hold_out"]

AUTO_ROWS = 10_000


def hold_out(
    rows: Rows,
    validation_fraction: Any,
    main_output: str | None,
    head: Head | None,
    groups: ArrayLike | None,
    seed: int,
) -> tuple[Rows, Rows]:
    """Split rows into those to train on and those to watch the losses on.

    Parameters
    ----------
    rows : Rows
        All rows.
    validation_fraction : float or cross-validation splitter
        The share of rows to watch, or a splitter whose first split is taken.
    main_output : str or None
        The output that a splitter sees as ``y``.
    head : Head or None
        Its head: a share of rows is stratified by its classes.
    groups : array-like of shape (n_samples,) or None
        What the splitter shall not divide.
    seed : int
        The seed of the fit.

    Returns
    -------
    training, validation : Rows
        The two parts.

    Raises
    ------
    ValueError
        If there are too few rows, the splitter has another opinion of `groups`, or an output has
        no label left in the training part.
    """
    n_rows = len(rows.X)
    y = None if main_output is None else rows.targets[main_output]
    splitter = validation_fraction
    if not hasattr(splitter, "split"):
        if groups is not None:
            raise ValueError(
                "`groups` needs a splitter that respects them. Got validation_fraction="
                f"{validation_fraction!r}; pass validation_fraction=GroupShuffleSplit()."
            )
        if n_rows < 2:
            raise ValueError(
                f"early stopping needs at least 2 rows. Got n_samples = {n_rows}; pass "
                f"early_stopping=False, or X_val and y_val."
            )
        size = min(max(1, round(float(validation_fraction) * n_rows)), n_rows - 1)
        kind = StratifiedShuffleSplit if _can_stratify(y, head, size) else ShuffleSplit
        splitter = kind(1, test_size=size, random_state=part_seed(seed, "validation") % 2**32)
        y = y if kind is StratifiedShuffleSplit else None
    labels = np.zeros(n_rows) if y is None else y
    train, valid = next(iter(splitter.split(np.zeros((n_rows, 1)), labels, groups)))
    training, validation = rows.take(train), rows.take(valid)
    empty = [name for name, weight in training.weights.items() if not weight.any()]
    if empty:
        raise ValueError(
            f"the held-out rows leave the outputs {empty} without a label to train on; lower "
            f"`validation_fraction`, or pass X_val and y_val."
        )
    if main_output is not None and not validation.weights[main_output].any():
        raise ValueError(
            f"the held-out rows have no label of output {main_output!r}, which early stopping "
            f"watches; raise `validation_fraction`, or pass X_val and y_val."
        )
    return training, validation


def _can_stratify(y: Array | None, head: Head | None, size: int) -> bool:
    if y is None or y.ndim != 1 or not isinstance(head, ClassHead):
        return False
    _, counts = np.unique(y.astype(str), return_counts=True)
    return counts.min() >= 2 and len(counts) <= min(size, len(y) - size)
