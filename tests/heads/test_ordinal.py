import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss

from mtlearn import MultiOutputNet, MultiOutputNetClassifier
from mtlearn.heads import Classification, Ordinal
from mtlearn.heads._base import BASELINE_FLOOR
from mtlearn.trunks import MLP

N = 400
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
GRADES = np.digitize(X[:, 0] - 0.5 * X[:, 1] + RNG.logistic(size=N), [-1.5, 0.0, 1.5])
WORDS = ["poor", "fair", "good", "best"]


def fit(y, weight=None, *, normalize=True, more_to_come=False, **params):
    y = np.asarray(y)
    weight = np.ones(len(y)) if weight is None else weight
    return Ordinal(**params).fit(y, weight, normalize=normalize, more_to_come=more_to_come)


def to_the_optimum(head, y, sample_weight=None):
    """Fit a linear model, by full batches with a rate that falls to 0."""
    net = MultiOutputNet(
        MLP(()),
        {"y": head},
        alpha=0.0,
        batch_size=N,
        max_epochs=600,
        learning_rate=0.1,
        learning_rate_schedule="cosine",
        random_state=0,
    )
    return net.fit(X, {"y": y}, sample_weight)


def probabilities_of(parameters):
    """Return what the cumulative link model gives the rows, by numpy."""
    coef, thresholds = parameters[:3], parameters[3:]
    below = expit(np.sort(thresholds) - (X @ coef)[:, None])
    edges = np.column_stack([np.zeros(N), below, np.ones(N)])
    return np.maximum(np.diff(edges, axis=1), 1e-300)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_is_the_maximum_likelihood_of_a_cumulative_link_model(weighted):
    weight = RNG.uniform(0.2, 2, N) if weighted else np.ones(N)

    def loss(parameters):
        return -weight @ np.log(probabilities_of(parameters)[np.arange(N), GRADES]) / weight.sum()

    found = minimize(loss, [0, 0, 0, -1.0, 0, 1.0], method="BFGS")
    net = to_the_optimum(Ordinal(), GRADES, weight)
    predicted = net.predict_proba(X)["y"]
    np.testing.assert_allclose(predicted, probabilities_of(found.x), atol=2e-4)
    head = net.heads_["y"]
    np.testing.assert_allclose(net.history_[-1]["y_loss"] * head.baseline_, found.fun, rtol=1e-5)


def test_two_classes_are_those_of_classification():
    y = np.where(GRADES > 1, "high", "low")
    nets = [
        MultiOutputNet(heads={"y": head}, max_epochs=5, random_state=0).fit(X, {"y": y})
        for head in (Ordinal(), Classification())
    ]
    assert nets[0].predict(X) == nets[1].predict(X)
    assert nets[0].predict_proba(X) == nets[1].predict_proba(X)
    assert nets[0].history_ == nets[1].history_
    assert nets[0].heads_["y"].baseline_ == nets[1].heads_["y"].baseline_


@pytest.mark.parametrize("n_classes", [3, 4, 9])
@pytest.mark.parametrize("spread", [0.1, 3.0, 1e4])
def test_probabilities_are_right_for_any_raw_outputs(n_classes, spread):
    head = fit(np.arange(n_classes).repeat(2))
    raw = RNG.normal(size=(50, n_classes - 1)) * spread
    proba = head.decode_proba(raw)
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    above = np.cumsum(proba[:, ::-1], axis=1)[:, -2::-1]
    assert (np.diff(above, axis=1) <= 1e-12).all()
    falling = np.minimum.accumulate(raw, axis=1)
    np.testing.assert_allclose(above, expit(falling), atol=1e-9)


def test_probabilities_in_the_tails_keep_their_digits():
    head = fit([0, 1, 2])
    log_proba = np.log(head.decode_proba(np.array([[-100.0, -101.0], [102.0, 100.0]])))
    expected = [
        [0.0, -100 + np.log1p(-np.exp(-1)), -101.0],
        [-102, -100 + np.log1p(-np.exp(-2)), 0],
    ]
    np.testing.assert_allclose(log_proba, expected, atol=1e-12)


