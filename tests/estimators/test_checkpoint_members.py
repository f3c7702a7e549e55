"""`fit(checkpoint=...)` with `n_members` and `refit`: all trainings go on together."""

import numpy as np
import pytest
from skorch.callbacks import Callback
from torch import nn

from mtlearn import (
    Checkpoint,
    Inputs,
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
)
from mtlearn._plain_files import read_plain
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Regression
from mtlearn.trunks import MLP, Graph
from mtlearn.weighting import Linear

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = {"number": X[:, 0] * X[:, 1], "kind": np.where(X[:, 2] > 0, "u", "v")}
STOPPING = {"early_stopping": True, "n_iter_no_change": 4, "max_epochs": 25, "learning_rate": 0.02}
REFIT = {**STOPPING, "refit": True}


class PowerCut(Callback):
    """Ends the training at the end of some epoch of some stage; it sees no batches."""

    is_stateless = True
    needs_batches = False

    def __init__(self, epoch, *, again=False):
        self.epoch = epoch
        self.again = again

    def on_epoch_end(self, net, **_kwargs):
        is_again = "stop_after" in dict(net.callbacks_)
        if is_again == self.again and len(net.history) == self.epoch:
            raise RuntimeError("power cut")


def make(n_members=3, cut=None, **params):
    given = {
        "trunk": MLP((8, 6)),
        "n_members": n_members,
        "max_epochs": 10,
        "batch_size": 32,
        "random_state": 0,
        "callbacks": None if cut is None else [cut],
    }
    return MultiOutputNet(**given | params)


def fit_and_cut(cut, folder, X=X, y=Y, **params):
    cut = PowerCut(cut) if isinstance(cut, int) else cut
    with pytest.raises(RuntimeError, match="power cut"):
        make(**{"cut": cut, **params}).fit(X, y, checkpoint=Checkpoint(folder, every_epochs=1))


def assert_same(net, other, rows=X):
    assert len(net.members_) == len(other.members_)
    for ours, theirs in zip(net.members_, other.members_, strict=True):
        states = ours.module_.state_dict(), theirs.module_.state_dict()
        for (name, one), two in zip(states[0].items(), states[1].values(), strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=name)
        assert ours.history_ == theirs.history_
        assert ours.best_epoch_ == theirs.best_epoch_
    assert net.history_ == other.history_
    for of_fit in ("n_iter_", "best_epoch_", "fast_step_"):
        assert getattr(net, of_fit) == getattr(other, of_fit), of_fit
    assert net.predict(rows) == other.predict(rows)


def kept(folder):
    """The number of epochs behind each training, and whether it has ended."""
    states = read_plain(Checkpoint(folder).path)["trainings"]
    return {name: (len(state["history"]), state["has_ended"]) for name, state in states.items()}


@pytest.mark.parametrize(
    "params",
    [
        {},
        STOPPING,
        {**STOPPING, "main_output": "kind", "early_stopping_tol": 0.05},
        {"fast_step": False},
        {**STOPPING, "fast_step": False},
        {"learning_rate_schedule": "onecycle"},
        {**STOPPING, "learning_rate_schedule": "plateau", "learning_rate": 0.1},
        {"loss_weights": {"kind": Linear(1.0, 0.0, epochs=9)}},
        {"weighting": "uncertainty"},
        {"weighting": "random"},
        {"weighting": "pcgrad", "main_output": "kind"},
        {**STOPPING, "trunk": MLP((8, 6), dropout=0.3, normalization="batch")},
        {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9}},
        {"dtype": "float32", "shuffle": False, "n_members": 2},
        REFIT,
        {**REFIT, "n_members": 1},
    ],
    ids=str,
)
def test_it_ends_bit_for_bit_as_if_it_had_never_stopped(params, tmp_path):
    for epoch in (2, 3, 5):
        fit_and_cut(epoch, tmp_path, **params)
    assert set(kept(tmp_path).values()) == {(4, False)}
    assert_same(make(**params).fit(X, Y, checkpoint=tmp_path), make(**params).fit(X, Y))


@pytest.mark.parametrize("params", [{}, {"trunk": MLP((8,), dropout=0.3)}, {"fast_step": False}])
@pytest.mark.parametrize("n_members", [1, 3])
def test_a_refit_that_is_cut_off_goes_on_with_what_was_found_before(n_members, params, tmp_path):
    params = {"n_members": n_members, **REFIT, **params}
    whole = make(**params).fit(X, Y)
    assert whole.best_epoch_ > 3
    for epoch in (1, 3):
        fit_and_cut(PowerCut(epoch, again=True), tmp_path, **params)
    then = kept(tmp_path)
    members, again = (
        {then[f"{stage}/{i}"] for i in range(n_members)} for stage in ("member", "refit")
    )
    assert (members, again) == ({(whole.n_iter_, True)}, {(2, False)})
    epochs = []

    class Spy(Callback):
        is_stateless = True
        needs_batches = False

        def on_epoch_begin(self, net, **_kwargs):
            epochs.append(len(net.history))

    net = make(**params, callbacks=[Spy()]).fit(X, Y, checkpoint=tmp_path)
    assert sorted(epochs) == sorted(n_members * list(range(3, whole.best_epoch_ + 1)))
    assert_same(net, whole)


