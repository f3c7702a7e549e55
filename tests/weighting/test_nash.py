import numpy as np
import pytest
from scipy.optimize import minimize

from mtlearn.weighting import NashMTL


def factors(vectors):
    n_outputs = len(vectors)
    weigher = NashMTL().begin(np.ones(n_outputs), main=None, seed=0)
    return weigher.factors(np.ones(n_outputs), vectors @ vectors.T)


def draw(seed, n_outputs, n_parameters=None):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-3, 3, (n_outputs, 1))
    return sizes * rng.normal(size=(n_outputs, n_parameters or n_outputs + 3))


def direction(vectors):
    update = factors(vectors) @ vectors
    return update / np.linalg.norm(update)


@pytest.mark.parametrize("n_outputs", [2, 3, 5, 10])
def test_the_factors_solve_the_equation_up_to_a_common_number(n_outputs):
    for seed in range(10):
        vectors = draw(seed, n_outputs)
        found = factors(vectors)
        products = found * (vectors @ vectors.T @ found)
        np.testing.assert_allclose(products, products.mean(), rtol=1e-3)
        assert (found > 0).all()
        assert found.mean() == pytest.approx(1)


@pytest.mark.parametrize("n_outputs", [2, 3, 4])
def test_the_update_has_the_largest_product_of_gains(n_outputs):
    """The bargain itself, over the directions of the gradients' own space."""
    for seed in range(5):
        vectors = draw(seed, n_outputs, n_outputs)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

        def loss(x, units=units):
            gains = units @ x / np.linalg.norm(x)
            return -np.log(gains).sum() if (gains > 0).all() else 1e3 - gains.min()

        start = np.linalg.solve(units, np.ones(n_outputs))  # where all gain
        best = minimize(
            loss,
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20_000, "maxfev": 20_000},
        )
        assert loss(direction(vectors)) <= best.fun + 1e-4


def test_two_outputs_have_the_sum_of_directions():
    for seed in range(10):
        vectors = draw(seed, 2)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        expected = units.sum(axis=0)
        np.testing.assert_allclose(direction(vectors), expected / np.linalg.norm(expected))


def test_newtons_method_agrees_with_the_formula():
    vectors = np.array([[3.0, 0.0, 0.0], [-2.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    two = factors(vectors[:2])
    three = factors(vectors)[:2]  # the third has nothing to do with the others
    assert three[0] / three[1] == pytest.approx(two[0] / two[1], rel=1e-4)


@pytest.mark.parametrize("n_outputs", [2, 3, 6])
def test_the_scale_of_a_loss_changes_no_direction(n_outputs):
    vectors = draw(0, n_outputs)
    for scale in (1e-6, 1e-2, 1e4):
        scaled = vectors * np.r_[scale, np.ones(n_outputs - 1)][:, None]
        np.testing.assert_allclose(direction(scaled), direction(vectors), atol=1e-6)


def test_every_loss_falls_where_all_can():
    for seed in range(20):
        vectors = draw(seed, 4, 8)
        assert (vectors @ direction(vectors) > 0).all()


def test_where_gradients_cancel_it_comes_to_rest():
    corners = np.array([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    for sizes in ([1, 1, 1], [1, 100, 0.01]):
        vectors = corners * np.array(sizes)[:, None]
        found = factors(vectors)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found @ vectors, 0, atol=1e-4 * np.abs(vectors).max())


def test_gradients_in_float32_are_good_enough():
    for seed in range(20):
        vectors = np.random.default_rng(seed).normal(size=(5, 30)).astype(np.float32)
        vectors[1] = -vectors[0]
        found = factors(vectors)
        assert np.isfinite(found).all()
        assert (found > 0).all()
