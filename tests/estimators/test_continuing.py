"""With warm_start a fit goes on where the last one ended, with all that training needs."""

import copy
import pickle
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import ShuffleSplit
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback
from torch import nn
from torch.nn.functional import cross_entropy

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn._engine._module import build_module
from mtlearn._random import root_seed
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 40
KINDS = np.array(["a", "b", "c"])
ESTIMATORS = [MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_data(n=N):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    kind = KINDS[(np.digitize(X[:, 1], [-0.5, 0.5]) + np.arange(n) % 2) % 3]
    return X, {"number": 2.0 + 3.0 * X[:, 0], "kind": kind}


def make_net(estimator=MultiOutputNet, **params):
    net = estimator(MLP((6,), activation="tanh"), random_state=0, warm_start=True, max_epochs=3)
    return net.set_params(**params)


def learn(net, X, y, method="fit", **kwargs):
    """Fit an estimator of any class on the same targets."""
    own = {MultiOutputNetRegressor: "number", MultiOutputNetClassifier: "kind"}.get(type(net))
    if own is None:
        return getattr(net, method)(X, y, **kwargs)
    aux = Targets({name: labels for name, labels in y.items() if name != own})
    return getattr(net, method)(X, y[own], aux=aux, **kwargs)


def tensors_of(net):
    named = [*net.module_.named_parameters(), *net.module_.named_buffers()]
    return {name: tensor.detach().numpy().copy() for name, tensor in named}


def assert_same_tensors(net, twin):
    ours, theirs = tensors_of(net), tensors_of(twin)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def assert_same(net, twin, X):
    assert_same_tensors(net, twin)
    assert net.history_ == twin.history_
    assert (net.n_iter_, net.best_epoch_) == (twin.n_iter_, twin.best_epoch_)
    ours, theirs = net.predict(X), twin.predict(X)
    assert ours == theirs if isinstance(ours, Targets) else np.array_equal(ours, theirs)


# Epochs in pieces are epochs in a row.


@pytest.mark.parametrize("pieces", [(1, 4), (3, 2), (2, 1, 2)])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_epochs_in_pieces_equal_epochs_in_a_row(estimator, pieces):
    X, y = make_data()
    params = {"trunk": MLP((6,), dropout=0.3, normalization="batch"), "batch_size": 16}
    whole = learn(make_net(estimator, max_epochs=5, warm_start=False, **params), X, y)
    net = make_net(estimator, **params)
    for n_epochs in pieces:
        learn(net.set_params(max_epochs=n_epochs), X, y)
    assert_same(net, whole, X)
    assert net.n_iter_ == net.best_epoch_ == len(net.history_) == 5


SETTINGS = {
    "sgd": {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9}},
    "rmsprop": {"optimizer": "rmsprop"},
    "adamw": {"optimizer": "adamw", "optimizer_params": {"amsgrad": True}},
    "a class": {"optimizer": torch.optim.Adagrad},
    "a partial": {"optimizer": partial(torch.optim.SGD, momentum=0.9)},
    "groups": {"param_groups": {"trunk": {"lr": 1e-4}, "kind": {"lr": 0.1}}},
    "frozen": {"param_groups": {"trunk.0": {"lr": 0.0}}},
    "raw": {"normalize_losses": False},
    "in order": {"shuffle": False},
    "float32": {"dtype": "float32"},
    "weights": {"loss_weights": {"kind": 0.0}},
    "a module": {"trunk": nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())},
    "a class of modules": {"trunk": partial(nn.Linear, out_features=5)},
    "a lambda": {"trunk": lambda n_features: nn.Linear(n_features, 5)},
    "a loss": {"heads": {"number": Regression(lambda raw, target: (raw - target).abs())}},
}


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
def test_epochs_in_pieces_equal_epochs_in_a_row_in_every_setting(params):
    X, y = make_data()
    params = {"batch_size": 16, "learning_rate": 0.01, **params}
    whole = make_net(max_epochs=4, warm_start=False, **params).fit(X, y)
    net = make_net(max_epochs=2, **params).fit(X, y)
    assert_same(net.fit(X, y), whole, X)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("copied", [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy])
