"""What torch does not promise: each name computes what torch's public functions do."""

import pytest
import torch
from torch import nn

from mtlearn._aten import (
    ACTIVATION_GRADIENTS,
    fused_adam,
    has_hooks,
    layer_norm,
    layer_norm_gradient,
)

LAYERS = [
    nn.ELU(alpha=0.7),
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
