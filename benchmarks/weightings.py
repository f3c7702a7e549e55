"""What strategies of weighting gain for a main output that has auxiliary ones, on real tables.

Usage: python benchmarks/weightings.py [--quick] [--write]

The data are in ../shared/data, or in the folder that MTLEARN_DATA names. The main outputs: the
quality of wine, beside its colour; the rings of abalones, beside their sex; bikes rented by
registered users in an hour, beside those of casual ones; whether a person of the census earns more
than 50,000 dollars, beside whether never married, and the hours of work. A seed draws a quarter of
the rows for testing, at most 5,000, and of the rest at most 5,000 to train on; of the census both
come from the parts that were published.

Every network is MLP((64, 64)) with Adam and the same first weights for a seed, behind standardised
numbers and a column for each category. All have up to 500 epochs, and end when the main output's
loss on a tenth of the training rows, the same for all, has not fallen for 20; the weights are those
of the best epoch. The strategies have their default parameters. The tuned static weight is the one
of 0, .03, .1, .3 and 1, for all auxiliary outputs, with the best score of the main one in three
folds of the training rows; its 15 fits train side by side, and count in its seconds. "Alone" has
the weight 0.

Seeds are 0 to 4. Scores are of the testing rows: means, with standard deviations in brackets.
Gains over equal weights are paired by seed, with their standard error; in the last column they are
divided by the score of equal weights, of the area under the curve by what it lacks to 1, and
averaged over the data sets. Seconds are those of the processor per fit, the mean over the data
sets, on one thread. Nothing was chosen by these scores.
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.compose import make_column_selector, make_column_transformer  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

from mtlearn import MultiOutputNet, Targets  # noqa: E402
from mtlearn.model_selection import StackedGridSearchCV, make_output_scorer  # noqa: E402
from mtlearn.trunks import MLP  # noqa: E402

DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))
MOST_ROWS = 5000
WEIGHTS = [0, 0.03, 0.1, 0.3, 1]
EQUAL, TUNED, ALONE = "equal weights", "tuned static weight", "alone"
STRATEGIES = [
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
Parts = tuple[pd.DataFrame, Targets, pd.DataFrame, Targets]


class Problem(NamedTuple):
    """A data set: its file, the outputs, and how the main one is scored."""

    file: str
    main: str
    auxiliary: tuple[str, ...]
    scoring: str
    digits: int

    @property
    def title(self) -> str:
        """What heads a column."""
        return f"{'RMSE' if self.scoring != 'roc_auc' else 'AUC'} {self.main}"

    def parts(self, seed: int, most_rows: int) -> Parts:
        """Return the rows to train on and their targets, and those for testing."""
        rows = pd.read_csv(DATA / f"{self.file}.csv")
        order = np.random.default_rng(seed).permutation(len(rows))
        if "x_split" in rows:
            tests = (rows["x_split"] == "test").to_numpy()[order]
        else:
            tests = np.arange(len(rows)) < len(rows) // 4
        X = rows.filter(regex="^x_(?!split)")
        y = Targets({name: self._column(rows[f"y_{name}"]) for name in self.outputs})
        train, test = order[~tests][:most_rows], order[tests][:most_rows]
        return X.iloc[train], y[train], X.iloc[test], y[test]

    @property
    def outputs(self) -> list[str]:
        """The main output, then the others."""
        return [self.main, *self.auxiliary]

    @staticmethod
    def _column(values: pd.Series) -> np.ndarray:
        """Return numbers as floats; words, and 0 and 1, are classes."""
        numbers = values.dtype.kind in "if" and values.nunique() > 2
        return values.to_numpy(float) if numbers else values.to_numpy()


PROBLEMS = [
    Problem("wine_quality", "quality", ("colour",), "neg_root_mean_squared_error", 4),
    Problem("abalone", "rings", ("sex",), "neg_root_mean_squared_error", 3),
    Problem("bike_hour", "registered", ("casual",), "neg_root_mean_squared_error", 2),
    Problem("adult", "income", ("never_married", "hours_per_week"), "roc_auc", 4),
]


def make_net(problem: Problem, seed: int, max_epochs: int, **params: Any) -> Pipeline:
    """Return a network behind what encodes the columns."""
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(sparse_output=False, handle_unknown="ignore"),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    net = MultiOutputNet(
        MLP((64, 64)),
        main_output=problem.main,
        alpha=1e-4,
        max_epochs=max_epochs,
        early_stopping=True,
        n_iter_no_change=20,
        random_state=seed,
        **params,
    )
    return Pipeline([("columns", columns), ("net", net)])


def fit(problem: Problem, how: str, parts: Parts, seed: int, max_epochs: int) -> Pipeline:
    """Return a fitted network."""
    X, y, *_ = parts
    if how == TUNED:
        search = StackedGridSearchCV(
            make_net(problem, seed, max_epochs),
            {"net__loss_weights": [dict.fromkeys(problem.auxiliary, w) for w in WEIGHTS]},
            scoring=make_output_scorer(problem.main, problem.scoring),
            cv=3,
        )
        return search.fit(X, y).best_estimator_
    params: dict[str, Any] = {}
    if how == ALONE:
        params["loss_weights"] = dict.fromkeys(problem.auxiliary, 0)
    elif how != EQUAL:
        params["weighting"] = how
    return make_net(problem, seed, max_epochs, **params).fit(X, y)


class Found(NamedTuple):
    """What a fit gave: the score, the seconds, the epochs and the weight of auxiliary losses."""

    score: float
    seconds: float
    n_epochs: int
    weight: float


def measure(problem: Problem, how: str, parts: Parts, seed: int, max_epochs: int) -> Found:
    """Fit a network; return what it gives."""
    start = time.process_time()
    pipeline = fit(problem, how, parts, seed, max_epochs)
    seconds = time.process_time() - start
    _, _, X_test, y_test = parts
    score: Any = make_output_scorer(problem.main, problem.scoring)(pipeline, X_test, y_test)
    net = pipeline["net"]
    return Found(abs(float(score)), seconds, net.n_iter_, net.loss_weights_[problem.auxiliary[0]])


def with_spread(values: Sequence[float], digits: int) -> str:
    """Return the mean and the standard deviation."""
    spread = f" ({stdev(values):.{digits}f})" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def with_error(values: Sequence[float], digits: int, sign: str = "+") -> str:
    """Return the mean and its standard error."""
    error = f" ({stdev(values) / len(values) ** 0.5:.{digits}f})" if len(values) > 1 else ""
    return f"{mean(values):{sign}.{digits}f}{error}"


def gains(problem: Problem, found: Sequence[Found], equal: Sequence[Found]) -> list[float]:
    """Return by how much each fit is better than that with equal weights."""
    sign = 1 if problem.scoring == "roc_auc" else -1
    return [sign * (a.score - b.score) for a, b in zip(found, equal, strict=True)]


def shares(problem: Problem, found: Sequence[Found], equal: Sequence[Found]) -> list[float]:
    """Return the gains in percent of the error of equal weights."""
    return [
        100 * gain / (1 - b.score if problem.scoring == "roc_auc" else b.score)
        for gain, b in zip(gains(problem, found, equal), equal, strict=True)
    ]


def texts_of(results: Mapping[str, Sequence[Sequence[Found]]]) -> list[str]:
    """Return the tables of results, which hold fits by problem and seed, and the tuned weights."""
    scores, differences = [], []
    equal = results[EQUAL]
    for how, by_problem in results.items():
        together = list(zip(PROBLEMS, by_problem, equal, strict=True))
        seconds = mean(found.seconds for founds in by_problem for found in founds)
        cells = [with_spread([f.score for f in founds], p.digits) for p, founds, _ in together]
        scores.append((how, *cells, f"{seconds:.1f}"))
        if how == EQUAL:
            continue
        of_seeds = zip(*(shares(*one) for one in together), strict=True)
        differences.append(
            (
                how,
                *(with_error(gains(*one), one[0].digits) for one in together),
                with_error([mean(of_seed) for of_seed in of_seeds], 2),
            )
        )
    weights = [
        f"{problem.main} {', '.join(f'{found.weight:g}' for found in founds)}"
        for problem, founds in zip(PROBLEMS, results[TUNED], strict=True)
    ]
    return [
        table(("weights", *(problem.title for problem in PROBLEMS), "seconds"), scores),
        "Gains over equal weights, and their mean in percent of the error:\n",
        table(("weights", *(problem.main for problem in PROBLEMS), "percent"), differences),
        f"The static weights that the searches found, by seed: {'; '.join(weights)}.",
    ]


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__)
    n_seeds, max_epochs, most_rows = (1, 3, 600) if args.quick else (5, 500, MOST_ROWS)
    hows = [EQUAL, *STRATEGIES, TUNED, ALONE]
    results: dict[str, list[list[Found]]] = {how: [] for how in hows}
    for problem in PROBLEMS:
        parts = [problem.parts(seed, most_rows) for seed in range(n_seeds)]
        measure(problem, TUNED, parts[0], 0, 1)  # what is imported or compiled at first
        for how in hows:
            founds = [
                measure(problem, how, part, seed, max_epochs) for seed, part in enumerate(parts)
            ]
            results[how].append(founds)
            gain = with_error(gains(problem, founds, results[EQUAL][-1]), problem.digits)
            n_epochs = [found.n_epochs for found in founds]
            score = with_spread([found.score for found in founds], problem.digits)
            seconds = f"{mean(found.seconds for found in founds):.1f} s"
            print(problem.title, how, score, gain, seconds, "epochs", n_epochs, flush=True)
    texts = texts_of(results)
    print(*texts, sep="\n")
    if args.write:
        write("weightings", texts)


if __name__ == "__main__":
    main()
