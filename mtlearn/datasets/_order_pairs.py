"""Pairs of steps of sequences, for the question which came first."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from mtlearn._typing import Array, ArrayLike, RandomState
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets

__all__ = ["make_order_pairs"]


def make_order_pairs(
    states: ArrayLike,
    n_pairs: int = 1,
    *,
    lengths: ArrayLike | None = None,
    random_state: RandomState = None,
) -> tuple[Inputs, Targets]:
    """Draw two different steps of each sequence, and say whether they are shown in order.

    The two steps are drawn uniformly, and shown in either order with probability 1/2.

    Parameters
    ----------
    states : array-like of shape (n_samples, n_steps, ...)
        The sequences.
    n_pairs : int, default=1
        How many pairs to draw of each sequence.
    lengths : array-like of shape (n_samples,), default=None
        How many steps of each sequence count, at least 2; what comes after them is padding. None
        for all steps.
    random_state : int, RandomState instance or None, default=None
        Draws the steps.

    Returns
    -------
    X : Inputs of n_samples * n_pairs rows
        The ``"states"``, each sequence `n_pairs` times in a row, so that its other targets go with
        ``np.repeat(values, n_pairs)``; and ``"pair_steps"`` of shape (n_samples * n_pairs, 2).
    y : Targets of n_samples * n_pairs rows
        ``"in_order"``, whether the first step of a pair is the earlier one.

    Raises
    ------
    ValueError
        For sequences of less than 2 steps, lengths that these do not have, and no pairs.

    See Also
    --------
    mtlearn.heads.PairOrder : Learns the order.

    References
    ----------
    Ahmed, Zintgraf, Schroeder de Witt and Usunier, "A Self-Supervised Auxiliary Loss for Deep RL in
    Partially Observable Settings", 2021.

    Examples
    --------
    >>> from mtlearn.datasets import make_order_pairs
    >>> X, y = make_order_pairs([[4, 7, 8, 7], [5, 4, 1, 2]], random_state=0)
    >>> X["pair_steps"], y["in_order"]
    (array([[2, 0],
           [2, 0]]), array([False, False]))
    """
    sequences = np.asarray(states)
    if sequences.ndim < 2:
        raise ValueError(
            f"make_order_pairs: `states` must be sequences of one length, of the shape (n_samples, "
            f"n_steps, ...). Got the shape {sequences.shape}; pad shorter ones, and pass `lengths`."
        )
    if not isinstance(n_pairs, Integral) or n_pairs < 1:
        raise ValueError(
            f"make_order_pairs: `n_pairs` must be an integer of at least 1. Got {n_pairs!r}."
        )
    n_samples, n_steps = sequences.shape[:2]
    rng = check_random_state(random_state)
    n_each = np.repeat(_checked(lengths, n_samples, n_steps), n_pairs)
    first = (rng.random_sample(len(n_each)) * n_each).astype(np.int64)
    apart = 1 + (rng.random_sample(len(n_each)) * (n_each - 1)).astype(np.int64)
    second = (first + apart) % n_each
    X = Inputs(
        {
            "states": np.repeat(sequences, n_pairs, axis=0),
            "pair_steps": np.column_stack([first, second]),
        }
    )
    return X, Targets({"in_order": first < second})


def _checked(lengths: ArrayLike | None, n_samples: int, n_steps: int) -> Array:
    counts = np.full(n_samples, n_steps) if lengths is None else np.asarray(lengths)
    if counts.shape != (n_samples,) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"make_order_pairs: `lengths` must be an integer for each of {n_samples} sequences. "
            f"Got the shape {counts.shape} of {counts.dtype}."
        )
    bad = np.flatnonzero((counts < 2) | (counts > n_steps))
    if bad.size:
        raise ValueError(
            f"make_order_pairs: a pair needs sequences of 2 to {n_steps} steps. Got "
            f"{int(counts[bad[0]])} in row {int(bad[0])}; leave such rows out."
        )
    return counts
