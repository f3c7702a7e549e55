"""How far labels are from what was predicted of them, and the intervals that follow."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np

from mtlearn._arrays import as_columns
from mtlearn._typing import Array, Floats
from mtlearn.estimators._predictions import has_std
from mtlearn.estimators._view import find_net, transform
from mtlearn.heads import ClassHead, Head, Quantile
from mtlearn.model_selection._held_out_wrapper import innermost
from mtlearn.targets import Targets

__all__ = ["Band", "HeldOut", "Intervals", "find_bands", "forecasts"]

ROUNDING = 1e-9


class HeldOut(NamedTuple):
    """What is known of an output from held-out rows.

    Parameters
    ----------
    errors : ndarray of shape (n_held, n_errors)
        How far labels are from what was predicted, NaN where one is missing; see `Band.errors`.
    weight : ndarray of shape (n_held, n_columns)
        The weights of the labels, zero where one is missing. Those of a row that several splits
        hold out sum to its own.
    new_weight : ndarray of shape (n_columns,)
        The weight that a new label is expected to have.
    """

    errors: Floats
    weight: Floats
    new_weight: Floats


class Band(ABC):
    """How the intervals of one output are made of its forecasts."""

    @abstractmethod
    def errors(self, forecast: Floats, labels: Floats) -> Floats:
        """Return how far labels, of shape (n_samples, n_columns), are from their forecasts."""

    @abstractmethod
    def ends(self, forecast: Floats, held: HeldOut, level: float) -> tuple[Floats, Floats]:
        """Return the lower and upper ends, of shape (n_samples, n_columns)."""


class NumberBand(Band):
    """As much to both sides of a prediction for all rows; forecasts are the predictions."""

    def errors(self, forecast: Floats, labels: Floats) -> Floats:
        return np.abs(labels - forecast)

    def ends(self, forecast: Floats, held: HeldOut, level: float) -> tuple[Floats, Floats]:
        pairs = zip(held.errors.T, held.weight.T, held.new_weight, strict=True)
        margins = np.array([_margin(*pair, level) for pair in pairs])
        return forecast - margins, forecast + margins


class SpreadBand(Band):
    """Multiples of the standard deviation; forecasts are means and standard deviations."""

    def errors(self, forecast: Floats, labels: Floats) -> Floats:
        distance, std = np.abs(labels - forecast[:, :1]), forecast[:, 1:]
        without = np.where(distance > 0, np.inf, 0.0)  # a constant is met exactly, or never
        return np.divide(distance, std, out=without, where=std > 0)

    def ends(self, forecast: Floats, held: HeldOut, level: float) -> tuple[Floats, Floats]:
        margin = _margin(held.errors[:, 0], held.weight[:, 0], held.new_weight[0], level)
        if not np.isfinite(margin):
            raise ValueError(
                "the standard deviations predicted of held-out rows are 0 where labels are not "
                "as predicted, as if the target were constant. Use the head Regression()."
            )
        half = margin * forecast[:, 1:]
        return forecast[:, :1] - half, forecast[:, :1] + half


@dataclass(frozen=True)
class QuantileBand(Band):
    """Two quantiles, both moved by one distance; forecasts are the quantiles, which rise."""

    quantiles: tuple[float, ...]

    def errors(self, forecast: Floats, labels: Floats) -> Floats:
        return labels - forecast

    def ends(self, forecast: Floats, held: HeldOut, level: float) -> tuple[Floats, Floats]:
        low, high = self.pair(level)
        outside = np.maximum(-held.errors[:, low], held.errors[:, high])
        margin = _margin(outside, held.weight[:, 0], held.new_weight[0], level)
        lower, upper = forecast[:, [low]] - margin, forecast[:, [high]] + margin
        middle = lower + (upper - lower) / 2
        return np.minimum(lower, middle), np.maximum(upper, middle)

    def pair(self, level: float) -> tuple[int, int]:
        """Return the quantiles nearest to those that leave as much below as above the interval."""
        known, below = np.array(self.quantiles), (1 - level) / 2
        to_low, to_high = np.abs(known - below), np.abs(known - (1 - below))
        low = np.flatnonzero(to_low <= to_low.min() + ROUNDING)[0]
        high = np.flatnonzero(to_high <= to_high.min() + ROUNDING)[-1]
        return int(low), int(high)


class Intervals(Targets):
    """Lower and upper ends by output, beside each other on the last axis.

    They are arrays of shape (n_samples, 2), or of three axes for an output of several columns.
    """

    __slots__ = ()

    @staticmethod
    def _convert(value: Any, name: str) -> Array:  # noqa: ARG004 (Targets names it in errors)
        return np.asarray(value)

    @staticmethod
    def _describe(part: Array) -> str:
        return Targets._describe(part.reshape(len(part), -1))


def find_bands(net: Any, heads: Mapping[str, Head]) -> dict[str, Band]:
    """Return how intervals are made, for each output that predicts numbers."""
    predicts_std = hasattr(innermost(net), "_predict_std")
    bands: dict[str, Band] = {}
    for name, head in heads.items():
        if isinstance(head, Quantile):
            bands[name] = QuantileBand(tuple(np.sort(head.quantiles_).tolist()))
        elif predicts_std and has_std(head):
            bands[name] = SpreadBand()
        elif not isinstance(head, ClassHead) and _is_number_per_label(head):
            bands[name] = NumberBand()
    return bands


def _is_number_per_label(head: Head) -> bool:
    constant = head.decode(np.asarray(head.constant_raw_, dtype=np.float64)[None])
    return constant.shape == head.constant_label().shape


def forecasts(bands: Mapping[str, Band], fitted: Any, X: Any) -> dict[str, Floats]:
    """Return the forecasts of some outputs, of shape (n_samples, n_numbers)."""
    net, steps = find_net(fitted)
    rows = transform(X, steps)
    found = {n: as_columns(p).astype(np.float64) for n, p in net._predict(rows, bands).items()}
    with_std = [name for name, band in bands.items() if isinstance(band, SpreadBand)]
    stds = net._predict_std(rows, with_std) if with_std else {}
    for name, band in bands.items():
        if isinstance(band, QuantileBand):
            found[name] = np.sort(found[name], axis=1)
        elif name in stds:
            found[name] = np.column_stack([found[name], stds[name]])
    return found


def _margin(scores: Floats, weight: Floats, new_weight: float, level: float) -> float:
    """Return what the score of a new row exceeds with at most the chance that `level` leaves.

    With n scores of equal weight it is the ceil((n + 1) level)-th of them.
    """
    scores, weight = scores[weight > 0], weight[weight > 0]
    order = np.argsort(scores, kind="stable")
    below = np.cumsum(weight[order])
    rank = int(np.searchsorted(below, level * (below[-1] + new_weight) - ROUNDING * below[-1]))
    if rank == len(scores):
        n_needed = ceil(level / (1 - level) - ROUNDING)
        n_found = below[-1] / new_weight  # of equal weight
        highest = floor(1e4 * n_found / (n_found + 1) + ROUNDING) / 1e4
        raise ValueError(
            f"`level` {level:g} needs at least {n_needed} labels of held-out rows. Got "
            f"{floor(n_found + ROUNDING)}, by their weights; the level can be {highest:g} at most."
        )
    return float(scores[order[rank]])
