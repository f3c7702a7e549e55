"""What heads for numbers share: labels as floats, and the scale of a target."""

import numpy as np
from sklearn.metrics import r2_score

from mtlearn._arrays import as_columns, homogeneous
from mtlearn._typing import Array, Floats

__all__ = [
    "as_numbers",
    "center_and_scale",
    "check_one_column",
    "share_explained",
    "weighted_r2",
]


def as_numbers(y: Array, weight: Floats, owner: str) -> Floats:
    """Return floats, zero where a label has no weight.

    Raises
    ------
    ValueError
        For labels that are no numbers, or not finite; `owner` is who complains.
    """
    present = weight > 0
    values = np.zeros(y.shape)
    try:
        if homogeneous(y[present]).dtype.kind in "cmMV":
            raise TypeError
        values[present] = y[present].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{owner} needs numbers. Got values of type {y.dtype} such as "
            f"{y[present].ravel()[0]!r}; use a Classification head for classes."
        ) from error
    n_infinite = int(np.isinf(values).sum())
    if n_infinite:
        raise ValueError(f"{owner} needs finite numbers. Got infinity in {n_infinite} labels.")
    return values


def check_one_column(y: Array, owner: str) -> None:
    """Raise a ValueError unless there is one number per row."""
    if y.ndim != 1:
        raise ValueError(
            f"{owner} needs one number per row. Got the shape {y.shape}; use one output per column."
        )


def center_and_scale(
    values: Floats, weight: Floats, *, more_to_come: bool
) -> tuple[Floats, Floats, bool]:
    """Return the weighted mean and standard deviation of each column; 0 for a constant one.

    With `more_to_come` a constant column has its size for a scale, and 1 for zeros.

    Returns
    -------
    center, scale : ndarray of shape (n_columns,)
        The scale of each column.
    is_guessed : bool
        Whether the scale of some column is such a guess.
    """
    center, scale = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for j in range(values.shape[1]):
        rows = weight[:, j] > 0
        column, share = values[rows, j], weight[rows, j]
        if len(column) == 0:
            continue
        unit = np.abs(column).max() or 1.0  # squares of 1e200 overflow
        column = column / unit
        if np.ptp(column) <= 10 * np.finfo(np.float64).eps:
            center[j] = column[0] * unit
            continue
        mean = np.average(column, weights=share)
        center[j] = mean * unit
        scale[j] = np.sqrt(np.average((column - mean) ** 2, weights=share)) * unit
    guessed = (scale == 0) & more_to_come
    scale[guessed] = np.abs(center[guessed])
    scale[(scale == 0) & more_to_come] = 1.0
    return center, scale, bool(guessed.any())


def share_explained(loss: float, constant_loss: float) -> float:
    """Return by how much a loss is lower than that of the best constant, as a share of the latter.

    Where the constant's is 0, it is 1 for no loss and else 0, as scikit-learn has it for R2.
    """
    return 1.0 - loss / constant_loss if constant_loss > 0 else float(loss == 0)


def weighted_r2(y: Floats, predicted: Array, weight: Floats) -> float:
    """Return R2 of the labels of positive weight, averaged over the columns that have some."""
    y, predicted, weight = as_columns(y), as_columns(predicted), as_columns(weight)
    unit = np.ldexp(1.0, np.frexp(np.abs(y).max())[1] - 1)  # squares of 1e200 overflow
    y, predicted = y / unit, predicted / unit
    scores = [
        r2_score(y[rows, j], predicted[rows, j], sample_weight=weight[rows, j])
        for j in range(y.shape[1])
        if (rows := weight[:, j] > 0).any()
    ]
    return float(np.mean(scores))