class StopFirst(Callback):
    """Ends the training of one member, told by its first weight, before that of the others."""

    is_stateless = True
    needs_batches = False
    drawn = None

    def on_train_begin(self, net, **_kwargs):
        self.first = float(next(net.module_.parameters()).detach().flatten()[0])

    def on_epoch_end(self, net, **_kwargs):
        if self.first == StopFirst.drawn and len(net.history) == 3:
            raise KeyboardInterrupt


def test_a_member_that_ended_before_the_others_stays_as_it_was(tmp_path):
    class Seen(Callback):
        is_stateless = True
        needs_batches = False
        firsts: list = []  # noqa: RUF012

        def on_train_begin(self, net, **_kwargs):
            self.firsts.append(float(next(net.module_.parameters()).detach().flatten()[0]))

    make(callbacks=[Seen()], max_epochs=1).fit(X, Y)
    StopFirst.drawn = Seen.firsts[1]
    whole = make(callbacks=[StopFirst()]).fit(X, Y)
    assert [member.n_iter_ for member in whole.members_] == [10, 3, 10]
    fit_and_cut(6, tmp_path, callbacks=[StopFirst(), PowerCut(6)])
    assert kept(tmp_path) == {"member/0": (5, False), "member/1": (3, True), "member/2": (5, False)}
    net = make(callbacks=[StopFirst()]).fit(X, Y, checkpoint=tmp_path)
    assert_same(net, whole)


