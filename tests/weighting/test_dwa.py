import numpy as np
import pytest
import torch

from mtlearn.weighting import DWA


def test_the_factors_are_those_of_the_paper():
    rng = np.random.default_rng(0)
    epochs = rng.uniform(0.1, 2, (6, 3))
    weigher = DWA(temperature=1.5).begin(np.ones(3), main=None, seed=0)
    for t, losses in enumerate(epochs):
        found = weigher.factors(np.ones(3), None)
        ratios = torch.tensor(epochs[t - 1] / epochs[t - 2]) if t >= 2 else torch.ones(3)
        np.testing.assert_allclose(found, 3 * torch.softmax(ratios / 1.5, 0), rtol=1e-12)
        weigher.end_epoch(losses)


def test_slow_outputs_get_more_and_a_high_temperature_evens_it_out():
    spreads = []
    for temperature in (0.5, 2.0, 100.0):
        weigher = DWA(temperature).begin(np.ones(2), main=None, seed=0)
        for losses in ([1.0, 1.0], [0.5, 0.9]):
            weigher.end_epoch(np.array(losses))
        fast, slow = weigher.factors(np.ones(2), None)
        assert fast + slow == pytest.approx(2)
        spreads.append(slow - fast)
    assert spreads[0] > spreads[1] > spreads[2] > 0


def test_the_scale_of_a_loss_does_not_matter():
    found = []
    for scale in (1.0, 1e6):
        weigher = DWA().begin(np.ones(2), main=None, seed=0)
        for losses in ([1.0, 1.0], [0.5, 0.9]):
            weigher.end_epoch(np.array(losses) * [scale, 1])
        found.append(weigher.factors(np.ones(2), None))
    np.testing.assert_allclose(*found)


def test_it_changes_between_epochs_alone():
    assert not DWA.sees_steps
    assert not DWA.sees_gradients
    weigher = DWA().begin(np.ones(2), main=None, seed=0)
    for losses in ([1.0, 0.0], [0.5, 0.0]):  # the second output has no labels at all
        weigher.end_epoch(np.array(losses))
    first = weigher.factors(np.array([1.0, 2.0]), None)
    assert np.isfinite(first).all()
    assert np.array_equal(weigher.factors(np.array([7.0, 0.1]), None), first)
