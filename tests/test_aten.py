"""What torch does not promise: each name computes what torch's public functions do."""

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_full_backward_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from mtlearn._aten import (
    ACTIVATION_GRADIENTS,
    fused_adam,
    has_hooks,
    has_step_hooks,
    layer_norm,
    layer_norm_gradient,
)

LAYERS = [
    nn.ELU(alpha=0.7),
    nn.ELU(alpha=0.0),
    nn.ELU(alpha=-0.5),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.ReLU(),
    nn.Sigmoid(),
    nn.SiLU(),
    nn.Tanh(),
]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_every_activation_is_compared():
    assert {type(layer) for layer in LAYERS} == set(ACTIVATION_GRADIENTS)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_gradients_of_activations_are_those_of_autograd(layer):
    x = draw(5, 4).requires_grad_()
    d = draw(5, 4) + 1
    y = layer(x)
    expected = torch.autograd.grad(y, x, d)[0]
    out = torch.empty_like(expected)
    found = ACTIVATION_GRADIENTS[type(layer)](layer, d, x.detach(), y.detach(), out)
    assert found is out
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-14)


def test_layer_norm_and_its_gradient_are_those_of_torch():
    x, d = draw(6, 5).requires_grad_(), draw(6, 5) - 0.5
    expected = nn.functional.layer_norm(x, (5,), eps=1e-3)
    y, mean, inverse = layer_norm(x.detach(), (5,), 1e-3)
    torch.testing.assert_close(y, expected.detach(), rtol=1e-12, atol=1e-14)
    gradient = layer_norm_gradient(d, x.detach(), (5,), mean, inverse)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(expected, x, d)[0], rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_adam_is_the_optimizers_step_bit_for_bit(cls, dtype):
    settings = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    theirs = [nn.Parameter(draw(3, 5).to(dtype)), nn.Parameter(draw(7).to(dtype))]
    ours = [p.detach().clone() for p in theirs]
    moments = [torch.zeros_like(p) for p in ours], [torch.zeros_like(p) for p in ours]
    steps = [torch.zeros(()) for _ in ours]
    optimizer = cls(theirs, fused=True, **settings)
    for i in range(4):
        gradients = [(i + 1) * torch.cos(p.detach()) for p in theirs]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        for step in steps:
            step.add_(1)
        fused_adam(ours, gradients, moments, steps, decoupled=cls is torch.optim.AdamW, **settings)
    assert all(map(torch.equal, ours, theirs))


HOOKS = {
    "forward": lambda module: module[0].register_forward_hook(lambda *_: None),
    "forward_pre": lambda module: module[0].register_forward_pre_hook(lambda *_: None),
    "backward": lambda module: module.register_full_backward_hook(lambda *_: None),
    "backward_pre": lambda module: module[1].register_full_backward_pre_hook(lambda *_: None),
    "parameter": lambda module: module[0].weight.register_hook(lambda d: d),
    "accumulated": lambda module: module[0].bias.register_post_accumulate_grad_hook(print),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_are_found_as_long_as_they_are_there(kind):
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert not has_hooks(module)
    handle = HOOKS[kind](module)
    assert has_hooks(module)
    handle.remove()
    assert not has_hooks(module)


def test_decay_is_decoupled_only_where_it_is_asked_for():
    one = torch.ones(4, dtype=torch.float64)
    found = []
    for decoupled in (False, True):
        values, moments = [2 * one], ([0 * one], [0 * one])
        settings = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.5}
        fused_adam(values, [one], moments, [torch.ones(())], decoupled=decoupled, **settings)
        found.append(values[0][0].item())
    assert found == pytest.approx([2 - 0.1, 2 - 0.1 * 0.5 * 2 - 0.1])


@pytest.mark.parametrize(
    "register", [register_module_forward_hook, register_module_full_backward_hook]
)
def test_hooks_of_all_modules_are_found(register):
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    handle = register(lambda *_: None)
    try:
        assert has_hooks(module)
    finally:
        handle.remove()
    assert not has_hooks(module)


def test_hooks_of_an_inner_layer_are_found():
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    module[1][0].register_forward_hook(lambda *_: None)
    assert has_hooks(module)


STEP_HOOKS = {
    "before": lambda optimizer: optimizer.register_step_pre_hook(lambda *_: None),
    "after": lambda optimizer: optimizer.register_step_post_hook(lambda *_: None),
    "before all": lambda _: register_optimizer_step_pre_hook(lambda *_: None),
    "after all": lambda _: register_optimizer_step_post_hook(lambda *_: None),
}


@pytest.mark.parametrize("kind", STEP_HOOKS)
def test_hooks_of_steps_are_found_as_long_as_they_are_there(kind):
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    assert not has_step_hooks(optimizer)
    handle = STEP_HOOKS[kind](optimizer)
    try:
        assert has_step_hooks(optimizer)
    finally:
        handle.remove()
    assert not has_step_hooks(optimizer)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_gradients_of_activations_take_a_stack_of_models_and_extreme_values(layer):
    x = 3 * draw(2, 5, 4)
    x.view(-1)[:4] = torch.tensor([0.0, -0.0, -40.0, 40.0])
    x.requires_grad_()
    d = draw(2, 5, 4).flip(0)
    y = layer(x)
    out = torch.full_like(d, torch.nan)
    ACTIVATION_GRADIENTS[type(layer)](layer, d, x.detach(), y.detach(), out)
    torch.testing.assert_close(out, torch.autograd.grad(y, x, d)[0], rtol=1e-12, atol=1e-14)


def test_layer_norm_of_a_stack_is_that_of_each_model():
    x, d = draw(3, 6, 5), draw(3, 6, 5).flip(0)
    y, mean, inverse = layer_norm(x, (5,), 1e-5)
    gradient = layer_norm_gradient(d, x, (5,), mean, inverse)
    for i in range(3):
        alone, *moments = layer_norm(x[i], (5,), 1e-5)
        torch.testing.assert_close(y[i], alone, rtol=1e-12, atol=1e-14)
        one = layer_norm_gradient(d[i], x[i], (5,), *moments)
        torch.testing.assert_close(gradient[i], one, rtol=1e-12, atol=1e-14)
