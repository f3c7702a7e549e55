"""Callbacks are copied for each fit, see what skorch's see, and may fail without a trace."""

import threading
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EpochTimer, Freezer, GradientNormClipping, LRScheduler

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn._engine._callbacks import copy_callbacks
from mtlearn._engine._data import TrainingData
from mtlearn.trunks import MLP

HOOKS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_grad_computed",
    "on_batch_end",
    "on_epoch_end",
    "on_train_end",
)
N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = Targets({"number": X[:, 0] - X[:, 1], "kind": np.where(X[:, 2] > 0, "a", "b")})
CLASSES = {"kind": ["a", "b"]}


def make_net(**params):
    return MultiOutputNet(
        MLP((6,), dropout=0.3, normalization="batch"),
        batch_size=16,
        max_epochs=3,
        learning_rate=0.01,
        random_state=0,
    ).set_params(**params)


# Copies.


@pytest.mark.parametrize("as_given", [list, tuple, dict])
def test_callbacks_are_copied_by_name_where_they_have_one(as_given):
    clip, schedule = GradientNormClipping(0.5), LRScheduler("StepLR", step_size=2)
    given = as_given([("clip", clip), ("schedule", schedule)])
    (name, copied), (other, second) = copy_callbacks(given)
    assert (name, other) == ("clip", "schedule")
    assert copied is not clip
    assert copied.get_params() == clip.get_params()
    assert second.get_params() == schedule.get_params()
    assert second.step_size == 2


def test_callbacks_without_a_name_stay_without_one():
    (first, second) = copy_callbacks([GradientNormClipping(0.5), ("timer", EpochTimer())])
    assert isinstance(first, GradientNormClipping)
    assert second[0] == "timer"


@pytest.mark.parametrize("nothing", [None, [], {}, ()])
def test_no_callbacks_are_none(nothing):
    assert copy_callbacks(nothing) == []


class Locked(Callback):
    """Holds what cannot be copied."""

    def __init__(self, lock):
        self.lock = lock


def test_functions_and_classes_make_a_callback_for_every_fit():
    made = []

    def make():
        made.append(Locked(threading.Lock()))
        return made[-1]

    for _ in range(2):
        named, plain, of_class, of_partial = copy_callbacks(
            [("mine", make), make, EpochTimer, partial(GradientNormClipping, 0.5)]
        )
    assert named == ("mine", made[2])
    assert plain is made[3]
    assert type(of_class) is EpochTimer
    assert of_partial.gradient_clip_value == 0.5
    assert len(made) == 4


class Listing(Callback):
    """Changes what it is given, so that scikit-learn cannot copy it."""

    def __init__(self, keys):
        self.keys = list(keys)


@pytest.mark.parametrize("callback", [Locked(threading.Lock()), Listing(("a",))])
def test_callback_that_cannot_be_copied_asks_for_a_function(callback):
    name = type(callback).__name__
    with pytest.raises(
        TypeError,
        match=rf"every fit gets its own. {name} cannot be \(.*\); pass .*lambda: {name}\(",
    ):
        copy_callbacks([callback])


