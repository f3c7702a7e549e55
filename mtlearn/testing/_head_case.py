"""A head with labels it is meant for, as the checks use it."""

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from mtlearn._arrays import as_array, homogeneous, missing_mask
from mtlearn._params import Part
from mtlearn._random import part_seed, seeded
from mtlearn._typing import Array, Floats
from mtlearn.estimators import MultiOutputNet
from mtlearn.heads import Head
from mtlearn.targets import Targets

__all__ = ["HeadCase", "raises"]

FEWEST = 6
N_UNITS = 4


class HeadCase:
    """A head, labels of it, and weights of which some are zero.

    Parameters
    ----------
    head : Head
        What is checked.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        The labels.
    seed : int
        What all draws come from.
    """

    uses_in, learns_in = "fit", "fit"

    def __init__(self, head: Any, y: Any, seed: int) -> None:
        if not isinstance(head, Head):
            raise TypeError(f"check_head: `head` must be a head. Got {head!r}; derive from Head.")
        self.head: Head = head
        self.part: Part = head
        self.name = type(head).__name__
        self.seed = seed
        self._y = as_array(y, "y")
        observed = ~missing_mask(self._y)
        n_rows = int(observed.reshape(len(self._y), -1).any(axis=1).sum())
        distinct = {str(label) for label in self._y[observed]}
        if n_rows < FEWEST or len(distinct) < 2:
            raise ValueError(
                f"check_head: `y` must have {FEWEST} labels that are not all alike. Got {n_rows}, "
                f"of {len(distinct)} kinds."
            )
        rng = self.rng("weights")
        weight = rng.uniform(0.5, 1.0, self._y.shape)
        self._weight = np.where(observed, weight, 0.0)

    def rng(self, name: str) -> np.random.Generator:
        """Return a generator of draws for one purpose."""
        return np.random.default_rng(part_seed(self.seed, name))

    @property
    def y(self) -> Array:
        """The labels, as a new copy that nobody has changed."""
        return self._y.copy()

    @property
    def weight(self) -> Floats:
        """The weights of the labels, 0 where one is missing, as a new copy."""
        return self._weight.copy()

    @property
    def n(self) -> int:
        """The number of labels."""
        return len(self._y)

    def fit(self, y: Any = None, weight: Any = None, **settings: Any) -> Head:
        """Return a clone that has learned of labels, by default of all."""
        y = self.y if y is None else y
        weight = self.weight if weight is None else weight
        return clone(self.head).fit(y, weight, **({"normalize": True} | settings))

    @cached_property
    def fitted(self) -> Head:
        """The fitted head; not to be changed."""
        return self.fit()

    @property
    def can_stream(self) -> bool:
        """Whether the head can be fitted to the first piece of a stream."""
        return "more_to_come" in inspect.signature(type(self.head).fit).parameters

    def raw(self, head: Head | None = None, spread: float = 1.0, n: int | None = None) -> Floats:
        """Return raw outputs of some rows, about the best constant."""
        head = self.fitted if head is None else head
        shape = (self.n if n is None else n, *head.raw_shape_)
        return np.asarray(head.constant_raw_) + spread * self.rng("raw").normal(size=shape)

    def constant(self, head: Head | None = None) -> Floats:
        """Return the raw output of the best constant for each row."""
        head = self.fitted if head is None else head
        constant = np.asarray(head.constant_raw_, dtype=np.float64)
        return np.broadcast_to(constant, (self.n, *constant.shape)).copy()

    def perfect(self, like: Array) -> Array:
        """Return the labels in the shape of predictions, the one of a label in all columns."""
        y = self.y
        y[self._weight == 0] = y[self._weight > 0][0]
        y = homogeneous(y) if y.ndim == 1 else np.array(y.tolist())
        return y if y.ndim == like.ndim else np.repeat(y[:, None], like.shape[1], axis=1)

    def encoded(
        self, head: Head | None = None, dtype: torch.dtype = torch.float64
    ) -> tuple[Tensor, Floats]:
        """Return what the loss compares with, and the weights."""
        head = self.fitted if head is None else head
        target, weight = head.encode(self.y, self.weight)
        return _as_tensor(target, dtype), np.asarray(weight)

    def mean_loss(self, raw: Any, head: Head | None = None) -> float:
        """Return the mean loss of raw outputs over the labels, by their weights."""
        head = self.fitted if head is None else head
        target, weight = self.encoded(head)
        with torch.no_grad():
            losses = head.build_loss().double()(torch.tensor(np.asarray(raw)), target)
        return float(np.average(losses.numpy(), weights=weight))

    def net(self, **params: Any) -> MultiOutputNet:
        """Return an unfitted estimator with the head for its output ``"y"``."""
        head = clone(self.head).set_params(target=None)
        at = head.at
        names = [at] if isinstance(at, str) else at
        with seeded(self.seed):
            trunk = nn.Linear(3, N_UNITS) if names is None else Layers(list(names))
        settings: dict[str, Any] = {
            "trunk": trunk,
            "heads": {"y": head},
            "batch_size": max(2, self.n // 2),
            "max_epochs": 2,
            "learning_rate": 0.01,
            "early_stopping": False,
            "missing_targets": "ignore",
            "random_state": self.seed,
        }
        return MultiOutputNet(**(settings | params))

    def build(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Return the layers of the fitted head."""
        at = self.head.at
        n_layers = 1 if at is None or isinstance(at, str) else len(at)
        with seeded(self.seed):
            return self.fitted.build(N_UNITS if n_layers == 1 else [N_UNITS] * n_layers).to(dtype)

    @property
    def n_features(self) -> int:
        """The width of what the layers of the head take."""
        at = self.head.at
        return N_UNITS * (1 if at is None or isinstance(at, str) else len(at))

    @property
    def X(self) -> Floats:
        """Rows for an estimator."""
        return self.rng("X").normal(size=(self.n, 3))

    @property
    def targets(self) -> Targets:
        """The labels by name."""
        return Targets({"y": self.y})


class Layers(nn.Module):
    """A trunk with a layer of each name."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(3, N_UNITS) for name in names})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: layer(x) for name, layer in self.layers.items()}


def raises(function: Callable[[], Any]) -> Exception | None:
    """Return what a function raises; None if it works."""
    try:
        function()
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the finding)
        return error
    return None


def _as_tensor(target: Array, dtype: torch.dtype) -> Tensor:
    return torch.tensor(target, dtype=dtype if target.dtype.kind == "f" else torch.int64)
