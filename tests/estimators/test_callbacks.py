"""skorch's callbacks do in an estimator, and in a search, what they do in skorch."""

import copy
import pickle
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Lock

import cloudpickle
import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    Initializer,
    LRScheduler,
    PrintLog,
    ProgressBar,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.tensorboard import SummaryWriter

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N, EPOCHS, RATE = 48, 6, 0.02


def make_data(n=N, seed=0):
    """Labels that are half noise, so that a network soon learns some of them by heart."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    number = X[:, 0] + rng.normal(size=n)
    return X, Targets({"number": number, "kind": np.where(rng.random(n) < 0.5, "a", "b")})


X, Y = make_data()
X_VAL, Y_VAL = make_data(30, seed=1)
VALIDATION = {"X_val": X_VAL, "y_val": Y_VAL}


@pytest.fixture(autouse=True)
def one_thread():
    """What torch does by hand takes long with a second thread beside a busy core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_net(**params):
    return MultiOutputNet(
        MLP((5,), activation="tanh"),
        normalize_losses=False,
        alpha=0.0,
        learning_rate=RATE,
        batch_size=20,
        max_epochs=EPOCHS,
        shuffle=False,
        early_stopping=False,
        random_state=0,
    ).set_params(**params)


class Keep(Callback):
    """Keeps a copy of the network as it is at the beginning."""

    def __init__(self, kept):
        self.kept = kept

    def on_train_begin(self, net, **_kwargs):
        self.kept.append(copy.deepcopy(net.module_))


def fit(net, *callbacks, **kwargs):
    """Fit with callbacks; return the network as it was before the first step."""
    kept = []
    net.set_params(callbacks=[*callbacks, lambda: Keep(kept)]).fit(X, Y, **kwargs)
    return kept[0]


def train_by_hand(module, batch_size=20, before_step=None, after_step=None, after_epoch=None):
    """Train a network by torch alone."""
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    after_step, after_epoch = (
        None if make is None else make(optimizer) for make in (after_step, after_epoch)
    )
    inputs, number, kind = (torch.tensor(a) for a in (X, Y["number"], 1.0 * (Y["kind"] == "b")))
    for _ in range(EPOCHS):
        for rows in torch.arange(N).split(batch_size):
            raw = module(inputs[rows])
            loss = functional.mse_loss(raw["number"], number[rows])
            loss = loss + functional.binary_cross_entropy_with_logits(raw["kind"], kind[rows])
            optimizer.zero_grad()
            loss.backward()
            if before_step is not None:
                before_step(module)
            optimizer.step()
            if after_step is not None:
                after_step.step()
        if after_epoch is not None:
            after_epoch.step()
    return module


def assert_same_weights(module, other, rtol=1e-8):
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=rtol, atol=1e-12)


# Each callback does what it does in skorch.


