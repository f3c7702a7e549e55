"""Intervals of 80 and 95 %: how many labels are inside, and how wide they are.

Usage: python benchmarks/intervals.py [--quick] [--write]

The data are those of ../shared/data, or of the folder that MTLEARN_DATA names: enb (768 rows, two
loads of buildings) in ten folds, KFold(shuffle=True, random_state=1); the quality of wine and the
bikes rented by casual and by registered users, 20 % for testing by the seeds 0 to 2. Coverage is in
percent of the labels for testing, the width in standard deviations of all labels; both are means
over the splits, and the targets of a set are learned together.

All networks are the second Pipeline of `tabular_net(fast=True)`, four members, with the heads
Quantile([.025, .1, .5, .9, .975]) and Gaussian(), whose intervals are those of the normal
distribution with the mean and `predict_std`. A quarter of the training rows, the same for all
members, ends the training. "Widened" are the same fits in ConformalIntervalsCV(cv="prefit"), on
those rows. Boosting is a pair of scikit-learn's HistGradientBoostingRegressor(loss="quantile") with
their defaults, on all training rows, and widened in the same way with those held out. That it is
these rows that widen was chosen on other splits, by the seed 7.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.stats import norm  # noqa: E402
from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: E402
from sklearn.model_selection import KFold, train_test_split  # noqa: E402

from mtlearn import Targets, tabular_net  # noqa: E402
from mtlearn.heads import Gaussian, Quantile  # noqa: E402
from mtlearn.model_selection import ConformalIntervalsCV  # noqa: E402

DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))
SETS = {
    "enb": {"heating": "y_Y1", "cooling": "y_Y2"},
    "wine_quality": {"quality": "y_quality"},
    "bike_hour": {"casual": "y_casual", "registered": "y_registered"},
}
LEVELS = (0.8, 0.95)
QUANTILES = [0.025, 0.1, 0.5, 0.9, 0.975]
ENDS = {0.8: (1, 3), 0.95: (0, 4)}
HELD_OUT = 0.25
FEW = 2000
Array = np.ndarray


class Ends(NamedTuple):
    """The lower and the upper ends of intervals."""

    low: Array
    high: Array


Intervals = dict[tuple[str, float], Ends]  # by target and level


class Part(NamedTuple):
    """The rows of a split, those that end the training apart from those that are trained on."""

    X: Array
    y: Targets
    X_held: Array
    y_held: Targets
    X_test: Array
    y_test: Targets
    seed: int


def load(name: str) -> tuple[Array, Targets]:
    """Return the columns and the targets of a set."""
    rows = pd.read_csv(DATA / f"{name}.csv")
    y = Targets({target: rows[column].to_numpy(float) for target, column in SETS[name].items()})
    return rows.filter(regex="^x_").to_numpy(float), y


def parts(name: str, X: Array, y: Targets, *, quick: bool) -> Iterator[Part]:
    """Yield the splits of a set."""
    rows = np.arange(len(X))
    if name == "enb":
        splits = list(KFold(10, shuffle=True, random_state=1).split(X))
    else:
        splits = [train_test_split(rows, test_size=0.2, random_state=seed) for seed in range(3)]
    for seed, (train, test) in enumerate(splits[:1] if quick else splits):
        train, held = train_test_split(train, test_size=HELD_OUT, random_state=seed)
        yield Part(X[train], y[train], X[held], y[held], X[test], y[test], seed)


def share_of(scores: Array, level: float) -> float:
    """Return what the score of a new row exceeds with the chance that is left by a level."""
    rank = int(np.ceil((len(scores) + 1) * level))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def widened(ends: Ends, held: Ends, labels: Array, level: float) -> Ends:
    """Return intervals whose ends are moved outwards, so that they hold a share of the labels."""
    distance = share_of(np.maximum(held.low - labels, labels - held.high), level)
    return Ends(ends.low - distance, ends.high + distance)


def by_net(part: Part, head: Quantile | Gaussian) -> dict[str, Intervals]:
    """Return the intervals of networks, as they are and widened."""
    heads = dict.fromkeys(part.y, head)
    blend = tabular_net(heads=heads, fast=True, random_state=part.seed)
    *steps, (_, net) = dict(blend.estimators)["bins"].steps
    ((_, columns),) = steps
    X = columns.fit_transform(part.X)
    X_held, X_test = columns.transform(part.X_held), columns.transform(part.X_test)
    net.fit(X, part.y, X_val=X_held, y_val=part.y_held)
    conformal = ConformalIntervalsCV(net, cv="prefit").fit(X_held, part.y_held)
    predicted = net.predict(X_test)
    stds = net.predict_std(X_test) if isinstance(head, Gaussian) else {}
    found: dict[str, Intervals] = {"": {}, ", widened": {}}
    for level, (low, high) in ENDS.items():
        intervals = conformal.predict_interval(X_test, level)
        for target in part.y:
            values = predicted[target]
            if isinstance(head, Quantile):
                ends = Ends(values[:, low], values[:, high])
            else:
                half = norm.ppf(0.5 + level / 2) * stds[target]
                ends = Ends(values - half, values + half)
            found[""][target, level] = ends
            found[", widened"][target, level] = Ends(*intervals[target].T)
    return found


def by_boosting(part: Part) -> dict[str, Intervals]:
    """Return the intervals of pairs of quantiles: of all rows, and widened by those held out."""

    def pair(X: Array, y: Array, level: float, *tests: Array) -> list[Ends]:
        nets = [
            HistGradientBoostingRegressor(
                loss="quantile", quantile=quantile, random_state=part.seed
            ).fit(X, y)
            for quantile in (0.5 - level / 2, 0.5 + level / 2)
        ]
        return [Ends(*(net.predict(test) for net in nets)) for test in tests]

    X_all = np.vstack([part.X, part.X_held])
    found: dict[str, Intervals] = {"": {}, ", widened": {}}
    for target in part.y:
        labels = np.concatenate([part.y[target], part.y_held[target]])
        for level in LEVELS:
            (found[""][target, level],) = pair(X_all, labels, level, part.X_test)
            ends, held = pair(part.X, part.y[target], level, part.X_test, part.X_held)
            found[", widened"][target, level] = widened(ends, held, part.y_held[target], level)
    return found


FITS = {
    "Quantile": lambda part: by_net(part, Quantile(QUANTILES)),
    "Gaussian": lambda part: by_net(part, Gaussian()),
    "boosting": by_boosting,
}


def measure(name: str, *, quick: bool) -> Iterator[tuple[str, ...]]:
    """Yield rows of the table, two for each target and kind of intervals."""
    X, y = load(name)
    if quick and len(X) > FEW:
        X, y = X[:FEW], y[:FEW]
    scale = {target: float(np.std(y[target])) for target in y}
    scores: dict[tuple[str, str, float], list[tuple[float, float]]] = {}
    for part in parts(name, X, y, quick=quick):
        for title, fit in FITS.items():
            begins = time.perf_counter()
            for kind, intervals in fit(part).items():
                for (target, level), (low, high) in intervals.items():
                    labels = part.y_test[target]
                    inside = 100 * np.mean((low <= labels) & (labels <= high))
                    width = np.mean(high - low) / scale[target]
                    of_kind = scores.setdefault((target, title + kind, level), [])
                    of_kind.append((float(inside), float(width)))
            print(f"{name} {part.seed} {title}: {time.perf_counter() - begins:.1f} s", flush=True)
    for target in y:
        titles = dict.fromkeys(title for of, title, _ in scores if of == target)
        for title in titles:
            cells = []
            for level in LEVELS:
                inside, width = np.mean(scores[target, title, level], axis=0)
                cells += [f"{inside:.1f}", f"{width:.3f}"]
            yield f"{name} {target}", title, *cells


def main() -> None:
    """Print the table, and write it after each set."""
    args = arguments(__doc__)
    rows: list[tuple[str, ...]] = []
    header = ("target", "intervals", "80 %: inside", "width", "95 %: inside", "width")
    for name in ["enb"] if args.quick else SETS:
        rows += measure(name, quick=args.quick)
        text = table(header, rows)
        print(text, flush=True)
        if args.write:
            write("intervals", [text])


if __name__ == "__main__":
    main()
