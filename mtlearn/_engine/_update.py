"""One step of the optimizer, with less of torch's overhead where it is known how."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._aten import fused_adam, has_step_hooks

__all__ = ["Update", "is_plain_adam"]

PLAIN = {"amsgrad": False, "maximize": False, "differentiable": False, "capturable": False}


class Update:
    """What ``optimizer.step()`` does, bit for bit.

    The first call is the optimizer's own, which sets up its state. For a fused Adam the calls
    after it go to the kernel directly: most of the time of ``step()`` on small networks is spent
    on sorting the parameters anew. The optimizer's own call comes back where a gradient is another
    tensor than before, or None, and where a step has hooks.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._calls: list[Callable[[], None]] = []
        self._means: dict[Tensor, Tensor] = {}
        self._groups: list[list[int]] = []
        self._gradients: list[tuple[Tensor, Tensor | None]] = []

    def check_state(self) -> None:
        """Begin anew if the optimizer's state, groups or settings were replaced since."""
        state = self._optimizer.state
        if self._groups != _contents(self._optimizer) or not is_plain_adam(self._optimizer):
            self._calls = []
            return
        for parameter, mean in self._means.items():
            if state.get(parameter, {}).get("exp_avg") is not mean:
                self._calls = []
                return

    def __call__(self) -> None:
        """Update all parameters from their gradients."""
        hooked = has_step_hooks(self._optimizer)
        if self._calls and not hooked and all(p.grad is d for p, d in self._gradients):
            for call in self._calls:
                call()
            return
        self._calls = []
        self._optimizer.step()
        groups = self._optimizer.param_groups
        if not hooked and is_plain_adam(self._optimizer):
            self._means, self._groups = {}, _contents(self._optimizer)
            self._gradients = [(p, p.grad) for group in groups for p in group["params"]]
            self._calls = [
                self._direct_call(group, learned)
                for group in groups
                if (learned := [p for p in group["params"] if p.grad is not None])
            ]

    def _direct_call(
        self, group: dict[str, Any], parameters: list[nn.Parameter]
    ) -> Callable[[], None]:
        states = [self._optimizer.state[p] for p in parameters]
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        self._means |= dict(zip(parameters, means, strict=True))
        steps = torch.stack([state["step"] for state in states])  # one addition counts them all
        each_step = list(steps.unbind())
        for state, step in zip(states, each_step, strict=True):
            state["step"] = step
        values = [p.detach() for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        decoupled = group.get("decoupled_weight_decay", False)

        def call() -> None:
            steps.add_(1)
            fused_adam(
                values,
                gradients,
                (means, squares),
                each_step,
                decoupled=decoupled,
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
            )

        return call


def _contents(optimizer: torch.optim.Optimizer) -> list[list[int]]:
    """Return which parameters are in which group, in a form that can be compared."""
    return [[id(group), *map(id, group["params"])] for group in optimizer.param_groups]


def is_plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether an optimizer is a fused Adam or AdamW without anything unusual."""
    return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW) and all(
        bool(group["fused"])
        and all(group[name] == value for name, value in PLAIN.items())
        and isinstance(group["lr"], float)
        for group in optimizer.param_groups
    )