def test_scheduler_of_epochs_trains_like_torchs():
    net = make_net()
    module = fit(net, LRScheduler(lr_scheduler.StepLR, step_size=2, gamma=0.3))
    by_hand = train_by_hand(
        module, after_epoch=partial(lr_scheduler.StepLR, step_size=2, gamma=0.3)
    )
    assert_same_weights(net.module_, by_hand)
    expected = [RATE * 0.3 ** (epoch // 2) for epoch in range(EPOCHS)]
    np.testing.assert_allclose(net.net_.history[:, "event_lr"], expected)


def test_scheduler_of_batches_trains_like_torchs():
    settings = {"base_lr": 0.001, "max_lr": 0.1, "step_size_up": 4, "cycle_momentum": False}
    net = make_net()
    module = fit(net, LRScheduler("CyclicLR", step_every="batch", **settings))
    by_hand = train_by_hand(module, after_step=partial(lr_scheduler.CyclicLR, **settings))
    assert_same_weights(net.module_, by_hand)
    assert len({round(group["lr"], 9) for group in net.net_.optimizer_.param_groups}) == 1


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_kind_loss", "train_number_loss"])
def test_scheduler_watches_a_loss(monitor):
    net = make_net(learning_rate=0.2, max_epochs=25)
    settings = {"factor": 0.5, "patience": 0}
    fit(net, LRScheduler(lr_scheduler.ReduceLROnPlateau, monitor, **settings), **VALIDATION)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    by_hand, rates = lr_scheduler.ReduceLROnPlateau(optimizer, **settings), []
    for row in net.history_:
        rates.append(optimizer.param_groups[0]["lr"])
        by_hand.step(row[monitor.replace("valid", "val").removeprefix("train_")])
    assert len(set(rates)) > 2
    np.testing.assert_allclose(net.net_.history[:, "event_lr"], rates)


@pytest.mark.parametrize(("limit", "norm"), [(0.1, 2), (0.05, float("inf"))])
def test_gradients_are_clipped_like_torchs(limit, norm):
    net = make_net()
    module = fit(net, GradientNormClipping(limit, norm))
    by_hand = train_by_hand(
        module,
        before_step=lambda module: nn.utils.clip_grad_norm_(
            module.parameters(), limit, norm_type=norm
        ),
    )
    assert_same_weights(net.module_, by_hand)
    assert net.history_ != make_net().fit(X, Y).history_


def test_clipped_gradients_have_the_norm():
    norms = []

    class Norm(Callback):
        def on_grad_computed(self, _net, named_parameters, **_kwargs):
            squares = [float((p.grad**2).sum()) for _, p in named_parameters]
            norms.append(np.sqrt(sum(squares)))

    fit(make_net(), GradientNormClipping(0.1), Norm())
    assert len(norms) == EPOCHS * 3
    np.testing.assert_allclose(norms, 0.1, rtol=1e-4)


def test_frozen_weights_stay_bit_for_bit_and_heads_learn():
    net = make_net(alpha=0.1)
    module = fit(net, Freezer("trunk*"))
    before, after = module.state_dict(), net.module_.state_dict()
    stayed = {name for name in before if torch.equal(before[name], after[name])}
    assert stayed == {"trunk.0.weight", "trunk.0.bias"}
    assert not stayed & {name for name in before if name.startswith("heads")}


def test_freezer_trains_like_a_frozen_part():
    by_callback = make_net(alpha=0.1, callbacks=[Freezer("trunk.*")]).fit(X, Y)
    by_group = make_net(alpha=0.1, param_groups={"trunk": {"lr": 0.0}}).fit(X, Y)
    assert_same_weights(by_callback.module_, by_group.module_)


@pytest.mark.parametrize(
    ("callbacks", "stayed"),
    [
        ([Freezer("trunk*", at=4)], [False, False, False, True, True, True]),
        ([Freezer("trunk*"), Unfreezer("trunk*", at=3)], [True, True, False, False, False, False]),
    ],
)
def test_weights_can_be_frozen_for_some_epochs(callbacks, stayed):
    kept = []

    class KeepEach(Callback):
        def on_epoch_end(self, net, **_kwargs):
            kept.append(net.module_.trunk[0].weight.detach().clone())

    module = fit(make_net(), *callbacks, KeepEach())
    weights = [module.trunk[0].weight, *kept]
    assert [torch.equal(a, b) for a, b in pairwise(weights)] == stayed


def test_initializer_sets_the_first_weights():
    net = make_net(max_epochs=1, learning_rate=1e-12)
    fit(net, Initializer("heads.*weight", fn=partial(nn.init.constant_, val=0.25)))
    for head in net.module_.heads:
        np.testing.assert_allclose(head[0].weight.detach(), 0.25, rtol=1e-9)


# Scores by output.


def score_number(net, X, y):
    observed = ~np.isnan(y["number"])
    return r2_score(y["number"][observed], net.predict(X)["number"][observed])


def score_kind(net, X, y):
    observed = y["kind"] != None  # noqa: E711
    return accuracy_score(y["kind"][observed].astype(str), net.predict(X)["kind"][observed])


def chance_of_b(net, X, y):
    return float(net.predict_proba(X)["kind"][:, 1].mean())


SCORES = {"r2": score_number, "accuracy": score_kind, "chance": chance_of_b}


@pytest.mark.parametrize("normalize_losses", [True, False])
@pytest.mark.parametrize("on_train", [False, True])
def test_scores_of_outputs_are_in_the_history(on_train, normalize_losses):
    callbacks = [
        EpochScoring(score, name=name, on_train=on_train, lower_is_better=False)
        for name, score in SCORES.items()
    ]
    net = make_net(normalize_losses=normalize_losses)
    fit(net, *callbacks, **VALIDATION)
    rows, labels = (X, Y) if on_train else (X_VAL, Y_VAL)
    for name, score in SCORES.items():
        assert net.history_[-1][name] == score(net, rows, labels)
        assert len({row[name] for row in net.history_}) > 1
    twin = make_net(normalize_losses=normalize_losses, max_epochs=2).fit(X, Y, **VALIDATION)
    assert net.history_[1]["r2"] == score_number(twin, rows, labels)
    scores = net.net_.history[:, "r2"]
    best = [score == max(scores[: i + 1]) for i, score in enumerate(scores)]
    assert net.net_.history[:, "r2_best"] == best


@pytest.mark.parametrize("on_train", [False, True])
def test_score_gets_the_users_labels_and_predictions_by_output(on_train):
    seen = []

    def score(net, X, y):
        seen.append((X, y, net.predict(X), net.module_.training))
        return 0.0

    net = make_net(max_epochs=1)
    training = fit(net, EpochScoring(score, on_train=on_train), **VALIDATION).training
    assert training
    ((rows, labels, predicted, _),) = seen
    given_rows, given = (X, Y) if on_train else (X_VAL, Y_VAL)
    np.testing.assert_array_equal(rows, given_rows)
    assert type(labels) is dict
    assert labels.keys() == {"number", "kind"}
    for name in given:
        np.testing.assert_array_equal(labels[name], given[name])
        assert labels[name].dtype == given[name].dtype
    assert isinstance(predicted, Targets)
    assert predicted == net.predict(given_rows)


@pytest.mark.parametrize("on_train", [False, True])
def test_scores_work_with_missing_labels(on_train):
    number, kind = Y["number"].copy(), Y["kind"].astype(object)
    number[::3], kind[1::3] = np.nan, None
    number[:2], kind[:2] = np.nan, None
    y = Targets({"number": number, "kind": kind})
    net = make_net(missing_targets="ignore")
    callbacks = [
        EpochScoring(score_number, name="r2", on_train=on_train),
        EpochScoring(score_kind, name="accuracy", on_train=on_train),
    ]
    given = {} if on_train else {"X_val": X, "y_val": y}
    net.set_params(callbacks=callbacks).fit(X, y, **given)
    assert net.history_[-1]["r2"] == score_number(net, X, y)
    assert net.history_[-1]["accuracy"] == score_kind(net, X, y)


def test_score_on_held_out_rows_is_of_the_rows_that_early_stopping_watches():
    seen = {}

    def keep(net, X, y):
        seen["rows"] = X
        return float(np.mean((net.predict(X)["number"] - y["number"]) ** 2))

    net = make_net(early_stopping=True, validation_fraction=0.25, n_iter_no_change=99)
    fit(net, EpochScoring(keep, name="mse"))
    held = [tuple(row) for row in seen["rows"]]
    assert len(held) == 12
    assert set(held) < {tuple(row) for row in X}
    np.testing.assert_allclose(
        [row["mse"] for row in net.history_], [row["val_number_loss"] for row in net.history_]
    )


def test_score_can_stop_the_training():
    score = EpochScoring(score_number, name="r2", lower_is_better=False)
    stop = EarlyStopping("r2", patience=3, lower_is_better=False)
    net = make_net(learning_rate=0.1, max_epochs=100)
    fit(net, score, stop, **VALIDATION)
    best = int(np.argmax([row["r2"] for row in net.history_])) + 1
    assert net.n_iter_ == best + 3 < 100


def test_scores_of_arrays_are_of_the_output_y():
    def score(net, X, y):
        return r2_score(y["y"], net.predict(X)["y"])

    callback = EpochScoring(score, name="mine", on_train=True)
    net = MultiOutputNetRegressor(MLP((4,)), max_epochs=3, callbacks=[callback], random_state=0)
    net.fit(X, Y["number"], aux=Targets({"kind": Y["kind"]}))
    assert net.history_[-1]["mine"] == net.score(X, Y["number"])


def test_scores_of_classes_are_of_the_output_y():
    def score(net, X, y):
        return float(np.mean(y["y"] == net.predict(X)["y"]))

    callback = EpochScoring(score, name="mine", on_train=True)
    net = MultiOutputNetClassifier(MLP((4,)), max_epochs=3, callbacks=[callback], random_state=0)
    net.fit(X, Y["kind"])
    assert net.history_[-1]["mine"] == net.score(X, Y["kind"])


def test_scores_of_batches_are_averaged():
    def mean_of_number(net, X, y):
        return float(y["number"][0].mean())

    net = make_net()
    fit(net, BatchScoring(mean_of_number, name="mean", on_train=True, target_extractor=dict))
    assert [row["mean"] for row in net.history_] == pytest.approx([Y["number"].mean()] * EPOCHS)


# Progress, logs and files.


@pytest.mark.parametrize("batches_per_epoch", ["auto", "count"])
def test_skorchs_bar_counts_the_batches_of_each_epoch(batches_per_epoch, capsys):
    net = make_net(max_epochs=3)
    fit(net, ProgressBar(batches_per_epoch, detect_notebook=False), **VALIDATION)
    captured = capsys.readouterr()
    states = [state for state in captured.err.replace("\n", "\r").split("\r") if "it" in state]
    expected = [" 0/4 [", " 0/4 [", " 0/4 ["]
    if batches_per_epoch == "count":
        expected[0] = "0it ["
    begun = [state for state in states if "0/" in state or "0it" in state]
    assert len(begun) == 3
    assert all(start in state for start, state in zip(expected, begun, strict=True))
    assert captured.out == ""


def test_table_of_the_users_shows_what_it_is_told_to():
    lines = []
    net = make_net()
    fit(net, PrintLog(sink=lines.append, keys_ignored=["dur", "train_penalty"]))
    assert lines[0].split() == ["epoch", "train_kind_loss", "train_loss", "train_number_loss"]
    assert len(lines) == 2 + EPOCHS


def scalars_of(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_the_history(tmp_path):
    net = make_net(learning_rate_schedule="cosine", alpha=0.01)
    score = EpochScoring(score_number, name="r2")
    fit(net, score, lambda: TensorBoard(SummaryWriter(tmp_path)), **VALIDATION)
    scalars = scalars_of(tmp_path)
    losses = ["loss", "kind_loss", "number_loss", "penalty"]
    names = {f"Loss/train_{name}": name for name in losses}
    names |= {f"Loss/valid_{name}": f"val_{name}" for name in losses}
    names |= {"r2": "r2", "learning_rate": "learning_rate"}
    assert names.keys() <= scalars.keys()
    for tag, name in names.items():
        expected = [(i + 1, np.float32(row[name])) for i, row in enumerate(net.history_)]
        assert scalars[tag] == expected, tag


def test_every_fit_writes_to_a_tensorboard_of_its_own(tmp_path):
    folders = iter([tmp_path / "first", tmp_path / "second"])
    net = make_net(callbacks={"board": lambda: TensorBoard(SummaryWriter(next(folders)))})
    for folder in ("first", "second"):
        net.fit(X, Y)
        written = [value for _, value in scalars_of(tmp_path / folder)["Loss/train_loss"]]
        assert written == [np.float32(row["loss"]) for row in net.history_]
    assert next(folders, None) is None


def test_tensorboard_itself_is_refused_with_the_remedy(tmp_path):
    board = TensorBoard(SummaryWriter(tmp_path))
    net = make_net(callbacks=[board])
    with pytest.raises(
        TypeError,
        match=r"^MultiOutputNet: `callbacks` .*TensorBoard cannot be .*lambda: TensorBoard\(",
    ):
        net.fit(X, Y)
    assert not hasattr(net, "module_")
    assert not hasattr(board, "first_batch_")


@pytest.mark.parametrize(
    ("monitor", "column"),
    [
        ("valid_loss_best", "val_loss"),
        ("valid_kind_loss_best", "val_kind_loss"),
        ("valid_number_loss_best", "val_number_loss"),
        ("train_loss_best", "loss"),
    ],
)
@pytest.mark.parametrize("load_best", [False, True])
def test_checkpoint_has_the_best_weights_of_the_loss_it_watches(
    monitor, column, load_best, tmp_path
):
    settings = {"learning_rate": 0.1, "max_epochs": 12}
    every = make_net(**settings).fit(X, Y, **VALIDATION)
    best = int(np.argmin([row[column] for row in every.history_])) + 1
    assert best < 12 or column == "loss"
    twin = make_net(**settings).set_params(max_epochs=best).fit(X, Y, **VALIDATION)

    checkpoint = Checkpoint(monitor, dirname=tmp_path / "new", load_best=load_best)
    net = make_net(**settings, callbacks=[checkpoint])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, Y, **VALIDATION)
    stored = torch.load(tmp_path / "new" / "params.pt", weights_only=True)
    state = twin.module_.state_dict()
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], state[name]) for name in state)

    last = twin if load_best else every
    assert net.predict(X) == last.predict(X)
    assert net.best_epoch_ <= net.n_iter_ == len(net.history_)
    assert load_best or net.best_epoch_ == 12

    other = make_net(**settings, random_state=9).fit(X, Y)
    assert other.predict(X) != twin.predict(X)
    other.net_.load_params(checkpoint=checkpoint)
    assert other.predict(X) == twin.predict(X)
    assert other.net_.history[:, "train_loss"] == [row["loss"] for row in twin.history_]


