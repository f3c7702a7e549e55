"""Early stopping on one of the recorded losses."""

from typing import Any

from skorch.callbacks import Callback
from torch import Tensor

from mtlearn._engine._module import all_tensors

__all__ = ["BestEpoch", "StopTraining"]


class StopTraining(Exception):
    """Training shall end here, in order."""


class BestEpoch(Callback):
    """Stop when a loss no longer falls, and restore the weights of its best epoch.

    skorch's own EarlyStopping restores what a state_dict holds, which leaves some buffers out,
    keeps a second copy of all weights, and stops by a KeyboardInterrupt, which is then not to be
    told from one of the keyboard.

    Parameters
    ----------
    monitor : str
        The loss to watch, by its name in skorch's history.
    patience : int
        How many epochs in a row may be no better than the best.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        self.monitor = monitor
        self.patience = patience

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Forget any earlier training."""
        self.best_epoch_ = 0
        self._best = float("inf")
        self._weights: dict[str, Tensor] = {}

    def on_epoch_end(self, net: Any, **_kwargs: Any) -> None:
        """Keep the weights if they are the best so far; stop if none has been for long."""
        loss, epoch = net.history[-1].get(self.monitor), len(net.history)
        if loss is None:
            return
        if loss < self._best:
            self._best, self.best_epoch_ = loss, epoch
            tensors = all_tensors(net.module_)
            self._weights = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        elif epoch - self.best_epoch_ >= self.patience:
            raise StopTraining

    def on_train_end(self, net: Any, **_kwargs: Any) -> None:
        """Restore the best weights."""
        if self._weights and self.best_epoch_ != len(net.history):
            for name, tensor in all_tensors(net.module_).items():
                tensor.detach().copy_(self._weights[name])
        self._weights = {}
