"""What each part of the online learner is worth, on streams whose features come and go.

Usage: python benchmarks/online_ablation.py [--quick] [--write] [--jobs N]

Errors are those of german (p = 0.73) and svmguide3 (p = 0.72), the first two features always there,
means over the seeds 0 to 5; balanced accuracies those where any feature is there with p = 0.5,
means over german, svmguide3, australian, diabetes_f, wbc, wpbc and italypower and the seeds 0 and
1; "lifted" are those of predicting the class whose probability exceeds its frequency so far by the
largest factor, as `balanced=True` does. For data, orders and the rest see online.py. All rows of
the table differ from the default in what they name alone. Differences to it are paired by seed (and
stream), with standard errors.

"As published" are: hedge backpropagation with 20 layers of 100 units and rate 0.01; Aux-Drop with 6
layers, its rate 0.1; Aux-Net with 5 layers before and behind the middle one, rate 0.01. All three
have stochastic gradient descent, losses weighed by the published hedge, and nothing estimated. With
features of which none is always there, the first layers of Aux-Drop and Aux-Net have the constant
1. What is published has no scaling; without it, Aux-Drop leaves the finite numbers on german.
"""

from collections.abc import Callable
from math import ceil
from statistics import mean, stdev
from typing import Any

from _timing import arguments, one_thread, table, write

one_thread()

from _online_parts import (  # noqa: E402
    ALONE,
    Score,
    paper_weights,
    scores_of,
    shuffled,
    side_by_side,
)

from mtlearn import OnlineMultiOutputNet  # noqa: E402
from mtlearn.trunks import AuxDrop, AuxNet, Hedge  # noqa: E402

SMALL = ("german", "svmguide3", "australian", "diabetes_f", "wbc", "wpbc", "italypower")
DEFAULT = "default"
LINEAR = "online logistic regression"
PAPER = {
    "impute": False,
    "second_order": False,
    "expert_losses": "weighted",
    "optimizer": "sgd",
    "learning_rate": 0.01,
}


def aux_drop(n_features: int, n_base: int, **params: Any) -> AuxDrop:
    """Return Aux-Drop with as many nodes as the features need, 100 at least."""
    return AuxDrop(n_base=n_base, n_units=max(100, ceil((n_features - n_base) / 0.3)), **params)


# What makes the parameters that differ from the defaults, of the number of features and of those
# that are always there.
Make = Callable[[int, int], dict[str, Any]]
OPTIONS: dict[str, Make | None] = {
    DEFAULT: lambda _n, _base: {},
    LINEAR: None,
    "impute=False": lambda _n, _base: {"impute": False},
    "scale=False": lambda _n, _base: {"scale": False},
    "second_order=False": lambda _n, _base: {"second_order": False},
    'expert_losses="weighted"': lambda _n, _base: {"expert_losses": "weighted"},
    "the published hedge": lambda _n, _base: {"expert_weighting": paper_weights()},
    "Hedge(masked=False)": lambda _n, _base: {"trunk": Hedge(masked=False)},
    "Hedge(masked=False, linear=False)": lambda _n, _base: {
        "trunk": Hedge(masked=False, linear=False)
    },
    "Hedge(()): linear experts only": lambda _n, _base: {"trunk": Hedge(())},
    "Hedge((100,) * 4)": lambda _n, _base: {"trunk": Hedge((100,) * 4)},
    "AuxDrop": lambda n, base: {"trunk": aux_drop(n, base)},
    "AuxNet": lambda _n, base: {"trunk": AuxNet(base)},
    "hedge backpropagation as published, but scaled": lambda _n, _base: {
        **PAPER,
        "trunk": Hedge((100,) * 20, masked=False),
        "expert_weighting": paper_weights(),
    },
    "Aux-Drop as published, but scaled": lambda n, base: {
        **PAPER,
        "learning_rate": 0.1,
        "trunk": aux_drop(n, base, drop_in_prediction=True),
        "expert_weighting": paper_weights(),
    },
    "Aux-Net as published, but scaled": lambda _n, base: {
        **PAPER,
        "trunk": AuxNet(base),
        "expert_weighting": paper_weights(),
    },
}


def score(option: str, name: str, p: float, n_base: int, seed: int) -> Score:
    """Return the scores of a pass."""
    X, y = shuffled(name, p, seed, n_always=n_base)
    make = OPTIONS[option]
    if make is None:
        return scores_of(None, X, y)
    net = OnlineMultiOutputNet(random_state=seed, **make(X.shape[1], n_base))
    return scores_of(lambda: net, X, y)


def difference(found: list[float], default: list[float], digits: int) -> str:
    """Return the mean difference to the default, with its standard error."""
    gaps = [a - b for a, b in zip(found, default, strict=True)]
    error = f" ({stdev(gaps) / len(gaps) ** 0.5:.{digits}f})" if len(gaps) > 1 else ""
    return f"{mean(gaps):+.{digits}f}{error}"


def main() -> None:
    """Print the table."""
    args = arguments(__doc__, jobs=True)
    n_seeds, n_small = (1, 1) if args.quick else (6, 2)
    small = SMALL[2:4] if args.quick else SMALL
    found: dict[str, list[list[float]]] = {}
    for option in OPTIONS:
        columns = [
            [(option, name, ALONE[name], 2, seed) for seed in range(n_seeds)]
            for name in ("german", "svmguide3")
        ]
        columns.append([(option, name, 0.5, 0, seed) for name in small for seed in range(n_small)])
        scores = [side_by_side(score, calls, args.jobs) for calls in columns]
        found[option] = [[float(one.errors) for one in column] for column in scores[:2]]
        found[option] += [[one.balanced for one in scores[2]], [one.lifted for one in scores[2]]]
        print(option, *(f"{mean(values):.2f}" for values in found[option]), flush=True)
    rows = []
    for option, columns in found.items():
        cells = []
        for values, default in zip(columns, found[DEFAULT], strict=True):
            gap = "" if option == DEFAULT else " " + difference(values, default, 1)
            cells.append(f"{mean(values):.1f}{gap}")
        rows.append((option, *cells))
    header = ("learner", "german", "svmguide3", "balanced accuracy", "lifted")
    text = table(header, rows)
    print(text)
    if args.write:
        write("online_ablation", [text])


if __name__ == "__main__":
    main()
