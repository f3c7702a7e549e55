"""When training ends early, and with which weights."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

from mtlearn._engine._module import all_tensors
from mtlearn._pausing import ask, can_ask
from mtlearn._torch_state import suspended_settings
from mtlearn._typing import Array
from mtlearn.exceptions import DivergenceError

__all__ = [
    "BestEpoch",
    "Diverged",
    "HeldOutLoss",
    "LastEpochs",
    "StopAfter",
    "StopTraining",
    "as_arrays",
    "as_tensors",
    "copy_tensors",
    "has_finite_weights",
    "put_tensors",
    "weights_diverged",
]


Weights = Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class HeldOutLoss:
    """The loss of a network on rows held out from it; the answer is the mean of all members'.

    Parameters
    ----------
    value : float
        The mean loss of these rows.
    n_rows : int
        How many they are.
    """

    value: float
    n_rows: int

    @property
    def n_bytes(self) -> int:
        """About how much memory is held for it."""
        return 0


class StopTraining(Exception):
    """Training shall end here, in order."""


class Diverged(DivergenceError):
    """Training has diverged.

    Parameters
    ----------
    message : str
        What happened.
    at_start : bool
        Whether the weights were bad when the epoch began.
    """

    def __init__(self, message: str, at_start: bool) -> None:
        super().__init__(message)
        self.at_start = at_start


def copy_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in all_tensors(module).items()}


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return tensors as numpy arrays of their own."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def as_tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return arrays as tensors."""
    return {name: torch.tensor(array) for name, array in arrays.items()}


def has_finite_weights(module: nn.Module) -> bool:
    """Tell whether no parameter is infinite or NaN."""
    values = [parameter.detach().flatten() for parameter in module.parameters()]
    return not values or bool(torch.isfinite(torch.cat(values)).all())


def weights_diverged(net: Any) -> Diverged:
    """Return what to raise in an epoch that ends with infinite weights."""
    epoch = net.epochs_before + len(net.history)
    return Diverged(
        f"training diverged in epoch {epoch}: a weight is not finite. Lower `learning_rate`, or "
        f"scale X.",
        at_start=False,
    )


def put_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Set all parameters and buffers."""
    for name, tensor in all_tensors(module).items():
        tensor.detach().copy_(tensors[name])


class BestEpoch(Callback):
    """Stop when a loss no longer falls, and restore the weights of its best epoch.

    skorch's own EarlyStopping restores what a state_dict holds, which leaves some buffers out,
    keeps a second copy of all weights, and says nothing of a run that ends before it stops it.

    Parameters
    ----------
    monitor : str
        The loss to watch, by its name in skorch's history.
    patience : int
        How many epochs in a row may be no better than the best.
    tolerance : float, default=0.0
        The share of the least loss that the loss of the best epoch may be above it; the last such
        epoch is the best.
    is_shared : bool, default=False
        Whether the loss that counts is the mean of those of all members of an ensemble, which are
        trained side by side; they then stop at the same epoch, with the weights of the same one.
    """

    def __init__(
        self, monitor: str, patience: int, tolerance: float = 0.0, is_shared: bool = False
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.tolerance = tolerance
        self.is_shared = is_shared

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Forget any earlier training."""
        self.best_epoch_ = 0
        self._least = float("inf")
        self._weights: Weights | None = None

    def on_epoch_end(self, net: Any, **_kwargs: Any) -> None:
        """Keep the weights if they are the best so far; stop if none has been for long."""
        loss, epoch = net.history[-1].get(self.monitor), len(net.history)
        if loss is None:
            return
        if self.is_shared and can_ask():
            with suspended_settings():
                loss = ask(HeldOutLoss(loss, len(net.watched)))
        is_least = loss < self._least
        self._least = min(self._least, loss)
        allowed = self._least + self.tolerance * abs(self._least)
        if is_least or (self.tolerance > 0 and loss <= allowed):
            self.best_epoch_, self._weights = epoch, _weights_of(net)
        elif epoch - self.best_epoch_ >= self.patience:
            raise StopTraining

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights and the counters, as plain values."""
        weights = None if self._weights is None else as_arrays(self._weights())
        return {"best_epoch": self.best_epoch_, "least": self._least, "weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.best_epoch_, self._least = state["best_epoch"], state["least"]
        if state["weights"] is not None:
            kept = as_tensors(state["weights"])
            self._weights = lambda: kept

    def on_train_end(self, net: Any, **_kwargs: Any) -> None:
        """Restore the best weights."""
        if self._weights is not None:
            put_tensors(net.module_, self._weights())
        self._weights = None


class StopAfter(Callback):
    """Stop at the end of an epoch.

    Parameters
    ----------
    n_epochs : int
        How many epochs to train.
    """

    is_stateless = True

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def on_epoch_end(self, net: Any, **_kwargs: Any) -> None:
        """Stop after the last one."""
        if len(net.history) >= self.n_epochs:
            raise StopTraining


class LastEpochs(Callback):
    """Keep the weights of the last two epochs, to go back to when training diverges.

    A weight can be infinite while all losses are finite: behind a ReLU, for one.
    """

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Forget any earlier training."""
        self._weights: deque[tuple[int, Weights]] = deque(maxlen=2)

    def on_epoch_end(self, net: Any, **_kwargs: Any) -> None:
        """Keep the weights at the end of an epoch; those of the last one are never needed."""
        epoch = len(net.history)
        ended = net.ended
        if not (has_finite_weights(net.module_) if ended is None else ended.is_finite):
            raise weights_diverged(net)
        if epoch < net.max_epochs:
            self._weights.append((epoch, _weights_of(net)))

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs and their weights, as plain values."""
        return {"epochs": [[epoch, as_arrays(weights())] for epoch, weights in self._weights]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for epoch, arrays in state["epochs"]:
            self._weights.append((epoch, partial(as_tensors, arrays)))

    def forget(self) -> None:
        """Let go of the weights."""
        self._weights.clear()

    def restore(self, net: Any, *, before: int) -> int:
        """Restore the weights of the last epoch up to `before`; return it, 0 if there is none."""
        for epoch, weights in reversed(self._weights):
            if epoch <= before:
                put_tensors(net.module_, weights())
                return epoch
        return 0


def _weights_of(net: Any) -> Weights:
    """Return what returns the weights by name as they are now."""
    if net.ended is not None:
        return net.ended.weights
    copied = copy_tensors(net.module_)
    return lambda: copied
