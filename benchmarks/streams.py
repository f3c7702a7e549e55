"""Time and memory of partial_fit: beside scikit-learn's MLPRegressor, and on mapped rows.

Usage: python benchmarks/streams.py [MEGABYTES [FOLDER]]

The first table has the milliseconds per call on pieces of 1, 50, 200 and 1,000 rows, for
MultiOutputNetRegressor and for MLPRegressor with the same layers, optimizer and rows per step, on
one thread. Both learn the same rows in turns, in one process; each figure is the median over the
turns, and the ratio is the median of the turns' ratios.

The second table has the process's memory along 1,000 calls on consecutive pieces of an array of
MEGABYTES (by default 1,000) of float32 that is mapped from a file. The file is made in FOLDER (by
default the current one, so that it is not kept in memory as some systems keep /tmp) and removed.
VmRSS counts the pages of the file that the system has cached for the process; RssAnon is the memory
that the process itself holds. It is read from /proc, which Linux has.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from mtlearn import MultiOutputNetRegressor
from mtlearn.trunks import MLP

LAYERS = (128, 64)
N_FEATURES = 20
PIECES = (1, 50, 200, 1000)
TURNS, SECONDS = 9, 0.25
N_CALLS = 1000


def make_ours() -> MultiOutputNetRegressor:
    return MultiOutputNetRegressor(MLP(LAYERS), random_state=0)


def make_theirs() -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=LAYERS, random_state=0)


def seconds_per_call(model: object, X: np.ndarray, y: np.ndarray, n_calls: int) -> float:
    """Return the mean time of a call over some calls on the same rows."""
    start = time.perf_counter()
    for _ in range(n_calls):
        model.partial_fit(X, y)
    return (time.perf_counter() - start) / n_calls


def compare(n_rows: int) -> tuple[float, float, float]:
    """Return the median times of a call, ours and theirs, and the median ratio."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES))
    y = X[:, 0] + rng.normal(size=n_rows)
    models = make_ours(), make_theirs()
    calls = [max(3, int(SECONDS / seconds_per_call(model, X, y, 5))) for model in models]
    turns = np.array(
        [
            [seconds_per_call(model, X, y, n) for model, n in zip(models, calls, strict=True)]
            for _ in range(TURNS)
        ]
    )
    ours, theirs = np.median(turns, axis=0)
    return ours, theirs, float(np.median(turns[:, 0] / turns[:, 1]))


def memory() -> dict[str, float]:
    """Return the resident memory of this process in megabytes, in all and anonymous."""
    status = Path("/proc/self/status").read_text()
    found = {key: re.search(rf"{key}:\s+(\d+) kB", status) for key in ("VmRSS", "RssAnon")}
    return {key: int(match[1]) / 1024 for key, match in found.items() if match}


def write_rows(path: Path, n_rows: int) -> None:
    """Write random rows to a file, a piece at a time."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, n_rows, 2**16):
            n = min(2**16, n_rows - start)
            file.write(rng.standard_normal((n, N_FEATURES), dtype=np.float32).tobytes())


def stream(path: Path, n_rows: int) -> None:
    """Print the memory along a stream of the rows of a file."""
    X = np.memmap(path, np.float32, "r", shape=(n_rows, N_FEATURES))
    size = n_rows // N_CALLS
    model = make_ours()
    print(f"{'call':>6}{'VmRSS, MB':>12}{'RssAnon, MB':>14}")
    for call in range(1, N_CALLS + 1):
        rows = X[(call - 1) * size : call * size]
        model.partial_fit(rows, rows[:, 0] - rows[:, 1])
        if call in (1, 10) or call % 100 == 0:
            now = memory()
            print(f"{call:>6}{now['VmRSS']:>12.0f}{now['RssAnon']:>14.1f}", flush=True)


def main() -> None:
    """Print both tables."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    folder = sys.argv[2] if len(sys.argv) > 2 else "."
    print(f"milliseconds per call of partial_fit, layers {LAYERS}, {N_FEATURES} features")
    print(f"{'rows':>6}{'mtlearn':>10}{'scikit-learn':>14}{'ratio':>8}")
    for n_rows in PIECES:
        with threadpool_limits(1):
            ours, theirs, ratio = compare(n_rows)
        print(f"{n_rows:>6}{1e3 * ours:>10.2f}{1e3 * theirs:>14.2f}{ratio:>8.2f}", flush=True)
    n_rows = max(megabytes * 2**20 // (4 * N_FEATURES), N_CALLS)
    print(f"\nmemory along {N_CALLS} calls on {n_rows} mapped rows, {megabytes} MB")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "rows.float32"
        write_rows(path, n_rows)
        stream(path, n_rows)


if __name__ == "__main__":
    main()
