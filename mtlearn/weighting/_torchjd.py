"""torchjd's strategies: weightings of gradients, aggregators built of one, and scalarizers."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from mtlearn._optional import import_optional
from mtlearn._random import seeded
from mtlearn._typing import Floats
from mtlearn._validation import naming
from mtlearn.weighting._gramian import nonzero
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["TorchJD", "TorchJDScalarizer", "is_torchjd", "of_torchjd"]

INSTALL = '"scikit-mtlearn[torchjd]"'
LEARNING_RATE, LIMIT = 0.05, 3.0  # those of Uncertainty


def is_torchjd(value: Any) -> bool:
    """Tell whether an object is of a class of torchjd, or of one derived from such a class."""
    return any(base.__module__.partition(".")[0] == "torchjd" for base in type(value).__mro__)


def of_torchjd(value: Any) -> Weighting:
    """Return the weighting of an object of torchjd.

    Raises
    ------
    ImportError
        If torchjd is not installed.
    """
    is_scalarizer = isinstance(value, _module("scalarization").Scalarizer)
    return TorchJDScalarizer(value) if is_scalarizer else TorchJD(value)


class TorchJD(Weighting):
    """A strategy of the package torchjd that sees gradients.

    Its weights are the factors, as they are: torchjd's own scale.

    Parameters
    ----------
    weighting : torchjd.aggregation.Weighting or torchjd.aggregation.WeightedAggregator
        A weighting that takes the matrix of scalar products of the gradients (in torchjd's words
        their Gramian), or an aggregator that is built of a weighting. One that is built of a
        weighting of the gradients themselves sees the symmetric square root of this matrix in
        their place, which has the same scalar products.

    Notes
    -----
    The object is a template: it is copied, and what the copy remembers is reset at the beginning. A
    gradient that is 0, such as that of an output without labels in the batch, is shown as one of
    middle length that is orthogonal to all others, which disturbs none of them.
    """

    sees_gradients = True

    def __init__(self, weighting: Any) -> None:
        self.weighting = weighting

    def check_params(self) -> None:
        """Raise unless the parameter is a weighting or an aggregator that is built of one.

        Raises
        ------
        ImportError
            If torchjd is not installed.
        TypeError
            For anything else.
        """
        super().check_params()
        aggregation = _module("aggregation")
        if not isinstance(self.weighting, aggregation.Weighting | aggregation.WeightedAggregator):
            name = getattr(type(self.weighting), "__name__", repr(self.weighting))
            raise TypeError(
                f"`weighting` must be a scalarizer or a weighting of torchjd, or an aggregator of "
                f"it that is built of a weighting (a WeightedAggregator). Got an object of the "
                f"class {name}, which gives no weights for the gradients."
            )

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return a copy of the torchjd object."""
        aggregation, weighting, of_gradients = _module("aggregation"), self.weighting, False
        if isinstance(weighting, aggregation.GramianWeightedAggregator):
            weighting = weighting.gramian_weighting
        elif isinstance(weighting, aggregation.WeightedAggregator):
            weighting, of_gradients = weighting.weighting, True
        return TorchJDWeigher(len(weights), _at_the_beginning(weighting), of_gradients, seed)


class TorchJDWeigher(Weigher):
    """The copy of the torchjd object, and a generator for what it draws."""

    def __init__(self, n_outputs: int, weighting: Any, of_gradients: bool, seed: int) -> None:
        super().__init__(n_outputs)
        self.weighting = weighting
        self.of_gradients = of_gradients
        self.generator = np.random.default_rng(seed)

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return torchjd's weights for the gradients; ones for those that are 0."""
        assert products is not None
        factors, present = np.ones(self.n_outputs), nonzero(products)
        if not present.any():
            return factors
        squares = np.diagonal(products)
        matrix = np.where(np.outer(present, present), products, 0.0)
        np.fill_diagonal(matrix, np.where(present, squares, squares[present].mean()))
        if self.of_gradients:
            matrix = _square_root(matrix)
        with _naming(self.weighting), torch.no_grad(), seeded(_draw(self.generator)):
            weights = self.weighting(torch.from_numpy(matrix)).double().cpu().numpy()
        lengths = np.sqrt(np.diagonal(products))
        _check_finite(self.weighting, weights, f"gradients of the lengths {lengths}")
        factors[present] = weights[present]
        return factors