def test_a_stored_estimator_goes_on_as_if_it_had_not_been(estimator, copied):
    X, y = make_data()
    params = {"trunk": MLP((6,), dropout=0.3, normalization="batch"), "batch_size": 16}
    net, twin = (make_net(estimator, **params) for _ in range(2))
    for _ in range(3):
        net = copied(copied(learn(net, X, y)))
        assert_same(net, learn(twin, X, y), X)


def test_without_warm_start_every_fit_starts_anew():
    X, y = make_data()
    net = make_net(warm_start=False).fit(X, y)
    fresh = pickle.dumps(net.predict(X))
    assert pickle.dumps(net.fit(X, y).predict(X)) == fresh
    assert net.n_iter_ == 3
    warm = make_net().fit(X, y).fit(X, y)
    assert warm.n_iter_ == 6
    assert_same(warm.set_params(warm_start=False).fit(X, y), net, X)


def test_warm_start_after_a_plain_fit_keeps_the_weights_and_begins_with_a_new_optimizer():
    X, y = make_data()
    plain = make_net(warm_start=False, batch_size=16).fit(X, y)
    loaded = pickle.loads(pickle.dumps(plain))
    before = tensors_of(plain)
    still = copy.deepcopy(plain).set_params(warm_start=True, optimizer="sgd", learning_rate=1e-30)
    for name, values in tensors_of(still.fit(X, y)).items():
        np.testing.assert_array_equal(values, before[name])
    plain.set_params(warm_start=True).fit(X, y)
    assert_same(plain, loaded.set_params(warm_start=True).fit(X, y), X)
    assert plain.n_iter_ == 6


def test_calls_of_partial_fit_and_of_fit_follow_each_other():
    X, y = make_data()
    params = {"normalize_losses": False, "shuffle": False, "batch_size": 16, "max_epochs": 1}
    whole = make_net(**params | {"max_epochs": 4, "warm_start": False}).fit(X, y)
    for methods in ("fit partial_fit fit partial_fit", "partial_fit fit partial_fit fit"):
        net = make_net(trunk=MLP((6,), activation="tanh"), **params)
        for method in methods.split():
            getattr(net, method)(X, y)
        assert_same_tensors(net, whole)
        assert net.n_iter_ == 4


def test_a_callback_does_not_cut_the_training_into_pieces():
    X, y = make_data()
    params = {"trunk": MLP((6,), dropout=0.3), "batch_size": 16}
    whole = make_net(max_epochs=6, warm_start=False, **params).fit(X, y)
    net = make_net(max_epochs=2, **params).fit(X, y)
    net.set_params(callbacks=[Callback()]).fit(X, y)
    net.set_params(callbacks=None).fit(X, y)
    assert_same(net, whole, X)


def test_a_schedule_begins_again_in_each_fit():
    X, y = make_data()
    net = make_net(learning_rate_schedule="cosine", max_epochs=4, learning_rate=0.5)
    rates = [row["learning_rate"] for row in net.fit(X, y).fit(X, y).history_]
    assert rates[:4] == rates[4:]
    assert rates[0] == 0.5
    assert all(later < earlier for earlier, later in pairwise(rates[:4]))
    plain = net.set_params(learning_rate_schedule=None).fit(X, y)
    assert "learning_rate" not in plain.history_[-1]


# Parameters that change between fits, next to a loop of torch written out.


OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}


def train_by_hand(net, X, y, phases):
    """The module and the losses after full batches in phases of (n_epochs, parameters)."""
    module = build_module(net.trunk_, net.heads_, X.shape[1], root_seed(0), torch.float64)
    number, codes = torch.tensor(y["number"]), torch.tensor(np.searchsorted(KINDS, y["kind"]))
    params = {"optimizer": "adam", "optimizer_params": {}, "learning_rate": 1e-3, "alpha": 2e-3}
    params["loss_weights"] = {}
    optimizer, losses = None, []
    for n_epochs, changes in phases:
        before, params = params, {**params, **changes}
        names = ("optimizer", "optimizer_params")
        if optimizer is None or any(params[name] != before[name] for name in names):
            make = partial(OPTIMIZERS[params["optimizer"]], **params["optimizer_params"])
            optimizer = make(module.parameters(), lr=params["learning_rate"])
        optimizer.param_groups[0]["lr"] = params["learning_rate"]
        weights = {"number": 1.0, "kind": 1.0, **params["loss_weights"]}
        for _ in range(n_epochs):
            raw = module(torch.tensor(X))
            total = weights["number"] * ((raw["number"] - number) ** 2).mean()
            total = total + weights["kind"] * cross_entropy(raw["kind"], codes)
            squares = sum((p**2).sum() for p in module.parameters() if p.ndim == 2)
            total = total + params["alpha"] * squares
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            losses.append(total.item())
    return module, losses


