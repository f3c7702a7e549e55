"""Schedules of the learning rate give torch's rates, and torch's weights."""

from functools import partial
from math import ceil

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

from mtlearn import MultiOutputNet, Targets
from mtlearn._engine._schedules import SCHEDULES
from mtlearn.trunks import MLP

N, EPOCHS, RATE = 50, 6, 0.02


@pytest.fixture(autouse=True)
def one_thread():
    """What torch does by hand takes long with a second thread beside a busy core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_data(n=N, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, Targets({"number": X[:, 0] + rng.normal(size=n), "kind": rng.random(n) < 0.5})


X, Y = make_data()


class Recorder(Callback):
    """Keeps the first weights, and the settings of all parameter groups at every step."""

    def __init__(self, store):
        self.store = store

    def on_train_begin(self, net, **_kwargs):
        self.store["weights"] = [p.detach().clone() for p in net.module_.parameters()]
        self.store["groups"] = []

    def on_grad_computed(self, net, **_kwargs):
        groups = net.optimizer_.param_groups
        self.store["groups"].append(
            [{key: group[key] for key in group if key != "params"} for group in groups]
        )


def make_net(**params):
    return MultiOutputNet(
        MLP((4,), activation="tanh"),
        normalize_losses=False,
        alpha=0.0,
        learning_rate=RATE,
        max_epochs=EPOCHS,
        shuffle=False,
        random_state=0,
    ).set_params(**params)


def fit(net, *args, **kwargs):
    """Fit; return what a Recorder keeps."""
    store = {}
    net.set_params(callbacks=[lambda: Recorder(store)]).fit(X, Y, *args, **kwargs)
    return store


def rates_of(store, group=0):
    return [groups[group]["lr"] for groups in store["groups"]]


def train_by_hand(net, weights, make_optimizer, make_scheduler, batch_size, per_epoch=False):
    """Train a twin of the network with torch alone; return it, and the rate of each step."""
    twin = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).double()
    heads = [nn.Linear(4, 1).double(), nn.Linear(4, 1).double()]
    parameters = [*twin.parameters(), *heads[0].parameters(), *heads[1].parameters()]
    with torch.no_grad():
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)
    optimizer = make_optimizer(parameters, lr=net.learning_rate)
    scheduler = make_scheduler(optimizer)
    inputs, number, kind = (torch.tensor(a) for a in (X, Y["number"], 1.0 * Y["kind"]))
    rates = []
    for _ in range(net.max_epochs):
        epoch = 0.0
        for rows in torch.arange(N).split(batch_size):
            features = twin(inputs[rows])
            logit, mean = (head(features).squeeze(-1) for head in heads)
            loss = functional.binary_cross_entropy_with_logits(logit, kind[rows])
            loss = loss + functional.mse_loss(mean, number[rows])
            optimizer.zero_grad()
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            epoch += loss.item() * len(rows) / N
            if not per_epoch:
                scheduler.step()
        if per_epoch:
            scheduler.step(epoch)
    return parameters, rates


def assert_same_weights(net, parameters, rtol=1e-9):
    for ours, theirs in zip(net.module_.parameters(), parameters, strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=rtol, atol=1e-12)


def test_names_are_those_documented():
    assert set(SCHEDULES) == {"cosine", "onecycle", "plateau"}


@pytest.mark.parametrize("batch_size", [N, 20])
def test_cosine_gives_torchs_rates_and_weights(batch_size):
    net = make_net(learning_rate_schedule="cosine", optimizer="sgd", batch_size=batch_size)
    store = fit(net)
    n_steps = EPOCHS * ceil(N / batch_size)
    scheduler = partial(lr_scheduler.CosineAnnealingLR, T_max=n_steps)
    parameters, rates = train_by_hand(net, store["weights"], torch.optim.SGD, scheduler, batch_size)
    np.testing.assert_allclose(rates_of(store), rates, rtol=1e-12)
    per_epoch = rates[:: n_steps // EPOCHS]
    np.testing.assert_allclose([row["learning_rate"] for row in net.history_], per_epoch)
    assert_same_weights(net, parameters)


@pytest.mark.parametrize("normalization", [None, "batch"])
def test_cosine_ends_at_zero_also_where_a_last_single_row_is_skipped(normalization):
    net = make_net(
        trunk=MLP((4,), normalization=normalization), batch_size=49, learning_rate_schedule="cosine"
    )
    fit(net)
    assert net.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


MOMENTUM = {
    "adam": ("adam", {}, torch.optim.Adam, True),
    "adamw": ("adamw", {}, torch.optim.AdamW, True),
    "momentum": ("sgd", {"momentum": 0.9}, partial(torch.optim.SGD, momentum=0.9), True),
    "sgd": ("sgd", {}, torch.optim.SGD, False),
    "rmsprop": ("rmsprop", {}, torch.optim.RMSprop, False),
    "adagrad": (partial(torch.optim.Adagrad, eps=1e-8), {}, None, False),
}


@pytest.mark.parametrize("case", MOMENTUM)
def test_onecycle_gives_torchs_rates_momenta_and_weights(case):
    optimizer, optimizer_params, reference, cycles = MOMENTUM[case]
    net = make_net(
        learning_rate_schedule="onecycle",
        optimizer=optimizer,
        optimizer_params=optimizer_params,
        batch_size=20,
    )
    store = fit(net)
    scheduler = partial(
        lr_scheduler.OneCycleLR, max_lr=RATE, total_steps=EPOCHS * 3, cycle_momentum=cycles
    )
    parameters, rates = train_by_hand(
        net, store["weights"], reference or optimizer, scheduler, batch_size=20
    )
    np.testing.assert_allclose(rates_of(store), rates, rtol=1e-12)
    np.testing.assert_allclose([row["learning_rate"] for row in net.history_], rates[::3])
    assert_same_weights(net, parameters, rtol=1e-7)
    groups = [groups[0] for groups in store["groups"]]
    momenta = {group.get("betas", (group.get("momentum"),))[0] for group in groups}
    assert (len(momenta) > 2) == cycles


def test_onecycle_rises_for_three_tenths_of_the_steps_to_the_learning_rate():
    store = fit(make_net(learning_rate_schedule="onecycle", max_epochs=20))
    rates = np.array(rates_of(store))
    assert rates.argmax() == 0.3 * 20 - 1
    assert rates.max() == pytest.approx(RATE)
    assert rates[-1] < rates[0] < RATE / 10


def test_plateau_gives_torchs_rates_and_weights():
    net = make_net(
        learning_rate_schedule="plateau", learning_rate=0.8, n_iter_no_change=4, max_epochs=60
    )
    store = fit(net)
    scheduler = partial(lr_scheduler.ReduceLROnPlateau, factor=0.2, patience=2)
    parameters, rates = train_by_hand(
        net, store["weights"], torch.optim.Adam, scheduler, N, per_epoch=True
    )
    assert len(set(rates)) >= 3
    np.testing.assert_allclose(rates_of(store), rates, rtol=1e-12)
    np.testing.assert_allclose([row["learning_rate"] for row in net.history_], rates)
    assert_same_weights(net, parameters, rtol=1e-6)


@pytest.mark.parametrize(("n_iter_no_change", "half"), [(2, 1), (6, 3), (7, 3), (10, 5)])
def test_plateau_waits_for_half_of_n_iter_no_change_epochs(n_iter_no_change, half):
    net = make_net(
        learning_rate_schedule="plateau",
        optimizer="sgd",
        optimizer_params={"maximize": True},
        n_iter_no_change=n_iter_no_change,
        max_epochs=half + 3,
    )
    fit(net)
    losses, rates = np.transpose([(row["loss"], row["learning_rate"]) for row in net.history_])
    assert (np.diff(losses) > 0).all()
    assert (rates[: half + 1] == RATE).all()
    assert rates[-1] < RATE


def plateau_of(losses, rate, patience):
    """The rate of each epoch that torch's scheduler makes of the losses."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2, patience=patience)
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    return rates


