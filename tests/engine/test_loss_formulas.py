"""Formulas of losses give the gradients of autograd."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn._engine._loss_formulas import AnyLoss, loss_kind, make_loss_formula
from mtlearn.heads import Gaussian, Quantile

N, COLUMNS = 7, 3
FLOATS = {
    "squared": nn.MSELoss(reduction="none"),
    "absolute": nn.L1Loss(reduction="none"),
    "huber": nn.HuberLoss(reduction="none", delta=0.6),
    "binary": nn.BCEWithLogitsLoss(reduction="none"),
    "binary, weighted": nn.BCEWithLogitsLoss(
        reduction="none", pos_weight=torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    ),
}


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def weights(*shape):
    weight = draw(*shape, seed=2).abs()
    weight.view(-1)[::3] = 0
    return weight


@pytest.mark.parametrize("name", FLOATS)
def test_gradients_of_numbers_are_those_of_autograd(name):
    loss = FLOATS[name]
    raw = (3 * draw(N, COLUMNS)).requires_grad_()
    target, weight = draw(N, COLUMNS, seed=1).sigmoid(), weights(N, COLUMNS)
    raw.data[0, 1] = target[0, 1]  # where some losses have a kink
    expected = loss(raw, target)
    formula = make_loss_formula([loss], [COLUMNS])
    out = torch.full_like(weight, torch.nan)
    formula.gradient(raw.detach(), out, *formula.prepare(target, weight))
    torch.testing.assert_close(
        out, torch.autograd.grad(expected, raw, weight)[0], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(formula.label_losses(raw.detach(), target), expected.detach())


SEVERAL_RAW = {
    "quantiles": (Quantile([0.1, 0.4, 0.9]), 3),
    "one quantile": (Quantile(0.3), 1),
    "gaussian": (Gaussian(), 2),
}


@pytest.mark.parametrize("name", SEVERAL_RAW)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_gradients_of_numbers_with_several_raw_values_are_those_of_autograd(name, n_outputs):
    head, n_raw = SEVERAL_RAW[name]
    losses = []
    for i in range(n_outputs):  # of which each begins at quantiles of its own
        fitted = clone(head).fit(draw(50, seed=i).numpy() * (i + 1), np.ones(50), normalize=True)
        losses.append(fitted.build_loss().double())
    raw = (3 * draw(N, n_outputs * n_raw)).requires_grad_()
    target, weight = draw(N, n_outputs, seed=1), weights(N, n_outputs)
    parts = raw.view(N, n_outputs, n_raw)
    expected = torch.stack(
        [
            loss(parts[:, i] if n_raw > 1 else parts[:, i, 0], target[:, i])
            for i, loss in enumerate(losses)
        ],
        1,
    )
    formula = make_loss_formula(losses, [n_raw] * n_outputs)
    out = torch.full(raw.shape, torch.nan, dtype=torch.float64)
    formula.gradient(raw.detach(), out, *formula.prepare(target, weight))
    gradient = torch.autograd.grad(expected, raw, weight)[0]
    torch.testing.assert_close(out, gradient, rtol=1e-12, atol=1e-14)
    found = formula.label_losses(raw.detach(), target)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_gradients_of_classes_are_those_of_autograd(smoothing, n_outputs):
    n_classes = 4
    loss = nn.CrossEntropyLoss(reduction="none", label_smoothing=smoothing)
    raw = (3 * draw(N, n_outputs * n_classes)).requires_grad_()
    target = torch.randint(n_classes, (N, n_outputs), generator=torch.Generator().manual_seed(1))
    weight = weights(N, n_outputs)
    expected = torch.stack(
        [loss(raw[:, n_classes * i : n_classes * (i + 1)], target[:, i]) for i in range(n_outputs)],
        1,
    )
    formula = make_loss_formula([loss] * n_outputs, [n_classes] * n_outputs)
    out = torch.full((N, 2 * n_outputs * n_classes), torch.nan, dtype=torch.float64)
    columns = out[:, : n_outputs * n_classes]  # of a wider matrix
    formula.gradient(raw.detach(), columns, *formula.prepare(target, weight))
    gradient = torch.autograd.grad(expected, raw, weight)[0]
    torch.testing.assert_close(columns, gradient, rtol=1e-10, atol=1e-14)
    assert out[:, n_outputs * n_classes :].isnan().all()
    torch.testing.assert_close(formula.label_losses(raw.detach(), target), expected.detach())


def test_positive_weights_of_several_outputs_keep_their_columns():
    losses = [
        nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor(w, dtype=torch.float64))
        for w in ([0.5, 4.0], [2.0])
    ]
    raw = draw(N, 3).requires_grad_()
    target, weight = (draw(N, 3, seed=1) > 0).double(), weights(N, 3)
    expected = torch.cat(
        [losses[0](raw[:, :2], target[:, :2]), losses[1](raw[:, 2:], target[:, 2:])], 1
    )
    formula = make_loss_formula(losses, [2, 1])
    out = torch.empty_like(weight)
    formula.gradient(raw.detach(), out, *formula.prepare(target, weight))
    torch.testing.assert_close(out, torch.autograd.grad(expected, raw, weight)[0])
    torch.testing.assert_close(formula.label_losses(raw.detach(), target), expected.detach())


def test_any_other_loss_is_left_to_autograd_and_computed_once():
    calls = []

    class Quartic(nn.Module):
        def forward(self, raw, target):
            calls.append(raw.shape)
            return (raw - target) ** 4

    raw = draw(N, 1).requires_grad_()
    target, weight = draw(N, seed=1), weights(N)
    formula = AnyLoss([Quartic()], ())
    out = torch.empty(N, 1, dtype=torch.float64)
    with torch.no_grad():
        formula.gradient(raw.detach(), out, *formula.prepare(target, weight))
    expected = (raw[:, 0] - target) ** 4
    torch.testing.assert_close(out, torch.autograd.grad(expected, raw, weight)[0])
    torch.testing.assert_close(formula.label_losses(raw.detach(), target), expected.detach())
    assert calls == [(N,)]


def test_losses_without_a_formula():
    class Twice(nn.MSELoss):
        def forward(self, raw, target):
            return 2 * super().forward(raw, target)

    unknown = [
        Twice(reduction="none"),
        nn.MSELoss(),
        nn.CrossEntropyLoss(reduction="none", weight=torch.ones(3)),
        nn.CrossEntropyLoss(reduction="none", ignore_index=1),
        nn.BCEWithLogitsLoss(reduction="none", weight=torch.ones(3)),
        nn.SmoothL1Loss(reduction="none"),
    ]
    assert [loss_kind(loss, 3) for loss in unknown] == [None] * len(unknown)


def test_losses_are_of_one_kind_if_one_formula_computes_them():
    def cross_entropy(smoothing):
        return nn.CrossEntropyLoss(reduction="none", label_smoothing=smoothing)

    assert loss_kind(FLOATS["squared"], 1) == loss_kind(FLOATS["squared"], 3)
    assert loss_kind(cross_entropy(0.1), 3) == loss_kind(cross_entropy(0.1), 3)
    assert loss_kind(cross_entropy(0.1), 3) != loss_kind(cross_entropy(0.2), 3)
    assert loss_kind(cross_entropy(0.1), 3) != loss_kind(cross_entropy(0.1), 4)
    assert loss_kind(FLOATS["huber"], 1) != loss_kind(nn.HuberLoss(reduction="none"), 1)
    assert loss_kind(FLOATS["binary"], 1) != loss_kind(FLOATS["binary, weighted"], 1)


def test_one_weight_of_ones_stands_for_all_columns():
    loss = nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor(2.0).double())
    raw = draw(N, COLUMNS, seed=0).requires_grad_()
    target, weight = draw(N, COLUMNS, seed=1).sigmoid(), weights(N, COLUMNS)
    expected = loss(raw, target)
    formula = make_loss_formula([loss, loss], [1, COLUMNS - 1])
    out = torch.empty_like(weight)
    formula.gradient(raw.detach(), out, *formula.prepare(target, weight))
    torch.testing.assert_close(out, torch.autograd.grad(expected, raw, weight)[0])
    torch.testing.assert_close(formula.label_losses(raw.detach(), target), expected.detach())