def test_checkpoint_of_a_loss_that_is_not_there_says_so(tmp_path):
    net = make_net(callbacks=[Checkpoint(dirname=tmp_path)])
    with pytest.raises(Exception, match="Make sure you have validation data"):
        net.fit(X, Y)
    assert not hasattr(net, "module_")


def test_checkpoint_of_the_end_has_the_last_weights(tmp_path):
    net = make_net()
    fit(net, TrainEndCheckpoint(dirname=str(tmp_path)))
    stored = torch.load(tmp_path / "train_end_params.pt", weights_only=True)
    assert all(torch.equal(stored[name], t) for name, t in net.module_.state_dict().items())


# In a search, and in every fit, callbacks are copies.


def make_callbacks(folder):
    """Each callback, or what makes it."""
    number = partial(EpochScoring, score_number, name="r2", lower_is_better=False)
    plateau = lr_scheduler.ReduceLROnPlateau
    return {
        "step": LRScheduler("StepLR", step_size=1, gamma=0.5),
        "cyclic": LRScheduler(
            "CyclicLR", step_every="batch", base_lr=1e-3, max_lr=0.1, cycle_momentum=False
        ),
        "plateau": LRScheduler(plateau, monitor="valid_kind_loss", patience=0, threshold=0.5),
        "clipping": GradientNormClipping(0.05),
        "freezer": Freezer(["trunk*"]),
        "freezer_at": Freezer("heads.0*", at=2),
        "initializer": Initializer("heads*weight", fn=partial(nn.init.constant_, val=0.1)),
        "scoring": number(),
        "scoring_train": number(on_train=True),
        "bar": ProgressBar(detect_notebook=False),
        "log": PrintLog(keys_ignored="dur", sink=print),
        "stopping": EarlyStopping("valid_loss", patience=1, threshold=0.5),
        "stopping_best": EarlyStopping("valid_loss", patience=1, threshold=0.5, load_best=True),
        "checkpoint": Checkpoint(dirname=str(folder / "new")),
        "checkpoint_best": Checkpoint(dirname=str(folder / "new"), load_best=True),
        "board": partial(make_board, folder),
        "class": EarlyStopping,
    }


