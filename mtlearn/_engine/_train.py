"""One training run: from fitted heads and labels to a trained network."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from skorch.helper import predefined_split

from mtlearn._engine._data import Rows, TrainingData, training_data
from mtlearn._engine._module import MultiOutputModule, build_module
from mtlearn._engine._net import LOSS_LIMIT, Net, make_net
from mtlearn._engine._objective import Objective
from mtlearn._engine._stopping import BestEpoch, StopTraining
from mtlearn._interrupts import Interrupts
from mtlearn._torch_state import training_settings
from mtlearn.exceptions import DivergenceError, TrainingInterruptedWarning
from mtlearn.heads import Head
from mtlearn.trunks import Trunk

__all__ = ["DTYPES", "Recipe", "best_epoch", "history_rows", "train"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}

MAX_BATCH = 200
MIN_EPOCHS = 100
MIN_STEPS = 200


@dataclass(frozen=True)
class Recipe:
    """What a run does with the data: everything but the data and the parts."""

    loss_weights: Mapping[str, float]
    normalize_losses: bool
    optimizer: str | Callable[..., Any]
    learning_rate: float
    alpha: float
    batch_size: int | str
    max_epochs: int | str
    early_stopping: bool
    n_iter_no_change: int
    device: str
    dtype: str
    n_threads: int | None
    verbose: int
    seed: int
    monitor: str = "valid_loss"

    def trained(self, heads: Mapping[str, Head]) -> dict[str, Head]:
        """Return the heads that have something to learn, and weight in the loss."""
        return {
            name: head
            for name, head in sorted(heads.items())
            if self.loss_weights[name] != 0 and not head.is_constant_
        }

    def build(self, trunk: Trunk, heads: Mapping[str, Head], n_features: int) -> MultiOutputModule:
        """Return the network with fresh weights, on the device."""
        trained = self.trained(heads)
        module = build_module(trunk, trained, n_features, self.seed, DTYPES[self.dtype])
        return module.to(self.device)

    def for_rows(self, n_rows: int) -> "Recipe":
        """Return the recipe with "auto" replaced by numbers."""
        batch_size = min(MAX_BATCH, n_rows) if self.batch_size == "auto" else int(self.batch_size)
        epochs = max(MIN_EPOCHS, ceil(MIN_STEPS / ceil(n_rows / batch_size)))
        epochs = epochs if self.max_epochs == "auto" else int(self.max_epochs)
        return replace(self, batch_size=batch_size, max_epochs=epochs)

    def on_this_machine(self) -> "Recipe":
        """Return the recipe with a device that is there."""
        try:
            check_device(self.device)
        except ValueError:
            return replace(self, device="cpu")
        return self

    def settings(self) -> AbstractContextManager[None]:
        """Hold torch's thread count and generator as the run needs them."""
        return training_settings(self.n_threads, self.seed)

    def make_net(self, module: MultiOutputModule, heads: Mapping[str, Head]) -> Net:
        """Return the skorch net that trains the network."""
        stopper = BestEpoch(self.monitor, self.n_iter_no_change)
        return make_net(
            module,
            Objective(self.trained(heads), self.loss_weights, DTYPES[self.dtype]),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            alpha=self.alpha,
            batch_size=int(self.batch_size),
            max_epochs=int(self.max_epochs),
            loss_limit=LOSS_LIMIT if self.normalize_losses else float("inf"),
            callbacks=[("best_epoch", stopper)] if self.early_stopping else [],
            device=self.device,
            verbose=self.verbose,
            seed=self.seed,
        )


