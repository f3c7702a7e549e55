import numpy as np
import pytest

from mtlearn.weighting import GradCosine


def update(vectors, main, **params):
    n_outputs = len(vectors)
    weigher = GradCosine(**params).begin(np.ones(n_outputs), main=main, seed=0)
    return weigher.factors(np.ones(n_outputs), vectors @ vectors.T) @ vectors


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("n_outputs", [2, 3, 6])
@pytest.mark.parametrize("hard", [False, True])
def test_the_update_is_that_of_the_gradients_themselves(n_outputs, hard):
    for seed in range(10):
        vectors = np.random.default_rng(seed).normal(size=(n_outputs, 4))
        main = seed % n_outputs
        expected = vectors[main].copy()
        for vector in np.delete(vectors, main, axis=0):
            agreement = cosine(vectors[main], vector)
            expected += (agreement > 0 if hard else max(0, agreement)) * vector
        np.testing.assert_allclose(update(vectors, main, hard=hard), expected, atol=1e-12)
        assert expected @ vectors[main] >= vectors[main] @ vectors[main]


def test_the_scale_of_an_auxiliary_loss_scales_its_part_alone():
    vectors = np.random.default_rng(1).normal(size=(3, 3))
    scaled = vectors * np.array([1, 50, 1])[:, None]
    by_one, by_more = (
        GradCosine().begin(np.ones(3), main=0, seed=0).factors(np.ones(3), v @ v.T)
        for v in (vectors, scaled)
    )
    np.testing.assert_allclose(by_one, by_more)


def test_a_batch_without_labels_of_the_main_output_teaches_the_others():
    vectors = np.array([[0.0, 0.0], [1.0, 2.0], [-1.0, 1.0]])
    np.testing.assert_array_equal(update(vectors, 0), vectors.sum(axis=0))


def test_without_a_main_output_there_is_nothing_to_agree_with():
    with pytest.raises(ValueError, match=r"^GradCosine needs a main output.*`main_output`"):
        GradCosine().begin(np.ones(2), main=None, seed=0)
