"""A stream of pieces teaches as much as one fit; it can be stored, disturbed, and gone on with."""

import copy
import io
import pickle
import subprocess
import sys
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import FunctionTransformer
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn._engine._module import build_module
from mtlearn._layers import Dropout
from mtlearn._random import root_seed
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N, SIZE = 60, 12
KINDS = np.array(["a", "b", "c"])


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_data(n=N, dtype="float64"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype(dtype)
    kind = KINDS[(np.digitize(X[:, 1], [-0.5, 0.5]) + np.arange(n) % 2) % 3]
    return X, {"number": 10.0 + 3.0 * X[:, 0], "kind": kind, "flag": X[:, 2] > 0}


def make_net(estimator=MultiOutputNet, **params):
    return estimator(MLP((6,), activation="tanh"), random_state=0).set_params(**params)


def learn(net, X, y, method="partial_fit", **kwargs):
    """Fit an estimator of any class on the same targets."""
    own = {MultiOutputNetRegressor: "number", MultiOutputNetClassifier: "kind"}.get(type(net))
    if own is None:
        return getattr(net, method)(X, y, **kwargs)
    aux = Targets({name: labels for name, labels in y.items() if name != own})
    return getattr(net, method)(X, y[own], aux=aux, **kwargs)


def take(y, rows):
    return {name: labels[rows] for name, labels in y.items()}


def stream(net, X, y, size=SIZE, start=0, **kwargs):
    """Learn from all rows from `start` on, `size` of them at a time."""
    for i in range(start, len(X), size):
        learn(net, X[i : i + size], take(y, slice(i, i + size)), **kwargs)
    return net


def tensors_of(net):
    named = [*net.module_.named_parameters(), *net.module_.named_buffers()]
    return {name: tensor.detach().numpy().copy() for name, tensor in named}


def assert_same_tensors(net, twin):
    ours, theirs = tensors_of(net), tensors_of(twin)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def assert_same_predictions(net, twin, X):
    ours, theirs = net.predict(X), twin.predict(X)
    assert ours == theirs if isinstance(ours, Targets) else np.array_equal(ours, theirs)


def assert_same(net, twin, X):
    assert_same_tensors(net, twin)
    assert net.history_ == twin.history_
    assert (net.n_iter_, net.best_epoch_) == (twin.n_iter_, twin.best_epoch_)
    assert net._totals == twin._totals
    assert_same_predictions(net, twin, X)


def observe(y, every):
    """Labels of which the same share is missing in each piece."""
    number, kind = y["number"].copy(), y["kind"].astype(object)
    number[::every], kind[1::every] = np.nan, None
    return {**y, "number": number, "kind": kind}


# A stream is one epoch in the given order.


ESTIMATORS = [MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier]
TRUNKS = {
    "plain": MLP((6,)),
    "dropout": MLP((6, 5), dropout=0.3, normalization="layer"),
    "batch norm": MLP((6,), normalization="batch"),
    "module": nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU()),
}
RAW = {"normalize_losses": False, "batch_size": SIZE, "early_stopping": False}


@pytest.mark.parametrize("trunk", TRUNKS.values(), ids=TRUNKS)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_call_for_each_batch_is_one_fit_bit_for_bit(dtype, optimizer, trunk):
    X, y = make_data(dtype=dtype)
    net = make_net(trunk=trunk, optimizer=optimizer, learning_rate=0.01, **RAW)
    whole = clone(net).set_params(max_epochs=1, shuffle=False).fit(X, y)
    stream(net, X, y)
    assert next(net.module_.parameters()).dtype == getattr(torch, dtype)
    assert_same_tensors(net, whole)
    assert net.predict(X) == whole.predict(X)
    assert net.predict_proba(X) == whole.predict_proba(X)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("missing", [False, True])
def test_every_estimator_streams_what_it_fits(estimator, missing):
    X, y = make_data()
    y = observe(y, every=6) if missing else y
    net = make_net(estimator, missing_targets="ignore", **RAW)
    net.set_params(loss_weights={"flag": 0.3}, param_groups={"trunk": {"lr": 1e-4}})
    whole = learn(clone(net).set_params(max_epochs=1, shuffle=False), X, y, "fit")
    stream(net, X, y)
    assert_same_tensors(net, whole)
    assert_same_predictions(net, whole, X)


@pytest.mark.parametrize("sizes", [(24, 36), (36, 24), (48, 6, 6), (12, 41, 7)])
def test_a_call_of_many_rows_makes_several_batches(sizes):
    X, y = make_data()
    net = make_net(trunk=MLP((6,), dropout=0.2), **RAW)
    bounds = list(pairwise(np.cumsum([0, *sizes])))
    for start, stop in bounds:
        net.partial_fit(X[start:stop], take(y, slice(start, stop)))
    by_hand = make_net(trunk=MLP((6,), dropout=0.2), **RAW)
    for start, stop in bounds:
        for i in range(start, stop, SIZE):
            rows = slice(i, min(i + SIZE, stop))
            by_hand.partial_fit(X[rows], take(y, rows))
    assert_same_tensors(net, by_hand)
    assert (net.n_iter_, by_hand.n_iter_) == (len(sizes), len(by_hand.history_))


def test_the_rows_of_a_stream_keep_their_order_and_pass_once():
    X, y = make_data()
    plain = stream(make_net(**RAW), X, y)
    for params in ({"shuffle": False}, {"max_epochs": 7}, {"early_stopping": "auto"}):
        assert_same(plain, stream(make_net(**RAW | params), X, y), X)
    assert plain.n_iter_ == plain.best_epoch_ == len(plain.history_) == N // SIZE


def test_a_call_of_very_many_rows_holds_none_out():
    rows = np.random.default_rng(0).normal(size=(10_000, 2))
    net = make_net(MultiOutputNetRegressor).partial_fit(rows, rows[:, 0])
    assert list(net.history_[0]) == ["loss", "y_loss", "y_weight", "penalty"]


def test_the_losses_of_the_calls_average_to_those_of_the_epoch():
    X, y = make_data()
    net = stream(make_net(**RAW), X, y)
    (whole,) = make_net(**RAW).set_params(max_epochs=1, shuffle=False).fit(X, y).history_
    for key, value in whole.items():
        assert np.mean([row[key] for row in net.history_]) == pytest.approx(value, rel=1e-12)


# With normalised losses, next to a loop of torch written out.


LOSS_WEIGHTS = {"number": 0.7, "kind": 1.0, "flag": 0.2}
ALPHA, RATE = 0.01, 0.02


