"""river evaluates OnlineMultiOutputNet, in pipelines and ensembles too, as one of its own."""

import operator
import pickle
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from mtlearn import OnlineMultiOutputNet
from mtlearn.heads import Regression
from mtlearn.trunks import Hedge

pytestmark = pytest.mark.interop

river = pytest.importorskip("river", reason="river is absent")
from river import (  # noqa: E402
    base,
    checks,
    compose,
    datasets,
    drift,
    ensemble,
    evaluate,
    metrics,
    preprocessing,
)

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "online.rst"
TRUNK = Hedge((8,))


class NetClassifier(OnlineMultiOutputNet, base.Classifier):
    """For one output that is a class."""

    @property
    def _multiclass(self):
        return True


class NetRegressor(OnlineMultiOutputNet, base.Regressor):
    """For one output that is a number."""


class NetLabels(OnlineMultiOutputNet, base.MultiLabelClassifier):
    """For several outputs that are classes."""


class NetNumbers(OnlineMultiOutputNet, base.MultiTargetRegressor):
    """For several outputs that are numbers."""


# Before the first label, no class is known.
UNKNOWN = "check_predict_proba_one_binary"
CHECKS = [
    (net, check)
    for net in (NetClassifier(TRUNK, random_state=0), NetRegressor(TRUNK, random_state=0))
    for check in checks.yield_checks(net)
    if check.__name__ not in {UNKNOWN, *net._unit_test_skips()}
]


@pytest.mark.parametrize(
    ("net", "check"), CHECKS, ids=[f"{type(net).__name__}-{c.__name__}" for net, c in CHECKS]
)
def test_it_passes_the_check_of_river(net, check):
    check(net.clone())


def stream(n_rows=200, p=0.8):
    """Rows of which some features are absent, and the two numbers that are behind them."""
    rng = np.random.default_rng(0)
    for _ in range(n_rows):
        a, b = rng.normal(size=2).tolist()
        x = {"a": 100 * a, "b": b, "sum": a + b}
        yield {name: value for name, value in x.items() if rng.random() < p}, (a, b)


def labelled(label, n_rows=200):
    return [(x, label(*numbers)) for x, numbers in stream(n_rows)]


def is_high(a, _b):
    return a > 0


def word(a, b):
    return "low" if a < b else "higher"


def two_labels(a, b):
    return {"p": a > 0, "q": b > 0}


def two_numbers(a, b):
    return {"p": a, "q": a - b}


def make_mean_error():
    return metrics.multioutput.MicroAverage(metrics.MAE())


CASES = {
    "accuracy": (NetClassifier, is_high, metrics.Accuracy, "predict_one", 0.8),
    "log loss": (NetClassifier, is_high, metrics.LogLoss, "predict_proba_one", 0.5),
    "texts": (NetClassifier, word, metrics.MacroF1, "predict_one", 0.8),
    "number": (NetRegressor, operator.sub, metrics.MAE, "predict_one", 0.5),
    "labels": (NetLabels, two_labels, metrics.multioutput.ExactMatch, "predict_one", 0.6),
    "numbers": (NetNumbers, two_numbers, make_mean_error, "predict_one", 0.5),
}


@pytest.mark.parametrize(
    ("kind", "label", "make_metric", "predict", "bar"), CASES.values(), ids=CASES
)
def test_progressive_validation_is_the_loop_over_rows(kind, label, make_metric, predict, bar):
    rows = labelled(label)
    net = kind(TRUNK, random_state=0)
    found = evaluate.progressive_val_score(rows, net, make_metric())
    assert net.n_rows_seen_ == len(rows)
    plain, metric = OnlineMultiOutputNet(TRUNK, random_state=0), make_metric()
    for x, y in rows:
        predicted = getattr(plain, predict)(x)
        if plain.__sklearn_is_fitted__():
            metric.update(y, predicted)
        plain.learn_one(x, y)
    assert found.get() == metric.get()
    assert found.get() > bar if found.bigger_is_better else found.get() < bar


def test_a_plain_net_is_refused_by_rivers_metrics():
    with pytest.raises(ValueError, match="Accuracy metric is not compatible with OnlineMulti"):
        evaluate.progressive_val_score(
            labelled(is_high), OnlineMultiOutputNet(), metrics.Accuracy()
        )


