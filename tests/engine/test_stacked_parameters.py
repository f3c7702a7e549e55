"""Parameters of several networks lie beside each other, and are still each network's own."""

import pytest
import torch
from torch import nn

from mtlearn._engine._layout import Layout
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._network import find_blocks
from mtlearn._engine._objective import l2_penalty
from mtlearn._engine._stacked_parameters import StackedParameters, unstack
from mtlearn._layers import Squeeze

N_MODELS, N_UNITS = 3, 4


def network(seed):
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(5, N_UNITS), nn.LayerNorm(N_UNITS), nn.Tanh())
    heads = {
        "a": nn.Sequential(nn.Linear(N_UNITS, 1), Squeeze()),
        "b": nn.Sequential(nn.Linear(N_UNITS, 3), nn.Tanh(), nn.Linear(3, 2)),
        "c": nn.Sequential(nn.Linear(N_UNITS, 3)),
    }
    return MultiOutputModule(trunk, heads, dict.fromkeys(heads)).double()


class Stack:
    """Networks, what they held before, and their stacked parameters."""

    def __init__(self, n_steps=0, alphas=(0.0,) * N_MODELS):
        self.modules = [network(seed) for seed in range(N_MODELS)]
        self.adams = [torch.optim.Adam(m.parameters(), fused=True) for m in self.modules]
        for module, adam in zip(self.modules, self.adams, strict=True):
            take_steps(module, adam, n_steps)
        self.values = [copies(module.parameters()) for module in self.modules]
        self.states = [
            [{key: t.clone() for key, t in adam.state[p].items()} for p in module.parameters()]
            for module, adam in zip(self.modules, self.adams, strict=True)
        ]
        self.blocks = [block for block, _ in find_blocks(self.modules[0], ["c", "b", "a"])]
        layout = Layout(self.blocks, [], [])
        self.stacked = StackedParameters(self.modules, layout, self.adams, alphas)


def copies(tensors):
    return [tensor.detach().clone() for tensor in tensors]


def take_steps(module, adam, n_steps):
    for seed in range(n_steps):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(6, 5, dtype=torch.float64, generator=generator)
        adam.zero_grad()
        sum(raw.square().sum() for raw in module(x).values()).backward()
        adam.step()


def gradient_of(stacked, parameter):
    """Return where the gradient of a network's parameter goes: as its value lies."""
    place = parameter.shape, parameter.stride(), parameter.storage_offset()
    return stacked.all[1].as_strided(*place)


def test_values_are_kept_and_are_views_of_one_tensor():
    stack = Stack(n_steps=2)
    values = stack.stacked.all[0]
    assert values.numel() == N_MODELS * sum(p.numel() for p in stack.modules[0].parameters())
    for module, before in zip(stack.modules, stack.values, strict=True):
        torch.testing.assert_close([*module.parameters()], before, rtol=0, atol=0)
        assert all(p.grad is None for p in module.parameters())
    values.copy_(torch.arange(values.numel()))
    seen = torch.cat([p.detach().flatten() for m in stack.modules for p in m.parameters()])
    assert torch.equal(seen.sort().values, values)


@pytest.mark.parametrize("n_steps", [0, 3])
def test_moments_are_taken_over_and_are_views_too(n_steps):
    stack = Stack(n_steps)
    assert stack.stacked.step == n_steps
    for module, adam, states in zip(stack.modules, stack.adams, stack.states, strict=True):
        for parameter, before in zip(module.parameters(), states, strict=True):
            state = adam.state[parameter]
            assert state["step"] is stack.stacked.step
            for key in ("exp_avg", "exp_avg_sq"):
                expected = before.get(key, torch.zeros_like(parameter))
                torch.testing.assert_close(state[key], expected, rtol=0, atol=0)
    for tensor, key in zip(stack.stacked.all[2:], ("exp_avg", "exp_avg_sq"), strict=True):
        tensor.fill_(7.0)
        for module, adam in zip(stack.modules, stack.adams, strict=True):
            assert all((adam.state[p][key] == 7).all() for p in module.parameters())


def test_a_place_is_the_parameter_of_every_network():
    stack = Stack()
    by_name = [dict(module.named_parameters()) for module in stack.modules]
    for name in ("trunk.0.weight", "trunk.1.bias", "heads.1.2.weight"):
        value, gradient = stack.stacked(by_name[0][name])
        assert torch.equal(value, torch.stack([of_model[name] for of_model in by_name]))
        gradient.copy_(torch.randn_like(gradient))
        for k, of_model in enumerate(by_name):
            assert torch.equal(gradient_of(stack.stacked, of_model[name]), gradient[k])


