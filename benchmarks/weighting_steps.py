"""What a weighting costs: the time of a step beside that of the plain weighted sum.

Usage: python benchmarks/weighting_steps.py [--quick] [--write]

4,096 rows of 20 features, two layers of 64, 128 rows per step, Adam, on one thread. Two outputs are
a number and one of three classes; four are two of each. All are timed in turns; a time is the
median over the rounds, that of a step being the difference of a long and a short fit by its number
of steps. A ratio is that of the medians, with the least and the largest of the rounds. By autograd
is with fast_step=False, to which a plain step of its own belongs.
"""

from collections.abc import Callable

from _timing import StepTimer, arguments, in_turns, number, one_thread, ratio, table, write

one_thread()

import numpy as np  # noqa: E402

from mtlearn import MultiOutputNet, Targets  # noqa: E402
from mtlearn.trunks import MLP  # noqa: E402

N_ROWS, N_FEATURES, BATCH = 4096, 20, 128
PLAIN = "none"
NAMES = [
    PLAIN,
    "uncertainty",
    "log",
    "dwa",
    "random",
    "famo",
    "gradcosine",
    "pcgrad",
    "mgda",
    "nash",
]


def problem(n_outputs: int) -> tuple[np.ndarray, Targets]:
    """Return rows, and outputs of both kinds by turns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    mixed = X @ rng.normal(size=(N_FEATURES, n_outputs)) + rng.normal(size=(N_ROWS, n_outputs))
    kinds = [np.tanh, lambda column: np.digitize(column, [-2.0, 2.0])]
    return X, Targets({f"y{k}": kinds[k % 2](mixed[:, k]) for k in range(n_outputs)})


def fits(X: np.ndarray, y: Targets, name: str, fast_step: bool | str) -> Callable[[int], object]:
    """Return what fits so many epochs."""

    def fit(n_epochs: int) -> object:
        net = MultiOutputNet(
            MLP((64, 64)),
            weighting=None if name == PLAIN else name,
            main_output="y0",
            batch_size=BATCH,
            max_epochs=n_epochs,
            fast_step=fast_step,
            random_state=0,
        )
        return net.fit(X, y)

    return fit


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    n_rounds, seconds = (2, 0.05) if args.quick else (7, 0.4)
    rows = []
    for n_outputs in (2, 4):
        X, y = problem(n_outputs)
        for fast_step in ("auto", False):
            timers = {
                name: StepTimer(fits(X, y, name, fast_step), N_ROWS // BATCH, seconds)
                for name in NAMES
            }
            found = in_turns(timers, n_rounds)
            how = "formulas" if fast_step else "autograd"
            rows += [
                (f"{n_outputs}", how, name, number(times, 1e6), ratio(times, found[PLAIN]))
                for name, times in found.items()
            ]
    header = ("outputs", "by", "weighting", "microseconds per step", "by the plain step's")
    text = table(header, rows)
    print(text)
    if args.write:
        write("weighting_steps", [text])


if __name__ == "__main__":
    main()
