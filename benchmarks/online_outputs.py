"""A stream with a class and a number: learned together, and each by itself.

Usage: python benchmarks/online_outputs.py [--quick] [--write] [--jobs N]

The data are wine_quality.csv (colour and quality) and abalone.csv (sex and rings) of
../shared/data, or of the folder that MTLEARN_DATA names, the rows in an order of its own for each
of the seeds 0 to 2. Every feature is there with the probability 0.7, and every label, of each
output by itself, too. Each row is predicted before it is learned, one at a time; figures are those
of the labels that are there, means over the seeds with standard deviations: errors of the class in
percent, and the mean absolute error of the number. The constant is the most frequent class, and the
mean, so far.
"""

from collections import Counter
from statistics import mean

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from _online_parts import DATA, side_by_side, spread  # noqa: E402

from mtlearn import OnlineMultiOutputNet, Targets  # noqa: E402
from mtlearn.datasets import withhold_features  # noqa: E402
from mtlearn.heads import Classification, Regression  # noqa: E402
from mtlearn.model_selection import prequential  # noqa: E402

SETS = {"wine_quality": ("colour", "quality"), "abalone": ("sex", "rings")}
CONSTANT, ALONE, TOGETHER = "constant", "each alone", "together"
P = 0.7


def scores(kind: str, name: str, seed: int, n_rows: int | None) -> tuple[float, float]:
    """Return the percentage of errors of the class, and the absolute error of the number."""
    rng = np.random.default_rng(seed)
    data = pd.read_csv(DATA / f"{name}.csv").sample(frac=1.0, random_state=seed)[:n_rows]
    X = withhold_features(data.filter(like="x_").to_numpy(float), p=P, random_state=seed)
    classified, measured = SETS[name]
    y = {
        classified: data[f"y_{classified}"].to_numpy(dtype=object),
        measured: data[f"y_{measured}"].to_numpy(dtype=np.float64),
    }
    y[classified][rng.random(len(X)) > P] = None
    y[measured][rng.random(len(X)) > P] = np.nan
    if kind == CONSTANT:
        return constant_scores(y[classified], y[measured])
    heads = {classified: Classification(), measured: Regression()}
    groups = [[classified], [measured]] if kind == ALONE else [[classified, measured]]
    found = {}
    for group in groups:
        net = OnlineMultiOutputNet(
            heads={output: heads[output] for output in group},
            missing_targets="ignore",
            random_state=seed,
        )
        found |= prequential(net, X, Targets({output: y[output] for output in group})).metrics
    return 100 * (1 - found[classified]["accuracy"]), found[measured]["mae"]


def constant_scores(labels: np.ndarray, numbers: np.ndarray) -> tuple[float, float]:
    """Return the scores of the most frequent class and of the mean, each of the labels before."""
    count: Counter[str] = Counter()
    errors = 0
    for label in labels[labels != None]:  # noqa: E711
        errors += not count or count.most_common(1)[0][0] != label
        count[label] += 1
    numbers = numbers[~np.isnan(numbers)]
    means = np.cumsum(numbers) / np.arange(1, len(numbers) + 1)
    return 100 * errors / count.total(), float(np.abs(numbers[1:] - means[:-1]).mean())


def main() -> None:
    """Print the table."""
    args = arguments(__doc__, jobs=True)
    n_seeds, n_rows = (1, 300) if args.quick else (3, None)
    rows = []
    for name, outputs in SETS.items():
        found = {}
        for kind in (CONSTANT, ALONE, TOGETHER):
            calls = [(kind, name, seed, n_rows) for seed in range(n_seeds)]
            found[kind] = list(zip(*side_by_side(scores, calls, args.jobs), strict=True))
            print(name, kind, *(f"{mean(values):.3f}" for values in found[kind]), flush=True)
        for i, output in enumerate(outputs):
            cells = (spread(found[kind][i], 3 if i else 2) for kind in found)
            rows.append((name, f"{output}, {'absolute error' if i else 'errors'}", *cells))
    text = table(("stream", "output", CONSTANT, ALONE, TOGETHER), rows)
    print(text)
    if args.write:
        write("online_outputs", [text])


if __name__ == "__main__":
    main()