def weights_by_hand(y, weight, class_weight):
    """The weight of each label: of its row and its class, zero where it is missing."""
    weights = {}
    for name, labels in y.items():
        missing = pd.isna(labels)
        weights[name] = np.where(missing, 0.0, np.ones(len(labels)) if weight is None else weight)
        if name == "kind" and class_weight is not None:
            codes = np.searchsorted(KINDS, np.where(missing, "a", labels).astype(str))
            weights[name] *= class_weight[codes]
    return weights


class Scales:
    """What the first call settles: the mean and deviation of numbers, the losses' baselines."""

    def __init__(self, y, weight, balanced):
        plain = weights_by_hand(y, weight, None)
        known = plain["number"] > 0
        values, share = y["number"][known], plain["number"][known]
        self.mean = np.average(values, weights=share)
        self.deviation = np.sqrt(np.average((values - self.mean) ** 2, weights=share))
        self.baselines = {"number": 1.0}
        self.class_weight = None
        for name, classes in (("kind", KINDS), ("flag", np.array([False, True]))):
            mass = np.array([plain[name][y[name] == k].sum() for k in classes])
            once_more = mass + plain[name][plain[name] > 0].mean()
            if name == "kind" and balanced:
                self.class_weight = mass.sum() / (len(mass) * mass)
                once_more = once_more * self.class_weight
            p = once_more / once_more.sum()
            self.baselines[name] = -(p * np.log(p)).sum()

    def losses(self, raw, y):
        """The loss of each label; of missing ones anything."""
        standardised = (np.nan_to_num(y["number"]) - self.mean) / self.deviation
        codes = np.searchsorted(KINDS, np.where(pd.isna(y["kind"]), "a", y["kind"]).astype(str))
        flag = torch.tensor(y["flag"].astype(float))
        return {
            "number": (raw["number"] - torch.tensor(standardised)) ** 2,
            "kind": cross_entropy(raw["kind"], torch.tensor(codes), reduction="none")
            / self.baselines["kind"],
            "flag": binary_cross_entropy_with_logits(raw["flag"], flag, reduction="none")
            / self.baselines["flag"],
        }


def train_by_hand(net, calls, balanced):
    """The module and the losses after a stream of (X, y, sample_weight), by plain torch."""
    module = build_module(net.trunk_, net.heads_, 4, root_seed(0), torch.float64)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    scales = Scales(*calls[0][1:], balanced)
    mass, count, history = dict.fromkeys(LOSS_WEIGHTS, 0.0), 0, []
    for X, y, weight in calls:
        weights = weights_by_hand(y, weight, scales.class_weight)
        used = np.any(list(weights.values()), axis=0)
        count += used.sum()
        losses = scales.losses(module(torch.tensor(X)), y)
        row = {}
        for name in LOSS_WEIGHTS:
            mass[name] += weights[name].sum()
            share = torch.tensor(weights[name] / (mass[name] / count))
            row[name] = (losses[name] * share).sum() / used.sum()
        penalty = ALPHA * sum((p**2).sum() for p in module.parameters() if p.ndim == 2)
        total = sum(LOSS_WEIGHTS[name] * row[name] for name in LOSS_WEIGHTS) + penalty
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append({"loss": total.item()} | {f"{k}_loss": v.item() for k, v in row.items()})
    return module, history, scales


def weigh(kind, i):
    """The sample weights of a call."""
    rng = np.random.default_rng(i)
    return {
        "none": None,
        "random": rng.choice([0.0, 0.5, 1.0, 2.0], SIZE),
        "growing": np.full(SIZE, 3.0**i),
        "tiny": rng.uniform(1e-30, 3e-30, SIZE) * 7.0**i,
    }[kind]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("weights", ["none", "random", "growing", "tiny"])
def test_a_stream_equals_a_loop_of_torch_with_the_scales_of_the_first_call(
    weights, missing, balanced
):
    X, y = make_data()
    y["number"] = y["number"] * np.repeat([1.0, 5.0, 0.3, 1.0, 2.0], SIZE)
    if missing:
        rng = np.random.default_rng(1)
        number, kind = y["number"].copy(), y["kind"].astype(object)
        number[rng.random(N) < 0.3], kind[rng.random(N) < 0.4] = np.nan, None
        y = {**y, "number": number, "kind": kind}
    rows = [slice(i, i + SIZE) for i in range(0, N, SIZE)]
    calls = [(X[s], take(y, s), weigh(weights, i)) for i, s in enumerate(rows)]
    net = make_net(
        heads={"kind": Classification(class_weight="balanced" if balanced else None)},
        loss_weights=LOSS_WEIGHTS,
        learning_rate=RATE,
        alpha=ALPHA,
        missing_targets="ignore",
    )
    for call in calls:
        net.partial_fit(*call)
    module, history, scales = train_by_hand(net, calls, balanced)
    for ours, theirs in zip(net.module_.parameters(), module.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-11)
    for ours, theirs in zip(net.history_, history, strict=True):
        assert {key: ours[key] for key in theirs} == pytest.approx(theirs, rel=1e-9)
    raw = module.eval()(torch.tensor(X))["number"].detach().numpy()
    expected = scales.mean + scales.deviation * raw
    np.testing.assert_allclose(net.predict(X)["number"], expected, rtol=1e-9)


def test_class_weights_by_name_are_those_of_the_parameter():
    X, y = make_data()
    given = {"a": 1.0, "b": 3.0, "c": 0.5}
    by_class = make_net(heads={"kind": Classification(class_weight=given)})
    by_row = make_net()
    for i in range(0, N, SIZE):
        rows = slice(i, i + SIZE)
        by_class.partial_fit(X[rows], {"kind": y["kind"][rows]})
        weight = np.array([given[label] for label in y["kind"][rows]])
        by_row.partial_fit(X[rows], {"kind": y["kind"][rows]}, weight)
    ratio = by_class.heads_["kind"].baseline_ / by_row.heads_["kind"].baseline_
    for ours, theirs in zip(by_class.history_, by_row.history_, strict=True):
        assert ours["kind_weight"] == theirs["kind_weight"] == 1.0
    assert by_class.history_[0]["kind_loss"] * ratio == pytest.approx(
        by_row.history_[0]["kind_loss"], rel=1e-12
    )


