"""A user's own loss, asked for one value per label."""

import copy
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["CustomLoss", "LossFunction", "check_loss"]

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class CustomLoss(nn.Module):
    """A user's loss as a module that returns one value per label.

    Shape: raw outputs and targets of shape (n_samples,) or (n_samples, n_columns), to that shape.

    Parameters
    ----------
    loss : callable or torch.nn.Module
        What takes raw outputs and targets. Where it has an argument or an attribute
        ``reduction``, that is set to ``"none"``.
    """

    def __init__(self, loss: LossFunction | nn.Module) -> None:
        super().__init__()
        self.kwargs: dict[str, str] = {}
        if isinstance(loss, nn.Module):
            loss = copy.deepcopy(loss)
            if hasattr(loss, "reduction"):
                setattr(loss, "reduction", "none")  # noqa: B010 (torch declares modules only)
        elif _takes_reduction(loss):
            self.kwargs["reduction"] = "none"
        self.loss = loss

    def forward(self, raw: Tensor, target: Tensor) -> Tensor:
        return self.loss(raw, target, **self.kwargs)


def _takes_reduction(loss: LossFunction) -> bool:
    try:
        parameter = inspect.signature(loss).parameters.get("reduction")
    except ValueError:  # some built-in functions have no signature
        return False
    return parameter is not None


def check_loss(labels: Any, shape: tuple[int, ...], loss: Any) -> None:
    """Raise a ValueError unless a loss returned finite values, one for each label."""
    if not isinstance(labels, Tensor) or not labels.requires_grad:
        raise ValueError(
            f"`loss` must return a tensor made from the raw outputs by torch's functions. {loss!r} "
            f"returned {type(labels).__name__} without a gradient; leave out numpy and detach()."
        )
    if tuple(labels.shape) != shape:
        raise ValueError(
            f"`loss` must return one value per label, a tensor of shape {shape}. {loss!r} "
            f"returned {tuple(labels.shape)}; leave out its last mean or sum."
        )
    if not bool(torch.isfinite(labels).all()):
        raise ValueError(
            f"`loss` must return finite values. {loss!r} returned NaN or infinity for the "
            f"constant prediction; mind that it sees standardised targets."
        )
