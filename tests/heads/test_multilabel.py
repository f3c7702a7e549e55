import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import accuracy_score

from mtlearn.heads import MultiLabel
from mtlearn.heads._base import BASELINE_FLOOR

N = 50


def make_y(seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((N, 3)) < [0.2, 0.5, 0.7]).astype(int)


def make_weight(seed=1):
    """Weights of which some are zero."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 4, size=(N, 3)) * (rng.random((N, 3)) < 0.8)


def fit(y, weight=None, *, normalize=True, **params):
    y = np.asarray(y)
    weight = np.ones(y.shape) if weight is None else weight
    return MultiLabel(**params).fit(y, weight, normalize=normalize)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.uint8, np.float64])
def test_zeros_and_ones_of_any_type_are_taken(dtype):
    y = make_y().astype(dtype)
    head = fit(y)
    target, weight = head.encode(y, np.ones(y.shape))
    assert target.dtype == np.float64
    np.testing.assert_array_equal(target, y)
    np.testing.assert_array_equal(weight, 1)
    decoded = head.decode(target * 8 - 4)
    np.testing.assert_array_equal(decoded, y)
    assert decoded.dtype == (dtype if dtype != np.float64 else np.int64)


def test_each_column_is_a_class():
    head = fit(make_y())
    assert head.classes_.tolist() == [0, 1, 2]
    assert head.raw_shape_ == (3,)
    assert not head.is_constant_


@pytest.mark.parametrize("missing", [None, np.nan, 7, "text"])
def test_cells_without_weight_are_never_looked_at(missing):
    y, weight = make_y(), make_weight()
    spoilt = y.astype(object)
    spoilt[weight == 0] = missing
    head, expected = fit(spoilt, weight), fit(y, weight)
    np.testing.assert_array_equal(head.constant_raw_, expected.constant_raw_)
    assert head.baseline_ == expected.baseline_
    target, encoded_weight = head.encode(spoilt, weight)
    assert np.isfinite(target).all()
    np.testing.assert_array_equal(encoded_weight, weight)


@pytest.mark.parametrize("pos_weight", [None, 3.0, [0.5, 1.0, 4.0]])
def test_the_loss_is_the_weighted_cross_entropy_of_each_cell(pos_weight):
    y = make_y()
    head = fit(y, pos_weight=pos_weight)
    raw = np.random.default_rng(0).normal(size=y.shape)
    target, _ = head.encode(y, np.ones(y.shape))
    loss = head.build_loss().to(torch.float64)
    found = loss(torch.tensor(raw), torch.tensor(target)).numpy()
    positive = np.broadcast_to(1.0 if pos_weight is None else pos_weight, (3,))
    p = expit(raw)
    np.testing.assert_allclose(found, -(positive * y * np.log(p) + (1 - y) * np.log(1 - p)))


@pytest.mark.parametrize("pos_weight", [None, 3.0, [0.5, 1.0, 4.0]])
def test_the_constant_minimises_the_mean_loss(pos_weight):
    y, weight = make_y(), make_weight()
    head = fit(y, weight, pos_weight=pos_weight)
    target, weight = head.encode(y, weight)
    constant = torch.tensor(head.constant_raw_, requires_grad=True)
    losses = head.build_loss().to(torch.float64)(constant.expand(N, 3), torch.tensor(target))
    mean_loss = (losses * torch.tensor(weight / weight.sum())).sum()
    mean_loss.backward()
    np.testing.assert_allclose(constant.grad.numpy(), 0, atol=1e-12)
    np.testing.assert_allclose(mean_loss.item(), head.baseline_)
    np.testing.assert_allclose(head.constant_loss_, 1.0)


def test_without_normalisation_nothing_is_divided():
    head = fit(make_y(), normalize=False)
    assert head.baseline_ == 1.0
    np.testing.assert_allclose(head.constant_loss_, fit(make_y()).baseline_)


def test_the_baseline_has_a_floor():
    y = np.zeros((1000, 1), dtype=int)
    y[0] = 1
    assert fit(y).baseline_ == BASELINE_FLOOR


def test_probabilities_are_sigmoids_of_the_same_type():
    raw = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    found = fit(make_y()).decode_proba(raw)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expit(raw), rtol=1e-6)


@pytest.mark.parametrize("threshold", [0.3, [0.1, 0.5, 0.9]])
def test_a_label_is_predicted_above_its_threshold(threshold):
    raw = np.random.default_rng(0).normal(size=(N, 3)) * 3
    head = fit(make_y(), threshold=threshold)
    np.testing.assert_array_equal(head.decode(raw), expit(raw) > threshold)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_a_constant_column_is_predicted_as_it_is_and_takes_no_part(threshold):
    y = make_y()
    y[:, 0], y[:, 2] = 0, 1
    head = fit(y, threshold=threshold)
    assert head.varies_.tolist() == [False, True, False]
    _, weight = head.encode(y, np.ones(y.shape))
    np.testing.assert_array_equal(weight, np.tile([0.0, 1.0, 0.0], (N, 1)))
    raw = np.random.default_rng(0).normal(size=(N, 3))
    np.testing.assert_array_equal(head.decode_proba(raw)[:, [0, 2]], [[0, 1]] * N)
    np.testing.assert_array_equal(head.decode(raw)[:, [0, 2]], [[0, 1]] * N)
    np.testing.assert_allclose(head.baseline_, fit(y[:, [1]]).baseline_)


@pytest.mark.parametrize("value", [0, 1])
def test_constant_columns_alone_are_constant(value):
    head = fit(np.full((N, 2), value))
    assert head.is_constant_
    raw = np.broadcast_to(head.constant_raw_, (3, 2)).copy()
    assert np.isfinite(raw).all()
    np.testing.assert_array_equal(head.decode(raw), value)


def test_a_column_without_labels_is_refused():
    y, weight = make_y(), np.ones((N, 3))
    weight[:, 1] = 0
    with pytest.raises(ValueError, match=r"The columns \[1\] have none"):
        fit(y, weight)


def test_the_score_is_the_weighted_share_of_rows_that_are_all_right():
    y, predicted = make_y(), make_y(seed=3)
    rows = np.random.default_rng(0).uniform(0.1, 3, N)
    found = fit(y).score(y, predicted, np.tile(rows[:, None], (1, 3)))
    np.testing.assert_allclose(found, accuracy_score(y, predicted, sample_weight=rows))


def test_the_score_leaves_missing_cells_and_rows_aside():
    y, predicted = make_y(), make_y(seed=3)
    observed = np.random.default_rng(0).random((N, 3)) < 0.6
    observed[:3] = False
    expected = [
        all(y[i, j] == predicted[i, j] for j in range(3) if observed[i, j])
        for i in range(N)
        if observed[i].any()
    ]
    spoilt = np.where(observed, y, np.nan)
    found = fit(y).score(spoilt, predicted, observed.astype(float))
    np.testing.assert_allclose(found, np.mean(expected))


@pytest.mark.parametrize("action", ["fit", "encode", "score"])
def test_other_labels_than_zero_and_one_are_refused(action):
    y = make_y()
    head, ones = fit(y), np.ones(y.shape)
    y[0, 0] = 2
    arguments = (y, y, ones) if action == "score" else (y, ones)
    with pytest.raises(ValueError, match=r"needs labels of 0 and 1\. Got \[2.0\] too"):
        getattr(head, action)(*arguments, **({"normalize": True} if action == "fit" else {}))


def test_text_is_refused():
    with pytest.raises(ValueError, match="needs labels of 0 and 1: could not convert"):
        fit(np.array([["a", "b"]]))


def test_a_single_column_of_one_dimension_is_refused():
    with pytest.raises(ValueError, match=r"needs a matrix .* Got the shape \(50,\)"):
        fit(make_y()[:, 0])


@pytest.mark.parametrize("param", ["threshold", "pos_weight"])
def test_there_must_be_one_number_or_one_for_each_label(param):
    with pytest.raises(ValueError, match=rf"`{param}` must be .* each of the 3 labels.*\(2,\)"):
        fit(make_y(), **{param: [0.5, 0.5]})


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("threshold", [0.5, 0.5, 1.5]),
        ("threshold", [0.5, 0.5, np.nan]),
        ("pos_weight", [1, 1, -1]),
        ("pos_weight", [1, 1, np.inf]),
    ],
)
def test_numbers_for_each_label_must_be_in_range(param, value):
    with pytest.raises(ValueError, match=f"`{param}` must hold finite numbers"):
        fit(make_y(), **{param: value})


@pytest.mark.parametrize(
    "params",
    [
        {"threshold": -0.1},
        {"threshold": 1.1},
        {"threshold": None},
        {"pos_weight": -1},
        {"pos_weight": -1.0},
        {"hidden_layer_sizes": (-1,)},
        {"at": 3},
        {"target": 3},
    ],
    ids=str,
)
def test_bad_parameters_are_refused_by_name(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        MultiLabel(**params).check_params()


def test_good_parameters_pass_and_survive_a_clone():
    head = MultiLabel(threshold=[0.1, 0.2], pos_weight=2, hidden_layer_sizes=[3], at="a")
    head.check_params()
    assert repr(clone(head)) == repr(head)
