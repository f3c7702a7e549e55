import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import entropy
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from mtlearn.heads import Classification
from mtlearn.heads._base import BASELINE_FLOOR

N = 60
KINDS = {2: ["a", "b"], 3: ["a", "b", "c"], 5: ["a", "b", "c", "d", "e"]}
n_classes_2_3_5 = pytest.mark.parametrize("n_classes", [2, 3, 5])


def make_y(n_classes, seed=0):
    rng = np.random.default_rng(seed)
    shares = np.arange(1, n_classes + 1) / sum(range(1, n_classes + 1))
    return np.r_[KINDS[n_classes], rng.choice(KINDS[n_classes], N - n_classes, p=shares)]


def make_weight(seed=1):
    """Weights of which some are zero, but none of the first five."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 4, size=N) * ((rng.random(N) < 0.8) | (np.arange(N) < 5))


def fit(y, weight=None, *, normalize=True, **params):
    y = np.asarray(y)
    weight = np.ones(len(y)) if weight is None else weight
    return Classification(**params).fit(y, weight, normalize=normalize)


def shares_of(y, weight, epsilon=0.0):
    """The weighted and smoothed class frequencies."""
    classes = np.unique(y)
    shares = np.array([weight[y == k].sum() for k in classes]) / weight.sum()
    return (1 - epsilon) * shares + epsilon / len(classes)


# Classes


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([3, 1, 2], [1, 2, 3]),
        ([0.5, -1.0, 0.5], [-1.0, 0.5]),
        ([True, False, True], [False, True]),
        (np.array(["b", "a"], dtype=object), ["a", "b"]),
        (np.array([2, 1], dtype=object), [1, 2]),
        (np.array(["2020-02-01", "2020-01-01"], dtype="M8[D]"), ["2020-01-01", "2020-02-01"]),
    ],
)
def test_the_classes_are_the_sorted_labels(y, classes):
    head = fit(y)
    np.testing.assert_array_equal(head.classes_.astype(str), np.array(classes).astype(str))
    codes, _ = head.encode(np.asarray(y), np.ones(len(y)))
    np.testing.assert_array_equal(head.classes_[codes.astype(int)], y)


def test_labels_without_weight_are_never_looked_at():
    y = np.array(["a", None, "b", 3, np.nan, "c"], dtype=object)
    weight = np.array([1.0, 0, 1, 0, 0, 1])
    head = fit(y, weight)
    assert head.classes_.tolist() == ["a", "b", "c"]
    codes, encoded_weight = head.encode(y, weight)
    assert codes[weight > 0].tolist() == [0, 1, 2]
    assert codes.dtype == np.int64
    np.testing.assert_array_equal(encoded_weight, weight)


@pytest.mark.parametrize(
    ("y", "kind"), [([1, None, 2], "i"), ([True, None, False], "b"), ([1.5, None, 2.5], "f")]
)
def test_none_among_numbers_leaves_classes_that_are_numbers(y, kind):
    head = fit(np.array(y, dtype=object), np.array([1.0, 0, 1]))
    assert head.classes_.dtype.kind == kind


@pytest.mark.parametrize("classes", [["c", "a", "b"], ["c", "z", "b", "a"]])
def test_declared_classes_keep_their_order_and_columns(classes):
    y = np.array(["a", "b", "c", "a"])
    head = fit(y, classes=classes)
    assert head.classes_.tolist() == classes
    assert head.raw_shape_ == (len(classes),)
    codes, _ = head.encode(y, np.ones(4))
    assert codes.tolist() == [classes.index(label) for label in y]
    raw = np.full((4, len(classes)), -9.0)
    raw[np.arange(4), codes] = 9
    assert head.decode(raw).tolist() == y.tolist()
    assert head.decode_proba(raw).argmax(axis=1).tolist() == codes.tolist()


def test_two_declared_classes_keep_their_order():
    head = fit(["no", "yes", "no"], classes=["yes", "no"])
    assert head.raw_shape_ == ()
    codes, _ = head.encode(np.array(["no", "yes"]), np.ones(2))
    assert codes.tolist() == [1.0, 0.0]
    assert head.decode(np.array([3.0, -3.0])).tolist() == ["no", "yes"]
    np.testing.assert_allclose(head.constant_raw_, np.log(2))


@n_classes_2_3_5
def test_decoding_inverts_encoding(n_classes):
    y = make_y(n_classes)
    head = fit(y)
    codes, _ = head.encode(y, np.ones(N))
    raw = codes * 8 - 4 if n_classes == 2 else 8 * np.eye(n_classes)[codes]
    np.testing.assert_array_equal(head.decode(raw), y)


def test_probabilities_are_sigmoids_and_softmaxes():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=7) * 3
    expected = np.column_stack([expit(-raw), expit(raw)])
    np.testing.assert_allclose(fit(make_y(2)).decode_proba(raw), expected)
    raw = rng.normal(size=(7, 3)) * 3
    np.testing.assert_allclose(fit(make_y(3)).decode_proba(raw), softmax(raw, axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_raw_outputs_have_finite_probabilities_of_the_same_type(dtype):
    for n_classes, raw in [(2, [1e4, -1e4, 0]), (3, [[1e4, 0, -1e4]] * 3)]:
        found = fit(make_y(n_classes)).decode_proba(np.array(raw, dtype=dtype))
        assert found.dtype == dtype
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


# A single class


@pytest.mark.parametrize("normalize", [True, False])
def test_a_single_class_is_constant_and_certain(normalize):
    head = fit(["a"] * 4, normalize=normalize)
    assert head.is_constant_
    assert head.raw_shape_ == ()
    raw = np.zeros(3, dtype=np.float32)
    assert head.decode(raw).tolist() == ["a"] * 3
    np.testing.assert_array_equal(head.decode_proba(raw), np.ones((3, 1)))
    assert head.score(np.array(["a"] * 3), head.decode(raw), np.ones(3)) == 1.0


@pytest.mark.parametrize("classes", [["a", "b"], ["c", "a", "b"]])
def test_one_observed_class_of_several_declared_ones_is_constant(classes):
    head = fit(["a"] * 4, classes=classes)
    assert head.is_constant_
    raw = np.broadcast_to(head.constant_raw_, (3, *head.raw_shape_)).copy()
    assert head.decode(raw).tolist() == ["a"] * 3
    expected = np.tile([float(label == "a") for label in classes], (3, 1))
    np.testing.assert_allclose(head.decode_proba(raw), expected, atol=1e-12)
    assert not fit(["a"] * 4, classes=classes, normalize=False).is_constant_


# Losses and baselines


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.6])
@n_classes_2_3_5
def test_the_loss_is_the_smoothed_cross_entropy(n_classes, epsilon):
    y = make_y(n_classes)
    head = fit(y, label_smoothing=epsilon)
    codes, _ = head.encode(y, np.ones(N))
    raw = np.random.default_rng(0).normal(size=(N, *head.raw_shape_))
    found = head.build_loss()(torch.tensor(raw), torch.tensor(codes)).numpy()
    wanted = (1 - epsilon) * (y[:, None] == head.classes_) + epsilon / n_classes
    expected = -(wanted * np.log(head.decode_proba(raw))).sum(axis=1)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
@n_classes_2_3_5
def test_the_baseline_is_the_entropy_of_the_smoothed_weighted_frequencies(n_classes, epsilon):
    y, weight = make_y(n_classes), make_weight()
    head = fit(y, weight, label_smoothing=epsilon)
    np.testing.assert_allclose(head.baseline_, entropy(shares_of(y, weight, epsilon)))
    np.testing.assert_allclose(head.constant_loss_, 1.0)
    raw = np.broadcast_to(head.constant_raw_, (1, *head.raw_shape_)).copy()
    np.testing.assert_allclose(head.decode_proba(raw)[0], shares_of(y, weight, epsilon))


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 3.0, "b": 0.5}])
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
@n_classes_2_3_5
def test_the_constant_minimises_the_mean_loss(n_classes, epsilon, class_weight):
    y, weight = make_y(n_classes), make_weight()
    head = fit(y, weight, label_smoothing=epsilon, class_weight=class_weight)
    codes, weight = head.encode(y, weight)
    constant = torch.tensor(head.constant_raw_, requires_grad=True)
    losses = head.build_loss()(constant.expand(N, *head.raw_shape_), torch.tensor(codes))
    mean_loss = (losses * torch.tensor(weight / weight.sum())).sum()
    mean_loss.backward()
    np.testing.assert_allclose(constant.grad.numpy(), 0, atol=1e-12)
    np.testing.assert_allclose(mean_loss.item(), head.baseline_)


def test_the_baseline_has_a_floor():
    y = ["a"] * 999 + ["b"]
    head = fit(y)
    assert head.baseline_ == BASELINE_FLOOR
    np.testing.assert_allclose(head.constant_loss_, entropy([0.999, 0.001]) / BASELINE_FLOOR)


def test_without_normalisation_nothing_is_divided():
    y = make_y(3)
    head = fit(y, normalize=False)
    assert head.baseline_ == 1.0
    np.testing.assert_allclose(head.constant_loss_, entropy(shares_of(y, np.ones(N))))


# Class weights


@n_classes_2_3_5
def test_balanced_weights_are_those_of_scikit_learn(n_classes):
    y = make_y(n_classes)
    head = fit(y, class_weight="balanced")
    np.testing.assert_allclose(
        head.class_weight_, compute_class_weight("balanced", classes=head.classes_, y=y)
    )
    _, weight = head.encode(y, np.ones(N))
    np.testing.assert_allclose(weight, compute_sample_weight("balanced", y))


def test_balanced_weights_count_integer_sample_weights_as_repeated_rows():
    y, counts = make_y(3), np.random.default_rng(0).integers(1, 4, N)
    head = fit(y, counts.astype(float), class_weight="balanced")
    repeated = compute_class_weight("balanced", classes=head.classes_, y=np.repeat(y, counts))
    np.testing.assert_allclose(head.class_weight_, repeated)


def test_balanced_weights_leave_declared_classes_without_labels_aside():
    y = np.array(["a", "a", "a", "b"])
    head = fit(y, class_weight="balanced", classes=["a", "b", "z"])
    expected = compute_class_weight("balanced", classes=np.array(["a", "b"]), y=y)
    np.testing.assert_allclose(head.class_weight_[:2], expected)


def test_weights_of_a_dict_multiply_and_default_to_one():
    y, weight = make_y(3), make_weight()
    head = fit(y, weight, class_weight={"c": 2.5})
    _, found = head.encode(y, weight)
    np.testing.assert_allclose(found, weight * np.where(y == "c", 2.5, 1.0))


def test_weights_go_by_class_whatever_the_declared_order():
    head = fit(["a", "b"], class_weight={"a": 3.0, "b": 5.0}, classes=["b", "a"])
    assert head.class_weight_.tolist() == [5.0, 3.0]


def test_a_class_of_weight_zero_is_left_out():
    y = make_y(2)
    head = fit(y, class_weight={"a": 0.0})
    assert head.is_constant_
    _, weight = head.encode(y, np.ones(N))
    assert not weight[y == "a"].any()


def test_unknown_classes_among_the_weights_are_refused():
    with pytest.raises(ValueError, match=r"`class_weight` names the unknown classes \['z'\]"):
        fit(make_y(2), class_weight={"z": 1.0})


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_class_weights_must_be_finite_and_not_negative(value):
    with pytest.raises(ValueError, match="`class_weight` must hold finite numbers of at least 0"):
        fit(make_y(2), class_weight={"a": value})


def test_class_weights_must_leave_a_label():
    with pytest.raises(ValueError, match="`class_weight` leaves no label any weight"):
        fit(make_y(2), class_weight={"a": 0, "b": 0})


# Scores and errors


def test_the_score_is_the_weighted_accuracy_over_observed_labels():
    y, weight = make_y(3), make_weight()
    predicted = make_y(3, seed=5)
    spoilt = y.astype(object)
    spoilt[weight == 0] = None
    expected = accuracy_score(y, predicted, sample_weight=weight)
    np.testing.assert_allclose(fit(y).score(spoilt, predicted, weight), expected)


@pytest.mark.parametrize("new", ["z", "A", ""])
@pytest.mark.parametrize("action", ["encode", "score"])
def test_a_class_that_was_not_fitted_is_refused(action, new):
    head = fit(make_y(3))
    y = np.array(["a", new])
    arguments = (y, np.ones(2)) if action == "encode" else (y, np.array(["a", "b"]), np.ones(2))
    with pytest.raises(ValueError, match=rf"one of the classes \['a', 'b', 'c'\]. Got \['{new}'\]"):
        getattr(head, action)(*arguments)


@pytest.mark.parametrize(("y", "classes"), [([1, 2], ["a", "b"]), (["a", "b"], [1, 2]), ([3], [1])])
def test_labels_outside_the_declared_classes_are_refused(y, classes):
    with pytest.raises(ValueError, match=r"declare all classes with Classification\(classes="):
        fit(y, classes=classes)


@pytest.mark.parametrize("classes", [["a", "a", "b"], [["a", "b"]]])
def test_declared_classes_must_be_different_and_flat(classes):
    with pytest.raises(ValueError, match="`classes` must hold different classes"):
        fit(["a", "b"], classes=classes)


def test_labels_of_mixed_kinds_are_refused():
    with pytest.raises(ValueError, match="labels of one kind that can be sorted"):
        fit(np.array(["a", 1], dtype=object))


def test_a_matrix_is_refused():
    with pytest.raises(ValueError, match=r"one label per row. Got the shape \(3, 2\); use MultiL"):
        fit(np.zeros((3, 2)), np.ones((3, 2)))


@pytest.mark.parametrize(
    "params",
    [
        {"class_weight": "even"},
        {"class_weight": 2.0},
        {"label_smoothing": 1.0},
        {"label_smoothing": -0.1},
        {"classes": 3},
        {"hidden_layer_sizes": (0,)},
        {"at": 3},
        {"target": 3},
    ],
    ids=str,
)
def test_bad_parameters_are_refused_by_name(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        Classification(**params).check_params()


def test_good_parameters_pass_and_survive_a_clone():
    head = Classification(
        class_weight={"a": 1}, label_smoothing=0.1, classes=["a"], hidden_layer_sizes=[3]
    )
    head.check_params()
    assert repr(clone(head)) == repr(head)
