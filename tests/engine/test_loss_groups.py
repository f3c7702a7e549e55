"""Losses that are computed together are those of the objective, one by one."""

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn._engine._data import Labels, Rows, training_data
from mtlearn._engine._loss_groups import find_groups, loss_order
from mtlearn._engine._objective import Objective
from mtlearn.heads import Classification, MultiLabel, Regression

N = 17
RNG = np.random.default_rng(0)
TAGS = (RNG.normal(size=(N, 2)) > 0).astype(int)
Y = {
    "flag": np.arange(N) % 2,
    "four": np.arange(N) % 4,
    "kind": np.arange(N) % 3,
    "more tags": 1 - TAGS,
    "pair": RNG.normal(size=(N, 2)),
    "price": RNG.normal(size=N),
    "robust": RNG.normal(size=N),
    "size": RNG.normal(size=(N, 3)),
    "sort": np.arange(N) // 2 % 3,
    "tags": TAGS,
}
HEADS = {
    "flag": Classification(label_smoothing=0.1),
    "four": Classification(label_smoothing=0.2),
    "kind": Classification(label_smoothing=0.2),
    "more tags": MultiLabel(pos_weight=2.0),
    "pair": Regression(),
    "price": Regression(),
    "robust": Regression("huber", delta=0.5),
    "size": Regression("absolute_error"),
    "sort": Classification(label_smoothing=0.2),
    "tags": MultiLabel(pos_weight=[0.5, 3.0]),
}
TOGETHER = [["kind", "sort"], ["more tags", "tags"], ["pair", "price"]]
ALONE = [["flag"], ["four"], ["robust"], ["size"]]


class Quartic(nn.Module):
    def forward(self, raw, target):
        return (raw - target) ** 4


def make(seed=0, without=(), **heads):
    """Return an objective, data with labels that count nothing, and the shapes of raw values."""
    rng = np.random.default_rng(seed)
    fitted = {
        name: head.fit(Y[name], np.ones(Y[name].shape), normalize=True)
        for name, head in (HEADS | heads).items()
    }
    weights = {
        name: rng.uniform(size=y.shape) * (rng.uniform(size=y.shape) > 0.3) for name, y in Y.items()
    }
    loss_weights = dict(zip(Y, rng.uniform(size=len(Y)), strict=True))
    targets = {name: y for name, y in Y.items() if name not in without}
    data = training_data(Rows(np.zeros((N, 1)), targets, weights), fitted, torch.float64, "cpu")
    assert len(data) == N
    shapes = {name: head.raw_shape_ for name, head in fitted.items()}
    return Objective(fitted, loss_weights, torch.float64), data, shapes


