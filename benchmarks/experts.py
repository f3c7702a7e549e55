"""Census rows with three outputs: what they share, by mixtures of experts or in one trunk.

Usage: python benchmarks/experts.py [--quick] [--write]

The data, the outputs and the scores are those of categories.py: adult.csv, 32,561 rows to train on
and 16,281 for testing, as published; income, never married, hours worked in a week. Numbers are
standardised, and each category has a column. The networks differ in the trunk alone: a shared
bottom of layers of 128 and 64 units, MMoE with four experts of 64 and 32 units, PLE with two shared
experts and one of each output of that size, in one level (CGC) and in two; and a network of the
shared bottom for each output by itself. All start from the seeds 0 to 4, which also choose the rows
held out for stopping. Differences to the shared bottom are paired by seed, with their standard
error. Nothing was chosen by these scores.
"""

import time
from collections.abc import Callable, Sequence
from statistics import mean, stdev

from _timing import arguments, table, write
from categories import (
    CATEGORIES,
    CLASSES,
    HOURS,
    NUMBERS,
    Scores,
    boosting_scores,
    load,
    row,
    scores_of,
)
from sklearn.compose import make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mtlearn import MultiOutputNet
from mtlearn.trunks import MLP, PLE, MMoE, Trunk

SHARED, ALONE = "shared bottom", "one net each"
TRUNKS: dict[str, Callable[[], Trunk]] = {
    SHARED: lambda: MLP((128, 64), dropout=0.1),
    "MMoE": lambda: MMoE(MLP((64, 32), dropout=0.1), n_experts=4),
    "PLE, one level": lambda: PLE(MLP((64, 32), dropout=0.1)),
    "PLE, two levels": lambda: PLE(MLP((64, 32), dropout=0.1), n_levels=2),
}
OUTPUTS = [*CLASSES, HOURS]


def make_net(trunk: Trunk, seed: int, max_epochs: int) -> Pipeline:
    """Return a network behind what encodes the columns."""
    columns = make_column_transformer(
        (StandardScaler(), NUMBERS),
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), CATEGORIES),
    )
    return make_pipeline(
        columns,
        MultiOutputNet(
            trunk,
            alpha=1e-4,
            max_epochs=max_epochs,
            early_stopping=True,
            n_iter_no_change=5,
            random_state=seed,
        ),
    )


def net_scores(trunk: Trunk, parts: tuple, seed: int, max_epochs: int, *, alone: bool) -> Scores:
    """Fit a network of all outputs, or one for each; return the scores."""
    X, y, X_test, y_test = parts
    chances, hours = {}, None
    for names in [[name] for name in OUTPUTS] if alone else [OUTPUTS]:
        net = make_net(trunk, seed, max_epochs).fit(X, y[names])
        chances |= {name: p[:, 1] for name, p in net.predict_proba(X_test).items()}
        if HOURS in names:
            hours = net.predict(X_test)[HOURS]
    return scores_of(chances, hours, y_test)


def difference(found: Sequence[Scores], shared: Sequence[Scores], output: str) -> str:
    """Return the mean gain over the shared bottom, with its standard error."""
    sign = -1 if output == HOURS else 1
    gains = [sign * (a[output] - b[output]) for a, b in zip(found, shared, strict=True)]
    digits = 3 if output == HOURS else 4
    if len(gains) == 1:
        return f"{gains[0]:+.{digits}f}"
    return f"{mean(gains):+.{digits}f} ({stdev(gains) / len(gains) ** 0.5:.{digits}f})"


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__)
    parts = load()
    n_seeds, max_epochs = (1, 2) if args.quick else (5, 40)

    def by(trunk: Callable[[], Trunk], *, alone: bool = False) -> Callable[[int], Scores]:
        return lambda seed: net_scores(trunk(), parts, seed, max_epochs, alone=alone)

    fits = {name: by(trunk) for name, trunk in TRUNKS.items()}
    fits[ALONE] = by(TRUNKS[SHARED], alone=True)
    fits["HistGradientBoosting"] = lambda seed: boosting_scores(parts, seed)
    found, rows = {}, []
    for name, fit in fits.items():
        begins = time.perf_counter()
        found[name] = [fit(seed) for seed in range(n_seeds)]
        rows.append(row(name, found[name], (time.perf_counter() - begins) / n_seeds))
        print(*rows[-1], flush=True)
    texts = [
        table(("trunk", "AUC income", "AUC never married", "RMSE hours", "seconds"), rows),
        "Gains over the shared bottom; of the hours, what the error is less:\n",
        table(
            ("trunk", "income", "never married", "hours"),
            [
                (name, *(difference(found[name], found[SHARED], output) for output in OUTPUTS))
                for name in fits
                if name != SHARED
            ],
        ),
    ]
    print(*texts, sep="\n")
    if args.write:
        write("experts", texts)


if __name__ == "__main__":
    main()
