"""`fit(checkpoint=...)`: a training that was cut off goes on, and ends as if it never had been."""

import errno
import hashlib
import json
import os
from functools import partial

import numpy as np
import pytest
from skorch.callbacks import Callback

from mtlearn import (
    Checkpoint,
    Inputs,
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
)
from mtlearn.trunks import MLP, Graph
from mtlearn.weighting import Linear

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = {"number": X[:, 0] * X[:, 1], "kind": np.where(X[:, 2] > 0, "u", "v")}


class PowerCut(Callback):
    """Ends a training in the middle of an epoch."""

    is_stateless = True

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training, **_kwargs):
        if training and len(net.history) == self.epoch:
            raise RuntimeError("power cut")


def make(cut=None, **params):
    callbacks = None if cut is None else [("cut", PowerCut(cut))]
    given = {"max_epochs": 12, "batch_size": 32, "random_state": 0, "callbacks": callbacks}
    return MultiOutputNet(**{**given, **params})


def fit_and_cut(epoch, folder, X=X, y=Y, **params):
    with pytest.raises(RuntimeError, match="power cut"):
        make(epoch, **params).fit(X, y, checkpoint=Checkpoint(folder, every_epochs=1))


def assert_same(net, other):
    for (name, one), two in zip(
        net.module_.state_dict().items(), other.module_.state_dict().values(), strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=name)
    assert net.history_ == other.history_
    assert (net.n_iter_, net.best_epoch_) == (other.n_iter_, other.best_epoch_)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": True, "n_iter_no_change": 3, "max_epochs": 30},
        {"early_stopping": True, "early_stopping_tol": 0.05, "main_output": "kind"},
        {"learning_rate_schedule": "onecycle"},
        {"learning_rate_schedule": "cosine", "optimizer": "sgd"},
        {"learning_rate_schedule": "plateau", "early_stopping": True, "learning_rate": 0.1},
        {"loss_weights": {"kind": Linear(1.0, 0.0, epochs=9)}},
        {"weighting": "uncertainty"},
        {"weighting": "dwa"},
        {"weighting": "random"},
        {"weighting": "famo"},
        {"weighting": "pcgrad", "main_output": "kind"},
        {"trunk": MLP((16, 8), dropout=0.3, normalization="batch")},
        {"fast_step": False, "trunk": MLP((16,), dropout=0.3)},
        {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9, "nesterov": True}},
        {"optimizer": "adamw", "param_groups": {"trunk": {"lr": 1e-4}}},
        {"dtype": "float32", "shuffle": False},
    ],
    ids=str,
)
def test_it_ends_bit_for_bit_as_if_it_had_never_stopped(params, tmp_path):
    for epoch in (2, 3, 7):
        fit_and_cut(epoch, tmp_path, **params)
    assert_same(
        make(**params).fit(X, Y, checkpoint=tmp_path),
        make(**params).fit(X, Y),
    )


def test_inputs_arrays_and_validation_rows_go_on_too(tmp_path):
    inputs = Inputs({"a": X[:, :2], "b": X[:, 2:]})
    given = {"X_val": inputs[:30], "y_val": {name: values[:30] for name, values in Y.items()}}
    nets = []
    for folder in (None, tmp_path):
        if folder is not None:
            with pytest.raises(RuntimeError, match="power cut"):
                graph(4).fit(inputs, Y, **given, checkpoint=Checkpoint(folder, every_epochs=2))
        nets.append(graph(None).fit(inputs, Y, **given, checkpoint=folder))
    assert_same(*nets)


def graph(cut):
    return make(cut, trunk=Graph([("one", MLP((6,)), "a"), ("two", MLP((5,)), ["one", "b"])]))


