import numpy as np
import pytest

from mtlearn import MultiOutputNet
from mtlearn.heads import Classification
from mtlearn.trunks import Hedge
from mtlearn.weighting import MultiplicativeWeights


def begin(n_experts, **params):
    return MultiplicativeWeights(**params).begin(np.ones(n_experts), main=None, seed=0)


def test_the_weights_are_those_of_the_hedge_algorithm():
    rng = np.random.default_rng(0)
    losses = rng.uniform(0, 1, (30, 4))
    weigher = begin(4, rate=0.3, floor=0.0)
    for row in losses:
        weigher.factors(row, None)
    expected = np.exp(-0.3 * losses.sum(axis=0))
    np.testing.assert_allclose(weigher.weights, expected / expected.sum(), rtol=1e-12)
    before = weigher.weights
    np.testing.assert_allclose(weigher.factors(losses[0], None), 4 * before)


def test_the_regret_is_within_its_bound_whatever_the_losses():
    rng = np.random.default_rng(0)
    n_steps, n_experts = 500, 5
    rate = np.sqrt(8 * np.log(n_experts) / n_steps)
    for kind in range(3):
        losses = rng.uniform(0, 1, (n_steps, n_experts))
        if kind == 1:  # each expert good in turn
            losses = (np.arange(n_steps)[:, None] // 100 != np.arange(n_experts)).astype(float)
        weigher, total = begin(n_experts, rate=rate, floor=0.0), 0.0
        for row in losses:
            if kind == 2:  # the losses of an adversary, who hits the largest weight
                row[:] = weigher.weights == weigher.weights.max()
            total += weigher.weights @ row
            weigher.learn(row[None])
        bound = np.sqrt(n_steps * np.log(n_experts) / 2)
        assert total - losses.sum(axis=0).min() <= bound


def test_no_weight_falls_below_the_floor():
    weigher = begin(4, rate=1.0, floor=0.2)
    for _ in range(50):
        weigher.learn(np.array([0.0, 3.0, 3.0, 3.0])[None])
    assert weigher.weights.sum() == pytest.approx(1)
    assert weigher.weights.min() == pytest.approx(0.05, rel=0.2)
    assert weigher.weights.argmax() == 0


def test_losses_count_up_to_the_clip():
    far, near = begin(2, clip=1.0), begin(2, clip=1.0)
    far.learn(np.array([0.0, 1e9])[None])
    near.learn(np.array([0.0, 1.0])[None])
    np.testing.assert_array_equal(far.weights, near.weights)
    huge = begin(3)
    huge.learn(np.full((1000, 3), 5.0))
    np.testing.assert_allclose(huge.weights, 1 / 3)


def test_absent_experts_keep_their_weight():
    weigher = begin(3, rate=0.5, floor=0.0)
    weigher.learn(np.array([[1.0, 9.0, 2.0]]), np.array([[True, False, True]]))
    expected = np.exp([-0.5, -1.0])
    np.testing.assert_allclose(weigher.weights[[0, 2]], 2 / 3 * expected / expected.sum())
    assert weigher.weights[1] == pytest.approx(1 / 3)
    weigher.learn(np.ones((1, 3)), np.zeros((1, 3), bool))
    assert weigher.weights.sum() == pytest.approx(1)


def test_as_aux_net_has_it_an_absence_is_no_loss():
    weigher = begin(3, rate=0.5, floor=0.0, sleeping=False)
    weigher.learn(np.array([[1.0, 9.0, 2.0]]), np.array([[True, False, True]]))
    expected = np.exp([-0.5, 0.0, -1.0])
    np.testing.assert_allclose(weigher.weights, expected / expected.sum())


def test_new_experts_get_an_equal_share():
    weigher = begin(2, rate=1.0)
    weigher.learn(np.array([0.0, 1.0])[None])
    odds = weigher.weights[0] / weigher.weights[1]
    weigher.widen(4)
    np.testing.assert_allclose(weigher.weights[2:], 0.25)
    assert weigher.weights.sum() == pytest.approx(1)
    assert weigher.weights[0] / weigher.weights[1] == pytest.approx(odds)


def test_it_weighs_the_depths_of_a_network_in_fit_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")  # nothing for a linear model
    heads = {n: Classification(at=n, target="y") for n in ("linear", "hidden_1", "hidden_2")}
    net = MultiOutputNet(
        Hedge((32, 16), masked=False),
        heads,
        weighting=MultiplicativeWeights(rate=0.1),
        main_output="hidden_2",
        learning_rate=0.01,
        max_epochs=30,
        random_state=0,
    ).fit(X, {"y": y})
    last = net.history_[-1]
    assert last["hidden_2_weight"] + last["hidden_1_weight"] > 4 * last["linear_weight"]
