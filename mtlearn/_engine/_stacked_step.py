"""The training steps of several networks of one shape as one."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mtlearn._aten import fused_adam
from mtlearn._engine._data import Batches, Labels, TrainingData
from mtlearn._engine._layout import Layout, stacked_layout
from mtlearn._engine._losses import EpochLosses, epoch_losses
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._objective import Objective
from mtlearn._engine._passes import Passes
from mtlearn._engine._stacked_parameters import StackedParameters

__all__ = ["StackedEpoch", "StackedModel", "StackedStep"]

NUMBERS_AT_ONCE = 2**22
ADAM = ("lr", "betas", "eps", "weight_decay")

# The settings of an optimizer, or those in each step of an epoch.
Settings: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


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
        group = self.optimizer.param_groups[0]
        decoupled = bool(group.get("decoupled_weight_decay", False))
        return {name: group[name] for name in ADAM} | {"decoupled": decoupled}


@dataclass(frozen=True)
class StackedEpoch:
    """What came out of an epoch of one network.

    Parameters
    ----------
    trained : EpochLosses
        The losses of the steps.
    watched : EpochLosses or None
        The losses on the watched rows after them; None if they were not computed.
    is_finite : bool
        Whether no parameter is infinite or NaN.
    row : Tensor
        All values of the parameters.
    places : mapping of str to (slice, shape)
        Where each parameter is in the row.
    """

    trained: EpochLosses
    watched: EpochLosses | None
    is_finite: bool
    row: Tensor
    places: Mapping[str, tuple[slice, torch.Size]]

    def weights(self) -> dict[str, Tensor]:
        """Return the values of the parameters by name."""
        return {name: self.row[where].view(shape) for name, (where, shape) in self.places.items()}


class StackedStep:
    """Steps of networks of one shape: a matrix product of each layer for all of them.

    Parameters
    ----------
    models : sequence of StackedModel
        The networks; those with equal settings of the optimizer best side by side.
    data : sequence of TrainingData
        What each is trained on.
    watched : sequence of TrainingData or None
        What each is watched on; None for nothing, or for rows that differ in number.
    """

    def __init__(
        self,
        models: Sequence[StackedModel],
        data: Sequence[TrainingData],
        watched: Sequence[TrainingData] | None,
    ) -> None:
        self._models = models
        layout = stacked_layout([model.layout for model in models])
        self._groups = layout.groups
        self._parameters = StackedParameters(
            [model.module for model in models],
            layout,
            [model.optimizer for model in models],
            [model.alpha for model in models],
        )
        self._weights = torch.stack([model.objective.weights for model in models])
        first = models[0]
        self._passes = Passes(
            first.module.trunk, layout, self._parameters, self._weights, first.objective.names
        )
        self._labels = self._pack(data)
        self._watched: tuple[Tensor, list[Labels | None]] | None = None
        if watched is not None:
            x = [_inputs(part, slice(0, len(part))) for part in watched]
            self._watched = torch.stack(x), self._pack(watched)

    def epoch(self, batches: Sequence[Batches], settings: Sequence[Settings]) -> list[StackedEpoch]:
        """Train every network on its batches, which are as many and as large for all.

        Parameters
        ----------
        batches : sequence of Batches
            What each is trained on.
        settings : sequence of (dict or sequence of dict)
            The settings of the optimizer of each, or those in each step.

        Returns
        -------
        list of StackedEpoch
            What came out, for each.
        """
        first = batches[0]
        n_inputs = first.dataset.n_numbers_per_row * len(batches)
        per_batch = (self._passes.n_numbers_per_row + n_inputs) * first.batch_size
        at_once = max(1, NUMBERS_AT_ONCE // per_batch)
        update = self._find_update(settings)
        terms, sizes = [], []
        self._weights.copy_(torch.stack([model.objective.weights for model in self._models]))
        with torch.no_grad():
            for chunk in zip(*(each.in_chunks(at_once) for each in batches), strict=True):
                chunk_sizes = chunk[0][1]
                terms.append(self._chunk(batches, [rows for rows, _ in chunk], chunk_sizes, update))
                sizes += chunk_sizes
            trained = epoch_losses(torch.cat(terms, 1), sizes)
            watched = self._watch() or [None] * len(trained)
            rows = self._parameters.rows()
            finite = torch.isfinite(rows).all(1).tolist()
        of_models = zip(trained, watched, finite, rows, strict=True)
        return [StackedEpoch(*of_model, self._parameters.places) for of_model in of_models]

    def _chunk(
        self,
        batches: Sequence[Batches],
        rows: Sequence[Tensor | slice],
        sizes: list[int],
        update: Callable[[], None],
    ) -> Tensor:
        """Make the steps of several batches; return their terms."""
        pairs = zip(batches, rows, strict=True)
        x = torch.stack([_inputs(each.dataset, of_model) for each, of_model in pairs])
        labels = self._take(rows)
        raws, penalties = [], []
        parts = zip(x.split(sizes, 1), self._passes.prepare(labels, sizes), strict=True)
        for of_batch, prepared in parts:
            raws.append(self._passes.run(of_batch, prepared))
            penalties.append(self._parameters.add_penalty())
            update()
        losses = self._passes.losses(raws, labels, sizes)
        return torch.cat([losses, torch.stack(penalties, 1).unsqueeze(-1)], -1)

    def _watch(self) -> list[EpochLosses] | None:
        """Return the losses on the watched rows."""
        if self._watched is None:
            return None
        x, labels = self._watched
        first = self._models[0].module.eval()  # its layers stand for those of all
        raw = self._passes.forward(x)
        first.train()
        sizes = [x.shape[1]]
        losses = self._passes.losses([raw], labels, sizes)
        penalties = self._parameters.penalties().view(-1, 1, 1)
        return epoch_losses(torch.cat([losses, penalties], -1), sizes)

    def _pack(self, data: Sequence[TrainingData]) -> list[Labels | None]:
        """Return the labels of each group for all networks, of shape (n_models, n_samples, ...)."""
        packed: list[Labels | None] = []
        for i in range(len(self._groups)):
            found = [
                model.layout.groups[i].pack(part)
                for model, part in zip(self._models, data, strict=True)
            ]
            some = [labels for labels in found if labels is not None]
            packed.append(
                Labels(*(torch.stack(parts) for parts in zip(*some, strict=True))) if some else None
            )
        return packed

    def _take(self, rows: Sequence[Tensor | slice]) -> list[Labels | None]:
        """Return the labels of some rows of each network."""
        some = [labels for labels in self._labels if labels is not None]
        if isinstance(rows[0], slice):
            return [Labels(*(part[:, rows[0]] for part in labels)) for labels in some]
        order = torch.stack([of_model for of_model in rows if isinstance(of_model, Tensor)])
        taken: list[Labels | None] = []
        for labels in some:
            index = order.unsqueeze(-1).expand(-1, -1, labels.target.shape[-1])
            taken.append(Labels(*(part.gather(1, index) for part in labels)))
        return taken

    def _find_update(self, settings: Sequence[Settings]) -> Callable[[], None]:
        """Return what updates all networks from their gradients, one step of an epoch at a time."""
        calls = list(self._calls(settings))
        step = self._parameters.step
        n_done = count()

        def update() -> None:
            step.add_(1)
            i = next(n_done)
            for (values, gradients, means, squares), given in calls:
                now = given if isinstance(given, Mapping) else given[i]
                fused_adam(values, gradients, (means, squares), [step] * len(values), **now)

        return update

    def _calls(self, settings: Sequence[Settings]) -> Iterator[tuple[list[list[Tensor]], Settings]]:
        """Yield the tensors of neighbours with equal settings, and these."""
        start = 0
        for given, run in groupby(settings):
            end = start + len(list(run))
            if end - start == len(self._models):
                tensors = [[tensor] for tensor in self._parameters.all]
            else:
                blocks = self._parameters.blocks
                tensors = [[block[kind][start:end] for block in blocks] for kind in range(4)]
            yield tensors, given
            start = end


def _inputs(data: TrainingData, rows: Tensor | slice) -> Tensor:
    inputs = data.inputs_at(rows)
    assert isinstance(inputs, Tensor)
    return inputs