PHASES = {
    "learning rate": [(3, {}), (2, {"learning_rate": 0.1}), (2, {"learning_rate": 1e-4})],
    "alpha": [(2, {"alpha": 0.0}), (2, {"alpha": 0.5}), (2, {"alpha": 0.0})],
    "annealing": [
        (2, {"loss_weights": {"kind": 1.0}}),
        (2, {"loss_weights": {"kind": 0.5}}),
        (3, {"loss_weights": {"kind": 0.0}}),
        (2, {"loss_weights": {"kind": 0.7}}),
        (1, {"loss_weights": {"kind": 0.0, "number": 2.0}}),
        (1, {"loss_weights": {}}),
    ],
    "other optimizer": [(3, {}), (3, {"optimizer": "sgd"}), (3, {"optimizer": "adam"})],
    "its parameters": [
        (3, {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9}}),
        (2, {"learning_rate": 0.05}),
        (2, {"optimizer_params": {"momentum": 0.5}}),
        (2, {"optimizer_params": {}}),
    ],
    "moments of the rate before": [
        (3, {"optimizer": "rmsprop", "learning_rate": 0.1}),
        (3, {"learning_rate": 0.01, "loss_weights": {"number": 0.1}}),
    ],
}


@pytest.mark.parametrize("store", [False, True], ids=["kept", "stored"])
@pytest.mark.parametrize("phases", PHASES.values(), ids=PHASES)
def test_changed_parameters_act_from_the_next_fit_on(phases, store):
    X, y = make_data()
    net = make_net(normalize_losses=False, shuffle=False)
    for n_epochs, changes in phases:
        net.set_params(max_epochs=n_epochs, **changes).fit(X, y)
        net = pickle.loads(pickle.dumps(net)) if store else net
    module, losses = train_by_hand(net, X, y, phases)
    for ours, theirs in zip(net.module_.parameters(), module.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-11)
    assert [row["loss"] for row in net.history_] == pytest.approx(losses, rel=1e-10)


def test_a_weight_annealed_by_its_nested_name_is_in_the_history():
    X, y = make_data()
    net = make_net(max_epochs=2, loss_weights={"kind": 1.0})
    weights = [1.0, 0.5, 0.0, 0.5]
    for weight in weights:
        net.set_params(loss_weights__kind=weight).fit(X, y)
    assert [row["kind_weight"] for row in net.history_] == np.repeat(weights, 2).tolist()
    assert net.loss_weights_ == {"number": 1.0, "kind": 0.5}
    for row in net.history_:
        total = row["number_loss"] + row["kind_weight"] * row["kind_loss"] + row["penalty"]
        assert row["loss"] == pytest.approx(total, rel=1e-12)


def test_an_output_annealed_to_zero_keeps_its_layers():
    X, y = make_data()
    params = {"optimizer": "sgd", "alpha": 0.0, "param_groups": {"trunk": {"lr": 0.0}}}
    net = make_net(learning_rate=0.1, **params).fit(X, y)
    probabilities = net.predict_proba(X)["kind"]
    number = net.predict(X)["number"]
    net.set_params(loss_weights={"kind": 0.0}).fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X)["kind"], probabilities)
    assert np.ptp(probabilities) > 0.01
    assert not np.array_equal(net.predict(X)["number"], number)


def test_rows_with_labels_of_an_output_annealed_to_zero_alone_take_no_part():
    X, y = make_data()
    number, kind = y["number"].copy(), y["kind"].astype(object)
    number[30:], kind[:5] = np.nan, None
    params = {"missing_targets": "ignore", "shuffle": False, "alpha": 0.0}
    net = make_net(**params).fit(X, {"number": number, "kind": kind})
    net.set_params(loss_weights={"kind": 0.0})
    twin = copy.deepcopy(net)
    net.fit(X, {"number": number, "kind": kind})
    twin.fit(X[:30], {"number": number[:30], "kind": kind[:30]})
    ours, theirs = tensors_of(net), tensors_of(twin)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_other_rows_are_learned_on_the_scale_of_the_first_ones():
    X, y = make_data()
    net = make_net().fit(X, y)
    head = net.heads_["number"]
    net.fit(X[:20], {"number": 5.0 * y["number"][:20], "kind": y["kind"][:20]})
    assert net.heads_["number"] is head
    assert head.center_ == pytest.approx(y["number"].mean(), rel=1e-12)
    assert head.scale_ == pytest.approx(y["number"].std(), rel=1e-12)


