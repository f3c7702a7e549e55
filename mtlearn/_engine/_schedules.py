"""Schedules of the learning rate by name."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from skorch.callbacks import LRScheduler
from torch.optim import Optimizer, lr_scheduler

__all__ = [
    "SCHEDULES",
    "make_schedule",
    "scheduled_rate",
    "settings_ahead",
]

PLATEAU_FACTOR = 0.2


def make_schedule(name: str, *, n_steps: int, monitor: str, patience: int) -> LRScheduler:
    """Return the skorch callback of a schedule.

    Parameters
    ----------
    name : {"cosine", "onecycle", "plateau"}
        The schedule.
    n_steps : int
        The number of steps of the whole training.
    monitor : str
        The loss that "plateau" watches, by its name in skorch's history.
    patience : int
        How many epochs in a row may be no better than the best before "plateau" acts.
    """
    return SCHEDULES[name](n_steps, monitor, patience)


@contextmanager
def settings_ahead(
    schedule: LRScheduler, optimizer: Optimizer, n_steps: int, read: Callable[[], dict[str, Any]]
) -> Iterator[tuple[list[dict[str, Any]], Callable[[], None]]]:
    """Go through the steps of an epoch before they are made.

    Parameters
    ----------
    schedule : skorch.callbacks.LRScheduler
        A schedule that changes settings after each step.
    optimizer : torch.optim.Optimizer
        The optimizer.
    n_steps : int
        The number of steps of the epoch.
    read : callable
        Returns the settings as they are.

    Yields
    ------
    settings : list of dict
        The settings of each step.
    keep : callable
        To be called if the steps are made; else the schedule is as it was afterwards.
    """
    state = copy.deepcopy(schedule.lr_scheduler_.state_dict())
    groups = [dict(group) for group in optimizer.param_groups]
    settings, kept = [], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for _ in range(n_steps):
            settings.append(read())
            schedule.on_batch_end(None, training=True)
    yield settings, lambda: kept.append(True)
    if not kept:
        schedule.lr_scheduler_.load_state_dict(state)
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            group.update(before)


def _cosine(n_steps: int, _monitor: str, _patience: int) -> LRScheduler:
    policy = lr_scheduler.CosineAnnealingLR
    return LRScheduler(policy, step_every="batch", event_name=None, T_max=n_steps)


def _onecycle(n_steps: int, _monitor: str, _patience: int) -> LRScheduler:
    policy = partial(_one_cycle, n_steps=n_steps)
    return LRScheduler(policy, step_every="batch", event_name=None)


def _plateau(_n_steps: int, monitor: str, patience: int) -> LRScheduler:
    policy = lr_scheduler.ReduceLROnPlateau
    return LRScheduler(
        policy,
        monitor=monitor,
        event_name=None,
        factor=PLATEAU_FACTOR,
        patience=patience,
        threshold=0.0,  # torch's is relative, and of a loss below 0 would take a rise for a fall
    )


def _one_cycle(optimizer: Optimizer, n_steps: int, last_epoch: int) -> lr_scheduler.OneCycleLR:
    """Return the schedule with each parameter group's own rate as the highest."""
    rates = [group["lr"] for group in optimizer.param_groups]
    has_momentum = "betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0) > 0
    return lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=rates,
        total_steps=n_steps,
        cycle_momentum=has_momentum,
        last_epoch=last_epoch,
    )


SCHEDULES: dict[str, Callable[[int, str, int], Any]] = {
    "cosine": _cosine,
    "onecycle": _onecycle,
    "plateau": _plateau,
}


def scheduled_rate(net: Any) -> float:
    """Return the learning rate of a part without a rate of its own."""
    rates = [group["lr"] for group in net.optimizer_.param_groups]
    for now, first in zip(rates, net.first_rates, strict=True):
        if first == net.lr:
            return now
    shares = [now / first for now, first in zip(rates, net.first_rates, strict=True) if first]
    return net.lr * max(shares, default=0.0)