def test_only_ratios_of_weights_count():
    X, y = make_data()
    weight = np.random.default_rng(0).uniform(0.1, 2.0, N)
    nets = [make_net() for _ in range(3)]
    for net, factor in zip(nets, (1.0, 2.0**40, 3e-7), strict=True):
        for i in range(0, N, SIZE):
            rows = slice(i, i + SIZE)
            net.partial_fit(X[rows], take(y, rows), factor * weight[rows])
    assert_same_tensors(nets[0], nets[1])
    for name, values in tensors_of(nets[0]).items():
        np.testing.assert_allclose(values, tensors_of(nets[2])[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_weights_count_beside_those_of_earlier_rows(method):
    X, _ = make_data()
    y = {"number": X[:, 0]}
    params = {"trunk": MLP(()), "optimizer": "sgd", "alpha": 0.0, "learning_rate": 0.01}
    first = make_net(max_epochs=2, **params)
    getattr(first, method)(X[:10], take(y, slice(10)), np.full(10, 2.0))
    before = tensors_of(first)
    steps = {}
    for factor in (1.0, 2.0, 200.0):
        net = copy.deepcopy(first)
        net.partial_fit(X[10:20], take(y, slice(10, 20)), np.full(10, factor))
        steps[factor] = {name: v - before[name] for name, v in tensors_of(net).items()}
    mean = {factor: (10 * 2.0 + 10 * factor) / 20 for factor in steps}
    for factor in (1.0, 200.0):
        for name, step in steps[factor].items():
            expected = steps[2.0][name] * factor / mean[factor]
            np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("trunk", [MLP((6,)), MLP((6,), dropout=0.3, normalization="batch")])
def test_a_call_without_any_weight_changes_nothing(trunk):
    X, y = make_data()
    net, twin = (stream(make_net(trunk=trunk), X, y) for _ in range(2))
    net.partial_fit(X, y, np.zeros(N))
    assert_same(net, twin, X)
    assert_same(stream(net, X, y), stream(twin, X, y), X)


def test_a_parameter_set_before_a_call_without_weight_counts_after_it():
    X, y = make_data()
    net, twin = (make_net().partial_fit(X, y).set_params(learning_rate=0.1) for _ in range(2))
    net.partial_fit(X, y, np.zeros(N))
    assert_same(net.partial_fit(X, y), twin.partial_fit(X, y), X)


# What a call leaves behind.


@pytest.fixture(scope="module")
def long_stream():
    X = np.random.default_rng(3).normal(size=(1000, 3))
    y = {"number": 2.0 + 3.0 * X[:, 0], "kind": np.where(X[:, 1] > 0, "up", "down")}
    net = MultiOutputNet(
        MLP((16,)), loss_weights={"kind": 0.5}, learning_rate=0.01, alpha=1e-5, random_state=0
    )
    for i in range(1000):
        net.partial_fit(X[i : i + 1], take(y, slice(i, i + 1)), classes={"kind": ["down", "up"]})
    return net, X, y


def test_a_thousand_calls_of_one_row_learn(long_stream):
    net, X, y = long_stream
    scores = net.scores(X, y)
    assert scores["number"] > 0.9
    assert scores["kind"] > 0.9


def test_a_thousand_calls_have_a_row_of_history_each(long_stream):
    net, _, _ = long_stream
    assert net.n_iter_ == net.best_epoch_ == len(net.history_) == 1000
    for row in net.history_:
        total = sum(row[f"{name}_weight"] * row[f"{name}_loss"] for name in net.output_names_)
        assert row["loss"] == pytest.approx(total + row["penalty"], rel=1e-12)
        assert row["kind_weight"] == 0.5


def test_history_obeys_the_total_where_an_output_has_no_label():
    X, y = make_data()
    net = make_net(missing_targets="ignore", loss_weights={"number": 0.3})
    net.partial_fit(X, y).partial_fit(X, {**y, "number": np.full(N, np.nan)})
    first, second = net.history_
    assert "number_loss" in first
    assert "number_loss" not in second
    total = second["kind_loss"] + second["flag_loss"] + second["penalty"]
    assert second["loss"] == pytest.approx(total, rel=1e-12)


def test_the_scale_of_a_target_is_that_of_the_first_call():
    X, y = make_data()
    net = make_net().partial_fit(X[:SIZE], take(y, slice(SIZE)))
    head = net.heads_["number"]
    before = repr(vars(head))
    stream(net, X, {**y, "number": 3.0 * y["number"]}, start=SIZE)
    assert net.heads_["number"] is head
    assert repr(vars(head)) == before
    assert head.center_ == pytest.approx(y["number"][:SIZE].mean(), rel=1e-12)
    assert head.scale_ == pytest.approx(y["number"][:SIZE].std(), rel=1e-12)


def test_the_transformer_of_a_target_is_fitted_on_the_first_call():
    X, y = make_data()
    head = Regression(transformer=FunctionTransformer(np.log, np.exp))
    net = stream(make_net(heads={"number": head}), X, {"number": 20 + y["number"]})
    logs = stream(make_net(), X, {"number": np.log(20 + y["number"])})
    assert_same_tensors(net, logs)
    expected = np.exp(logs.predict(X)["number"])
    np.testing.assert_allclose(net.predict(X)["number"], expected, rtol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_stream_goes_on_from_the_weights_of_a_fit(estimator):
    X, y = make_data()
    net = learn(make_net(estimator, max_epochs=3), X, y, "fit")
    before, fitted = tensors_of(net), copy.deepcopy(net)
    net.set_params(learning_rate=1e-30, optimizer="sgd")
    learn(net, X, y)
    for name, values in tensors_of(net).items():
        np.testing.assert_array_equal(values, before[name])
    assert net.history_[:-1] == fitted.history_
    assert net.history_[-1]["loss"] < fitted.history_[-1]["loss"]
    assert net.n_iter_ == net.best_epoch_ == 4


def test_a_stream_after_a_fit_begins_with_a_new_optimizer():
    X, y = make_data()
    net = make_net(normalize_losses=False, max_epochs=3, optimizer="adam").fit(X, y)
    expected = copy.deepcopy(net.module_)
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3)
    raw = expected(torch.tensor(X))
    codes = torch.tensor(np.searchsorted(KINDS, y["kind"]))
    loss = ((raw["number"] - torch.tensor(y["number"])) ** 2).mean()
    loss = loss + cross_entropy(raw["kind"], codes)
    loss = loss + binary_cross_entropy_with_logits(raw["flag"], torch.tensor(y["flag"] * 1.0))
    loss = loss + 2e-3 * sum((p**2).sum() for p in expected.parameters() if p.ndim == 2)
    loss.backward()
    optimizer.step()
    net.partial_fit(X, y)
    for ours, theirs in zip(net.module_.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fit_after_a_stream_starts_anew(estimator):
    X, y = make_data()
    net = make_net(estimator, trunk=MLP((6,), dropout=0.2), max_epochs=3)
    fresh = learn(clone(net), X, y, "fit")
    assert_same(learn(stream(net, X, y), X, y, "fit"), fresh, X)
    other = take(y, slice(20)) | {"kind": np.array(["x", "z"] * 10)}
    assert_same(
        learn(net, X[:20, :3], other, "fit"),
        learn(clone(net), X[:20, :3], other, "fit"),
        X[:, :3],
    )


def test_rows_of_another_type_are_learned_in_the_type_of_the_first_call():
    X, y = make_data(dtype="float32")
    net = make_net().partial_fit(X[:30], take(y, slice(30)))
    twin = copy.deepcopy(net)
    net.partial_fit(X[30:].astype("float64"), take(y, slice(30, N)))
    twin.partial_fit(X[30:], take(y, slice(30, N)))
    assert next(net.module_.parameters()).dtype == torch.float32
    assert_same(net, twin, X)


def test_a_stream_of_an_array_gives_arrays():
    X, y = make_data()
    net = stream(make_net(), X, {"y": y["number"]})
    assert isinstance(net.predict(X), Targets)
    for labels in (y["number"], y["kind"]):
        net = make_net().partial_fit(X, labels).partial_fit(X[:1], labels[:1])
        assert type(net.predict(X)) is np.ndarray


@pytest.mark.parametrize("form", [Targets, pd.DataFrame])
def test_targets_come_in_any_form(form):
    X, y = make_data()
    net = make_net()
    for i in range(0, N, SIZE):
        net.partial_fit(X[i : i + SIZE], form(take(y, slice(i, i + SIZE))))
    assert_same(net, stream(make_net(), X, y), X)


def test_keys_in_another_order_change_nothing():
    X, y = make_data()
    net = make_net().partial_fit(X, y).partial_fit(X, dict(reversed(y.items())))
    assert_same(net, make_net().partial_fit(X, y).partial_fit(X, y), X)


def test_global_generators_and_threads_are_left_alone():
    X, y = make_data()
    net = make_net(trunk=nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5)))
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    stream(net, X, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "trunk", [MLP((6,), dropout=0.5), nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5))]
)
@pytest.mark.parametrize("store", [False, True])
def test_dropout_draws_anew_in_each_call(trunk, store):
    X, y = make_data()
    net = make_net(trunk=trunk, optimizer="sgd", learning_rate=1e-30)
    for _ in range(4):
        net.partial_fit(X, y)
        net = pickle.loads(pickle.dumps(net)) if store else net
    losses = [row["number_loss"] for row in net.history_]
    assert min(abs(a - b) for a, b in combinations(losses, 2)) > 1e-6