def test_weights_of_rows_count_within_their_fit():
    X, y = make_data()
    weight = np.random.default_rng(0).uniform(0.1, 1.0, N)
    nets = [make_net().fit(X, y) for _ in range(2)]
    nets[0].fit(X, y, weight)
    nets[1].fit(X, y, 1024.0 * weight)
    assert_same(*nets, X)


def test_rows_of_another_type_are_learned_in_the_type_of_the_first_fit():
    X, y = make_data()
    rounded = X.astype("float32")
    net, twin = (make_net().fit(X, y) for _ in range(2))
    assert_same(net.fit(rounded, y), twin.fit(rounded.astype("float64"), y), X)


# What cannot change.


HEADS = {"kind": Classification(label_smoothing=0.1), "number": Regression("huber")}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trunk": MLP((7,), activation="tanh")}, r"\['trunk'\]"),
        ({"trunk": None}, r"\['trunk'\]"),
        ({"trunk": nn.Linear(4, 6)}, r"\['trunk'\]"),
        ({"trunk__activation": "relu"}, r"\['trunk'\]"),
        ({"normalize_losses": False}, r"\['normalize_losses'\]"),
        ({"heads__kind__label_smoothing": 0.2}, r"\[\"heads\['kind'\]\"\]"),
        ({"heads__number": Regression()}, r"\[\"heads\['number'\]\"\]"),
        ({"heads__number__hidden_layer_sizes": (3,)}, r"\[\"heads\['number'\]\"\]"),
        ({"heads__other": Regression()}, r"\[\"heads\['other'\]\"\]"),
        ({"heads": None}, "heads"),
        ({"heads__kind__classes": ["a", "b", "c", "d"]}, r"heads.*'kind'"),
        (
            {"trunk": MLP((7,)), "normalize_losses": False, "heads__number__delta": 3.0},
            r"\['trunk', 'normalize_losses', \"heads\['number'\]\"\]",
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_changed_part_is_refused_by_its_name(method, changes, named):
    X, y = make_data()
    net = getattr(make_net(heads=HEADS), method)(X, y)
    predicted = net.predict(X)
    net.set_params(**changes)
    with pytest.raises(ValueError, match=rf"network that was fitted\. Changed since: .*{named}"):
        getattr(net, method)(X, y)
    assert net.predict(X) == predicted
    assert net.n_iter_ == len(net.history_)


def clone_all(heads):
    return {name: clone(head) for name, head in heads.items()}


def build_linear():
    return partial(nn.Linear, out_features=5)


class Builder:
    """What makes a trunk, without a telling repr."""

    def __call__(self, n_features):
        return nn.Linear(n_features, 5)


class Absolute:
    """A loss, without a telling repr."""

    def __call__(self, raw, target):
        return (raw - target).abs()


SAME = {
    "an equal trunk": ({}, {"trunk": MLP((6,), activation="tanh")}),
    "the default written out": ({"trunk": None}, {"trunk": MLP()}),
    "inferred heads": ({}, {"heads": {"number": Regression(), "kind": Classification()}}),
    "equal heads": ({"heads": HEADS}, {"heads": clone_all(HEADS)}),
    "a module": ({"trunk": nn.Linear(4, 5)}, {}),
    "an equal partial": ({"trunk": build_linear()}, {"trunk": build_linear()}),
    "a callable object": ({"trunk": Builder()}, {}),
    "a callable loss": ({"heads": {"number": Regression(Absolute())}}, {}),
    "a module as loss": ({"heads": {"number": Regression(nn.L1Loss(reduction="none"))}}, {}),
    "other parameters": ({}, {"main_output": "kind", "batch_size": 7, "shuffle": False}),
}


@pytest.mark.parametrize(("params", "same"), SAME.values(), ids=SAME)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_same_parts_and_other_parameters_are_taken(method, params, same):
    X, y = make_data()
    net = getattr(make_net(**params), method)(X, y)
    before = net.n_iter_
    assert getattr(net.set_params(**same), method)(X, y).n_iter_ > before


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_output_without_weight_at_first_gets_none_later(estimator, method):
    X, y = make_data()
    aux = "number" if estimator is MultiOutputNetClassifier else "kind"
    net = learn(make_net(estimator, loss_weights={aux: 0.0}), X, y, method)
    learn(net, X, y, method)
    net.set_params(loss_weights={aux: 0.1})
    with pytest.raises(ValueError, match=rf"`loss_weights` must be 0 for .*\['{aux}'\]"):
        learn(net, X, y, method)
    assert net.loss_weights_[aux] == 0.0
    assert learn(net.set_params(loss_weights={aux: 0.0}), X, y, method).n_iter_ > 2


@pytest.mark.parametrize("value", [7.25, "only"])
def test_an_output_that_was_constant_stays_so(value):
    X, y = make_data()
    y["constant"] = np.full(N, value)
    net = make_net().fit(X, y).fit(X, y)
    assert set(net.predict(X)["constant"].tolist()) == {value}
    other = {**y, "constant": np.where(np.arange(N) == 3, type(value)(8), y["constant"])}
    with pytest.raises(ValueError, match=r"output 'constant': the target was constant, .*'?8"):
        net.fit(X, other)
    assert net.set_params(missing_targets="ignore").fit(X, y).n_iter_ == 9
    missing = np.where(np.arange(N) < 5, None, y["constant"])
    assert net.fit(X, {**y, "constant": missing}).n_iter_ == 12


@pytest.mark.parametrize(
    ("head", "values"),
    [
        (Regression(), np.where(np.arange(N) % 2, 0.3, 0.1 + 0.2)),
        (Regression(), np.full((N, 2), 0.1)),
        (Regression(transformer=FunctionTransformer(np.log1p, np.expm1)), np.full(N, 3.3)),
        (Regression(transformer=FunctionTransformer(np.cbrt, np.square)), np.full(N, 1.0)),
        (Regression(), np.full(N, np.float32(0.1))),
    ],
    ids=["rounding", "columns", "log", "another", "float32"],
)
def test_a_constant_is_recognised_as_it_was_the_first_time(head, values):
    X, y = make_data()
    y["constant"] = values
    net = make_net(heads={"constant": head}).fit(X, y)
    assert net.heads_["constant"].is_constant_
    assert net.fit(X, y).n_iter_ == 6


def test_an_output_without_weight_may_vary_as_it_likes():
    X, y = make_data()
    net = make_net(loss_weights={"number": 0.0}).fit(X, y)
    assert net.fit(X, {**y, "number": -y["number"]}).n_iter_ == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :3], y), "X has 3 features"),
        (lambda X, y: (X, {"number": y["number"]}), r"Missing: \['kind'\]"),
        (lambda X, y: (X, {**y, "other": y["number"]}), "unknown target 'other'"),
        (lambda X, y: (X, {**y, "kind": np.full(N, "zebra")}), "'zebra'"),
        (
            lambda X, y: (X, {**y, "number": np.stack([y["number"]] * 2, axis=1)}),
            r"output 'number': the labels must have the columns of the first fit, shape \(\)",
        ),
    ],
    ids=["features", "missing", "unknown", "class", "columns"],
)
@pytest.mark.parametrize("store", [False, True], ids=["kept", "stored"])
def test_other_data_are_refused_and_leave_the_estimator_as_it_was(change, message, store):
    X, y = make_data()
    net, twin = (make_net(trunk=MLP((6,), dropout=0.3)).fit(X, y) for _ in range(2))
    net = pickle.loads(pickle.dumps(net)) if store else net
    with pytest.raises(ValueError, match=message):
        net.fit(*change(X, y))
    assert_same(net, twin, X)
    assert_same(net.fit(X, y), twin.fit(X, y), X)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_new_class_is_refused_with_its_output(estimator):
    X, y = make_data()
    net = learn(make_net(estimator), X, y)
    name = "y" if estimator is MultiOutputNetClassifier else "kind"
    with pytest.raises(ValueError, match=f"output '{name}'.*'zebra'"):
        learn(net, X, {**y, "kind": np.full(N, "zebra")})


