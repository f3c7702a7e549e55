"""Training ends in order, whoever ends it, with the weights that it promises."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from mtlearn import MultiOutputNet, Targets
from mtlearn._engine._stopping import (
    BestEpoch,
    LastEpochs,
    StopTraining,
    copy_tensors,
    put_tensors,
)
from mtlearn.exceptions import DivergenceError
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


def make_data(n=40, seed=0):
    """Labels that are noise, so that a network soon only learns them by heart."""
    rng = np.random.default_rng(seed)
    y = {"number": rng.normal(size=n), "kind": rng.random(n) < 0.5}
    return rng.normal(size=(n, 3)), Targets(y)


X, Y = make_data()
X_VAL, Y_VAL = make_data(seed=1)
VALIDATION = {"X_val": X_VAL, "y_val": Y_VAL}


def make_net(**params):
    return MultiOutputNet(
        MLP((16,)),
        learning_rate=0.03,
        batch_size=16,
        max_epochs=30,
        early_stopping=False,
        random_state=0,
    ).set_params(**params)


class Stop(Callback):
    """Ends the training in some hook of some epoch, as skorch's own callbacks do."""

    def __init__(self, hook, epoch=1, error=KeyboardInterrupt):
        self.hook = hook
        self.epoch = epoch
        self.error = error

    def initialize(self):
        def end(net, **_kwargs):
            if len(net.history) >= self.epoch:
                raise self.error

        setattr(self, self.hook, end)
        return self


class Count(Callback):
    """Counts how often each hook is called, in a dict of the caller's."""

    def __init__(self, counts):
        self.counts = counts

    def initialize(self):
        for hook in HOOKS:
            setattr(self, hook, lambda *_args, _hook=hook, **_kwargs: self._count(_hook))
        return self

    def _count(self, hook):
        self.counts[hook] = self.counts.get(hook, 0) + 1


def best_epoch_of(net, name="val_loss"):
    return int(np.argmin([row[name] for row in net.history_])) + 1