def make_board(folder):
    return TensorBoard(SummaryWriter(folder / "board"))


ALL = sorted(make_callbacks(Path()))


def used_by(net, name="mine"):
    return dict(net.net_.callbacks_)[name]


@pytest.mark.parametrize("as_given", ["list", "dict"])
@pytest.mark.parametrize("name", ALL)
def test_fits_share_no_callback_and_leave_the_users_as_it_is(name, as_given, tmp_path):
    callback = make_callbacks(tmp_path)[name]
    before = dict(vars(callback))
    given = {"mine": callback} if as_given == "dict" else [("mine", callback)]
    net = make_net(early_stopping=True, validation_fraction=0.3, callbacks=given, verbose=0)
    net.fit(X, Y)
    first, predicted, history = used_by(net), net.predict(X), net.history_
    net.fit(X, Y)
    second = used_by(net)
    assert len({id(first), id(second), id(callback)}) == 3
    assert dict(vars(callback)) == before
    assert net.predict(X) == predicted
    assert net.history_ == history
    assert net.callbacks is given


@pytest.mark.parametrize("name", ALL)
def test_callback_works_in_a_grid_search(name, tmp_path, capsys):
    callback = make_callbacks(tmp_path)[name]
    before = dict(vars(callback))
    net = make_net(
        early_stopping=True,
        validation_fraction=0.3,
        max_epochs=3,
        callbacks=[("mine", callback)],
    )
    grid = {"alpha": [0.0, 1.0]}
    search = GridSearchCV(net, grid, cv=2, error_score="raise").fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]
    assert np.isfinite(scores).all()
    best = search.best_estimator_
    assert used_by(best) is not callback
    assert dict(vars(callback)) == before
    by_hand = clone(net).set_params(**search.best_params_).fit(X, Y)
    assert search.predict(X) == by_hand.predict(X)
    assert used_by(by_hand) is not used_by(best)
    assert not hasattr(net, "module_")


