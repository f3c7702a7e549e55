import numpy as np
import pytest

from mtlearn.weighting import MGDA


def factors(vectors):
    n_outputs = len(vectors)
    weigher = MGDA().begin(np.ones(n_outputs), main=None, seed=0)
    return weigher.factors(np.ones(n_outputs), vectors @ vectors.T)


def shortest(vectors, n_steps=20_000):
    """The shortest mixture by Frank and Wolfe's method on the gradients themselves."""
    mixture = vectors.mean(axis=0)
    for _ in range(n_steps):
        corner = vectors[(vectors @ mixture).argmin()]
        along = corner - mixture
        if along @ along == 0 or mixture @ along >= 0:
            break
        mixture = mixture + min(1.0, -(mixture @ along) / (along @ along)) * along
    return mixture


@pytest.mark.parametrize(("n_outputs", "n_parameters"), [(2, 3), (3, 2), (3, 8), (6, 4), (12, 30)])
def test_the_update_is_the_shortest_mixture(n_outputs, n_parameters):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(n_outputs, n_parameters)) * rng.lognormal(size=(n_outputs, 1))
        found = factors(vectors)
        assert (found >= 0).all()
        assert found.sum() == pytest.approx(n_outputs)
        update = found / n_outputs @ vectors
        expected = shortest(vectors)
        assert np.linalg.norm(update) <= np.linalg.norm(expected) + 1e-6
        np.testing.assert_allclose(update, expected, atol=2e-3 * np.abs(vectors).max())


@pytest.mark.parametrize("n_outputs", [2, 3, 5, 10])
def test_no_gradient_gains_less_than_the_square_of_its_length(n_outputs):
    """The condition for the shortest mixture, which holds for nothing else in the hull."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sizes = 10.0 ** rng.uniform(-4, 4, (n_outputs, 1))
        vectors = sizes * rng.normal(size=(n_outputs, n_outputs + 2))
        update = factors(vectors) / n_outputs @ vectors
        gains = vectors @ update / np.linalg.norm(vectors, axis=1)
        assert (
            gains >= update @ update / np.linalg.norm(vectors, axis=1) - 1e-9 * sizes.min()
        ).all()


def test_no_loss_rises_where_all_can_fall():
    for seed in range(20):
        vectors = np.random.default_rng(seed).normal(size=(4, 10))
        update = factors(vectors) @ vectors
        assert (vectors @ update > 0).all()


def test_it_is_zero_where_no_direction_lowers_all_losses():
    corners = np.array([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    for sizes in ([1, 1, 1], [1, 100, 0.01]):
        vectors = corners * np.array(sizes)[:, None]
        np.testing.assert_allclose(factors(vectors) @ vectors, 0, atol=1e-9)


def test_the_shorter_gradient_has_more_say():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
    shares = [factors(vectors * [[1], [size]])[1] for size in (0.1, 1.0, 10.0)]
    assert shares[0] > shares[1] == 1 > shares[2]


@pytest.mark.parametrize("n_outputs", [2, 4])
def test_a_gradient_beside_its_multiple_is_taken_alone(n_outputs):
    vectors = np.outer(np.arange(1, n_outputs + 1), [3.0, 4.0])
    np.testing.assert_allclose(factors(vectors) / n_outputs @ vectors, [3, 4])


def test_gradients_in_float32_are_good_enough():
    for seed in range(20):
        vectors = np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32)
        vectors[1] = vectors[0]
        found = factors(vectors)
        assert np.isfinite(found).all()
        exact = factors(vectors.astype(np.float64))
        np.testing.assert_allclose(found @ vectors, exact @ vectors, atol=1e-3)