# Callbacks that end the training.


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_kind_loss", "train_number_loss"])
def test_skorchs_early_stopping_ends_the_training_in_order(monitor, capsys):
    callback = EarlyStopping(monitor, patience=4, threshold=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = make_net(callbacks=[callback], verbose=1, max_epochs=200).fit(X, Y, **VALIDATION)
    assert net.n_iter_ == net.best_epoch_ == len(net.history_) < 200
    name = monitor.replace("valid", "val").removeprefix("train_")
    losses = np.array([row[name] for row in net.history_])
    assert (losses[-4:] >= 0.99 * losses[-5]).all()
    lines = capsys.readouterr().out.splitlines()
    epochs = [line.split()[0] for line in lines if line.split()[:1] and line.split()[0].isdigit()]
    assert epochs == [str(i + 1) for i in range(net.n_iter_)]
    assert sum("Stopping since" in line for line in lines) == 1
    twin = make_net(max_epochs=net.n_iter_).fit(X, Y, **VALIDATION)
    assert net.predict(X) == twin.predict(X)
    assert net.history_ == twin.history_


def test_skorchs_early_stopping_can_restore_its_best_weights():
    callback = EarlyStopping("valid_loss", patience=4, threshold=0.0, load_best=True)
    net = make_net(callbacks=[callback]).fit(X, Y, **VALIDATION)
    best = best_epoch_of(net)
    assert net.n_iter_ == best + 4 < 30
    twin = make_net(max_epochs=best).fit(X, Y, **VALIDATION)
    assert net.predict(X) == twin.predict(X)


def test_own_early_stopping_and_skorchs_work_side_by_side():
    own = {"early_stopping": True, "n_iter_no_change": 8}
    late = make_net(**own, callbacks=[EarlyStopping("valid_loss", patience=20)])
    early = make_net(**own, callbacks=[EarlyStopping("valid_loss", patience=3, threshold=0.0)])
    alone = make_net(**own).fit(X, Y, **VALIDATION)
    late.fit(X, Y, **VALIDATION)
    early.fit(X, Y, **VALIDATION)
    assert late.history_ == alone.history_
    assert early.n_iter_ == alone.n_iter_ - 5
    assert early.best_epoch_ == late.best_epoch_ == alone.best_epoch_
    assert early.predict(X) == late.predict(X) == alone.predict(X)


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopTraining])
@pytest.mark.parametrize("hook", HOOKS)
def test_callback_can_end_the_training_in_any_hook(hook, error):
    net = make_net(callbacks=[lambda: Stop(hook, 3 if "train" not in hook else 0, error)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, Y, **VALIDATION)
    allowed = {"on_train_begin": {0}, "on_train_end": {30}}
    assert net.n_iter_ in allowed.get(hook, {2, 3})
    assert all("loss" in row for row in net.history_)
    assert np.isfinite(net.predict(X)["number"]).all()


def test_all_callbacks_have_their_turn_where_one_ends_the_training():
    before, after = {}, {}
    stop = Stop("on_epoch_end", 2)
    make_net(callbacks=[lambda: Count(before), stop, lambda: Count(after)]).fit(X, Y)
    assert before == after
    assert before["on_epoch_end"] == 2
    assert before["on_train_begin"] == before["on_train_end"] == 1


def test_two_callbacks_can_end_the_training_in_the_same_epoch():
    callbacks = [Stop("on_epoch_end", 2), Stop("on_epoch_end", 2, StopTraining)]
    assert make_net(callbacks=callbacks).fit(X, Y).n_iter_ == 2


def test_early_stopping_ends_each_fit_that_goes_on_with_warm_start():
    net = make_net(callbacks=[Stop("on_epoch_end", 3)], warm_start=True)
    net.fit(X, Y).fit(X, Y)
    assert net.n_iter_ == 6
    twin = make_net(max_epochs=3, warm_start=True).fit(X, Y).fit(X, Y)
    assert net.predict(X) == twin.predict(X)


class Spoil(Callback):
    """Makes a weight infinite at some time in the fourth epoch, as a step too long would."""

    def __init__(self, hook):
        self.hook = hook

    def initialize(self):
        def spoil(net, **_kwargs):
            if len(net.history) == 4:
                next(net.module_.parameters()).data.fill_(np.inf)

        setattr(self, self.hook, spoil)
        return self


@pytest.mark.parametrize(("hook", "kept"), [("on_epoch_begin", 2), ("on_epoch_end", 3)])
def test_training_ends_once_for_callbacks_also_where_it_diverges(hook, kept):
    counts = {}
    net = make_net(callbacks=[Spoil(hook), lambda: Count(counts)], max_epochs=4)
    with pytest.raises(DivergenceError, match=rf"diverged in epoch 4.*weights of epoch {kept}"):
        net.fit(X, Y)
    assert counts["on_train_begin"] == counts["on_train_end"] == 1
    assert net.predict(X) == make_net(max_epochs=kept).fit(X, Y).predict(X)


# The package's own callbacks.


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("kept", torch.ones(2))
        self.register_buffer("outside", torch.ones(2), persistent=False)


def fill(module, value):
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.fill_(value)


def values_of(module):
    tensors = (*module.parameters(), *module.buffers())
    return {float(value) for tensor in tensors for value in tensor.detach().flatten()}


def test_copied_tensors_are_all_and_their_own():
    module = Buffers()
    fill(module, 2.0)
    copied = copy_tensors(module)
    assert set(copied) == {"layer.weight", "layer.bias", "kept", "outside"}
    fill(module, 3.0)
    assert values_of(module) == {3.0}
    put_tensors(module, copied)
    assert values_of(module) == {2.0}
    fill(module, 4.0)
    assert float(copied["outside"][0]) == 2.0


def run_epochs(callback, losses):
    """Give a callback one epoch per loss, with all weights equal to the epoch's number."""
    net = SimpleNamespace(module_=Buffers(), history=[], ended=None, max_epochs=len(losses) + 1)
    callback.on_train_begin(net)
    stopped = False
    for loss in losses:
        net.history.append({} if loss is None else {"valid_loss": loss})
        fill(net.module_, float(len(net.history)))
        try:
            callback.on_epoch_end(net)
        except StopTraining:
            stopped = True
            break
    return net, stopped


@pytest.mark.parametrize(
    ("losses", "patience", "best", "last"),
    [
        ([3, 2, 1], 1, 3, None),
        ([3, 2, 1, 2, 2, 0], 2, 3, 5),
        ([3, 2, 1, 2, 0, 1, 1], 2, 5, 7),
        ([1, 1, 1, 1], 3, 1, 4),
        ([1, 2, 3], 3, 1, None),
        ([2, None, 1, None, 3], 3, 3, None),
        ([float("nan"), 2, 3], 5, 2, None),
        ([None, None], 1, 0, None),
    ],
)
def test_best_epoch_waits_and_restores(losses, patience, best, last):
    callback = BestEpoch("valid_loss", patience)
    net, stopped = run_epochs(callback, losses)
    assert callback.best_epoch_ == best
    assert stopped == (last is not None)
    assert len(net.history) == (last or len(losses))
    callback.on_train_end(net)
    assert values_of(net.module_) == {float(best or len(losses))}


def test_best_epoch_begins_anew_with_each_training():
    callback = BestEpoch("valid_loss", 2)
    first, _ = run_epochs(callback, [0.1, 2, 3])
    callback.on_train_end(first)
    second, stopped = run_epochs(callback, [9, 8, 7])
    callback.on_train_end(second)
    assert not stopped
    assert callback.best_epoch_ == 3
    assert values_of(second.module_) == {3.0}


@pytest.mark.parametrize(
    ("n_epochs", "before", "expected"), [(5, 5, 5), (5, 4, 4), (5, 3, 0), (1, 1, 1), (1, 0, 0)]
)
def test_last_epochs_goes_back_by_two_at_most(n_epochs, before, expected):
    callback = LastEpochs()
    net, _ = run_epochs(callback, range(n_epochs))
    fill(net.module_, -1.0)
    assert callback.restore(net, before=before) == expected
    assert values_of(net.module_) == {float(expected or -1)}


def test_last_epochs_forgets():
    callback = LastEpochs()
    net, _ = run_epochs(callback, range(3))
    callback.forget()
    assert callback.restore(net, before=3) == 0
    run_epochs(callback, range(1))
    assert callback.restore(net, before=3) == 1
