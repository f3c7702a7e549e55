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
from mtlearn.trunks import MLP, AuxDrop, AuxNet, Hedge
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


LONG = np.random.default_rng(0).normal(size=(2000, 3))
CLASS = np.where(LONG[:, 0] + 0.3 * np.random.default_rng(1).normal(size=2000) > 0, "a", "b")


@pytest.mark.parametrize("value", [-9999.0, 1e6, 1e200])
def test_one_value_in_other_units_does_not_undo_a_feature(value):
    rows = LONG.copy()
    rows[100, 0] = value
    assert make().partial_fit(rows[:1000], CLASS[:1000]).score(LONG[1000:], CLASS[1000:]) > 0.85


def test_a_pickle_of_a_trunk_with_dropout_goes_on_identically():
    net = make(MLP((8,), dropout=0.5)).partial_fit(LONG[:50], CLASS[:50])
    loaded = pickle.loads(pickle.dumps(net)).partial_fit(LONG[50:100], CLASS[50:100])
    net.partial_fit(LONG[50:100], CLASS[50:100])
    np.testing.assert_array_equal(net.predict_proba(LONG), loaded.predict_proba(LONG))


DRAWN = []


class Noted(torch.nn.Dropout):
    def forward(self, x):
        made = super().forward(x)
        if self.training:
            DRAWN.append(tuple((made == 0)[0].tolist()))
        return made


def test_a_modules_dropout_draws_anew_in_each_call():
    DRAWN.clear()
    net = make(torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), Noted(0.5)))
    for i in range(30):
        net.partial_fit(LONG[i : i + 1], CLASS[i : i + 1], classes=["a", "b"])
    assert len(DRAWN) > 20
    assert len(set(DRAWN)) == len(DRAWN)


def test_mixed_classes_within_a_call_teach_nothing():
    net = make().partial_fit(LONG[:40], np.tile([1, 2], 20))
    with pytest.raises(ValueError, match="one kind"):
        net.partial_fit(LONG[:2], np.array([1, "a"], dtype=object))
    assert net.n_rows_seen_ == 40


def test_mixed_classes_in_the_first_call_leave_it_unfitted():
    net = make(heads={"y": Classification()})
    with pytest.raises(ValueError, match="one kind"):
        net.partial_fit(LONG[:4], np.array(["a", 1, "a", 2], dtype=object))
    assert not hasattr(net, "network_")


def test_weights_without_a_floor_stay_numbers():
    rows = np.random.default_rng(0).normal(size=(600, 5))
    rows[np.random.default_rng(1).random(rows.shape) < 0.5] = np.nan
    net = make(
        AuxNet(2, base_layers=1, end_layers=1, n_units=4),
        expert_weighting=MultiplicativeWeights(rate=50.0, floor=0.0),
    ).fit(rows, np.where(np.nan_to_num(rows[:, 3]) > 0, "a", "b"))
    assert abs(net.expert_weights_["y"].sum() - 1) < 1e-12


def test_weights_without_a_floor_stay_numbers_in_a_large_step():
    weigher = MultiplicativeWeights(rate=1000.0, floor=0.0).begin(np.ones(2), None, 0)
    weigher.learn(np.array([[0.0, 5.0]]))
    weigher.learn(np.array([[5.0, 0.0]]))
    assert np.isfinite(weigher.weights).all()


@pytest.mark.parametrize("params", [{"batch_size": -1}, {"n_threads": 0}])
def test_parameters_set_in_mid_stream_have_no_effect(params):
    net = make().partial_fit(LONG[:50], CLASS[:50])
    changed = copy.deepcopy(net).set_params(**params)
    for each in (net, changed):
        each.partial_fit(LONG[50:60], CLASS[50:60])
    np.testing.assert_array_equal(changed.predict_proba(LONG), net.predict_proba(LONG))


def test_forgetting_reaches_the_shares_of_the_classes():
    label = np.repeat(["a", "b"], 1000)
    label[::50], label[1000::50] = "b", "a"
    net = make(forgetting=0.99).partial_fit(LONG, label)
    assert net.predict_proba([[np.nan] * 3])[0, 1] > 0.9


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": "1.5"}, {"a": None}],
        pd.DataFrame({"a": ["1.5", "2"]}),
        pd.DataFrame({"a": pd.Categorical(["1.5", "2"])}),
    ],
)
def test_texts_are_refused_even_if_they_look_like_numbers(rows):
    with pytest.raises(TypeError, match="must hold numbers"):
        make().partial_fit(rows, ["a", "b"])


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 1.0}, {"a": pd.NA}],
        pd.DataFrame({"a": np.array([1.0, pd.NA], dtype=object)}),
    ],
)
def test_what_is_na_is_absent(rows):
    assert make().partial_fit(rows, ["a", "b"]).n_rows_seen_ == 2


@pytest.mark.parametrize(
    ("bad", "named"), [(10**400, "1000"), ([1.0, 2.0], r"\[1.0, 2.0\]"), ("red", "'red'")]
)
def test_the_bad_value_is_named(bad, named):
    with pytest.raises(TypeError, match=f"'a' of `X` must hold numbers. Got {named}"):
        make().partial_fit([{"a": 0.5}, {"a": bad}], ["a", "b"])


def test_times_are_classes():
    days = np.array(["2020-01-01", "2020-01-02"] * 2, dtype="M8[ns]")
    net = make(heads={"y": Classification()}).partial_fit(LONG[:4], days)
    net.partial_fit(LONG[:1], np.array(["2020-01-05"], dtype="M8[ns]"))
    assert len(net.classes_) == 3


def test_no_output_is_refused_in_words():
    with pytest.raises(ValueError, match="must name an output"):
        make().fit(LONG[:50], CLASS[:50]).predict(LONG[:2], outputs=[])


def test_it_learns_in_inference_mode():
    with torch.inference_mode():
        assert make().partial_fit(LONG[:50], CLASS[:50]).n_rows_seen_ == 50


def test_the_moments_of_a_head_follow_its_class():
    label = np.tile(["a", "c", "d"], 20)
    net = make(second_order=False, optimizer="adam", learning_rate=0.01).partial_fit(
        LONG[:60], label
    )
    net.network_._stepper.forget()
    before = net.network_._stepper._moments["y/1"]["exp_avg_sq"].copy()
    net.partial_fit(LONG[60:61], ["b"])
    after = net.network_._stepper._optimizer.moments()["y/1"]["exp_avg_sq"]
    np.testing.assert_allclose(after[[0, 2, 3]] / 0.999, before, rtol=0.2)


def test_numbers_of_many_columns_name_the_change():
    net = make().partial_fit(LONG[:2], [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="the columns of the first ones"):
        net.partial_fit(LONG[:2], [[0, 1, 1], [1, 0, 1]])