def test_the_weights_of_all_rows_must_not_be_zero():
    X, y = make_data()
    net = make_net().fit(X, y)
    with pytest.raises(ValueError, match="`sample_weight` must not be zero for all rows"):
        net.fit(X, y, np.zeros(N))
    assert net.n_iter_ == 3


# Watched losses.


@pytest.mark.parametrize("fraction", [0.2, ShuffleSplit(1, test_size=0.3)])
@pytest.mark.parametrize("main_output", [None, "kind"])
def test_every_fit_holds_out_the_same_rows(fraction, main_output):
    X, y = make_data()
    net = make_net(
        early_stopping=True,
        validation_fraction=fraction,
        main_output=main_output,
        optimizer="sgd",
        learning_rate=1e-30,
        max_epochs=1,
        random_state=None,
    )
    rows = net.fit(X, y).fit(X, y).history_
    assert len(rows) == 2
    assert rows[0]["val_loss"] == pytest.approx(rows[1]["val_loss"], rel=1e-12)
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-12)


def test_the_best_epoch_is_counted_from_the_first_fit_on():
    X, y = make_data()
    X_val, y_val = make_data(25)
    net = make_net(early_stopping=True, learning_rate=0.3, max_epochs=12, n_iter_no_change=50)
    for n_epochs in (12, 24):
        net.fit(X, y, X_val=X_val, y_val=y_val)
        assert net.n_iter_ == len(net.history_) == n_epochs
        watched = [row["val_loss"] for row in net.history_]
        last = range(n_epochs - 12, n_epochs)
        assert net.best_epoch_ == 1 + min(last, key=watched.__getitem__)
        weights = tensors_of(net)
        still = copy.deepcopy(net).set_params(learning_rate=1e-30, optimizer="sgd", max_epochs=1)
        still.fit(X, y, X_val=X_val, y_val=y_val)
        assert still.history_[-1]["val_loss"] == pytest.approx(watched[net.best_epoch_ - 1])
        for name, values in tensors_of(net).items():
            np.testing.assert_array_equal(values, weights[name])


