"""Passes of batches give the raw values, gradients and losses of autograd."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn._engine._data import Batches, Labels, Rows, TrainingData, training_data
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

    def passes(self):
        heads = [head for block in self.layout.blocks for head in block.heads]
        parameters = [p for part in (self.module.trunk, *heads) for p in part.parameters()]
        flat = FlatParameters(parameters, alpha=0.0)
        weights = self.objective.weights
        return Passes(self.module.trunk, self.layout, flat, weights, self.objective.names), flat

    def by_autograd(self, x, labels):
        """Return the raw values and losses of a batch, and set the gradients."""
        self.reference.zero_grad()
        raw = self.reference(x)
        losses = self.objective(raw, labels)
        (losses @ self.objective.weights).backward()
        return raw, losses.detach()


def pack(part):
    return [group.pack(part.data) for group in part.layout.groups]


def batches(part, sizes):
    for rows in torch.arange(N).split(sizes):
        yield part.data[slice(int(rows[0]), int(rows[-1]) + 1)]


def check(part, sizes):
    passes, flat = part.passes()
    labels = pack(part)
    raws, expected = [], []
    parts = zip(batches(part, sizes), passes.prepare(labels, sizes), strict=True)
    for (x, of_batch), prepared in parts:
        flat.gradients.fill_(torch.nan)
        with torch.no_grad():
            raws.append(passes.run(x, prepared))
        raw, losses = part.by_autograd(x, of_batch)
        expected.append((raw, losses))
        for ours, theirs in zip(part.module.parameters(), part.reference.parameters(), strict=True):
            wanted = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
            torch.testing.assert_close(ours.grad, wanted, rtol=1e-9, atol=1e-13)
    for raw, (of_batch, _) in zip(raws, expected, strict=True):
        found = passes.by_name(raw, part.shapes)
        assert [*found] == part.objective.names
        torch.testing.assert_close(found, {name: t.detach() for name, t in of_batch.items()})
    losses = passes.losses(raws, labels, sizes)
    torch.testing.assert_close(losses, torch.stack([losses for _, losses in expected]))
    return passes


OUTPUTS = {
    "joined heads": {},
    "hidden layers": {"deep": (3,)},
    "some without labels": {"without": ["sort", "price"]},
    "kinds without labels": {"without": ["kind", "sort", "robust"], "deep": (3,)},
    "own losses": {"price": Regression(Quartic()), "pair": Regression(Quartic())},
    "a loss of ones own without labels": {"price": Regression(Quartic()), "without": ["price"]},
}


@pytest.mark.parametrize("sizes", [[7, 7, 3], [17], [9, 8], [4, 4, 4, 4, 1]])
@pytest.mark.parametrize("name", OUTPUTS)
def test_batches_agree_with_autograd(name, sizes):
    check(Part(**OUTPUTS[name]), sizes)


def test_batches_of_many_sizes_and_a_release_between_them_agree_with_autograd():
    part = Part(deep=(3,))
    passes, _ = part.passes()
    labels = pack(part)
    for round_ in range(2):
        for size in (5, 1, 17, 2, 3, 7, 5):
            (prepared,) = passes.prepare([_head(of, size) for of in labels], [size])
            x, of_batch = part.data[:size]
            with torch.no_grad():
                raw = passes.run(x, prepared)
            expected, _ = part.by_autograd(x, of_batch)
            torch.testing.assert_close(
                passes.by_name(raw, part.shapes), {n: t.detach() for n, t in expected.items()}
            )
            pairs = zip(part.module.parameters(), part.reference.parameters(), strict=True)
            for ours, theirs in pairs:
                torch.testing.assert_close(ours.grad, theirs.grad)
        passes.release()
