import numpy as np
import pytest

from mtlearn._engine._expert_heads import ExpertHeads

RNG = np.random.default_rng(0)
WIDTHS = [3, 5, 3]


def make(widths=WIDTHS, n_raw=2, *, second_order=True, forgetting=1.0):
    return ExpertHeads(
        widths,
        variances_of(widths),
        n_raw,
        second_order=second_order,
        forgetting=forgetting,
    )


def variances_of(widths):
    return [5 / width for width in widths]


def features_of(n_rows, widths=WIDTHS, rng=RNG):
    return [rng.normal(size=(n_rows, width)) for width in widths]


def learn_squares(heads, features, target, weight=1.0):
    inputs = heads.inputs(features)
    off = heads.raw(inputs) - target
    heads.learn(inputs, 2 * weight * off, np.broadcast_to(2.0 * weight, off.shape))


def test_raw_outputs_are_linear_in_the_features_of_each_expert():
    heads, features = make(), features_of(4)
    for stack in heads.stacks:
        stack.weights[:] = RNG.normal(size=stack.weights.shape)
    raw = heads.raw(heads.inputs(features))
    for stack in heads.stacks:
        for i, expert in enumerate(stack.experts):
            expected = features[expert] @ stack.weights[i, :, 1:].T + stack.weights[i, :, 0]
            np.testing.assert_allclose(raw[expert], expected, rtol=1e-12)


def test_gradients_are_those_of_the_linear_map():
    heads, features = make(second_order=False), features_of(4)
    for stack in heads.stacks:
        stack.weights[:] = RNG.normal(size=stack.weights.shape)
    inputs, slopes = heads.inputs(features), RNG.normal(size=(3, 4, 2))
    heads.set_gradients(inputs, slopes)
    by_features = heads.feature_gradients(slopes)
    for stack in heads.stacks:
        assert stack.gradient is not None
        for i, expert in enumerate(stack.experts):
            np.testing.assert_allclose(
                by_features[expert], slopes[expert] @ stack.weights[i, :, 1:]
            )
            ones = np.column_stack([np.ones(4), features[expert]])
            np.testing.assert_allclose(stack.gradient[i], slopes[expert].T @ ones, rtol=1e-12)


def test_rows_one_by_one_and_together_end_alike_for_squares():
    features, target = features_of(20), RNG.normal(size=(20, 2))
    one, all_at_once = make(), make()
    for i in range(20):
        learn_squares(one, [part[i : i + 1] for part in features], target[i : i + 1])
    learn_squares(all_at_once, features, target)
    for single, several in zip(one.stacks, all_at_once.stacks, strict=True):
        np.testing.assert_allclose(single.weights, several.weights, rtol=1e-8)
        np.testing.assert_allclose(single.covariance, several.covariance, rtol=1e-7, atol=1e-12)


def test_the_covariance_is_the_inverse_of_prior_and_information():
    heads, features = make([3], 1), features_of(30, [3])
    learn_squares(heads, features, RNG.normal(size=(30, 1)))
    rows = np.column_stack([np.ones(30), features[0]])
    information = np.diag(1 / np.array([5, 5 / 3, 5 / 3, 5 / 3])) + 2 * rows.T @ rows
    np.testing.assert_allclose(heads.stacks[0].covariance[0, 0], np.linalg.inv(information))


def test_a_label_without_weight_changes_nothing():
    heads = make()
    learn_squares(heads, features_of(5), RNG.normal(size=(5, 2)))
    before = [stack.weights.copy() for stack in heads.stacks]
    for n_rows in (1, 6):
        learn_squares(heads, features_of(n_rows), 1.0, weight=0.0)
    for stack, weights in zip(heads.stacks, before, strict=True):
        np.testing.assert_allclose(stack.weights, weights, atol=1e-15)


def test_wider_and_more_experts_keep_what_they_have_learned():
    heads, features = make(), features_of(30)
    learn_squares(heads, features, RNG.normal(size=(30, 2)))
    before = heads.raw(heads.inputs(features))
    heads.widen([5, 5, 4, 2], variances_of([5, 5, 4, 2]))
    zeros = [np.zeros((30, n)) for n in (2, 0, 1)]
    wider = [np.column_stack(pair) for pair in zip(features, zeros, strict=True)]
    found = heads.raw(heads.inputs([*wider, np.ones((30, 2))]))
    np.testing.assert_allclose(found[:3], before, rtol=1e-12)
    np.testing.assert_array_equal(found[3], 0)
    learn_squares(heads, [*wider, np.ones((30, 2))], 1.0)
    assert np.abs(heads.raw(heads.inputs([*wider, np.ones((30, 2))]))[3] - 1).max() < 0.2


def test_rescaled_outputs_are_those_of_the_new_scale():
    heads, features = make(), features_of(30)
    learn_squares(heads, features, RNG.normal(size=(30, 2)))
    before = heads.raw(heads.inputs(features))
    factor, shift = np.array([2.0, 0.1]), np.array([-3.0, 7.0])
    heads.rescale(factor, shift)
    np.testing.assert_allclose(heads.raw(heads.inputs(features)), factor * before + shift)


def test_new_outputs_are_made_of_those_there_are():
    heads, features = make(), features_of(30)
    learn_squares(heads, features, RNG.normal(size=(30, 2)))
    before = heads.raw(heads.inputs(features))
    heads.reshape([(1, 0.5), None, (0, -1.0)], bias=-4.0)
    found = heads.raw(heads.inputs(features))
    np.testing.assert_allclose(found[..., 0], 0.5 * before[..., 1])
    np.testing.assert_array_equal(found[..., 1], -4.0)
    np.testing.assert_allclose(found[..., 2], -before[..., 0])


@pytest.mark.parametrize("n_rows", [1, 8])
@pytest.mark.parametrize("forgetting", [1.0, 0.999, 0.9])
def test_the_covariance_stays_positive_definite_over_many_rows(forgetting, n_rows):
    rng = np.random.default_rng(0)
    heads = make([12], 1, forgetting=forgetting)
    mixing = rng.normal(size=(12, 12)) * np.logspace(0, -3, 12)
    for _ in range(20_000):
        inputs = heads.inputs([rng.normal(size=(n_rows, 12)) @ mixing])
        p = 1 / (1 + np.exp(-heads.raw(inputs)))
        heads.learn(inputs, p - rng.integers(0, 2, p.shape), p * (1 - p))
    covariance = heads.stacks[0].covariance
    assert covariance is not None
    assert np.linalg.eigvalsh(covariance[0, 0]).min() > 0
    assert np.diagonal(covariance[0, 0]).max() <= 5 + 1e-9


def test_forgetting_weighs_rows_by_their_age():
    rng = np.random.default_rng(0)
    heads = make([2], 1, forgetting=0.95)
    rows, target = rng.normal(size=(300, 2)), rng.normal(size=300)
    for row, label in zip(rows, target, strict=True):
        learn_squares(heads, [row[None]], label)
    age = 0.95 ** np.arange(300)[::-1]
    Z = np.column_stack([np.ones(300), rows])
    expected = np.linalg.solve(Z.T @ (age[:, None] * Z), Z.T @ (age * target))
    np.testing.assert_allclose(heads.stacks[0].weights[0, 0], expected, atol=1e-3)
