"""Microseconds per training step as rows, outputs, layers or batches grow, on one thread.

Usage: python benchmarks/growth.py [--quick] [--write]

Each table changes one thing of the problem of steps.py; where the outputs grow, all are numbers.
mtlearn is timed in turns with a torch loop by hand with fused Adam, with a jitted model of Keras on
JAX (which uses a second core if there is one, and again on one core) and, for one output with many
columns, with MLPRegressor. mtlearn has sample weights, missing labels and the history of each
output; the others have none of these. Times and ratios are made as in steps.py.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from _peers import Child, Problem, can_pin, is_installed, mlp_regressor, ours, torch_loop
from _timing import StepTimer, arguments, in_turns, number, ratio, table, write

OURS, LOOP, SKLEARN = "mtlearn", "torch by hand", "MLPRegressor"
KERAS, ONE_CORE = "Keras on JAX", "the same on one core"
HERE = {OURS: ours, LOOP: torch_loop, SKLEARN: mlp_regressor}
NUMBERS = {"classes": False}
BY_HAND_AND_KERAS = [LOOP, KERAS, ONE_CORE]
TABLES = {
    "rows": (
        {n: {"n_rows": n} for n in (1000, 10_000, 100_000, 1_000_000)},
        BY_HAND_AND_KERAS,
    ),
    "outputs": (
        {n: {"n_numbers": n, **NUMBERS} for n in (1, 2, 5, 10, 20, 50, 100)},
        BY_HAND_AND_KERAS,
    ),
    "columns of one output": (
        {n: {"n_numbers": n, "as_columns": True, **NUMBERS} for n in (1, 2, 5, 10, 20, 50, 100)},
        [LOOP, SKLEARN],
    ),
    "units per layer": (
        {n: {"layers": (n, n)} for n in (16, 64, 256, 1024)},
        BY_HAND_AND_KERAS,
    ),
    "rows per batch": (
        {n: {"n_rows": 16384, "batch_size": n} for n in (32, 128, 512, 1024)},
        BY_HAND_AND_KERAS,
    ),
}


def compare(
    problem: Problem, peers: Sequence[str], n_rounds: int, seconds: float
) -> dict[str, Sequence[float]]:
    """Return the seconds per step of mtlearn and of the others, for each round."""
    with ExitStack() as stack:
        timers: dict[str, Any] = {}
        for name in (OURS, *peers):
            if name in (KERAS, ONE_CORE):
                child = Child("jax", problem, seconds, one_core=name == ONE_CORE)
                timers[name] = stack.enter_context(child)
            else:
                timers[name] = StepTimer(HERE[name](problem), problem.n_steps, seconds)
        return in_turns(timers, n_rounds)


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__)
    n_rounds, seconds = (2, 0.05) if args.quick else (5, 0.15)
    left_out = set() if is_installed("keras", "jax") else {KERAS, ONE_CORE}
    if not can_pin():
        left_out.add(ONE_CORE)
    texts = []
    for title, (settings, peers) in TABLES.items():
        peers = [name for name in peers if name not in left_out]
        header = [title, OURS]
        for name in peers:
            header += [name, "ratio"]
        rows = []
        for value in [min(settings), max(settings)] if args.quick else settings:
            found = compare(Problem(**settings[value]), peers, n_rounds, seconds)
            row = [f"{value:,}", number(found[OURS], 1e6)]
            for name in peers:
                row += [number(found[name], 1e6), ratio(found[OURS], found[name])]
            rows.append(row)
            print("  ".join(row), flush=True)
        texts.append(table(header, rows))
        print(texts[-1], flush=True)
    if args.write:
        write("growth", texts)


if __name__ == "__main__":
    main()