# Dropped outputs.


def test_the_kept_outputs_of_a_stream_go_on():
    X, y = make_data()
    net = stream(make_net(), X, y)
    before, smaller = tensors_of(net), net.drop_outputs(["number", "flag"])
    kind = {"kind": y["kind"]}
    loss = smaller.history_[-1]["kind_loss"]
    for _ in range(30):
        smaller.set_params(learning_rate=0.01).partial_fit(X, kind)
    assert smaller.output_names_ == ["kind"]
    assert smaller.history_[-1]["kind_loss"] < loss
    assert smaller.n_iter_ == N // SIZE + 30
    for name, values in tensors_of(net).items():
        np.testing.assert_array_equal(values, before[name])


def test_the_kept_outputs_need_no_dropped_target_and_take_none():
    X, y = make_data()
    smaller = make_net().partial_fit(X, y).drop_outputs(["flag"])
    with pytest.raises(ValueError, match="unknown target 'flag'"):
        smaller.partial_fit(X, y)
    del y["flag"]
    assert smaller.partial_fit(X, y).n_iter_ == 2


@pytest.mark.parametrize(
    "params",
    [
        {"heads": {"flag": Classification(hidden_layer_sizes=(3,))}},
        {"loss_weights": {"flag": 0.5}},
        {"param_groups": {"flag": {"lr": 1e-4}}},
    ],
    ids=lambda params: next(iter(params)),
)
def test_parameters_of_a_dropped_output_do_not_stand_in_the_way(params):
    X, y = make_data()
    smaller = make_net(**params).partial_fit(X, y).drop_outputs(["flag"])
    del y["flag"]
    smaller.partial_fit(X, y)
    assert smaller.n_iter_ == 2


def test_the_dropped_aux_of_a_regressor_is_no_longer_asked_for():
    X, y = make_data()
    net = learn(make_net(MultiOutputNetRegressor), X, y)
    smaller = net.drop_outputs(["kind", "flag"]).partial_fit(X, y["number"])
    assert smaller.predict(X).shape == (N,)


# Classes.


def test_declared_classes_may_come_later():
    X, y = make_data()
    only_a = np.flatnonzero(y["kind"] == "a")
    net = make_net().partial_fit(X[only_a], take(y, only_a), classes={"kind": KINDS[::-1]})
    np.testing.assert_array_equal(net.classes_["kind"], KINDS)
    assert net.predict_proba(X)["kind"].shape == (N, 3)
    net.set_params(learning_rate=0.05)
    for _ in range(60):
        net.partial_fit(X, y)
    assert net.scores(X, y)["kind"] > 0.5
    assert set(net.predict(X)["kind"]) == set(KINDS)


def test_classes_declared_in_any_way_are_the_same():
    X, y = make_data()
    kind = {"kind": y["kind"]}
    by_name = stream(make_net(), X, kind, classes={"kind": ["c", "a", "b"]})
    by_head = stream(make_net(heads={"kind": Classification(classes=["a", "b", "c"])}), X, kind)
    learned = stream(make_net(), X, kind)
    assert_same(by_name, by_head, X)
    assert_same(by_name, learned, X)
    array = make_net()
    classifier = make_net(MultiOutputNetClassifier)
    for i in range(0, N, SIZE):
        array.partial_fit(X[i : i + SIZE], y["kind"][i : i + SIZE], classes=KINDS)
        classifier.partial_fit(X[i : i + SIZE], y["kind"][i : i + SIZE], classes=KINDS)
    np.testing.assert_array_equal(array.classes_, KINDS)
    np.testing.assert_array_equal(array.predict_proba(X), classifier.predict_proba(X))


def test_classes_of_the_head_keep_their_order():
    X, y = make_data()
    net = make_net(heads={"kind": Classification(classes=["c", "a", "b"])})
    net.partial_fit(X, y, classes={"kind": ["a", "b", "c"]})
    np.testing.assert_array_equal(net.classes_["kind"], ["c", "a", "b"])


