import pytest
import torch

from mtlearn.weighting import Step


def test_it_is_torchs_step_schedule():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.8)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    ours = Step(0.8, factor=0.5, epochs=3)
    for epoch in range(10):
        assert ours(epoch) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_a_factor_of_zero_ends_it():
    assert [Step(0.3, 0.0, 2)(epoch) for epoch in range(4)] == [0.3, 0.3, 0.0, 0.0]
