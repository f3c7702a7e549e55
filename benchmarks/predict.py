"""Time to import, to predict one row and many, and the memory of a fit, on one thread.

Usage: python benchmarks/predict.py [--quick] [--write]

The first table has the time of ``predict``, in turns with MLPRegressor of the same layers, 4
outputs and float32 rows: for mtlearn a number and an output of 3 classes, or 4 columns of numbers.
Times are medians over the rounds; a ratio is that of the medians, with the least and the largest of
the rounds. The second has the time of imports, each in new processes. The third has the memory that
a process needs at its peak beyond what it needs after its imports, beside

    2 x data + 6 x weights + one batch's activations + 60 MB

where the data are X (which the process holds too), the targets and the weights of the rows. It is
read from /proc, which Linux has.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _timing import arguments, in_turns, number, one_thread, ratio, seconds_of, table, write

one_thread()

import numpy as np  # noqa: E402
from sklearn.neural_network import MLPRegressor  # noqa: E402

from mtlearn import MultiOutputNet, MultiOutputNetRegressor  # noqa: E402
from mtlearn.trunks import MLP  # noqa: E402

LAYERS, N_FEATURES, BATCH_SIZE = (64, 64), 20, 128
IMPORTS = {
    "``import torch, sklearn``": "torch, sklearn",
    "``import torch, sklearn.neural_network``": "torch, sklearn.neural_network",
    "``import torch, skorch``": "torch, skorch",
    "``import mtlearn``": "mtlearn",
}
MEMORY = (
    {"n_rows": 1_000_000, "n_features": 20, "layers": [64, 64], "early_stopping": False},
    {"n_rows": 1_000_000, "n_features": 20, "layers": [64, 64], "early_stopping": True},
    {"n_rows": 100_000, "n_features": 200, "layers": [64, 64], "early_stopping": False},
    {"n_rows": 20_000, "n_features": 20, "layers": [2048, 2048], "early_stopping": False},
)


def predictions() -> list[tuple[str, Callable[[np.ndarray], Any]]]:
    """Return the functions to compare, that of scikit-learn first."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, N_FEATURES), dtype=np.float32)
    Y = np.tanh(X[:, :4] + X[:, 4:8])
    y = {"number": Y[:, 0], "class": Y[:, 1:].argmax(axis=1)}
    settings = {"max_epochs": 5, "early_stopping": False, "random_state": 0}
    theirs = MLPRegressor(hidden_layer_sizes=LAYERS, max_iter=50, tol=1e3, random_state=0)
    columns = MultiOutputNetRegressor(MLP(LAYERS), **settings)
    outputs = MultiOutputNet(MLP(LAYERS), **settings)
    return [
        ("MLPRegressor", theirs.fit(X, Y).predict),
        ("MultiOutputNetRegressor, 4 columns", columns.fit(X, Y).predict),
        ("MultiOutputNet, a number and a class", outputs.fit(X, y).predict),
    ]


def predict_table(n_rows: int, n_calls: int, n_rounds: int) -> str:
    """Return the table for calls on some rows."""
    X = np.random.default_rng(1).standard_normal((n_rows, N_FEATURES), dtype=np.float32)

    def measure(predict: Callable[[np.ndarray], Any]) -> Callable[[], float]:
        def calls() -> None:
            for _ in range(n_calls):
                predict(X)

        calls()
        return lambda: seconds_of(calls) / n_calls

    functions = predictions()
    found = in_turns({name: measure(predict) for name, predict in functions}, n_rounds)
    theirs = found[functions[0][0]]
    unit, factor = ("microseconds", 1e6) if n_rows == 1 else ("milliseconds", 1e3)
    rows = [(name, number(t, factor), ratio(t, theirs)) for name, t in found.items()]
    return table((f"{n_rows:,} rows" if n_rows > 1 else "one row", unit, "ratio"), rows)


def import_seconds(names: str) -> float:
    """Return the time of an import in a new process."""
    code = f"import time; t = time.perf_counter(); import {names}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def import_table(n_rounds: int) -> str:
    """Return the times of imports."""
    measures = {
        title: lambda names=names: import_seconds(names) for title, names in IMPORTS.items()
    }
    for measure in measures.values():
        measure()  # the files are in the system's cache from now on
    found = in_turns(measures, n_rounds)
    first = found[next(iter(IMPORTS))]
    rows = []
    for title, times in found.items():
        more = [a - b for a, b in zip(times, first, strict=True)]
        rows.append((title, number(times, digits=2), number(more, digits=2)))
    return table(("", "seconds", "more than the first"), rows)


def memory(key: str) -> float:
    """Return the memory of this process in bytes: VmRSS now, VmHWM at its peak."""
    match = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return 1024.0 * int(match[1])


def fit_once(case: dict[str, Any]) -> None:
    """Print the bytes at the peak of a fit over those after imports, and what may be needed."""
    MultiOutputNet(MLP((2,)), max_epochs=1).fit(np.zeros((4, 1)), {"y": np.arange(4.0)})
    after_imports = memory("VmRSS")
    X = np.empty((case["n_rows"], case["n_features"]), np.float32)
    rng = np.random.default_rng(0)
    for piece in np.array_split(X, 100):
        piece[:] = rng.standard_normal(piece.shape, dtype=np.float32)
    y = {"number": X[:, 0] - X[:, 1], "class": (X[:, 1] > 0).astype(int)}
    weights = np.ones(len(X), np.float32)
    net = MultiOutputNet(
        MLP(case["layers"]),
        batch_size=BATCH_SIZE,
        max_epochs=2,
        early_stopping=case["early_stopping"],
        random_state=0,
    ).fit(X, y, weights)
    peak = memory("VmHWM") - after_imports
    data = sum(a.nbytes for a in (X, weights, *y.values()))
    parameters = 4 * sum(p.numel() for p in net.module_.parameters())
    activations = 4 * BATCH_SIZE * (sum(case["layers"]) + case["n_features"] + 2)
    print(json.dumps([peak, data, 2 * data + 6 * parameters + activations + 60e6]))


def memory_table(*, quick: bool) -> str:
    """Return the memory of fits, each in a new process."""
    rows = []
    for case in MEMORY:
        if quick:
            case = {**case, "n_rows": case["n_rows"] // 10}
        command = [sys.executable, __file__, "--fit", json.dumps(case)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        megabytes = [f"{value / 1e6:.0f}" for value in json.loads(done.stdout)]
        shape = f"{case['n_rows']:,} x {case['n_features']}"
        held_out = "yes" if case["early_stopping"] else "no"
        rows.append((shape, "-".join(map(str, case["layers"])), held_out, *megabytes))
    header = ("X", "layers", "early stopping", "data, MB", "peak, MB", "bound, MB")
    return table(header, [(*row[:3], row[4], row[3], row[5]) for row in rows])


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] == ["--fit"]:
        fit_once(json.loads(sys.argv[2]))
        return
    args = arguments(__doc__)
    n_rounds = 3 if args.quick else 9
    texts = []
    for make in (
        lambda: predict_table(1, 200 if args.quick else 2000, n_rounds),
        lambda: predict_table(10_000 if args.quick else 1_000_000, 1, n_rounds),
        lambda: import_table(n_rounds),
        lambda: memory_table(quick=args.quick),
    ):
        texts.append(make())
        print(texts[-1], flush=True)
    if args.write:
        write("predict", texts)


if __name__ == "__main__":
    main()