@pytest.mark.parametrize(
    ("estimator", "y"),
    [(MultiOutputNetRegressor, Y["number"]), (MultiOutputNetClassifier, Y["kind"])],
)
def test_estimators_for_arrays_keep_checkpoints_too(estimator, y, tmp_path):
    given = {"max_epochs": 8, "random_state": 0}
    cut = estimator(**given, callbacks=[PowerCut(5)])
    with pytest.raises(RuntimeError, match="power cut"):
        cut.fit(X, y, aux={"other": X[:, 3]}, checkpoint=Checkpoint(tmp_path, every_epochs=1))
    with pytest.raises(AttributeError, match="module_"):
        cut.module_  # noqa: B018
    net = estimator(**given).fit(X, y, aux={"other": X[:, 3]}, checkpoint=tmp_path)
    assert_same(net, estimator(**given).fit(X, y, aux={"other": X[:, 3]}))


def test_it_goes_on_from_the_last_state_and_not_from_the_beginning(tmp_path):
    fit_and_cut(6, tmp_path)
    epochs = []

    class Spy(Callback):
        is_stateless = True

        def on_epoch_begin(self, net, **_kwargs):
            epochs.append(len(net.history))

    make(callbacks=[Spy()]).fit(X, Y, checkpoint=tmp_path)
    assert epochs == list(range(6, 13))


def test_without_a_seed_it_keeps_the_one_that_was_drawn(tmp_path):
    fit_and_cut(6, tmp_path, random_state=None)
    one = make(random_state=None).fit(X, Y, checkpoint=Checkpoint(tmp_path, every_epochs=100))
    two = make(random_state=None).fit(X, Y, checkpoint=Checkpoint(tmp_path, every_epochs=100))
    assert_same(one, two)


def test_a_finished_fit_gives_the_same_again(tmp_path):
    first = make().fit(X, Y, checkpoint=tmp_path)
    assert_same(make().fit(X, Y, checkpoint=str(tmp_path)), first)


def test_how_often_it_is_kept(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "mtlearn._engine._checkpoint.write_plain",
        lambda _path, state: written.append(len(state["trainings"]["net"]["history"])),
    )
    make().fit(X, Y, checkpoint=Checkpoint(tmp_path, every_epochs=5))
    assert written == [5, 10]
    written.clear()
    make().fit(X, Y, checkpoint=Checkpoint(tmp_path, every_minutes=60))
    assert written == []
    make().fit(X, Y, checkpoint=Checkpoint(tmp_path, every_minutes=1e-9))
    assert written == list(range(1, 12))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.5}, r"learning_rate \(0.001 then, 0.5 now\)"),
        ({"trunk": MLP((3,))}, "trunk__hidden_layer_sizes"),
        ({"weighting": "dwa"}, "weighting"),
        ({"random_state": 1}, r"random_state \(0 then, 1 now\)"),
        ({"X": X + 1e-12}, "are X. "),
        ({"y": dict(Y, number=2 * Y["number"])}, r"y\['number'\]"),
        ({"sample_weight": np.arange(1, 121)}, r"sample_weight\['kind'\]"),
    ],
)
def test_other_data_and_parameters_are_named(change, named, tmp_path):
    fit_and_cut(4, tmp_path)
    before = Checkpoint(tmp_path).path.read_bytes()
    data = {"X": X, "y": Y, **{k: v for k, v in change.items() if k in ("X", "y", "sample_weight")}}
    params = {k: v for k, v in change.items() if k not in data}
    with pytest.raises(ValueError, match=f"state of another fit.*{named}"):
        make(**params).fit(**data, checkpoint=tmp_path)
    assert Checkpoint(tmp_path).path.read_bytes() == before


