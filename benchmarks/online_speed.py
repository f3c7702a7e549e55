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

Where deep-river is installed, its ``Classifier`` learns beside them: a network of as many layers,
whose last one alone has a head, by stochastic gradient descent. It gets complete rows as it takes
them, one as a dict, several as a frame, made beforehand. It is no part of the development tools,
for its releases ask for other versions of torch and pandas than these::

    python -m pip install --no-deps "deep-river==0.3.4" "river==0.25.0" "torchviz==0.0.3"

The memory is VmRSS, read from /proc, which Linux has, along a stream of a million rows of 24
features, 32 at a time, with two layers of 16 units; it takes some minutes.
"""

import re
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _timing import arguments, in_turns, number, one_thread, ratio, table, write

one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from _online_parts import PublishedHedge, paper_hedge  # noqa: E402

from mtlearn import OnlineMultiOutputNet  # noqa: E402
from mtlearn.trunks import Hedge  # noqa: E402

LOOP, PASS, SAME, OURS, DEEP = "loop", "one pass", "same algorithm", "default", "deep-river"
N_ROWS, N_AT_ONCE = 1_000_000, 4000
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

    found = {name: by_torch(name) for name in torches} | {name: by_net(name) for name in nets}
    if find_spec("deep_river"):
        found[DEEP] = by_deep_river(X, y, n_layers, batch_size)
    return found


def by_deep_river(X: np.ndarray, y: np.ndarray, n_layers: int, batch_size: int) -> Learn:
    """Return what makes the i-th step of the classifier of deep-river."""
    from deep_river.classification import Classifier

    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for i in range(n_layers):
        layers += [torch.nn.Linear(100 if i else X.shape[1], 100), torch.nn.ReLU()]
    model: Any = Classifier(
        torch.nn.Sequential(*layers, torch.nn.Linear(100, 2)),
        loss_fn="cross_entropy",
        optimizer_fn="sgd",
        lr=0.01,
    )
    frame, labels = pd.DataFrame(X).add_prefix("x"), pd.Series(y)
    if batch_size == 1:
        rows, classes = frame.to_dict("records"), y.tolist()
        model.learn_one(rows[0], 0)
        model.learn_one(rows[0], 1)
        return lambda i: model.learn_one(rows[i % 64], classes[i % 64])
    starts = range(0, len(X), batch_size)
    parts = [(frame[i : i + batch_size], labels[i : i + batch_size]) for i in starts]
    return lambda i: model.learn_many(*parts[i % 64])


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
    rng = np.random.default_rng(0)
    net = OnlineMultiOutputNet(Hedge((16, 16)), batch_size=32, random_state=0)
    marks = {N_AT_ONCE, *(n_rows * i // 5 for i in range(1, 6))}
    found, start = [], time.perf_counter()
    for n_done in range(N_AT_ONCE, n_rows + 1, N_AT_ONCE):
        X = rng.normal(size=(N_AT_ONCE, 24))
        y = (X[:, :3].sum(axis=1) > 0).astype(np.int64)
        X[rng.random(X.shape) < 0.25] = np.nan
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
    header = ("features", "batch", "layers", *made, "ratio, same", "ratio, default")
    texts = [
        table(header, rows),
        "Memory along a stream:\n",
        table(("rows", "MB", "seconds"), along(2 * N_AT_ONCE if args.quick else N_ROWS)),
    ]
    print(*texts, sep="\n")
    if args.write:
        write("online_speed", texts)


if __name__ == "__main__":
    main()