@pytest.mark.parametrize("estimator", [MultiOutputNetRegressor, MultiOutputNetClassifier])
def test_classes_of_an_auxiliary_output_are_declared_by_name(estimator):
    X, y = make_data()
    first = np.flatnonzero(~y["flag"])
    net = make_net(estimator)
    name = "y" if estimator is MultiOutputNetClassifier else "kind"
    learn(net, X[first], take(y, first), classes={"flag": [False, True], name: KINDS})
    learn(net, X, y)
    np.testing.assert_array_equal(net.heads_["flag"].classes_, [False, True])


@pytest.mark.parametrize(
    "first",
    [np.array([[0, 1], [2, 0], [1, 2]]), np.array([[0, 2], [0, 2]]), np.array([[1, 0], [0, 1]])],
    ids=["all", "one each", "zeros and ones"],
)
def test_a_classifier_of_several_columns_takes_a_list_of_classes(first):
    X, _ = make_data()
    y = np.column_stack([np.arange(N) % 3, np.arange(N) // 3 % 3])
    classes = [np.arange(3), np.arange(3)]
    net = make_net(MultiOutputNetClassifier).partial_fit(X[: len(first)], first, classes=classes)
    net.partial_fit(X, y)
    assert net.output_names_ == ["y0", "y1"]
    assert [column.tolist() for column in net.classes_] == [[0, 1, 2], [0, 1, 2]]
    assert net.predict(X).shape == (N, 2)


def test_the_list_of_classes_must_fit_the_columns():
    X, y = make_data()
    pair = np.column_stack([y["kind"], y["kind"]])
    with pytest.raises(ValueError, match=r"each of the 2 columns of `y`\. Got 1"):
        make_net(MultiOutputNetClassifier).partial_fit(X, pair, classes=[KINDS])


def test_an_indicator_matrix_streams_with_columns_that_do_not_vary_at_first():
    X, _ = make_data()
    tags = (X[:, :3] > 0).astype(int)
    first = np.flatnonzero(tags[:, 0] == 0)[:5]
    net = make_net(MultiOutputNetClassifier, learning_rate=0.1)
    net.partial_fit(X[first], tags[first], classes=[0, 1, 2])
    for _ in range(60):
        net.partial_fit(X, tags)
    assert isinstance(net.heads_["y"], MultiLabel)
    assert net.score(X, tags) > 0.9


@pytest.mark.parametrize(
    "labels",
    [
        np.array([False, True]),
        np.array([3, 7]),
        np.array(["no", "yes, indeed"]),
        np.array(["x", "yy"], dtype=object),
        np.array([-1, 0, 5], dtype=np.int8),
    ],
    ids=["bool", "int", "str", "object", "int8"],
)
def test_labels_of_any_type_stream(labels):
    X, _ = make_data()
    y = labels[np.arange(N) % len(labels)]
    net = make_net().partial_fit(X[:1], {"a": y[:1]}, classes={"a": labels})
    net.partial_fit(X[1:3], {"a": y[1:3]}).partial_fit(X, {"a": y})
    np.testing.assert_array_equal(net.classes_["a"], np.unique(labels))
    assert set(net.predict(X)["a"].tolist()) <= set(labels.tolist())
    assert type(net.predict(X)["a"].tolist()[0]) is type(labels.tolist()[0])


def test_integers_that_missing_labels_made_floats_are_the_same_classes():
    X, _ = make_data()
    y = np.arange(N) % 3
    net = make_net(missing_targets="ignore").partial_fit(X, {"a": y})
    twin = copy.deepcopy(net)
    floats = y.astype(float)
    floats[::4] = np.nan
    objects = np.where(np.isnan(floats), None, y)
    assert_same(net.partial_fit(X, {"a": floats}), twin.partial_fit(X, {"a": objects}), X)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_unknown_class_is_refused_with_its_output(estimator):
    X, y = make_data()
    net = learn(make_net(estimator), X, y)
    name = "y" if estimator is MultiOutputNetClassifier else "kind"
    y["kind"] = np.where(np.arange(N) == 7, "zebra", y["kind"])
    with pytest.raises(ValueError, match=f"(?s)output '{name}'.*'zebra'"):
        learn(net, X, y)


def test_a_class_outside_the_declared_ones_is_refused_in_the_first_call():
    X, y = make_data()
    with pytest.raises(ValueError, match=r"output 'kind'.*\['a', 'b'\].*'c'"):
        make_net().partial_fit(X, y, classes={"kind": ["a", "b"]})


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c", "d"], ["a", "b", "x"], [1, 2, 3]])
def test_other_classes_are_refused_later(classes):
    X, y = make_data()
    net = make_net().partial_fit(X, y, classes={"kind": KINDS})
    net.partial_fit(X, y, classes={"kind": KINDS[::-1]})
    with pytest.raises(
        ValueError, match=r"^MultiOutputNet: `classes` of the output 'kind' must be those"
    ):
        net.partial_fit(X, y, classes={"kind": classes})


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"knid": ["a"]}, "unknown output 'knid'.*did you mean 'kind'"),
        ({"number": [1, 2]}, "`classes` names the output 'number', which has none"),
        (["a", "b", "c"], "must be a dict by output where `y` has names"),
    ],
)
def test_classes_of_no_class_output_are_refused(classes, message):
    X, y = make_data()
    net = make_net(heads={"number": Regression()})
    with pytest.raises(ValueError, match=message):
        net.partial_fit(X, y, classes=classes)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_first_call_of_one_class_needs_the_others_declared(estimator):
    X, y = make_data()
    only_a = {**y, "kind": np.full(N, "a")}
    name = "y" if estimator is MultiOutputNetClassifier else "kind"
    net = make_net(estimator)
    with pytest.raises(ValueError, match=rf"output '{name}': .* only \['a'\]; declare those"):
        learn(net, X, only_a)
    assert not hasattr(net, "n_features_in_")
    learn(net, X, only_a, classes={name: KINDS})
    assert learn(net, X, y).n_iter_ == 2


def test_a_call_after_a_fit_of_constants_alone_learns_nothing_and_does_not_fail():
    X, _ = make_data()
    only_a = np.full(N, "a")
    net = make_net(MultiOutputNetClassifier).fit(X, only_a).partial_fit(X, only_a)
    assert (net.n_iter_, net.history_) == (0, [])
    assert set(pickle.loads(pickle.dumps(net)).partial_fit(X, only_a).predict(X)) == {"a"}
    with pytest.raises(ValueError, match=r"output 'y': the target was constant, 'a'.*'b'"):
        net.partial_fit(X, np.full(N, "b"))


