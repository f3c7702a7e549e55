"""Optimizers by name, their parameters, and parameter groups by part of the network."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from glob import escape
from numbers import Real
from typing import Any

import torch
from torch import nn

from mtlearn._engine._module import MultiOutputModule, trunk_paths
from mtlearn._validation import check_known

__all__ = [
    "OPTIMIZERS",
    "check_optimizer",
    "find_groups",
    "find_optimizer",
    "frozen",
    "refuse_lbfgs",
]

# Fused kernels update all parameters in one call; on small nets that is most of a step's time.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adagrad": torch.optim.Adagrad,
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, fused=True),
}

Groups = Mapping[str, Mapping[str, Any]]


def find_optimizer(optimizer: str | Callable[..., Any]) -> Callable[..., torch.optim.Optimizer]:
    """Return what makes the optimizer: a name's entry, or the class or partial as given."""
    return OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer


def refuse_lbfgs(optimizer: Any) -> None:
    """Raise a ValueError for LBFGS: its name, its class or an instance."""
    is_class = isinstance(optimizer, type) and issubclass(optimizer, torch.optim.LBFGS)
    named = str(optimizer).lower() == "lbfgs"
    if is_class or named or isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            "`optimizer` must make one step from one gradient. LBFGS evaluates the loss several "
            "times within a step and models its curvature from one step to the next, which the "
            f"changing batches spoil; use one of {sorted(OPTIMIZERS)}."
        )


def check_optimizer(optimizer: str | Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Raise a ValueError for an optimizer that cannot train here, and for unknown parameters."""
    refuse_lbfgs(optimizer.func if isinstance(optimizer, partial) else optimizer)
    if isinstance(optimizer, str):
        check_known([optimizer], OPTIMIZERS, subject="`optimizer`", noun="optimizer")
    if "lr" in params:
        raise ValueError("`optimizer_params` must not hold 'lr'; set `learning_rate`.")
    accepted = inspect.signature(find_optimizer(optimizer)).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        names = [name for name in list(accepted)[1:] if name != "lr"]  # the first: parameters
        check_known(params, names, subject="`optimizer_params`", noun="parameter")


def find_groups(
    module: MultiOutputModule, groups: Groups, outputs: Collection[str] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """Return patterns of parameter names with their settings, as skorch takes them.

    Parameters
    ----------
    module : MultiOutputModule
        The network.
    groups : mapping of str to mapping of str to Any
        Settings of the optimizer by part: "trunk", a module inside it such as "trunk.0" (of a
        Graph a stage, "trunk.lstm"), or an output. A part has the settings of those that it is
        inside of too, unless it has its own.
    outputs : collection of str, default=()
        All outputs; those without layers have no parameters, nor have parts of the trunk that no
        head needs.

    Raises
    ------
    ValueError
        For an unknown part, and a learning rate that is none.
    """
    subject = "`param_groups`"
    parts = _parts(module)
    check_known(groups, [*parts, *module.parts, *outputs], subject=subject, noun="part")
    twice = [part for part in groups if part in module.names and parts[part].startswith("trunk")]
    if twice:
        raise ValueError(f"{subject}: {twice} are parts of the trunk and outputs; rename these.")
    for part, settings in groups.items():
        if not isinstance(settings, Mapping):
            raise TypeError(
                f"{subject}: the settings of {part!r} must be a dict. Got {settings!r}; write "
                f"{{'lr': 1e-4}}."
            )
        rate = settings.get("lr", 0.0)
        if not isinstance(rate, Real) or not 0 <= float(rate) < float("inf"):
            raise ValueError(
                f"{subject}: 'lr' of {part!r} must be a finite number of at least 0. Got {rate!r}."
            )
    by_path = {parts[part]: settings for part, settings in groups.items() if part in parts}
    found = []
    for path in sorted(by_path, key=lambda path: (path.count("."), path), reverse=True):
        around = [other for other in by_path if f"{path}.".startswith(f"{other}.")]
        merged: dict[str, Any] = {}
        for other in sorted(around, key=len):
            merged |= by_path[other]
        found.append((f"{escape(path)}.*", merged))
    return found


@contextmanager
def frozen(module: MultiOutputModule, groups: Groups) -> Iterator[list[nn.Module]]:
    """Take the parts with a learning rate of 0 out of the training; yield them.

    Inside, their parameters need no gradient, so that nothing is computed for them and no penalty
    is counted. Parts with a rate of their own inside a frozen one do learn.

    Raises
    ------
    ValueError
        If nothing is left to learn.
    """
    parts = _parts(module) if groups else {}
    rates = {
        parts[part]: settings["lr"]
        for part, settings in groups.items()
        if "lr" in settings and part in parts
    }
    needed = {parameter: parameter.requires_grad for parameter in module.parameters()}
    for name, parameter in module.named_parameters():
        if _of_most_specific(name, rates) == 0:
            parameter.requires_grad_(False)
    try:
        if any(needed.values()) and not any(p.requires_grad for p in needed):
            raise ValueError("`param_groups` must leave a part to learn. All have the 'lr' 0.")
        yield [
            part
            for name, part in module.named_modules()
            if rates and _of_most_specific(f"{name}.", rates) == 0
        ]
    finally:  # a callback may have frozen parts too
        for parameter, needs_gradient in needed.items():
            parameter.requires_grad_(needs_gradient)


def _parts(module: MultiOutputModule) -> dict[str, str]:
    """Return the path inside the network of each part that a user can name."""
    outputs = {name: f"heads.{i}" for i, name in enumerate(module.names)}
    return {**outputs, **trunk_paths(module.trunk)}


def _of_most_specific(name: str, rates: Mapping[str, float]) -> float | None:
    paths = [path for path in rates if name.startswith(f"{path}.")]
    return rates[max(paths, key=len)] if paths else None
