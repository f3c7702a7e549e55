"""Rentals of bikes in each hour: two counts by one `tabular_net`, beside scikit-learn's trees.

Usage: python benchmarks/bike.py [--quick] [--write]

The data is bike_hour.csv in ../shared/data, or in the folder that MTLEARN_DATA names: 17,379 hours
of two years in the order of time, twelve columns of calendar and weather, all taken as numbers, and
how many bikes were rented by casual and by registered users. A split at random holds out 20 % by
the seeds 0 to 2; the split in time trains on the first 80 %, with fits by the same seeds. The
figures are means over the seeds of the root mean squared error in rentals, and R2 in brackets.

"Fast" is `tabular_net(fast=True)`; "one each" is one for each count; `Count` learns a Poisson
deviance, and "log1p" the logarithms, by Regression(transformer=...). Trees are fitted to each count
by itself. No argument was chosen on these data. Seconds are those of a fit of both counts, on one
thread, at random rows.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor  # noqa: E402
from sklearn.metrics import r2_score, root_mean_squared_error  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402

from mtlearn import Targets, tabular_net  # noqa: E402
from mtlearn.heads import Count, Regression  # noqa: E402

DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))
NAMES = ["casual", "registered"]
SPLITS = {"random": "at random", "time": "in time"}
FEW = 2000
Array = np.ndarray
Predictions = dict[str, Array]
Fit = Callable[[Array, Targets, Array, int], Predictions]


def load() -> tuple[Array, Targets]:
    """Return the columns and the counts."""
    rows = pd.read_csv(DATA / "bike_hour.csv")
    y = Targets({name: rows[f"y_{name}"].to_numpy(float) for name in NAMES})
    return rows.filter(regex="^x_").to_numpy(float), y


def splits(kind: str, n_rows: int, n_seeds: int) -> Iterator[tuple[int, Array, Array]]:
    """Yield the seed, the rows to train on and those for testing."""
    rows = np.arange(n_rows)
    for seed in range(n_seeds):
        params = {"shuffle": False} if kind == "time" else {"random_state": seed}
        yield seed, *train_test_split(rows, test_size=0.2, **params)


def net(**params: object) -> Fit:
    """Return a fit of both counts by one net."""

    def fit(X: Array, y: Targets, X_test: Array, seed: int) -> Predictions:
        return dict(tabular_net(random_state=seed, **params).fit(X, y).predict(X_test))

    return fit


def one_each(X: Array, y: Targets, X_test: Array, seed: int) -> Predictions:
    """Fit a net to each count."""
    found: Predictions = {}
    for name in NAMES:
        found |= net(fast=True)(X, y[[name]], X_test, seed)
    return found


def trees(kind: type) -> Fit:
    """Return a fit of trees to each count."""

    def fit(X: Array, y: Targets, X_test: Array, seed: int) -> Predictions:
        return {name: kind(random_state=seed).fit(X, y[name]).predict(X_test) for name in NAMES}

    return fit


def logarithms() -> Regression:
    """Return a head that learns the logarithm of a count."""
    transformer = FunctionTransformer(np.log1p, np.expm1)
    return Regression(transformer=transformer)


FITS: dict[str, Fit] = {
    "tabular_net": net(),
    "fast": net(fast=True),
    "fast, one each": one_each,
    "fast, Count": net(fast=True, heads={name: Count() for name in NAMES}),
    "fast, log1p": net(fast=True, heads={name: logarithms() for name in NAMES}),
    "boosting": trees(HistGradientBoostingRegressor),
    "boosting, Poisson": lambda X, y, X_test, seed: {
        name: HistGradientBoostingRegressor(loss="poisson", random_state=seed)
        .fit(X, y[name])
        .predict(X_test)
        for name in NAMES
    },
    "forest": trees(RandomForestRegressor),
}


def measure(fit: Fit, X: Array, y: Targets, kind: str, n_seeds: int) -> tuple[Array, float]:
    """Return the mean errors and R2 of each count, of shape (2, 2), and the mean seconds."""
    scores, seconds = [], []
    for seed, train, test in splits(kind, len(X), n_seeds):
        start = time.perf_counter()
        found = fit(X[train], y[train], X[test], seed)
        seconds.append(time.perf_counter() - start)
        scores.append(
            [
                [root_mean_squared_error(y[n][test], found[n]), r2_score(y[n][test], found[n])]
                for n in NAMES
            ]
        )
    return np.mean(scores, axis=0), float(np.mean(seconds))


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    X, y = load()
    n_seeds = 3
    if args.quick:
        few = np.linspace(0, len(X) - 1, FEW).astype(int)
        X, y, n_seeds = X[few], y[few], 1
    header = ["estimator"]
    rows = {title: [title] for title in FITS}
    seconds = {}
    for kind, words in SPLITS.items():
        header += [f"{name}, {words}" for name in NAMES]
        for title, fit in FITS.items():
            scores, found = measure(fit, X, y, kind, n_seeds)
            seconds.setdefault(title, found)
            rows[title] += [f"{error:.1f} ({r2:.3f})" for error, r2 in scores]
            print(kind, *rows[title][-2:], title, f"{found:.1f} s", flush=True)
    text = table(
        [*header, "seconds"], [(*cells, f"{seconds[title]:.1f}") for title, cells in rows.items()]
    )
    print(text)
    if args.write:
        write("bike", [text])


if __name__ == "__main__":
    main()
