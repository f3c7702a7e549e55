"""How often `auxiliary_effect` finds an effect where there is none, and where there is one.

Usage: python benchmarks/auxiliary_effect.py [--quick] [--write]

The main target is a function of some features plus noise. Compared are the weight 0 and three
positive weights of one auxiliary target, by five repeats of five folds at the level 0.95. It is, in
turn:

- noise, in 100 rows, with the weights 0.1, 0.3 and 1; whatever is found is wrong, so that "helps"
  should be rare;
- the same function with less noise in 1,000 rows, of which only 200 have a label of the main
  target, with the weights 0.3, 1 and 3: it helps;
- a function of other features, in 200 rows and a network of two units, which has room for one of
  the two targets, with the weights 0.3, 1 and 3: it hurts.

The change of R2 is the mean at the second positive weight. The last column is the share of "helps"
by the ordinary t-interval, as if the folds were independent: its verdicts are not to be trusted.
"""

import time
from collections import Counter
from collections.abc import Callable
from statistics import mean

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402

from mtlearn import MultiOutputNet  # noqa: E402
from mtlearn.inspection import AuxiliaryEffect, auxiliary_effect  # noqa: E402
from mtlearn.trunks import MLP  # noqa: E402

VERDICTS = ("helps", "no evidence", "hurts")
N_NOISE, N_EFFECTS = 200, 40


def additive(X: np.ndarray) -> np.ndarray:
    """Return a function that a few rows suffice to learn."""
    return np.tanh(X[:, 0] + X[:, 1]) + 0.5 * X[:, 2]


def noise(random: np.random.Generator) -> tuple:
    """Return an auxiliary target that has nothing to do with the rows."""
    X = random.normal(size=(100, 5))
    main = additive(X) + 0.5 * random.normal(size=100)
    return 8, [0.1, 0.3, 1.0], X, {"main": main, "aux": random.normal(size=100)}


def related(random: np.random.Generator) -> tuple:
    """Return an auxiliary target that tells what is mostly missing of the main one."""
    X = random.normal(size=(1000, 15))
    function = np.tanh(2 * X[:, 0] * X[:, 1]) + np.tanh(X[:, 2] + X[:, 3])
    main = function + 0.3 * random.normal(size=1000)
    main[random.permutation(1000)[200:]] = np.nan
    aux = function + 0.1 * random.normal(size=1000)
    return 16, [0.3, 1.0, 3.0], X, {"main": main, "aux": aux}


def competing(random: np.random.Generator) -> tuple:
    """Return an auxiliary target that takes the units that the main one needs."""
    X = random.normal(size=(200, 5))
    main = additive(X) + 0.2 * random.normal(size=200)
    return 2, [0.3, 1.0, 3.0], X, {"main": main, "aux": np.tanh(2 * X[:, 3]) + np.abs(X[:, 4])}


def effect(make: Callable[[np.random.Generator], tuple], seed: int) -> AuxiliaryEffect:
    """Return what is found on one data set."""
    n_units, weights, X, y = make(np.random.default_rng(seed))
    net = MultiOutputNet(
        MLP((n_units,)),
        main_output="main",
        missing_targets="ignore",
        learning_rate=0.03,
        max_epochs=25,
    )
    return auxiliary_effect(net, X, y, {"aux": weights}, random_state=seed)


def uncorrected(found: AuxiliaryEffect) -> str:
    """Return the verdict by the ordinary t-interval."""
    return AuxiliaryEffect(found.main, found.weights, found.scores, 0.0).verdicts["aux"]


def row(title: str, make: Callable[[np.random.Generator], tuple], n_seeds: int) -> tuple[str, ...]:
    """Return a row of the table."""
    effects = [effect(make, seed) for seed in range(n_seeds)]
    counts = Counter(found.verdicts["aux"] for found in effects)
    naive = Counter(map(uncorrected, effects))
    change = mean(found.means["aux"][2] for found in effects)
    naive_share = f"{100 * naive['helps'] / n_seeds:.1f} %"
    shares = [f"{100 * counts[verdict] / n_seeds:.1f} %" for verdict in VERDICTS]
    return (
        title,
        str(n_seeds),
        *shares,
        f"{change:+.3f}",
        naive_share,
    )


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    n_noise, n_effects = (3, 2) if args.quick else (N_NOISE, N_EFFECTS)
    start = time.perf_counter()
    rows = [
        row("noise", noise, n_noise),
        row("the same, with more labels", related, n_effects),
        row("competing for two units", competing, n_effects),
    ]
    header = (
        "auxiliary target",
        "data sets",
        *(f'"{verdict}"' for verdict in VERDICTS),
        "change of R2",
        '"helps", uncorrected',
    )
    text = table(header, rows)
    print(text)
    print(f"{time.perf_counter() - start:.0f} s")
    if args.write:
        write("auxiliary_effect", [text])


if __name__ == "__main__":
    main()
