"""A network as formulas: its raw values, and the gradients of all its parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mtlearn._engine._data import Batch
from mtlearn._engine._flat import Place
from mtlearn._engine._formulas import Chain, Linear, split
from mtlearn._engine._joined_taps import Tap
from mtlearn._engine._module import MultiOutputModule
from mtlearn._layers import NamedLayers, Squeeze

__all__ = ["Block", "NamedChain", "NetworkFormulas", "find_blocks"]


@dataclass(frozen=True)
class Block:
    """Heads that are computed together: the columns of one matrix of raw values.

    Parameters
    ----------
    tap : str, tuple of str or None
        The tensor of the trunk that they take.
    heads : sequence of torch.nn.Module
        The layers of each head.
    joined : bool
        Whether they are one Linear each, to be multiplied as one.
    """

    tap: Tap
    heads: Sequence[nn.Module]
    joined: bool


def find_blocks(module: MultiOutputModule, order: Sequence[str]) -> list[tuple[Block, list[str]]]:
    """Return blocks with the names of their outputs, which keep the given order inside a block."""
    by_name = dict(zip(module.names, zip(module.taps, module.heads, strict=True), strict=True))
    together: dict[Tap, list[str]] = {}
    blocks = []
    for name in order:
        tap, head = by_name[name]
        if _is_joinable(head):
            together.setdefault(tap, []).append(name)
        else:
            blocks.append((Block(tap, [head], joined=False), [name]))
    for tap, names in together.items():
        blocks.append((Block(tap, [by_name[name][1] for name in names], joined=True), names))
    return blocks


class NamedChain:
    """The formulas of layers whose outputs have names.

    Parameters
    ----------
    trunk : NamedLayers
        The layers.
    place : Place
        Where the values and gradients of parameters are.
    """

    def __init__(self, trunk: NamedLayers, place: Place) -> None:
        self._place = place
        self._layers = trunk.blocks
        self._chains: dict[str, Chain] = {}
        self.learns = False
        for name, layer in self._layers.items():
            self._chains[name] = Chain(layer, place, needs_input_gradient=self.learns)
            self.learns = self._chains[name].learns

    def forward(self, x: Any) -> dict[str, Any]:
        """Return the outputs of all layers."""
        found = {}
        for name, chain in self._chains.items():
            x = found[name] = chain.forward(x)
        return found

    def backward(self, by_name: Any) -> None:
        """Write the gradients of the parameters; there is none above the last layer named."""
        d: Tensor | None = None
        for name, chain in reversed(self._chains.items()):
            if name in by_name:
                d = by_name[name] if d is None else d + by_name[name]
            if d is not None and chain.learns:
                d = chain.backward(d)
            elif chain.learns:
                learned = (p for p in self._layers[name].parameters() if p.requires_grad)
                for parameter in learned:
                    self._place.set_gradient(parameter, None)


class NetworkFormulas:
    """Trunk and heads on batches of one size.

    Parameters
    ----------
    trunk : torch.nn.Module
        The trunk.
    blocks : sequence of Block
        The heads.
    place : Place
        Where the values and gradients of parameters are.
    """

    def __init__(self, trunk: nn.Module, blocks: Sequence[Block], place: Place) -> None:
        self._trunk: Chain | NamedChain = (
            NamedChain(trunk, place)
            if isinstance(trunk, NamedLayers)
            else Chain(trunk, place, needs_input_gradient=False)
        )
        self._blocks = blocks
        self._heads = [_head_formula(block, place, self._trunk.learns) for block in blocks]

    def forward(self, X: Batch) -> list[Tensor]:
        """Return a matrix of raw values for each block; they are not overwritten later."""
        features: Any = self._trunk.forward(X)
        self._is_single = isinstance(features, Tensor)
        raw = []
        self._shapes = []
        for block, head in zip(self._blocks, self._heads, strict=True):
            out = head.forward(features if block.tap is None else features[block.tap])
            self._shapes.append(out.shape)
            raw.append(out if out.ndim > 1 else out.unsqueeze(-1))
        return raw

    def backward(self, gradients: Sequence[Tensor | None]) -> None:
        """Write the gradients of all parameters, from those of the raw values.

        None stands for a block that the loss does not depend on; its heads get no gradient.
        """
        by_tap: dict[Any, Tensor] = {}
        for block, head, d, shape in zip(
            self._blocks, self._heads, gradients, self._shapes, strict=True
        ):
            if d is None:
                continue
            d = head.backward(d if len(shape) > 1 else d.squeeze(-1))
            if d is not None:
                by_tap[block.tap] = by_tap[block.tap] + d if block.tap in by_tap else d
        if self._trunk.learns:
            self._trunk.backward(by_tap[None] if self._is_single else by_tap)


def _is_joinable(head: nn.Module) -> bool:
    """Tell whether a head is one Linear that learns, and whose raw values may share a matrix."""
    layers = [layer for layer in split(head) if type(layer) is not Squeeze]
    if len(layers) != 1 or type(layers[0]) is not nn.Linear or layers[0].bias is None:
        return False
    return all(p.requires_grad for p in layers[0].parameters())


def _head_formula(block: Block, place: Place, needs_input_gradient: bool) -> Chain | Linear:
    if not block.joined:
        head = block.heads[0]
        layers = split(head)
        if type(layers[-1]) is Squeeze:
            head = nn.Sequential(*layers[:-1])
        return Chain(head, place, needs_input_gradient=needs_input_gradient, last_is_reused=False)
    layers: list[Any] = [split(head)[0] for head in block.heads]
    return Linear(
        place(*(layer.weight for layer in layers)),
        place(*(layer.bias for layer in layers)),
        needs_input_gradient=needs_input_gradient,
        reuses_output=False,
    )
