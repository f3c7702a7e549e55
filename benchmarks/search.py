"""Seconds per grid search over the weight of an auxiliary output, beside other libraries.

Usage: python benchmarks/search.py [--quick] [--write]

Two networks' searches: 8 weights and 3 folds on 2,000 rows, 128 rows per step; and 25 weights and
5 folds on 500 rows, 32 rows per step. Each fit has 30 epochs of a network of two layers of 64 with
a number, which is scored, and an output of 3 classes, whose weight is searched. Processes have been
started before. All are timed in turns; a ratio is that of the medians, with the least and the
largest of the rounds.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from _peers import Problem, skorch_search_net
from _timing import arguments, in_turns, number, ratio, seconds_of, table, write

import numpy as np  # isort: skip

N_EPOCHS = 30
SEARCHES = {
    "8 weights, 3 folds, 2,000 rows": (Problem(n_rows=2000), 8, 3),
    "25 weights, 5 folds, 500 rows": (Problem(n_rows=500, batch_size=32), 25, 5),
}
OURS = "StackedGridSearchCV, 2 processes"


def r2(net: Any, X: Any, y: Any) -> float:
    """Return the R2 of the number, from a net of skorch."""
    from sklearn.metrics import r2_score

    return r2_score(y["number"], net.forward(X)[0].numpy())


def skorch_search(problem: Problem, n_weights: int, n_folds: int, *, whole: bool) -> None:
    """Search with skorch's net in two processes."""
    from sklearn.model_selection import GridSearchCV
    from skorch.helper import SliceDict

    X, numbers, classes = problem.data()
    y = SliceDict(number=numbers[:, 0], classes=classes)
    net = skorch_search_net(problem, N_EPOCHS, whole_batches=whole)
    grid = {"criterion__class_weight": _weights(n_weights)}
    GridSearchCV(net, grid, scoring=r2, cv=n_folds, n_jobs=2, refit=False).fit(X, y)


def own_search(
    problem: Problem, n_weights: int, n_folds: int, *, n_jobs: int, stacked: bool
) -> None:
    """Search with mtlearn."""
    from mtlearn import MultiOutputNet
    from mtlearn.model_selection import GridSearchCV, StackedGridSearchCV
    from mtlearn.trunks import MLP

    X, numbers, classes = problem.data()
    net = MultiOutputNet(
        MLP(problem.layers),
        main_output="number",
        max_epochs=N_EPOCHS,
        batch_size=problem.batch_size,
        early_stopping=False,
        random_state=0,
    )
    kind = StackedGridSearchCV if stacked else GridSearchCV
    grid = {"loss_weights__class": _weights(n_weights)}
    search = kind(net, grid, cv=n_folds, n_jobs=n_jobs, refit=False)
    search.fit(X, {"number": numbers[:, 0], "class": classes})


def _weights(n: int) -> list[float]:
    return np.logspace(-2, 1, n).tolist()


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__)
    parts = []
    for title, settings in SEARCHES.items():
        searches: dict[str, Callable[[], None]] = {
            OURS: partial(own_search, *settings, n_jobs=2, stacked=True),
            "StackedGridSearchCV, 1 process": partial(
                own_search, *settings, n_jobs=1, stacked=True
            ),
            "GridSearchCV over mtlearn, 2 processes": partial(
                own_search, *settings, n_jobs=2, stacked=False
            ),
            "GridSearchCV over skorch, 2 processes": partial(skorch_search, *settings, whole=False),
            "the same with whole batches, fused Adam": partial(
                skorch_search, *settings, whole=True
            ),
        }
        for search in searches.values():
            search()
        timers = {name: partial(seconds_of, search) for name, search in searches.items()}
        found = in_turns(timers, 2 if args.quick else 5)
        rows = [
            (name, number(values, digits=2), ratio(found[OURS], values))
            for name, values in found.items()
        ]
        parts += [f"{title}:\n", table(("", "seconds", "ratio of the first to this one"), rows)]
    print("\n".join(parts))
    if args.write:
        write("search", parts)


if __name__ == "__main__":
    main()