def test_search_in_processes_gives_the_same_results():
    def score_of_number(net, X, y):
        return r2_score(y["number"], net.predict(X)["number"])

    score = EpochScoring(score_of_number, name="r2", lower_is_better=False)
    callbacks = {
        "clip": GradientNormClipping(0.05),
        "score": score,
        "stop": EarlyStopping("r2", patience=2, lower_is_better=False),
    }
    net = make_net(callbacks=callbacks, early_stopping=True, validation_fraction=0.3)
    clips = [GradientNormClipping(0.2), GradientNormClipping(1e-9)]
    grid = {"learning_rate": [1e-3, 0.1], "callbacks__clip": clips}
    one, two = (
        GridSearchCV(net, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(X, Y)
        for n_jobs in (1, 2)
    )
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(one.cv_results_[name], two.cv_results_[name])
    assert len(set(one.cv_results_["mean_test_score"])) == 4
    assert one.predict(X) == two.predict(X)


def test_parameters_of_callbacks_have_nested_names_in_a_grid():
    given = {"clip": GradientNormClipping(1.0)}
    net = make_net(callbacks=given, max_epochs=10)
    params = net.get_params()
    assert params["callbacks__clip"] is given["clip"]
    assert params["callbacks__clip__gradient_clip_value"] == 1.0
    assert params["callbacks__clip__gradient_clip_norm_type"] == 2
    values = [1e-9, 0.05, None]
    grid = {"callbacks__clip__gradient_clip_value": values}
    search = GridSearchCV(net, grid, cv=2, error_score="raise").fit(X, Y)
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    by_hand = [make_net(callbacks=[GradientNormClipping(value)], max_epochs=10) for value in values]
    expected = [cross_val_score(each, X, Y, cv=2).mean() for each in by_hand]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)
    chosen = search.best_params_["callbacks__clip__gradient_clip_value"]
    assert used_by(search.best_estimator_, "clip").gradient_clip_value == chosen
    assert net.callbacks is given
    assert given["clip"].gradient_clip_value == 1.0


