"""Gradients of losses by formula, for several outputs with the same kind of loss at once."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log, pi
from typing import Any, Self

import torch
from torch import Tensor, nn

from mtlearn.heads._gaussian import ONE, GaussianLoss
from mtlearn.heads._quantile import PinballLoss

__all__ = ["AnyLoss", "LossFormula", "loss_kind", "make_loss_formula"]


FEW_CLASSES = 32


class LossFormula(ABC):
    """The losses of some outputs of one kind, and their gradients.

    The raw values of the outputs are the columns of one matrix. The number of rows is the last
    but one axis; models that are trained side by side are an axis before it.

    Parameters
    ----------
    losses : sequence of torch.nn.Module
        The loss of each output.

    Attributes
    ----------
    raw_per_label : int
        How many raw values belong to a label.
    settings : tuple
        What formulas of models side by side must have in common.
    """

    settings: tuple[float, ...] = ()

    def __init__(self, losses: Sequence[nn.Module]) -> None:
        self.loss: Any = losses[0]
        self.raw_per_label = 1

    @abstractmethod
    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Return what the gradient needs of many rows, from their labels and weights."""

    @abstractmethod
    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        """Write the gradient of the weighted sum of the losses of a batch to `out`."""

    def label_losses(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each label, in the shape of `target`."""
        return self.loss(raw, target)

    def stacked(self, formulas: Sequence[Any]) -> Self:  # noqa: ARG002
        """Return the formula of models side by side, from that of each; this is the first."""
        return self


class SquaredError(LossFormula):
    """Squared differences."""

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return target, 2 * weight

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        target, twice = prepared
        torch.sub(raw, target, out=out).mul_(twice)

    def label_losses(self, raw: Tensor, target: Tensor) -> Tensor:
        return torch.sub(raw, target).square_()


class AbsoluteError(LossFormula):
    """Absolute differences; at the target itself the gradient is 0."""

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return target, weight

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        target, weight = prepared
        torch.sub(raw, target, out=out).sign_().mul_(weight)


class Huber(LossFormula):
    """Squared differences up to `delta`, linear ones beyond."""

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return target, weight

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        target, weight = prepared
        delta = self.loss.delta
        torch.sub(raw, target, out=out).clamp_(-delta, delta).mul_(weight)


class BinaryCrossEntropy(LossFormula):
    r"""Cross-entropy of a logit :math:`f` with :math:`t`, where ones have the weight :math:`p`.

    Its gradient is :math:`\sigma(f)\,(1 - t + p t) - p t`.
    """

    def __init__(self, losses: Sequence[Any], widths: Sequence[int]) -> None:
        super().__init__(losses)
        pairs = [
            pair for pair in zip(losses, widths, strict=True) if pair[0].pos_weight is not None
        ]
        weights = [loss.pos_weight.expand(width) for loss, width in pairs]
        self._pos_weight = torch.cat(weights) if weights else None

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        ones = target if self._pos_weight is None else target * self._pos_weight
        return (1 - target + ones) * weight, ones * weight

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        factor, shift = prepared
        torch.sigmoid(raw, out=out).mul_(factor).sub_(shift)

    def label_losses(self, raw: Tensor, target: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(
            raw, target, pos_weight=self._pos_weight, reduction="none"
        )

    def stacked(self, formulas: Sequence[Any]) -> Self:
        both = copy.copy(self)
        weights = [w for formula in formulas if (w := formula._pos_weight) is not None]
        both._pos_weight = torch.stack(weights).unsqueeze(1) if weights else None
        return both


class CrossEntropy(LossFormula):
    r"""Cross-entropy of the softmax of :math:`C` logits with a class, smoothed by :math:`\epsilon`.

    Its gradient is the softmax less :math:`1 - \epsilon` at the class and :math:`\epsilon / C`
    everywhere.
    """

    def __init__(self, losses: Sequence[nn.Module], n_classes: int) -> None:
        super().__init__(losses)
        self.raw_per_label = n_classes
        self._smoothing: Tensor | float = self.loss.label_smoothing

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        weight = weight.unsqueeze(-1)
        smoothing = self._smoothing
        spread = weight * (smoothing.to(weight) if isinstance(smoothing, Tensor) else smoothing)
        wanted = (spread / self.raw_per_label).repeat_interleave(self.raw_per_label, -1)
        wanted.scatter_add_(-1, target.unsqueeze(-1), weight - spread)
        return weight, wanted

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        weight, wanted = prepared
        shape = wanted.shape
        share = self._from_classes(torch.softmax(*self._to_classes(raw.view(shape))))
        torch.addcmul(-wanted, share, weight, out=out.view(shape))

    def label_losses(self, raw: Tensor, target: Tensor) -> Tensor:
        logits, axis = self._to_classes(raw.reshape(*target.shape, self.raw_per_label))
        logarithms = logits.log_softmax(axis)
        of_class = logarithms.gather(axis, target.unsqueeze(axis)).squeeze(axis)
        smoothing = self._smoothing
        if isinstance(smoothing, Tensor):
            smoothing = smoothing.to(raw).squeeze(-1)
        elif not smoothing:
            return -of_class
        return (smoothing - 1) * of_class - smoothing * logarithms.mean(axis)

    def stacked(self, formulas: Sequence[Any]) -> Self:
        smoothings = [formula._smoothing for formula in formulas]
        if len(set(smoothings)) == 1:
            return self
        both = copy.copy(self)
        both._smoothing = torch.tensor(smoothings, dtype=torch.float64).view(-1, 1, 1, 1)
        return both

    def _to_classes(self, logits: Tensor) -> tuple[Tensor, int]:
        """Return logits with the axis of the classes: few come first, where torch is faster."""
        if self.raw_per_label > FEW_CLASSES:
            return logits, logits.ndim - 1
        return logits.movedim(-1, 0).contiguous(), 0

    def _from_classes(self, values: Tensor) -> Tensor:
        return values if self.raw_per_label > FEW_CLASSES else values.movedim(0, -1)


class Pinball(LossFormula):
    r"""Pinball losses of values that rise: the first raw value, then softpluses on top of it.

    The gradient of a value :math:`v_j` is :math:`(1[t < v_j] - q_j) / m`; a raw value moves its own
    value and all that are above, by the slope of its softplus.
    """

    def __init__(self, losses: Sequence[Any]) -> None:
        super().__init__(losses)
        self._quantiles: Tensor = self.loss.quantiles
        self.raw_per_label = len(self._quantiles)
        self.settings = tuple(self._quantiles.tolist())
        self._start = torch.stack([loss.start for loss in losses])

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return target, weight / self.raw_per_label

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        target, share = prepared
        parts = self._parts(raw, target)
        above = (target.unsqueeze(-1) < self._values(parts)).to(raw)
        slope = (above - self._quantiles.to(raw)) * share.unsqueeze(-1)
        slope = slope.flip(-1).cumsum(-1).flip(-1)
        slope[..., 1:] *= torch.sigmoid(parts[..., 1:])
        out.copy_(slope.view(out.shape))

    def label_losses(self, raw: Tensor, target: Tensor) -> Tensor:
        error = target.unsqueeze(-1) - self._values(self._parts(raw, target))
        quantiles = self._quantiles.to(raw)
        return torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1)

    def stacked(self, formulas: Sequence[Any]) -> Self:
        both = copy.copy(self)
        both._start = torch.stack([formula._start for formula in formulas]).unsqueeze(1)
        return both

    def _parts(self, raw: Tensor, target: Tensor) -> Tensor:
        return raw.reshape(*target.shape, self.raw_per_label) + self._start.to(raw)

    def _values(self, parts: Tensor) -> Tensor:
        rises = nn.functional.softplus(parts[..., 1:])
        return torch.cat([parts[..., :1], rises], -1).cumsum(-1)


class GaussianLikelihood(LossFormula):
    """Negative log-likelihoods of a mean and, behind a softplus, a standard deviation."""

    def __init__(self, losses: Sequence[Any]) -> None:
        super().__init__(losses)
        self.raw_per_label = 2
        self.settings = (self.loss.min_std,)

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return target, weight

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        target, weight = prepared
        mean, spread = self._parts(raw, target)
        std = self.loss.min_std + nn.functional.softplus(spread)
        error, share = (mean - target) / std, weight / std
        slopes = error * share, (1 - error.square()) * share * torch.sigmoid(spread)
        out.copy_(torch.stack(slopes, -1).view(out.shape))

    def label_losses(self, raw: Tensor, target: Tensor) -> Tensor:
        mean, spread = self._parts(raw, target)
        std = self.loss.min_std + nn.functional.softplus(spread)
        return 0.5 * log(2 * pi) + std.log() + 0.5 * ((target - mean) / std).square()

    def _parts(self, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = raw.reshape(*target.shape, 2).unbind(-1)
        return mean, spread + ONE


class AnyLoss(LossFormula):
    """The loss of one output, left to autograd; it is computed once for each batch.

    Parameters
    ----------
    losses : sequence of torch.nn.Module
        The loss.
    raw_shape : tuple of int
        The shape of the raw values of one row.
    """

    def __init__(self, losses: Sequence[nn.Module], raw_shape: tuple[int, ...]) -> None:
        super().__init__(losses)
        self._raw_shape = raw_shape
        self._found: list[Tensor] = []

    def prepare(self, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        self._found = []
        return target, weight

    def gradient(self, raw: Tensor, out: Tensor, *prepared: Tensor) -> None:
        target, weight = prepared
        with torch.enable_grad():
            raw = raw.detach().requires_grad_()
            losses = self.loss(raw.reshape(len(raw), *self._raw_shape), target)
        self._found.append(losses.detach())
        if losses.requires_grad:
            out.copy_(torch.autograd.grad(losses, raw, weight)[0])
        else:
            out.zero_()

    def label_losses(self, raw: Tensor, target: Tensor) -> Tensor:  # noqa: ARG002
        """Return what `gradient` found for the last rows."""
        return torch.cat(self._found)[-len(raw) :]


FORMULAS: dict[type[nn.Module], type[LossFormula]] = {
    nn.HuberLoss: Huber,
    nn.L1Loss: AbsoluteError,
    nn.MSELoss: SquaredError,
    PinballLoss: Pinball,
    GaussianLoss: GaussianLikelihood,
}


def loss_kind(loss: nn.Module, n_raw: int) -> tuple[Any, ...] | None:
    """Return what losses have in common that one formula computes; None for one without."""
    if type(loss) is PinballLoss:
        return (type(loss).__name__, *loss.quantiles.tolist())
    if type(loss) is GaussianLoss:
        return type(loss).__name__, loss.min_std
    if getattr(loss, "reduction", None) != "none":
        return None
    name = type(loss).__name__
    if type(loss) is nn.CrossEntropyLoss:
        plain = loss.weight is None and loss.ignore_index < 0
        return (name, n_raw, loss.label_smoothing) if plain else None
    if type(loss) is nn.BCEWithLogitsLoss:
        return (name, loss.pos_weight is None) if loss.weight is None else None
    if type(loss) is nn.HuberLoss:
        return name, loss.delta
    return (name,) if type(loss) in FORMULAS else None


def make_loss_formula(losses: Sequence[nn.Module], widths: Sequence[int]) -> LossFormula:
    """Return the formula of losses of one kind.

    Parameters
    ----------
    losses : sequence of torch.nn.Module
        The loss of each output.
    widths : sequence of int
        How many raw values of a row each output has.
    """
    if type(losses[0]) is nn.CrossEntropyLoss:
        return CrossEntropy(losses, widths[0])
    if type(losses[0]) is nn.BCEWithLogitsLoss:
        return BinaryCrossEntropy(losses, widths)
    return FORMULAS[type(losses[0])](losses)
