"""Streams of 60,000 rows from random networks: errors by the depth, and where the concept drifts.

Usage: python benchmarks/online_depth.py [--quick] [--write] [--jobs N]

20 normal features, all of them there; the class is whether a random network of two layers of 50
rectified units says more than its median. Each row is predicted before it is learned, one at a
time. The figures are percent of errors over the whole stream, of one stream each.

By the depth: `Hedge` with so many layers of 100 units and all else by default; hedge
backpropagation as published, in plain torch (stochastic gradient descent, rate 0.02, the published
hedge, the features with a head of their own); and the same gradient descent with a head on the last
layer alone. The spread is that of a column, largest less least.

Drift: 20,000 rows of one network, 20,000 of another, 20,000 of the first again; and, to see what
forgetting costs where nothing drifts, the stream of the first table. Beside them the online
logistic regression (AdaGrad, rate 0.1).
"""

from functools import cache

import numpy as np
import torch
from _online_parts import Array, PublishedHedge, scores_of, side_by_side
from _timing import arguments, one_thread, table, write

one_thread()

from mtlearn import OnlineMultiOutputNet  # noqa: E402
from mtlearn.trunks import Hedge  # noqa: E402

DEPTHS = (1, 2, 5, 20)
N_FEATURES, N_LAYERS, N_UNITS = 20, 2, 50
OURS, PAPER, FIXED, LINEAR = "Hedge", "as published", "one depth", "logistic regression"
DRIFTS = {
    LINEAR: (LINEAR, 0, 1.0),
    "one depth, 2 layers": (FIXED, 2, 1.0),
    "as published, 10 layers": (PAPER, 10, 1.0),
    "default": (OURS, 2, 1.0),
    "default, forgetting 0.999": (OURS, 2, 0.999),
}


def taught(X: Array, seed: int) -> Array:
    """Return the classes that a random network gives to rows."""
    rng = np.random.default_rng(seed)
    state = X
    for _ in range(N_LAYERS):
        n_inputs = state.shape[1]
        state = np.maximum(state @ rng.normal(0, (2 / n_inputs) ** 0.5, (n_inputs, N_UNITS)), 0)
    said = state @ rng.normal(size=N_UNITS)
    return (said > np.median(said)).astype(np.int64)


@cache
def stream(n_rows: int, *, drifts: bool) -> tuple[Array, Array]:
    """Return rows and their classes."""
    X = np.random.default_rng(0).normal(size=(n_rows, N_FEATURES))
    first = taught(X, seed=1)
    if not drifts:
        return X, first
    third = n_rows // 3
    return X, np.concatenate(
        [first[:third], taught(X, seed=2)[third : 2 * third], first[2 * third :]]
    )


def error_of(kind: str, depth: int, forgetting: float, n_rows: int, *, drifts: bool) -> float:
    """Return the percentage of errors over a stream."""
    X, y = stream(n_rows, drifts=drifts)
    if kind in (OURS, LINEAR):
        net = OnlineMultiOutputNet(Hedge((100,) * depth), forgetting=forgetting, random_state=0)
        return 100 * scores_of(None if kind == LINEAR else lambda: net, X, y).errors / n_rows
    model = PublishedHedge(N_FEATURES, depth, only_last=kind == FIXED, rate=0.02)
    errors = 0
    for row, label in zip(
        torch.from_numpy(X).float().split(1), torch.from_numpy(y).split(1), strict=True
    ):
        errors += int((model.learn(row, label) > 0.5) != label)
    return 100 * errors / n_rows


def error_where(n_rows: int, drifts: bool, spec: tuple) -> float:
    """Return the percentage, and print it: runs are long."""
    found = error_of(*spec, n_rows, drifts=drifts)
    print(*spec, "drift" if drifts else "", f"{found:.2f}", flush=True)
    return found


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__, jobs=True)
    n_rows = 600 if args.quick else 60_000
    kinds = (OURS, PAPER, FIXED)
    by_depth = [(kind, depth, 1.0) for depth in DEPTHS for kind in kinds]
    calls = [(n_rows, True, spec) for spec in DRIFTS.values()]
    calls += [(n_rows, False, spec) for spec in dict.fromkeys([*DRIFTS.values(), *by_depth])]
    errors = dict(zip(calls, side_by_side(error_where, calls, args.jobs), strict=True))
    grid = np.array([errors[n_rows, False, spec] for spec in by_depth])
    grid = grid.reshape(len(DEPTHS), len(kinds))
    rows = [
        (str(depth), *(f"{error:.2f}" for error in found))
        for depth, found in zip(DEPTHS, grid, strict=True)
    ]
    rows.append(("spread", *(f"{span:.2f}" for span in np.ptp(grid, axis=0))))
    texts = [
        table(("layers", *kinds), rows),
        "Drift:\n",
        table(
            ("learner", "C1, C2, C1", "no drift"),
            [
                (name, *(f"{errors[n_rows, drifts, spec]:.2f}" for drifts in (True, False)))
                for name, spec in DRIFTS.items()
            ],
        ),
    ]
    print(*texts, sep="\n")
    if args.write:
        write("online_depth", texts)


if __name__ == "__main__":
    main()
