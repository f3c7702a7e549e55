"""The training step by formulas instead of autograd."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._aten import has_hooks
from mtlearn._engine._data import Batch, Batches, Labels, TrainingData
from mtlearn._engine._flat import FlatParameters
from mtlearn._engine._formulas import has_formula, split
from mtlearn._engine._loss_formulas import loss_kind
from mtlearn._engine._loss_groups import find_groups, loss_order
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._network import NetworkFormulas, find_blocks
from mtlearn._engine._objective import Objective
from mtlearn._engine._update import Update
from mtlearn._layers import Squeeze

__all__ = ["FastStep", "Listener", "can_be_fast", "without_formula"]

NUMBERS_AT_ONCE = 2**18
ROWS_KEPT = 2**10
SIZES_KEPT = 4


@dataclass(frozen=True)
class Listener:
    """What wants to see every batch.

    Parameters
    ----------
    before : callable
        Takes a batch before its step.
    on_gradients : callable
        Takes the batch when all gradients are there.
    after : callable
        Takes the batch and the step, a dict of "loss", "y_pred" and "terms".
    """

    before: Callable[[Any], None]
    on_gradients: Callable[[Any], None]
    after: Callable[[Any, dict[str, Any]], None]


class FastStep:
    """Steps with the gradients of known layers and losses by formula, of others by autograd.

    The rows of a chunk of batches are gathered at once, and their losses are computed at its end,
    from the raw values that were kept.

    Parameters
    ----------
    module : MultiOutputModule
        The network. Its parameters become views of one tensor.
    objective : Objective
        The losses.
    raw_shapes : mapping of str to tuple of int
        The shape of the raw values of one row, for each output.
    optimizer : torch.optim.Optimizer
        The optimizer of the network's parameters.
    alpha : float
        The penalty on squared weights.
    """

    def __init__(
        self,
        module: MultiOutputModule,
        objective: Objective,
        raw_shapes: Mapping[str, tuple[int, ...]],
        optimizer: torch.optim.Optimizer,
        alpha: float,
    ) -> None:
        self._module, self._objective, self._raw_shapes = module, objective, raw_shapes
        self._requires = [p.requires_grad for p in module.parameters()]
        widths = {name: torch.Size(shape).numel() for name, shape in raw_shapes.items()}
        blocks = find_blocks(module, loss_order(objective, widths))
        self._blocks = [block for block, _ in blocks]
        self._block_widths = [sum(widths[name] for name in names) for _, names in blocks]
        self._groups = find_groups(objective, raw_shapes, [names for _, names in blocks])
        of_heads = [p for block in self._blocks for head in block.heads for p in head.parameters()]
        ordered = dict.fromkeys([*module.trunk.parameters(), *of_heads])
        self._flat = FlatParameters([p for p in ordered if p.requires_grad], alpha)
        for parameter in ordered:
            if not parameter.requires_grad:
                parameter.grad = None  # the optimizer would go on with an old one
        self._update = Update(optimizer)
        self._networks: dict[int, tuple[NetworkFormulas, list[Tensor], list[Tensor]]] = {}
        self._packed: tuple[TrainingData, list[Labels | None]] | None = None

    def is_valid(self) -> bool:
        """Tell whether nobody has moved or frozen a parameter since, or listens to a layer."""
        requires = [p.requires_grad for p in self._module.parameters()]
        return requires == self._requires and self._flat.is_intact() and not has_hooks(self._module)

    def release(self) -> None:
        """Let go of the data and of large buffers."""
        self._packed = None
        self._networks = {n: kept for n, kept in self._networks.items() if n <= ROWS_KEPT}

    def epoch(
        self, batches: Batches, *, stops: Callable[[], bool], listener: Listener | None = None
    ) -> tuple[Tensor, list[int]]:
        """Train on all batches, or until a signal.

        Parameters
        ----------
        batches : Batches
            The batches of the epoch.
        stops : callable
            Tells after a batch whether the epoch shall end here.
        listener : Listener, default=None
            What wants to see the batches.

        Returns
        -------
        terms : Tensor of shape (n_batches, n_outputs + 1)
            The losses of the outputs, and the penalty.
        sizes : list of int
            The numbers of rows of the batches.
        """
        self._update.check_state()
        self._flat.reset_gradients()
        data = batches.dataset
        per_row = sum(self._block_widths) + data.n_numbers_per_row
        at_once = max(1, NUMBERS_AT_ONCE // (per_row * batches.batch_size))
        terms, sizes = [], []
        with torch.no_grad():
            for rows, chunk_sizes in batches.in_chunks(at_once):
                found = self._chunk(data, rows, chunk_sizes, stops, listener)
                terms.append(found)
                sizes += chunk_sizes[: len(found)]
                if stops():
                    break
        return torch.cat(terms), sizes

    def _chunk(
        self,
        data: TrainingData,
        rows: Tensor | slice,
        sizes: Sequence[int],
        stops: Callable[[], bool],
        listener: Listener | None,
    ) -> Tensor:
        """Make the steps of several batches; return their terms."""
        labels = [_take(packed, rows) for packed in self._pack(data)]
        weights = dict(zip(self._objective.names, self._objective.weights.tolist(), strict=True))
        prepared = [
            None if of_group is None else group.prepare(of_group, weights, sizes)
            for group, of_group in zip(self._groups, labels, strict=True)
        ]
        idle = self._without_labels(data)
        raws: list[list[Tensor]] = []
        penalties: list[Tensor] = []
        batch: Any = None
        for i, (x, piece) in enumerate(_batches(data, rows, sizes)):
            if listener is not None:
                batch = data[piece()]
                with torch.enable_grad():
                    listener.before(batch)
                x = batch[0]  # which may have been changed in place
                self._flat.reset_gradients()
            network, gradients, of_groups = self._network(sizes[i])
            raw = network.forward(x)
            for group, out, parts in zip(self._groups, of_groups, prepared, strict=True):
                if parts is None:
                    out.zero_()
                else:
                    group.formula.gradient(raw[group.block][:, group.columns], out, *parts[i])
            network.backward(gradients)
            for parameter in idle:
                self._flat.set_gradient(parameter, None)
            penalties.append(self._flat.add_penalty())
            raws.append(raw)
            if listener is not None:
                with torch.enable_grad():
                    listener.on_gradients(batch)
                self._update.check_state()
            self._update()
            if listener is not None:
                here = slice(sum(sizes[:i]), sum(sizes[: i + 1]))
                seen = [_take(of_group, here) for of_group in labels]
                terms = self._terms([raw], penalties[-1:], seen, sizes[i : i + 1])
                with torch.enable_grad():
                    listener.after(batch, self._seen(raw, terms[0]))
            if stops():
                break
        done = slice(0, sum(sizes[: len(raws)]))
        return self._terms(raws, penalties, [_take(of, done) for of in labels], sizes[: len(raws)])

    def _terms(
        self,
        raws: Sequence[Sequence[Tensor]],
        penalties: Sequence[Tensor],
        labels: Sequence[Labels | None],
        sizes: Sequence[int],
    ) -> Tensor:
        """Return the losses of the outputs and the penalty, for each batch."""
        joined = [torch.cat(of_block) for of_block in zip(*raws, strict=True)]
        zeros = joined[0].new_zeros(len(joined[0]))
        by_name = dict.fromkeys(self._objective.names, zeros)
        for group, of_group in zip(self._groups, labels, strict=True):
            if of_group is not None:
                by_name.update(group.losses_by_row(joined[group.block], of_group))
        by_row = torch.stack(list(by_name.values()), 1)
        whole = len(sizes) - (sizes[-1] != sizes[0])
        n_whole = whole * sizes[0]
        means = [by_row[:n_whole].view(whole, sizes[0], -1).mean(1)]
        if whole < len(sizes):
            means.append(by_row[n_whole:].mean(0, keepdim=True))
        penalty = self._flat.alpha * torch.stack(list(penalties))
        return torch.cat([torch.cat(means), penalty[:, None]], 1)

    def _seen(self, raw: Sequence[Tensor], terms: Tensor) -> dict[str, Any]:
        """Return what listeners are told of a step."""
        outputs = {}
        for group in self._groups:
            parts = raw[group.block][:, group.columns].split(group.widths, 1)
            for name, part in zip(group.names, parts, strict=True):
                outputs[name] = part.reshape(len(part), *self._raw_shapes[name])
        loss = terms[:-1] @ self._objective.weights + terms[-1]
        outputs = {name: outputs[name] for name in self._objective.names}
        return {"loss": loss, "y_pred": outputs, "terms": terms}

    def _without_labels(self, data: TrainingData) -> list[nn.Parameter]:
        """Return what learns in the heads of outputs without any label."""
        heads = zip(self._module.names, self._module.heads, strict=True)
        idle = [p for name, head in heads if name not in data.labels for p in head.parameters()]
        return [p for p in idle if p.requires_grad]

    def _pack(self, data: TrainingData) -> list[Labels | None]:
        if self._packed is None or self._packed[0] is not data:
            self._packed = data, [group.pack(data) for group in self._groups]
        return self._packed[1]

    def _network(self, n_rows: int) -> tuple[NetworkFormulas, list[Tensor], list[Tensor]]:
        """Return the formulas for batches of a size, with the gradients of the raw values.

        These are one matrix for each block, and its columns for each group.
        """
        if n_rows not in self._networks:
            if len(self._networks) >= SIZES_KEPT:
                self._networks.clear()
            network = NetworkFormulas(self._module.trunk, self._blocks, self._flat)
            of_blocks = [self._flat.values.new_zeros(n_rows, width) for width in self._block_widths]
            of_groups = [of_blocks[group.block][:, group.columns] for group in self._groups]
            self._networks[n_rows] = network, of_blocks, of_groups
        return self._networks[n_rows]


def can_be_fast(module: MultiOutputModule, optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether formulas can take the place of autograd for a network and its optimizer.

    Other optimizers than torch's may compute the loss themselves, hooks want to be called, and a
    loss may have parameters of its own, for which there is no formula.
    """
    if type(optimizer).__module__.split(".")[:2] != ["torch", "optim"] or has_hooks(module):
        return False
    learned = [p for p in module.parameters() if p.requires_grad]
    of_losses = {p for group in optimizer.param_groups for p in group["params"]} - {
        *module.parameters()
    }
    if any(p.requires_grad for p in of_losses):
        return False
    return len({(p.dtype, p.device) for p in learned}) == 1