@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_heads_that_are_joined_lie_together_in_their_order(kind):
    stack = Stack()
    (joined,) = [block for block in stack.blocks if block.joined]
    first, second = (getattr(head[0], kind) for head in joined.heads)
    assert (len(first), len(second)) == (3, 1)  # "c" before "a", as asked for
    value, gradient = stack.stacked(first, second)
    gradient.copy_(torch.randn_like(gradient))
    for k, module in enumerate(stack.modules):
        both = [getattr(module.heads[i][0], kind) for i in (2, 0)]
        assert torch.equal(value[k], torch.cat(both))
        found = [gradient_of(stack.stacked, parameter) for parameter in both]
        assert torch.equal(gradient[k], torch.cat(found))


def test_blocks_are_the_pieces_of_the_flat_tensors():
    stack = Stack(n_steps=1)
    for kind, tensor in enumerate(stack.stacked.all):
        pieces = [block[kind] for block in stack.stacked.blocks]
        assert all(len(piece) == N_MODELS for piece in pieces)
        assert torch.equal(torch.cat([piece.flatten() for piece in pieces]), tensor)
        tensor.fill_(5.0)
        assert all((piece == 5).all() for piece in pieces)


ALPHAS = [(0.1, 0.0, 2.0), (0.3, 0.3, 0.3), (0.0, 0.0, 0.0), (0.0, 0.0, 0.5)]


@pytest.mark.parametrize("alphas", ALPHAS)
def test_each_network_has_the_penalty_and_the_gradient_of_its_own_alpha(alphas):
    stack = Stack(alphas=alphas)
    for factor in (1, 2):  # the penalty is that of the values of now
        stack.stacked.all[0].mul_(factor)
        stack.stacked.all[1].fill_(1.0)
        with torch.no_grad():
            penalties = stack.stacked.add_penalty()
        assert penalties.shape == (N_MODELS,)
        for module, alpha, penalty in zip(stack.modules, alphas, penalties, strict=True):
            parameters = [*module.parameters()]
            expected = torch.as_tensor(l2_penalty(parameters, alpha))
            assert penalty.item() == pytest.approx(expected.item(), rel=1e-12)
            gradients = [torch.zeros_like(p) for p in parameters]
            if alpha:
                gradients = torch.autograd.grad(
                    expected, parameters, allow_unused=True, materialize_grads=True
                )
            for parameter, gradient in zip(parameters, gradients, strict=True):
                found = gradient_of(stack.stacked, parameter)
                torch.testing.assert_close(found, 1 + gradient)


def test_an_unstacked_network_keeps_nothing_of_the_others_alive():
    stack = Stack(n_steps=2)
    module, adam = stack.modules[0], stack.adams[0]
    unstack(module, adam)
    states = [adam.state[p] for p in module.parameters()]
    tensors = [*module.parameters(), *(t for state in states for t in state.values())]
    storages = [tensor.untyped_storage() for tensor in tensors]
    assert len({storage.data_ptr() for storage in storages}) == len(tensors)
    for tensor, storage in zip(tensors, storages, strict=True):
        assert storage.nbytes() == tensor.numel() * tensor.element_size()


def test_an_unstacked_network_goes_on_as_if_it_had_always_been_alone():
    stack = Stack(n_steps=2)
    for module, adam in zip(stack.modules[:2], stack.adams[:2], strict=True):
        unstack(module, adam)
    for tensor in (*stack.stacked.all, stack.stacked.step):
        tensor.fill_(9.0)
    assert all((p == 9).all() for p in stack.modules[2].parameters())
    take_steps(stack.modules[0], stack.adams[0], 3)  # not of the other one
    for k, n_steps in ((0, 5), (1, 2)):
        alone = network(k)
        adam = torch.optim.Adam(alone.parameters(), fused=True)
        take_steps(alone, adam, 2)
        take_steps(alone, adam, n_steps - 2)
        pairs = zip(stack.modules[k].parameters(), alone.parameters(), strict=True)
        for ours, theirs in pairs:
            assert torch.equal(ours, theirs)
            found = stack.adams[k].state[ours]
            assert found["step"] == n_steps
            torch.testing.assert_close(dict(found), dict(adam.state[theirs]), rtol=0, atol=0)


def test_stacking_again_takes_over_what_others_changed():
    stack = Stack(n_steps=2)
    for module, adam in zip(stack.modules, stack.adams, strict=True):
        unstack(module, adam)
        take_steps(module, adam, 1)
    before = [copies(module.parameters()) for module in stack.modules]
    again = StackedParameters(stack.modules, Layout(stack.blocks, [], []), stack.adams, [0.0] * 3)
    assert again.step == 3
    for module, expected in zip(stack.modules, before, strict=True):
        torch.testing.assert_close([*module.parameters()], expected, rtol=0, atol=0)
    assert not torch.equal(again.all[0], stack.stacked.all[0])
