"""Which rows are held out, when training stops, and what an interrupt leaves."""

import os
import pickle
import random
import signal

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.model_selection import (
    GridSearchCV,
    GroupShuffleSplit,
    PredefinedSplit,
    TimeSeriesSplit,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn._interrupts import Interrupts
from mtlearn.estimators._validation import AUTO_ROWS
from mtlearn.exceptions import TrainingInterruptedWarning
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

pytestmark = pytest.mark.usefixtures("default_signals")

N = 120


def make_data(n=N, seed=0):
    """A main target that is mostly noise beside an auxiliary one that is not."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    noisy = X[:, 0] + 2 * rng.normal(size=n)
    clear = X[:, 1] * X[:, 2]
    return X, Targets({"main": noisy, "aux": clear})


X, Y = make_data()


def make_net(**params):
    return MultiOutputNet(
        MLP((32,)), main_output="main", learning_rate=0.01, max_epochs=60, random_state=0
    ).set_params(**params)


class Recorder(nn.Module):
    """A trunk that passes rows on and keeps those of the training steps."""

    seen: list = []  # noqa: RUF012 (estimators copy the module, not its class)

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 4)

    def forward(self, x):
        if self.training:
            Recorder.seen.append(x.detach().clone())
        return self.layer(x)


def trained_rows(net, rows, *args, **kwargs):
    """Fit with one column of row numbers; return the numbers that were trained on."""
    Recorder.seen.clear()
    numbered = np.column_stack([rows, np.arange(len(rows))])
    net.set_params(trunk=Recorder, max_epochs=1).fit(numbered, *args, **kwargs)
    return np.sort(torch.cat(Recorder.seen)[:, -1].numpy()).astype(int)


def test_the_main_output_stops_the_training_while_another_still_falls():
    net = make_net(early_stopping=True, n_iter_no_change=5).fit(X, Y)
    main = [row["val_main_loss"] for row in net.history_]
    aux = [row["val_aux_loss"] for row in net.history_]
    assert net.best_epoch_ == np.argmin(main) + 1
    assert net.n_iter_ == net.best_epoch_ + 5 < 60
    assert aux[-1] < aux[net.best_epoch_ - 1]


def test_without_a_main_output_the_total_stops_the_training():
    net = make_net(early_stopping=True, main_output=None, n_iter_no_change=5).fit(X, Y)
    assert net.best_epoch_ == np.argmin([row["val_loss"] for row in net.history_]) + 1


def test_the_weights_are_those_of_the_best_epoch_bit_for_bit():
    stopped = make_net(early_stopping=True, n_iter_no_change=5).fit(X, Y)
    same = make_net(early_stopping=True, n_iter_no_change=100, max_epochs=stopped.best_epoch_).fit(
        X, Y
    )
    assert same.best_epoch_ == same.n_iter_ == stopped.best_epoch_ < stopped.n_iter_
    assert stopped.predict(X) == same.predict(X)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("fast_step", [False, "auto"])
def test_with_a_tolerance_the_last_epoch_near_the_least_loss_counts(n_members, fast_step):
    def fitted(tol, **params):
        net = make_net(early_stopping=True, n_iter_no_change=5, n_members=n_members, **params)
        return net.set_params(early_stopping_tol=tol, fast_step=fast_step).fit(X, Y)

    least, near = fitted(0), fitted(0.1)
    losses = np.array([row["val_main_loss"] for row in near.history_])
    expected = 1 + np.flatnonzero(losses <= 1.1 * losses.min())[-1]
    assert near.best_epoch_ == expected > least.best_epoch_ == 1 + np.argmin(losses)
    assert near.n_iter_ == expected + 5
    assert near.predict(X) == fitted(0.1, max_epochs=int(expected)).predict(X)


def test_the_validation_loss_is_that_of_the_restored_network():
    X_val, y_val = make_data(seed=1)
    net = make_net(normalize_losses=False, alpha=0.01).fit(X, Y, X_val=X_val, y_val=y_val)
    predicted, best = net.predict(X_val), net.history_[net.best_epoch_ - 1]
    losses = {name: np.mean((predicted[name] - y_val[name]) ** 2) for name in Y}
    for name, loss in losses.items():
        np.testing.assert_allclose(best[f"val_{name}_loss"], loss)
    weights = [p.detach() for p in net.module_.parameters() if p.ndim > 1]
    penalty = 0.01 * sum(float((weight**2).sum()) for weight in weights)
    np.testing.assert_allclose(best["val_loss"], sum(losses.values()) + penalty)


def test_auto_stops_early_from_ten_thousand_rows_on():
    net = make_net(trunk=MLP(()), max_epochs=1)
    rows = np.zeros((AUTO_ROWS, 1))
    rows[:, 0] = np.arange(AUTO_ROWS) % 7
    y = {"main": rows[:, 0] ** 2}
    assert "val_loss" in net.fit(rows, y).history_[0]
    assert "val_loss" not in net.fit(rows[1:], {"main": y["main"][1:]}).history_[0]
    assert "val_loss" not in net.set_params(early_stopping=False).fit(rows, y).history_[0]


def test_a_share_of_the_rows_is_held_out():
    rows = trained_rows(make_net(early_stopping=True, validation_fraction=0.25), X, Y)
    assert len(np.unique(rows)) == len(rows) == N * 3 // 4


def test_a_share_of_the_rows_is_stratified_by_the_classes_of_the_main_output():
    kind = np.where(np.arange(N) < 12, "rare", "frequent")
    net = make_net(early_stopping=True, validation_fraction=0.25, main_output="kind")
    rows = trained_rows(net, X, {"kind": kind, "aux": Y["aux"]})
    assert (rows < 12).sum() == 9


def test_groups_are_never_divided():
    groups = np.arange(N) % 10
    splitter = GroupShuffleSplit(1, test_size=0.3, random_state=0)
    net = make_net(early_stopping=True, validation_fraction=splitter)
    rows = trained_rows(net, X, Y, groups=groups)
    assert len(rows) == N * 7 // 10
    assert not set(groups[rows]) & set(groups[np.setdiff1d(np.arange(N), rows)])


def test_a_splitter_in_time_trains_on_the_past():
    splitter = TimeSeriesSplit(2)
    net = make_net(early_stopping=True, validation_fraction=splitter)
    expected, _ = next(splitter.split(X))
    np.testing.assert_array_equal(trained_rows(net, X, Y), expected)


def test_heads_learn_their_scale_from_the_training_rows():
    y = {"main": np.where(np.arange(N) < 100, X[:, 0], 1e6)}
    splitter = PredefinedSplit(np.where(np.arange(N) < 100, -1, 0))
    net = make_net(early_stopping=True, validation_fraction=splitter, max_epochs=1).fit(X, y)
    np.testing.assert_allclose(net.heads_["main"].center_, X[:100, 0].mean())


def test_a_class_of_held_out_rows_only_is_known():
    kind = np.where(np.arange(N) < 100, np.where(X[:, 0] > 0, "a", "b"), "c")
    splitter = PredefinedSplit(np.where(np.arange(N) < 100, -1, 0))
    net = make_net(early_stopping=True, validation_fraction=splitter, max_epochs=3)
    net.fit(X, {"main": Y["main"], "kind": kind})
    assert net.classes_["kind"].tolist() == ["a", "b", "c"]
    assert np.isfinite(net.predict_proba(X)["kind"]).all()


def test_a_pipeline_can_transform_the_rows_to_watch():
    X_val, y_val = make_data(seed=1)
    with config_context(enable_metadata_routing=True):
        net = make_net(max_epochs=3).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("net", net)], transform_input=["X_val"])
        pipeline.fit(X * 100, Y, X_val=X_val * 100, y_val=y_val)
    scale = StandardScaler().fit(X * 100)
    rows, held = scale.transform(X * 100), scale.transform(X_val * 100)
    expected = make_net(max_epochs=3).fit(rows, Y, X_val=held, y_val=y_val)
    assert pipeline["net"].history_ == expected.history_


def test_validation_of_one_output_is_enough():
    X_val, y_val = make_data(seed=1)
    net = make_net().fit(X, Y, X_val=X_val, y_val={"main": y_val["main"]})
    assert "val_main_loss" in net.history_[0]
    assert "val_aux_loss" not in net.history_[0]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_early_stopping_works_in_a_search(n_jobs):
    net = make_net(early_stopping=True, max_epochs=10)
    search = GridSearchCV(net, {"loss_weights__aux": [0, 1]}, cv=2, n_jobs=n_jobs).fit(X, Y)
    again = GridSearchCV(net, {"loss_weights__aux": [0, 1]}, cv=2).fit(X, Y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"]
    )


def test_regressor_and_classifier_watch_their_own_output():
    kind = np.where(X[:, 0] > 0, "a", "b")
    for net, y in ((MultiOutputNetRegressor(), Y["main"]), (MultiOutputNetClassifier(), kind)):
        net.set_params(early_stopping=True, max_epochs=40, n_iter_no_change=3, random_state=0)
        net.fit(X, y, aux=Y[["aux"]])
        assert net.best_epoch_ == np.argmin([row["val_y_loss"] for row in net.history_]) + 1
        net.set_params(early_stopping="auto").fit(X, y, X_val=X[:40], y_val=y[:40])
        assert "val_y_loss" in net.history_[0]


@pytest.mark.parametrize(
    ("params", "fit_params", "message"),
    [
        ({"validation_fraction": 1.5}, {}, "'validation_fraction' parameter"),
        ({"n_iter_no_change": 0}, {}, "'n_iter_no_change' parameter"),
        ({"validation_fraction": GroupShuffleSplit}, {}, r"write GroupShuffleSplit\(\)"),
        ({}, {"y_val": Y}, "`y_val` and `sample_weight_val` need `X_val`"),
        ({}, {"X_val": X, "y_val": {"main": Y["main"][:, None]}}, "'main': the labels of `y_val`"),
        ({}, {"groups": np.arange(N)}, "`groups` needs a splitter"),
        ({}, {"X_val": X[:, :2], "y_val": Y}, "X has 2 features"),
        ({}, {"X_val": X, "y_val": None}, "y_val.*requires y to be passed"),
        ({}, {"X_val": X[:5], "y_val": Y}, "`y` must have as many rows as X, 5"),
        ({}, {"X_val": X, "y_val": {"aux": Y["aux"]}}, "`y_val` must hold .*'main'"),
        ({}, {"X_val": X, "y_val": {**Y, "mane": Y["aux"]}}, "`y_val` names .*'mane'.*'main'"),
    ],
)
def test_bad_validation_is_refused(params, fit_params, message):
    with pytest.raises(ValueError, match=message):
        make_net(early_stopping=True, **params).fit(X, Y, **fit_params)


def test_too_few_rows_to_hold_some_out_are_refused():
    with pytest.raises(ValueError, match="early stopping needs at least 2 rows"):
        make_net(early_stopping=True).fit(X[:1], Y[:1])


def test_labels_that_are_all_held_out_are_refused():
    y = {"main": Y["main"], "aux": np.where(np.arange(N) < 100, np.nan, Y["aux"])}
    splitter = PredefinedSplit(np.where(np.arange(N) < 100, -1, 0))
    net = make_net(
        early_stopping=True,
        validation_fraction=splitter,
        missing_targets="ignore",
        heads={"aux": Regression()},
    )
    with pytest.raises(ValueError, match=r"held-out rows leave the outputs \['aux'\] without"):
        net.fit(X, y)
    with pytest.raises(ValueError, match=r"held-out rows have no label of \['main'\]"):
        net.set_params(heads=None).fit(X, {"main": np.where(np.arange(N) < 100, Y["main"], np.nan)})


class Interrupting(nn.Module):
    """A trunk that sends its process a signal in the middle of a training step."""

    step, number = 0, signal.SIGINT

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 8)
        self.calls = 0

    def forward(self, x):
        if self.training:
            self.calls += 1
            if self.calls == Interrupting.step:
                os.kill(os.getpid(), Interrupting.number)
        return self.layer(x).relu()


def fit_interrupted(monkeypatch, step, number, **params):
    monkeypatch.setattr(Interrupts, "_last", float("-inf"))
    monkeypatch.setattr(Interrupting, "step", step)
    monkeypatch.setattr(Interrupting, "number", number)
    net = make_net(trunk=Interrupting, max_epochs=1000, batch_size=16, **params)
    with pytest.warns(TrainingInterruptedWarning, match=signal.Signals(number).name):
        return net.fit(X, Y)


@pytest.mark.parametrize("number", [signal.SIGINT] * 10 + [signal.SIGTERM] * 5)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_every_interrupt_leaves_a_usable_model(monkeypatch, request, number, early_stopping):
    step = random.Random(request.node.name).randint(1, 60)
    net = fit_interrupted(monkeypatch, step, number, early_stopping=early_stopping)
    n_batches = 7 if early_stopping else 8
    assert net.n_iter_ == -(-step // n_batches)
    assert np.isfinite(net.predict(X)["main"]).all()
    assert np.isfinite(net.history_[-1]["loss"])
    again = pickle.loads(pickle.dumps(net))
    assert again.predict(X) == net.predict(X)
    assert again.history_ == net.history_


def test_an_interrupt_with_validation_leaves_the_best_epoch(monkeypatch):
    params = {"early_stopping": True, "n_iter_no_change": 1000}
    net = fit_interrupted(monkeypatch, 150, signal.SIGINT, **params)
    watched = [row["val_main_loss"] for row in net.history_ if "val_main_loss" in row]
    assert net.best_epoch_ == np.argmin(watched) + 1 < len(watched)
    same = make_net(trunk=Interrupting, batch_size=16, max_epochs=net.best_epoch_, **params)
    monkeypatch.setattr(Interrupting, "step", 0)
    assert net.predict(X) == same.fit(X, Y).predict(X)


def test_classes_are_noted_without_being_kept():
    net = make_net(heads={"kind": Classification()}, main_output=None, max_epochs=1)
    net.fit(X, {"kind": np.where(X[:, 0] > 0, "a", "b")})
    assert net.heads_["kind"]._noted is None


def test_missing_labels_of_the_main_output_stay_in_the_training():
    kind = np.where(X[:, 0] > 0, "a", "b").astype(object)
    kind[::4] = None
    kind[1] = "once"
    net = make_net(
        early_stopping=True, main_output="kind", missing_targets="ignore", validation_fraction=0.3
    )
    rows = trained_rows(net, X, {"kind": kind, "aux": Y["aux"]})
    held = np.setdiff1d(np.arange(N), rows)
    assert len(held) == round(0.3 * 90)
    assert None not in kind[held]
    assert 1 in rows
    labelled = np.isin(kind.astype(str), ["a", "b"])
    np.testing.assert_allclose(
        np.mean(kind[held] == "a"), np.mean(kind[labelled] == "a"), atol=0.03
    )


def test_an_untrained_main_output_stops_nothing():
    net = make_net(loss_weights={"main": 0}, max_epochs=3)
    net.fit(X, Y, X_val=X[:20], y_val={"main": Y["main"][:20]})
    assert net.n_iter_ == net.best_epoch_ == 3
    held = make_net(loss_weights={"main": 0}, early_stopping=True, max_epochs=3).fit(X, Y)
    assert "val_aux_loss" in held.history_[0]


def test_an_output_without_weight_may_have_its_only_label_held_out():
    aux = np.full(N, np.nan)
    aux[-1] = 7.5
    splitter = PredefinedSplit(np.where(np.arange(N) < 100, -1, 0))
    net = make_net(
        early_stopping=True,
        validation_fraction=splitter,
        missing_targets="ignore",
        max_epochs=1,
        heads={"aux": Regression()},
        loss_weights={"aux": 0},
    )
    assert net.fit(X, {"main": Y["main"], "aux": aux}).predict(X)["aux"].tolist() == [7.5] * N


def test_a_splitter_without_a_seed_gets_that_of_the_estimator():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 (the global state is the point)
    nets = [
        make_net(early_stopping=True, validation_fraction=GroupShuffleSplit(1), max_epochs=2).fit(
            X, Y, groups=np.arange(N) % 10
        )
        for _ in range(2)
    ]
    assert nets[0].history_ == nets[1].history_
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_the_history_of_the_held_out_rows_obeys_its_total():
    y = Targets({**Y, "still": np.ones(N)})
    net = make_net(early_stopping=True, loss_weights={"aux": 0.3}, max_epochs=3).fit(X, y)
    for row in net.history_:
        total = row["val_main_loss"] + 0.3 * row["val_aux_loss"] + row["val_penalty"]
        np.testing.assert_allclose(row["val_loss"], total)


def test_buffers_outside_the_state_dict_are_restored_too():
    class Counting(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.layer = nn.Linear(n_features, 8)
            self.register_buffer("seen", torch.zeros(()), persistent=False)

        def forward(self, x):
            if self.training:
                self.seen += 1
            return self.layer(x).relu() + self.seen / 100

    stopped = make_net(trunk=Counting, early_stopping=True, n_iter_no_change=3).fit(X, Y)
    same = make_net(trunk=Counting, early_stopping=True, max_epochs=stopped.best_epoch_).fit(X, Y)
    assert stopped.best_epoch_ < stopped.n_iter_
    assert stopped.predict(X) == same.predict(X)


def test_a_fitted_net_holds_no_validation_rows():
    net = make_net(early_stopping=True, max_epochs=2).fit(X, Y)
    assert net.net_.train_split is None
    assert dict(net.net_.callbacks_)["best_epoch"]._weights is None