def test_every_flipped_bit_is_found(tmp_path):
    fit_and_cut(4, tmp_path)
    path = Checkpoint(tmp_path).path
    content = path.read_bytes()
    for position in np.random.default_rng(0).integers(0, 8 * len(content), 200):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is damaged.*Delete it to begin anew"):
            make().fit(X, Y, checkpoint=tmp_path)
    for length in (0, 5, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is damaged"):
            make().fit(X, Y, checkpoint=tmp_path)


def sealed(header, arrays):
    """A file with this header, whose digest is right."""
    body = len(header).to_bytes(8, "little") + header + arrays
    return b"mtlearn plain 1\n" + hashlib.sha256(body).digest() + body


def holder(header, name):
    """The pairs of names and values, of the file or of the training in it, with a name."""
    ((_, training),) = next(pair for pair in header["$dict"] if pair[0] == "trainings")[1]["$dict"]
    found = (header, training)
    return next(one["$dict"] for one in found if any(pair[0] == name for pair in one["$dict"]))


def entry(header, name):
    """The pair of a name and what is kept under it."""
    return next(pair for pair in holder(header, name) if pair[0] == name)


def replaced(name, value):
    def edit(header):
        entry(header, name)[1] = value

    return edit


def left_out(name):
    def edit(header):
        holder(header, name).remove(entry(header, name))

    return edit


def broadcast(header):
    weights = entry(header, "weights")[1]
    weights["$dict"][0][1]["$array"][1] = [1] * len(weights["$dict"][0][1]["$array"][1])


@pytest.mark.parametrize(
    "edit",
    [
        replaced("seed", None),
        replaced("seed", {"$array": ["<f8", [2**50]]}),
        replaced("seed", {"$array": ["<f8", [2**32, 2**32]]}),
        replaced("seed", {"$array": ["|O", [1]]}),
        replaced("seed", {"$array": ["<f8", [-1]]}),
        replaced("seed", {"$generator": {"$dict": [["bit_generator", "seed"]]}}),
        replaced("seed", {"$reduce": ["os.system", "id"]}),
        replaced("seed", {"$dict": [[[], 1]]}),
        replaced("identity", [1, 2]),
        replaced("identity", {"$dict": [["X", 1]]}),
        replaced("history", [1]),
        replaced("history", None),
        replaced("weights", {"$dict": []}),
        replaced("training", {"$dict": []}),
        replaced("callbacks", []),
        replaced("groups", []),
        replaced("generator", "text"),
        replaced("trainings", {"$dict": []}),
        replaced("trainings", {"$dict": [["net", None]]}),
        replaced("trainings", {"$dict": [["member/0", None]]}),
        left_out("history"),
        left_out("weights"),
        broadcast,
    ],
)
def test_a_state_that_is_none_is_refused_though_its_digest_is_right(edit, tmp_path):
    fit_and_cut(4, tmp_path)
    path = Checkpoint(tmp_path).path
    body = path.read_bytes()[len(b"mtlearn plain 1\n") + 32 :]
    size = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + size])
    edit(header)
    path.write_bytes(sealed(json.dumps(header).encode(), body[8 + size :]))
    numbers = np.random.get_state()[1]  # noqa: NPY002
    with pytest.raises(ValueError, match=r"`checkpoint`: .*checkpoint\.mtlearn.* Delete it to"):
        make().fit(X, Y, checkpoint=tmp_path)
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002


@pytest.mark.parametrize(
    ("header", "arrays"),
    [(b"[" * 10**5, b""), (b"no JSON", b""), (b"\xff", b""), (b'{"$tuple":[]}', b"more")],
)
def test_a_file_that_holds_something_else_is_refused(header, arrays, tmp_path):
    Checkpoint(tmp_path).path.write_bytes(sealed(header, arrays))
    with pytest.raises(ValueError, match=r"`checkpoint`: .* is no file of this kind"):
        make().fit(X, Y, checkpoint=tmp_path)


class Halves:
    """A splitter whose repr has an address in it."""

    def __init__(self, start):
        self.start = start

    def split(self, X, y=None, groups=None):
        rows = np.arange(len(X))
        yield rows[self.start :], rows[: self.start]


def times(n_rows, share):
    return int(n_rows * share)


