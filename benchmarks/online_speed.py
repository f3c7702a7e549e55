"""Rows that a stream's learner learns in a second, and its memory along a stream.

Usage: python benchmarks/online_speed.py [--quick] [--write]

Each figure is a median over five rounds, in which all take their turns, on one thread; rows come in
calls of the batch. All have as many layers of 100 units. "Loop" is the published hedge
backpropagation in plain torch, with a backward pass for the head of each layer; "one pass" is the
same by one backward pass. "Same algorithm" is `OnlineMultiOutputNet` doing what these two do, with
its checks, in double precision; "default" is it with all that it does by default (second-order
heads, scaling, estimates of absent features, of which a quarter is absent) with that many layers.
The loop and the pass return the prediction from before the step, too; ``partial_fit`` does not.
The ratio is that to the loop. Times depend on the machine and its load.

The memory is VmRSS, read from /proc, which Linux has, along a stream of 200,000 rows of 24
features, 32 at a time.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

from _timing import arguments, in_turns, number, one_thread, ratio, table, write

one_thread()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _online_parts import PublishedHedge, paper_hedge  # noqa: E402

from mtlearn import OnlineMultiOutputNet  # noqa: E402
from mtlearn.trunks import Hedge  # noqa: E402

LOOP, PASS, SAME, OURS = "loop", "one pass", "same algorithm", "default"
N_ROWS = 200_000
Learn = Callable[[int], object]


def rows_of(n_rows: int, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and their classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features))
    return X, (X[:, :3].sum(axis=1) > 0).astype(np.int64)


def learners(n_features: int, n_layers: int, batch_size: int) -> dict[str, Learn]:
    """Return what makes the i-th step of each."""
    n_rows = 64 * batch_size
    X, y = rows_of(n_rows, n_features)
    gaps = X.copy()
    gaps[np.random.default_rng(1).random(X.shape) < 0.25] = np.nan
    parts = [slice(start, start + batch_size) for start in range(0, n_rows, batch_size)]
    tensors = torch.from_numpy(X).float(), torch.from_numpy(y)
    torches = {
        name: PublishedHedge(n_features, n_layers, loops=name == LOOP) for name in (LOOP, PASS)
    }
    nets = {
        SAME: (paper_hedge(n_layers, scale=False, batch_size=batch_size, random_state=0), X),
        OURS: (
            OnlineMultiOutputNet(Hedge((100,) * n_layers), batch_size=batch_size, random_state=0),
            gaps,
        ),
    }

    def by_torch(name: str) -> Learn:
        model = torches[name]
        return lambda i: model.learn(*(part[parts[i % 64]] for part in tensors))

    def by_net(name: str) -> Learn:
        net, rows = nets[name]
        net.partial_fit(rows[:batch_size], y[:batch_size], classes=[0, 1])
        return lambda i: net.partial_fit(rows[parts[i % 64]], y[parts[i % 64]])

    return {name: by_torch(name) for name in torches} | {name: by_net(name) for name in nets}


def speed(learn: Learn, batch_size: int, seconds: float) -> float:
    """Return the rows per second."""
    start, n_steps = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds or n_steps < 3:
        learn(n_steps)
        n_steps += 1
    return n_steps * batch_size / spent


def memory() -> float:
    """Return the megabytes that the process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1024


def along(n_rows: int) -> list[tuple[str, str, str]]:
    """Return the memory at some points of a stream, and the seconds to them."""
    X, y = rows_of(3200, 24)
    X[np.random.default_rng(1).random(X.shape) < 0.25] = np.nan
    net = OnlineMultiOutputNet(batch_size=32, random_state=0)
    marks = sorted({3200, *(n_rows * i // 5 // 3200 * 3200 for i in range(1, 6))})
    found, start = [], time.perf_counter()
    for n_done in range(3200, n_rows + 1, 3200):
        net.partial_fit(X, y)
        if n_done in marks:
            seconds = time.perf_counter() - start
            found.append((f"{n_done:,}", f"{memory():.1f}", f"{seconds:.0f}"))
    return found


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__)
    n_rounds, seconds = (1, 0.02) if args.quick else (5, 0.2)
    rows = []
    for n_features in (24, 123):
        for batch_size in (1, 32):
            for n_layers in (2, 10, 20):
                made = learners(n_features, n_layers, batch_size)
                for learn in made.values():
                    learn(0)
                found = in_turns(
                    {
                        name: lambda learn=learn: speed(learn, batch_size, seconds)  # noqa: B023
                        for name, learn in made.items()
                    },
                    n_rounds,
                )
                cells = [number(found[name]) for name in made]
                ratios = [ratio(found[name], found[LOOP]) for name in (SAME, OURS)]
                rows.append((str(n_features), str(batch_size), str(n_layers), *cells, *ratios))
                print(*rows[-1], flush=True)
    header = (
        "features",
        "batch",
        "layers",
        LOOP,
        PASS,
        SAME,
        OURS,
        "ratio, same",
        "ratio, default",
    )
    texts = [
        table(header, rows),
        "Memory along a stream:\n",
        table(("rows", "MB", "seconds"), along(6400 if args.quick else N_ROWS)),
    ]
    print(*texts, sep="\n")
    if args.write:
        write("online_speed", texts)


if __name__ == "__main__":
    main()
