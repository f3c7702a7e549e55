"""A network by formulas gives the raw values and gradients of autograd."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from mtlearn._engine._flat import FlatParameters
from mtlearn._engine._layout import Layout
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._network import NetworkFormulas, find_blocks
from mtlearn._engine._stacked_parameters import StackedParameters
from mtlearn._layers import Dropout, NamedLayers, Squeeze

WIDTH = 5  # of the rows and of what the trunk returns


class Mean(nn.Module):
    """A head without a formula, and with one value for each row."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.layer(x).mean(1)


class ThreeTaps(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        low = self.low(x).tanh()
        return {"low": low, "high": self.high(low), "unused": 2 * low}


def body():
    layers = nn.Linear(WIDTH, 4), nn.LayerNorm(4), nn.Tanh(), Dropout(0.3), nn.Linear(4, WIDTH)
    return nn.Sequential(*layers)


def layers():
    low = [nn.Linear(WIDTH, WIDTH), nn.Tanh(), Dropout(0.3)]
    high = [nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    return NamedLayers([*low, *high], {"low": len(low), "high": len(low) + len(high)})


def linear(n_raw=1, n_units=WIDTH, bias=True):
    squeeze = [Squeeze()] if n_raw == 1 else []
    return nn.Sequential(nn.Linear(n_units, n_raw, bias), *squeeze)


def deep(n_raw=1):
    return nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), *linear(n_raw, 4))


KNOWN = {
    "one number": lambda: {"a": linear()},
    "joined": lambda: {"a": linear(), "b": linear(3), "c": linear()},
    "hidden layers": lambda: {"a": deep(), "b": deep(3)},
    "both": lambda: {"a": deep(), "b": linear(3), "c": deep(2), "d": linear()},
    "no bias": lambda: {"a": linear(bias=False), "b": linear(2, bias=False), "c": linear()},
    "activation last": lambda: {"a": nn.Sequential(*linear(2), nn.ReLU()), "b": linear()},
}
UNKNOWN = {
    "own head": lambda: {"a": Mean(), "b": linear(2)},
    "frozen head": lambda: {"a": linear().requires_grad_(False), "b": linear(), "c": linear(2)},
    "only frozen heads": lambda: {"a": linear().requires_grad_(False)},
}


def make(heads, taps=None, trunk=body, seed=0):
    torch.manual_seed(seed)
    built = heads()
    module = MultiOutputModule(trunk(), built, taps or dict.fromkeys(built))
    return module.double().train()


