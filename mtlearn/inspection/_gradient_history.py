"""Numbers on gradients as columns of a history."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mtlearn._typing import Floats

__all__ = ["column", "gradient_columns", "mean_and_error", "trunk_cosines"]

PREFIX = "gradient"


def column(quantity: str, output: str, stage: str = "") -> str:
    """Return the name of a column; without a stage, of what is about the whole trunk.

    Neither quantities nor outputs have two underscores in a row, so that it can be taken apart.
    """
    return "__".join([PREFIX, quantity, output, *([stage] if stage else [])])


def gradient_columns(names: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Return which columns are about gradients: their quantity, output and stage."""
    found = {}
    for name in names:
        prefix, *rest = name.split("__", 3)
        if prefix == PREFIX and len(rest) >= 2:
            found[name] = (rest[0], rest[1], rest[2] if len(rest) == 3 else "")
    return found


def trunk_cosines(history: list[Mapping[str, Any]]) -> tuple[list[int], dict[str, Floats]]:
    """Return the epochs with a record, from 1 on, and each output's cosines on the trunk."""
    names = dict.fromkeys(name for row in history for name in row)
    columns = {
        name: output
        for name, (quantity, output, stage) in gradient_columns(names).items()
        if quantity == "cosine" and not stage
    }
    epochs = [i for i, row in enumerate(history) if any(name in row for name in columns)]
    values = {
        output: np.array([history[i].get(name, np.nan) for i in epochs])
        for name, output in columns.items()
    }
    return [i + 1 for i in epochs], values


def mean_and_error(values: Floats) -> tuple[float, float]:
    r"""Return the mean of what was recorded in turn, and its standard error.

    Values of epochs that follow each other are alike, so that n of them tell as much as
    :math:`n (1 - r) / (1 + r)` independent ones (at least 1), where r is their correlation with
    the value before. Of less than three, the error is infinite.
    """
    n, mean = len(values), float(values.mean())
    if n < 3:
        return mean, np.inf
    centred = values - mean
    squares = float(centred @ centred)
    r = max(float(centred[1:] @ centred[:-1]) / squares, 0.0) if squares else 0.0
    n_independent = max(n * (1 - r) / (1 + r), 1.0)
    return mean, float(np.sqrt(squares / (n - 1) / n_independent))
