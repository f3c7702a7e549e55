import numpy as np

from mtlearn.weighting import RandomWeights


def draw(n_steps, seed=0, n_outputs=3):
    weigher = RandomWeights().begin(np.ones(n_outputs), main=None, seed=seed)
    return np.array([weigher.factors(np.ones(n_outputs), None) for _ in range(n_steps)])


def test_they_are_positive_and_add_up_to_the_number_of_outputs():
    found = draw(100)
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 3)
    assert len(np.unique(found)) == 300


def test_their_logarithms_are_normal_up_to_a_common_number():
    """Differences of two have the standard deviation of two normal draws."""
    logs = np.log(draw(4000))
    differences = logs[:, 0] - logs[:, 1]
    assert abs(differences.mean()) < 0.1
    assert abs(differences.std() - np.sqrt(2)) < 0.06
    np.testing.assert_allclose(draw(4000).mean(axis=0), 1, atol=0.05)


def test_the_seed_decides():
    assert np.array_equal(draw(10, seed=5), draw(10, seed=5))
    assert not np.array_equal(draw(10, seed=5), draw(10, seed=6))