def test_a_pipeline_of_river_scales_before_it():
    rows = labelled(is_high)
    pipeline = preprocessing.StandardScaler() | NetClassifier(TRUNK, random_state=0)
    found = evaluate.progressive_val_score(rows, pipeline, metrics.Accuracy())
    scaler, net, metric = (
        preprocessing.StandardScaler(),
        OnlineMultiOutputNet(TRUNK, random_state=0),
        metrics.Accuracy(),
    )
    for x, y in rows:
        predicted = net.predict_one(scaler.transform_one(x))
        if predicted is not None:
            metric.update(y, predicted)
        scaler.learn_one(x)
        net.learn_one(scaler.transform_one(x), y)
    assert found.get() == metric.get() > 0.8
    x = {"a": 100.0, "b": 0.1}
    assert pipeline.predict_proba_one(x) == net.predict_proba_one(scaler.transform_one(x))
    again = pipeline.clone()
    assert not hasattr(again["NetClassifier"], "network_")
    assert "True: " in pipeline.debug_one(x)


def test_texts_go_through_a_branch_of_their_own():
    rows = [
        ({"colour": c, "n": float(i % 5)}, c == "red") for i, c in enumerate(["red", "blue"] * 50)
    ]
    texts = compose.SelectType(str) | preprocessing.OneHotEncoder()
    pipeline = (texts + compose.SelectType(float)) | NetClassifier(TRUNK, random_state=0)
    found = evaluate.progressive_val_score(rows, pipeline, metrics.Accuracy())
    assert found.get() > 0.9
    with pytest.raises(TypeError, match="the feature 'colour' of `X` must hold numbers"):
        NetClassifier().learn_one(*rows[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda net: ensemble.ADWINBaggingClassifier(net, n_models=3, seed=0),
        lambda net: drift.DriftRetrainingClassifier(net),
    ],
)
def test_rivers_ensembles_train_copies(make):
    net = NetClassifier(TRUNK, random_state=0)
    found = evaluate.progressive_val_score(labelled(is_high), make(net), metrics.Accuracy())
    assert found.get() > 0.8


def test_features_named_by_integers_and_several_classes_of_other_lengths_come():
    rows = [(dict(enumerate(x.values())), y) for x, y in datasets.ImageSegments().take(150)]
    net = NetClassifier(TRUNK, random_state=0)
    found = evaluate.progressive_val_score(rows, net, metrics.Accuracy())
    assert found.get() > 0.5
    assert set(net.predict_proba_one(rows[0][0])) == {y for _, y in rows}
    assert net.feature_names_in_.tolist() == sorted(rows[0][0], key=str)


def test_missing_labels_are_none():
    net = NetNumbers(TRUNK, missing_targets="ignore", random_state=0)
    rows = labelled(two_numbers)
    for i, (x, y) in enumerate(rows):
        net.learn_one(x, dict(y, q=None) if i % 3 else y)
    found = net.predict_one({"a": 100.0, "b": -1.0})
    assert found["p"] == pytest.approx(1.0, abs=0.3)
    assert found["q"] == pytest.approx(2.0, abs=0.6)


def test_whole_numbers_are_learned_with_a_head_for_numbers():
    net = NetRegressor(TRUNK, heads={"y": Regression()}, random_state=0)
    for i in range(100):
        net.learn_one({"a": i % 10}, i % 10)
    assert net.predict_one({"a": 7}) == pytest.approx(7, abs=0.5)


def test_it_stays_an_estimator_of_scikit_learn():
    rows = labelled(is_high)
    net = NetClassifier(TRUNK, forgetting=0.999, random_state=0)
    for x, y in rows[:100]:
        net.learn_one(x, y)
    for copy in (clone(net), net.clone()):
        assert type(copy) is NetClassifier
        assert copy.get_params()["trunk__hidden_layer_sizes"] == (8,)
        assert not hasattr(copy, "network_")
    loaded = pickle.loads(pickle.dumps(net))
    for one in (net, loaded):
        for x, y in rows[100:]:
            one.learn_one(x, y)
    dicts = [x for x, _ in rows]
    np.testing.assert_array_equal(net.predict_proba(dicts), loaded.predict_proba(dicts))
    assert [net.predict_one(x) for x in dicts] == net.predict(dicts).tolist()


def test_the_example_of_the_guide_runs():
    _, _, section = PAGE.read_text().partition("\nRiver\n-----\n")
    block = re.search(r"^\.\. code-block:: python\n\n((?: +.*\n|\n)+)", section, re.MULTILINE)
    names = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(block.group(1)), PAGE.name, "exec"), names)
    assert names["metric"].get() > 0.9
    assert names["model"]["NetClassifier"].n_rows_seen_ == 100
