"""A weighting with losses and targets, as the checks use it."""

from typing import Any

import numpy as np
from sklearn.base import clone

from mtlearn._params import Part
from mtlearn._typing import Floats
from mtlearn.estimators import MultiOutputNet
from mtlearn.targets import Targets
from mtlearn.trunks import MLP
from mtlearn.weighting import Weigher, Weighting

__all__ = ["WeightingCase"]

N_ROWS, N_STEPS = 40, 12


class WeightingCase:
    """A weighting, and steps that it is to weigh.

    Parameters
    ----------
    weighting : Weighting
        What is checked.
    seed : int
        What all draws come from.
    """

    uses_in, learns_in = "begin", "begin"

    def __init__(self, weighting: Weighting, seed: int) -> None:
        if not isinstance(weighting, Weighting):
            raise TypeError(f"check_weighting: it must be a Weighting. Got {weighting!r}.")
        self.part: Part = weighting
        self.weighting, self.seed = weighting, seed
        self.name = type(weighting).__name__
        rng = np.random.default_rng(seed)
        self.X = rng.normal(size=(N_ROWS, 4))
        noise = rng.normal(size=N_ROWS)
        self.y = Targets(
            {
                "kind": np.where(self.X[:, 1] + noise > 0, "a", "b"),
                "price": self.X[:, 0] * self.X[:, 2],
                "size": self.X[:, 0] + 0.3 * noise,
            }
        )
        self.losses = (
            rng.uniform(0.2, 1.5, size=(N_STEPS, 3)) * np.linspace(1, 0.3, N_STEPS)[:, None]
        )
        gradients = rng.normal(size=(N_STEPS, 3, 6)) + rng.normal(size=6)
        self.products = gradients @ gradients.mT

    def begin(self, n_outputs: int = 3, main: int | None = 1) -> Weigher:
        """Return a new state for some outputs with the weight 1."""
        return clone(self.weighting).begin(np.ones(n_outputs), main, self.seed)

    def step(self, weigher: Weigher, i: int, order: Any = slice(None)) -> Floats:
        """Return the factors of a step, after which losses are a little less, in an order."""
        losses, products = self.losses[i][order], None
        if self.weighting.sees_gradients:
            products = self.products[i][order][:, order]
        factors = weigher.factors(losses.copy(), products)
        weigher.end_step(losses.copy(), lambda: 0.95 * losses)
        if i % 4 == 3:
            weigher.end_epoch(losses.copy())
        return np.asarray(factors)

    def net(self, **params: Any) -> MultiOutputNet:
        """Return an unfitted estimator with the weighting."""
        settings: dict[str, Any] = {
            "trunk": MLP((6,)),
            "weighting": clone(self.weighting),
            "main_output": "price",
            "batch_size": 10,
            "max_epochs": 4,
            "random_state": self.seed % 2**31,
        }
        return MultiOutputNet(**settings | params)
