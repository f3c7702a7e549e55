"""The passes of a step by formulas, of one network or of several side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._engine._data import Batch, Labels
from mtlearn._engine._flat import Place
from mtlearn._engine._layout import Layout
from mtlearn._engine._network import NetworkFormulas
from mtlearn._typing import Floats

__all__ = ["Passes"]

ROWS_KEPT = 2**10
SIZES_KEPT = 4


class Passes:
    """Forward and backward passes of batches, and the losses of many batches at once.

    Raw values are one matrix for each block of heads, (n_samples, n_columns); networks side by
    side are an axis before it.

    Parameters
    ----------
    trunk : torch.nn.Module
        The trunk, of the first network if there are several.
    layout : Layout
        What is computed together.
    place : Place
        Where the values and gradients of parameters are.
    loss_weights : Tensor of shape (n_outputs,) or (n_models, n_outputs)
        The weights of the outputs.
    names : sequence of str
        The outputs.
    """

    def __init__(
        self,
        trunk: nn.Module,
        layout: Layout,
        place: Place,
        loss_weights: Tensor,
        names: Sequence[str],
    ) -> None:
        self._trunk, self._layout, self._place = trunk, layout, place
        self._loss_weights, self._names = loss_weights, list(names)
        self._models = loss_weights.shape[:-1]
        positions = [[self._names.index(n) for n in group.names] for group in layout.groups]
        self._outputs = [
            np.repeat(of_group, group.widths)
            for of_group, group in zip(positions, layout.groups, strict=True)
        ]
        self._columns = [
            [
                (i, slice(int(here[0]), int(here[-1]) + 1))
                for i, outputs in enumerate(self._outputs)
                if len(here := np.flatnonzero(outputs == k))
            ]
            for k in range(len(self._names))
        ]
        self._outputs_of_labels = [
            np.repeat(of_group, group.label_widths).tolist()
            for of_group, group in zip(positions, layout.groups, strict=True)
        ]
        self._networks: dict[int, tuple[NetworkFormulas, list[Tensor], list[Tensor]]] = {}

    @property
    def n_numbers_per_row(self) -> int:
        """How many raw values belong to a row, of all networks."""
        return sum(self._layout.widths) * self._models.numel()

    def release(self) -> None:
        """Let go of the buffers of large batches."""
        self._networks = {n: kept for n, kept in self._networks.items() if n <= ROWS_KEPT}

    def prepare(
        self, labels: Sequence[Labels | None], sizes: Sequence[int]
    ) -> Iterator[tuple[tuple[Tensor, ...] | None, ...]]:
        """Yield, for each batch, what the gradient of each group's losses needs."""
        by_group = []
        for group, of_group in zip(self._layout.groups, labels, strict=True):
            if of_group is None:
                by_group.append([None] * len(sizes))
            else:
                positions = [self._names.index(name) for name in group.names]
                weights = self._loss_weights[..., positions]
                by_group.append(group.prepare(of_group, weights, sizes))
        return zip(*by_group, strict=True)

    def run(
        self,
        x: Batch,
        prepared: Sequence[tuple[Tensor, ...] | None],
        weigh: Callable[[list[Tensor]], Floats] | None = None,
    ) -> list[Tensor]:
        """Write the gradients of a batch; return the raw values, which are not overwritten.

        What `weigh` makes of the raw values, a number for each output, multiplies the weights.
        """
        network, of_blocks, of_groups = self._network(self._n_rows(x))
        raw = network.forward(x)
        reached = self._raw_gradients(raw, of_groups, prepared)
        if weigh is not None:
            factors = weigh(raw)
            for group, out, here in zip(self._layout.groups, of_groups, self._outputs, strict=True):
                if len(group.names) == 1:
                    out.mul_(float(factors[here[0]]))
                else:
                    out.mul_(torch.as_tensor(factors[here], dtype=out.dtype, device=out.device))
        network.backward([d if i in reached else None for i, d in enumerate(of_blocks)])
        return raw

    def run_each(
        self,
        x: Batch,
        prepared: Sequence[tuple[Tensor, ...] | None],
        keep: Callable[[int], None],
    ) -> list[Tensor]:
        """Write the gradients of each output's loss by itself, and call `keep` with its position.

        Return the raw values of the batch.
        """
        network, of_blocks, of_groups = self._network(self._n_rows(x))
        raw = network.forward(x)
        reached = self._raw_gradients(raw, of_groups, prepared)
        whole = [d.clone() for d in of_blocks]
        for k in range(len(self._names)):
            for d in of_blocks:
                d.zero_()
            blocks = set()
            for i, own in self._columns[k]:
                block = self._layout.groups[i].block
                if block in reached:
                    columns = self._layout.groups[i].columns
                    of_groups[i][..., own] = whole[block][..., columns][..., own]
                    blocks.add(block)
            network.backward([d if i in blocks else None for i, d in enumerate(of_blocks)])
            keep(k)
        return raw

    def forward(self, x: Batch) -> list[Tensor]:
        """Return the raw values of a batch."""
        return self._network(self._n_rows(x))[0].forward(x)

    def losses(
        self,
        raws: Sequence[Sequence[Tensor]],
        labels: Sequence[Labels | None],
        sizes: Sequence[int],
    ) -> Tensor:
        r"""Return the losses of batches, of shape (\*n_models, n_batches, n_outputs)."""
        joined = [torch.cat(of_block, -2) for of_block in zip(*raws, strict=True)]
        zeros = joined[0].new_zeros(joined[0].shape[:-1])
        by_name = dict.fromkeys(self._names, zeros)
        for group, of_group in zip(self._layout.groups, labels, strict=True):
            if of_group is not None:
                by_name.update(group.losses_by_row(joined[group.block], of_group))
        by_row = torch.stack(list(by_name.values()), -1)
        whole = len(sizes) - (sizes[-1] != sizes[0])
        n_whole = whole * sizes[0]
        means = [by_row[..., :n_whole, :].unflatten(-2, (whole, sizes[0])).mean(-2)]
        if whole < len(sizes):
            means.append(by_row[..., n_whole:, :].mean(-2, keepdim=True))
        return torch.cat(means, -2)

    def losses_of_step(self, raw: Sequence[Tensor], labels: Sequence[Labels | None]) -> Floats:
        """Return the losses of one batch of one network, in as few operations as may be."""
        found = [0.0] * len(self._names)
        for group, of_group, outputs in zip(
            self._layout.groups, labels, self._outputs_of_labels, strict=True
        ):
            if of_group is not None:
                columns = raw[group.block][:, group.columns]
                weighted = group.formula.label_losses(columns, of_group.target) * of_group.weight
                if len(group.names) == 1:
                    found[outputs[0]] = weighted.sum().item()
                    continue
                for output, total in zip(outputs, weighted.sum(0).tolist(), strict=True):
                    found[output] += total
        return np.array(found) / len(raw[0])

    def by_name(
        self, raw: Sequence[Tensor], raw_shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Tensor]:
        """Return the raw values of each output of one network."""
        outputs = {}
        for group in self._layout.groups:
            parts = raw[group.block][:, group.columns].split(group.widths, 1)
            for name, part in zip(group.names, parts, strict=True):
                outputs[name] = part.reshape(len(part), *raw_shapes[name])
        return {name: outputs[name] for name in self._names}

    def _raw_gradients(
        self,
        raw: Sequence[Tensor],
        of_groups: Sequence[Tensor],
        prepared: Sequence[tuple[Tensor, ...] | None],
    ) -> set[int]:
        """Write the gradients of the raw values; return the blocks that have some."""
        reached = set()
        for group, out, parts in zip(self._layout.groups, of_groups, prepared, strict=True):
            if parts is None:
                out.zero_()
            else:
                group.formula.gradient(raw[group.block][..., group.columns], out, *parts)
                reached.add(group.block)
        return reached

    def _n_rows(self, x: Batch) -> int:
        one = x if isinstance(x, Tensor) else next(iter(x.values()))
        return one.shape[len(self._models)]

    def _network(self, n_rows: int) -> tuple[NetworkFormulas, list[Tensor], list[Tensor]]:
        """Return the formulas for batches of a size, with the gradients of the raw values.

        These are one matrix for each block, and its columns for each group.
        """
        if n_rows not in self._networks:
            if len(self._networks) >= SIZES_KEPT:
                self._networks.clear()
            layout = self._layout
            network = NetworkFormulas(self._trunk, layout.blocks, self._place)
            of_blocks = [
                self._loss_weights.new_zeros(*self._models, n_rows, width)
                for width in layout.widths
            ]
            of_groups = [of_blocks[group.block][..., group.columns] for group in layout.groups]
            self._networks[n_rows] = network, of_blocks, of_groups
        return self._networks[n_rows]
