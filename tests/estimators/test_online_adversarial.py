"""OnlineMultiOutputNet on streams that try to break it."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from mtlearn import OnlineMultiOutputNet, Targets
from mtlearn.heads import Classification, Quantile, Regression
from mtlearn.model_selection import prequential
from mtlearn.trunks import AuxDrop, AuxNet, Hedge
from mtlearn.weighting import MultiplicativeWeights

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
KIND = np.where(X[:, 0] > 0, "a", "b")
PRICE = 3 * X[:, 1] + 1
BOTH = Targets({"kind": KIND, "price": PRICE})
NAMES = ["w", "x", "y", "z"]
HAPHAZARD = np.where(RNG.random(X.shape) < 0.3, np.nan, X)


def make(trunk=None, **params):
    return OnlineMultiOutputNet(Hedge((4,)) if trunk is None else trunk, random_state=0, **params)


def as_rows(values):
    return [dict(zip(NAMES, row, strict=True)) for row in values]


def state_of(net):
    return pickle.dumps(net.__dict__)


ROW = [{"w": 1.0, "new": 2.0}]
GOOD = {"kind": ["a"], "price": [1.0]}
REFUSED = {
    "an infinite label": ((ROW, {**GOOD, "price": [np.inf]}), "finite numbers"),
    "a missing label": ((ROW, {**GOOD, "kind": [None]}), "must not be missing"),
    "a missing output": ((ROW, {"kind": ["a"]}), "targets of all outputs"),
    "a class of another kind": ((ROW, {**GOOD, "kind": [3]}), "one kind"),
    "a negative weight": ((ROW, GOOD, [-1.0]), "must not be negative"),
    "a weight of nobody": ((ROW, GOOD, {"size": [1.0]}), "unknown output 'size'"),
    "an infinite value": (([{"new": np.inf}], GOOD), "infinity"),
    "a matrix for a number": ((ROW, {**GOOD, "price": [[1.0]]}), "columns of the first"),
    "other lengths": ((ROW * 2, GOOD), "as many rows"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_refused_call_leaves_every_byte_as_it_was(case):
    net = make().partial_fit(as_rows(X[:40]), BOTH[:40])
    before = state_of(net)
    arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        net.partial_fit(*arguments)
    assert state_of(net) == before
    with pytest.raises(ValueError, match="finite numbers"):
        net.fit(ROW, {**GOOD, "price": [np.inf]})
    assert state_of(net) == before


def test_an_interrupted_fit_leaves_every_byte_as_it_was(monkeypatch):
    net = make().partial_fit(as_rows(X[:40]), BOTH[:40])
    before, learn, calls = state_of(net), type(net.network_).learn, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt("in the fifth step")
        learn(self, *args)

    monkeypatch.setattr(type(net.network_), "learn", interrupted)
    with pytest.raises(KeyboardInterrupt, match="fifth"):
        net.fit(as_rows(X), BOTH)
    assert state_of(net) == before


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize(
    "trunk",
    [
        Hedge((5, 3)),
        AuxDrop((6, 6, 6), aux_layer=2, n_units=20, n_base=2),
        AuxNet(2, base_layers=1, end_layers=2, n_units=4),
    ],
    ids=repr,
)
def test_copies_go_on_alike_over_new_features_and_classes(trunk, optimizer, second_order):
    rows = pd.DataFrame(HAPHAZARD, columns=NAMES)
    late = (np.arange(120) >= 50) & (X[:, 2] > 0.8)
    y = Targets({"kind": np.where(late, "0", KIND), "price": PRICE})
    net = make(
        trunk, optimizer=optimizer, learning_rate=0.01, second_order=second_order, forgetting=0.99
    ).partial_fit(rows[NAMES[:3]][:40], y[:40])
    nets = [net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for start in range(40, 120, 8):
        here = slice(start, start + 8)
        nets = [
            one.partial_fit(rows[NAMES if start >= 64 else NAMES[:3]][here], y[here])
            for one in nets
        ]
        nets[2] = pickle.loads(pickle.dumps(nets[2]))
    assert len(net.classes_["kind"]) == 3
    assert net.n_features_in_ == 4
    for other in nets[1:]:
        assert other.predict(rows) == net.predict(rows)
        assert other.predict_proba(rows) == net.predict_proba(rows)
    for weights in net.expert_weights_.values():
        assert weights.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e12, 1e100])
def test_the_unit_of_a_number_does_not_matter(scale):
    score = make().fit(X, PRICE * scale).score(X, PRICE * scale)
    assert score == pytest.approx(make().fit(X, PRICE).score(X, PRICE), abs=0.01)


def test_the_unit_of_weights_does_not_matter():
    for y in (KIND, PRICE):
        plain, large = make().fit(X, y), make().fit(X, y, np.full(120, 1e300))
        small = make().fit(X, y, np.full(120, 1e-300))
        expected = plain.predict(X)
        for other in (large, small):
            found = other.predict(X)
            if y is KIND:
                np.testing.assert_array_equal(found, expected)
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_number_that_was_constant_may_begin_to_vary():
    net = make().partial_fit(X[:60], np.full(60, 7.0))
    np.testing.assert_array_equal(net.predict(X), np.full(120, 7.0))
    for _ in range(5):
        net.partial_fit(X, PRICE)
    assert net.score(X, PRICE) > 0.7


def test_every_row_may_have_a_class_of_its_own():
    with pytest.warns(UserWarning, match="taken for classes"):
        net = make().partial_fit(X[:30], np.arange(30)[::-1])
    assert net.classes_.tolist() == list(range(30))
    np.testing.assert_allclose(net.predict_proba(X).sum(axis=1), 1)


def test_booleans_become_numbers_where_a_number_joins_them():
    net = make().partial_fit(X[:4], [True, False, True, True]).partial_fit(X[:1], [2])
    assert net.classes_.tolist() == [0, 1, 2]


def test_a_fit_depends_on_nothing_that_came_before():
    expected = make().fit(X, KIND).predict_proba(X)
    net = make().partial_fit([{"q": 1.0}], ["z"]).fit(X, KIND)
    np.testing.assert_array_equal(net.predict_proba(X), expected)
    np.testing.assert_array_equal(net.fit(X, KIND).predict_proba(X), expected)
    assert not hasattr(net, "feature_names_in_")


def test_rows_of_all_kinds_are_the_same():
    pl = pytest.importorskip("polars")
    expected = make().fit(as_rows(HAPHAZARD), KIND).predict_proba(as_rows(HAPHAZARD))
    columns = {name: pd.array(HAPHAZARD[:, i], dtype="Float64") for i, name in enumerate(NAMES)}
    for rows in (
        pd.DataFrame(HAPHAZARD, columns=NAMES),
        pd.DataFrame(columns),
        pl.DataFrame(
            {n: [None if v != v else v for v in HAPHAZARD[:, i]] for i, n in enumerate(NAMES)}
        ),
    ):
        np.testing.assert_array_equal(make().fit(rows, KIND).predict_proba(rows), expected)


def test_threads_and_generators_of_the_caller_stay():
    n_threads, state = torch.get_num_threads(), torch.default_generator.get_state()
    torch.set_num_threads(2)
    try:
        net = make().partial_fit(X, BOTH)
        net.predict(X)
        with pytest.raises(ValueError, match="finite numbers"):
            net.partial_fit(X[:1], {"kind": ["a"], "price": [np.inf]})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)
    assert torch.equal(torch.default_generator.get_state(), state)
    assert torch.is_grad_enabled()


def test_an_output_may_wait_long_for_its_first_label():
    net = make(
        heads={"kind": Classification(), "price": Regression()}, missing_targets="ignore"
    ).partial_fit(X[:60], {"kind": KIND[:60], "price": np.full(60, np.nan)})
    alone = make().partial_fit(X[:60], {"kind": KIND[:60]})
    np.testing.assert_array_equal(
        net.predict(X, outputs=["kind"])["kind"], alone.predict(X)["kind"]
    )
    net.partial_fit(X[60:], BOTH[60:])
    assert net.scores(X, BOTH)["price"] > 0.8


def test_prequential_is_the_loop_written_by_hand():
    found = prequential(make(), X, BOTH, declare_classes=False)
    net, predicted = make().partial_fit(X[:1], BOTH[:1]), []
    for i in range(1, 120):
        predicted.append(net.predict(X[i : i + 1])["price"][0])
        net.partial_fit(X[i : i + 1], BOTH[i : i + 1])
    np.testing.assert_array_equal(found.predictions["price"][1:], predicted)
    assert found.estimator.predict(X) == net.predict(X)


def test_a_floor_keeps_every_expert_alive_at_any_rate():
    net = make(expert_weighting=MultiplicativeWeights(rate=1000.0, floor=0.03)).fit(X, PRICE)
    assert net.expert_weights_["y"].min() > 0.005
    assert net.expert_weights_["y"].sum() == pytest.approx(1, abs=1e-12)


def test_covariances_stay_positive_over_a_long_stream_that_forgets():
    rows = np.random.default_rng(1).normal(size=(1500, 3))
    rows[:, 2] = rows[:, 1]  # no information in one direction, for ever
    net = make(forgetting=0.9).partial_fit(rows, rows[:, 0] > 0)
    assert net.score(rows, rows[:, 0] > 0) > 0.9
    assert np.isfinite(net.predict_proba(rows)).all()
    still = pickle.loads(pickle.dumps(net))
    assert still.partial_fit(rows[:500], rows[:500, 0] > 0).score(rows, rows[:, 0] > 0) > 0.9


def test_an_output_of_weight_zero_takes_any_head():
    net = make(heads={"price": Quantile([0.5])}, loss_weights={"price": 0}).fit(X, BOTH)
    without = make().fit(X, {"kind": KIND})
    np.testing.assert_array_equal(net.predict(X)["kind"], without.predict(X)["kind"])
    assert len(np.unique(net.predict(X)["price"])) == 1