@pytest.mark.parametrize("value", [5.0, 0.0, -2e6])
def test_numbers_that_are_constant_at_first_may_vary_later(value):
    X, _ = make_data()
    y = value + max(abs(value), 1.0) * X[:, 0]
    net = make_net(learning_rate=0.1).partial_fit(X[:9], {"a": np.full(9, value)})
    assert net.predict(X)["a"].shape == (N,)
    for _ in range(60):
        net.partial_fit(X, {"a": y})
    assert net.score(X, {"a": y}) > 0.9


# Labels, targets and columns that a call lacks.


@pytest.mark.parametrize("name", ["number", "kind"])
def test_an_output_without_a_label_in_the_first_call_is_refused(name):
    X, y = make_data()
    y[name] = np.full(N, None if name == "kind" else np.nan)
    net = make_net(missing_targets="ignore")
    with pytest.raises(ValueError, match=f"output '{name}': some label must be observed"):
        net.partial_fit(X, y, classes={"kind": KINDS})
    assert not hasattr(net, "n_features_in_")


@pytest.mark.parametrize("name", ["number", "kind"])
def test_an_output_without_a_label_in_a_later_call_keeps_its_layers(name):
    X, y = make_data()
    heads = {"number": Regression(hidden_layer_sizes=(3,))}
    params = {"optimizer": "sgd", "learning_rate": 0.1, "alpha": 0.0, "missing_targets": "ignore"}
    net = make_net(heads=heads, **params).partial_fit(X, y)
    before = tensors_of(net)
    missing = {**y, name: np.full(N, None if name == "kind" else np.nan)}
    net.partial_fit(X, missing)
    own = f"heads.{net.module_.names.index(name)}."
    after = tensors_of(net)
    assert any(key.startswith(own) for key in before)
    for key, values in before.items():
        assert np.array_equal(values, after[key]) == key.startswith(own), key


def test_only_the_penalty_moves_the_layers_of_an_output_without_a_label():
    X, y = make_data()
    params = {"optimizer": "sgd", "learning_rate": 0.1, "alpha": 0.25, "missing_targets": "ignore"}
    net = make_net(**params).partial_fit(X, y)
    before = tensors_of(net)
    net.partial_fit(X, {**y, "number": np.full(N, np.nan)})
    own = f"heads.{net.module_.names.index('number')}.0"
    shrunk = before[f"{own}.weight"] * (1 - 2 * 0.1 * 0.25)
    np.testing.assert_allclose(tensors_of(net)[f"{own}.weight"], shrunk, rtol=1e-12)
    np.testing.assert_array_equal(tensors_of(net)[f"{own}.bias"], before[f"{own}.bias"])


def test_a_call_without_any_label_changes_nothing():
    X, y = make_data()
    net, twin = (make_net(missing_targets="ignore").partial_fit(X, y) for _ in range(2))
    nothing = {"number": np.full(N, np.nan), "kind": np.full(N, None), "flag": np.full(N, None)}
    assert_same(net.partial_fit(X, nothing), twin, X)
    assert_same(net.partial_fit(X, y), twin.partial_fit(X, y), X)


def test_missing_labels_are_refused_unless_they_are_ignored():
    X, y = make_data()
    net = make_net().partial_fit(X, y)
    with pytest.raises(ValueError, match="output 'number': the labels must not be missing"):
        net.partial_fit(X, observe(y, every=6))


# A call that fails.


class Breakable(nn.Module):
    """A layer whose forward pass raises when its turn has come."""

    turns = 0

    def forward(self, x):
        if self.training and Breakable.turns:
            Breakable.turns -= 1
            if not Breakable.turns:
                raise KeyboardInterrupt
        return x


def breakable_trunk(n_features):
    layers = nn.Linear(n_features, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), Dropout(0.2)
    return nn.Sequential(*layers, Breakable())


def break_by_label(net, X, y):
    with pytest.raises(ValueError, match="Regression needs finite numbers"):
        learn(net, X, {**y, "number": np.where(np.arange(N) == 5, np.inf, y["number"])})


def break_by_missing_label(net, X, y):
    with pytest.raises(ValueError, match="must not be missing"):
        learn(net, X, observe(y, every=6))


def break_by_class(net, X, y):
    with pytest.raises(ValueError, match="zebra"):
        learn(net, X, {**y, "kind": np.where(np.arange(N) == 5, "zebra", y["kind"])})


def break_by_classes(net, X, y):
    with pytest.raises(ValueError, match="must be those that it has"):
        learn(net, X, y, classes={"kind": ["a", "b"]})


def break_by_target(net, X, y):
    with pytest.raises(ValueError, match=r"Missing: \['flag'\]"):
        learn(net, X, {name: y[name] for name in ("number", "kind")})


def break_by_unknown_target(net, X, y):
    with pytest.raises(ValueError, match="unknown target 'other'"):
        learn(net, X, {**y, "other": y["number"]})


def break_by_columns_of_a_target(net, X, y):
    with pytest.raises(ValueError, match="output 'number': the labels must have the columns"):
        learn(net, X, {**y, "number": np.column_stack([y["number"]] * 2)})


def break_by_features(net, X, y):
    with pytest.raises(ValueError, match="X has 3 features"):
        learn(net, X[:, :3], y)


def break_by_rows(net, X, y):
    with pytest.raises(ValueError, match="as many rows as X"):
        learn(net, X[:-1], y)


def break_by_infinite_rows(net, X, y):
    with pytest.raises(ValueError, match="X contains infinity"):
        learn(net, np.where(np.arange(N)[:, None] == 5, np.inf, X), y)


def break_by_weights(net, X, y):
    with pytest.raises(ValueError, match="must not be negative"):
        learn(net, X, y, sample_weight=np.arange(N) - 1.0)


def break_by_divergence(net, X, y):
    net.set_params(learning_rate=1e30)
    with pytest.raises(DivergenceError, match="diverged in epoch"):
        learn(net, X, y)
    net.set_params(learning_rate=1e-3)


def break_by_infinite_weights(net, X, y):
    net.set_params(optimizer="sgd", learning_rate=1e308, alpha=1e3, batch_size=N)
    with pytest.raises(DivergenceError, match="a weight is not finite"):
        learn(net, X, y)
    net.set_params(optimizer="adam", learning_rate=1e-3, alpha=2e-3, batch_size=5)


def break_by_interrupt(net, X, y):
    Breakable.turns = 3
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        learn(net, X, y)
    assert Breakable.turns == 0


def break_by_trunk(net, X, y):
    trunk = net.trunk
    net.set_params(trunk=MLP((9,)))
    with pytest.raises(ValueError, match="trunk"):
        learn(net, X, y)
    net.set_params(trunk=trunk)