def test_a_fit_is_stopped_by_its_own_epochs():
    X, y = make_data()
    net = make_net(early_stopping=True, n_iter_no_change=3, learning_rate=1.0, max_epochs=50)
    net.fit(X, y, X_val=X[:9], y_val={name: labels[:9] for name, labels in y.items()})
    first, best = net.n_iter_, net.best_epoch_
    assert first == best + 3
    net.fit(X, y, X_val=X[:9], y_val={name: labels[:9] for name, labels in y.items()})
    assert net.n_iter_ == net.best_epoch_ + 3
    assert net.best_epoch_ > first


def test_losses_may_be_watched_in_one_fit_and_not_in_another():
    X, y = make_data()
    net = make_net(early_stopping=False).fit(X, y)
    net.fit(X, y, X_val=X[:9], y_val={name: labels[:9] for name, labels in y.items()}).fit(X, y)
    assert ["val_loss" in row for row in net.history_] == [False] * 3 + [True] * 3 + [False] * 3
    loaded = pickle.loads(pickle.dumps(net))
    assert loaded.history_ == net.history_
    assert_same(loaded.fit(X, y), net.fit(X, y), X)


def test_watching_changes_no_weight():
    X, y = make_data()
    net, watching = (make_net(trunk=MLP((6,), dropout=0.3), early_stopping=False) for _ in "ab")
    held = {"X_val": X[:9], "y_val": {name: labels[:9] for name, labels in y.items()}}
    assert_same_tensors(net.fit(X, y).fit(X, y), watching.fit(X, y, **held).fit(X, y, **held))


# Training that fails.


def test_a_fit_that_diverges_at_once_leaves_the_estimator_as_it_was():
    X, y = make_data()
    net, twin = (make_net(trunk=MLP((6,), dropout=0.3)).fit(X, y) for _ in range(2))
    net.set_params(learning_rate=1e30, batch_size=8)
    with pytest.raises(DivergenceError, match="diverged in epoch 4"):
        net.fit(X, y)
    net.set_params(learning_rate=1e-3, batch_size="auto")
    assert_same(net, twin, X)
    assert_same(net.fit(X, y), twin.fit(X, y), X)


