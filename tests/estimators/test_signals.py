"""Ctrl-C and SIGTERM at any point of a fit: an ordered end, or what they do to any program.

While `train` runs, from before the network is built until the last epoch is over, one signal is
remembered: training ends after the batch in hand, with a warning, and leaves a fitted estimator.
Before and after that, and for a second signal at once, the signal acts as it does without mtlearn:
SIGINT raises KeyboardInterrupt and leaves the estimator as it was, SIGTERM ends the process.
"""

import copy
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

import mtlearn._engine._train
from mtlearn import MultiOutputNet, Targets
from mtlearn._interrupts import Interrupts
from mtlearn.exceptions import DivergenceError, TrainingInterruptedWarning
from mtlearn.heads import Regression

N = 64
BATCH = 16
STEPS = N // BATCH
EPOCHS = 3
X = np.random.default_rng(0).normal(size=(N, 3))
Y = Targets({"number": X[:, 0] + X[:, 1] ** 2, "kind": np.where(X[:, 1] > 0, "a", "b")})


class Points:
    """The points that a fit passes; at one of them, signals are sent to this process."""

    at, numbers, n_steps, n_validations = None, (), 0, 0

    @classmethod
    def send(cls, at, *numbers):
        cls.at, cls.numbers, cls.n_steps, cls.n_validations = at, numbers, 0, 0

    @classmethod
    def reach(cls, point):
        if point == cls.at:
            cls.at = None
            for number in cls.numbers:
                os.kill(os.getpid(), number)


class Layer(nn.Module):
    """A layer that counts its steps."""

    def __init__(self, n_features):
        Points.reach("network")
        super().__init__()
        self.layer = nn.Linear(n_features, 4)

    def forward(self, x):
        if self.training:
            Points.n_steps += 1
            Points.reach(f"step {Points.n_steps}")
        elif Points.n_steps:
            Points.n_validations += 1
            Points.reach(f"validation {Points.n_validations}")
        return self.layer(x).relu()


class Passing(Callback):
    def on_train_begin(self, *_args, **_kwargs):
        Points.reach("train begin")

    def on_epoch_end(self, net, **_kwargs):
        Points.reach(f"epoch end {len(net.history)}")

    def on_train_end(self, *_args, **_kwargs):
        Points.reach("train end")


