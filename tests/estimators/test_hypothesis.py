"""Random valid configurations, each of which must fit, predict, clone, pickle and repeat itself."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.heads import ClassHead, Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
repeatable = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NAMES = ["price", "pair", "kind", "flag", "tags", "rooms"]

trunks = st.builds(
    MLP,
    st.lists(st.integers(1, 6), max_size=2).map(tuple),
    activation=st.sampled_from(["relu", "tanh", "gelu", "identity"]),
    dropout=st.sampled_from([0.0, 0.3]),
    normalization=st.sampled_from([None, "batch", "layer"]),
)
layers = st.sampled_from([(), (3,)])
HEADS = {
    "price": st.builds(
        Regression,
        st.sampled_from(["squared_error", "absolute_error", "huber"]),
        hidden_layer_sizes=layers,
    ),
    "kind": st.builds(
        Classification,
        class_weight=st.sampled_from([None, "balanced"]),
        label_smoothing=st.sampled_from([0.0, 0.1]),
        hidden_layer_sizes=layers,
    ),
    "tags": st.builds(MultiLabel, hidden_layer_sizes=layers),
}
HEADS |= {"pair": HEADS["price"], "flag": HEADS["kind"], "rooms": HEADS["kind"]}
common = st.fixed_dictionaries(
    {
        "trunk": trunks,
        "normalize_losses": st.booleans(),
        "learning_rate": st.sampled_from([1e-4, 1e-3, 1e-2]),
        "learning_rate_schedule": st.sampled_from([None, "cosine", "onecycle", "plateau"]),
        "optimizer": st.sampled_from(["adam", "adamw", "rmsprop", "sgd"]),
        "optimizer_params": st.sampled_from([None, {"weight_decay": 0.01}]),
        "param_groups": st.sampled_from([None, {"trunk": {"lr": 1e-4}}]),
        "alpha": st.sampled_from([0.0, 2e-3]),
        "batch_size": st.sampled_from(["auto", 2, 7, 100]),
        "max_epochs": st.integers(1, 2),
        "shuffle": st.booleans(),
        "early_stopping": st.booleans(),
        "validation_fraction": st.sampled_from([0.1, 0.4]),
        "dtype": st.sampled_from(["auto", "float32", "float64"]),
        "warm_start": st.booleans(),
        "random_state": st.integers(0, 2**32 - 1),
    }
)


def make_labels(name, X, rng):
    match name:
        case "price":
            return 100 * X[:, 0] + rng.normal(size=len(X))
        case "pair":
            return X[:, :2] - 5
        case "kind":
            return np.array(["a", "b", "c"])[rng.integers(0, 3, len(X))]
        case "flag":
            return X[:, 0] > 0
        case "tags":
            return rng.integers(0, 2, (len(X), 3))
    return rng.integers(3, 6, len(X))


def lose_some(labels, rng):
    lost = rng.random(len(labels)) < 0.3
    lost[:6] = False
    if labels.dtype.kind == "f":
        labels = labels.copy()
        labels[lost] = np.nan
        return labels
    labels = labels.astype(object)
    labels[lost] = None
    return labels


@st.composite
def rows_and_weights(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = draw(st.integers(12, 30))
    X = rng.normal(size=(n, draw(st.integers(2, 4))))
    X = X.astype(draw(st.sampled_from(["float16", "float32", "float64"])))
    weight = rng.integers(0, 3, n).astype(float)
    weight[:6] = 1
    return rng, X, draw(st.sampled_from([None, weight]))


def check(net, X, y, weight, **fit_params):
    """Check what holds of every estimator; return what it predicts."""
    copy = clone(net)
    twin = clone(net)
    assert repr(copy.get_params()) == repr(net.get_params())
    assert net.fit(X, y, weight, **fit_params) is net
    predicted = net.predict(X)
    assert_same(pickle.loads(pickle.dumps(net)).predict(X), predicted)
    assert_same(twin.fit(X, y, weight, **fit_params).predict(X), predicted)
    if not net.warm_start:
        assert_same(net.fit(X, y, weight, **fit_params).predict(X), predicted)
    assert 1 <= net.n_iter_ <= 2 * net.max_epochs
    assert all(np.isfinite(value) for row in net.history_ for value in row.values())
    return predicted


def assert_same(values, others):
    if isinstance(values, dict):
        assert values == others
    else:
        assert values.dtype == others.dtype
        assert np.array_equal(values, others)


def check_probabilities(probabilities, n_rows, head):
    assert probabilities.shape == (n_rows, len(head.classes_))
    assert (probabilities >= 0).all()
    assert (probabilities <= 1).all()
    if not isinstance(head, MultiLabel):
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@repeatable
@given(
    common, rows_and_weights(), st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.data()
)
def test_any_valid_net(params, rows, names, data):
    rng, X, weight = rows
    y = {name: make_labels(name, X, rng) for name in names}
    weights = {name: data.draw(st.sampled_from([0, 0.3, 1, 5])) for name in names}
    weights[names[0]] = weights[names[0]] or 1
    heads = {name: data.draw(HEADS[name]) for name in names}
    if data.draw(st.booleans()):
        params = {**params, "missing_targets": "ignore"}
        y = {name: lose_some(labels, rng) for name, labels in y.items()}
    main = data.draw(st.sampled_from([None, names[0]]))
    net = MultiOutputNet(heads=heads, loss_weights=weights, main_output=main, **params)
    predicted = check(net, X, Targets(y), weight)
    assert list(predicted) == names == net.output_names_
    for name, labels in y.items():
        values = predicted[name]
        assert values.shape == labels.shape
        if isinstance(net.heads_[name], ClassHead):
            known = [0, 1] if name == "tags" else net.classes_[name]
            assert np.isin(values, known).all()
        else:
            assert values.dtype == np.float64
            assert np.isfinite(values).all()
    with_classes = [name for name in names if isinstance(heads[name], ClassHead)]
    probabilities = net.predict_proba(X)
    assert list(probabilities) == with_classes
    for name in with_classes:
        check_probabilities(probabilities[name], len(X), net.heads_[name])


@repeatable
@given(common, rows_and_weights(), st.sampled_from(["price", "pair"]), st.booleans(), st.data())
def test_any_valid_regressor(params, rows, name, with_aux, data):
    rng, X, weight = rows
    heads = {"y": data.draw(HEADS[name])}
    y = make_labels(name, X, rng)
    aux = {"aux": Targets({"kind": make_labels("kind", X, rng)})} if with_aux else {}
    net = MultiOutputNetRegressor(heads=heads, **params)
    predicted = check(net, X, y, weight, **aux)
    assert predicted.shape == y.shape
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()


@repeatable
@given(
    common,
    rows_and_weights(),
    st.sampled_from(["kind", "flag", "rooms", "tags"]),
    st.booleans(),
    st.data(),
)
def test_any_valid_classifier(params, rows, name, with_aux, data):
    rng, X, weight = rows
    y = make_labels(name, X, rng)
    aux = {"aux": Targets({"price": make_labels("price", X, rng)})} if with_aux else {}
    heads = data.draw(st.sampled_from([None, {"y": data.draw(HEADS[name])}]))
    net = MultiOutputNetClassifier(heads=heads, **params)
    predicted = check(net, X, y, weight, **aux)
    assert predicted.shape == y.shape
    assert np.isin(predicted, y).all()
    check_probabilities(net.predict_proba(X), len(X), net.heads_["y"])
