"""skorch's training loop, with one loss per output and one read of the losses per epoch."""

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PrintLog
from torch import nn

from mtlearn._engine._data import Batches, TrainingData
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._objective import Objective, l2_penalty
from mtlearn._engine._optimizers import find_optimizer
from mtlearn._engine._stopping import StopTraining
from mtlearn._interrupts import Interrupts
from mtlearn._random import part_seed
from mtlearn.exceptions import DivergenceError

__all__ = ["LOSS_LIMIT", "Net", "make_net"]

LOSS_LIMIT = 1e6
ROWS_AT_ONCE = 2**13


class Net(NeuralNet):
    """A skorch net whose loss is the weighted sum of the outputs' losses and the penalty.

    Loop, hooks, callbacks and history are skorch's. Two things differ: a step also returns its
    ``terms`` (the losses of all outputs, then the penalty), and an epoch reads their means back
    once, at its end, where skorch waits for the device after every batch. The history of an epoch
    has ``train_loss``, ``train_<output>_loss`` and ``train_penalty``.

    Parameters
    ----------
    module : MultiOutputModule
        The network.
    criterion : Objective
        The losses.
    alpha : float
        The penalty on squared weights.
    loss_limit : float
        The loss of an output above which training counts as diverged.
    **kwargs : Any
        What skorch's NeuralNet takes.
    """

    def __init__(
        self,
        module: MultiOutputModule,
        criterion: Objective,
        *,
        alpha: float = 0.0,
        loss_limit: float = LOSS_LIMIT,
        **kwargs: Any,
    ) -> None:
        self.interrupts = Interrupts()
        self.alpha = alpha
        self.loss_limit = loss_limit
        super().__init__(module, criterion=criterion, **kwargs)

    def get_default_callbacks(self) -> list[tuple[str, Any]]:
        """Return skorch's timer and table, without its own scoring of the training loss."""
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog())]

    def train_step_single(self, batch: Any, **_fit_params: Any) -> dict[str, Any]:
        """Compute the total loss of a batch and its gradients, in one backward pass."""
        step = self._losses(batch)
        step["loss"].backward()
        return step

    def validation_step(self, batch: Any, **_fit_params: Any) -> dict[str, Any]:
        """Compute the total loss of a batch without gradients."""
        with torch.no_grad():
            return self._losses(batch)

    def run_single_epoch(
        self,
        iterator: Batches | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **fit_params: Any,
    ) -> None:
        """Run all batches, then record the mean losses of the epoch.

        Raises
        ------
        DivergenceError
            If a mean loss is not finite, or above the limit.
        StopTraining
            After a signal, between two batches.
        """
        if iterator is None:
            return
        self.module_.train(training)
        self.criterion_.train(training)
        terms, sizes = [], []
        interrupted = False
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            terms.append(step["terms"])
            sizes.append(len(next(iter(batch[1].values())).target))
            self.notify("on_batch_end", batch=batch, training=training, **step)
            if interrupted := training and self.interrupts.received is not None:
                break
        shares = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
        means = (shares @ torch.stack(terms).to("cpu", torch.float64)).tolist()
        self.history.record(f"{prefix}_batch_count", len(sizes))
        self._record(prefix, means, iterator.dataset.labels)
        if interrupted:
            raise StopTraining

    def _losses(self, batch: Any) -> dict[str, Any]:
        X, labels = batch
        raw = self.module_(X)
        losses = self.criterion_(raw, labels)
        total = losses @ self.criterion_.weights
        penalty = l2_penalty(self.module_.parameters(), self.alpha)
        terms = torch.cat([losses.detach(), torch.as_tensor(penalty).detach().to(losses).view(1)])
        return {"loss": total + penalty, "y_pred": raw, "terms": terms}

    def _record(self, prefix: str, means: list[float], observed: Collection[str]) -> None:
        names = self.criterion_.names
        weights = self.criterion_.weights.tolist()
        for name, mean in zip(names, means, strict=False):
            limit = self.loss_limit if prefix == "train" else math.inf
            if not math.isfinite(mean) or mean > limit:
                where = "" if prefix == "train" else " validation"
                raise DivergenceError(
                    f"output {name!r}: training diverged in epoch {len(self.history)}, with a "
                    f"mean{where} loss of {mean:.3g}. Lower `learning_rate`, or scale X."
                )
        total = math.fsum(w * mean for w, mean in zip(weights, means, strict=False)) + means[-1]
        self.history.record(f"{prefix}_loss", total)
        for name, mean in zip(names, means, strict=False):
            if name in observed:
                self.history.record(f"{prefix}_{name}_loss", mean)
        self.history.record(f"{prefix}_penalty", means[-1])


def make_net(
    module: MultiOutputModule,
    objective: Objective,
    *,
    optimizer: str | Callable[..., Any],
    learning_rate: float,
    alpha: float,
    batch_size: int,
    max_epochs: int,
    loss_limit: float,
    callbacks: list[Any],
    device: str,
    verbose: int,
    seed: int,
) -> Net:
    """Return an initialized net for the network, ready for ``partial_fit`` on TrainingData."""
    batch_norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    normalizes = any(isinstance(layer, batch_norms) for layer in module.modules())
    net = Net(
        module,
        objective,
        alpha=alpha,
        loss_limit=loss_limit,
        optimizer=find_optimizer(optimizer),
        lr=learning_rate,
        batch_size=batch_size,
        max_epochs=max_epochs,
        callbacks=callbacks,
        train_split=None,
        dataset=TrainingData,
        iterator_train=Batches,
        iterator_train__generator=torch.Generator().manual_seed(part_seed(seed, "batches")),
        iterator_train__skip_single_row=normalizes,
        iterator_valid=Batches,
        iterator_valid__batch_size=ROWS_AT_ONCE,
        device=device,
        verbose=verbose,
    )
    return net.initialize()