class Rows:
    """Rows that become an array when they are validated."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        Points.reach("rows")
        return np.array(self.values, dtype=dtype)


def squared_error(raw, target):
    Points.reach("loss")
    return (raw - target) ** 2


def make_net(**params):
    return MultiOutputNet(
        Layer,
        {"number": Regression(squared_error)},
        max_epochs=EPOCHS,
        batch_size=BATCH,
        random_state=0,
    ).set_params(**params)


def tensors_of(net):
    return {name: tensor.clone() for name, tensor in net.module_.state_dict().items()}


def same_tensors(a, b):
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def forget_signals():
    Interrupts._last = float("-inf")


@pytest.fixture
def signals(default_signals):
    """Default handlers, no signal a moment ago, and none to come in a later test."""
    forget_signals()
    yield
    Points.send(None)
    forget_signals()


def fit_until(point, number, net, X=X, y=Y, method="fit"):
    """Fit, with a signal at a point, and return the message of the warning."""
    Points.send(point, number)
    with pytest.warns(TrainingInterruptedWarning, match=signal.Signals(number).name) as record:
        getattr(net, method)(X, y)
    assert Points.at is None
    assert len(record) == 1
    assert handlers() == [signal.default_int_handler, signal.SIG_DFL]
    return str(record[0].message)


def check_usable(net):
    predicted = net.predict(X)
    assert np.isfinite(predicted["number"]).all()
    assert set(predicted["kind"]) <= {"a", "b"}
    assert np.isfinite(net.score(X, Y))
    for row in net.history_:
        assert np.isfinite(list(row.values())).all()
    assert pickle.loads(pickle.dumps(net)).predict(X) == predicted


# Points in the training.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("point", "n_steps"),
    [
        ("network", 1),
        ("train begin", 1),
        ("step 1", 1),
        ("step 6", 6),
        (f"step {EPOCHS * STEPS}", EPOCHS * STEPS),
        ("epoch end 1", STEPS + 1),
        (f"epoch end {EPOCHS}", EPOCHS * STEPS),
        ("train end", EPOCHS * STEPS),
    ],
)
def test_training_ends_after_the_batch_in_hand(signals, point, n_steps, number):
    net = make_net(callbacks=[Passing()])
    message = fit_until(point, number, net)
    assert Points.n_steps == n_steps
    assert net.n_iter_ == net.best_epoch_ == len(net.history_) == -(-n_steps // STEPS)
    assert f"in epoch {net.n_iter_};" in message
    check_usable(net)


def tensors_by_hand(n_steps):
    """The weights after some steps of Adam on the squared error, with the rows in their order."""
    start = make_net(alpha=0, max_epochs=1, learning_rate=1e-300).fit(X, Y[["number"]])
    module = copy.deepcopy(start.module_).train()
    target = (Y["number"] - Y["number"].mean()) / Y["number"].std()
    rows, labels = (torch.tensor(values).split(BATCH) for values in (X, target))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for step in range(n_steps):
        optimizer.zero_grad()
        raw = module(rows[step % STEPS])["number"]
        (raw - labels[step % STEPS]).square().mean().backward()
        optimizer.step()
    return module.state_dict()


@pytest.mark.parametrize(
    ("method", "n_steps"),
    [
        *(("fit", 1 + step) for step in range(EPOCHS * STEPS)),
        ("partial_fit", 1),
        ("partial_fit", 3),
    ],
)
def test_the_weights_are_those_after_that_many_steps(signals, method, n_steps):
    net = make_net(shuffle=False, alpha=0)
    fit_until(f"step {n_steps}", signal.SIGINT, net, y=Y[["number"]], method=method)
    found, expected = tensors_of(net), tensors_by_hand(n_steps)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_validations", [1, 2, EPOCHS])
def test_a_signal_during_validation_ends_the_next_epoch_after_a_batch(signals, n_validations):
    net = make_net(early_stopping=True)
    fit_until(f"validation {n_validations}", signal.SIGINT, net)
    assert net.n_iter_ == min(n_validations + 1, EPOCHS)
    assert Points.n_steps == min(n_validations * STEPS + 1, EPOCHS * STEPS)
    watched = [row["val_loss"] for row in net.history_ if "val_loss" in row]
    assert len(watched) == n_validations
    assert net.best_epoch_ == np.argmin(watched) + 1
    same = make_net(early_stopping=True, max_epochs=net.best_epoch_).fit(X, Y)
    assert same_tensors(tensors_of(net), tensors_of(same))
    check_usable(net)


def test_a_signal_in_the_first_epoch_keeps_its_weights_though_none_were_watched(signals):
    net = make_net(early_stopping=True)
    fit_until("step 2", signal.SIGINT, net)
    assert net.n_iter_ == net.best_epoch_ == 1
    assert "val_loss" not in net.history_[0]
    check_usable(net)


def test_a_continued_fit_names_the_epoch_of_all_fits(signals):
    net = make_net(warm_start=True).fit(X, Y)
    message = fit_until("step 6", signal.SIGINT, net)
    assert net.n_iter_ == EPOCHS + 2
    assert f"in epoch {EPOCHS + 2};" in message
    assert net.fit(X, Y).n_iter_ == 2 * EPOCHS + 2
    check_usable(net)


def test_a_piece_of_a_stream_ends_after_the_batch_in_hand(signals):
    net = make_net()
    fit_until("step 2", signal.SIGTERM, net, method="partial_fit")
    assert Points.n_steps == 2
    assert net.n_iter_ == 1
    check_usable(net.partial_fit(X, Y))
    assert net.n_iter_ == 2


def test_a_fit_after_an_interrupted_one_is_as_if_there_had_been_none(signals):
    net = make_net()
    fit_until("step 6", signal.SIGINT, net)
    assert same_tensors(tensors_of(net.fit(X, Y)), tensors_of(make_net().fit(X, Y)))
    assert net.n_iter_ == EPOCHS


def test_a_fit_that_diverges_after_the_signal_says_both(signals):
    class Diverging(Layer):
        def forward(self, x):
            out = super().forward(x)
            return out * np.nan if self.training and Points.n_steps == STEPS + 2 else out

    net = make_net(trunk=Diverging)
    Points.send(f"step {STEPS + 2}", signal.SIGINT)
    with (
        pytest.warns(TrainingInterruptedWarning, match="SIGINT"),
        pytest.raises(DivergenceError, match="The estimator keeps the weights of epoch 1"),
    ):
        net.fit(X, Y)
    assert same_tensors(tensors_of(net), tensors_of(make_net(max_epochs=1).fit(X, Y)))


def test_a_search_goes_on_after_the_fit_that_a_signal_ended(signals):
    search = GridSearchCV(make_net(), {"alpha": [0, 1e-3]}, cv=2, error_score="raise")
    n_steps = EPOCHS * (STEPS // 2)  # of a fit on half of the rows
    Points.send(f"step {n_steps + 1}", signal.SIGINT)
    with pytest.warns(TrainingInterruptedWarning, match="SIGINT ended the training in epoch 1"):
        search.fit(X, Y)
    assert Points.n_steps == n_steps + 1 + 2 * n_steps + EPOCHS * STEPS
    assert search.best_estimator_.n_iter_ == EPOCHS
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    check_usable(search.best_estimator_)


# Points outside, and signals that nobody can end in order.

OUTSIDE = ["rows", "loss", "history", "kept"]


def prepare(monkeypatch, point):
    """Let a fit pass the points after the training too."""

    def passing(function, name):
        def passed(*args, **kwargs):
            result = function(*args, **kwargs)
            Points.reach(name)
            return result

        return passed

    train = mtlearn._engine._train
    monkeypatch.setattr(train, "history_rows", passing(train.history_rows, "history"))
    monkeypatch.setattr(MultiOutputNet, "_keep", passing(MultiOutputNet._keep, "kept"))


def interrupt(net, point, *numbers, method="fit", y=Y):
    Points.send(point, *numbers)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        getattr(net, method)(Rows(X), y)
    assert Points.at is None
    assert handlers() == [signal.default_int_handler, signal.SIG_DFL]


@pytest.mark.parametrize("point", OUTSIDE)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_signal_outside_the_training_leaves_no_fit(signals, monkeypatch, point, method):
    prepare(monkeypatch, point)
    net = make_net()
    before = dict(vars(net))
    interrupt(net, point, signal.SIGINT, method=method)
    assert vars(net) == before
    assert same_tensors(tensors_of(net.fit(X, Y)), tensors_of(make_net().fit(X, Y)))


@pytest.mark.parametrize("point", OUTSIDE)
@pytest.mark.parametrize("method", ["fit", "warm fit", "partial_fit"])
def test_a_signal_outside_the_training_leaves_a_fitted_estimator_as_it_was(
    signals, monkeypatch, point, method
):
    if point == "loss" and method != "fit":
        point = "rows"  # a fit that goes on searches no best constant
    prepare(monkeypatch, point)
    net, same = (make_net(warm_start=method == "warm fit").fit(X, Y) for _ in range(2))
    before, tensors, history = dict(vars(net)), tensors_of(net), list(net.history_)
    method = method.removeprefix("warm ")
    interrupt(net, point, signal.SIGINT, method=method)
    assert vars(net) == before
    assert net.history_ == history
    assert same_tensors(tensors_of(net), tensors)
    getattr(net, method)(X, Y)
    getattr(same, method)(X, Y)
    assert same_tensors(tensors_of(net), tensors_of(same))
    assert net.history_ == same.history_


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("y", [Y, Y["number"]], ids=["names", "array"])
def test_a_signal_at_the_very_end_leaves_a_usable_estimator(signals, monkeypatch, fitted, y):
    net = make_net(heads=None)
    if fitted:
        net.fit(X, Y["number"] if y is Y else Y)
    passed = MultiOutputNet._or_raise

    def last(self, trained):
        Points.reach("end")
        return passed(self, trained)

    monkeypatch.setattr(MultiOutputNet, "_or_raise", last)
    interrupt(net, "end", signal.SIGINT, y=y)
    same = make_net(heads=None).fit(X, y)
    np.testing.assert_equal(net.predict(X), same.predict(X))


def test_two_signals_at_once_act_as_usual(signals):
    net = make_net()
    before = dict(vars(net))
    interrupt(net, "step 6", signal.SIGINT, signal.SIGINT)
    assert Points.n_steps == 6
    assert vars(net) == before


def test_two_signals_at_once_end_a_search(signals):
    search = GridSearchCV(make_net(), {"alpha": [0, 1e-3]}, cv=2)
    Points.send("step 8", signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        search.fit(X, Y)
    assert Points.n_steps == 8
    assert not hasattr(search, "cv_results_")


def test_a_signal_soon_after_an_interrupted_fit_ends_the_next_one(signals):
    net = make_net()
    fit_until("step 1", signal.SIGINT, net)
    tensors = tensors_of(net)
    interrupt(net, "step 6", signal.SIGINT)
    assert same_tensors(tensors_of(net), tensors)


def test_a_signal_where_there_is_nothing_to_learn_acts_as_usual(signals):
    net = make_net(heads=None)
    interrupt(net, "network", signal.SIGINT, y={"constant": np.ones(N)})
    assert not hasattr(net, "module_")


@pytest.mark.parametrize("error", [ValueError, RuntimeError, DivergenceError])
def test_a_signal_before_a_failure_acts_as_usual(signals, error):
    class Failing(Layer):
        def forward(self, x):
            out = super().forward(x)
            if error is DivergenceError:
                return out * (np.nan if self.training else 1)
            if self.training:
                raise error("broken")
            return out

    net = make_net(trunk=Failing)
    interrupt(net, "step 1", signal.SIGINT)
    assert not hasattr(net, "module_")


def test_the_users_own_handler_is_called_and_training_goes_on(signals):
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(Points.n_steps))
    try:
        Points.send("step 6", signal.SIGINT)
        net = make_net().fit(X, Y)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [6]
    assert net.n_iter_ == EPOCHS
    assert same_tensors(tensors_of(net), tensors_of(make_net().fit(X, Y)))


def test_a_signal_while_the_handlers_are_put_back_leaves_none_behind(signals, monkeypatch):
    set_handler, sent = signal.signal, []

    def set_and_send(number, handler):
        before = set_handler(number, handler)
        if handler is signal.default_int_handler:
            sent.append(number)
            os.kill(os.getpid(), number)
        return before

    monkeypatch.setattr(signal, "signal", set_and_send)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        make_net().fit(X, Y)
    assert sent == [signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# SIGTERM ends a process where nothing remembers it.


def exit_status(function):
    """Run a function in a forked child and return how it ended, as subprocess does."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("point", OUTSIDE)