class Module(nn.Module):
    """A module of the user's, which draws from torch's generator."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.4), nn.Tanh())

    def forward(self, X):
        return self.layers(X)


@pytest.mark.parametrize("params", [{}, REFIT])
def test_each_member_goes_on_with_its_own_draws(params, tmp_path):
    params = {"trunk": Module(), **params}
    fit_and_cut(4, tmp_path, **params)
    net = make(**params).fit(X, Y, checkpoint=tmp_path)
    assert_same(net, make(**params).fit(X, Y))


def test_inputs_arrays_and_validation_rows_go_on_too(tmp_path):
    inputs = Inputs({"a": X[:, :2], "b": X[:, 2:]})
    trunk = Graph([("one", MLP((6,)), "a"), ("two", MLP((5,)), ["one", "b"])])
    given = {"X_val": inputs[:30], "y_val": {name: values[:30] for name, values in Y.items()}}
    params = {"trunk": trunk, "n_iter_no_change": 8, "refit": True}
    checkpoint = Checkpoint(tmp_path, every_epochs=2)
    with pytest.raises(RuntimeError, match="power cut"):
        make(cut=PowerCut(6), **params).fit(inputs, Y, **given, checkpoint=checkpoint)
    assert set(kept(tmp_path).values()) == {(4, False)}
    net = make(**params).fit(inputs, Y, **given, checkpoint=checkpoint)
    assert_same(net, make(**params).fit(inputs, Y, **given), inputs)
    changed = {**given, "X_val": inputs[1:31]}
    with pytest.raises(ValueError, match=r"Different are X_val\['a'\]; X_val\['b'\]\."):
        make(**params).fit(inputs, Y, **changed, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("estimator", "y"),
    [(MultiOutputNetRegressor, Y["number"]), (MultiOutputNetClassifier, Y["kind"])],
)
def test_estimators_for_arrays_keep_checkpoints_too(estimator, y, tmp_path):
    params = {"max_epochs": 8, "n_members": 2, "random_state": 0}
    aux = {"other": X[:, 3]}
    with pytest.raises(RuntimeError, match="power cut"):
        estimator(**params, callbacks=[PowerCut(5)]).fit(
            X, y, aux=aux, checkpoint=Checkpoint(tmp_path, every_epochs=1)
        )
    net = estimator(**params).fit(X, y, aux=aux, checkpoint=tmp_path)
    whole = estimator(**params).fit(X, y, aux=aux)
    np.testing.assert_array_equal(net.predict(X), whole.predict(X))
    assert net.history_ == whole.history_


@pytest.mark.parametrize("params", [{}, REFIT])
@pytest.mark.parametrize("make_seed", [lambda: None, lambda: np.random.RandomState(3)])
def test_without_a_seed_it_keeps_the_one_that_was_drawn(make_seed, params, tmp_path):
    fit_and_cut(4, tmp_path, random_state=make_seed(), **params)
    seldom = Checkpoint(tmp_path, every_epochs=1000)
    one, two = (
        make(random_state=make_seed(), **params).fit(X, Y, checkpoint=seldom) for _ in range(2)
    )
    assert_same(one, two)


def test_callbacks_that_see_batches_are_there_in_both_calls_or_in_none(tmp_path):
    class SeesBatches(Callback):  # members are then trained one after the other
        is_stateless = True

    fit_and_cut(4, tmp_path)
    with pytest.raises(ValueError, match=r"are callbacks that see batches \(none then, some now\)"):
        make(callbacks=[SeesBatches()]).fit(X, Y, checkpoint=tmp_path)
    fit_and_cut(4, tmp_path / "new", callbacks=[SeesBatches(), PowerCut(4)])
    with pytest.raises(ValueError, match=r"are callbacks that see batches \(some then, none now\)"):
        make().fit(X, Y, checkpoint=tmp_path / "new")
    one, two = (
        make(callbacks=[SeesBatches()]).fit(X, Y, checkpoint=folder)
        for folder in (tmp_path / "new", None)
    )
    assert_same(one, two)


@pytest.mark.parametrize("params", [{}, {"fast_step": False}])
def test_how_often_it_is_kept(params, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "mtlearn._engine._checkpoint.write_plain",
        lambda _path, state: written.append(
            [len(training["history"]) for training in state["trainings"].values()]
        ),
    )
    make(**params).fit(X, Y, checkpoint=Checkpoint(tmp_path, every_epochs=4))
    assert written == [[4, 4, 4], [8, 8, 8]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n_members": 2}, r"are n_members \(3 then, 2 now\)\. Pass"),
        ({"n_members": 1, "refit": False}, r"n_members \(3 then, 1 now\); refit \(True then"),
        ({"refit": False}, r"are refit \(True then, False now\)\. Pass"),
        ({"learning_rate": 0.5}, r"are learning_rate \(0.02 then, 0.5 now\)\. Pass"),
        ({"random_state": 1}, r"are random_state \(0 then, 1 now\)\. Pass"),
        ({"X": X + 1e-12}, r"are X\. Pass"),
        ({"y": dict(Y, number=2 * Y["number"])}, r"are y\['number'\]\. Pass"),
        ({"sample_weight": np.arange(1, 91)}, r"sample_weight\['kind'\]"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_other_data_and_parameters_are_named(change, named, again, tmp_path):
    fit_and_cut(PowerCut(3, again=again), tmp_path, **REFIT)
    before = Checkpoint(tmp_path).path.read_bytes()
    data = {"X": X, "y": Y, **{k: v for k, v in change.items() if k in ("X", "y", "sample_weight")}}
    params = {**REFIT, **{k: v for k, v in change.items() if k not in data}}
    with pytest.raises(ValueError, match=f"state of another fit.*{named}"):
        make(**params).fit(**data, checkpoint=tmp_path)
    assert Checkpoint(tmp_path).path.read_bytes() == before


def test_a_failed_write_is_an_error_at_once_and_leaves_the_last_state(tmp_path, monkeypatch):
    fit_and_cut(4, tmp_path)
    before = Checkpoint(tmp_path).path.read_bytes()
    n_epochs = []

    class Spy(Callback):
        is_stateless = True
        needs_batches = False

        def on_epoch_end(self, net, **_kwargs):
            n_epochs.append(len(net.history))

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        net = make(callbacks=[Spy()])
        with pytest.raises(OSError, match=r"could not write.*what was there is kept"):
            net.fit(X, Y, checkpoint=Checkpoint(tmp_path, every_epochs=1))
    assert n_epochs == [4, 4, 4]
    assert not hasattr(net, "members_")
    assert Checkpoint(tmp_path).path.read_bytes() == before
    assert_same(make().fit(X, Y, checkpoint=tmp_path), make().fit(X, Y))


def test_no_state_is_kept_once_a_member_has_failed(tmp_path):
    class Fails(Callback):
        is_stateless = True
        needs_batches = False
        nets: list = []  # noqa: RUF012

        def on_train_begin(self, net, **_kwargs):
            self.nets.append(net)

        def on_epoch_end(self, net, **_kwargs):
            if net is self.nets[1] and len(net.history) == 4:
                raise RuntimeError("power cut")

    fit_and_cut(None, tmp_path, callbacks=[Fails()])
    assert set(kept(tmp_path).values()) == {(3, False)}
    assert_same(make().fit(X, Y, checkpoint=tmp_path), make().fit(X, Y))


def test_a_member_that_diverges_does_so_again(tmp_path):
    params = {"learning_rate": 1e3, "optimizer": "sgd", "normalize_losses": True}
    messages = []
    for _ in range(2):
        with pytest.raises(DivergenceError, match="diverged") as caught:
            make(**params).fit(X, 1e3 * X[:, 0], checkpoint=Checkpoint(tmp_path, every_epochs=1))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_member_with_nothing_to_learn_is_kept_as_such(tmp_path):
    params = {**STOPPING, "heads": {"number": Regression()}}
    number = {"number": X[:, 0]}
    splitter = make(**params).fit(X, number).members_[1].validation_fraction
    _, held = next(splitter.split(X, X[:, 0]))
    y = np.full(90, 2.0)
    y[held] = X[held, 0]  # all that is not constant is held out by one member
    whole = make(**params).fit(X, {"number": y})
    assert [member.n_iter_ for member in whole.members_] == [whole.n_iter_, 0, whole.n_iter_]
    fit_and_cut(4, tmp_path, y={"number": y}, **params)
    states = read_plain(Checkpoint(tmp_path).path)["trainings"]
    assert [name for name, state in states.items() if state is None] == ["member/1"]
    assert_same(make(**params).fit(X, {"number": y}, checkpoint=tmp_path), whole)
