import numpy as np
import pytest
import torch

from mtlearn.weighting import FAMO

RNG = np.random.default_rng(0)
X = torch.tensor(RNG.normal(size=(30, 4)))
Y = torch.tensor(RNG.normal(size=(30, 3))) * torch.tensor([1.0, 3.0, 0.5])


class Model:
    """A small net with plain gradient descent, begun the same every time."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        shapes = [(4, 6), (6, 3)]
        self.weights = [
            torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
            for shape in shapes
        ]

    def losses(self):
        return (torch.tanh(X @ self.weights[0]) @ self.weights[1] - Y).square().mean(dim=0)

    def step(self, total, rate=0.02):
        gradients = torch.autograd.grad(total, self.weights)
        with torch.no_grad():
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight -= rate * gradient


def by_torch(n_steps, rate, decay):
    """The loop of the authors' code; the total times the number of outputs."""
    model, xi = Model(), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([xi], lr=rate, weight_decay=decay)
    factors = []
    for _ in range(n_steps):
        losses = model.losses()
        z = torch.softmax(xi, 0).detach()
        c = (z / losses).sum().detach()
        factors.append((3 * z / losses / c).detach().numpy())
        model.step(3 * (losses.log() * z / c).sum())
        fall = losses.detach().log() - model.losses().detach().log()
        optimizer.zero_grad()
        xi.grad = torch.autograd.grad(torch.softmax(xi, 0), xi, grad_outputs=fall)[0]
        optimizer.step()
    return np.array(factors), model


def by_us(n_steps, scale=1.0, **params):
    scale = torch.tensor([scale, 1.0, 1.0])
    model, weigher = Model(), FAMO(**params).begin(np.ones(3), main=None, seed=0)
    factors = []
    for _ in range(n_steps):
        losses = scale * model.losses()
        before = losses.detach().numpy()
        factors.append(weigher.factors(before, None))
        model.step((losses * torch.tensor(factors[-1])).sum())
        weigher.end_step(before, lambda: (scale * model.losses()).detach().numpy())
    return np.array(factors), model


@pytest.mark.parametrize(("rate", "decay"), [(0.025, 0.001), (0.2, 0.1), (0.05, 0.0)])
def test_a_training_is_that_of_the_authors_loop(rate, decay):
    expected, theirs = by_torch(60, rate, decay)
    found, ours = by_us(60, learning_rate=rate, decay=decay)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for weight, other in zip(ours.weights, theirs.weights, strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-6, atol=1e-9)
    assert np.ptp(expected, axis=0).min() > 0.01


def test_the_weighted_losses_are_shared_out_alike_whatever_their_scale():
    """Factor times loss is z, up to a number that all outputs share."""
    (plain, _), (scaled, _) = (by_us(1, scale=scale) for scale in (1.0, 1e3))
    losses = Model().losses().detach().numpy()
    np.testing.assert_allclose(np.ptp(plain[0] * losses), 0, atol=1e-12)
    np.testing.assert_allclose(np.ptp(scaled[0] * losses * [1e3, 1, 1]), 0, atol=1e-9)


def test_equal_losses_have_factors_of_one_and_what_stalls_gets_more():
    weigher = FAMO().begin(np.ones(2), main=None, seed=0)
    losses = np.ones(2)
    assert np.array_equal(weigher.factors(losses, None), [1, 1])
    for _ in range(10):
        weigher.end_step(losses, lambda: np.array([0.5, 1.0]))
    moving, stalling = weigher.factors(losses, None)
    assert stalling > 1.2 > 0.8 > moving


def test_the_losses_after_a_step_are_not_asked_for_without_labels():
    weigher = FAMO().begin(np.ones(2), main=None, seed=0)
    weigher.end_step(np.zeros(2), lambda: pytest.fail("asked"))
    assert FAMO.sees_step_results


def test_an_output_without_labels_keeps_its_share():
    weigher = FAMO().begin(np.ones(3), main=None, seed=0)
    weigher.end_step(np.ones(3), lambda: np.array([0.5, 1.0, 0.9]))
    before = weigher.logits.copy()
    weigher.end_step(np.array([1.0, 1.0, 0.0]), lambda: np.array([0.5, 1.0, 0.0]))
    assert weigher.logits[2] == before[2]
    assert (weigher.logits[:2] != before[:2]).all()


def test_losses_below_the_floor_count_as_it():
    weigher = FAMO(floor=0.5).begin(np.ones(2), main=None, seed=0)
    assert np.array_equal(weigher.factors(np.array([1e-9, 0.5]), None), [1, 1])
    weigher.end_step(np.array([1e-9, 0.5]), lambda: np.array([1e-12, -3.0]))
    assert np.array_equal(weigher.logits, [0, 0])