def break_by_parameter(net, X, y):
    net.set_params(learning_rate=-1.0)
    with pytest.raises(ValueError, match=r"(?i)learning.rate"):
        learn(net, X, y)
    net.set_params(learning_rate=1e-3)


def break_by_frozen_parts(net, X, y):
    net.set_params(param_groups={name: {"lr": 0} for name in ["trunk", *y]})
    with pytest.raises(ValueError, match="must leave a part to learn"):
        learn(net, X, y)
    net.set_params(param_groups=None)


def break_by_fit(net, X, y):
    net.set_params(learning_rate=1e30)
    with pytest.raises(DivergenceError, match="diverged in epoch 1"):
        learn(net, X, y, "fit")
    net.set_params(learning_rate=1e-3)


BREAKS = [value for name, value in list(globals().items()) if name.startswith("break_by_")]


@pytest.mark.parametrize("fail", BREAKS)
def test_a_call_that_fails_leaves_the_stream_as_it_was(fail):
    X, y = make_data()
    params = {"trunk": breakable_trunk, "batch_size": 5, "n_threads": 1}
    net, twin = (stream(make_net(**params), X, y) for _ in range(2))
    attributes = dict(net.__dict__)
    rows, training = copy.deepcopy(net.history_), net.module_.training
    fail(net, X, y)
    assert net.__dict__ == attributes
    assert (net.history_, net.module_.training) == (rows, training)
    assert_same(net, twin, X)
    assert_same(stream(net, X, y), stream(twin, X, y), X)
    fail(net, X, y)
    assert_same(pickle.loads(pickle.dumps(net)), pickle.loads(pickle.dumps(twin)), X)


@pytest.mark.parametrize("fail", [break_by_interrupt, break_by_infinite_rows, break_by_weights])
def test_a_first_call_that_fails_leaves_the_estimator_unfitted(fail):
    X, y = make_data()
    net = make_net(trunk=breakable_trunk, batch_size=5)
    attributes = dict(net.__dict__)
    fail(net, X, y)
    assert net.__dict__ == attributes
    with pytest.raises(NotFittedError, match="not fitted"):
        net.predict(X)
    fresh = clone(net)
    assert_same(stream(net, X, y), stream(fresh, X, y), X)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"early_stopping": True}, "`early_stopping` needs an end, which a stream has not"),
        ({"learning_rate_schedule": "cosine"}, "`learning_rate_schedule` needs an end"),
        ({"learning_rate_schedule": "plateau"}, "`learning_rate_schedule` needs an end"),
    ],
)
def test_what_needs_an_end_is_refused(params, message):
    X, y = make_data()
    with pytest.raises(ValueError, match=message):
        make_net(**params).partial_fit(X, y)


def test_a_single_row_for_batch_normalisation_is_refused():
    X, y = make_data()
    net = make_net(trunk=MLP((6,), normalization="batch")).partial_fit(X, y)
    with pytest.raises(ValueError, match="at least 2 rows in a batch"):
        net.partial_fit(X[:1], take(y, slice(1)))


# Stored and loaded, a stream goes on as if nothing had happened.


def through_joblib(net):
    file = io.BytesIO()
    joblib.dump(net, file, compress=3)
    file.seek(0)
    return joblib.load(file)


ROUND_TRIPS = {
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "pickle, twice": lambda net: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(net)))),
    "joblib": through_joblib,
    "cloudpickle": lambda net: cloudpickle.loads(cloudpickle.dumps(net)),
    "deepcopy": copy.deepcopy,
}
SETTINGS = {
    "dropout": {"trunk": MLP((6, 5), dropout=0.4)},
    "batch norm": {"trunk": MLP((6,), normalization="batch", dropout=0.1)},
    "torch's dropout": {"trunk": nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.4))},
    "a function": {"trunk": breakable_trunk},
    "heads": {"heads": {"kind": Classification(hidden_layer_sizes=(4,), classes=KINDS)}},
    "weights": {"loss_weights": {"kind": 0.0, "flag": 0.1}},
    "raw": {"normalize_losses": False},
    "float32": {"dtype": "float32"},
    "adamw": {"optimizer": "adamw", "optimizer_params": {"weight_decay": 0.1, "amsgrad": True}},
    "rmsprop": {"optimizer": "rmsprop", "optimizer_params": {"momentum": 0.5, "centered": True}},
    "sgd": {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9, "nesterov": True}},
    "a class": {"optimizer": torch.optim.Adagrad},
    "a partial": {"optimizer": partial(torch.optim.Adamax, betas=(0.8, 0.9))},
    "groups": {"param_groups": {"trunk": {"lr": 1e-4}, "kind": {"lr": 0.1}}},
    "frozen": {"param_groups": {"trunk": {"lr": 0.0}, "flag": {"betas": (0.5, 0.9)}}},
}


