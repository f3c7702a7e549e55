"""Balanced accuracy on streams of which any feature may be absent, beside published methods.

Usage: python benchmarks/online_every.py [--quick] [--write] [--jobs N]

Every feature is there with the probability p; for data, orders and the rest see online.py. The
seeds are 0 to 4; of a8a the rows are the first 10,000 of each order, and the seeds 0 and 1. The
figures are percent. `balanced=True` predicts the class whose probability exceeds its frequency so
far by the largest factor; the second column of the logistic regression (AdaGrad, running z-scores,
0 where a feature is absent) decides by the same rule.

The published figures, at p = 0.5, are those of a review (arXiv 2404.03904; five orders) of OLVF,
OVFM, DynFo, Aux-Net and Aux-Drop. It has 959 rows of german, and all of a8a.
"""

from statistics import mean

from _timing import arguments, one_thread, table, write

one_thread()

from _online_parts import Score, scores_of, shuffled, side_by_side  # noqa: E402

from mtlearn import OnlineMultiOutputNet  # noqa: E402

METHODS = ("OLVF", "OVFM", "DynFo", "Aux-Net", "Aux-Drop")
PUBLISHED = {
    "wbc": (55.38, 87.75, 93.05, 58.49, 82.25),
    "australian": (56.22, 74.96, 75.88, 50.61, 55.77),
    "diabetes_f": (50.19, 59.20, 53.82, 50.08, 51.20),
    "german": (53.11, 57.09, 51.66, 50.14, 51.48),
    "italypower": (78.38, 88.10, 84.83, 72.52, 70.32),
    "svmguide3": (53.46, 58.13, 51.02, 49.97, 50.61),
    "wpbc": (53.76, 51.32, 51.59, 50.66, 50.78),
    "a8a": (66.46, 68.57, 50.11, 50.00, 55.33),
}
CHANCES = (0.25, 0.5, 0.75)
MOST_ROWS = 10_000
LINEAR, OURS = "logistic regression", "default"
HEADER = (LINEAR, f"{LINEAR}, balanced", OURS, "balanced=True")


def scores(kind: str, name: str, p: float, seed: int) -> Score:
    """Return the scores of a pass."""
    X, y = shuffled(name, p, seed)
    X, y = X[:MOST_ROWS], y[:MOST_ROWS]
    net = OnlineMultiOutputNet(random_state=seed)
    return scores_of(None if kind == LINEAR else lambda: net, X, y, lifts=True)


def balanced(name: str, p: float, n_seeds: int, jobs: int) -> list[float]:
    """Return the mean balanced accuracies of the columns of `HEADER`."""
    found = []
    for kind in (LINEAR, OURS):
        passes = side_by_side(scores, [(kind, name, p, seed) for seed in range(n_seeds)], jobs)
        found += [mean(one.balanced for one in passes), mean(one.lifted for one in passes)]
    print(name, p, *(f"{value:.2f}" for value in found), flush=True)
    return found


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__, jobs=True)
    names = list(PUBLISHED)[:3] if args.quick else list(PUBLISHED)
    found: dict[tuple[str, float], list[float]] = {}
    for p in (0.5, 0.25, 0.75):
        for name in names:
            n_seeds = 1 if args.quick else 2 if name == "a8a" else 5
            found[name, p] = balanced(name, p, n_seeds, args.jobs)

    def line(title: str, columns: list[list[float]]) -> tuple[str, ...]:
        return (title, *(f"{mean(column):.2f}" for column in zip(*columns, strict=True)))

    by_set = [line(name, [[*found[name, 0.5], *PUBLISHED[name]]]) for name in names]
    by_set.append(line("mean", [[*found[name, 0.5], *PUBLISHED[name]] for name in names]))
    by_chance = [line(f"p = {p}", [found[name, p] for name in names]) for p in CHANCES]
    texts = [
        table(("mean of the streams", *HEADER), by_chance),
        "By the stream, p = 0.5:\n",
        table(("stream", *HEADER, *METHODS), by_set),
    ]
    print(*texts, sep="\n")
    if args.write:
        write("online_every", texts)


if __name__ == "__main__":
    main()