def without_formula(module: MultiOutputModule, objective: Objective) -> list[str]:
    """Return the types of the layers and losses whose gradients are left to autograd."""
    layers = [layer for part in (module.trunk, *module.heads) for layer in split(part)]
    unknown = [layer for layer in layers if not has_formula(layer) and type(layer) is not Squeeze]
    unknown += [loss for loss in objective.losses if loss_kind(loss, 1) is None]
    return sorted({type(layer).__name__ for layer in unknown})


def _take(labels: Labels | None, rows: Tensor | slice) -> Labels | None:
    return None if labels is None else Labels(labels.target[rows], labels.weight[rows])


def _batches(
    data: TrainingData, rows: Tensor | slice, sizes: Sequence[int]
) -> Iterator[tuple[Batch, Callable[[], Tensor | slice]]]:
    """Yield the inputs of each batch, and what tells its rows."""
    inputs = data.inputs_at(rows)
    first = rows.start if isinstance(rows, slice) else 0
    start = 0
    for size in sizes:
        end = start + size
        if isinstance(inputs, Tensor):
            x: Batch = inputs[start:end]
        else:
            x = {name: part[start:end] for name, part in inputs.items()}
        here = slice(first + start, first + end)
        yield x, lambda here=here: here if isinstance(rows, slice) else rows[here]
        start = end
