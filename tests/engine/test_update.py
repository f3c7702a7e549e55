"""An update is the optimizer's step, bit for bit."""

from functools import partial

import pytest
import torch
from torch import nn

from mtlearn._engine._update import Update

OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, fused=True),
    "adam, slow": torch.optim.Adam,
    "amsgrad": partial(torch.optim.Adam, fused=True, amsgrad=True),
    "adamw": partial(torch.optim.AdamW, fused=True, weight_decay=0.1),
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
}


class Pair:
    """Two equal sets of parameters, one updated by each means."""

    def __init__(self, make, groups=({},)):
        self.sets = []
        for _ in range(2):
            torch.manual_seed(0)
            parameters = [nn.Parameter(torch.randn(4, 3)) for _ in range(2 * len(groups))]
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
            parts = [
                {"params": parameters[2 * i : 2 * i + 2]} | group for i, group in enumerate(groups)
            ]
            self.sets.append((parameters, make(parts, lr=0.05)))
        self.update = Update(self.sets[0][1])

    def step(self, n_steps, *, direct=True):
        for i in range(n_steps):
            for parameters, _ in self.sets:
                for parameter in parameters:
                    parameter.grad.copy_(torch.sin(parameter.detach() + i))
            if direct:
                self.update()
            else:
                self.sets[0][1].step()
            self.sets[1][1].step()

    def check(self):
        (ours, optimizer), (theirs, reference) = self.sets
        assert all(map(torch.equal, ours, theirs))
        for our, their in zip(ours, theirs, strict=True):
            state = reference.state[their]
            assert optimizer.state[our].keys() == state.keys()
            for name, value in state.items():
                assert torch.equal(
                    torch.as_tensor(optimizer.state[our][name]), torch.as_tensor(value)
                )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_steps(name):
    pair = Pair(OPTIMIZERS[name])
    pair.step(5)
    pair.check()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_keep_their_settings_and_rates_may_change(name):
    pair = Pair(OPTIMIZERS[name], ({}, {"lr": 0.2, "weight_decay": 0.3}))
    pair.step(3)
    for _, optimizer in pair.sets:
        optimizer.param_groups[0]["lr"] = 0.5
    pair.step(3)
    pair.check()


def test_the_optimizers_own_steps_go_on_from_there():
    pair = Pair(OPTIMIZERS["adam"])
    pair.step(3)
    pair.step(3, direct=False)
    pair.step(3)
    pair.check()


@pytest.mark.parametrize("replace", [True, False])
def test_a_state_that_was_replaced_is_noticed(replace):
    pair = Pair(OPTIMIZERS["adam"])
    pair.step(3)
    for _, optimizer in pair.sets:
        if replace:
            optimizer.load_state_dict(optimizer.state_dict())
        else:
            optimizer.state.clear()
    pair.update.check_state()
    pair.step(3)
    pair.check()


def test_parameters_without_a_gradient_are_left_alone():
    pair = Pair(OPTIMIZERS["adamw"], ({}, {}))
    before = pair.sets[0][0][3].detach().clone()
    for parameters, _ in pair.sets:
        parameters[3].grad = None
    for _ in range(3):
        pair.update()
        pair.sets[1][1].step()
    pair.check()
    assert torch.equal(pair.sets[0][0][3], before)