@pytest.mark.parametrize(
    ("callbacks", "found"),
    [
        (["early"], "'early'"),
        ([("clip", 0.5)], "0.5"),
        ({"clip": None}, "None"),
        ([lambda: 3], "<function"),
        ([("clip", GradientNormClipping(), 3)], "clip"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, found):
    net = make_net(callbacks=callbacks)
    with pytest.raises(
        (TypeError, ValueError),
        match=rf"^MultiOutputNet: `callbacks` must hold callbacks of skorch.*Got .*{found}",
    ):
        net.fit(X, Y)
    assert not hasattr(net, "module_")


def test_one_callback_alone_is_refused():
    with pytest.raises(ValueError, match="'callbacks' parameter of MultiOutputNet must be"):
        make_net(callbacks=EpochTimer()).fit(X, Y)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("name", ["epoch_timer", "last_epochs", "best_epoch", "progress"])
def test_names_of_the_packages_own_callbacks_are_refused(name, early_stopping):
    net = make_net(callbacks={name: GradientNormClipping()}, early_stopping=early_stopping)
    with pytest.raises(ValueError, match=rf"^MultiOutputNet: .*must not use the name '{name}'"):
        net.fit(X, Y)


def test_callbacks_of_one_class_get_different_names():
    callbacks = [GradientNormClipping(1.0), GradientNormClipping(2.0)]
    net = make_net(callbacks=callbacks).fit(X, Y)
    used = dict(net.net_.callbacks_)
    values = [used[f"GradientNormClipping_{i}"].gradient_clip_value for i in (1, 2)]
    assert values == [1.0, 2.0]


def test_every_fit_has_callbacks_of_its_own():
    freezer = Freezer("trunk*")
    before = dict(vars(freezer))
    net = make_net(callbacks={"freezer": freezer})
    used = [dict(net.fit(X, Y).net_.callbacks_)["freezer"] for _ in range(3)]
    assert len({id(callback) for callback in (*used, freezer)}) == 4
    assert vars(freezer) == before
    assert vars(used[0]) != before


# What callbacks see.


class Recorder(Callback):
    """Writes down every call in a list of the caller's."""

    def __init__(self, calls):
        self.calls = calls

    def initialize(self):
        self.calls.append(("initialize", None, {}))
        for hook in HOOKS:
            setattr(self, hook, partial(self._record, hook))
        return self

    def _record(self, hook, net, **kwargs):
        self.calls.append((hook, net, kwargs))


def test_hooks_are_called_in_skorchs_order():
    calls = []
    net = make_net(callbacks=[lambda: Recorder(calls)], max_epochs=2)
    net.fit(X, Y, X_val=X[:5], y_val=Y[:5])
    training = ["on_batch_begin", "on_grad_computed", "on_batch_end"] * 3
    validation = ["on_batch_begin", "on_batch_end"]
    epoch = ["on_epoch_begin", *training, *validation, "on_epoch_end"]
    hooks = [hook for hook, _, _ in calls]
    assert hooks == ["initialize", "on_train_begin", *epoch, *epoch, "on_train_end"]
    assert all(seen is net.net_ for _, seen, _ in calls[1:])


def test_hooks_get_batches_losses_and_data():
    calls = []
    net = make_net(callbacks=[lambda: Recorder(calls)], max_epochs=1, shuffle=False, alpha=0.0)
    net.fit(X, Y, X_val=X[:5], y_val=Y[:5])
    by_hook = {hook: [kwargs for name, _, kwargs in calls if name == hook] for hook in HOOKS}
    ends = by_hook["on_batch_end"]
    assert [end["training"] for end in ends] == [True, True, True, False]
    rows = np.concatenate([end["batch"][0].numpy() for end in ends])
    np.testing.assert_array_equal(rows, np.concatenate([X, X[:5]]))
    assert [sorted(end["y_pred"]) for end in ends] == [["kind", "number"]] * 4
    losses = [end["loss"].item() for end in ends[:3]]
    assert np.average(losses, weights=[16, 16, 8]) == pytest.approx(net.history_[0]["loss"])
    assert [end["loss"].item() for end in ends[3:]] == [pytest.approx(net.history_[0]["val_loss"])]
    (begin,) = by_hook["on_epoch_begin"]
    assert isinstance(begin["dataset_train"], TrainingData)
    assert (len(begin["dataset_train"]), len(begin["dataset_valid"])) == (N, 5)
    np.testing.assert_array_equal(begin["dataset_valid"].X, X[:5])
    np.testing.assert_array_equal(begin["dataset_train"].y["kind"], Y["kind"])
    names = [name for name, _ in by_hook["on_grad_computed"][0]["named_parameters"]]
    assert names == [name for name, _ in net.module_.named_parameters()]


def test_batches_are_in_skorchs_history():
    net = make_net(callbacks=[EpochTimer]).fit(X, Y, X_val=X[:5], y_val=Y[:5])
    for epoch, row in zip(net.net_.history, net.history_, strict=True):
        *training, validation = epoch["batches"]
        assert [batch["train_batch_size"] for batch in training] == [16, 16, 8]
        losses = [batch["train_loss"] for batch in training]
        assert np.dot(losses, [0.4, 0.4, 0.2]) == pytest.approx(row["loss"], rel=1e-12)
        assert validation["valid_batch_size"] == 5
        assert validation["valid_loss"] == pytest.approx(row["val_loss"], rel=1e-12)


def test_without_callbacks_no_batch_is_kept():
    net = make_net(early_stopping=True, learning_rate_schedule="plateau").fit(X, Y)
    assert not any(epoch["batches"] for epoch in net.net_.history)


def test_callbacks_that_only_watch_change_nothing():
    watched = make_net(callbacks=[lambda: Recorder([])]).fit(X, Y)
    alone = make_net().fit(X, Y)
    assert watched.predict(X) == alone.predict(X)
    assert watched.history_ == alone.history_


@pytest.mark.parametrize("needs_batches", [True, False])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_callbacks_of_one_fit_are_not_called_in_the_next(method, needs_batches):
    calls = []

    def make():
        recorder = Recorder(calls)
        recorder.needs_batches = needs_batches
        return recorder

    net = make_net(warm_start=True, callbacks=[make]).fit(X, Y)
    assert calls
    calls.clear()
    getattr(net.set_params(callbacks=None), method)(X, Y)
    assert not calls


def test_callbacks_watch_pieces_of_a_stream():
    calls = []
    net = make_net(callbacks=[lambda: Recorder(calls)], batch_size=10)
    twin = make_net(batch_size=10)
    for rows in (np.arange(20), np.arange(20, N)):
        net.partial_fit(X[rows], Y[rows], classes=CLASSES)
        twin.partial_fit(X[rows], Y[rows], classes=CLASSES)
    hooks = [hook for hook, _, _ in calls]
    batch = ["on_batch_begin", "on_grad_computed", "on_batch_end"]
    piece = ["on_train_begin", "on_epoch_begin", *batch * 2, "on_epoch_end", "on_train_end"]
    assert hooks == ["initialize", *piece] * 2
    assert net.predict(X) == twin.predict(X)


def record(name, value):
    class Record(Callback):
        def on_epoch_end(self, net, **_kwargs):
            net.history.record(name, value)

    return Record


@pytest.mark.parametrize("name", ["mine", "valid_mae", "train_mae", "event_lr"])
def test_numbers_that_callbacks_record_are_in_the_history(name):
    net = make_net(callbacks=[record(name, 0.5)]).fit(X, Y)
    assert [row.get(name) for row in net.history_] == [0.5] * 3


@pytest.mark.parametrize("value", [3, np.float32(0.5), np.float64(0.5), np.int64(3)])
def test_recorded_numbers_are_floats(value):
    net = make_net(callbacks=[record("mine", value)]).fit(X, Y)
    assert [row["mine"] for row in net.history_] == [float(value)] * 3
    assert type(net.history_[0]["mine"]) is float


@pytest.mark.parametrize("value", ["text", True, None, [1.0]])
def test_what_is_no_number_is_not_in_the_history(value):
    net = make_net(callbacks=[record("mine", value)]).fit(X, Y)
    assert net.history_ == make_net().fit(X, Y).history_


def test_callback_can_change_weights():
    class Fill(Callback):
        def on_train_end(self, net, **_kwargs):
            for parameter in net.module_.parameters():
                parameter.data.fill_(0.0)

    net = make_net(callbacks=[Fill()]).fit(X, Y)
    predicted = net.predict(X)["number"]
    np.testing.assert_allclose(predicted, Y["number"].mean(), rtol=1e-12)


# Callbacks that fail.


class Failure(Exception):
    """Nothing that the package knows."""


class Fail(Callback):
    """Raises in some hook, from the second epoch on where the hook is called in epochs."""

    def __init__(self, hook, error=Failure):
        self.hook = hook
        self.error = error

    def initialize(self):
        def fail(net, **_kwargs):
            if "train" in self.hook or len(net.history) == net.max_epochs:
                raise self.error("told so")

        setattr(self, self.hook, fail)
        return self


def state_of(net):
    return {**vars(net), "callbacks": None, "history_": list(net.history_)}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "Estimator", [MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier]
)
def test_first_fit_that_fails_leaves_nothing(Estimator, method, hook):
    net = Estimator(MLP((4,)), max_epochs=2, callbacks=[Fail(hook)])
    before = dict(vars(net))
    y = Y if Estimator is MultiOutputNet else 1 * (X[:, 0] > 0)
    with pytest.raises(Failure, match=r"^told so$"):
        getattr(net, method)(X, y)
    assert vars(net) == before
    # `dir` of earlier releases of scikit-learn lists attributes that are not there yet.
    fitted = [name for name in dir(net) if name.endswith("_") and not name.startswith("_")]
    assert not [name for name in fitted if hasattr(net, name)]
    with pytest.raises(NotFittedError, match="not fitted"):
        net.predict(X)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("warm_start", [False, True])
def test_fit_that_fails_leaves_the_fitted_net_as_it_was(warm_start, hook):
    net = make_net(warm_start=warm_start).fit(X, Y)
    expected, before, net_before = net.predict(X), state_of(net), net.net_
    weights = {name: tensor.clone() for name, tensor in net.module_.state_dict().items()}
    net.set_params(callbacks=[Fail(hook)])
    with pytest.raises(Failure, match="told so"):
        net.fit(X[:, ::-1], Y)
    assert state_of(net) == before
    assert net.net_ is net_before
    assert net.predict(X) == expected
    after = net.module_.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in weights.items())
    assert not any(part.training for part in net.module_.modules())


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("optimizer", ["adam", partial(torch.optim.SGD, momentum=0.9)])
def test_fit_that_goes_on_after_a_failure_is_as_if_it_had_not_been(optimizer, hook):
    net, twin = (make_net(warm_start=True, optimizer=optimizer).fit(X, Y) for _ in range(2))
    with pytest.raises(Failure, match="told so"):
        net.set_params(callbacks=[Fail(hook)]).fit(X[:30], Y[:30])
    net.set_params(callbacks=None).fit(X, Y)
    twin.fit(X, Y)
    assert net.predict(X) == twin.predict(X)
    assert net.history_ == twin.history_
    assert_same_state(net, twin)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("keep", [False, True], ids=["removed", "kept"])
