"""Which of two cells a random walk visited first, with and without a memory of the walk.

Usage: python benchmarks/order_of_states.py [--quick] [--write]

Walks of 16 steps on a grid of 5 x 5 cells, begun in proportion to the number of neighbours: this
chain is reversible, so that without a memory no classifier is right more often than one time in
two. The network learns five pairs of each of 5,000 walks, by the seeds 0 to 2, and is tested on
five pairs of each of 2,000 others. Beside it is one that knows where each walk was at every step:
it is right but for pairs of the same cell, where it guesses, and for cells that a walk visited more
than once, where it takes the order that more of the pairs of steps at these cells have.
"""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402

from mtlearn import Inputs, MultiOutputNet  # noqa: E402
from mtlearn.datasets import make_grid_walks, make_order_pairs  # noqa: E402
from mtlearn.heads import PairOrder  # noqa: E402
from mtlearn.trunks import Embedding, Graph, Recurrent  # noqa: E402

EMBED = ("embed", Embedding(25, 16, padding_id=None, scale=1.0), "states")
MEMORY = ("memory", Recurrent(64, "gru"), "embed")
PAIR = ("pair", "take", ["embed", "pair_steps"])


def accuracy(parts: tuple, seed: int, n_epochs: int, *, remembers: bool) -> float:
    """Return the share of pairs whose order is told right."""
    X, y, X_test, y_test = parts
    stages: list[Any] = [EMBED, MEMORY, PAIR] if remembers else [EMBED, PAIR]
    net = MultiOutputNet(
        Graph(stages),
        {"in_order": PairOrder(at=["pair", "memory"] if remembers else "pair")},
        alpha=0,
        learning_rate=3e-3,
        max_epochs=n_epochs,
        random_state=seed,
    )
    return net.fit(X, y).score(X_test, y_test)


def best_accuracy(X: Inputs) -> float:
    """Return the share of pairs that one who knows the whole walk tells right on the average."""
    rows = np.arange(len(X))
    states, steps = X["states"], X["pair_steps"]
    first, second = (states == states[rows, steps[:, i]][:, None] for i in (0, 1))
    before = np.triu(np.ones((states.shape[1],) * 2), 1)
    forth = np.einsum("ni,ij,nj->n", first, before, second)
    back = np.einsum("ni,ij,nj->n", second, before, first)
    return float(np.mean(np.maximum(forth, back) / (forth + back)))


def row(name: str, values: Sequence[float]) -> tuple[str, ...]:
    """Return a row of the table."""
    spread = f"{stdev(values):.3f}" if len(values) > 1 else ""
    return name, f"{mean(values):.3f}", spread, ", ".join(f"{value:.3f}" for value in values)


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    n_walks, n_epochs, n_seeds = (500, 2, 1) if args.quick else (5000, 25, 3)
    found: dict[str, list[float]] = {}
    for seed in range(n_seeds):
        walks = make_grid_walks(n_walks + 2000, random_state=seed)
        X, y = make_order_pairs(walks[:n_walks], 5, random_state=seed)
        X_test, y_test = make_order_pairs(walks[n_walks:], 5, random_state=seed + 100)
        parts = X, y, X_test, y_test
        for name, value in {
            "without a memory": accuracy(parts, seed, min(n_epochs, 5), remembers=False),
            "with a recurrent memory": accuracy(parts, seed, n_epochs, remembers=True),
            "who knows the whole walk": best_accuracy(X_test),
        }.items():
            found.setdefault(name, []).append(value)
    rows = [row(name, values) for name, values in found.items()]
    text = table(("accuracy", "mean", "standard deviation", "by seed"), rows)
    print(text)
    if args.write:
        write("order_of_states", [text])


if __name__ == "__main__":
    main()