def test_thresholds_rise_whatever_is_learned():
    module = fit(GRADES).build(3)
    with torch.no_grad():
        module[-1].gaps.copy_(torch.tensor([-50.0, 30.0]))
        module[-1].first.fill_(7.0)
        raw = module(torch.randn(20, 3))
    assert bool((raw.diff(dim=1) <= 0).all())


def test_thresholds_begin_at_the_class_frequencies():
    head = fit(GRADES)
    module = head.build(3)
    raw = module[-1](torch.zeros(1, 1)).detach().numpy()
    proba = head.decode_proba(raw)[0]
    np.testing.assert_allclose(proba, np.bincount(GRADES) / N, atol=1e-6)
    np.testing.assert_allclose(raw[0], head.constant_raw_, atol=1e-5)
    assert [p.ndim for p in module[-1].parameters()] == [1, 1]  # no weights for the penalty


def test_a_class_without_labels_has_a_threshold_that_can_be_learned():
    head = fit([0, 2, 2, 3], classes=range(5))
    module = head.build(3)
    proba = head.decode_proba(module[-1](torch.zeros(1, 1)).detach().numpy())[0]
    np.testing.assert_allclose(proba[[1, 4]], 1e-3, rtol=0.01)
    assert np.isfinite(head.constant_raw_).all()
    loss = head.build_loss()(torch.tensor(head.constant_raw_)[None], torch.tensor([1]))
    assert bool(loss.isfinite().all())


@pytest.mark.parametrize("normalize", [True, False])
def test_the_baseline_is_the_entropy_of_the_frequencies(normalize):
    weight = RNG.uniform(0.1, 2, N)
    head = fit(GRADES, weight, normalize=normalize)
    shares = np.bincount(GRADES, weights=weight) / weight.sum()
    entropy = -(shares * np.log(shares)).sum()
    assert head.baseline_ == pytest.approx(entropy if normalize else 1.0)
    constant = head.decode_proba(np.tile(head.constant_raw_, (N, 1)))
    np.testing.assert_allclose(constant[0], shares)
    expected = log_loss(GRADES, constant, sample_weight=weight)
    np.testing.assert_allclose(head.constant_loss_ * head.baseline_, expected)


def test_the_baseline_has_a_floor():
    head = fit([0] * 999 + [1, 2], classes=[0, 1, 2])
    assert head.baseline_ == BASELINE_FLOOR


def test_the_loss_is_the_negative_log_probability():
    head = fit(GRADES)
    raw = np.sort(RNG.normal(size=(N, 3)), axis=1)[:, ::-1].copy()
    losses = head.build_loss()(torch.tensor(raw), torch.tensor(GRADES)).numpy()
    np.testing.assert_allclose(losses, -np.log(head.decode_proba(raw)[np.arange(N), GRADES]), 1e-6)


def test_the_order_is_the_one_given():
    y = np.array(WORDS)[GRADES]
    net = MultiOutputNet(heads={"y": Ordinal(WORDS)}, random_state=0, max_epochs=3)
    numbers = MultiOutputNet(heads={"y": Ordinal()}, random_state=0, max_epochs=3)
    proba = net.fit(X, {"y": y}).predict_proba(X)["y"]
    assert net.classes_["y"].tolist() == WORDS
    np.testing.assert_array_equal(proba, numbers.fit(X, {"y": GRADES}).predict_proba(X)["y"])
    np.testing.assert_array_equal(net.predict(X)["y"], np.array(WORDS)[proba.argmax(axis=1)])
    assert net.scores(X, {"y": y})["y"] == accuracy_score(y, net.predict(X)["y"])


def test_the_reverse_order_is_the_same_model():
    forth, back = to_the_optimum(Ordinal(), GRADES), to_the_optimum(Ordinal([3, 2, 1, 0]), GRADES)
    np.testing.assert_allclose(
        forth.predict_proba(X)["y"], back.predict_proba(X)["y"][:, ::-1], atol=1e-3
    )


