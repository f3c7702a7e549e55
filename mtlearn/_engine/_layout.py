"""What of a network is computed together: heads in blocks, losses in groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from mtlearn._engine._loss_groups import LossGroup, find_groups, loss_order
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._network import Block, find_blocks
from mtlearn._engine._objective import Objective

__all__ = ["Layout", "find_layout", "stacked_layout"]


@dataclass(frozen=True)
class Layout:
    """The blocks of heads and the groups of losses of a network.

    Parameters
    ----------
    blocks : sequence of Block
        The heads that are computed together.
    widths : sequence of int
        How many raw values of a row each block has.
    groups : sequence of LossGroup
        The outputs whose losses are computed together.
    """

    blocks: Sequence[Block]
    widths: Sequence[int]
    groups: Sequence[LossGroup]

    @property
    def key(self) -> tuple[object, ...]:
        """What layouts of networks that are trained side by side have in common."""
        blocks = [(block.tap, block.joined, len(block.heads)) for block in self.blocks]
        return tuple(blocks), tuple(self.widths), tuple(group.key for group in self.groups)


def find_layout(
    module: MultiOutputModule, objective: Objective, raw_shapes: Mapping[str, tuple[int, ...]]
) -> Layout:
    """Return the layout of a network.

    Parameters
    ----------
    module : MultiOutputModule
        The network.
    objective : Objective
        The losses.
    raw_shapes : mapping of str to tuple of int
        The shape of the raw values of one row, for each output.
    """
    widths = {name: torch.Size(shape).numel() for name, shape in raw_shapes.items()}
    found = find_blocks(module, loss_order(objective, widths))
    return Layout(
        [block for block, _ in found],
        [sum(widths[name] for name in names) for _, names in found],
        find_groups(objective, raw_shapes, [names for _, names in found]),
    )


def stacked_layout(layouts: Sequence[Layout]) -> Layout:
    """Return the layout of networks side by side: the first's, with the losses of each."""
    first = layouts[0]
    together = zip(*(layout.groups for layout in layouts), strict=True)
    groups = [
        replace(groups[0], formula=groups[0].formula.stacked([g.formula for g in groups]))
        for groups in together
    ]
    return replace(first, groups=groups)
