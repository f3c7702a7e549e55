import itertools

import numpy as np
import pytest

from mtlearn.weighting import PCGrad


def begin(n_outputs, seed=0):
    return PCGrad().begin(np.ones(n_outputs), main=None, seed=seed)


def project(vectors, orders):
    """The paper's algorithm on the gradients themselves, with the order for each of them."""
    total = np.zeros(vectors.shape[1])
    for k, order in enumerate(orders):
        projected = vectors[k].copy()
        for j in order:
            if j != k and projected @ vectors[j] < 0:
                projected -= projected @ vectors[j] / (vectors[j] @ vectors[j]) * vectors[j]
        total += projected
    return total


def updates(vectors, n_draws):
    weigher, products = begin(len(vectors)), vectors @ vectors.T
    found = [weigher.factors(np.ones(len(vectors)), products) @ vectors for _ in range(n_draws)]
    return np.unique(np.round(found, 9), axis=0)


def all_updates(vectors):
    n_outputs = len(vectors)
    orders = list(itertools.permutations(range(n_outputs)))
    found = [project(vectors, chosen) for chosen in itertools.product(orders, repeat=n_outputs)]
    return np.unique(np.round(found, 9), axis=0)


def test_two_gradients_are_projected_as_they_are_by_hand():
    for seed in range(20):
        vectors = np.random.default_rng(seed).normal(size=(2, 3))
        np.testing.assert_allclose(updates(vectors, 3), all_updates(vectors), atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_three_gradients_are_projected_in_every_order(seed):
    vectors = np.random.default_rng(seed).normal(size=(3, 2))
    expected = all_updates(vectors)
    np.testing.assert_allclose(updates(vectors, 600), expected, atol=1e-8)


def test_some_of_these_do_depend_on_the_order():
    counts = [len(all_updates(np.random.default_rng(s).normal(size=(3, 2)))) for s in range(4)]
    assert max(counts) > 1


@pytest.mark.parametrize("n_outputs", [5, 8])
def test_more_gradients_are_projected_in_the_orders_that_are_drawn(n_outputs):
    for seed in range(5):
        vectors = np.random.default_rng(seed).normal(size=(n_outputs, 4))
        generator = np.random.default_rng(seed)
        orders = [generator.permutation(n_outputs) for _ in range(n_outputs)]
        factors = begin(n_outputs, seed).factors(np.ones(n_outputs), vectors @ vectors.T)
        np.testing.assert_allclose(factors @ vectors, project(vectors, orders), atol=1e-9)


def test_permuted_outputs_have_the_same_updates():
    vectors = np.random.default_rng(1).normal(size=(3, 2))
    found = updates(vectors, 600)
    np.testing.assert_allclose(updates(vectors[[2, 0, 1]], 600), found, atol=1e-8)


@pytest.mark.parametrize("n_outputs", [2, 4])
def test_without_a_conflict_it_is_the_plain_sum(n_outputs):
    vectors = np.abs(np.random.default_rng(0).normal(size=(n_outputs, 3)))
    factors = begin(n_outputs).factors(np.ones(n_outputs), vectors @ vectors.T)
    np.testing.assert_array_equal(factors, np.ones(n_outputs))


def test_two_outputs_never_conflict_with_the_update():
    for seed in range(20):
        vectors = np.random.default_rng(seed).normal(size=(2, 2)) * [[1], [1e3]]
        (found,) = updates(vectors, 1)
        assert (vectors @ found >= -1e-6).all()
