"""OnlineMultiOutputNet among scikit-learn's tools: checks, copies, frames, scorers, ensembles."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, roc_auc_score
from sklearn.model_selection import (
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mtlearn import OnlineMultiOutputNet, OutputView, Targets
from mtlearn.heads import Classification, Gaussian
from mtlearn.model_selection import make_output_scorer
from mtlearn.trunks import MLP, AuxDrop, AuxNet, Hedge
from mtlearn.weighting import MultiplicativeWeights

VARIANTS = [
    {},
    {"trunk": Hedge((8,)), "second_order": False, "expert_losses": "weighted", "balanced": True},
    {"trunk": AuxDrop((8, 8), aux_layer=1, n_units=60), "impute": False},
    {"trunk": AuxNet(1, base_layers=1, end_layers=1, n_units=4)},
    {"trunk": MLP((8,)), "batch_size": 8},
]
# A row of weight 2 is one step of the trunk and of the experts' weights, two rows are two.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is not two rows here"
}


@parametrize_with_checks(
    [OnlineMultiOutputNet(**VARIANTS[0])],
    expected_failed_checks=lambda _estimator: EXPECTED,
)
def test_it_passes_the_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [OnlineMultiOutputNet(**params) for params in VARIANTS[1:]],
    expected_failed_checks=lambda _estimator: EXPECTED,
)
def test_variants_pass_the_check_of_scikit_learn(estimator, check):
    check(estimator)


N = 150
X = np.random.default_rng(0).normal(size=(N, 3))
X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
KIND = np.where(np.nan_to_num(X[:, 0]) > 0, "house", "flat")
Y = Targets({"kind": KIND, "price": np.nan_to_num(X[:, 1])})
NET = OnlineMultiOutputNet(Hedge((8,)), random_state=0)
FRAME = pd.DataFrame(X, columns=["area", "age", "floor"])


@pytest.fixture(scope="module")
def fitted():
    return clone(NET).fit(X, Y)


def test_parameters_of_parts_are_set_and_read_by_nested_names():
    net = OnlineMultiOutputNet(heads={"kind": Classification()})
    net.set_params(
        trunk__hidden_layer_sizes=(7,),
        expert_weighting__rate=0.1,
        heads__kind__label_smoothing=0.2,
        loss_weights__price=0.3,
        optimizer_params__lr_decay=0.01,
    )
    assert net.trunk.hidden_layer_sizes == (7,)
    assert (net.expert_weighting.rate, net.expert_weighting.clip) == (0.1, 5.0)
    params = clone(net).get_params()
    assert params["heads__kind__label_smoothing"] == 0.2
    assert params["loss_weights__price"] == 0.3
    assert params["optimizer_params__lr_decay"] == 0.01
    assert OnlineMultiOutputNet().get_params()["expert_weighting__rate"] == 0.2
    assert OnlineMultiOutputNet().expert_weighting is None
    net.fit(X, Y)
    assert net.expert_names_ == ["masked", "linear", "hidden_1"]
    with pytest.raises(ValueError, match=r"needs `heads` to hold a part named 'prize'"):
        net.set_params(heads__prize__loss="huber")


def test_the_representation_shows_what_was_set():
    net = OnlineMultiOutputNet(Hedge((8,)), expert_weighting=MultiplicativeWeights(0.1))
    text = "".join(repr(net).split())
    assert text == (
        "OnlineMultiOutputNet(expert_weighting=MultiplicativeWeights(rate=0.1),"
        "trunk=Hedge(hidden_layer_sizes=(8,)))"
    )
    assert "MultiplicativeWeights" in net._repr_html_()


def test_a_clone_has_the_parameters_and_nothing_learned(fitted):
    copy = clone(fitted)
    assert not hasattr(copy, "network_")
    assert repr(copy) == repr(fitted)
    np.testing.assert_array_equal(copy.fit(X, Y).predict(X)["price"], fitted.predict(X)["price"])


def test_frames_of_all_libraries_are_the_same_rows():
    expected = clone(NET).fit(FRAME, Y)
    some = FRAME[["floor", "age"]]
    for make in (pl.from_pandas, pa.Table.from_pandas, pd.DataFrame.convert_dtypes):
        net = clone(NET).fit(make(FRAME), make(pd.DataFrame(dict(Y))))
        assert net.feature_names_in_.tolist() == ["area", "age", "floor"]
        for rows in (FRAME, some):
            found = net.predict(make(rows))
            np.testing.assert_array_equal(found["price"], expected.predict(rows)["price"])
            np.testing.assert_array_equal(found["kind"], expected.predict(rows)["kind"])


def test_columns_may_be_numbered():
    frame = pd.DataFrame(X)
    net = clone(NET).fit(frame, Y)
    assert net.feature_names_in_.tolist() == [0, 1, 2]
    expected = clone(NET).fit(X, Y).predict(X)["price"]
    np.testing.assert_array_equal(net.predict(frame[[2, 0, 1]])["price"], expected)
    dicts = [{j: v for j, v in enumerate(row) if np.isfinite(v)} for row in X]
    np.testing.assert_array_equal(net.predict(dicts)["price"], expected)
    with pytest.raises(TypeError, match=r"by strings or integers. Got \(0, 1\) of type tuple"):
        net.predict([{(0, 1): 1.0}])


def test_the_order_of_keys_changes_nothing():
    rng = np.random.default_rng(0)
    one, other = clone(NET), clone(NET)
    for row, kind in zip(FRAME.to_dict("records"), KIND, strict=True):
        names = rng.permutation(list(row))
        one.learn_one(row, kind)
        other.learn_one({name: row[name] for name in names}, kind)
        assert one.predict_proba_one(row) == other.predict_proba_one(row)


def test_later_classes_may_have_other_lengths_and_types():
    rows = np.eye(2)
    net = OnlineMultiOutputNet(random_state=0).partial_fit(rows, np.array(["apartment", "house"]))
    net.partial_fit(rows, np.array(["hut", "flat"]))
    assert net.classes_.tolist() == ["apartment", "flat", "house", "hut"]
    wide = OnlineMultiOutputNet(random_state=0).partial_fit(rows, np.array([1, 300]))
    wide.partial_fit(rows, np.array([2, 1], dtype=np.uint8))
    assert wide.classes_.tolist() == [1, 2, 300]


@pytest.mark.parametrize("form", ["csr", "dok", "coo"])
def test_sparse_rows_are_refused_in_words(form):
    rows = sparse.csr_array(np.nan_to_num(X)).asformat(form)
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense"):
        clone(NET).fit(rows, Y)


def test_rows_without_columns_and_weights_that_are_all_zero_are_refused(fitted):
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(4, 0\)\)"):
        clone(NET).fit(np.empty((4, 0)), KIND[:4])
    net = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(ValueError, match="observed with a weight above zero"):
        net.fit(X, Y, sample_weight=np.zeros(N))
    assert net.n_rows_seen_ == N
    np.testing.assert_array_equal(net.predict(X)["price"], fitted.predict(X)["price"])


def test_cross_validation_predicts_each_row_by_a_net_that_has_not_seen_it():
    folds = KFold(3)
    found = cross_val_predict(NET, X, Y, cv=folds)
    proba = cross_val_predict(NET, X, KIND, cv=folds, method="predict_proba")
    for train, test in folds.split(X):
        net = clone(NET).fit(X[train], Y[train])
        np.testing.assert_array_equal(found["kind"][test], net.predict(X[test])["kind"])
        np.testing.assert_array_equal(found["price"][test], net.predict(X[test])["price"])
        alone = clone(NET).fit(X[train], KIND[train])
        np.testing.assert_array_equal(proba[test], alone.predict_proba(X[test]))


def test_scorers_score_one_output():
    scorer = make_output_scorer("kind", "roc_auc")
    scores = cross_val_score(NET, X, Y, cv=KFold(3), scoring=scorer, error_score="raise")
    for score, (train, test) in zip(scores, KFold(3).split(X), strict=True):
        net = clone(NET).fit(X[train], Y[train])
        proba = net.predict_proba(X[test])["kind"][:, 1]
        assert score == pytest.approx(roc_auc_score(KIND[test] == "house", proba), rel=1e-12)


def test_a_view_of_one_output_is_a_classifier_or_a_regressor(fitted):
    kind, price = fitted.output("kind"), fitted.output("price")
    expected = fitted.scores(X, Y)
    assert get_scorer("accuracy")(kind, X, KIND) == expected["kind"]
    assert get_scorer("r2")(price, X, Y["price"]) == pytest.approx(expected["price"], rel=1e-12)
    auc = roc_auc_score(KIND == "house", fitted.predict_proba(X)["kind"][:, 1])
    assert get_scorer("roc_auc")(kind, X, KIND) == pytest.approx(auc, rel=1e-12)
    found = permutation_importance(kind, X, KIND, n_repeats=3, random_state=0)
    assert found.importances_mean.argmax() == 0
    curve = partial_dependence(price, np.nan_to_num(X), [1], grid_resolution=4)["average"][0]
    assert (np.diff(curve) > 0).all()
    framed = clone(NET).fit(FRAME, Y).output("kind")
    assert framed.feature_names_in_.tolist() == list(FRAME)
    assert framed.predict([{"area": 2.0}]).tolist() == ["house"]


def test_a_view_has_the_standard_deviation_of_a_head_that_predicts_one():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1500, 2))
    y = rows[:, 0] + np.where(rows[:, 1] > 0, 2.0, 0.2) * rng.normal(size=1500)
    net = OnlineMultiOutputNet(Hedge((16,)), {"y": Gaussian()}, batch_size=10, random_state=0)
    net.fit(rows, y)
    std = net.output("y").predict_std(rows)
    noisy = rows[:, 1] > 0
    assert np.median(std[noisy]) > 1.4 * np.median(std[~noisy])
    assert not hasattr(clone(net).set_params(heads=None).fit(rows, y).output("y"), "predict_std")


def test_a_view_follows_the_stream(fitted):
    net = pickle.loads(pickle.dumps(fitted))
    view = net.output("kind")
    net.partial_fit(X[:1], {"kind": ["barn"], "price": [0.0]})
    assert view.classes_.tolist() == ["barn", "flat", "house"]
    np.testing.assert_array_equal(view.predict_proba(X), net.predict_proba(X)["kind"])


def test_views_are_calibrated_and_stacked(fitted):
    frozen = FrozenEstimator(fitted.output("kind"))
    calibrated = CalibratedClassifierCV(frozen).fit(X, KIND)
    assert calibrated.score(X, KIND) > 0.8
    np.testing.assert_array_equal(frozen.predict(X), fitted.predict(X)["kind"])
    stack = StackingClassifier([("net", frozen)], LogisticRegression(), cv="prefit").fit(X, KIND)
    np.testing.assert_array_equal(stack.transform(X)[:, 0], fitted.predict_proba(X)["kind"][:, 1])


def test_ensembles_of_scikit_learn_train_nets():
    filled = np.nan_to_num(X)
    train, test, y_train, y_test = train_test_split(filled, KIND, random_state=0)
    stack = StackingClassifier(
        [("net", NET), ("linear", LogisticRegression())], LogisticRegression(), cv=3
    )
    bag = BaggingClassifier(NET, 3, random_state=0)
    for ensemble in (stack, bag):
        assert ensemble.fit(train, y_train).score(test, y_test) > 0.8


def test_a_pipeline_passes_absent_values_on():
    pipeline = make_pipeline(StandardScaler(), clone(NET)).fit(X, Y)
    rows = StandardScaler().fit(X).transform(X)
    expected = clone(NET).fit(rows, Y).predict(rows)
    np.testing.assert_array_equal(pipeline.predict(X)["price"], expected["price"])
    np.testing.assert_array_equal(OutputView(pipeline, "kind").predict(X), expected["kind"])


def test_weights_are_routed():
    weight = np.random.default_rng(0).integers(1, 4, N).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        net = clone(NET).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        found = cross_validate(net, X, Y, cv=KFold(3), params={"sample_weight": weight})
    for score, (train, test) in zip(found["test_score"], KFold(3).split(X), strict=True):
        own = clone(NET).fit(X[train], Y[train], weight[train])
        assert score == own.score(X[test], Y[test], weight[test])