@pytest.mark.parametrize("round_trip", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_stored_stream_goes_on_as_if_it_had_not_been(estimator, round_trip):
    X, y = make_data()
    params = {"trunk": MLP((6,), dropout=0.3, normalization="batch"), "learning_rate": 0.01}
    net, twin = (make_net(estimator, **params) for _ in range(2))
    for i in range(0, N, 5):
        rows = slice(i, i + 5)
        known = {} if i else {"classes": {"kind": KINDS, "flag": [False, True]}}
        if known and estimator is MultiOutputNetClassifier:
            known["classes"]["y"] = known["classes"].pop("kind")
        learn(net, X[rows], take(y, rows), **known)
        learn(twin, X[rows], take(y, rows), **known)
        if i in (0, 5, 30, 55):
            net = round_trip(net)
            assert_same(net, twin, X)
    assert_same(stream(net, X, y), stream(twin, X, y), X)


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
def test_a_stored_stream_keeps_its_state_in_every_setting(params):
    X, y = make_data()
    params = {"batch_size": 5, "learning_rate": 0.01, "missing_targets": "ignore", **params}
    net, twin = (make_net(**params) for _ in range(2))
    y = observe(y, every=4)
    weight = np.random.default_rng(0).uniform(0.1, 2.0, N)
    for _ in range(2):
        for i in range(0, N, SIZE):
            rows = slice(i, i + SIZE)
            net.partial_fit(X[rows], take(y, rows), weight[rows])
            twin.partial_fit(X[rows], take(y, rows), weight[rows])
            net = pickle.loads(pickle.dumps(net))
    assert_same(net, twin, X)


def test_a_stored_stream_is_independent_of_the_one_it_was_stored_from():
    X, y = make_data()
    net = stream(make_net(trunk=MLP((6,), dropout=0.3)), X, y)
    twin, data = copy.deepcopy(net), pickle.dumps(net)
    stream(net, X, y)
    assert_same(pickle.loads(data), twin, X)
    assert_same(stream(pickle.loads(data), X, y), stream(twin, X, y), X)
    assert_same(stream(pickle.loads(data), X, y), net, X)


def test_storing_a_stream_disturbs_it_not():
    X, y = make_data()
    net, twin = (stream(make_net(trunk=MLP((6,), dropout=0.3)), X, y) for _ in range(2))
    attributes = dict(net.__dict__)
    pickle.dumps(net)
    assert net.__dict__ == attributes
    assert_same(stream(net, X, y), stream(twin, X, y), X)


def test_using_a_loaded_stream_in_between_changes_nothing():
    X, y = make_data()
    net, twin = (stream(make_net(trunk=MLP((6,), dropout=0.3)), X, y) for _ in range(2))
    net = pickle.loads(pickle.dumps(net))
    net.predict(X), net.score(X, y), net.embed(X), net.output("kind").predict(X)
    assert net.net_.module_ is net.module_
    net = pickle.loads(pickle.dumps(net))
    assert_same(stream(net, X, y), stream(twin, X, y), X)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_stored_fit_is_continued_like_one_that_was_not(estimator):
    X, y = make_data()
    params = {"trunk": MLP((6,), dropout=0.3, normalization="batch"), "max_epochs": 3}
    net = learn(make_net(estimator, **params), X, y, "fit")
    loaded = pickle.loads(pickle.dumps(net))
    assert_same(stream(loaded, X, y), stream(net, X, y), X)
    loaded = pickle.loads(pickle.dumps(loaded))
    assert_same(stream(loaded, X, y), stream(net, X, y), X)


def test_a_stored_stream_can_be_fitted_anew_and_cloned():
    X, y = make_data()
    loaded = pickle.loads(pickle.dumps(stream(make_net(max_epochs=3), X, y)))
    fresh = make_net(max_epochs=3).fit(X, y)
    assert_same(clone(loaded).fit(X, y), fresh, X)
    assert_same(loaded.fit(X, y), fresh, X)


def packages_in(data):
    """The packages of all classes and functions that a pickle refers to."""
    found = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            found.add(module.partition(".")[0])
            return super().find_class(module, name)

    Reader(io.BytesIO(data)).load()
    return found


def leaves(value, seen):
    """All objects that a state holds, at any depth."""
    if id(value) in seen:
        return
    seen.add(id(value))
    yield value
    parts = ()
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set):
        parts = value
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        parts = vars(value).values()
    for part in parts:
        yield from leaves(part, seen)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_stored_stream_is_numpy_and_plain_values(estimator):
    X, y = make_data()
    net = stream(make_net(estimator, trunk=MLP((6,), dropout=0.3)), X, y)
    allowed = {"mtlearn", "numpy", "sklearn", "builtins", "copyreg", "collections"}
    assert "mtlearn" in packages_in(pickle.dumps(net)) <= allowed
    found = list(leaves(net.__getstate__(), set()))
    assert sum(isinstance(value, np.ndarray) for value in found) > 10
    foreign = [v for v in found if type(v).__module__.partition(".")[0] in ("torch", "skorch")]
    assert foreign == []


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_moments_are_stored_where_training_may_go_on_and_nowhere_else(estimator):
    X, y = make_data()
    params = {"trunk": MLP((100, 100)), "max_epochs": 1}

    def size(net):
        return len(pickle.dumps(net))

    streamed = learn(make_net(estimator, **params), X, y)
    plain = learn(make_net(estimator, **params), X, y, "fit")
    warm = learn(make_net(estimator, warm_start=True, **params), X, y, "fit")
    n_bytes = sum(p.numel() * p.element_size() for p in plain.module_.parameters())
    assert size(plain) < 1.3 * n_bytes + 20_000
    assert size(streamed) > size(plain) + 1.9 * n_bytes
    assert size(warm) > size(plain) + 1.9 * n_bytes
    assert size(learn(streamed, X, y, "fit")) < 1.3 * n_bytes + 20_000
    assert size(learn(plain, X, y)) > 2.9 * n_bytes


# Rows that are larger than the memory.


def run_script(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


MAPPED = """
import re, resource, sys
from pathlib import Path
import numpy as np
import torch
from mtlearn import MultiOutputNet
from mtlearn.trunks import MLP

torch.set_num_threads(1)  # the stack of each thread counts
MB = 2**20
path, n_rows, n_features, extra = sys.argv[1], *map(int, sys.argv[2:])


def status(key):
    return int(re.search(rf"{key}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


rng = np.random.default_rng(0)
X = np.memmap(path, np.float32, "r", shape=(n_rows, n_features))
y = rng.normal(size=n_rows)
params = dict(trunk=MLP((4,)), batch_size=200, max_epochs=1, random_state=0)
params["validation_fraction"] = 0.01  # the watched rows are read 8,192 at a time
for early_stopping in (False, True):  # load all libraries before the limit is set
    MultiOutputNet(early_stopping=early_stopping, **params).fit(X[:500], y[:500])

limit = status("VmData") + extra
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
assert X.nbytes >= 10 * extra
try:
    X.copy()
except MemoryError:
    print("a copy fails")

net = MultiOutputNet(**params)
size = n_rows // 1000
for i in range(1000):
    rows = slice(i * size, (i + 1) * size)
    net.partial_fit(X[rows], y[rows])
    if i == 99:
        early = status("RssAnon")
print("calls", net.n_iter_, "growth", (status("RssAnon") - early) / MB)

net = MultiOutputNet(early_stopping=False, **params).fit(X, y)
print("epochs", net.n_iter_)
net = MultiOutputNet(early_stopping=True, **params).fit(X, y)
print("watched", "val_loss" in net.history_[0])
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="the memory is read from /proc/self/status"
)
def test_mapped_rows_are_never_copied(tmp_path):
    path, extra = tmp_path / "rows.dat", 80 * 2**20  # allocators take up to 50 MB of it
    n_features = 1000
    n_rows = 1000 * -(-10 * extra // (1000 * 4 * n_features))
    rows = np.memmap(path, np.float32, "w+", shape=(n_rows, n_features))  # a sparse file
    rows[::100, :5] = np.random.default_rng(0).normal(size=(len(rows[::100]), 5))
    del rows
    out = run_script(MAPPED, path, n_rows, n_features, extra).splitlines()
    path.unlink()
    assert out[0] == "a copy fails"
    calls, growth = out[1].split()[1::2]
    assert int(calls) == 1000
    assert float(growth) < 50
    assert out[2:] == ["epochs 1", "watched True"]
