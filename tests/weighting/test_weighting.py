"""What all strategies have in common, through what the training asks of them."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from mtlearn.weighting import (
    DWA,
    FAMO,
    MGDA,
    GradCosine,
    LogSum,
    MultiplicativeWeights,
    NashMTL,
    PCGrad,
    RandomWeights,
    Uncertainty,
    Weigher,
    Weighting,
)

STRATEGIES = [
    Uncertainty(),
    LogSum(),
    DWA(),
    RandomWeights(),
    FAMO(),
    MultiplicativeWeights(),
    GradCosine(),
    GradCosine(hard=True),
    PCGrad(),
    MGDA(),
    NashMTL(),
]
OF_GRADIENTS = [strategy for strategy in STRATEGIES if strategy.sees_gradients]
OF_LOSSES = [strategy for strategy in STRATEGIES if not strategy.sees_gradients]


def each_but(*types, of=STRATEGIES):
    chosen = [strategy for strategy in of if not isinstance(strategy, types)]
    return pytest.mark.parametrize("strategy", chosen, ids=repr)


each = each_but()
each_of_gradients = each_but(of=OF_GRADIENTS)


def begin(strategy, n_outputs, main=0):
    return strategy.begin(np.ones(n_outputs), main=main, seed=3)


def train(weigher, losses, gradients):
    """Steps with the losses of each, in epochs of five; returns the factors of each step."""
    found = []
    for step, (before, vectors) in enumerate(zip(losses, gradients, strict=True)):
        found.append(weigher.factors(before, vectors @ vectors.T))
        weigher.end_step(before, lambda before=before: before / (1 + 0.1 * before))
        if step % 5 == 4:
            weigher.end_epoch(losses[step - 4 : step + 1].mean(axis=0))
    return np.array(found)


def a_training(n_outputs, n_steps=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 2, (n_steps, n_outputs)), rng.normal(size=(n_steps, n_outputs, 6))


@each
def test_pickling_in_the_middle_continues_identically(strategy):
    losses, gradients = a_training(3)
    whole = train(begin(strategy, 3), losses, gradients)
    weigher = begin(strategy, 3)
    first = train(weigher, losses[:15], gradients[:15])
    second = train(pickle.loads(pickle.dumps(weigher)), losses[15:], gradients[15:])
    assert np.array_equal(whole, np.concatenate([first, second]))
    assert whole[0].shape == (3,)


@each
def test_the_state_is_arrays_and_plain_values(strategy):
    weigher = begin(strategy, 3)
    train(weigher, *a_training(3))
    plain = int | float | bool | list | np.ndarray | np.random.Generator
    assert all(isinstance(value, plain) for value in vars(weigher).values())


@each
def test_trainings_of_one_strategy_share_nothing(strategy):
    losses, gradients = a_training(3)
    before = pickle.dumps(strategy)
    first = train(begin(strategy, 3), losses, gradients)
    assert np.array_equal(train(begin(strategy, 3), losses, gradients), first)
    assert pickle.dumps(strategy) == before


@each_but(RandomWeights, PCGrad)  # what is drawn belongs to a position
def test_permuted_outputs_have_permuted_factors(strategy):
    losses, gradients = a_training(4)
    order = np.array([2, 0, 3, 1])
    straight = train(begin(strategy, 4, main=3), losses, gradients)
    permuted = train(begin(strategy, 4, main=2), losses[:, order], gradients[:, order])
    np.testing.assert_allclose(permuted, straight[:, order], rtol=1e-8, atol=1e-10)


@each
def test_all_factors_are_finite_and_not_negative(strategy):
    losses, gradients = a_training(4)
    found = train(begin(strategy, 4), losses * 10.0 ** np.arange(-8, 8, 4), gradients)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert np.ptp(found, axis=1).max() > 0.01


@each
def test_a_single_output_is_left_alone_unless_its_own_loss_decides(strategy):
    losses, gradients = a_training(1)
    found = train(begin(strategy, 1), losses, gradients)
    if isinstance(strategy, Uncertainty | LogSum):
        assert np.ptp(found) > 0.1
    else:
        np.testing.assert_allclose(found, 1, rtol=1e-12)


@each_but(RandomWeights, DWA)  # whose factors add up to the number of all outputs
@pytest.mark.parametrize("absent", [1, 2])
def test_an_output_without_labels_disturbs_no_other(strategy, absent):
    losses, gradients = a_training(3)
    losses[:, absent], gradients[:, absent] = 0, 0
    there = np.delete(np.arange(3), absent)
    with_it = train(begin(strategy, 3), losses, gradients)
    alone = train(begin(strategy, 2), losses[:, there], gradients[:, there])
    np.testing.assert_allclose(with_it[:, there], alone, rtol=1e-10)
    np.testing.assert_array_equal(with_it[:, absent], 1)


@each
def test_a_batch_without_any_labels_is_harmless(strategy):
    losses, gradients = a_training(3)
    weigher = begin(strategy, 3)
    nothing = np.zeros(3)
    assert np.isfinite(weigher.factors(nothing, np.zeros((3, 3)))).all()
    weigher.end_step(nothing, lambda: nothing)
    if not isinstance(strategy, RandomWeights):
        expected = train(begin(strategy, 3), losses, gradients)
        assert np.array_equal(train(weigher, losses, gradients), expected)


@each
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverging_training_raises_nothing_here(strategy, bad):
    """The training itself reports it, with the output and the epoch."""
    weigher = begin(strategy, 3)
    with np.errstate(invalid="ignore"):
        factors = weigher.factors(np.array([1.0, bad, 1.0]), np.full((3, 3), bad))
    assert factors.shape == (3,)
    if strategy.sees_gradients:
        assert np.array_equal(factors, np.ones(3))


@each_of_gradients
def test_a_common_scale_of_the_gradients_changes_no_factor(strategy):
    losses, gradients = a_training(4)
    small, large = (train(begin(strategy, 4), losses, gradients * scale) for scale in (1e-8, 1e8))
    np.testing.assert_allclose(small, large, rtol=1e-6, atol=1e-9)


@each_of_gradients
def test_equal_gradients_are_summed(strategy):
    for n_outputs in (2, 5):
        vectors = np.tile(np.random.default_rng(0).normal(size=6), (n_outputs, 1))
        factors = begin(strategy, n_outputs).factors(np.ones(n_outputs), vectors @ vectors.T)
        np.testing.assert_allclose(factors @ vectors, vectors.sum(axis=0), rtol=1e-5)


@each_but(GradCosine, of=OF_GRADIENTS)  # whose main output goes its way
def test_gradients_that_cancel_each_other_leave_nothing(strategy):
    for scale in (1.0, 0.01):
        vectors = np.array([[1.0, 2.0], [-scale, -2 * scale]])
        factors = begin(strategy, 2).factors(np.ones(2), vectors @ vectors.T)
        np.testing.assert_allclose(factors @ vectors, 0, atol=1e-6)


@each_of_gradients
def test_a_gradient_of_next_to_nothing_is_none(strategy):
    _, gradients = a_training(3)
    vectors = gradients[0] * np.array([1, 1, 1e-14])[:, None]
    factors = begin(strategy, 3).factors(np.ones(3), vectors @ vectors.T)
    alone = begin(strategy, 2).factors(np.ones(2), vectors[:2] @ vectors[:2].T)
    np.testing.assert_allclose(factors, [*alone, 1], rtol=1e-9)


@each
def test_they_have_parameters_that_are_cloned_and_checked(strategy):
    other = clone(strategy)
    assert other is not strategy
    assert repr(other) == repr(strategy)
    other.check_params()
    for name in strategy.get_params():
        with pytest.raises(ValueError, match=f"'{name}' parameter of {type(strategy).__name__}"):
            clone(strategy).set_params(**{name: -1.0}).check_params()


def test_the_weights_of_losses_alone_do_not_depend_on_gradients():
    losses, gradients = a_training(3)
    for strategy in OF_LOSSES:
        found = [train(begin(strategy, 3), losses, scale * gradients) for scale in (1, 7)]
        assert np.array_equal(*found)


def test_a_strategy_must_say_how_it_begins():
    class Nothing(Weighting):
        pass

    with pytest.raises(TypeError, match=r"abstract method '?begin"):
        Nothing()


def test_a_weigher_changes_nothing_by_itself():
    class Plain(Weighting):
        def begin(self, weights, main, seed):
            return Weigher(len(weights))

    found = train(begin(Plain(), 3), *a_training(3))
    assert np.array_equal(found, np.ones((30, 3)))
