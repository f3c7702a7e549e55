import numpy as np
from sklearn.base import clone

from mtlearn.weighting import Linear


def test_it_goes_in_equal_steps_and_stays():
    weights = [Linear(2.0, 0.5, epochs=3)(epoch) for epoch in range(6)]
    np.testing.assert_allclose(weights, [2.0, 1.5, 1.0, 0.5, 0.5, 0.5])


def test_it_may_rise():
    assert Linear(0.0, 1.0, epochs=4)(1) == 0.25


def test_it_has_parameters():
    schedule = clone(Linear(0.3).set_params(epochs=5))
    assert schedule.get_params() == {"start": 0.3, "end": 0.0, "epochs": 5}