def test_a_fit_goes_on_after_one_that_diverged():
    X, y = make_data()
    momentum = {"momentum": 0.9}
    net = make_net(
        trunk=MLP((8, 8)), optimizer="sgd", optimizer_params=momentum, alpha=0.0, max_epochs=50
    )
    with pytest.raises(DivergenceError, match="keeps the weights of epoch"):
        net.set_params(learning_rate=2.0).fit(X, y)
    still = copy.deepcopy(net).set_params(learning_rate=1e-30, max_epochs=1).fit(X, y)
    net.set_params(learning_rate=1e-4, max_epochs=5).fit(X, y)
    assert net.history_[-1]["loss"] < still.history_[-1]["loss"]
    assert len(net.history_) == net.n_iter_


def test_nothing_to_learn_is_no_error_the_second_time():
    X, _ = make_data()
    y = {"constant": np.full(N, "only")}
    net = make_net().fit(X, y).fit(X, y)
    assert (net.n_iter_, net.history_) == (0, [])
    assert set(pickle.loads(pickle.dumps(net)).predict(X)["constant"]) == {"only"}


# What a review found.


def review_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    return X, {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "a", "b")}


@pytest.mark.parametrize(
    "params",
    [
        {"alpha": -1},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"missing_targets": "ignor"},
        {"n_threads": 0},
        {"optimizer_params": 3},
    ],
)
def test_parameters_are_checked_in_every_call_of_a_stream(params):
    X, y = review_data()
    net = MultiOutputNet(random_state=0).partial_fit(X, y)
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter of MultiOutputNet"):
        net.set_params(**params).partial_fit(X, y)


def test_the_skorch_net_of_fewer_outputs_can_be_made_under_groups_of_all():
    X, y = review_data()
    net = MultiOutputNet(max_epochs=2, param_groups={"kind": {"lr": 1e-2}}, random_state=0)
    smaller = net.fit(X, y).drop_outputs(["kind"])
    assert [group["lr"] for group in smaller.net_.optimizer_.param_groups] == [1e-3]
    assert smaller.partial_fit(X, {"price": y["price"]}).n_iter_ == 3


def test_a_head_changed_in_place_is_seen():
    X, y = review_data()
    heads = {"kind": Classification()}
    net = MultiOutputNet(heads=heads, max_epochs=1, warm_start=True, random_state=0).fit(X, y)
    heads["kind"].set_params(label_smoothing=0.3)
    with pytest.raises(ValueError, match=r"Changed since: \[\"heads\['kind'\]\"\]"):
        net.fit(X, y)


def test_a_matrix_of_classes_stays_one_where_a_later_fit_has_zeros_and_ones_only():
    X, _ = review_data()
    matrix = np.column_stack([np.arange(40) % 3, np.arange(40) % 2])
    net = MultiOutputNetClassifier(max_epochs=1, warm_start=True, random_state=0).fit(X, matrix)
    assert net.fit(X, np.minimum(matrix, 1)).predict(X).shape == (40, 2)
    assert net.n_iter_ == 2


def test_an_equal_partial_keeps_the_moments():
    X, y = review_data()

    def sgd():
        return partial(torch.optim.SGD, momentum=0.9)

    nets = [MultiOutputNet(optimizer=sgd(), max_epochs=1, warm_start=True, random_state=0)] * 2
    nets = [clone(net).fit(X, y) for net in nets]
    nets[0].set_params(optimizer=sgd())
    assert nets[0].fit(X, y).predict(X) == nets[1].fit(X, y).predict(X)


def test_a_missing_auxiliary_target_is_asked_for_as_aux():
    X, y = review_data()
    net = MultiOutputNetRegressor(max_epochs=1, random_state=0)
    net.partial_fit(X, y["price"], aux=Targets({"kind": y["kind"]}))
    with pytest.raises(ValueError, match=r"`aux` must hold the targets of all outputs.*\['kind'\]"):
        net.partial_fit(X, y["price"])


def test_a_number_that_was_not_defined_survives_a_pickle():
    class Undefined(Callback):
        def on_epoch_end(self, net, **_kwargs):
            if len(net.history) != 2:
                net.history.record("score", float("nan"))

    X, y = review_data()
    net = MultiOutputNet(callbacks=[Undefined()], max_epochs=3, random_state=0).fit(X, y)
    history = pickle.loads(pickle.dumps(net.set_params(callbacks=None))).history_
    assert [row.get("score") is not None for row in history] == [True, False, True]


def test_groups_must_have_as_many_rows():
    X, y = review_data()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MultiOutputNet(random_state=0).fit(X, y, groups=np.arange(3))
