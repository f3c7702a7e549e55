"""Errors on streams whose features come and go, beside an online logistic regression.

Usage: python benchmarks/online.py [--quick] [--write] [--jobs N]

The data are stream_*.csv of ../shared/data, or of the folder that MTLEARN_DATA names. Each seed has
an order of the rows of its own, and draws which features are absent; the seeds are 0 to 19, of a8a
0 to 4. Each row is predicted before it is learned, one at a time, in one pass; the first, of which
nothing is known, counts as predicted to be of class 0. The classes are declared. Nothing differs
between the streams. The figures are means over the seeds, with standard deviations.

First table: the first two features are always there, the others with the probability p, as in
Agarwal et al., "Aux-Drop: Handling Haphazard Inputs in Online Learning Using Auxiliary Dropouts",
2023, whose best errors stand beside. The logistic regression has running z-scores, 0 for what is
absent, and AdaGrad's steps with the rate 0.1, on the same rows. The ratio is that of the mean
errors.

Second table: german, where the absence tells the class: a feature is there with a probability that
is drawn for each class, from 0.25 to 0.75, or from 0.625 to 0.875 (`withhold_features`,
"informative", with p = 0.5 and 0.75). With a mask, a learner has a column for each feature that
says whether it is absent.
"""

from collections.abc import Callable
from statistics import mean

from _timing import arguments, one_thread, table, write

one_thread()

from _online_parts import ALONE, Score, scores_of, shuffled, side_by_side, spread  # noqa: E402

from mtlearn import OnlineMultiOutputNet  # noqa: E402
from mtlearn.trunks import Hedge  # noqa: E402

PUBLISHED = {"german": 300.4, "svmguide3": 297.2, "a8a": 6710.7}
N_SEEDS = {"german": 20, "svmguide3": 20, "a8a": 5}
INFORMATIVE = (0.5, 0.75)
LINEAR, LINEAR_MASK, OURS = "logistic regression", "logistic regression, mask", "default"
NETS: dict[str, Callable[[int], OnlineMultiOutputNet]] = {
    OURS: lambda seed: OnlineMultiOutputNet(random_state=seed),
    "default, masked=False": lambda seed: OnlineMultiOutputNet(
        Hedge(masked=False), random_state=seed
    ),
}


def score(kind: str, name: str, p: float, seed: int, n_always: int | None) -> Score:
    """Return the scores of a pass; None for absence that tells the class."""
    informative = n_always is None
    X, y = shuffled(name, p, seed, n_always=n_always or 0, informative=informative)
    if kind in (LINEAR, LINEAR_MASK):
        return scores_of(None, X, y, masked=kind == LINEAR_MASK)
    return scores_of(lambda: NETS[kind](seed), X, y)


def errors_of(
    kind: str, name: str, p: float, n_seeds: int, n_always: int | None, jobs: int
) -> list[int]:
    """Return the errors of each seed."""
    calls = [(kind, name, p, seed, n_always) for seed in range(n_seeds)]
    errors = [found.errors for found in side_by_side(score, calls, jobs)]
    print(kind, name, p, n_always, spread(errors), errors, flush=True)
    return errors


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__, jobs=True)
    n_seeds = 1 if args.quick else 20
    told = [
        (
            kind,
            *(spread(errors_of(kind, "german", p, n_seeds, None, args.jobs)) for p in INFORMATIVE),
        )
        for kind in (LINEAR, LINEAR_MASK, *NETS)
    ]
    rows = []
    for name, p in ALONE.items():
        if args.quick and name == "a8a":
            continue
        n_seeds = 1 if args.quick else N_SEEDS[name]
        theirs, ours = (errors_of(k, name, p, n_seeds, 2, args.jobs) for k in (LINEAR, OURS))
        rows.append(
            (
                f"{name}, p = {p}",
                f"{PUBLISHED[name]:,.1f}",
                spread(theirs),
                spread(ours),
                f"{mean(ours) / mean(theirs):.3f}",
            )
        )
    texts = [
        table(("stream", "published best", LINEAR, OURS, "ratio"), rows),
        "Where the absence tells the class, errors of 1,000:\n",
        table(("learner", *(f"p = {p}" for p in INFORMATIVE)), told),
    ]
    print(*texts, sep="\n")
    if args.write:
        write("online", texts)


if __name__ == "__main__":
    main()
