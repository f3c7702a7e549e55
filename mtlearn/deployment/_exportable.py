"""Parts of networks whose path depends on the data, as modules that take the same path for all."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn.trunks._aux_drop import AuxDropModule
from mtlearn.trunks._category_embedding import CategoryTables
from mtlearn.trunks._graph_module import Merge
from mtlearn.trunks._recurrent import RecurrentModule
from mtlearn.trunks._transformer import TransformerModule

__all__ = ["with_one_path"]


def with_one_path(module: Any, *, for_onnx: bool = False) -> Any:
    """Return a module with parts that compute the same without a look at the data.

    Raises
    ------
    ValueError
        With `for_onnx`, for a part that makes no such thing.
    """
    if isinstance(module, RecurrentModule):
        return PaddedRecurrent(module)
    if isinstance(module, TransformerModule):
        return PaddedTransformer(list(module.layers), module.has_positions, module.mask_zeros)  # pyright: ignore[reportArgumentType]
    if isinstance(module, Merge) and module.how == "take":
        return TakeSteps()
    if for_onnx and isinstance(module, CategoryTables):
        return ComparedTables(module)
    if for_onnx and isinstance(module, AuxDropModule) and module.drops_in_prediction:
        raise ValueError(
            "AuxDrop with `drop_in_prediction` draws random numbers, which an ONNX graph cannot "
            "repeat. Fit with drop_in_prediction=False."
        )
    for name, child in list(module.named_children()):
        setattr(module, name, with_one_path(child, for_onnx=for_onnx))
    return module


class PaddedRecurrent(nn.Module):
    """A recurrent network on sequences of different lengths, in one pass over all steps.

    Padding is at the end, so that no step that counts comes after it; what is read backwards is
    turned within the length of each sequence.
    """

    def __init__(self, module: RecurrentModule) -> None:
        super().__init__()
        cell = module.cell
        self.sequence, self.mask_zeros = module.sequence, module.mask_zeros
        self.n_directions = 2 if cell.bidirectional else 1
        self.cells = nn.ModuleList(
            _single_layer(cell, layer, suffix)
            for layer in range(cell.num_layers)
            for suffix in ("", "_reverse")[: self.n_directions]
        )

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1], device=x.device)
        lengths = _lengths(x) if self.mask_zeros else torch.full_like(x[:, 0, 0], x.shape[1]).long()
        length = lengths.clamp(min=1)[:, None]
        turned = torch.where(steps < length, length - 1 - steps, steps)
        cells: Any = list(self.cells)
        ends: list[Tensor] = []
        for i in range(0, len(cells), self.n_directions):
            read = [cells[i](x)[0]]
            ends = [_at(read[0], length - 1)[:, 0]]
            if self.n_directions == 2:
                backwards = cells[i + 1](_at(x, turned))[0]
                read.append(_at(backwards, turned))
                ends.append(_at(backwards, length - 1)[:, 0])
            x = torch.cat(read, 2)
        if self.sequence:
            return x * (steps < lengths[:, None])[:, :, None]
        return torch.cat(ends, 1) * (lengths > 0)[:, None]


class PaddedTransformer(TransformerModule):
    """Layers of a Transformer that are told of padding even where there is none."""

    def _is_read(self, x: Tensor) -> Tensor | None:
        if not self.mask_zeros:
            return None
        return torch.arange(x.shape[1], device=x.device) < _lengths(x)[:, None]


class TakeSteps(nn.Module):
    """The steps of sequences at some positions, side by side."""

    def forward(self, sequences: Tensor, positions: Tensor) -> Tensor:
        return _at(sequences, positions.long()).flatten(1)


class ComparedTables(nn.Module):
    """A CategoryEmbedding that compares codes with all those that it knows."""

    codes: Tensor
    sizes: Tensor
    starts: Tensor

    def __init__(self, tables: CategoryTables) -> None:
        super().__init__()
        self.table = copy.deepcopy(tables.table)
        for name in ("codes", "sizes", "starts"):
            self.register_buffer(name, getattr(tables, name).clone())

    def forward(self, codes: Tensor) -> Tensor:
        codes = codes.long()[:, :, None]
        places = (self.codes < codes).sum(2)
        is_known = ((self.codes == codes).any(2)) & (places < self.sizes)
        return self.table(torch.where(is_known, places + 1, 0) + self.starts).flatten(1)


def _single_layer(cell: nn.RNNBase, layer: int, suffix: str) -> nn.Module:
    """Return a layer of a recurrent network, in one direction."""
    found = {
        kind: getattr(cell, f"{kind}_l{layer}{suffix}")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    make: Any = type(cell)
    one = make(found["weight_ih"].shape[1], cell.hidden_size, batch_first=True)
    one = one.to(found["weight_ih"].dtype)
    with torch.no_grad():
        for kind, values in found.items():
            getattr(one, f"{kind}_l0").copy_(values)
    return one.eval()


def _lengths(x: Tensor) -> Tensor:
    """Return the number of steps of each sequence up to the last that is not zero."""
    steps = torch.arange(1, x.shape[1] + 1, device=x.device)
    return ((x != 0).any(-1) * steps).amax(1)


def _at(sequences: Tensor, positions: Tensor) -> Tensor:
    """Return the steps at some positions of each sequence."""
    return sequences.gather(1, positions[:, :, None].expand(-1, -1, sequences.shape[2]))
