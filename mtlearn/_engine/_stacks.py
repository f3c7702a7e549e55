"""Epochs of many fits, trained side by side as far as their networks have one shape."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mtlearn._engine._data import Batches, TrainingData
from mtlearn._engine._fast_step import can_be_fast, without_formula
from mtlearn._engine._layout import find_layout
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._objective import Objective
from mtlearn._engine._stacked_parameters import unstack
from mtlearn._engine._stacked_step import StackedEpoch, StackedModel, StackedStep
from mtlearn._engine._update import is_plain_adam
from mtlearn._pausing import ask
from mtlearn._torch_state import suspended_settings

__all__ = ["Epoch", "Member", "Stacks"]


COPIES = 8  # values, gradients, two moments, and those of the best and of the last epochs


@dataclass(frozen=True)
class Epoch:
    """An epoch that a fit wants to be trained.

    Parameters
    ----------
    model : StackedModel
        The network.
    batches : Batches
        What to train it on.
    watched : TrainingData or None
        What its losses are watched on afterwards.
    settings : sequence of dict or None
        The settings of the optimizer in each step; None for those that it has in all.
    """

    model: StackedModel
    batches: Batches
    watched: TrainingData | None
    settings: Sequence[Mapping[str, Any]] | None = None

    @property
    def key(self) -> Hashable:
        """What epochs that are trained side by side have in common."""
        data = self.batches.dataset
        assert isinstance(data.inputs, Tensor)
        state = next(iter(self.model.optimizer.state.values()), {})
        in_order = self.batches.generator is None
        n_steps = float(state.get("step", 0))
        return self.model.key, len(data), self.batches.batch_size, in_order, n_steps

    @property
    def can_be_stacked(self) -> bool:
        """Whether the data are such that every gradient is there in every step."""
        data = self.batches.dataset
        labelled = len(data.labels) == len(self.model.objective.names)
        return labelled and isinstance(data.inputs, Tensor)

    @property
    def n_bytes(self) -> int:
        """About how much memory the fit holds while it waits: its rows, and copies of weights."""
        inputs = self.batches.dataset.inputs
        rows = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
        weights = list(self.model.module.parameters()) * COPIES
        return sum(tensor.numel() * tensor.element_size() for tensor in [*rows, *weights])


@dataclass
class Stacks:
    """The stacks of networks that are being trained, kept from one epoch to the next."""

    _steps: dict[tuple[int, ...], StackedStep] = field(default_factory=dict)

    def train(self, epochs: Sequence[Epoch]) -> list[StackedEpoch | None]:
        """Train an epoch of each fit.

        Parameters
        ----------
        epochs : sequence of Epoch
            What to train.

        Returns
        -------
        list of StackedEpoch or None
            What came out; None for a network of a shape of its own, which is left to its fit.
        """
        together: dict[Hashable, list[int]] = {}
        for i, epoch in enumerate(epochs):
            together.setdefault(epoch.key, []).append(i)
        before, self._steps = self._steps, {}
        trained: list[StackedEpoch | None] = [None] * len(epochs)
        for positions in together.values():
            if len(positions) == 1:
                continue
            positions.sort(key=lambda i: str(epochs[i].model.settings))
            some = [epochs[i] for i in positions]
            ids = tuple(id(epoch.model) for epoch in some)
            step = before.get(ids) or _make_step(some)
            self._steps[ids] = step
            found = step.epoch(
                [epoch.batches for epoch in some],
                [epoch.settings or epoch.model.settings for epoch in some],
            )
            for i, of_model in zip(positions, found, strict=True):
                trained[i] = of_model
        return trained


def _make_step(epochs: Sequence[Epoch]) -> StackedStep:
    watched = [epoch.watched for epoch in epochs if epoch.watched is not None]
    alike = {(len(data), *data.labels) for data in watched}
    return StackedStep(
        [epoch.model for epoch in epochs],
        [epoch.batches.dataset for epoch in epochs],
        watched if len(watched) == len(epochs) and len(alike) == 1 else None,
    )


@dataclass
class Member:
    """A fit that may be trained beside others."""

    _model: StackedModel | None = None
    _is_stacked: bool = False

    def find_model(
        self,
        module: MultiOutputModule,
        objective: Objective,
        raw_shapes: Mapping[str, tuple[int, ...]],
        optimizer: torch.optim.Optimizer,
        alpha: float,
    ) -> StackedModel | None:
        """Return the network as one of several, if all gradients are known and Adam trains it."""
        if self._model is None and _can_be_stacked(module, objective, optimizer):
            layout = find_layout(module, objective, raw_shapes)
            first = next(module.parameters())
            shapes = [tuple(p.shape) for p in module.parameters()]
            key = str((type(optimizer), module, shapes, first.dtype, first.device, layout.key))
            self._model = StackedModel(module, objective, layout, optimizer, alpha, key)
        return self._model

    def train(self, epoch: Epoch) -> StackedEpoch | None:
        """Let whoever runs this fit train an epoch; None if it is left to the fit."""
        if not epoch.can_be_stacked:
            return None
        if not epoch.model.module.training:
            epoch.model.module.train()
        with suspended_settings():
            found = ask(epoch)
        if found is None:
            self._unstack()
        self._is_stacked = found is not None
        return found

    def leave(self) -> None:
        """Let go of the others."""
        self._unstack()
        self._model = None

    def _unstack(self) -> None:
        if self._is_stacked and self._model is not None:
            unstack(self._model.module, self._model.optimizer)
        self._is_stacked = False


def _can_be_stacked(
    module: MultiOutputModule, objective: Objective, optimizer: torch.optim.Optimizer
) -> bool:
    """Tell whether all gradients are known, and one fused Adam trains all parameters."""
    return (
        can_be_fast(module, optimizer)
        and not without_formula(module, objective)
        and all(p.requires_grad for p in module.parameters())
        and is_plain_adam(optimizer)
        and len(optimizer.param_groups) == 1
    )