def test_words_need_their_order():
    with pytest.raises(ValueError, match=r"Ordinal needs the order .* Got the classes \['best'"):
        fit(np.array(WORDS)[GRADES])
    assert fit(["a", "b", "a"]).classes_.tolist() == ["a", "b"]


def test_an_unknown_class_is_refused():
    head = fit(GRADES)
    with pytest.raises(
        ValueError, match=r"one of the classes \[0, 1, 2, 3\]. Got \[7\].*Ordinal\("
    ):
        head.encode(np.array([7]), np.ones(1))


def test_a_matrix_is_refused():
    with pytest.raises(
        ValueError, match=r"Ordinal needs one label per row. Got the shape \(3, 2\)"
    ):
        Ordinal().fit(np.ones((3, 2)), np.ones((3, 2)), normalize=True)


def test_class_weights_multiply_sample_weights():
    y = np.array([0, 0, 0, 1, 2])
    head = fit(y, class_weight="balanced")
    np.testing.assert_allclose(head.frequencies_, 1 / 3)
    _, weight = head.encode(y, np.ones(5))
    np.testing.assert_allclose(weight, [5 / 9] * 3 + [5 / 3] * 2)


def test_a_single_class_is_constant():
    net = MultiOutputNet(heads={"y": Ordinal()}, random_state=0, max_epochs=2)
    net.fit(X, {"y": np.full(N, 2), "other": X[:, 0]})
    assert net.heads_["y"].is_constant_
    assert (net.predict(X)["y"] == 2).all()
    np.testing.assert_array_equal(net.predict_proba(X)["y"], 1.0)


def test_declared_classes_of_which_one_has_labels_are_constant():
    head = fit([1, 1, 1], classes=[0, 1, 2])
    assert head.is_constant_
    assert head.decode(head.constant_raw_[None]).tolist() == [1]
    assert not fit([1, 1, 1], classes=[0, 1, 2], more_to_come=True).is_constant_
    assert not fit([1, 1, 1], classes=[0, 1, 2], normalize=False).is_constant_


def test_a_stream_declares_its_classes():
    net = MultiOutputNet(heads={"y": Ordinal()}, random_state=0)
    net.partial_fit(X[:1], {"y": GRADES[:1]}, classes={"y": [0, 1, 2, 3]})
    for rows in np.array_split(np.arange(1, N), 8):
        net.partial_fit(X[rows], {"y": GRADES[rows]})
    assert net.classes_["y"].tolist() == [0, 1, 2, 3]
    assert net.n_iter_ == 9


def test_the_classifier_takes_it_for_its_own_output():
    net = MultiOutputNetClassifier(heads={"y": Ordinal(WORDS)}, random_state=0, max_epochs=20)
    y = np.array(WORDS)[GRADES]
    net.fit(X, y)
    assert net.classes_.tolist() == WORDS
    assert net.score(X, y) == accuracy_score(y, net.predict(X))


def test_ordered_probabilities_are_learned_with_one_score():
    net = MultiOutputNet(heads={"y": Ordinal()}, random_state=0, max_epochs=40)
    net.fit(X, {"y": GRADES})
    order = np.argsort(net.predict_proba(X)["y"] @ np.arange(4))
    above = np.cumsum(net.predict_proba(X)["y"][order, ::-1], axis=1)[:, :3]
    assert (np.diff(above, axis=0) >= -1e-9).all()  # all probabilities of "above" rise together
    assert net.history_[-1]["y_loss"] < 0.9


@pytest.mark.parametrize(
    "params",
    [{"classes": 3}, {"class_weight": "even"}, {"hidden_layer_sizes": (0,)}, {"at": 3}],
    ids=str,
)
def test_bad_parameters_are_refused_by_name(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        Ordinal(**params).check_params()


def test_good_parameters_pass_and_survive_a_clone():
    head = Ordinal(WORDS, class_weight={"poor": 2.0}, hidden_layer_sizes=[3], at="a", target="b")
    head.check_params()
    assert repr(clone(head)) == repr(head)