def test_objects_are_told_apart_by_what_they_hold_and_not_by_their_addresses(tmp_path):
    given = {"early_stopping": True}
    fit_and_cut(
        4, tmp_path, validation_fraction=Halves(30), batch_size=partial(times, share=0.2), **given
    )
    same = {"validation_fraction": Halves(30), "batch_size": partial(times, share=0.2), **given}
    with pytest.raises(ValueError, match=r"state of another fit.*validation_fraction"):
        make(**{**same, "validation_fraction": Halves(40)}).fit(X, Y, checkpoint=tmp_path)
    changed = {**same, "batch_size": partial(times, share=0.3)}
    with pytest.raises(ValueError, match=r"state of another fit.*batch_size"):
        make(**changed).fit(X, Y, checkpoint=tmp_path)
    assert_same(make(**same).fit(X, Y, checkpoint=tmp_path), make(**same).fit(X, Y))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("where", ["open", "fsync", "replace"])
def test_a_failed_write_is_an_error_and_leaves_the_last_state(number, where, tmp_path, monkeypatch):
    fit_and_cut(4, tmp_path)
    before = Checkpoint(tmp_path).path.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    owner = {"open": "os.open", "fsync": "os.fsync", "replace": "pathlib.Path.replace"}
    with monkeypatch.context() as patched:
        patched.setattr(owner[where], fail)
        net = make()
        with pytest.raises(OSError, match=r"could not write.*what was there is kept") as caught:
            net.fit(X, Y, checkpoint=Checkpoint(tmp_path, every_epochs=1))
    assert caught.value.errno == number
    assert not hasattr(net, "module_")
    assert list(tmp_path.iterdir()) == [Checkpoint(tmp_path).path]
    assert Checkpoint(tmp_path).path.read_bytes() == before
    assert_same(make().fit(X, Y, checkpoint=tmp_path), make().fit(X, Y))


def test_a_folder_that_vanishes_is_an_error(tmp_path):
    folder = tmp_path / "state"

    class Vandal(Callback):
        is_stateless = True

        def on_epoch_end(self, net, **_kwargs):
            if len(net.history) == 3:
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()

    with pytest.raises(FileNotFoundError, match="could not write"):
        make(callbacks=[Vandal()]).fit(X, Y, checkpoint=Checkpoint(folder, every_epochs=1))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make().fit(X, Y, checkpoint=tmp_path / "file")


class Counter(Callback):
    """A callback of the user's with a state."""

    def on_train_begin(self, net, **_kwargs):
        self.n = 0

    def on_epoch_end(self, net, **_kwargs):
        self.n += 1
        net.history.record("count", self.n)

    def state_dict(self):
        return {"n": self.n}

    def load_state_dict(self, state):
        self.n = state["n"]


def test_callbacks_keep_their_state_too(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        make(callbacks=[("c", Counter()), ("cut", PowerCut(5))]).fit(
            X, Y, checkpoint=Checkpoint(tmp_path, every_epochs=1)
        )
    net = make(callbacks=[("c", Counter())]).fit(X, Y, checkpoint=tmp_path)
    assert [row["count"] for row in net.history_] == list(range(1, 13))

    class Other(Callback):
        pass

    with pytest.raises(ValueError, match=r"Other has no `state_dict`.*is_stateless = True"):
        make(callbacks=[Other()]).fit(X, Y, checkpoint=tmp_path / "new")


def test_what_cannot_be_kept_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match="Got warm_start=True"):
        make(warm_start=True).fit(X, Y, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="Got warm_start=True"):
        make(warm_start=True, n_members=2).fit(X, Y, checkpoint=tmp_path)
    for value in (0, -1, 1.5, True, "1"):
        with pytest.raises(ValueError, match=r"`every_epochs` must be an integer above 0\. Got"):
            Checkpoint(tmp_path, every_epochs=value)
    for value in (0, -0.5, np.nan, "1"):
        with pytest.raises(ValueError, match=r"`every_minutes` must be a number above 0\. Got"):
            Checkpoint(tmp_path, every_minutes=value)
    assert not list(tmp_path.iterdir())
