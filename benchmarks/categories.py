"""Census rows with categories: vectors that are learned against one column per category.

Usage: python benchmarks/categories.py [--quick] [--write]

The data is adult.csv in ../shared/data, or in the folder that MTLEARN_DATA names: 32,561 rows to
train on, 16,281 for testing, as published. Three outputs are learned by one network from five
numbers and six columns of categories: whether a person earns more than 50,000 dollars, has never
married, and the hours worked in a week. The networks are alike but for the categories, and start
from the seeds 0 to 4; a search takes the length of the vectors that has the best area under the
curve of the income in three folds of 8,000 training rows. Beside them are scikit-learn's
HistGradientBoosting estimators, one for each output. Settings were chosen on rows held out of the
training rows.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.metrics import roc_auc_score, root_mean_squared_error  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import (  # noqa: E402
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from mtlearn import MultiOutputNet, Targets  # noqa: E402
from mtlearn.model_selection import make_output_scorer  # noqa: E402
from mtlearn.preprocessing import ColumnInputs  # noqa: E402
from mtlearn.trunks import MLP, CategoryEmbedding, Graph  # noqa: E402

DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))
NUMBERS = ["age", "fnlwgt", "education_num", "capital_gain", "capital_loss"]
CATEGORIES = ["workclass", "education", "occupation", "race", "sex", "native_country"]
CLASSES, HOURS = ["income", "never_married"], "hours_per_week"
GRID = {"net__trunk__vectors__n_units": [2, 4, 8]}
Scores = dict[str, float]


def load() -> tuple[pd.DataFrame, Targets, pd.DataFrame, Targets]:
    """Return the rows to train on and their targets, and those for testing."""
    rows = pd.read_csv(DATA / "adult.csv")
    X = rows[[f"x_{name}" for name in NUMBERS + CATEGORIES]]
    X.columns = NUMBERS + CATEGORIES
    y = Targets(
        {name: rows[f"y_{name}"].to_numpy() for name in CLASSES}
        | {HOURS: rows[f"y_{HOURS}"].to_numpy(dtype=float)}
    )
    train, test = (np.flatnonzero(rows["x_split"] == part) for part in ("train", "test"))
    return X.iloc[train], y[train], X.iloc[test], y[test]


def make_net(seed: int, *, embeds: bool, max_epochs: int) -> Pipeline:
    """Return the network behind what selects and encodes the columns."""
    codes: Any = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    stages: list[Any] = [("dense", MLP((128, 64), dropout=0.1), ["numbers", "categories"])]
    if embeds:
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            encoded_missing_value=-1,
            dtype=np.int64,
        )
        stages = [
            ("vectors", CategoryEmbedding(4), "categories"),
            ("dense", MLP((128, 64), dropout=0.1), ["numbers", "vectors"]),
        ]
    scaler = StandardScaler()
    columns = ColumnInputs([("numbers", scaler, NUMBERS), ("categories", codes, CATEGORIES)])
    net = MultiOutputNet(
        Graph(stages),
        alpha=1e-4,
        max_epochs=max_epochs,
        early_stopping=True,
        n_iter_no_change=5,
        random_state=seed,
    )
    return Pipeline([("columns", columns), ("net", net)])


def scores_of(chances: dict[str, np.ndarray], hours: np.ndarray, y: Targets) -> Scores:
    """Return the area under the curve of each class, and the error of the hours."""
    areas = {name: float(roc_auc_score(y[name], chances[name])) for name in CLASSES}
    return areas | {HOURS: float(root_mean_squared_error(y[HOURS], hours))}


def net_scores(net: Pipeline, parts: tuple) -> Scores:
    """Fit the network; return its scores."""
    X, y, X_test, y_test = parts
    net.fit(X, y)
    chances = {name: p[:, 1] for name, p in net.predict_proba(X_test).items()}
    return scores_of(chances, net.predict(X_test)[HOURS], y_test)


def boosting_scores(parts: tuple, seed: int) -> Scores:
    """Fit trees for each output; return their scores."""
    X, y, X_test, y_test = parts
    as_categories = dict.fromkeys(CATEGORIES, "category")
    X, X_test = X.astype(as_categories), X_test.astype(as_categories)
    params = {"categorical_features": "from_dtype", "random_state": seed}
    chances = {
        name: HistGradientBoostingClassifier(**params).fit(X, y[name]).predict_proba(X_test)[:, 1]
        for name in CLASSES
    }
    hours = HistGradientBoostingRegressor(**params).fit(X, y[HOURS]).predict(X_test)
    return scores_of(chances, hours, y_test)


def row(name: str, found: Sequence[Scores], seconds: float) -> tuple[str, ...]:
    """Return a row of the table: means and standard deviations over the seeds."""
    texts = []
    for output in [*CLASSES, HOURS]:
        values = [scores[output] for scores in found]
        digits = 2 if output == HOURS else 4
        spread = f" ({stdev(values):.{digits}f})" if len(values) > 1 else ""
        texts.append(f"{mean(values):.{digits}f}{spread}")
    return name, *texts, f"{seconds:.1f}"


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    parts = load()
    n_seeds, max_epochs = (1, 2) if args.quick else (5, 40)
    few = np.random.default_rng(0).permutation(len(parts[0]))[:8000]
    scoring = make_output_scorer("income", "roc_auc")
    search = GridSearchCV(
        make_net(0, embeds=True, max_epochs=max_epochs), GRID, cv=3, scoring=scoring, refit=False
    )
    chosen = search.fit(parts[0].iloc[few], parts[1][few]).best_params_

    def vectors(seed: int) -> Scores:
        net = make_net(seed, embeds=True, max_epochs=max_epochs)
        return net_scores(net.set_params(**chosen), parts)

    def columns(seed: int) -> Scores:
        return net_scores(make_net(seed, embeds=False, max_epochs=max_epochs), parts)

    def boosting(seed: int) -> Scores:
        return boosting_scores(parts, seed)

    names = ["vectors", "one column each", "HistGradientBoosting"]
    rows = []
    for name, fit in zip(names, (vectors, columns, boosting), strict=True):
        begins = time.perf_counter()
        found = [fit(seed) for seed in range(n_seeds)]
        rows.append(row(name, found, (time.perf_counter() - begins) / n_seeds))
    header = ("categories as", "AUC income", "AUC never married", "RMSE hours", "seconds")
    text = table(header, rows)
    note = f"The search chose vectors of length {chosen[next(iter(GRID))]}."
    print(text, note, sep="\n")
    if args.write:
        write("categories", [text, note])


if __name__ == "__main__":
    main()