def test_stream_that_goes_on_after_a_failure_is_as_if_it_had_not_been(keep, hook):
    fails = []

    class Sometimes(Fail):
        def initialize(self):
            return super().initialize() if fails else self

    pieces = np.split(np.arange(N), 4)
    net, twin = make_net(), make_net()
    for i, rows in enumerate(pieces):
        if i == 2:
            net.set_params(callbacks=[Sometimes(hook)])
            fails.append(True)
            with pytest.raises(Failure, match="told so"):
                net.partial_fit(X[:7], Y[:7])
            fails.clear()
            net.set_params(callbacks=net.callbacks if keep else None)
        net.partial_fit(X[rows], Y[rows], classes=CLASSES)
        twin.partial_fit(X[rows], Y[rows], classes=CLASSES)
        assert net.predict(X) == twin.predict(X)
        assert_same_state(net, twin)
    assert net.n_iter_ == twin.n_iter_ == 4


def assert_same_state(net, twin):
    """Weights, running statistics and the optimizer's moments are the same, bit for bit."""
    for name, tensor in net.module_.state_dict().items():
        assert torch.equal(tensor, twin.module_.state_dict()[name]), name
    moments = [
        {name: each.optimizer_.state[p] for name, p in each.get_all_learnable_params()}
        for each in (net.net_, twin.net_)
    ]
    for name, state in moments[0].items():
        assert state.keys() == moments[1][name].keys()
        assert state
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(moments[1][name][key]))


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeError])
def test_common_errors_of_callbacks_name_the_estimator(error):
    with pytest.raises(error, match=r"^MultiOutputNet: told so$"):
        make_net(callbacks=[Fail("on_batch_end", error)]).fit(X, Y)


def test_callback_that_fails_leaves_its_trace_in_no_clone():
    net = make_net(callbacks=[Fail("on_epoch_end")])
    with pytest.raises(Failure, match="told so"):
        net.fit(X, Y)
    twin = clone(net).set_params(callbacks=None).fit(X, Y)
    assert twin.predict(X) == make_net().fit(X, Y).predict(X)


class FailOnce(Callback):
    """Cannot be made."""

    def initialize(self):
        raise Failure("not today")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_callback_that_cannot_be_initialized_leaves_the_net_as_it_was(method):
    net = make_net(warm_start=True).fit(X, Y)
    expected, before = net.predict(X), state_of(net)
    net.set_params(callbacks=[FailOnce()])
    with pytest.raises(Failure, match="not today"):
        getattr(net, method)(X, Y)
    assert state_of(net) == before
    assert net.predict(X) == expected


def test_network_that_a_freezer_froze_learns_again_without_it():
    freezer = Freezer("trunk*")
    net = make_net(trunk=MLP((6,)), callbacks=[freezer], warm_start=True).fit(X, Y)
    before = [p.detach().clone() for p in net.module_.trunk.parameters()]
    net.set_params(callbacks=None).fit(X, Y)
    after = net.module_.trunk.parameters()
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
