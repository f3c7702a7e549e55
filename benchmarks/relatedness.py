"""What a cosine of gradients, and an estimated effect, say of how related two targets are.

Usage: python benchmarks/relatedness.py [--quick] [--write]

Both targets are tanh(2 q'x) plus noise, each with its own direction q of length 1. The truth is the
cosine of the two directions: 1 for the same target, 0 for targets that have nothing in common, and
-1 for a target and its negative. There are nine cosines from -1 to 1, each with ten data sets (five
for the effects), whose rows, main directions and first weights are the same for all nine.

The cosine on the trunk is that of `gradient_report`, on the rows of the fit: 300 of 10 features, a
layer of 16 units, weights 1. It depends on the heads and on the moment:

- equal heads that learn nothing, so that the trunk must compute both targets in one number; in this
  network a target and its negative are opposed;
- heads as they are by default. They learn the sign, so that a target and its negative want the same
  trunk. What can be found in the end is the size of the cosine, not its sign. At first, heads are
  random, and a reported cosine has a random sign.

The effect is what `auxiliary_effect` says, by two repeats of five folds: the change of the main
output's R2 between the auxiliary weights 0 and 3, where 60 of 600 rows have a label of the main
target, and 40 features make it hard to learn from these; with 4 and 16 units.

Spearman's correlations are over all pairs of a data set and a cosine, with the true cosine and with
its size. The second table has the means by true cosine.
"""

import time
import warnings
from collections.abc import Sequence
from typing import Any

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402
from skorch.callbacks import Callback  # noqa: E402

from mtlearn import MultiOutputNet, Targets  # noqa: E402
from mtlearn.inspection import auxiliary_effect, gradient_report  # noqa: E402
from mtlearn.trunks import MLP  # noqa: E402

COSINES = np.linspace(-1, 1, 9)
EPOCHS = (1, 10, 50)
N_REPORTS, N_EFFECTS = 10, 5


class EqualHeads(Callback):
    """Gives all heads the same weights, which learn nothing."""

    needs_batches = False

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Set the weights: from -1 to 1 over the units, and no bias."""
        for head in net.module_.heads:
            for parameter in head.parameters():
                values = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)
                parameter.data.copy_(values if parameter.ndim > 1 else 0 * parameter)
                parameter.requires_grad_(False)


def teachers(
    cosine: float, seed: int, n_rows: int, n_features: int, noise: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return rows, and two targets whose directions have a cosine."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n_rows, n_features))
    first, second = np.linalg.qr(random.normal(size=(n_features, 2)))[0].T
    other = cosine * first + np.sqrt(1 - cosine**2) * second
    errors = noise * random.normal(size=(2, n_rows))
    values = [np.tanh(2 * X @ q) + error for q, error in zip((first, other), errors, strict=True)]
    return X, dict(zip(("main", "aux"), values, strict=True))


def reported(cosine: float, seed: int, n_epochs: int, *, equal_heads: bool) -> float:
    """Return the cosine on the trunk after some epochs."""
    X, y = teachers(cosine, seed, n_rows=300, n_features=10, noise=0.1)
    net = MultiOutputNet(
        MLP((16,)),
        main_output="main",
        callbacks=[EqualHeads()] if equal_heads else None,
        learning_rate=3e-3,
        batch_size=50,
        max_epochs=n_epochs,
        random_state=seed,
    ).fit(X, Targets(y))
    return float(gradient_report(net, X, y).trunk_cosines[1])


def effect(cosine: float, seed: int, n_units: int, *, equal_heads: bool) -> float:
    """Return what the auxiliary target adds to the main output's R2."""
    X, y = teachers(cosine, seed, n_rows=600, n_features=40, noise=0.3)
    y["main"][60:] = np.nan
    net = MultiOutputNet(
        MLP((n_units,)),
        main_output="main",
        missing_targets="ignore",
        callbacks=[EqualHeads()] if equal_heads else None,
        learning_rate=0.02,
        max_epochs=25,
    )
    found = auxiliary_effect(net, X, y, {"aux": [3]}, n_repeats=2, random_state=seed)
    return float(found.means["aux"][1])


def rows(title: str, heads: str, values: Sequence[float]) -> tuple[tuple[str, ...], ...]:
    """Return a row of each table; the values are those of all cosines by data sets."""
    found = np.reshape(values, (-1, len(COSINES)))
    truth = np.tile(COSINES, len(found))
    correlations = [spearmanr(t, found.ravel()).statistic for t in (truth, np.abs(truth))]
    first = (title, heads, *(f"{value:+.2f}" for value in correlations))
    return first, (title, heads, *(f"{value:+.2f}" for value in found.mean(axis=0)))


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__)
    warnings.simplefilter("ignore")
    n_reports, n_effects = (2, 1) if args.quick else (N_REPORTS, N_EFFECTS)
    start = time.perf_counter()
    found = []
    for heads, equal in (("equal, fixed", True), ("free", False)):
        for n_epochs in EPOCHS:
            values = [
                reported(cosine, seed, n_epochs, equal_heads=equal)
                for seed in range(n_reports)
                for cosine in COSINES
            ]
            epochs = f"{n_epochs} epoch{'s' if n_epochs > 1 else ''}"
            found.append(rows(f"cosine after {epochs}", heads, values))
    for heads, equal in (("equal, fixed", True), ("free", False)):
        for n_units in (4, 16):
            values = [
                effect(cosine, seed, n_units, equal_heads=equal)
                for seed in range(n_effects)
                for cosine in COSINES
            ]
            found.append(rows(f"effect, {n_units} units", heads, values))
    header = ("what is found", "heads", "Spearman with the cosine", "with its size")
    by_cosine = ("mean of", "heads", *(f"{cosine:g}" for cosine in COSINES))
    parts = [
        table(header, [first for first, _ in found]),
        "Means by the true cosine:\n",
        table(by_cosine, [second for _, second in found]),
    ]
    print("\n".join(parts))
    print(f"{time.perf_counter() - start:.0f} s")
    if args.write:
        write("relatedness", parts)


if __name__ == "__main__":
    main()
