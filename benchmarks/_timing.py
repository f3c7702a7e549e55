"""What the timing scripts share: one thread, runs in turns, medians, ratios and tables."""

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's pool
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
TABLES = Path(__file__).parent.parent / "docs" / "benchmarks"


def one_thread() -> None:
    """Let libraries that are imported from now on, and child processes, use one thread."""
    os.environ.update(ONE_THREAD)


def arguments(doc: str, *, jobs: bool = False) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {TABLES}")
    if jobs:
        parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    return parser.parse_args()


def seconds_of(function: Callable[[], object]) -> float:
    """Return the time of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class StepTimer:
    """The seconds per step of a fit, by the difference of a long and a short one.

    What a fit does once, such as checking the data or compiling, is in both and leaves no trace.

    Parameters
    ----------
    fit : callable
        Takes the number of epochs.
    n_steps : int
        The number of steps in an epoch.
    seconds : float
        How much longer the long fit shall take, about.
    """

    def __init__(self, fit: Callable[[int], object], n_steps: int, seconds: float) -> None:
        fit(2)
        self._fit, self._n_steps, self._more = fit, n_steps, 1
        while (found := min(self._difference() for _ in range(3))) < 0.7 * seconds:
            growth = seconds / max(found, 1e-9)
            self._more = round(self._more * min(max(growth, 2), 8))

    def __call__(self) -> float:
        return self._difference() / (self._more * self._n_steps)

    def _difference(self) -> float:
        short = seconds_of(lambda: self._fit(1))
        return seconds_of(lambda: self._fit(1 + self._more)) - short


def in_turns(
    measures: Mapping[str, Callable[[], float]], n_rounds: int
) -> dict[str, Sequence[float]]:
    """Measure everything once a round, each round in another order."""
    names = list(measures)
    found: dict[str, list[float]] = {name: [] for name in names}
    for i in range(n_rounds):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(measures[name]())
    return dict(found)


def number(values: Sequence[float], factor: float = 1.0, digits: int = 0) -> str:
    """Return the median, in another unit."""
    return f"{factor * median(values):,.{digits}f}"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the ratio of the medians, and the least and the largest ratio of a round."""
    rounds = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{median(ours) / median(theirs):.2f} ({min(rounds):.2f} to {max(rounds):.2f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a simple table of reStructuredText."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (header, *rows)
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


def write(name: str, parts: Sequence[str]) -> None:
    """Write what a page of the documentation includes."""
    TABLES.mkdir(exist_ok=True)
    path = TABLES / f"{name}.rst"
    path.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {path}")
