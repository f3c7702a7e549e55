"""What watching the gradients costs: the time of a fit with a `GradientMonitor`, by one without.

Usage: python benchmarks/gradient_monitor.py [--quick] [--write]

Fits of 10 epochs with the default batches of 200 rows, on one thread; the outputs are numbers and
one of three classes by turns. The monitor has its defaults, 1,000 rows in every epoch, or looks at
every fifth epoch. All are timed in turns, by the processor's time, to which other work beside does
not add; a time is the median over the rounds, a ratio that of the medians, with the least and the
largest of the rounds. What it costs by epoch does not depend on the
rows that are trained on, so that it is a smaller part where there are many.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from _timing import arguments, in_turns, number, one_thread, ratio, table, write

one_thread()

import numpy as np  # noqa: E402

from mtlearn import Inputs, MultiOutputNet, Targets  # noqa: E402
from mtlearn.inspection import GradientMonitor  # noqa: E402
from mtlearn.trunks import MLP, Graph, Recurrent, Trunk  # noqa: E402

N_FEATURES, N_STEPS = 20, 20
PLAIN, EVERY, FIFTH = "without", "every epoch", "every fifth epoch"
MONITORS = {
    PLAIN: None,
    EVERY: partial(GradientMonitor, warn_below=-1),
    FIFTH: partial(GradientMonitor, every=5, warn_below=-1),
}
LSTM = ("lstm", Recurrent(32, cell="lstm"), "X")
NETWORKS = {
    "16 units": (MLP((16,)), ()),
    "64 and 64 units": (MLP((64, 64)), ()),
    "256 and 256 units": (MLP((256, 256)), ()),
    f"LSTM of 32, {N_STEPS} steps": (
        Graph([("lstm", Recurrent(32, cell="lstm"), "X")]),
        (N_STEPS,),
    ),
}


def problem(n_rows: int, n_outputs: int, steps: tuple[int, ...]) -> tuple[Any, Targets]:
    """Return rows, or sequences, and outputs of both kinds by turns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, *steps, N_FEATURES)).astype(np.float32)
    flat = X.mean(axis=1) if steps else X
    mixed = flat @ rng.normal(size=(N_FEATURES, n_outputs)) + rng.normal(size=(n_rows, n_outputs))
    kinds = [np.tanh, lambda column: np.digitize(column, [-1.0, 1.0])]
    rows = Inputs({"X": X}) if steps else X
    return rows, Targets({f"y{k}": kinds[k % 2](mixed[:, k]) for k in range(n_outputs)})


def fits(
    trunk: Trunk, X: Any, y: Targets, monitor: Callable[[], Any] | None, n_epochs: int
) -> Callable[[], float]:
    """Return what fits, and tells the time."""

    def fit() -> float:
        start = time.process_time()
        net = MultiOutputNet(
            trunk,
            callbacks=[monitor()] if monitor else None,
            early_stopping=False,
            max_epochs=n_epochs,
            random_state=0,
        )
        net.fit(X, y)
        return time.process_time() - start

    return fit


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    n_rounds, n_epochs = (2, 5) if args.quick else (7, 10)
    rows = []
    for title, (trunk, steps) in NETWORKS.items():
        for n_outputs, n_rows in ((2, 1000), (2, 10_000), (4, 1000)):
            if steps and n_rows > 1000:
                continue
            X, y = problem(n_rows, n_outputs, steps)
            timers = {
                name: fits(trunk, X, y, monitor, n_epochs) for name, monitor in MONITORS.items()
            }
            for timer in timers.values():
                timer()
            found = in_turns(timers, n_rounds)
            rows.append(
                (
                    title,
                    f"{n_outputs}",
                    f"{n_rows:,}",
                    number(found[PLAIN], 1e3 / n_epochs, 1),
                    *(ratio(found[name], found[PLAIN]) for name in (EVERY, FIFTH)),
                )
            )
    header = ("network", "outputs", "rows", "ms per epoch, without", EVERY, FIFTH)
    text = table(header, rows)
    print(text)
    if args.write:
        write("gradient_monitor", [text])


if __name__ == "__main__":
    main()
