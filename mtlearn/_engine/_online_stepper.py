"""The first-order steps of a stream: of the trunk, and of heads that make no steps of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._engine._expert_heads import ExpertHeads, Sources, Stack
from mtlearn._engine._flat_optimizer import FlatOptimizer, Moments
from mtlearn._engine._online_output import OnlineOutput
from mtlearn._typing import Array, Floats

__all__ = ["OnlineStepper"]


class OnlineStepper:
    """An optimizer that is made when it is needed, and anew where there are other weights.

    Parameters
    ----------
    make : callable
        Makes the optimizer from parameters.
    """

    def __init__(self, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> None:
        self.make = make
        self._optimizer: FlatOptimizer | None = None
        self._moments: Moments | None = None
        self._places: list[tuple[Tensor, Stack]] = []

    def __getstate__(self) -> dict[str, Any]:
        """Return arrays and plain values, and what makes the optimizer."""
        moments = self._moments if self._optimizer is None else self._optimizer.moments()
        return {"make": self.make, "_moments": moments, "_optimizer": None, "_places": []}

    def forget(self) -> None:
        """Let the next step make the optimizer anew, with the moments of this one."""
        if self._optimizer is not None:
            self._moments = self._optimizer.moments()
            self._optimizer, self._places = None, []

    def renew(
        self,
        module: nn.Module,
        outputs: Mapping[str, OnlineOutput],
        changed: Mapping[str, Sources],
    ) -> None:
        """Make the optimizer anew for heads that have others beside them now.

        Parameters
        ----------
        module : torch.nn.Module
            The trunk.
        outputs : mapping of str to OnlineOutput
            The outputs.
        changed : mapping of str to Sources
            Of what the raw outputs of those that changed are made now.
        """
        self.forget()
        for name, of_one in (self._moments or {}).items():
            output, _, expert = name.rpartition("/")
            if output in changed and expert.isdigit():
                for key, rows in of_one.items():
                    of_one[key] = _moved(rows, changed[output])
        self._find(module, outputs)

    def step(
        self,
        module: nn.Module,
        outputs: Mapping[str, OnlineOutput],
        tensors: Sequence[Tensor],
        gradients: Sequence[Floats],
    ) -> None:
        """Make the one backward pass through the trunk, and the one step.

        Parameters
        ----------
        module : torch.nn.Module
            The trunk.
        outputs : mapping of str to OnlineOutput
            The outputs, whose heads have their gradients.
        tensors : sequence of Tensor
            What the trunk has made of the batch.
        gradients : sequence of ndarray
            The derivatives of the total by these.
        """
        optimizer = self._find(module, outputs)
        if optimizer is None:
            return
        optimizer.reset_gradients()
        reached = [
            (tensor, torch.from_numpy(gradient))
            for tensor, gradient in zip(tensors, gradients, strict=True)
            if tensor.requires_grad
        ]
        if reached:
            torch.autograd.backward([t for t, _ in reached], [g for _, g in reached])
        for place, stack in self._places:
            if stack.gradient is not None:
                place.copy_(torch.from_numpy(stack.gradient))
                stack.gradient = None
        optimizer.step()

    def _find(self, module: nn.Module, outputs: Mapping[str, OnlineOutput]) -> FlatOptimizer | None:
        """Return the optimizer of all that makes first-order steps; None if nothing does."""
        if self._optimizer is not None:
            return self._optimizer
        named = {f"trunk/{n}": p for n, p in module.named_parameters() if p.requires_grad}
        stacks: list[tuple[Stack, list[str]]] = []
        for output, experts in _first_order(outputs):
            for stack in experts.stacks:
                names = [f"{output}/{expert}" for expert in stack.experts]
                rows = map(torch.from_numpy, stack.weights)
                named |= dict(zip(names, map(nn.Parameter, rows), strict=True))
                stacks.append((stack, names))
        if not named:
            return None
        self._optimizer = FlatOptimizer(named, self.make)
        if self._moments is not None:
            self._optimizer.load_moments(self._moments)
            self._moments = None
        for stack, names in stacks:
            values, gradients = self._optimizer.joined(names)
            stack.weights = values.reshape(stack.weights.shape)
            self._places.append((gradients.view(stack.weights.shape), stack))
        return self._optimizer


def _moved(rows: Array, sources: Sources) -> Array:
    """Return a row for each source: that of one that is as it was, else NaN, which is not taken."""
    places = [source[0] if source and source[1] == 1.0 else -1 for source in sources]
    return np.concatenate([rows, np.full((1, *rows.shape[1:]), np.nan)])[places]


def _first_order(outputs: Mapping[str, OnlineOutput]) -> list[tuple[str, ExpertHeads]]:
    """Return the heads that the optimizer trains, by output."""
    return [
        (name, output.experts)
        for name, output in sorted(outputs.items())
        if output.experts is not None and not output.experts.second_order
    ]
