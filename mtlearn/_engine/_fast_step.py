"""The training step by formulas instead of autograd."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._aten import has_hooks
from mtlearn._engine._data import Batch, Batches, Labels, TrainingData
from mtlearn._engine._flat import FlatParameters
from mtlearn._engine._formulas import has_formula, split
from mtlearn._engine._layout import find_layout
from mtlearn._engine._loss_formulas import loss_kind
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._objective import Objective
from mtlearn._engine._passes import Passes
from mtlearn._engine._update import Update
from mtlearn._engine._weighing import Weighing, shared_parameters
from mtlearn._layers import NamedLayers, Squeeze
from mtlearn._typing import Floats

__all__ = ["FastStep", "Listener", "can_be_fast", "without_formula"]

NUMBERS_AT_ONCE = 2**18


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
    weighing : Weighing, default=None
        What weighs the losses in each step; None for weights that stay for an epoch.
    """

    def __init__(
        self,
        module: MultiOutputModule,
        objective: Objective,
        raw_shapes: Mapping[str, tuple[int, ...]],
        optimizer: torch.optim.Optimizer,
        alpha: float,
        weighing: Weighing | None = None,
    ) -> None:
        self._weighing = weighing
        self._shared: Tensor | None = None
        self._module, self._objective, self._raw_shapes = module, objective, raw_shapes
        self._optimizer = optimizer
        self._made_of = self._parts()
        layout = find_layout(module, objective, raw_shapes)
        self._groups = layout.groups
        heads = [head for block in layout.blocks for head in block.heads]
        of_heads = [p for head in heads for p in head.parameters()]
        ordered = dict.fromkeys([*module.trunk.parameters(), *of_heads])
        self._flat = FlatParameters([p for p in ordered if p.requires_grad], alpha)
        for parameter in ordered:
            if not parameter.requires_grad:
                parameter.grad = None  # the optimizer would go on with an old one
        self._passes = Passes(module.trunk, layout, self._flat, objective.weights, objective.names)
        self._update = Update(optimizer)
        self._packed: tuple[TrainingData, list[Labels | None]] | None = None

    def is_valid(self, optimizer: torch.optim.Optimizer, alpha: float) -> bool:
        """Tell whether nobody has replaced, moved or frozen a part since, or listens to a layer."""
        return (
            optimizer is self._optimizer
            and alpha == self._flat.alpha
            and self._parts() == self._made_of
            and self._flat.is_intact()
            and not has_hooks(self._module)
        )

    def release(self) -> None:
        """Let go of the data and of large buffers."""
        self._packed = None
        self._passes.release()

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
        per_row = self._passes.n_numbers_per_row + data.n_numbers_per_row
        at_once = max(1, NUMBERS_AT_ONCE // (per_row * batches.batch_size))
        sizes: list[int] = []
        n_terms = len(self._objective.names) + 1
        # One tensor from the beginning: small ones between large ones would scatter the memory.
        terms = self._flat.values.new_empty(-(-len(data) // batches.batch_size), n_terms)
        with torch.no_grad():
            for rows, chunk_sizes in batches.in_chunks(at_once if listener is None else 1):
                if listener is None:
                    found = self._chunk(data, rows, chunk_sizes, stops)
                else:
                    found = self._watched_batch(data[rows], chunk_sizes, listener)
                terms[len(sizes) : len(sizes) + len(found)] = found
                sizes += chunk_sizes[: len(found)]
                if stops():
                    break
        return terms[: len(sizes)], sizes

    def _chunk(
        self,
        data: TrainingData,
        rows: Tensor | slice,
        sizes: Sequence[int],
        stops: Callable[[], bool],
    ) -> Tensor:
        """Make the steps of several batches; return their terms."""
        labels = [_take(packed, rows) for packed in self._pack(data)]
        idle = self._without_labels(data.labels)
        raws: list[list[Tensor]] = []
        penalties: list[Tensor] = []
        prepared = self._passes.prepare(labels, sizes)
        by_batch = repeat(None) if self._weighing is None else _labels_of(labels, sizes)
        batches = zip(_split(data.inputs_at(rows), sizes), prepared, by_batch, strict=False)
        for x, parts, of_batch in batches:
            raws.append(self._run(x, parts, of_batch))
            penalties.append(self._finish(idle))
            self._update()
            self._end_step(x, of_batch)
            if stops():
                break
        done = slice(0, sum(sizes[: len(raws)]))
        return self._terms(raws, penalties, [_take(of, done) for of in labels], sizes[: len(raws)])

    def _watched_batch(
        self, batch: tuple[Batch, dict[str, Labels]], sizes: Sequence[int], listener: Listener
    ) -> Tensor:
        """Make the step of a batch that others see, and may change; return its terms."""
        with torch.enable_grad():
            listener.before(batch)
        self._flat.reset_gradients()
        x, by_name = batch
        labels = [group.pack(TrainingData(x, by_name)) for group in self._groups]
        raw = self._run(x, next(self._passes.prepare(labels, sizes)), labels)
        penalty = self._finish(self._without_labels(by_name))
        with torch.enable_grad():
            listener.on_gradients(batch)
        self._update.check_state()
        self._update()
        self._end_step(x, labels)
        terms = self._terms([raw], [penalty], labels, sizes)
        with torch.enable_grad():
            listener.after(batch, self._seen(raw, terms[0]))
        return terms

    def _run(
        self,
        x: Batch,
        parts: Sequence[tuple[Tensor, ...] | None],
        labels: Sequence[Labels | None] | None,
    ) -> list[Tensor]:
        """Write the gradients of a batch; return its raw values."""
        weighing = self._weighing
        if weighing is None or labels is None:
            return self._passes.run(x, parts)

        def losses(raw: Sequence[Tensor]) -> tuple[Floats, int]:
            return self._passes.losses_of_step(raw, labels), len(raw[0])

        if not weighing.sees_gradients:
            return self._passes.run(x, parts, lambda raw: weighing.factors(*losses(raw)))
        of_outputs = self._flat.gradients.new_empty(
            len(self._objective.names), len(self._flat.gradients)
        )

        def keep(k: int) -> None:
            of_outputs[k] = self._flat.gradients

        raw = self._passes.run_each(x, parts, keep)
        if self._shared is None:
            self._shared = self._flat.mask(shared_parameters(self._module, x))
        of_shared = of_outputs * self._shared
        found = weighing.factors(*losses(raw), of_shared @ of_shared.mT)
        factors = torch.as_tensor(found).to(of_shared)
        torch.sum(of_outputs, 0, out=self._flat.gradients)
        self._flat.gradients.add_((factors - 1) @ of_shared)
        self._flat.reset_gradients()
        return raw

    def _end_step(self, x: Batch, labels: Sequence[Labels | None] | None) -> None:
        """Tell the weighting of the step."""
        weighing = self._weighing
        if weighing is None or labels is None or not weighing.sees_step_results:
            return

        weighing.end_step(lambda: self._passes.losses_of_step(self._passes.forward(x), labels))

    def _parts(self) -> tuple[object, ...]:
        """Return what tells that the formulas are still those of the network and its losses."""
        objective = self._objective
        kinds = [loss_kind(loss, 1) for loss in objective.losses]
        learns = [p.requires_grad for p in self._module.parameters()]
        return id(objective.weights), kinds, learns, [*map(id, self._module.modules())]

    def _finish(self, idle: Sequence[nn.Parameter]) -> Tensor:
        """Add the penalty to the gradients, but for the parameters that have none; return it."""
        for parameter in idle:
            self._flat.set_gradient(parameter, None)
        return self._flat.add_penalty()

    def _terms(
        self,
        raws: Sequence[Sequence[Tensor]],
        penalties: Sequence[Tensor],
        labels: Sequence[Labels | None],
        sizes: Sequence[int],
    ) -> Tensor:
        """Return the losses of the outputs and the penalty, for each batch."""
        losses = self._passes.losses(raws, labels, sizes)
        penalty = self._flat.alpha * torch.stack(list(penalties))
        return torch.cat([losses, penalty[:, None]], 1)

    def _seen(self, raw: Sequence[Tensor], terms: Tensor) -> dict[str, Any]:
        """Return what listeners are told of a step."""
        loss = terms[:-1] @ self._objective.weights + terms[-1]
        outputs = self._passes.by_name(raw, self._raw_shapes)
        return {"loss": loss, "y_pred": outputs, "terms": terms}

    def _without_labels(self, labels: Collection[str]) -> list[nn.Parameter]:
        """Return what learns in the heads of outputs without any label."""
        heads = zip(self._module.names, self._module.heads, strict=True)
        idle = [p for name, head in heads if name not in labels for p in head.parameters()]
        return [p for p in idle if p.requires_grad]

    def _pack(self, data: TrainingData) -> list[Labels | None]:
        if self._packed is None or self._packed[0] is not data:
            self._packed = data, [group.pack(data) for group in self._groups]
        return self._packed[1]


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
    trunk = module.trunk
    of_trunk = trunk if isinstance(trunk, NamedLayers) else [trunk]
    layers = [layer for part in (*of_trunk, *module.heads) for layer in split(part)]
    unknown = [layer for layer in layers if not has_formula(layer) and type(layer) is not Squeeze]
    unknown += [loss for loss in objective.losses if loss_kind(loss, 1) is None]
    return sorted({type(layer).__name__ for layer in unknown})


def _take(labels: Labels | None, rows: Tensor | slice) -> Labels | None:
    return None if labels is None else Labels(labels.target[rows], labels.weight[rows])


def _labels_of(
    labels: Sequence[Labels | None], sizes: Sequence[int]
) -> Iterator[tuple[Labels | None, ...]]:
    """Yield the labels of each batch, of all groups."""
    of_groups = [
        repeat(None)
        if of is None
        else map(Labels, of.target.split(list(sizes)), of.weight.split(list(sizes)))
        for of in labels
    ]
    return zip(*of_groups, strict=False)


def _split(inputs: Batch, sizes: Sequence[int]) -> Iterator[Batch]:
    """Yield the inputs of each batch."""
    if isinstance(inputs, Tensor):
        yield from inputs.split(list(sizes))
        return
    parts = zip(*(part.split(list(sizes)) for part in inputs.values()), strict=True)
    yield from (dict(zip(inputs, of_batch, strict=True)) for of_batch in parts)