@pytest.mark.parametrize("main_output", [None, "kind", "number"])
def test_plateau_watches_what_early_stopping_watches(main_output):
    net = make_net(
        learning_rate_schedule="plateau",
        main_output=main_output,
        learning_rate=0.1,
        early_stopping=True,
        n_iter_no_change=12,
        max_epochs=80,
    )
    X_val, y_val = make_data(seed=1)
    fit(net, X_val=X_val, y_val=y_val)
    watched = "val_loss" if main_output is None else f"val_{main_output}_loss"
    rates = [row["learning_rate"] for row in net.history_]
    expected = {
        name: plateau_of([row[name] for row in net.history_], 0.1, patience=6)
        for name in ("loss", "val_loss", "val_kind_loss", "val_number_loss")
    }
    np.testing.assert_allclose(rates, expected[watched])
    assert rates[-1] < 0.1
    assert expected["loss"] != expected[watched]


def test_plateau_watches_validation_rows_also_where_nothing_stops_early():
    net = make_net(
        learning_rate_schedule="plateau", learning_rate=0.1, early_stopping=False, max_epochs=40
    )
    X_val, y_val = make_data(seed=1)
    fit(net, X_val=X_val, y_val=y_val)
    expected = plateau_of([row["val_loss"] for row in net.history_], 0.1, patience=5)
    assert expected[-1] < 0.1
    np.testing.assert_allclose([row["learning_rate"] for row in net.history_], expected)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_parameter_groups_keep_their_ratio(schedule):
    net = make_net(
        learning_rate_schedule=schedule,
        learning_rate=0.8,
        param_groups={"trunk": {"lr": 0.2}, "kind": {"lr": 0.0}},
        n_iter_no_change=2,
        max_epochs=20,
    )
    store = fit(net)
    layers = {
        id(parameter): name.rpartition(".")[0] for name, parameter in net.module_.named_parameters()
    }
    groups = enumerate(net.net_.optimizer_.param_groups)
    rates = {layers[id(group["params"][0])]: np.array(rates_of(store, i)) for i, group in groups}
    assert sorted(rates) == ["heads.0.0", "heads.1.0", "trunk.0"]
    assert len(set(rates["trunk.0"])) > 2
    np.testing.assert_allclose(4 * rates["trunk.0"], rates["heads.1.0"], rtol=1e-12)
    assert not rates["heads.0.0"].any()


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
@pytest.mark.parametrize(
    "groups",
    [
        {"trunk": {"lr": RATE / 10}},
        {"kind": {"lr": RATE * 3}, "number": {"weight_decay": 0.1}},
        {"trunk": {"lr": 0}, "kind": {"lr": 0.1}, "number": {"lr": 0.2}},
        {"trunk": {"lr": 0.1}, "kind": {"lr": 0}, "number": {"lr": 0.2}},
    ],
)
def test_recorded_rate_is_that_of_a_part_without_one_of_its_own(groups, schedule):
    grouped = make_net(learning_rate_schedule=schedule, param_groups=groups).fit(X, Y)
    plain = make_net(learning_rate_schedule=schedule).fit(X, Y)
    np.testing.assert_allclose(
        [row["learning_rate"] for row in grouped.history_],
        [row["learning_rate"] for row in plain.history_],
        rtol=1e-12,
    )


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_frozen_part_stays_as_it_is_under_a_schedule(schedule):
    net = make_net(learning_rate_schedule=schedule, param_groups={"trunk": {"lr": 0}})
    store = fit(net)
    after = list(net.module_.parameters())
    assert all(torch.equal(a, b) for a, b in zip(after[:2], store["weights"][:2], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(after[2:], store["weights"][2:], strict=True))


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_every_fit_has_its_own_schedule_also_with_warm_start(schedule):
    net = make_net(learning_rate_schedule=schedule, warm_start=True)
    first, second = rates_of(fit(net)), rates_of(fit(net))
    assert len(first) == EPOCHS
    assert first == second
    assert [row["learning_rate"] for row in net.history_] == first + second


def test_without_a_schedule_the_rate_stays_and_is_not_recorded():
    net = make_net()
    store = fit(net)
    assert rates_of(store) == [RATE] * EPOCHS
    assert "learning_rate" not in net.history_[0]


def test_fit_continued_without_its_schedule_has_the_full_rate_again():
    net = make_net(learning_rate_schedule="cosine", warm_start=True)
    fit(net)
    assert rates_of(fit(net.set_params(learning_rate_schedule=None))) == [RATE] * EPOCHS


@pytest.mark.parametrize("schedule", ["cosin", 3, "CosineAnnealingLR"])
def test_unknown_schedule_is_refused(schedule):
    with pytest.raises(ValueError, match="'learning_rate_schedule' parameter of MultiOutputNet"):
        make_net(learning_rate_schedule=schedule).fit(X, Y)


def test_stream_has_no_schedule():
    net = make_net(learning_rate_schedule="cosine")
    with pytest.raises(ValueError, match=r"`learning_rate_schedule` needs an end.*'cosine'"):
        net.partial_fit(X, Y)
    assert not hasattr(net, "module_")