class TorchJDScalarizer(Weighting):
    """A strategy of the package torchjd that sees the losses alone.

    Its factors are the gradient of the scalarizer with respect to the losses: torchjd's own scale.

    Parameters
    ----------
    scalarizer : torchjd.scalarization.Scalarizer
        What makes one number of the losses.

    Notes
    -----
    The object is a template: it is copied, and what the copy remembers is reset at the beginning.
    Where it has the methods, ``update`` is called after each step with its losses on the same rows,
    and ``step`` at the end of each epoch. Parameters that its value depends on go down its gradient
    as the variances of `Uncertainty` do, at the rate 0.05 and at most 3 away from where they began.
    An output without labels in the batch is shown with the last loss that it had, 1 before any.
    """

    sees_step_results = True

    def __init__(self, scalarizer: Any) -> None:
        self.scalarizer = scalarizer

    def check_params(self) -> None:
        """Raise unless the parameter is a scalarizer.

        Raises
        ------
        ImportError
            If torchjd is not installed.
        TypeError
            For anything else.
        """
        super().check_params()
        if not isinstance(self.scalarizer, _module("scalarization").Scalarizer):
            raise TypeError(f"`scalarizer` must be one of torchjd. Got {self.scalarizer!r}.")

    def begin(self, weights: Floats, main: int | None, seed: int) -> Weigher:  # noqa: ARG002
        """Return a copy of the torchjd object."""
        return ScalarizerWeigher(len(weights), _at_the_beginning(self.scalarizer), seed)


class ScalarizerWeigher(Weigher):
    """The copy of the torchjd object, the last losses, and a generator for what it draws."""

    def __init__(self, n_outputs: int, scalarizer: Any, seed: int) -> None:
        super().__init__(n_outputs)
        self.scalarizer = scalarizer
        self.generator = np.random.default_rng(seed)
        self.shown = np.ones(n_outputs)
        self.first = [p.detach().clone() for p in self._learned()]

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return the gradient with respect to the losses, and learn; ones for those that are 0."""
        present = losses != 0
        if not present.any() or not np.isfinite(losses).all():
            return np.ones(self.n_outputs)
        self.shown = np.where(present, losses, self.shown)
        values = torch.tensor(self.shown, requires_grad=True)
        learned = self._learned()
        with _naming(self.scalarizer), torch.enable_grad(), seeded(_draw(self.generator)):
            total = self.scalarizer(values)
            weights, *slopes = torch.autograd.grad(total, [values, *learned], allow_unused=True)
        factors = np.zeros(self.n_outputs) if weights is None else weights.numpy()
        _check_finite(self.scalarizer, factors, f"the losses {self.shown}")
        with torch.no_grad():
            for parameter, slope, first in zip(learned, slopes, self.first, strict=True):
                if slope is not None:
                    moved = parameter - LEARNING_RATE * slope
                    parameter.copy_(torch.clamp(moved, first - LIMIT, first + LIMIT))
        return np.where(present, factors, 1.0)

    def end_step(self, losses: Floats, after: Callable[[], Floats]) -> None:
        """Show the losses after the step to a scalarizer that learns from them."""
        if not callable(getattr(self.scalarizer, "update", None)):
            return
        present, now = losses != 0, after()
        if present.any() and np.isfinite(losses).all() and np.isfinite(now).all():
            shown = torch.from_numpy(np.where(present, now, self.shown))
            with _naming(self.scalarizer), seeded(_draw(self.generator)):
                self.scalarizer.update(shown)

    def end_epoch(self, losses: Floats) -> None:  # noqa: ARG002
        """Tell the scalarizer of the end of the epoch, if it wants to know."""
        if callable(getattr(self.scalarizer, "step", None)):
            with _naming(self.scalarizer):
                self.scalarizer.step()

    def _learned(self) -> list[torch.nn.Parameter]:
        return [p for p in self.scalarizer.parameters() if p.requires_grad]


def _module(name: str) -> Any:
    return import_optional(f"torchjd.{name}", needed_by="`weighting`", install=INSTALL)


def _naming(strategy: Any) -> AbstractContextManager[None]:
    return naming(f"torchjd's {type(strategy).__name__}")


def _draw(generator: np.random.Generator) -> int:
    return int(generator.integers(2**63))


def _check_finite(strategy: Any, weights: Floats, of: str) -> None:
    if not np.isfinite(weights).all():
        raise ValueError(
            f"torchjd's {type(strategy).__name__} gave weights that are not finite, {weights}, for "
            f"{of}; choose another strategy."
        )


def _at_the_beginning(template: Any) -> Any:
    """Return a copy without a memory, with all numbers that it holds in float64."""
    strategy = copy.deepcopy(template).double()
    for module in strategy.modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                vars(module)[name] = value.double()
    if hasattr(strategy, "reset"):
        strategy.reset()
    return strategy


def _square_root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
