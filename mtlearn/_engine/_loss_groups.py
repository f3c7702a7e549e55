"""Outputs whose losses are computed together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlearn._engine._data import Labels, TrainingData
from mtlearn._engine._loss_formulas import AnyLoss, LossFormula, loss_kind, make_loss_formula
from mtlearn._engine._objective import Objective

__all__ = ["LossGroup", "find_groups", "loss_order"]


@dataclass(frozen=True)
class LossGroup:
    """Outputs with one formula for their losses, side by side in a matrix of raw values.

    Parameters
    ----------
    names : list of str
        The outputs.
    widths : list of int
        How many raw values each has.
    formula : LossFormula
        Their losses.
    block : int
        Which matrix of raw values they are in.
    columns : slice
        Where.
    """

    names: list[str]
    widths: list[int]
    formula: LossFormula
    block: int
    columns: slice

    @property
    def label_widths(self) -> list[int]:
        """How many labels each output has in the packed matrix of labels."""
        return [width // self.formula.raw_per_label for width in self.widths]

    @property
    def key(self) -> tuple[object, ...]:
        """What groups of networks that are trained side by side have in common."""
        delta = getattr(self.formula.loss, "delta", None)
        weighted = getattr(self.formula.loss, "pos_weight", None) is not None
        columns = self.columns.start, self.columns.stop
        return (
            self.formula.settings,
            type(self.formula),
            delta,
            weighted,
            *self.names,
            *self.widths,
            self.block,
            columns,
        )

    def pack(self, data: TrainingData) -> Labels | None:
        """Return the labels of all outputs as one matrix; None if there are none."""
        found = [data.labels.get(name) for name in self.names]
        known = next((labels for labels in found if labels is not None), None)
        if known is None or isinstance(self.formula, AnyLoss):
            return known
        shapes = [(len(data), width) for width in self.label_widths]
        if len(found) == 1:
            return Labels(known.target.view(shapes[0]), known.weight.view(shapes[0]))
        return Labels(
            *(
                torch.cat(
                    [
                        known[i].new_zeros(shape) if labels is None else labels[i].view(shape)
                        for labels, shape in zip(found, shapes, strict=True)
                    ],
                    dim=1,
                )
                for i in range(2)
            )
        )

    def prepare(
        self, labels: Labels, loss_weights: Tensor, sizes: Sequence[int]
    ) -> list[tuple[Tensor, ...]]:
        """Return, for each batch, what the gradient of its weighted mean loss needs.

        Parameters
        ----------
        labels : Labels
            The packed labels of some batches, of shape (n_samples, n_labels), or
            (n_models, n_samples, n_labels).
        loss_weights : Tensor of shape (n_outputs,) or (n_models, n_outputs)
            The weights of these outputs.
        sizes : sequence of int
            The number of rows of each batch; only the last may be smaller.
        """
        *models, n_outputs = loss_weights.shape
        axis = len(models)
        if n_outputs == 1:
            factors = loss_weights.view(*models, *[1] * (labels.weight.ndim - axis))
        else:
            repeats = torch.tensor(self.label_widths, device=loss_weights.device)
            factors = loss_weights.repeat_interleave(repeats, -1).unsqueeze(-2)
        weight = labels.weight * factors
        whole = weight.shape[axis] - sizes[-1]
        weight.narrow(axis, 0, whole).div_(sizes[0])
        weight.narrow(axis, whole, sizes[-1]).div_(sizes[-1])
        prepared = self.formula.prepare(labels.target, weight)
        return list(zip(*(part.split(list(sizes), axis) for part in prepared), strict=True))

    def losses_by_row(self, raw: Tensor, labels: Labels) -> Iterator[tuple[str, Tensor]]:
        """Yield the name of each output with its weighted losses, summed over each row."""
        weighted = self.formula.label_losses(raw[..., self.columns], labels.target) * labels.weight
        if isinstance(self.formula, AnyLoss):
            yield self.names[0], weighted.view(len(raw), -1).sum(1)
            return
        parts = weighted.split(self.label_widths, -1)
        yield from ((name, part.sum(-1)) for name, part in zip(self.names, parts, strict=True))


def loss_order(objective: Objective, widths: Mapping[str, int]) -> list[str]:
    """Return the names of the outputs, those with losses of one kind next to each other."""
    kinds = _kinds(objective, widths)
    return sorted(objective.names, key=lambda name: (str(kinds[name]), name))


def find_groups(
    objective: Objective,
    raw_shapes: Mapping[str, tuple[int, ...]],
    blocks: Sequence[Sequence[str]],
) -> list[LossGroup]:
    """Return the groups of all outputs.

    Parameters
    ----------
    objective : Objective
        The losses.
    raw_shapes : mapping of str to tuple of int
        The shape of the raw values of one row, for each output.
    blocks : sequence of sequence of str
        The outputs in each matrix of raw values, in the order of their columns.
    """
    losses = dict(zip(objective.names, objective.losses, strict=True))
    widths = {name: torch.Size(shape).numel() for name, shape in raw_shapes.items()}
    kinds = _kinds(objective, widths)
    groups = []
    for i, names in enumerate(blocks):
        start = 0
        for together in _runs(names, kinds):
            some = [widths[name] for name in together]
            first = together[0]
            formula = (
                AnyLoss([losses[first]], raw_shapes[first])
                if kinds[first] is None
                else make_loss_formula([losses[name] for name in together], some)
            )
            columns = slice(start, start + sum(some))
            groups.append(LossGroup(together, some, formula, i, columns))
            start = columns.stop
    return groups


def _kinds(objective: Objective, widths: Mapping[str, int]) -> dict[str, tuple | None]:
    pairs = zip(objective.names, objective.losses, strict=True)
    return {name: loss_kind(loss, widths[name]) for name, loss in pairs}


def _runs(names: Sequence[str], kinds: Mapping[str, tuple | None]) -> Iterator[list[str]]:
    """Yield neighbours of one kind together; each without a kind by itself."""
    run: list[str] = []
    for name in names:
        if run and (kinds[name] is None or kinds[name] != kinds[run[0]]):
            yield run
            run = []
        run.append(name)
    if run:
        yield run
