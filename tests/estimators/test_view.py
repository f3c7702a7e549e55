"""One output as an estimator of its own, and a net without some outputs."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import accuracy_score, get_scorer, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OutputView,
    Targets,
)
from mtlearn._engine import _predict
from mtlearn.heads import Classification, Regression

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = Targets(
    {
        "price": X[:, 0] + 0.1 * RNG.normal(size=120),
        "kind": np.array(["a", "b", "c"])[np.digitize(X[:, 1], [-0.5, 0.5])],
        "tags": (X[:, :2] > 0).astype(int),
        "pair": X[:, 2:] * [1.0, 5.0],
    }
)


class TwoLevels(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.low, self.high = nn.Linear(n_features, 8), nn.Linear(8, 3)

    def forward(self, x):
        low = self.low(x).relu()
        return {"low": low, "high": self.high(low)}


def make_net(**params):
    return MultiOutputNet(max_epochs=5, random_state=0, **params)


NET = make_net().fit(X, Y)
PIPELINE = Pipeline([("scale", StandardScaler()), ("net", make_net())]).fit(X, Y)
SEARCH = GridSearchCV(PIPELINE, {"net__loss_weights__kind": [0.5]}, cv=2).fit(X, Y)


@pytest.mark.parametrize("fitted", [NET, PIPELINE, SEARCH], ids=["net", "pipeline", "search"])
@pytest.mark.parametrize("name", list(Y))
def test_a_view_predicts_and_scores_its_output(fitted, name):
    view = OutputView(fitted, name)
    predicted = fitted.predict(X)[name]
    np.testing.assert_array_equal(view.predict(X), predicted)
    score = accuracy_score if name in ("kind", "tags") else r2_score
    np.testing.assert_allclose(view.score(X, Y[name]), score(Y[name], predicted))
    assert view.n_features_in_ == 4


def test_a_view_has_the_type_and_the_classes_of_its_output():
    price, kind, tags, pair = (OutputView(SEARCH, name) for name in Y)
    assert is_regressor(price)
    assert is_regressor(pair)
    assert is_classifier(kind)
    assert is_classifier(tags)
    assert kind.classes_.tolist() == ["a", "b", "c"]
    assert not hasattr(price, "classes_")
    assert not hasattr(price, "predict_proba")
    np.testing.assert_array_equal(kind.predict_proba(X), SEARCH.predict_proba(X)["kind"])
    assert tags.__sklearn_tags__().classifier_tags.multi_label
    assert pair.__sklearn_tags__().target_tags.multi_output
    assert not price.__sklearn_tags__().target_tags.multi_output


def test_tools_for_one_output_take_a_view():
    kind, price = OutputView(PIPELINE, "kind"), OutputView(PIPELINE, "price")
    loss = get_scorer("neg_log_loss")(kind, X, Y["kind"])
    assert loss < 0
    importance = permutation_importance(price, X, Y["price"], n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() == 0
    assert partial_dependence(price, X, [0], grid_resolution=5)["average"].shape == (1, 5)
    calibrated = CalibratedClassifierCV(FrozenEstimator(kind)).fit(X, Y["kind"])
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)


def test_a_view_knows_the_columns_of_a_frame():
    frame = pd.DataFrame(X, columns=list("abcd"))
    net = make_net().fit(frame, Y)
    assert net.output("price").feature_names_in_.tolist() == list("abcd")
    assert not hasattr(NET.output("price"), "feature_names_in_")


def test_an_auxiliary_output_of_a_regressor_has_a_view():
    net = MultiOutputNetRegressor(max_epochs=2, random_state=0).fit(X, Y["price"], aux=Y[["kind"]])
    kind = net.output("kind")
    assert is_classifier(kind)
    assert set(kind.predict(X)) <= {"a", "b", "c"}
    np.testing.assert_array_equal(net.output("y").predict(X), net.predict(X))


def test_a_view_is_its_own_clone_and_pickles():
    view = NET.output("price")
    assert clone(view) is view
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(view)).predict(X), view.predict(X))


def test_a_view_cannot_be_fitted():
    with pytest.raises(TypeError, match=r"a view cannot be fitted. Fit MultiOutputNet"):
        NET.output("price").fit(X, Y["price"])


@pytest.mark.parametrize(
    ("fitted", "name", "error", "message"),
    [
        (NET, "prise", ValueError, "`name` names the unknown output 'prise'.*'price'"),
        (StandardScaler(), "price", TypeError, "`fitted` must be a fitted estimator of mtlearn"),
        (MultiOutputNet(), "price", ValueError, "not fitted yet"),
    ],
)
def test_a_bad_view_is_refused_at_once(fitted, name, error, message):
    with pytest.raises(error, match=message):
        OutputView(fitted, name)


@pytest.mark.parametrize("outputs", [["kind"], ["tags", "price"]])
def test_some_outputs_are_predicted_as_among_all(outputs):
    assert NET.predict(X, outputs=outputs) == NET.predict(X)[outputs]
    classes = [name for name in outputs if name in ("kind", "tags")]
    assert NET.predict_proba(X, outputs=outputs) == NET.predict_proba(X)[classes]


def test_unknown_outputs_are_refused():
    with pytest.raises(ValueError, match="`outputs` names the unknown output 'knd'"):
        NET.predict(X, outputs=["knd"])
    with pytest.raises(TypeError, match=r"`outputs` must be a list of names. Got 'kind'"):
        NET.predict(X, outputs="kind")
    with pytest.raises(ValueError, match="`outputs` must name an output"):
        NET.predict(X, outputs=[])


def test_dropping_outputs_keeps_the_others_bit_for_bit():
    net = make_net(main_output="price").fit(X, Y)
    small = net.drop_outputs(["kind", "tags"])
    assert small.output_names_ == ["price", "pair"]
    assert small.predict(X) == net.predict(X)[["price", "pair"]]
    assert small.score(X, Y[["price", "pair"]]) == net.score(X, Y)
    assert len(pickle.dumps(small)) < len(pickle.dumps(net))
    assert pickle.loads(pickle.dumps(small)).predict(X) == small.predict(X)
    assert net.output_names_ == list(Y)
    assert net.predict(X).shape == (120,)


def test_the_outputs_that_predict_needs_cannot_be_dropped():
    net = make_net(main_output="price").fit(X, Y)
    with pytest.raises(ValueError, match=r"must keep .* Got \['price'\]"):
        net.drop_outputs(["price"])
    with pytest.raises(ValueError, match="must keep an output"):
        NET.drop_outputs(list(Y))
    with pytest.raises(ValueError, match="unknown output 'knd'"):
        NET.drop_outputs(["knd"])
    for one, y in ((MultiOutputNetRegressor(), "price"), (MultiOutputNetClassifier(), "kind")):
        one.set_params(max_epochs=1, random_state=0).fit(X, Y[y], aux=Y[["pair"]])
        np.testing.assert_array_equal(one.drop_outputs(["pair"]).predict(X), one.predict(X))
        with pytest.raises(ValueError, match=r"Got \['y'\] of \['y', 'pair'\]"):
            one.drop_outputs(["y"])


def test_embed_gives_what_the_heads_see():
    heads = {"price": Regression(at="high"), "kind": Classification(at="low")}
    net = make_net(trunk=TwoLevels, heads=heads).fit(X, Y[["price", "kind"]])
    high = net.embed(X, at="high")
    assert net.embed(X, at="low").shape == (120, 8)
    weight, bias = (p.detach().numpy() for p in net.module_.heads[1].parameters())
    head = net.heads_["price"]
    raw = high @ weight[0] + bias[0]
    np.testing.assert_allclose(head.decode(raw), net.predict(X)["price"])
    with pytest.raises(ValueError, match=r"unknown trunk tensor 'hihg'.*did you mean 'high'"):
        net.embed(X, at="hihg")
    with pytest.raises(ValueError, match=r"must name one of \['high', 'low'\]"):
        net.embed(X)
    assert NET.embed(X).shape == (120, 64)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_predict_goes_on_with_smaller_batches_where_memory_is_short(error, monkeypatch):
    expected, sizes = NET.predict(X), []
    forward = NET.module_.forward

    def short_of_memory(rows, names=None):
        sizes.append(len(rows))
        if len(rows) > 20:
            raise error
        return forward(rows, names)

    monkeypatch.setattr(NET.module_, "forward", short_of_memory)
    found = NET.predict(X)
    assert sizes[:4] == [120, 60, 30, 15]
    for name in ("price", "pair"):
        np.testing.assert_allclose(found[name], expected[name])


def test_other_errors_of_predict_are_raised(monkeypatch):
    def broken(rows, names=None):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(NET.module_, "forward", broken)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        NET.predict(X)


def test_rows_are_predicted_in_chunks(monkeypatch):
    expected = NET.predict(X)
    monkeypatch.setattr(_predict, "ROWS_AT_ONCE", 50)
    for name in ("price", "pair"):
        np.testing.assert_allclose(NET.predict(X)[name], expected[name])
