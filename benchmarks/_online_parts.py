"""What the scripts on streams share: data, orders of rows, what others learn by, one pass."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score

from mtlearn import OnlineMultiOutputNet
from mtlearn.datasets import withhold_features
from mtlearn.trunks import Hedge
from mtlearn.weighting import MultiplicativeWeights

__all__ = [
    "ALONE",
    "LogisticStream",
    "PublishedHedge",
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


class PublishedHedge:
    """Hedge backpropagation in plain torch, by stochastic gradient descent.

    Parameters
    ----------
    n_features : int
        The number of features.
    n_layers : int
        The number of layers of 100 units.
    only_last : bool
        Whether the last layer alone has a head: a network of fixed depth.
    loops : bool
        Whether each head has a backward pass of its own, as in the published algorithm; else there
        is one of the sum of the weighted losses, which is the same.
    rate : float
        The learning rate.
    """

    def __init__(
        self,
        n_features: int,
        n_layers: int,
        *,
        only_last: bool = False,
        loops: bool = False,
        rate: float = 0.01,
    ) -> None:
        torch.manual_seed(0)
        widths = [n_features, *[100] * n_layers]
        self.layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
        for layer in self.layers:
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.zeros_(layer.bias)
        headed = widths[-1:] if only_last else widths  # the features themselves have one
        self.heads = [torch.nn.Linear(width, 2) for width in headed]
        self.parameters = [p for part in (*self.layers, *self.heads) for p in part.parameters()]
        self.shares = torch.full((len(headed),), 1 / len(headed))
        self.loops, self.rate = loops, rate

    def learn(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Make one step; return the probabilities of class 1 before it."""
        states = [x]
        for layer in self.layers:
            states.append(torch.relu(layer(states[-1])))
        states = states[-len(self.heads) :]
        raws = [head(state) for head, state in zip(self.heads, states, strict=True)]
        losses = torch.stack([torch.nn.functional.cross_entropy(raw, y) for raw in raws])
        if self.loops:
            self._step_by_head(losses)
        else:
            gradients = torch.autograd.grad(losses @ self.shares, self.parameters)
            with torch.no_grad():
                torch._foreach_add_(self.parameters, gradients, alpha=-self.rate)
        with torch.no_grad():
            chances = torch.stack([raw.softmax(1)[:, 1] for raw in raws], 1) @ self.shares
            shares = self.shares * 0.99 ** losses.detach().clamp(max=1)
            shares = (shares / shares.sum()).clamp(min=0.2 / len(shares))
            self.shares = shares / shares.sum()
        return chances

    def _step_by_head(self, losses: torch.Tensor) -> None:
        """Make the same step by a backward pass of each head through all layers before it."""
        sums = [torch.zeros_like(p) for p in self.parameters]
        for loss, share in zip(losses, self.shares.tolist(), strict=True):
            found = torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)
            for total, gradient in zip(sums, found, strict=True):
                if gradient is not None:
                    total.add_(gradient, alpha=share)
        with torch.no_grad():
            torch._foreach_add_(self.parameters, sums, alpha=-self.rate)


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


def scores_of(
    make: Callable[[], Any] | None,
    X: Array,
    y: Array,
    *,
    masked: bool = False,
    lifts: bool = False,
) -> Score:
    """Predict each row before it is learned; None for the logistic regression.

    Before the first row there is nothing to predict by: it counts as class 0. With `lifts` the
    lifted class of a network is what it predicts with ``balanced=True``.
    """
    model: Any = LogisticStream(X.shape[1], masked=masked) if make is None else make()
    count = np.ones(2)
    chances, priors, lifted = np.full(len(y), 0.5), np.empty(len(y)), np.zeros(len(y), dtype=bool)
    for i, (row, label) in enumerate(zip(X, y, strict=True)):
        priors[i] = count[1] / count.sum()
        if make is None:
            chances[i] = model.chance_of(row)
            model.learn(label)
        else:
            if i:
                chances[i] = model.predict_proba(row[None])[0, 1]
            if i and lifts:
                model.balanced = True
                lifted[i] = model.predict(row[None])[0]
            model.partial_fit(row[None], y[i : i + 1], **({} if i else {"classes": [0, 1]}))
        count[label] += 1
    predicted = chances > 0.5
    if make is None or not lifts:
        lifted = chances > priors
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