def draw(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def one_block(objective, shapes):
    """Return the groups of all outputs in one matrix, the outputs in its order, and its width."""
    widths = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    order = loss_order(objective, widths)
    return find_groups(objective, shapes, [order]), order, sum(widths.values())


def by_objective(objective, raw, labels, order, shapes):
    """Return the losses of a batch, and the gradient of their weighted sum."""
    raw = raw.clone().requires_grad_()
    widths = [torch.Size(shapes[name]).numel() for name in order]
    parts = {
        name: part.reshape(len(raw), *shapes[name])
        for name, part in zip(order, raw.split(widths, 1), strict=True)
    }
    losses = objective(parts, labels)
    return losses.detach(), torch.autograd.grad(losses @ objective.weights, raw)[0]


def weights_of(objective, group):
    return objective.weights[[objective.names.index(name) for name in group.names]]


def take(labels, rows):
    return Labels(labels.target[rows], labels.weight[rows])


def check(objective, data, shapes, sizes):
    groups, order, width = one_block(objective, shapes)
    raw, start = draw(N, width), 0
    packed = [group.pack(data) for group in groups]
    prepared = [
        None if labels is None else group.prepare(labels, weights_of(objective, group), sizes)
        for group, labels in zip(groups, packed, strict=True)
    ]
    for i, size in enumerate(sizes):
        rows = slice(start, start := start + size)
        losses, gradient = by_objective(objective, raw[rows], data[rows][1], order, shapes)
        expected = dict(zip(objective.names, losses, strict=True))
        for group, labels, parts in zip(groups, packed, prepared, strict=True):
            columns = gradient[:, group.columns]
            if labels is None:
                assert not columns.any()
                continue
            out = torch.full_like(columns, torch.nan)
            group.formula.gradient(raw[rows, group.columns], out, *parts[i])
            torch.testing.assert_close(out, columns, rtol=1e-10, atol=1e-14)
            found = dict(group.losses_by_row(raw[rows], take(labels, rows)))
            assert [*found] == group.names
            for name, by_row in found.items():
                assert by_row.shape == (size,)
                torch.testing.assert_close(by_row.mean(), expected[name])


@pytest.mark.parametrize("sizes", [[7, 7, 3], [17], [8, 8, 1]])
def test_gradients_and_losses_of_batches_are_those_of_the_objective(sizes):
    check(*make(), sizes)


def test_outputs_without_labels_have_neither_loss_nor_gradient():
    check(*make(without=["sort", "tags", "pair", "flag", "robust"]), [9, 8])
    objective, data, shapes = make(without=["kind", "sort"])
    check(objective, data, shapes, [9, 8])
    packed = {tuple(g.names): g.pack(data) for g in one_block(objective, shapes)[0]}
    assert [names for names, labels in packed.items() if labels is None] == [("kind", "sort")]


def test_a_loss_of_ones_own_is_left_alone_and_agrees():
    objective, data, shapes = make(pair=Regression(Quartic()), price=Regression(Quartic()))
    groups, _, _ = one_block(objective, shapes)
    assert sum(group.names in (["pair"], ["price"]) for group in groups) == 2
    check(objective, data, shapes, [7, 7, 3])


def test_networks_side_by_side_have_loss_weights_of_their_own():
    made = [make(seed) for seed in range(3)]
    groups, order, width = one_block(*made[0][::2])
    raw, sizes = draw(3, N, width), [7, 7, 3]
    for group in groups:
        each = [group.pack(data) for _, data, _ in made]
        labels = Labels(*(torch.stack(parts) for parts in zip(*each, strict=True)))
        loss_weights = torch.stack([weights_of(objective, group) for objective, _, _ in made])
        prepared = group.prepare(labels, loss_weights, sizes)
        found = dict(group.losses_by_row(raw, labels))
        for parts, rows in zip(prepared, torch.arange(N).split(sizes), strict=True):
            out = torch.empty_like(raw[:, rows, group.columns])
            group.formula.gradient(raw[:, rows][..., group.columns], out, *parts)
            for k, (objective, data, shapes) in enumerate(made):
                expected = by_objective(objective, raw[k, rows], data[rows][1], order, shapes)
                torch.testing.assert_close(out[k], expected[1][:, group.columns])
                for name, by_row in found.items():
                    loss = expected[0][objective.names.index(name)]
                    torch.testing.assert_close(by_row[k, rows].mean(), loss)


def test_outputs_whose_losses_have_one_formula_are_together_by_name():
    objective, _, shapes = make()
    groups, order, width = one_block(objective, shapes)
    assert sorted(group.names for group in groups) == sorted(TOGETHER + ALONE)
    assert [name for group in groups for name in group.names] == order
    bounds = [(group.columns.start, group.columns.stop) for group in groups]
    assert [0, *(stop for _, stop in bounds)] == [*(start for start, _ in bounds), width]


def test_groups_stay_inside_their_matrix_and_take_neighbours_only():
    objective, _, shapes = make()
    groups = find_groups(objective, shapes, [["kind", "price", "sort"], ["four"], ["pair"]])
    found = [(group.names, group.block, group.columns) for group in groups]
    assert found == [
        (["kind"], 0, slice(0, 3)),
        (["price"], 0, slice(3, 4)),
        (["sort"], 0, slice(4, 7)),
        (["four"], 1, slice(0, 4)),
        (["pair"], 2, slice(0, 2)),
    ]
