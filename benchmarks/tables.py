"""Errors of `tabular_net` on tables, beside scikit-learn's estimators.

Usage: python benchmarks/tables.py [--quick] [--write]

The data are those of ../shared/data, or of the folder that MTLEARN_DATA names. Of enb, slump, scpf,
wq, atp1d, andro (ten folds) and rf1 (five) the figure is the mean over folds and targets of
sqrt(squared error / squared error of the training mean), KFold(shuffle=True, random_state=1), as in
Spyromitros-Xioufis et al., "Multi-target regression via input space expansion", 2016. Of wine it is
the RMSE of the quality and the error of the colour, 20 % for testing by the seeds 0 to 2; of
abalone the mean absolute error of the rings, 33 % for testing by the seed 1, fits by the seeds 0 to
2; of emotions and scene the Hamming loss on the published split, fits by the seeds 0 to 2.

No estimator has an argument changed between the sets. Ridge and MLP get standardised columns, the
MLP standardised targets too. Seconds are those of a fit, on one thread, on the average.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.stats import gmean  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.model_selection import KFold, train_test_split  # noqa: E402
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from mtlearn import MultiOutputNet, Targets, tabular_net  # noqa: E402

DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))
FOLDS = {"slump": 10, "andro": 10, "enb": 10, "scpf": 10, "wq": 10, "atp1d": 10, "rf1": 5}
LABELS = ("emotions", "scene")
SETS = [
    "slump",
    "andro",
    "enb",
    "scpf",
    "wq",
    "emotions",
    "wine",
    "abalone",
    "scene",
    "atp1d",
    "rf1",
]
MOST_SINGLE = 3
OURS, FAST, SINGLE, PLAIN = "tabular_net", "fast", "one net each", "MultiOutputNet"
TITLES = [OURS, FAST, SINGLE, PLAIN, "forest of all", "forest of each", "boosting", "ridge", "MLP"]
Array = np.ndarray


@dataclass
class Part:
    """Rows to train on and to test on, and what the error of predictions is."""

    X: Array
    X_test: Array
    y: dict[str, Array]
    error: Callable[[dict[str, Array]], dict[str, float]]
    seed: int


def load(name: str) -> pd.DataFrame:
    """Return a data set."""
    return pd.read_csv(DATA / f"{name}.csv")


def columns(frame: pd.DataFrame, prefix: str) -> Array:
    """Return the columns that begin so."""
    return frame.filter(regex=f"^{prefix}_").to_numpy(np.float64)


def folds(name: str, *, quick: bool) -> Iterator[Part]:
    """Yield the folds of a set of several numbers."""
    frame = load(name)
    X, Y = columns(frame, "x"), columns(frame, "y")
    names = [f"t{i}" for i in range(Y.shape[1])]
    splits = KFold(FOLDS[name], shuffle=True, random_state=1).split(X)
    for seed, (train, test) in enumerate(splits):
        mean, truth = Y[train].mean(axis=0), Y[test]

        def error(p: dict[str, Array], truth: Array = truth, mean: Array = mean) -> dict:
            found = np.column_stack([p[name] for name in names])
            ratio = ((truth - found) ** 2).sum(0) / ((truth - mean) ** 2).sum(0)
            return {"": float(np.sqrt(ratio).mean())}

        yield Part(X[train], X[test], dict(zip(names, Y[train].T, strict=True)), error, seed)
        if quick:
            return


def wine(*, quick: bool) -> Iterator[Part]:
    """Yield the splits of a number and a class."""
    frame = load("wine_quality")
    X, quality = columns(frame, "x"), frame["y_quality"].to_numpy(float)
    colour = frame["y_colour"].to_numpy(str)
    for seed in range(1 if quick else 3):
        train, test = train_test_split(np.arange(len(X)), test_size=0.2, random_state=seed)

        def error(p: dict[str, Array], test: Array = test) -> dict[str, float]:
            rmse = np.sqrt(np.mean((p["quality"] - quality[test]) ** 2))
            return {" quality": float(rmse), " colour": float(np.mean(p["colour"] != colour[test]))}

        y = {"quality": quality[train], "colour": colour[train]}
        yield Part(X[train], X[test], y, error, seed)


def abalone(*, quick: bool) -> Iterator[Part]:
    """Yield fits of the rings and the sex on one split."""
    frame = load("abalone")
    X, rings = columns(frame, "x"), frame["y_rings"].to_numpy(float)
    sex = frame["y_sex"].to_numpy(str)
    train, test = train_test_split(np.arange(len(X)), test_size=0.33, random_state=1)
    for seed in range(1 if quick else 3):
        y = {"rings": rings[train], "sex": sex[train]}
        yield Part(
            X[train], X[test], y, lambda p: {"": np.abs(p["rings"] - rings[test]).mean()}, seed
        )


def labels(name: str, *, quick: bool) -> Iterator[Part]:
    """Yield fits of several labels on the published split."""
    frame = load(name)
    X, Y = columns(frame, "x"), columns(frame, "y").astype(int)
    train, test = (np.flatnonzero(frame["split"] == part) for part in ("train", "test"))
    for seed in range(1 if quick else 3):
        y = {"tags": Y[train]}
        yield Part(X[train], X[test], y, lambda p: {"": np.mean(p["tags"] != Y[test])}, seed)


def by_net(make: Callable[[int], object], part: Part) -> dict[str, Array]:
    """Return predictions of an estimator of named targets."""
    return make(part.seed).fit(part.X, Targets(part.y)).predict(part.X_test)


def one_each(part: Part) -> dict[str, Array]:
    """Return predictions of an estimator of ours for each target."""
    found = {}
    for name, target in part.y.items():
        net = tabular_net(random_state=part.seed).fit(part.X, Targets({name: target}))
        found[name] = net.predict(part.X_test)[name]
    return found


def plain(seed: int) -> object:
    """Return MultiOutputNet with its defaults."""
    net = MultiOutputNet(random_state=seed)
    return make_pipeline(SimpleImputer(), StandardScaler(), net)


def of_sklearn(number: object, several: object, label: object, part: Part) -> dict[str, Array]:
    """Return predictions of a regressor of all numbers, and of classifiers of classes."""
    found: dict[str, Array] = {}
    numbers = {n: y for n, y in part.y.items() if y.dtype.kind == "f"}
    if numbers:
        fitted = number.fit(part.X, np.column_stack(list(numbers.values())))
        values = fitted.predict(part.X_test).reshape(len(part.X_test), -1)
        found |= dict(zip(numbers, values.T, strict=True))
    for name, target in part.y.items():
        if name not in numbers:
            model = several if target.ndim == 2 else label
            found[name] = model.fit(part.X, target).predict(part.X_test)
    return found


def scaled(model: object) -> object:
    """Return a model behind imputation and scaling."""
    return make_pipeline(SimpleImputer(), StandardScaler(), model)


def peers(seed: int) -> dict[str, Callable[[Part], dict[str, Array]]]:
    """Return scikit-learn's estimators."""

    def forest(kind: type) -> object:
        return make_pipeline(SimpleImputer(), kind(random_state=seed))

    def boosting(part: Part) -> dict[str, Array]:
        return of_sklearn(
            MultiOutputRegressor(HistGradientBoostingRegressor(random_state=seed)),
            MultiOutputClassifier(HistGradientBoostingClassifier(random_state=seed)),
            HistGradientBoostingClassifier(random_state=seed),
            part,
        )

    def ridge(part: Part) -> dict[str, Array]:
        linear = scaled(LogisticRegression(max_iter=1000))
        return of_sklearn(scaled(Ridge()), MultiOutputClassifier(linear), linear, part)

    def mlp(part: Part) -> dict[str, Array]:
        params = {"hidden_layer_sizes": (128, 64), "random_state": seed}
        net = TransformedTargetRegressor(MLPRegressor(**params), transformer=StandardScaler())
        return of_sklearn(
            scaled(net), scaled(MLPClassifier(**params)), scaled(MLPClassifier(**params)), part
        )

    return {
        "forest of all": lambda part: of_sklearn(
            forest(RandomForestRegressor),
            forest(RandomForestClassifier),
            forest(RandomForestClassifier),
            part,
        ),
        "forest of each": lambda part: of_sklearn(
            MultiOutputRegressor(forest(RandomForestRegressor)),
            MultiOutputClassifier(forest(RandomForestClassifier)),
            forest(RandomForestClassifier),
            part,
        ),
        "boosting": boosting,
        "ridge": ridge,
        "MLP": mlp,
    }


