"""Passes of batches give the raw values, gradients and losses of autograd."""

import gc
from copy import deepcopy
from functools import cached_property

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn._engine._data import Labels, Rows, training_data
from mtlearn._engine._flat import FlatParameters
from mtlearn._engine._layout import find_layout, stacked_layout
from mtlearn._engine._module import build_module
from mtlearn._engine._objective import Objective
from mtlearn._engine._passes import ROWS_KEPT, Passes
from mtlearn._engine._stacked_parameters import StackedParameters
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N, N_FEATURES = 17, 4
RNG = np.random.default_rng(0)
TAGS = (RNG.normal(size=(N, 2)) > 0).astype(int)
Y = {
    "flag": np.arange(N) % 2,
    "kind": np.arange(N) % 3,
    "more tags": 1 - TAGS,
    "pair": RNG.normal(size=(N, 2)),
    "price": RNG.normal(size=N),
    "robust": RNG.normal(size=N),
    "sort": np.arange(N) // 2 % 3,
    "tags": TAGS,
}


class Quartic(nn.Module):
    def forward(self, raw, target):
        return (raw - target) ** 4


class Part:
    """A network, its objective and its data, with other weights and labels for each seed."""

    def __init__(self, seed=0, deep=(), smoothing=0.2, pos_weight=2.0, without=(), **heads):
        rng = np.random.default_rng(seed)
        made = {
            "flag": Classification(),
            "kind": Classification(label_smoothing=smoothing, hidden_layer_sizes=deep),
            "more tags": MultiLabel(pos_weight=pos_weight),
            "pair": Regression(hidden_layer_sizes=deep),
            "price": Regression(hidden_layer_sizes=deep),
            "robust": Regression("huber", delta=0.5),
            "sort": Classification(label_smoothing=smoothing),
            "tags": MultiLabel(pos_weight=[0.5, 3.0]),
            **heads,
        }
        for name, y in Y.items():
            made[name].fit(y, np.ones(y.shape), normalize=True)
        weights = {name: rng.uniform(-1, 2, y.shape).clip(0) for name, y in Y.items()}
        y = {name: labels for name, labels in Y.items() if name not in without}
        rows = Rows(rng.normal(size=(N, N_FEATURES)), y, weights)
        self.data = training_data(rows, made, torch.float64, "cpu")
        assert len(self.data) == N
        trunk = MLP((6, 5), dropout=0.3, normalization="layer")
        self.module = build_module(trunk, made, N_FEATURES, seed, torch.float64)
        self.reference = deepcopy(self.module)
        loss_weights = dict(zip(Y, rng.uniform(size=len(Y)), strict=True))
        self.objective = Objective(made, loss_weights, torch.float64)
        self.shapes = {name: head.raw_shape_ for name, head in made.items()}
        self.layout = find_layout(self.module, self.objective, self.shapes)

    @cached_property
    def passes(self):
        """Return the passes of this network alone, and its flat parameters."""
        heads = [head for block in self.layout.blocks for head in block.heads]
        parameters = [p for part in (self.module.trunk, *heads) for p in part.parameters()]
        flat = FlatParameters(parameters, alpha=0.0)
        weights = self.objective.weights
        return Passes(self.module.trunk, self.layout, flat, weights, self.objective.names), flat

    def pairs(self):
        return zip(self.module.parameters(), self.reference.parameters(), strict=True)

    def pack(self):
        return [group.pack(self.data) for group in self.layout.groups]

    def by_autograd(self, x, labels):
        """Return the raw values and losses of a batch, and set the gradients."""
        self.reference.zero_grad()
        raw = self.reference(x)
        losses = self.objective(raw, labels)
        (losses @ self.objective.weights).backward()
        return {name: values.detach() for name, values in raw.items()}, losses.detach()


def check(part, *epochs):
    """Compare epochs of batches with autograd."""
    passes, flat = part.passes
    labels = part.pack()
    for sizes in epochs:
        raws, expected = [], []
        for rows, prepared in zip(
            torch.arange(N).split(sizes), passes.prepare(labels, sizes), strict=True
        ):
            x, of_batch = part.data[rows]
            flat.gradients.fill_(torch.nan)
            with torch.no_grad():
                raws.append(passes.run(x, prepared))
            expected.append(part.by_autograd(x, of_batch))
            for ours, theirs in part.pairs():
                if theirs.grad is None:  # zeros, or left as it was
                    assert not ours.grad.nan_to_num().any()
                else:
                    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-13)
        for raw, (of_batch, _) in zip(raws, expected, strict=True):
            found = passes.by_name(raw, part.shapes)
            assert [*found] == part.objective.names
            torch.testing.assert_close(found, of_batch)
        losses = passes.losses(raws, labels, sizes)
        torch.testing.assert_close(losses, torch.stack([losses for _, losses in expected]))
        passes.release()


