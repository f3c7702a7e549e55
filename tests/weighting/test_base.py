"""Weights that change from epoch to epoch, through the estimators."""

import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.heads import Regression
from mtlearn.model_selection import StackedGridSearchCV
from mtlearn.trunks import MLP
from mtlearn.weighting import Cosine, Linear, Step

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = Targets({"main": X[:, 0] * X[:, 1], "aux": np.where(X[:, 2] > 0, "a", "b")})


def make(weight, **params):
    settings = {
        "trunk": MLP((8, 6)),
        "loss_weights": {"aux": weight},
        "max_epochs": 6,
        "batch_size": 20,
        "random_state": 0,
    }
    return MultiOutputNet(**settings | params)


def weights_of(net):
    return [row["aux_weight"] for row in net.history_]


def same_weights(net, other):
    pairs = zip(net.module_.parameters(), other.module_.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "schedule", [Linear(0.4, epochs=4), Cosine(0.1, 0.9, 5), Step(1.0, 0.5, 2)]
)
def test_each_epoch_is_trained_at_its_weight(schedule):
    net = make(schedule).fit(X, Y)
    assert weights_of(net) == [schedule(epoch) for epoch in range(6)]
    history = pd.DataFrame(net.history_)
    total = history["main_loss"] + history["aux_weight"] * history["aux_loss"] + history["penalty"]
    np.testing.assert_allclose(history["loss"], total, rtol=1e-7)
    assert net.loss_weights_ == {"main": 1.0, "aux": schedule(0)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_constant_schedule_is_a_constant_weight_bit_for_bit(dtype):
    scheduled, constant = (
        make(lambda _: 0.3, dtype=dtype).fit(X, Y),
        make(0.3, dtype=dtype).fit(X, Y),
    )
    assert same_weights(scheduled, constant)
    assert scheduled.history_ == constant.history_


def test_the_steps_are_those_of_plain_torch():
    y = {"a": X[:, 0], "b": X[:, 1] ** 2}
    net = MultiOutputNet(
        MLP((4,), activation="tanh"),
        loss_weights={"b": Linear(0.9, 0.1, 2)},
        optimizer="sgd",
        learning_rate=0.1,
        normalize_losses=False,
        alpha=0.0,
        batch_size=60,
        random_state=0,
    )
    first = clone(net).set_params(max_epochs=1, learning_rate=1e-30).fit(X, y).module_
    net.set_params(max_epochs=3).fit(X, y)
    module = first.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for weight in (0.9, 0.5, 0.1):
        raw = module(torch.tensor(X))
        losses = {name: nn.functional.mse_loss(raw[name], torch.tensor(y[name])) for name in y}
        optimizer.zero_grad()
        (losses["a"] + weight * losses["b"]).backward()
        optimizer.step()
    for ours, theirs in zip(net.module_.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_fast_steps_are_those_of_autograd():
    fits = [make(Cosine(2.0, 0.0, 4), fast_step=fast).fit(X, Y) for fast in (True, False)]
    for ours, theirs in zip(*(net.module_.parameters() for net in fits), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_an_output_whose_weight_begins_at_zero_is_learned_later():
    net = make(Linear(0.0, 1.0, 2), max_epochs=60, learning_rate=0.01).fit(X, Y)
    assert net.scores(X, Y)["aux"] > 0.9
    assert net.history_[0]["aux_weight"] == 0


def test_an_output_whose_weight_is_zero_by_schedule_leaves_the_others_alone():
    never, left_out = make(lambda _: 0.0).fit(X, Y), make(0).fit(X, Y)
    assert np.array_equal(never.embed(X), left_out.embed(X))
    assert np.array_equal(never.predict(X)["main"], left_out.predict(X)["main"])


def test_fits_that_go_on_go_on_in_the_schedule():
    whole = make(Linear(1.0, epochs=5)).fit(X, Y)
    parts = make(Linear(1.0, epochs=5), max_epochs=2, warm_start=True).fit(X, Y)
    parts.set_params(max_epochs=4).fit(X, Y)
    assert weights_of(parts) == weights_of(whole)
    resumed = make(Linear(1.0, epochs=5), max_epochs=2, warm_start=True).fit(X, Y)
    resumed = pickle.loads(pickle.dumps(resumed)).set_params(max_epochs=4).fit(X, Y)
    assert same_weights(parts, resumed)


def test_the_pieces_of_a_stream_are_its_epochs():
    net = make(Step(1.0, 0.5, 1))
    for start in (0, 20, 40):
        net.partial_fit(X[start : start + 20], Y[start : start + 20], classes={"aux": ["a", "b"]})
    assert weights_of(net) == [1.0, 0.5, 0.25]


def test_validation_and_stopping_see_one_weight():
    params = {"early_stopping": True, "max_epochs": 4}
    net = make(Linear(0.5, epochs=3), **params).fit(X, Y)
    for row in net.history_:
        total = row["val_main_loss"] + 0.5 * row["val_aux_loss"] + row["val_penalty"]
        assert row["val_loss"] == pytest.approx(total, rel=1e-7)


@pytest.mark.parametrize("search", [GridSearchCV, StackedGridSearchCV])
def test_schedules_and_their_parameters_are_searched(search):
    grid = [
        {"loss_weights__aux__start": [0.2, 0.6], "loss_weights__aux__epochs": [2, 4]},
        {"loss_weights__aux": [0.3, Cosine(0.3)]},
    ]
    found = search(make(Linear(1.0)), grid, cv=2).fit(X, Y)
    expected = GridSearchCV(make(Linear(1.0), fast_step=False), grid, cv=2).fit(X, Y)
    scores = [s.cv_results_["mean_test_score"] for s in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-9)
    assert len(set(scores[0].round(12))) > 4


def test_auxiliary_targets_of_arrays_have_schedules_too():
    net = MultiOutputNetRegressor(loss_weights={"aux": Linear(0.3, epochs=2)}, max_epochs=3)
    net.fit(X, Y["main"], aux=Targets({"aux": Y["aux"]}))
    assert weights_of(net) == [0.3, 0.15, 0.0]


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf, "high", None])
def test_a_schedule_that_gives_no_weight_is_refused(bad):
    for first in (0, 2):
        message = rf"^MultiOutputNet: `loss_weights\['aux'\]` must give .* for epoch {first}"
        with pytest.raises(ValueError, match=message):
            make(lambda epoch, first=first: bad if epoch == first else 1.0).fit(X, Y)


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("error", [OverflowError, IndexError, ValueError, KeyError])
def test_an_error_in_a_schedule_names_it(error, first):
    def raising(epoch):
        if epoch == first:
            raise error("it says")
        return 1.0

    message = (
        rf"^MultiOutputNet: `loss_weights\['aux'\]` must be a function of the epoch.* raised "
        rf"{error.__name__} for epoch {first}: '?it says"
    )
    with pytest.raises(ValueError, match=message):
        make(raising).fit(X, Y)


def test_a_function_without_an_argument_is_refused():
    message = r"^MultiOutputNet: `loss_weights\['aux'\]` must be a function .* TypeError for epoch"
    with pytest.raises(ValueError, match=message):
        make(lambda: 0.3).fit(X, Y)


def test_a_weight_may_be_any_real_number():
    third = Fraction(1, 3)
    fits = [make(weight).fit(X, Y) for weight in (third, lambda _: third, np.float64(1 / 3))]
    assert [weights_of(net) for net in fits] == [[1 / 3] * 6] * 3
    with pytest.raises(ValueError, match=r"`loss_weights\['aux'\]` must be a finite number"):
        make(10**400).fit(X, Y)


def test_a_bad_weight_in_a_later_fit_leaves_the_estimator_as_it_was():
    net = make(lambda epoch: 1.0 - 2 * (epoch > 5), warm_start=True).fit(X, Y)
    before = net.predict(X)
    with pytest.raises(ValueError, match=r"finite numbers of at least 0. Got -1.0 for epoch 6"):
        net.fit(X, Y)
    assert net.predict(X) == before
    assert net.n_iter_ == 6


def test_bad_parameters_of_a_schedule_are_named():
    with pytest.raises(ValueError, match=r"`loss_weights\['aux'\]`.*'epochs' parameter of Linear"):
        make(Linear(1.0, epochs=0)).fit(X, Y)


def test_dropping_the_output_drops_its_schedule():
    net = make(Linear(0.3, epochs=2)).fit(X, Y)
    smaller = net.drop_outputs(["aux"])
    assert np.array_equal(smaller.predict(X)["main"], net.predict(X)["main"])
    smaller.set_params(warm_start=True).fit(X, Targets({"main": Y["main"]}))
    assert "aux_weight" not in smaller.history_[-1]


def test_without_the_output_its_function_is_not_pickled():
    net = make(lambda epoch: 0.3 / (1 + epoch)).fit(X, Y)
    smaller = net.drop_outputs(["aux"]).set_params(loss_weights=None)
    copy = pickle.loads(pickle.dumps(smaller))
    assert np.array_equal(copy.predict(X)["main"], net.predict(X)["main"])


def test_a_constant_target_may_have_a_schedule():
    y = Targets({"main": Y["main"], "aux": np.zeros(60)})
    net = make(Linear(0.3, epochs=2), heads={"aux": Regression()}).fit(X, y)
    assert not net.predict(X)["aux"].any()
    assert weights_of(net)[:3] == [0.3, 0.15, 0.0]


def test_an_output_whose_weight_begins_at_zero_is_watched_with_the_weight_one():
    params = {"early_stopping": True, "max_epochs": 4}
    both = make(Linear(0.0, 1.0, 3), **params)
    both.set_params(loss_weights={"aux": Linear(0.0, 1.0, 3), "main": Linear(0.0, 0.5, 3)})
    for net, of_main in ((make(Linear(0.0, 1.0, 3), **params), 1.0), (both, 1.0)):
        for row in net.fit(X, Y).history_:
            total = of_main * row["val_main_loss"] + row["val_aux_loss"] + row["val_penalty"]
            assert row["val_loss"] == pytest.approx(total, rel=1e-7)


def test_the_plateau_is_that_of_a_loss_whose_weights_stay():
    params = {"learning_rate_schedule": "plateau", "n_iter_no_change": 4, "max_epochs": 40}
    rising, constant = make(Linear(0.1, 1.0, 30), **params), make(0.1, **params)
    rates = [net.fit(X, Y).history_[-1]["learning_rate"] for net in (rising, constant)]
    assert rates == [1e-3, 1e-3]


def test_the_plateau_watches_an_output_whose_weight_begins_at_zero():
    params = {"learning_rate_schedule": "plateau", "n_iter_no_change": 2, "max_epochs": 30}
    net = make(lambda epoch: float(epoch > 0), heads={"main": Regression()}, **params)
    net.set_params(loss_weights={"main": lambda epoch: float(epoch > 0), "aux": 0.0}, alpha=1e-9)
    assert net.fit(X, Y).history_[-1]["learning_rate"] == 1e-3


def test_the_measure_is_no_column_of_the_history():
    scheduled, constant = make(Linear(0.3)).fit(X, Y), make(0.3).fit(X, Y)
    assert list(scheduled.history_[0]) == list(constant.history_[0])


def test_weights_are_recorded_as_they_were_used():
    given = []

    def remembering(epoch):
        given.append((epoch, 1.0 / (1 + len(given))))
        return given[-1][1]

    net = make(remembering, warm_start=True).fit(X, Y)
    net.set_params(max_epochs=3).fit(X, Y)
    assert len(net.history_) == 9
    used = [dict(given[:7])[epoch] for epoch in range(6)]
    used += [dict(given[7:])[epoch] for epoch in range(6, 9)]
    assert weights_of(net) == used
    for row in net.history_:
        total = row["main_loss"] + row["aux_weight"] * row["aux_loss"] + row["penalty"]
        assert row["loss"] == pytest.approx(total, rel=1e-7)
