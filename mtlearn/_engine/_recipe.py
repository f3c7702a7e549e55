"""How to train: everything but the data and the parts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from mtlearn._engine._callbacks import see_batches
from mtlearn._engine._data import count_batches
from mtlearn._engine._make_net import make_net
from mtlearn._engine._module import MultiOutputModule, build_module
from mtlearn._engine._net import LOSS_LIMIT, Net
from mtlearn._engine._objective import Objective
from mtlearn._engine._progress import ProgressBar
from mtlearn._engine._schedules import make_schedule
from mtlearn._engine._stopping import BestEpoch, LastEpochs, StopAfter
from mtlearn._engine._weighing import Weighing
from mtlearn._random import part_seed
from mtlearn._torch_state import training_settings
from mtlearn._typing import Spec
from mtlearn.heads import Head
from mtlearn.trunks import Trunk
from mtlearn.weighting import Weighting
from mtlearn.weighting._base import weight_at

__all__ = ["DTYPES", "Recipe", "check_device"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}

MAX_BATCH = 200
MIN_EPOCHS = 100
MIN_STEPS = 200


@dataclass(frozen=True)
class Recipe:
    """What a run does with the data: everything but the data and the parts.

    `outputs` are the outputs with layers of their own; None before there are any layers;
    `trunk_outputs` those that the trunk was built for, if some were dropped since. The weight of an
    output in `schedules` is that of the first epoch, and changes by its schedule. With
    `shares_stopping`, members that are trained side by side stop together. `stop_after` is the
    epoch to end with, of the `max_epochs` that schedules are laid out for. Recipes are compared by
    `weighting_as_text`, since no two equal parts are equal to Python.
    """

    loss_weights: Mapping[str, float]
    normalize_losses: bool
    optimizer: str | Callable[..., Any]
    learning_rate: float
    alpha: float
    batch_size: int | str | Callable[[int], int]
    max_epochs: int | str
    early_stopping: bool
    n_iter_no_change: int
    device: str
    dtype: str
    n_threads: int | None
    verbose: int | str
    seed: int
    optimizer_params: Mapping[str, Any] = field(default_factory=dict)
    param_groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learning_rate_schedule: str | None = None
    shuffle: bool = True
    fast_step: bool | str = "auto"
    monitor: str = "train_loss"
    outputs: tuple[str, ...] | None = None
    trunk_outputs: tuple[str, ...] | None = None
    schedules: Mapping[str, Callable[[int], float]] = field(default_factory=dict)
    shares_stopping: bool = False
    stop_after: int | None = None
    early_stopping_tol: float = 0.0
    main_output: str | None = None
    weighting: Weighting | None = field(default=None, compare=False)
    weighting_as_text: str = ""

    def is_left_out(self, name: str) -> bool:
        """Tell whether an output has the constant weight 0."""
        return self.loss_weights[name] == 0 and name not in self.schedules

    def weights_at(self, epoch: int) -> dict[str, float]:
        """Return the weight of each output's loss in an epoch, counted from 0.

        Raises
        ------
        ValueError
            If a schedule gives anything but a finite number of at least 0, or raises an error.
        """
        weights = dict(self.loss_weights)
        for name, schedule in self.schedules.items():
            weights[name] = weight_at(schedule, epoch, f"`loss_weights[{name!r}]`")
        return weights

    def _measure(self) -> dict[str, float] | None:
        """Return the weights by which epochs are compared; None if they are those of training.

        An output whose schedule begins at 0 has the weight 1 there: it is to be learned.
        """
        if not self.schedules and self.weighting is None:
            return None
        ones = {name: 1.0 for name in self.schedules if not self.loss_weights[name]}
        return {**self.loss_weights, **ones}

    def trained(self, heads: Mapping[str, Head]) -> dict[str, Head]:
        """Return the heads with layers: those with something to learn, and weight in the loss."""
        if self.outputs is not None:
            return {name: heads[name] for name in self.outputs}
        return {
            name: head
            for name, head in sorted(heads.items())
            if not self.is_left_out(name) and not head.is_constant_
        }

    def build(self, trunk: Trunk, heads: Mapping[str, Head], spec: Spec) -> MultiOutputModule:
        """Return the network with fresh weights, on the device."""
        trained = self.trained(heads)
        outputs = self.trunk_outputs or tuple(trained)
        module = build_module(trunk, trained, spec, self.seed, DTYPES[self.dtype], outputs)
        return module.to(self.device)

    def _begin_weighing(self, heads: Mapping[str, Head]) -> Weighing | None:
        """Return what changes the weights of the losses; None if nothing does."""
        names = sorted(self.trained(heads))
        if self.weighting is None or sum(not self.is_left_out(name) for name in names) < 2:
            return Weighing(self.weights_at, names) if self.schedules else None
        weights = np.array([self.loss_weights[name] for name in names])
        main = names.index(self.main_output) if self.main_output in names else None
        seed = part_seed(self.seed, "weighting")
        weigher = self.weighting.begin(weights, main, seed)
        return Weighing(self.weights_at, names, self.weighting, weigher)

    def for_rows(self, n_rows: int) -> "Recipe":
        """Return the recipe with "auto" replaced by numbers."""
        given = self.batch_size
        if callable(given):
            given = given(n_rows)
        batch_size = min(MAX_BATCH, n_rows) if given == "auto" else int(given)
        if batch_size < 1:
            raise ValueError(
                f"`batch_size` must give at least 1. Got {batch_size} for {n_rows} rows."
            )
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

    def settings(self, epochs_before: int = 0) -> AbstractContextManager[None]:
        """Hold torch's thread count and generator as the run needs them."""
        again = part_seed(self.seed, f"after/{epochs_before}")
        return training_settings(self.n_threads, again if epochs_before else self.seed)

    def make_net(
        self,
        module: MultiOutputModule,
        heads: Mapping[str, Head],
        callbacks: Sequence[Any] = (),
        *,
        n_rows: int = 1,
    ) -> Net:
        """Return the skorch net that trains the network on so many rows."""
        assert not callable(self.batch_size)
        batch_size, max_epochs = int(self.batch_size), int(self.max_epochs)
        own: list[tuple[str, Callback]] = [("last_epochs", LastEpochs())]
        if self.learning_rate_schedule is not None:
            n_batches = count_batches(n_rows, batch_size, skip_single=module.normalizes_batches)
            schedule = make_schedule(
                self.learning_rate_schedule,
                n_steps=max_epochs * n_batches,
                monitor=self.monitor,
                patience=max(1, self.n_iter_no_change // 2),
            )
            own.append(("learning_rate_schedule", schedule))
        if self.early_stopping:
            stopper = BestEpoch(
                self.monitor, self.n_iter_no_change, self.early_stopping_tol, self.shares_stopping
            )
            own.append(("best_epoch", stopper))
        if self.stop_after is not None:
            own.append(("stop_after", StopAfter(self.stop_after)))
        if self.verbose == "progress":
            own.append(("progress", ProgressBar()))
        net = make_net(
            module,
            Objective(self.trained(heads), self.loss_weights, DTYPES[self.dtype], self._measure()),
            heads=heads,
            weighing=self._begin_weighing(heads),
            optimizer=self.optimizer,
            optimizer_params=self.optimizer_params,
            param_groups=self.param_groups,
            learning_rate=self.learning_rate,
            alpha=self.alpha,
            batch_size=batch_size,
            max_epochs=max_epochs,
            shuffle=self.shuffle,
            loss_limit=LOSS_LIMIT if self.normalize_losses else float("inf"),
            callbacks=[*callbacks, *own],
            keep_batches=see_batches(callbacks),
            record_rate=self.learning_rate_schedule is not None,
            fast_step=self.fast_step,
            device=self.device,
            verbose=0 if isinstance(self.verbose, str) else int(self.verbose),
            seed=self.seed,
        )
        net.main_output = self.main_output
        net.can_be_stacked = not net.keep_batches and not self.verbose
        net.reusable = not callbacks and self.learning_rate_schedule is None
        return net


def check_device(device: str) -> None:
    """Raise a ValueError for a device that torch does not know or this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"`device` must be one that torch can use here. Got {device!r}; 'cpu' always works. "
            f"({str(error).splitlines()[0]})"
        ) from error