def parts_of(name: str, *, quick: bool) -> Iterator[Part]:
    """Yield the parts of a set."""
    if name in FOLDS:
        return folds(name, quick=quick)
    if name in LABELS:
        return labels(name, quick=quick)
    return {"wine": wine, "abalone": abalone}[name](quick=quick)


def measure(name: str, *, quick: bool) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Return the mean errors of all estimators by figure, and the seconds of a fit."""
    errors: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {}
    for part in parts_of(name, quick=quick):
        fits: dict[str, Callable[[Part], dict[str, Array]]] = {
            OURS: lambda p: by_net(lambda seed: tabular_net(random_state=seed), p),
            FAST: lambda p: by_net(lambda seed: tabular_net(fast=True, random_state=seed), p),
            PLAIN: lambda p: by_net(plain, p),
            **({SINGLE: one_each} if 1 < len(part.y) <= MOST_SINGLE else {}),
            **peers(part.seed),
        }
        for title, fit in fits.items():
            begins = time.perf_counter()
            found = part.error(fit(part))
            seconds.setdefault(title, []).append(time.perf_counter() - begins)
            for figure, value in found.items():
                errors.setdefault(f"{name}{figure}", {}).setdefault(title, []).append(value)
    means = {f: {t: float(np.mean(v)) for t, v in by.items()} for f, by in errors.items()}
    return means, {title: float(np.mean(values)) for title, values in seconds.items()}


def row(figure: str, errors: dict[str, float], titles: Sequence[str]) -> tuple[str, ...]:
    """Return a row of the table of errors, the least one marked."""
    best = min(value for title, value in errors.items() if title not in (OURS, FAST, SINGLE, PLAIN))
    texts = [f"{errors[title]:.4f}" if title in errors else "" for title in titles]
    return figure, *texts, f"{errors[OURS] / best:.3f}"


def main() -> None:
    """Print the tables, and write them after each set."""
    args = arguments(__doc__)
    warnings.simplefilter("ignore", ConvergenceWarning)
    names = ["slump", "andro", "enb"] if args.quick else SETS
    rows, times, ratios = [], [], []
    for name in names:
        errors, seconds = measure(name, quick=args.quick)
        for figure, found in errors.items():
            rows.append(row(figure, found, TITLES))
            ratios.append(float(rows[-1][-1]))
        times.append((name, *(f"{seconds[t]:.1f}" if t in seconds else "" for t in TITLES)))
        parts = [
            table(("error", *TITLES, "by the best peer's"), rows),
            f"The geometric mean of the last column is {gmean(ratios):.3f}.\n",
            table(("seconds per fit", *TITLES), times),
        ]
        print(*parts, sep="\n", flush=True)
        if args.write:
            write("tables", parts)


if __name__ == "__main__":
    main()
