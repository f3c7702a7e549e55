import numpy as np
import torch

from mtlearn.weighting import LogSum


def begin(n_outputs, **params):
    return LogSum(**params).begin(np.ones(n_outputs), main=None, seed=0)


def model_and_losses(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    shared = torch.tensor(rng.normal(size=5), requires_grad=True)
    targets = torch.tensor(rng.normal(size=(3, 4)))
    maps = torch.tensor(rng.normal(size=(3, 4, 5)))
    losses = ((maps @ shared).tanh() - targets).square().mean(dim=1)
    return shared, losses * torch.tensor([scale, 1.0, 1.0])


def direction(shared, losses, weights, **params):
    factors = begin(3, **params).factors(losses.detach().numpy(), None)
    total = (losses * torch.tensor(weights * factors)).sum()
    return torch.autograd.grad(total, shared)[0]


def test_the_direction_is_the_gradient_of_a_weighted_sum_of_logarithms():
    weights = np.array([1.0, 0.2, 3.0])
    for seed in range(3):
        shared, losses = model_and_losses(seed)
        assert losses.min() > 0.05
        total = (torch.tensor(weights) * losses.log()).sum()
        (expected,) = torch.autograd.grad(total, shared, retain_graph=True)
        torch.testing.assert_close(direction(shared, losses, weights), expected)


def test_the_scale_of_a_loss_does_not_matter_above_the_floor():
    weights = np.ones(3)
    found = [direction(*model_and_losses(scale=scale), weights) for scale in (1.0, 1e4)]
    torch.testing.assert_close(*found)


def test_losses_below_the_floor_count_as_it():
    found = begin(4, floor=0.25).factors(np.array([0.5, 0.25, 1e-9, -2.0]), None)
    np.testing.assert_allclose(found, [2, 4, 4, 4])


def test_an_output_without_labels_keeps_its_weight():
    assert np.array_equal(begin(2).factors(np.array([0.0, 0.5]), None), [1, 2])
