"""What the scripts on streams share: data, orders of rows, what others learn by, one pass."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score

from mtlearn import OnlineMultiOutputNet
from mtlearn.datasets import withhold_features
from mtlearn.trunks import Hedge
from mtlearn.weighting import MultiplicativeWeights

__all__ = [
    "ALONE",
    "LogisticStream",
    "Score",
    "load",
    "paper_hedge",
    "paper_weights",
    "scores_of",
    "shuffled",
    "side_by_side",
    "spread",
]

DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))
# The streams of protocol A: how likely a feature is, and how many are always there.
ALONE: Mapping[str, float] = {"german": 0.73, "svmguide3": 0.72, "a8a": 0.75}
Array = np.ndarray


class Score(NamedTuple):
    """The errors of a pass, and balanced accuracies: of the likely class, and of the lifted one."""

    errors: int
    balanced: float
    lifted: float


def load(name: str) -> tuple[Array, Array]:
    """Return the features and the classes, 0 and 1, of a stream."""
    data = pd.read_csv(DATA / f"stream_{name}.csv")
    X = data.filter(like="x_").to_numpy(dtype=np.float64)
    return X, data["y_class"].to_numpy(dtype=np.int64)


def shuffled(
    name: str, p: float, seed: int, *, n_always: int = 0, informative: bool = False
) -> tuple[Array, Array]:
    """Return a stream in an order of its own for each seed, with features that come and go."""
    X, y = load(name)
    order = np.random.default_rng(seed).permutation(len(y))
    X, y = X[order], y[order]
    if informative:
        return withhold_features(X, "informative", p=p, y=y, random_state=seed), y
    return withhold_features(X, p=p, n_always=n_always, random_state=seed), y


class LogisticStream:
    """Online logistic regression: AdaGrad on running z-scores, 0 where a feature is absent.

    Parameters
    ----------
    n_features : int
        The number of features.
    masked : bool
        Whether it sees which features are absent, too.
    """

    def __init__(self, n_features: int, *, masked: bool = False) -> None:
        self.masked = masked
        width = 1 + (1 + masked) * n_features
        self.w, self.squares = np.zeros(width), np.zeros(width)
        self.count, self.mean, self.deviations = (np.zeros(n_features) for _ in range(3))

    def chance_of(self, row: Array) -> float:
        """Return the probability of class 1 in the next row, and remember the row."""
        there = ~np.isnan(row)
        row = np.where(there, row, 0.0)
        self.count += there
        off = np.where(there, row - self.mean, 0.0)
        self.mean += off / np.maximum(self.count, 1)
        self.deviations += off * np.where(there, row - self.mean, 0.0)
        scale = np.sqrt(self.deviations / np.maximum(self.count, 1))
        z = np.where(there & (scale > 1e-12), row - self.mean, 0.0) / np.maximum(scale, 1e-12)
        parts = [np.ones(1), np.clip(z, -4, 4), *([~there] if self.masked else [])]
        self.x = np.concatenate(parts)
        self.p = 1 / (1 + np.exp(-self.w @ self.x))
        return float(self.p)

    def learn(self, y: int) -> None:
        """Make a step by the label of the row."""
        gradient = (self.p - y) * self.x
        self.squares += gradient**2
        self.w -= 0.1 * gradient / (np.sqrt(self.squares) + 1e-8)


def scores_of(make: Callable[[], Any] | None, X: Array, y: Array) -> Score:
    """Predict each row before it is learned; None for the logistic regression.

    Before the first row there is nothing to predict by: it counts as class 0.
    """
    model: Any = LogisticStream(X.shape[1]) if make is None else make()
    chances, count = np.empty(len(y)), np.ones(2)
    priors = np.empty(len(y))
    for i, (row, label) in enumerate(zip(X, y, strict=True)):
        priors[i] = count[1] / count.sum()
        if make is None:
            chances[i] = model.chance_of(row)
            model.learn(label)
        else:
            chances[i] = model.predict_proba(row[None])[0, 1] if i else 0.5
            model.partial_fit(row[None], y[i : i + 1], **({} if i else {"classes": [0, 1]}))
        count[label] += 1
    predicted, lifted = chances > 0.5, chances > priors  # the latter is `balanced=True`
    return Score(
        int((predicted != y).sum()),
        100 * balanced_accuracy_score(y, predicted),
        100 * balanced_accuracy_score(y, lifted),
    )


def paper_weights() -> MultiplicativeWeights:
    """Return the hedge of Sahoo et al."""
    return MultiplicativeWeights(0.01, floor=0.2, clip=1.0)


def paper_hedge(n_layers: int = 20, **params: Any) -> OnlineMultiOutputNet:
    """Return hedge backpropagation as Sahoo et al. have it, but with scaled features."""
    params = {"impute": False, "expert_losses": "weighted", "learning_rate": 0.01, **params}
    return OnlineMultiOutputNet(
        Hedge((100,) * n_layers, masked=False),
        second_order=False,
        optimizer="sgd",
        expert_weighting=paper_weights(),
        **params,
    )


def side_by_side(function: Callable[..., Any], calls: Sequence[tuple], n_jobs: int) -> list[Any]:
    """Call a function with many arguments, in processes; return what it returns, in order."""
    if n_jobs == 1:
        return [function(*call) for call in calls]
    with ProcessPoolExecutor(n_jobs) as pool:
        return list(pool.map(function, *zip(*calls, strict=True)))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the mean, and the standard deviation over the seeds."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{mean(values):,.{digits}f} ({stdev(values):,.{digits}f})"
