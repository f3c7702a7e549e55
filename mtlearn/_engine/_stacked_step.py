"""The training steps of several networks of one shape as one."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from mtlearn._aten import fused_adam
from mtlearn._engine._data import Batches, Labels
from mtlearn._engine._layout import Layout, stacked_layout
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._objective import Objective
from mtlearn._engine._passes import Passes
from mtlearn._engine._stacked_parameters import StackedParameters

__all__ = ["StackedModel", "StackedStep"]

NUMBERS_AT_ONCE = 2**22
ADAM = ("lr", "betas", "eps", "weight_decay")


@dataclass(frozen=True, eq=False)
class StackedModel:
    """One of several networks that are trained side by side.

    Parameters
    ----------
    module : MultiOutputModule
        The network.
    objective : Objective
        The losses.
    layout : Layout
        What of it is computed together.
    optimizer : torch.optim.Optimizer
        Its fused Adam or AdamW, with one group of parameters.
    alpha : float
        The penalty on squared weights.
    key : Hashable
        What networks of one shape have in common.
    """

    module: MultiOutputModule
    objective: Objective
    layout: Layout
    optimizer: torch.optim.Optimizer
    alpha: float
    key: Hashable

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the optimizer, as they are now."""
        return {name: self.optimizer.param_groups[0][name] for name in ADAM}


class StackedStep:
    """Steps of networks of one shape: a matrix product of each layer for all of them.

    Parameters
    ----------
    models : sequence of StackedModel
        The networks; those with equal settings of the optimizer best side by side.
    """

    def __init__(self, models: Sequence[StackedModel]) -> None:
        self._models = models
        layout = stacked_layout([model.layout for model in models])
        self._groups = layout.groups
        self._parameters = StackedParameters(
            [model.module for model in models],
            layout,
            [model.optimizer for model in models],
            [model.alpha for model in models],
        )
        weights = torch.stack([model.objective.weights for model in models])
        first = models[0]
        self._passes = Passes(
            first.module.trunk, layout, self._parameters, weights, first.objective.names
        )
        self._packed: list[Labels] = []

    def epoch(self, batches: Sequence[Batches]) -> list[tuple[Tensor, list[int]]]:
        """Train every network on its batches, which are as many and as large for all.

        Parameters
        ----------
        batches : sequence of Batches
            The batches of each network.

        Returns
        -------
        list of (terms, sizes)
            For each network the losses of the outputs and the penalty, of shape
            (n_batches, n_outputs + 1), and the numbers of rows of the batches.
        """
        first = batches[0]
        n_inputs = first.dataset.n_numbers_per_row * len(batches)
        per_batch = (self._passes.n_numbers_per_row + n_inputs) * first.batch_size
        at_once = max(1, NUMBERS_AT_ONCE // per_batch)
        update = self._find_update()
        terms, sizes = [], []
        with torch.no_grad():
            if not self._packed:
                self._packed = self._pack(batches)
            for chunk in zip(*(each.in_chunks(at_once) for each in batches), strict=True):
                chunk_sizes = chunk[0][1]
                terms.append(self._chunk(batches, [rows for rows, _ in chunk], chunk_sizes, update))
                sizes += chunk_sizes
        return [(of_model, sizes) for of_model in torch.cat(terms, 1)]

    def _chunk(
        self,
        batches: Sequence[Batches],
        rows: Sequence[Tensor | slice],
        sizes: list[int],
        update: Callable[[], None],
    ) -> Tensor:
        """Make the steps of several batches; return their terms."""
        pairs = zip(batches, rows, strict=True)
        x = torch.stack([self._inputs(each, of_model) for each, of_model in pairs])
        labels = self._take(rows)
        raws, penalties = [], []
        parts = zip(x.split(sizes, 1), self._passes.prepare(labels, sizes), strict=True)
        for of_batch, prepared in parts:
            raws.append(self._passes.run(of_batch, prepared))
            penalties.append(self._parameters.add_penalty())
            update()
        losses = self._passes.losses(raws, labels, sizes)
        return torch.cat([losses, torch.stack(penalties, 1).unsqueeze(-1)], -1)

    def _inputs(self, batches: Batches, rows: Tensor | slice) -> Tensor:
        inputs = batches.dataset.inputs_at(rows)
        assert isinstance(inputs, Tensor)
        return inputs

    def _pack(self, batches: Sequence[Batches]) -> list[Labels]:
        """Return the labels of each group for all networks, of shape (n_models, n_samples, ...)."""
        packed = []
        for i in range(len(self._groups)):
            found = [
                model.layout.groups[i].pack(each.dataset)
                for model, each in zip(self._models, batches, strict=True)
            ]
            some = [labels for labels in found if labels is not None]
            packed.append(Labels(*(torch.stack(list(parts)) for parts in zip(*some, strict=True))))
        return packed

    def _take(self, rows: Sequence[Tensor | slice]) -> list[Labels]:
        """Return the labels of some rows of each network."""
        if isinstance(rows[0], slice):
            return [
                Labels(labels.target[:, rows[0]], labels.weight[:, rows[0]])
                for labels in self._packed
            ]
        order = torch.stack([of_model for of_model in rows if isinstance(of_model, Tensor)])
        taken = []
        for labels in self._packed:
            index = order.unsqueeze(-1).expand(-1, -1, labels.target.shape[-1])
            taken.append(Labels(labels.target.gather(1, index), labels.weight.gather(1, index)))
        return taken

    def _find_update(self) -> Callable[[], None]:
        """Return what updates all networks from their gradients, by their settings of now."""
        calls = list(self._calls())
        step = self._parameters.step

        def update() -> None:
            step.add_(1)
            for tensors, settings in calls:
                values, gradients, means, squares = tensors
                steps = [step] * len(values)
                fused_adam(values, gradients, (means, squares), steps, **settings)

        return update

    def _calls(self) -> Iterator[tuple[list[list[Tensor]], dict[str, Any]]]:
        """Yield the tensors of neighbours with equal settings, and these."""
        decoupled = self._models[0].optimizer.param_groups[0].get("decoupled_weight_decay", False)
        start = 0
        for settings, run in groupby(self._models, lambda model: model.settings):
            end = start + len(list(run))
            if end - start == len(self._models):
                tensors = [[tensor] for tensor in self._parameters.all]
            else:
                tensors = [
                    [block[kind][start:end] for block in self._parameters.blocks]
                    for kind in range(4)
                ]
            yield tensors, {**settings, "decoupled": decoupled}
            start = end