OUTPUTS = {
    "joined heads": {},
    "hidden layers": {"deep": (3,)},
    "some without labels": {"without": ["sort", "price"]},
    "kinds without labels": {"without": ["kind", "sort", "robust"], "deep": (3,)},
    "own losses": {"price": Regression(Quartic()), "pair": Regression(Quartic())},
    "own loss without labels": {"price": Regression(Quartic()), "without": ["price"]},
}


@pytest.mark.parametrize("sizes", [[7, 7, 3], [17], [9, 8], [4, 4, 4, 4, 1]])
@pytest.mark.parametrize("name", OUTPUTS)
def test_batches_agree_with_autograd(name, sizes):
    check(Part(**OUTPUTS[name]), sizes)


def test_epochs_with_batches_of_many_sizes_agree_with_autograd():
    epochs = [[n] * (N // n) + [N % n] * (N % n > 0) for n in (5, 4, 7, 10, 1, 17, 5)]
    check(Part(deep=(3,)), *epochs)


def test_outputs_whose_labels_end_have_no_gradient_any_more():
    part = Part()
    check(part, [9, 8])
    for name in ("kind", "sort", "robust", "price"):
        del part.data.labels[name]
    check(part, [9, 8])


OWN = {
    "other labels": [{}, {}, {}],
    "hidden layers": [{"deep": (3,)}] * 3,
    "smoothing": [{"smoothing": smoothing} for smoothing in (0.0, 0.3, 0.1)],
    "positive weights": [{"pos_weight": weight} for weight in (1.0, 0.2, 5.0)],
}


@pytest.mark.parametrize("sizes", [[7, 7, 3], [17]])
@pytest.mark.parametrize("name", OWN)
def test_networks_side_by_side_agree_with_each_alone(name, sizes):
    parts = [Part(seed, **settings) for seed, settings in enumerate(OWN[name])]
    modules = [part.module for part in parts]
    layout = stacked_layout([part.layout for part in parts])
    adams = [torch.optim.Adam(module.parameters()) for module in modules]
    stacked = StackedParameters(modules, layout, adams, [0.0] * 3)
    loss_weights = torch.stack([part.objective.weights for part in parts])
    passes = Passes(modules[0].trunk, layout, stacked, loss_weights, [*Y])
    labels = [
        Labels(*(torch.stack(tensors) for tensors in zip(*each, strict=True)))
        for each in zip(*(part.pack() for part in parts), strict=True)
    ]
    raws, expected = [], []
    for rows, prepared in zip(
        torch.arange(N).split(sizes), passes.prepare(labels, sizes), strict=True
    ):
        pieces = [part.data[rows] for part in parts]
        stacked.all[1].fill_(torch.nan)
        with torch.no_grad():
            raws.append(passes.run(torch.stack([x for x, _ in pieces]), prepared))
        found = [part.by_autograd(*piece) for part, piece in zip(parts, pieces, strict=True)]
        expected.append(torch.stack([losses for _, losses in found]))
        for k, part in enumerate(parts):
            raw = passes.by_name([block[k] for block in raws[-1]], part.shapes)
            torch.testing.assert_close(raw, found[k][0])
            for ours, theirs in part.pairs():
                place = ours.shape, ours.stride(), ours.storage_offset()
                torch.testing.assert_close(stacked.all[1].as_strided(*place), theirs.grad)
    losses = passes.losses(raws, labels, sizes)
    torch.testing.assert_close(losses, torch.stack(expected, 1))
    assert passes.n_numbers_per_row == 3 * sum(torch.Size(s).numel() for s in part.shapes.values())


def test_large_buffers_are_let_go_and_made_again():
    def n_large():
        tensors = [t for t in gc.get_objects() if issubclass(type(t), torch.Tensor)]
        return sum(t.ndim > 1 and n_rows in t.shape for t in tensors)

    n_rows = ROWS_KEPT + 7
    rows = torch.arange(n_rows) % N
    part = Part()
    part.module.eval()  # without what dropout draws
    passes, flat = part.passes
    labels = [Labels(of.target[rows], of.weight[rows]) for of in part.pack()]
    gradients = []
    for _ in range(2):
        (prepared,) = passes.prepare(labels, [n_rows])
        with torch.no_grad():
            passes.run(part.data.inputs[rows], prepared)
        gradients.append(flat.gradients.clone())
        before = n_large()
        passes.release()
        assert n_large() < before
    assert torch.equal(*gradients)
