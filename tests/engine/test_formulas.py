"""Formulas of layers give the outputs and gradients of autograd."""

import pytest
import torch
from torch import nn

from mtlearn._engine._flat import FlatParameters
from mtlearn._engine._formulas import Chain, Linear, has_formula, split
from mtlearn._layers import ACTIVATIONS, Dropout

N = 6


class Doubling(nn.Module):
    """A module with a branch on its values."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        return 2 * y if y.sum() > 0 else y


def seeded(make):
    torch.manual_seed(0)
    return make()


def relu_twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    return module


MODULES = {
    **{
        name: lambda make=make: nn.Sequential(nn.Linear(4, 5), make(), nn.Linear(5, 2))
        for name, make in ACTIVATIONS.items()
    },
    "no bias": lambda: nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 2)),
    "layer norm": lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)),
    "plain layer norm": lambda: nn.Sequential(
        nn.Linear(4, 5), nn.LayerNorm(5, elementwise_affine=False), nn.Tanh(), nn.Linear(5, 2)
    ),
    "norm without bias": lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5, bias=False)),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 5), Dropout(0.4), nn.ReLU(), nn.Linear(5, 2)),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.ReLU())), nn.Linear(5, 2)
    ),
    "in place": lambda: nn.Sequential(nn.Linear(4, 5), nn.SiLU(inplace=True), nn.Linear(5, 2)),
    "relu in place": lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True)),
    "activation first": lambda: nn.Sequential(nn.Tanh(), nn.Linear(4, 2), nn.Sigmoid()),
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)),
    "unknown": lambda: nn.Sequential(nn.Linear(4, 4), Doubling(), nn.ReLU(), nn.Linear(4, 2)),
    "one layer": lambda: nn.Linear(4, 2),
    "one unknown": Doubling,
    "layer used twice": relu_twice,
    "tied weights": tied,
    "identity": nn.Identity,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODULES)
def test_output_and_gradients_are_those_of_autograd(name, dtype):
    module, reference = (seeded(MODULES[name]).to(dtype).train() for _ in range(2))
    flat = FlatParameters(list(module.parameters()) or [nn.Parameter(torch.zeros(1))], alpha=0.0)
    chain = Chain(module, flat, needs_input_gradient=True)
    for seed in range(2):  # buffers are used again
        torch.manual_seed(seed)
        x = torch.randn(N, 4, dtype=dtype)
        expected_x = x.clone().requires_grad_()
        expected = reference(expected_x)
        d = torch.randn_like(expected)
        expected.backward(d)
        with torch.no_grad():
            y = chain.forward(x)
            torch.testing.assert_close(y, expected.detach())
            d_x = chain.backward(d)
        torch.testing.assert_close(d_x, expected_x.grad)
        for ours, theirs in zip(module.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
            theirs.grad = None


def test_layers_of_a_sequential_are_taken_one_by_one_unless_something_is_shared():
    assert len(split(MODULES["nested"]())) == 3
    for name in ("layer used twice", "tied weights"):
        module = MODULES[name]()
        assert split(module) == [module]


def test_a_subclass_and_an_activation_in_place_have_no_formula():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    assert has_formula(nn.Linear(2, 2))
    assert not has_formula(Scaled(2, 2))
    assert not has_formula(nn.SiLU(inplace=True))
    assert not has_formula(nn.BatchNorm1d(2))


def test_frozen_parameters_get_no_gradient_and_stop_the_backward_pass():
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)))
    module[0].requires_grad_(False)
    flat = FlatParameters(list(module[2].parameters()), alpha=0.0)
    chain = Chain(module, flat, needs_input_gradient=False)
    x, d = torch.randn(N, 4), torch.randn(N, 2)
    with torch.no_grad():
        chain.forward(x)
        assert chain.backward(d) is None
    assert module[0].weight.grad is None
    torch.testing.assert_close(module[2].weight.grad, d.T @ torch.tanh(module[0](x)).detach())


def test_a_parameter_that_an_unknown_module_leaves_aside_has_no_gradient():
    class Wasteful(Doubling):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(4, 4)

    for alpha, weight_is_penalized in ((0.0, False), (0.1, True)):
        module = seeded(Wasteful)
        flat = FlatParameters(list(module.parameters()), alpha=alpha)
        chain = Chain(module, flat, needs_input_gradient=False)
        with torch.no_grad():
            chain.backward(torch.ones_like(chain.forward(torch.randn(N, 4))))
        assert module.layer.weight.grad is not None
        assert module.unused.bias.grad is None
        assert (module.unused.weight.grad is not None) == weight_is_penalized


def test_stacked_models_are_those_one_by_one():
    torch.manual_seed(0)
    weight, bias, x, d = (torch.randn(*s) for s in ((3, 2, 4), (3, 2), (3, N, 4), (3, N, 2)))
    gradients = torch.empty_like(weight), torch.empty_like(bias)
    stacked = Linear((weight, gradients[0]), (bias, gradients[1]), needs_input_gradient=True)
    y, d_x = stacked.forward(x), stacked.backward(d)
    for i in range(3):
        w, b = torch.empty(2, 4), torch.empty(2)
        one = Linear((weight[i], w), (bias[i], b), needs_input_gradient=True)
        torch.testing.assert_close(y[i], one.forward(x[i]))
        torch.testing.assert_close(d_x[i], one.backward(d[i]))
        torch.testing.assert_close(gradients[0][i], w)
        torch.testing.assert_close(gradients[1][i], b)