def test_sigterm_outside_the_training_ends_the_process(signals, monkeypatch, point):
    prepare(monkeypatch, point)
    Points.send(point, signal.SIGTERM)
    assert exit_status(lambda: make_net().fit(Rows(X), Y)) == -signal.SIGTERM


def test_two_sigterms_end_the_process_and_one_does_not(signals):
    Points.send("step 6", signal.SIGTERM, signal.SIGTERM)
    assert exit_status(lambda: make_net().fit(X, Y)) == -signal.SIGTERM
    Points.send("step 6", signal.SIGTERM)
    assert exit_status(lambda: check_usable(make_net().fit(X, Y))) == 0


# Signals at random moments, in a process of their own.


def later(delay, number):
    return threading.Timer(delay, os.kill, (os.getpid(), number))


class Starting(nn.Module):
    """A layer whose first training step starts the clock of a signal."""

    delay, number, timer, n_steps = 0.0, None, None, 0

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 4)

    def forward(self, x):
        if self.training:
            Starting.n_steps += 1
            if Starting.n_steps == 1 and Starting.number is not None:
                Starting.timer = later(Starting.delay, Starting.number)
                Starting.timer.start()
        return self.layer(x).relu()


def fit_with_warnings(net):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(X, Y)
    return [str(w.message) for w in caught if w.category is TrainingInterruptedWarning]