def train(
    recipe: Recipe,
    trunk: Trunk,
    heads: Mapping[str, Head],
    rows: Rows,
    validation: Rows | None = None,
    main_output: str | None = None,
) -> tuple[MultiOutputModule, Net | None, Recipe]:
    """Build the network and train it.

    Parameters
    ----------
    recipe : Recipe
        How to train.
    trunk : Trunk
        The specification of the trunk.
    heads : mapping of str to Head
        The fitted heads of all outputs.
    rows : Rows
        What to train on.
    validation : Rows, default=None
        What to watch the losses on; None to watch none.
    main_output : str, default=None
        The output whose loss stops the training; None for the total.

    Returns
    -------
    module : MultiOutputModule
        The trained network, in evaluation mode.
    net : Net or None
        The skorch net that trained it; None if there was nothing to learn.
    recipe : Recipe
        The recipe with "auto" replaced by numbers.

    Raises
    ------
    DivergenceError
        If a loss or a weight leaves the finite numbers.

    Warns
    -----
    TrainingInterruptedWarning
        If Ctrl-C or SIGTERM ended the training.
    """
    check_device(recipe.device)
    trained = recipe.trained(heads)
    dtype = DTYPES[recipe.dtype]
    with recipe.settings(), Interrupts() as interrupts:
        module = recipe.build(trunk, heads, rows.X.shape[1])
        data = training_data(rows, trained, dtype, recipe.device)
        recipe = recipe.for_rows(max(len(data), 1))
        if not trained:
            return module.eval(), None, recipe
        watched = None
        if validation is not None:
            watched = training_data(validation, trained, dtype, recipe.device)
        if watched is None or not watched.labels:
            watched, recipe = None, replace(recipe, early_stopping=False)
        elif main_output in watched.labels:
            recipe = replace(recipe, monitor=f"valid_{main_output}_loss")
        net = recipe.make_net(module, heads)
        net.interrupts = interrupts
        _run(net, data, watched)
    if not all(bool(torch.isfinite(p).all()) for p in module.parameters()):
        raise DivergenceError(
            f"training diverged in epoch {len(net.history)}: a weight is not finite. Lower "
            f"`learning_rate`, or scale X."
        )
    return module.eval(), net, recipe


def _run(net: Net, data: TrainingData, watched: TrainingData | None) -> None:
    """Run all epochs, or until a signal or the best epoch stops them."""
    net.train_split = None if watched is None else predefined_split(watched)
    # skorch's partial_fit does the same, but would swallow an interrupt from anywhere.
    net.notify("on_train_begin", X=data, y=None)
    with suppress(StopTraining):
        net.fit_loop(data)
    net.notify("on_train_end", X=data, y=None)
    net.train_split = None  # the net outlives the fit, its data need not
    if net.interrupts.received is not None:
        net.interrupts.handled = True
        warnings.warn(
            f"{net.interrupts.received} ended the training in epoch {len(net.history)}; the "
            f"estimator keeps the best weights so far, or the last ones without validation.",
            TrainingInterruptedWarning,
            stacklevel=2,
        )


def best_epoch(net: Net | None) -> int:
    """Return the epoch, from 1 on, that the weights are of; 0 if there was none."""
    if net is None:
        return 0
    best = [callback.best_epoch_ for name, callback in net.callbacks_ if name == "best_epoch"]
    return max(best, default=0) or len(net.history)


def check_device(device: str) -> None:
    """Raise a ValueError for a device that torch does not know or this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"`device` must be one that torch can use here. Got {device!r}; 'cpu' always works. "
            f"({str(error).splitlines()[0]})"
        ) from error


def history_rows(
    net: Net | None, heads: Mapping[str, Head], loss_weights: Mapping[str, float]
) -> list[dict[str, float]]:
    """Return one row per epoch, in Keras's names, with the constant outputs' losses too.

    Every row obeys ``loss == sum_k weight_k * loss_k + penalty``, and the same with ``val_`` over
    the outputs that are watched.
    """
    if net is None:
        return []
    constant = {
        name: head.constant_loss_
        for name, head in heads.items()
        if name not in net.criterion_.names
    }
    extra = sum(loss_weights[name] * loss for name, loss in constant.items())
    rows = []
    for epoch in net.history:
        row = {"loss": epoch["train_loss"] + extra}
        for name in heads:
            row[f"{name}_loss"] = (
                constant[name] if name in constant else epoch[f"train_{name}_loss"]
            )
        row |= {f"{name}_weight": loss_weights[name] for name in heads}
        row["penalty"] = epoch["train_penalty"]
        if "valid_loss" in epoch:
            row["val_loss"] = epoch["valid_loss"]
            names = [name for name in heads if f"valid_{name}_loss" in epoch]
            row |= {f"val_{name}_loss": epoch[f"valid_{name}_loss"] for name in names}
            row["val_penalty"] = epoch["valid_penalty"]
        rows.append(row)
    return rows
