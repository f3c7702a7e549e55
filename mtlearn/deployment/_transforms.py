"""Functions and scalers of scikit-learn as torch modules, on columns of float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor, nn

from mtlearn.preprocessing import SmoothClip

__all__ = ["forward_of", "inverse_of"]

FUNCTIONS: dict[Any, Callable[[Tensor], Tensor]] = {
    np.exp: torch.exp,
    np.expm1: torch.expm1,
    np.log: torch.log,
    np.log1p: torch.log1p,
    np.negative: torch.neg,
    np.reciprocal: torch.reciprocal,
    np.sqrt: torch.sqrt,
    np.square: torch.square,
}


def forward_of(transformer: Any) -> nn.Module | None:
    """Return a module that does what a fitted transformer does; None where none is known."""
    kind = type(transformer)
    if kind is FunctionTransformer:
        return _function(transformer.func, transformer.kw_args)
    if kind is SmoothClip:
        return Bounded(float(transformer.limit))
    if kind is SimpleImputer:
        return _imputed(transformer)
    if kind is MinMaxScaler and transformer.clip:
        low, high = transformer.feature_range
        return _chained([_scaled(transformer), Cut(float(low), float(high))])
    return None if getattr(transformer, "clip", False) else _scaled(transformer)


def inverse_of(transformer: Any) -> nn.Module | None:
    """Return a module that undoes a fitted transformer; None where none is known."""
    if isinstance(transformer, Pipeline):
        return _chained([inverse_of(step) for _, step in reversed(transformer.steps)])
    if transformer is None or isinstance(transformer, str):  # "passthrough"
        return nn.Identity()
    if type(transformer) is FunctionTransformer:
        return _function(transformer.inverse_func, transformer.inv_kw_args)
    scaled = _scaled(transformer)
    return None if scaled is None else Unscaled(scaled.center, scaled.scale)


class Scaled(nn.Module):
    """Each column without its center, over its scale."""

    center: Tensor
    scale: Tensor

    def __init__(self, center: Any, scale: Any) -> None:
        super().__init__()
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.center) / self.scale


class Unscaled(Scaled):
    """Each column times its scale, and its center."""

    def forward(self, x: Tensor) -> Tensor:
        return self.center + self.scale * x


class Cut(nn.Module):
    """Numbers cut off at two bounds."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)


class Bounded(nn.Module):
    """What SmoothClip does."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        # The larger one outside the root, since its square could overflow.
        size = x.abs().clamp(min=self.limit)
        other = x.abs().clamp(max=self.limit)
        return x / (size * (1 + (other / size).square()).sqrt()) * self.limit


class Imputed(nn.Module):
    """A number in place of each NaN, and columns that say where some were."""

    fill: Tensor
    noted: Tensor

    def __init__(self, fill: Any, noted: Any) -> None:
        super().__init__()
        self.register_buffer("fill", torch.as_tensor(fill, dtype=torch.float64))
        self.register_buffer("noted", torch.as_tensor(noted, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        absent = x.isnan()
        filled = torch.where(absent, self.fill, x)
        if not self.noted.shape[0]:
            return filled
        return torch.cat([filled, absent.index_select(1, self.noted).to(x.dtype)], 1)


class Function(nn.Module):
    """One of numpy's functions of a number, as torch has it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _function(function: Any, arguments: Any) -> nn.Module | None:
    if function is None:
        return nn.Identity()
    known = next((ours for theirs, ours in FUNCTIONS.items() if theirs is function), None)
    return None if known is None or arguments else Function(known)


def _chained(parts: list[nn.Module | None]) -> nn.Module | None:
    known = [part for part in parts if part is not None]
    return nn.Sequential(*known) if len(known) == len(parts) else None


def _scaled(scaler: Any) -> Scaled | None:
    """Return what a scaler does before it cuts off."""
    kind = type(scaler)
    if kind is MinMaxScaler:
        return Scaled(-scaler.min_ / scaler.scale_, 1.0 / scaler.scale_)
    if kind is MaxAbsScaler:
        return Scaled(np.zeros(1), scaler.scale_)
    if kind not in (StandardScaler, RobustScaler):
        return None
    is_standard = kind is StandardScaler
    center = scaler.mean_ if is_standard else scaler.center_
    is_centered = scaler.with_mean if is_standard else scaler.with_centering
    return Scaled(
        center if is_centered else np.zeros(1),
        np.ones(1) if scaler.scale_ is None else scaler.scale_,
    )


def _imputed(imputer: Any) -> Imputed | None:
    """Return what an imputer of NaN does, unless it drops columns."""
    fill = np.asarray(imputer.statistics_)
    marks_nan = isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)
    if not marks_nan or fill.dtype.kind not in "biuf" or np.isnan(fill).any():
        return None
    noted = [] if imputer.indicator_ is None else imputer.indicator_.features_
    return Imputed(fill.astype(np.float64), np.asarray(noted, dtype=np.int64))
