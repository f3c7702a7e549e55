"""Parameters and gradients lie side by side, and are still the network's."""

import pytest
import torch
from torch import nn

from mtlearn._engine._flat import FlatParameters


def make(alpha=0.5):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 4), nn.Linear(2, 2))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    return module, before, FlatParameters(list(module.parameters()), alpha)


def test_values_stay_and_are_shared_with_the_flat_tensor():
    module, before, flat = make()
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())
    assert len(flat.values) == sum(p.numel() for p in module.parameters())
    flat.values.zero_()
    flat.gradients.fill_(2)
    assert all(not p.any() and (p.grad == 2).all() for p in module.parameters())


def test_parameters_next_to_each_other_have_one_place():
    module, before, flat = make()
    weight, gradient = flat(module[0].weight, module[1].weight)
    assert torch.equal(weight, torch.cat([before["0.weight"], before["1.weight"]]))
    gradient.copy_(torch.arange(18.0).view(6, 3))
    assert torch.equal(module[1].weight.grad, torch.arange(6.0, 18.0).view(4, 3))
    bias, _ = flat(module[0].bias, module[1].bias)
    assert torch.equal(bias, torch.cat([before["0.bias"], before["1.bias"]]))


def test_a_parameter_of_no_place_learns_nothing():
    _, _, flat = make()
    other = nn.Parameter(torch.ones(2))
    value, gradient = flat(other)
    assert torch.equal(value, torch.ones(2))
    assert gradient is None


def test_the_penalty_is_on_weights_alone():
    module, _, flat = make(alpha=0.5)
    weights = [p for p in module.parameters() if p.ndim == 2]
    squares = sum(p.detach().square().sum() for p in weights)
    assert float(flat.add_penalty()) == pytest.approx(float(squares))
    for parameter in module.parameters():
        expected = parameter.detach() if parameter.ndim == 2 else torch.zeros_like(parameter)
        torch.testing.assert_close(parameter.grad, expected)  # twice one half of it


def test_without_a_penalty_nothing_is_added():
    module, _, flat = make(alpha=0.0)
    assert float(flat.add_penalty()) == 0
    assert not any(p.grad.any() for p in module.parameters())


@pytest.mark.parametrize(
    "change",
    [
        lambda p: setattr(p, "data", p.detach().clone()),
        lambda p: setattr(p, "grad", None),
        lambda p: p.requires_grad_(False),
    ],
    ids=["values moved", "gradient moved", "frozen"],
)
def test_changes_of_others_are_noticed(change):
    module, _, flat = make()
    assert flat.is_intact()
    with torch.no_grad():
        module[0].weight.mul_(2)
    assert flat.is_intact()
    change(module[1].bias)
    assert not flat.is_intact()
