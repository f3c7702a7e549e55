"""The mean of what epochs recorded, and its standard error."""

import numpy as np
import pytest

from mtlearn.inspection._gradient_history import mean_and_error


def simulated(n, r, rng):
    """Values with the mean 0, of which each has the correlation `r` with the one before."""
    values = [rng.normal()]
    for noise in np.sqrt(1 - r**2) * rng.normal(size=n - 1):
        values.append(r * values[-1] + noise)
    return np.array(values)


@pytest.mark.parametrize("r", [0.0, 0.5, 0.8])
def test_the_mean_is_within_two_errors_also_if_epochs_are_alike(r):
    rng = np.random.default_rng(0)
    series = [simulated(100, r, rng) for _ in range(400)]
    found = np.array([mean_and_error(values) for values in series])
    np.testing.assert_allclose(found[:, 0], [values.mean() for values in series])
    assert np.mean(abs(found[:, 0]) < 2 * found[:, 1]) > 0.85
    assert np.median(found[:, 1]) == pytest.approx(found[:, 0].std(), rel=0.2)
    if r == 0.8:
        ordinary = np.array([values.std(ddof=1) / 10 for values in series])
        assert np.mean(abs(found[:, 0]) < 2 * ordinary) < 0.7


def test_of_equal_values_there_is_no_error_and_of_two_it_is_not_known():
    assert mean_and_error(np.full(5, -0.25)) == (-0.25, 0.0)
    assert mean_and_error(np.array([-0.5, -0.5])) == (-0.5, np.inf)


def test_values_that_alternate_are_not_taken_for_more_than_there_are():
    values = np.array([1.0, -1.0] * 8)
    assert mean_and_error(values)[1] == pytest.approx(values.std(ddof=1) / 4)