def test_whole_callbacks_can_be_searched_over_also_in_a_pipeline():
    net = make_net(callbacks={"clip": GradientNormClipping(1e-3)})
    pipeline = Pipeline([("scale", StandardScaler()), ("net", net)])
    grid = {"net__callbacks__clip": [GradientNormClipping(1e-9), GradientNormClipping(10.0)]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, Y)
    assert search.cv_results_["rank_test_score"].tolist() in ([1, 2], [2, 1])
    best = used_by(search.best_estimator_["net"], "clip")
    assert (
        best.gradient_clip_value == search.best_params_["net__callbacks__clip"].gradient_clip_value
    )


def test_callback_can_be_added_by_name():
    net = make_net().set_params(callbacks__clip=GradientNormClipping(0.05))
    assert net.fit(X, Y).predict(X) == (
        make_net(callbacks=[GradientNormClipping(0.05)]).fit(X, Y).predict(X)
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"callbacks__clop__gradient_clip_value": 1.0},
            r"named 'clop'; it holds \['clip'\].*'clip'",
        ),
        ({"callbacks__clip__value": 1.0}, r"Invalid parameter 'value' for estimator"),
    ],
)
def test_unknown_parameter_of_a_callback_is_refused(params, message):
    net = make_net(callbacks={"clip": GradientNormClipping(0.05)})
    with pytest.raises(ValueError, match=message):
        net.set_params(**params)
    assert net.callbacks["clip"].gradient_clip_value == 0.05


# Estimators with all of these parameters are still estimators.