def draw(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_autograd(module, x, gradients, found):
    """Return the blocks of raw values, and set `grad` from the gradients of these."""
    raw = module(x)
    blocks = [torch.cat([raw[n].reshape(len(x), -1) for n in names], 1) for _, names in found]
    module.zero_grad()
    torch.autograd.backward(blocks, gradients)
    return [block.detach() for block in blocks]


def check_against_autograd(module):
    """Compare batches of two sizes, in turns."""
    reference = deepcopy(module)
    found = find_blocks(module, module.names)
    blocks = [block for block, _ in found]
    parts = [module.trunk, *(head for block in blocks for head in block.heads)]
    flat = FlatParameters([p for m in parts for p in m.parameters() if p.requires_grad], alpha=0.0)
    networks = {n_rows: NetworkFormulas(module.trunk, blocks, flat) for n_rows in (7, 3)}
    kept = []
    for seed, n_rows in enumerate([7, 3, 7, 3, 3]):
        x = draw(n_rows, WIDTH, seed=seed)
        flat.gradients.fill_(torch.nan)
        with torch.no_grad():
            raw = networks[n_rows].forward(x)
            gradients = [draw(*part.shape, seed=9 * seed + i) for i, part in enumerate(raw)]
            networks[n_rows].backward(gradients)
        kept.append((raw, by_autograd(reference, x, gradients, found)))
        for ours, theirs in zip(module.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
    for raw, expected in kept:  # none was overwritten by a later batch
        torch.testing.assert_close(raw, expected)


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
def test_raw_values_and_gradients_are_those_of_autograd(name):
    check_against_autograd(make((KNOWN | UNKNOWN)[name]))


@pytest.mark.parametrize("trunk", [nn.Identity, lambda: nn.Linear(5, 5).requires_grad_(False)])
@pytest.mark.parametrize("name", ["joined", "both"])
def test_heads_learn_on_a_trunk_that_does_not(name, trunk):
    check_against_autograd(make(KNOWN[name], trunk=trunk))


@pytest.mark.parametrize("name", ["joined", "both"])
def test_each_head_takes_its_tensor_of_the_trunk(name):
    names = list(KNOWN[name]())
    taps = dict(zip(names, ["high", "low", "high", "low"], strict=False))
    check_against_autograd(make(KNOWN[name], taps, ThreeTaps))
    check_against_autograd(make(KNOWN[name], dict.fromkeys(names, "low"), ThreeTaps))
    check_against_autograd(make(KNOWN[name], taps, layers))
    check_against_autograd(make(KNOWN[name], dict.fromkeys(names, "high"), layers))


def test_heads_without_a_loss_learn_nothing_and_leave_the_trunk_alone():
    module = make(KNOWN["both"]).eval()
    found = find_blocks(module, module.names)
    assert [names for _, names in found] == [["a"], ["c"], ["b", "d"]]
    parts = [module.trunk, *(head for block, _ in found for head in block.heads)]
    flat = FlatParameters([p for part in parts for p in part.parameters()], alpha=0.0)
    network = NetworkFormulas(module.trunk, [block for block, _ in found], flat)
    x, outer = draw(7, WIDTH, seed=0), draw(7, 3, seed=1)
    with torch.no_grad():
        zeros = [torch.zeros_like(part) for part in network.forward(x)]
        of_b = torch.cat([outer, zeros[2][:, 3:]], 1)
        network.backward([zeros[0], None, of_b])
    alone = module.without(["a", "c", "d"])
    parameters = list(alone.parameters())
    expected = torch.autograd.grad(alone(x)["b"], parameters, outer)
    torch.testing.assert_close([p.grad for p in parameters], list(expected))
    for i in (0, 2, 3):
        assert not any(p.grad.any() for p in module.heads[i].parameters())


@pytest.mark.parametrize("trunk", [body, layers])
@pytest.mark.parametrize("name", KNOWN)
def test_networks_side_by_side_have_the_gradients_of_each_alone(name, trunk):
    names = list(KNOWN[name]())
    taps = None
    if trunk is layers:
        taps = dict(zip(names, ["high", "low", "high", "low"], strict=False))
    modules = [make(KNOWN[name], taps, trunk, seed) for seed in range(3)]
    references = deepcopy(modules)
    found = find_blocks(modules[0], modules[0].names)
    blocks = [block for block, _ in found]
    adams = [torch.optim.Adam(module.parameters()) for module in modules]
    stacked = StackedParameters(modules, Layout(blocks, [], []), adams, [0.0] * 3)
    networks = {n_rows: NetworkFormulas(modules[0].trunk, blocks, stacked) for n_rows in (7, 3)}
    for seed, n_rows in enumerate([7, 3, 7]):
        x = draw(3, n_rows, WIDTH, seed=seed)
        stacked.all[1].fill_(torch.nan)
        with torch.no_grad():
            raw = networks[n_rows].forward(x)
            gradients = [draw(*part.shape, seed=9 * seed + i) for i, part in enumerate(raw)]
            networks[n_rows].backward(gradients)
        for k, (module, reference) in enumerate(zip(modules, references, strict=True)):
            values = by_autograd(reference, x[k], [part[k] for part in gradients], found)
            torch.testing.assert_close([part[k] for part in raw], values)
            for ours, theirs in zip(module.parameters(), reference.parameters(), strict=True):
                place = ours.shape, ours.stride(), ours.storage_offset()
                torch.testing.assert_close(stacked.all[1].as_strided(*place), theirs.grad)


def test_heads_of_one_layer_are_joined_by_their_tensor_in_the_order_asked_for():
    heads = {"deep": deep(), "no bias": linear(bias=False), "frozen": linear(), "own": Mean()}
    heads["frozen"].requires_grad_(False)
    heads |= {name: linear(2) for name in "wxyz"}
    taps = dict.fromkeys(heads, "low") | {"w": "high", "y": "high"}
    module = make(lambda: heads, taps, ThreeTaps)
    order = ["z", "own", "y", "x", "frozen", "w", "deep", "no bias"]
    found = find_blocks(module, order)
    assert [names for block, names in found if block.joined] == [["z", "x"], ["y", "w"]]
    apart = [names for block, names in found if not block.joined]
    assert apart == [["own"], ["frozen"], ["deep"], ["no bias"]]
    for block, names in found:
        assert [*block.heads] == [heads[name] for name in names]
        assert all(taps[name] == block.tap for name in names)
