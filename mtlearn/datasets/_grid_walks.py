"""Random walks on a grid, whose order no pair of states gives away."""

import numpy as np
from sklearn.utils import check_random_state

from mtlearn._typing import Array, RandomState

__all__ = ["make_grid_walks"]


def make_grid_walks(
    n_walks: int, *, size: int = 5, n_steps: int = 16, random_state: RandomState = None
) -> Array:
    """Return random walks on a square grid.

    A walk begins at a cell drawn in proportion to its number of neighbours, and goes to a neighbour
    at each step, all equally likely. This chain is stationary and reversible: two cells come as
    often in one order as in the other, at any two steps. So nothing but the rest of the walk tells
    which of two came first.

    Parameters
    ----------
    n_walks : int
        How many walks.
    size : int, default=5
        The number of cells of a side, at least 2.
    n_steps : int, default=16
        The number of cells of a walk.
    random_state : int, RandomState instance or None, default=None
        Draws the walks.

    Returns
    -------
    ndarray of shape (n_walks, n_steps)
        The cells, numbered row by row from 0 on.

    Raises
    ------
    ValueError
        For a grid of less than 2 cells a side, and for less than one walk or step.

    Examples
    --------
    >>> from mtlearn.datasets import make_grid_walks
    >>> make_grid_walks(2, size=3, n_steps=6, random_state=0)
    array([[4, 5, 4, 3, 6, 7],
           [6, 7, 6, 7, 6, 7]])
    """
    if size < 2 or n_walks < 1 or n_steps < 1:
        raise ValueError(
            f"make_grid_walks: `size` must be at least 2, `n_walks` and `n_steps` at least 1. Got "
            f"{size}, {n_walks} and {n_steps}."
        )
    rng = check_random_state(random_state)
    rows, columns = np.divmod(np.arange(size * size), size)
    distance = abs(rows[:, None] - rows) + abs(columns[:, None] - columns)
    is_next = distance == 1
    n_next = is_next.sum(axis=1)
    neighbours = np.argsort(~is_next, axis=1, kind="stable")[:, :4]
    walks = np.empty((n_walks, n_steps), dtype=np.int64)
    walks[:, 0] = rng.choice(size * size, n_walks, p=n_next / n_next.sum())
    for step in range(1, n_steps):
        here = walks[:, step - 1]
        walks[:, step] = neighbours[here, (rng.random_sample(n_walks) * n_next[here]).astype(int)]
    return walks
