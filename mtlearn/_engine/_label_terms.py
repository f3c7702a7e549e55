"""What a step needs of a loss at each label: its value, its slope and its curvature."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from scipy.special import expit, log_softmax
from torch import Tensor, nn

from mtlearn._typing import Array, Floats

__all__ = ["LabelTerms", "label_terms"]

# From raw outputs of shape (n_rows, *raw_shape) and encoded labels: the loss of each label, the
# derivatives of the losses by the raw outputs, and the second ones.
LabelTerms: TypeAlias = Callable[[Floats, Array], tuple[Floats, Floats, Floats]]

LEAST = 1e-4
LARGEST_STEP = 4.0  # where a label surprises, p (1 - p) is next to nothing


def label_terms(loss: nn.Module) -> LabelTerms:
    """Return the terms of a loss: by formula where there is one, else by autograd.

    But for squares, the second derivative is raised to a quarter of the first one's size, so that
    no step changes a raw output by more than 4. Where it is 0, as that of absolute values, it is
    the square of the first one, as in the online Newton step; it is 0.0001 at least.

    References
    ----------
    Hazan, Agarwal and Kale, "Logarithmic Regret Algorithms for Online Convex Optimization", 2007.
    """
    match loss:
        case nn.BCEWithLogitsLoss():
            pos_weight = None if loss.pos_weight is None else loss.pos_weight.numpy()
            return _Logistic(pos_weight)
        case nn.CrossEntropyLoss():
            return _CrossEntropy(float(loss.label_smoothing))
        case nn.MSELoss():
            return _squared_error
    return _ByAutograd(loss)


class _Logistic:
    """Log loss of the log-odds."""

    def __init__(self, pos_weight: Floats | None) -> None:
        self.pos_weight = pos_weight

    def __call__(self, raw: Floats, target: Array) -> tuple[Floats, Floats, Floats]:
        p = expit(raw)
        losses = np.logaddexp(0.0, raw) - target * raw
        if self.pos_weight is None:
            return losses, p - target, _bounded(p * (1 - p), p - target)
        positive = self.pos_weight * target
        losses = positive * np.logaddexp(0.0, -raw) + (1 - target) * np.logaddexp(0.0, raw)
        both = positive + 1 - target
        slopes = both * p - positive
        return losses, slopes, _bounded(both * p * (1 - p), slopes)


class _CrossEntropy:
    """Log loss of a softmax, with smoothed labels."""

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, raw: Floats, target: Array) -> tuple[Floats, Floats, Floats]:
        log_p = log_softmax(raw, axis=1)
        goal = np.full(raw.shape, self.label_smoothing / raw.shape[1])
        goal[np.arange(len(raw)), target] += 1 - self.label_smoothing
        p = np.exp(log_p)
        return -(goal * log_p).sum(axis=1), p - goal, _bounded(p * (1 - p), p - goal)


def _bounded(curvatures: Floats, slopes: Floats) -> Floats:
    """Return curvatures, raised where a step by them would change a raw output by too much."""
    return np.maximum(np.maximum(curvatures, np.abs(slopes) / LARGEST_STEP), LEAST)


def _squared_error(raw: Floats, target: Array) -> tuple[Floats, Floats, Floats]:
    off = raw - target
    return off**2, 2 * off, np.full(raw.shape, 2.0)


class _ByAutograd:
    """Any other loss."""

    def __init__(self, loss: nn.Module) -> None:
        self.loss = loss.double()

    def __call__(self, raw: Floats, target: Array) -> tuple[Floats, Floats, Floats]:
        with torch.enable_grad():
            leaf = torch.tensor(raw, requires_grad=True)
            losses = self.loss(leaf, torch.as_tensor(target))
            (first,) = torch.autograd.grad(losses.sum(), leaf, create_graph=True)
            second = _diagonal(first, leaf)
        slopes = first.detach().numpy()
        bounded = _bounded(second, slopes)
        newton = np.maximum(slopes**2, LEAST)
        return losses.detach().numpy(), slopes, np.where(second == 0, newton, bounded)


def _diagonal(first: Tensor, leaf: Tensor) -> Floats:
    """Return the second derivatives by each raw output itself, given the first ones."""
    found = np.zeros(leaf.shape)
    if not first.requires_grad:
        return found
    columns = first.reshape(len(leaf), -1).sum(dim=0)
    for i, column in enumerate(columns):
        (own,) = torch.autograd.grad(column, leaf, retain_graph=True, allow_unused=True)
        if own is not None:
            found.reshape(len(leaf), -1)[:, i] = own.reshape(len(leaf), -1)[:, i].numpy(force=True)
    return found