def make_full(**params):
    return make_net(
        heads={"number": Regression(loss="huber"), "kind": Classification()},
        loss_weights={"kind": 0.5},
        optimizer=partial(torch.optim.SGD, momentum=0.5),
        optimizer_params={"nesterov": True, "weight_decay": 0.01},
        param_groups={"trunk": {"lr": 1e-3}, "kind": {"weight_decay": 0.1}},
        learning_rate_schedule="onecycle",
        early_stopping=True,
        validation_fraction=0.3,
        callbacks={
            "clip": GradientNormClipping(0.5),
            "score": EpochScoring(score_number, name="r2"),
            "stop": EarlyStopping("valid_kind_loss", patience=20),
            "freezer": Freezer("heads.0*", at=4),
        },
        verbose=0,
        shuffle=True,
    ).set_params(**params)


def assert_same_params(a, b):
    a, b = a.get_params(), b.get_params()
    assert a.keys() == b.keys()
    for name, value in a.items():
        if hasattr(value, "get_params") or isinstance(value, dict) or name == "optimizer":
            assert type(value) is type(b[name])
        else:
            assert value == b[name], name


@pytest.mark.parametrize("fitted", [False, True])
def test_clone_has_equal_parameters_and_trains_the_same(fitted):
    net = make_full()
    if fitted:
        net.fit(X, Y)
    twin = clone(net)
    assert not hasattr(twin, "module_")
    assert_same_params(net, twin)
    for param in ("optimizer_params", "param_groups"):
        assert getattr(twin, param) == getattr(net, param)
        assert getattr(twin, param) is not getattr(net, param)
    for name, callback in net.callbacks.items():
        assert twin.callbacks[name] is not callback
    assert twin.fit(X, Y).predict(X) == net.fit(X, Y).predict(X)
    assert twin.history_ == net.history_


@pytest.mark.parametrize("changed_only", [False, True])
def test_repr_names_the_parameters(changed_only):
    net = make_full()
    with config_context(print_changed_only=changed_only):
        shown = net.__repr__(N_CHAR_MAX=10_000)
    assert shown.startswith("MultiOutputNet(")
    for text in ("learning_rate_schedule='onecycle'", "'nesterov': True", "{'lr': 0.001}", "clip"):
        assert text in shown
    assert ("warm_start" in shown) != changed_only
    assert "onecycle" in net._repr_html_()
    assert repr(net.fit(X, Y)).startswith("MultiOutputNet(")


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_pickle_keeps_parameters_and_predictions(pickler):
    net = make_full()
    unfitted = pickle.loads(pickler.dumps(net))
    assert_same_params(net, unfitted)
    net.fit(X, Y)
    loaded = pickle.loads(pickler.dumps(net))
    assert loaded.predict(X) == net.predict(X)
    assert loaded.history_ == net.history_
    assert_same_params(net, loaded)
    assert unfitted.fit(X, Y).predict(X) == net.predict(X)
    assert loaded.fit(X, Y).predict(X) == net.predict(X)


def test_pickled_fit_that_goes_on_is_the_one_that_was_not_pickled():
    callbacks = {"clip": GradientNormClipping(0.5), "step": LRScheduler("StepLR", step_size=2)}
    net = make_full(warm_start=True, callbacks=callbacks).fit(X, Y)
    loaded = pickle.loads(pickle.dumps(net))
    assert loaded.fit(X, Y).predict(X) == net.fit(X, Y).predict(X)
    assert loaded.history_ == net.history_


def test_function_that_makes_a_callback_survives_cloudpickle(tmp_path):
    net = make_net(callbacks=[lambda: TensorBoard(SummaryWriter(tmp_path))]).fit(X, Y)
    loaded = pickle.loads(cloudpickle.dumps(net))
    assert loaded.predict(X) == net.predict(X)
    twin = clone(loaded)
    assert twin.callbacks[0] is not None
    assert twin.fit(X, Y).predict(X) == net.predict(X)


class Locked(Callback):
    """Holds a lock, made anew for each fit."""

    def __init__(self, lock):
        self.lock = lock


def test_function_works_in_a_search_where_the_callback_does_not():
    grid = {"learning_rate": [1e-3]}
    search = GridSearchCV(make_net(callbacks=[lambda: Locked(Lock())]), grid, cv=2)
    assert np.isfinite(search.fit(X, Y).best_score_)
    with pytest.raises(TypeError, match="lock"):
        clone(make_net(callbacks=[Locked(Lock())]))