def end_in_training(generator, number, early_stopping):
    """Fit until a signal at a random moment of the training, and say what came of it."""
    forget_signals()
    Starting.delay, Starting.number, Starting.n_steps = generator.uniform(0, 0.03), number, 0
    params = {"early_stopping": early_stopping, "n_iter_no_change": 10**6, "heads": None}
    net = make_net(trunk=Starting, max_epochs=10**6, **params)
    messages = fit_with_warnings(net)
    Starting.timer.join()
    steps, Starting.number = Starting.n_steps, None
    watched = [row["val_loss"] for row in net.history_ if "val_loss" in row]
    best = int(np.argmin(watched)) + 1 if watched else net.n_iter_
    report = {
        "name": number.name,
        "messages": messages,
        "finite": bool(
            np.isfinite(net.predict(X)["number"]).all() and np.isfinite(net.score(X, Y))
        ),
        "history": bool(all(np.isfinite(list(row.values())).all() for row in net.history_)),
        "epochs": [net.n_iter_, -(-steps // STEPS)],
        "best": [net.best_epoch_, best],
        "handlers": handlers() == [signal.default_int_handler, signal.SIG_DFL],
        "same": None,
    }
    if watched or steps % STEPS == 0:
        same = make_net(trunk=Starting, max_epochs=net.best_epoch_, **params).fit(X, Y)
        report["same"] = same_tensors(tensors_of(net), tensors_of(same))
    return report


def end_anywhere(generator, seconds, *, fitted):
    """Fit with a signal at a random moment before, in or after it, and say what came of it."""
    forget_signals()
    Starting.number = None
    net = make_net(trunk=Starting, heads=None)
    if fitted:
        net.fit(X[::-1], Y[::-1])
    before, tensors = dict(vars(net)), tensors_of(net) if fitted else None
    outcome, acted = "interrupted", False
    timer = later(generator.uniform(0, 1.3 * seconds), signal.SIGINT)
    try:
        timer.start()
        outcome = "ended" if fit_with_warnings(net) else "complete"
        timer.join()
        if outcome == "complete":
            time.sleep(10)
    except KeyboardInterrupt:
        acted = True
    timer.join()
    as_before = vars(net) == before and (not fitted or same_tensors(tensors_of(net), tensors))
    usable = hasattr(net, "module_") and bool(np.isfinite(net.predict(X)["number"]).all())
    return {
        "outcome": outcome,
        "acted": acted,
        "as before": as_before,
        "usable": usable,
        "epochs": getattr(net, "n_iter_", 0),
        "handlers": handlers() == [signal.default_int_handler, signal.SIG_DFL],
    }


def main(seed):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    generator = random.Random(seed)
    numbers = [signal.SIGINT] * 50 + [signal.SIGTERM] * 10
    inside = [end_in_training(generator, number, i % 2 == 0) for i, number in enumerate(numbers)]
    began = time.monotonic()
    for _ in range(3):
        make_net(trunk=Starting, heads=None).fit(X, Y)
    seconds = (time.monotonic() - began) / 3
    anywhere = [end_anywhere(generator, seconds, fitted=i % 2 == 0) for i in range(30)]
    print(json.dumps({"inside": inside, "anywhere": anywhere}))  # noqa: T201


@pytest.fixture(scope="module")
def reports():
    """What a process says that lived through all signals, and ended in order."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, "0"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_one_of_sixty_signals_leaves_a_usable_estimator(reports):
    inside = reports["inside"]
    assert [report["name"] for report in inside] == ["SIGINT"] * 50 + ["SIGTERM"] * 10
    for report in inside:
        assert len(report["messages"]) == 1
        epochs, expected = report["epochs"]
        assert epochs == expected
        assert f"{report['name']} ended the training in epoch {epochs};" in report["messages"][0]
        assert report["finite"]
        assert report["history"]
        assert report["handlers"]


def test_every_signal_leaves_the_weights_of_the_best_epoch(reports):
    for report in reports["inside"]:
        best, expected = report["best"]
        assert best == expected
        assert report["same"] in (True, None)
    assert sum(report["same"] is True for report in reports["inside"]) >= 20


def test_signals_at_any_moment_end_a_fit_or_undo_it(reports):
    outcomes = set()
    for report in reports["anywhere"]:
        outcomes.add(report["outcome"])
        assert report["handlers"]
        assert report["acted"] == (report["outcome"] != "ended")
        if report["outcome"] == "interrupted":
            assert report["as before"] or (report["usable"] and report["epochs"] > 0)
        else:
            assert report["usable"]
            assert not report["as before"]
            assert 1 <= report["epochs"] <= EPOCHS
            assert report["outcome"] == "ended" or report["epochs"] == EPOCHS
    assert "ended" in outcomes


if __name__ == "__main__":
    main(int(sys.argv[1]))
