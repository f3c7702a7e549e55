"""From settings to a net that can train."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mtlearn._engine._data import Batches
from mtlearn._engine._fast_step import without_formula
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._net import Net
from mtlearn._engine._objective import Objective
from mtlearn._engine._optimizers import check_optimizer, find_groups, find_optimizer, refuse_lbfgs
from mtlearn._engine._weighing import Weighing
from mtlearn._random import part_seed
from mtlearn._validation import check_known
from mtlearn.heads import Head

__all__ = ["make_net"]

ROWS_AT_ONCE = 2**13


def make_net(
    module: MultiOutputModule,
    objective: Objective,
    *,
    heads: Mapping[str, Head],
    weighing: Weighing | None = None,
    optimizer: str | Callable[..., Any],
    optimizer_params: Mapping[str, Any],
    param_groups: Mapping[str, Mapping[str, Any]],
    learning_rate: float,
    alpha: float,
    batch_size: int,
    max_epochs: int,
    shuffle: bool,
    loss_limit: float,
    callbacks: Sequence[Any],
    keep_batches: bool,
    record_rate: bool,
    fast_step: bool | str,
    device: str,
    verbose: int,
    seed: int,
) -> Net:
    """Return an initialized net for the network, ready for ``partial_fit`` on TrainingData."""
    check_optimizer(optimizer, optimizer_params)
    net = Net(
        module,
        objective,
        heads=heads,
        weighing=weighing,
        alpha=alpha,
        loss_limit=loss_limit,
        keep_batches=keep_batches,
        record_rate=record_rate,
        fast_step=fast_step,
        optimizer=find_optimizer(optimizer),
        lr=learning_rate,
        batch_size=batch_size,
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        train_split=None,
        use_caching=False,
        iterator_train=Batches,
        iterator_train__generator=torch.Generator().manual_seed(part_seed(seed, "batches")),
        iterator_train__shuffle=shuffle,
        iterator_train__skip_single_row=module.normalizes_batches,
        iterator_valid=Batches,
        iterator_valid__batch_size=ROWS_AT_ONCE,
        device=device,
        verbose=verbose,
        optimizer__param_groups=find_groups(module, param_groups, heads),
        **{f"optimizer__{name}": value for name, value in optimizer_params.items()},
    )
    try:
        net.initialize()
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"`optimizer` could not be made with {dict(optimizer_params)} as `optimizer_params`. "
            f"{type(error).__name__}: {error}"
        ) from error
    refuse_lbfgs(net.optimizer_)
    if not isinstance(net.optimizer_, torch.optim.Optimizer):
        raise ValueError(f"`optimizer` must make an optimizer of torch. Got {net.optimizer_!r}.")
    unknown = without_formula(module, objective) if fast_step is True else []
    if unknown:
        raise ValueError(
            f"`fast_step` True needs a formula for every layer and loss. There is none for "
            f"{unknown}; pass fast_step='auto', which leaves these to autograd."
        )
    net.first_rates = [group["lr"] for group in net.optimizer_.param_groups]
    known = net.optimizer_.defaults
    for part, settings in param_groups.items():
        check_known(settings, known, subject=f"`param_groups[{part!r}]`", noun="setting")
    return net
