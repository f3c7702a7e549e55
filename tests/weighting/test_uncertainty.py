import numpy as np
import pytest
import torch
from torch import nn

from mtlearn.weighting import LogSum, Uncertainty


def begin(n_outputs, **params):
    return Uncertainty(**params).begin(np.ones(n_outputs), main=None, seed=0)


def test_the_steps_are_those_of_gradient_descent_on_the_total_of_the_paper():
    losses = np.random.default_rng(0).uniform(0.3, 3, (40, 3))
    weigher = begin(3, learning_rate=0.2)
    v = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([v], lr=0.2)
    for batch in losses:
        np.testing.assert_allclose(weigher.factors(batch, None), v.detach().neg().exp())
        optimizer.zero_grad()
        (torch.tensor(batch) * torch.exp(-v) / 2 + v / 2).sum().backward()
        optimizer.step()
    assert v.abs().max() > 0.1


def test_losses_that_stay_have_variances_of_their_size_and_the_factors_of_a_sum_of_logarithms():
    losses = np.array([0.1, 0.5, 1.0, 4.0])
    weigher = begin(4)
    for _ in range(1000):
        factors = weigher.factors(losses, None)
    np.testing.assert_allclose(weigher.log_variances, np.log(losses), atol=1e-6)
    of_logs = LogSum().begin(np.ones(4), main=None, seed=0).factors(losses, None)
    np.testing.assert_allclose(factors, of_logs, rtol=1e-6)


def test_all_factors_are_one_at_the_beginning():
    assert np.array_equal(begin(2).factors(np.array([0.1, 9.0]), None), [1, 1])


def test_the_factors_stay_within_their_limit():
    weigher = begin(3, limit=1.0)
    for _ in range(2000):
        factors = weigher.factors(np.array([1e-9, 1e9, -3.0]), None)
    np.testing.assert_allclose(factors, np.exp([1, -1, 1]))


def test_an_output_without_labels_keeps_its_variance():
    weigher = begin(2)
    for _ in range(50):
        weigher.factors(np.array([0.5, 0.5]), None)
    before = weigher.log_variances
    for _ in range(50):
        weigher.factors(np.array([0.5, 0.0]), None)
    assert weigher.log_variances[1] == before[1]
    assert weigher.log_variances[0] < before[0]


@pytest.mark.parametrize("limit", [3.0, 10.0])
def test_separable_data_keep_everything_finite(limit):
    """The losses go to 0, and the variances would go to 0 with them."""
    rng = np.random.default_rng(0)
    X = torch.tensor(rng.normal(size=(20, 30)))
    y = torch.tensor(rng.integers(0, 2, (20, 2)).astype(float))
    torch.manual_seed(0)
    model = nn.Linear(30, 2, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    weigher = begin(2, limit=limit, learning_rate=0.5)
    for _ in range(500):
        raw = model(X)
        losses = nn.functional.binary_cross_entropy_with_logits(raw, y, reduction="none").mean(0)
        factors = weigher.factors(losses.detach().numpy(), None)
        optimizer.zero_grad()
        (torch.tensor(factors) * losses).sum().backward()
        optimizer.step()
    assert losses.max() < 1e-3
    assert all(p.isfinite().all() for p in model.parameters())
    np.testing.assert_allclose(factors, np.exp(np.minimum(-weigher.log_variances, limit)), 0.3)
    assert factors.max() <= np.exp(limit) * (1 + 1e-12)
