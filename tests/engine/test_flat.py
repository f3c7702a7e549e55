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


def test_weights_lie_before_biases():
    module, before, flat = make()
    names = [f"{i}.{kind}" for kind in ("weight", "bias") for i in range(len(module))]
    assert torch.equal(flat.values, torch.cat([before[name].flatten() for name in names]))


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_an_unused_parameter_has_a_gradient_only_where_it_is_penalised(alpha):
    module, _, flat = make(alpha)
    flat.gradients.fill_(1.0)
    for parameter in module[0].parameters():
        flat.set_gradient(parameter, None)
        assert not flat(parameter)[1].any()
    assert (module[0].weight.grad is None) == (alpha == 0)
    assert module[0].bias.grad is None
    flat.set_gradient(module[0].bias, torch.full((2,), 3.0))
    assert bool((flat(module[0].bias)[1] == 3).all())
    assert bool((module[0].bias.grad == 3).all())


def test_gradients_that_are_gone_or_replaced_are_views_again_after_a_reset():
    module, _, flat = make()
    module[0].weight.grad = torch.ones(2, 3)
    module[1].bias.grad = None
    flat.reset_gradients()
    assert flat.is_intact()
    flat.gradients.fill_(7.0)
    assert all(bool((p.grad == 7).all()) for p in module.parameters())


def test_flattening_again_keeps_values_and_takes_the_parameters_over():
    module, before, first = make()
    second = FlatParameters([*module[2].parameters(), *module[0].parameters()], 0.0)
    assert second.is_intact()
    assert not first.is_intact()
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())


def test_loaded_weights_are_written_to_the_flat_tensor():
    module, before, flat = make()
    module.load_state_dict({name: 2 * value for name, value in before.items()})
    assert flat.is_intact()
    assert torch.equal(flat(module[1].weight)[0], 2 * before["1.weight"])
