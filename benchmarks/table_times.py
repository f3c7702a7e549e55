"""Seconds of a fit of `tabular_net` beside a forest, on one thread.

Usage: python benchmarks/table_times.py [--quick] [--write]

5,000 rows of 20 normal columns. A target is a sum of a sine, a product, a kink, a line and a step
of five of them, with noise of unit variance, a fifth of the whole variance; further targets mix
those parts in other shares. The class is whether another sum of them is positive. A forest is
scikit-learn's of 100 trees: of several numbers it is one forest of all, and the class has one of
its own. All are timed in one process, in turns; a time is the median over the rounds, and a ratio
that of the medians, with the least and the largest of the rounds. Epochs are those until the best
one and until the end, on the average over the two networks of the blend.
"""

from collections.abc import Callable
from statistics import mean

from _timing import arguments, in_turns, number, one_thread, ratio, seconds_of, table, write

one_thread()

import numpy as np  # noqa: E402
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # noqa: E402

from mtlearn import Targets, tabular_net  # noqa: E402

N_ROWS, N_COLUMNS = 5000, 20
TARGETS = {"a number": 1, "a number and a class": 1, "four numbers": 4}
Array = np.ndarray


def make_table(n_rows: int, n_numbers: int, *, has_class: bool) -> tuple[Array, Targets]:
    """Return a made-up table and its targets."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_COLUMNS))
    parts = np.column_stack(
        [2 * np.sin(X[:, 0]), X[:, 1] * X[:, 2], np.abs(X[:, 3]), X[:, 4], X[:, 5] > 0.5]
    )
    shares = np.vstack([np.ones(5), rng.normal(size=(3, 5))])
    y: dict[str, Array] = {
        f"number{i}": parts @ shares[i] + rng.normal(size=n_rows) for i in range(n_numbers)
    }
    if has_class:
        score = parts @ rng.normal(size=5) + rng.normal(size=n_rows)
        y["class"] = np.where(score > np.median(score), "yes", "no")
    return X, Targets(y)


def fit_forest(X: Array, y: Targets) -> None:
    """Fit a forest of all numbers, and one of the class."""
    numbers = np.column_stack([y[name] for name in y if name != "class"])
    forest = RandomForestRegressor(100, random_state=0)
    forest.fit(X, numbers if numbers.shape[1] > 1 else numbers[:, 0])
    if "class" in y:
        RandomForestClassifier(100, random_state=0).fit(X, y["class"])


def fitter(X: Array, y: Targets, epochs: list[tuple[int, int]], *, fast: bool) -> Callable:
    """Return what fits a net, and notes its epochs."""

    def fit() -> None:
        blend = tabular_net(fast=fast, random_state=0).fit(X, y)
        nets = [one[-1] for one in blend.estimators_]
        epochs[:] = [(net.best_epoch_, len(net.history_)) for net in nets]

    return fit


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    n_rows, n_rounds = (1000, 1) if args.quick else (N_ROWS, 3)
    warm = make_table(300, 1, has_class=True)
    fit_forest(*warm)
    fitter(*warm, [], fast=False)()
    rows = []
    for title, n_numbers in TARGETS.items():
        X, y = make_table(n_rows, n_numbers, has_class="class" in title)
        epochs: list[tuple[int, int]] = []
        fits: dict[str, Callable[[], None]] = {
            "slow": fitter(X, y, epochs, fast=False),
            "fast": fitter(X, y, [], fast=True),
            "forest": lambda X=X, y=y: fit_forest(X, y),
        }
        found = in_turns(
            {name: lambda fit=fit: seconds_of(fit) for name, fit in fits.items()}, n_rounds
        )
        rows.append(
            (
                title,
                *(number(found[name], digits=1) for name in ("slow", "fast", "forest")),
                *(ratio(found[name], found["forest"]) for name in ("slow", "fast")),
                "{:.0f} of {:.0f}".format(*(mean(counts) for counts in zip(*epochs, strict=True))),
            )
        )
    header = ("targets", "tabular_net", "fast", "forest", "tabular_net / forest", "fast / forest")
    text = table((*header, "epochs"), rows)
    print(text)
    if args.write:
        write("table_times", [text])


if __name__ == "__main__":
    main()
