"""Fits that leave the finite numbers: what they raise, and what they leave behind."""

import pickle
import re

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed, parallel_backend
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Regression
from mtlearn.trunks import MLP

N = 40
BATCH = 8
STEPS = N // BATCH
EPOCHS = 6
SLOWLY = {"optimizer": "sgd", "learning_rate": 3.0, "batch_size": N, "max_epochs": 20}

DIVERGED = re.compile(
    r"(?P<owner>\w+): (output '(?P<output>\w+)': )?training diverged in epoch (?P<epoch>\d+)"
    r"(, with a mean (validation )?loss of (nan|-?inf|\d\S*)"
    r"|: (a weight|the penalty) is not finite)\. Lower `\w+`[^.]*\."
    r"( The estimator keeps the weights of epoch (?P<kept>\d+)\.)?"
)
BAD_LOSS = re.compile(r"MultiOutputNet: output 'number': `loss` must return finite values\. .*")
BAD_ROWS = re.compile(r"\w+: output '\w+': the predictions of \d+ of \d+ rows are not finite\. .*")


def make_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    y = {
        "number": X[:, 0] + X[:, 1] ** 2,
        "kind": np.array(["a", "b", "c"])[np.digitize(X[:, 1], [-0.5, 0.5])],
        "flag": np.where(X[:, 0] > 0, "p", "q"),
        "tags": (X[:, 1:3] > 0).astype(int),
    }
    return X, y


X, Y = make_data()
SCALED = Y["number"] / np.abs(Y["number"]).max()
POSITIVE = np.abs(X) + 0.1
NUMBER = {"number": Y["number"]}


def make_net(**params):
    return MultiOutputNet(
        MLP((4,)), max_epochs=EPOCHS, batch_size=BATCH, random_state=0
    ).set_params(**params)


class FailingLoss(nn.Module):
    """A squared error that is multiplied by a value from a step of the training on.

    Parameters
    ----------
    step : int
        The first bad step, from 1 on.
    value : float
        What to multiply by.
    above : float, default=-inf
        Only labels above this are concerned.
    """

    def __init__(self, step, value, above=-np.inf):
        super().__init__()
        self.step, self.value, self.above = step, value, above

    def forward(self, raw, target):
        loss = (raw - target) ** 2
        if self.training and len(raw) <= BATCH:  # and not the search for the best constant
            self.step -= 1
        factor = torch.where((self.step <= 0) & (target > self.above), self.value, 1.0)
        return loss * factor


class FailingTrunk(nn.Module):
    """A layer whose values are multiplied by a value from a step of the training on."""

    def __init__(self, step, value, *, only_eval=False, remembers=False):
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.step, self.value, self.only_eval = step, value, only_eval
        if remembers:
            self.n_steps = torch.zeros(())
        else:
            self.register_buffer("n_steps", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.n_steps += 1
        fails = self.n_steps >= self.step and not (self.training and self.only_eval)
        values = self.layer(x).relu()
        return values * self.value if fails else values


class PoisonedTrunk(nn.Module):
    """A layer whose weights are set to a value in a step of the training, after their last use."""

    def __init__(self, step, value):
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.step, self.value = step, value

    def forward(self, x):
        values = self.layer(x).relu()
        if self.training:
            self.step -= 1
            if self.step == 0:
                values.register_hook(self._poison)
        return values

    def _poison(self, gradient):
        with torch.no_grad():
            self.layer.weight.fill_(self.value)
            self.layer.bias.zero_()
        return torch.zeros_like(gradient)


class TwoLayers(nn.Module):
    """Two layers by name, one of which gets huge weights in a step of the training."""

    def __init__(self, bad, step):
        super().__init__()
        good = {"a": "b", "b": "a"}[bad]
        self.layers = nn.ModuleDict({bad: PoisonedTrunk(step, 1e20), good: nn.Linear(3, 4)})

    def forward(self, x):
        return {name: layer(x) for name, layer in self.layers.items()}


def tensors_of(net):
    named = [*net.module_.named_parameters(), *net.module_.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def same_tensors(a, b):
    a, b = tensors_of(a), tensors_of(b)
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def dict_of(predicted):
    return dict(predicted) if isinstance(predicted, Targets) else {"": predicted}


def error_of(net, *data):
    try:
        net.fit(*data)
    except ValueError as error:
        return error
    return None


def check_predictions(net, X):
    """Predictions are finite, or refused by the error that names an output."""
    try:
        predicted, probabilities = net.predict(X), net.predict_proba(X)
    except DivergenceError as error:
        assert BAD_ROWS.fullmatch(str(error))  # noqa: PT017 (most runs do predict)
        return
    for name, values in predicted.items():
        assert len(values) == len(X)
        assert values.dtype.kind != "f" or np.isfinite(values).all(), name
    for name, values in probabilities.items():
        assert np.isfinite(values).all(), name
        if name != "tags":
            np.testing.assert_allclose(values.sum(axis=1), 1.0, rtol=1e-5)


def check_kept(net, n_rows):
    """What a fit leaves is finite and complete."""
    for name, parameter in net.module_.named_parameters():
        assert torch.isfinite(parameter).all(), name
    assert len(net.history_) == net.n_iter_ == n_rows
    columns = set(net.history_[0])
    for row in net.history_:
        assert set(row) == columns
        assert np.isfinite(list(row.values())).all()
    watched = [row["val_loss"] for row in net.history_ if "val_loss" in row]
    if net.early_stopping is True:
        assert net.best_epoch_ == np.argmin(watched) + 1


def check_run(net, X=X, y=Y):
    """Fit; whatever comes of it must be finite, or an error that leaves something usable."""
    same = clone(net)
    error = error_of(net, X, y)
    if error is None:
        check_kept(net, net.n_iter_)
        check_predictions(net, X)
        return None
    match = DIVERGED.fullmatch(str(error))
    if match is None:
        assert BAD_LOSS.fullmatch(str(error))
    else:
        assert type(error) is DivergenceError
        assert match["output"] in (None, *y)
    if match is None or match["kept"] is None:
        assert vars(net).keys() == vars(same).keys()
        with pytest.raises(NotFittedError, match="not fitted"):
            net.predict(X)
        # Only the weights that the fit began with were good.
        assert match is None or int(match["epoch"]) <= 2 - (net.early_stopping is True)
    else:
        epoch, kept = int(match["epoch"]), int(match["kept"])
        assert kept == net.best_epoch_ < epoch
        assert kept >= epoch - 2 or net.early_stopping is True
        check_kept(net, epoch - 1)
        check_predictions(net, X)
        same.set_params(max_epochs=kept).fit(X, y)
        assert same.best_epoch_ == kept
        assert same_tensors(net, same)
    return match


# Every run.


@pytest.mark.parametrize(
    ("learning_rate", "dtype"), [(1e2, "float64"), (1e5, "float32"), (1e8, "float64")]
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("normalize_losses", [True, False])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_learning_rate_that_is_too_high(
    learning_rate, dtype, optimizer, normalize_losses, early_stopping
):
    check_run(
        make_net(
            learning_rate=learning_rate,
            optimizer=optimizer,
            normalize_losses=normalize_losses,
            early_stopping=early_stopping,
            dtype=dtype,
        )
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("optimizer", "rate"), [("sgd", 0.5), ("adam", 30.0), ("adamw", 30.0), ("rmsprop", 30.0)]
)
def test_a_learning_rate_on_the_edge(seed, optimizer, rate):
    rng = np.random.default_rng(seed)
    normalization = [None, "batch", "layer"][seed % 3]
    check_run(
        make_net(
            trunk=MLP((4,), dropout=0.2 * (seed % 2), normalization=normalization),
            learning_rate=rate * 10 ** rng.uniform(-1, 1),
            optimizer=optimizer,
            alpha=rng.choice([0.0, 2e-3, 10.0]),
            normalize_losses=bool(rng.integers(2)),
            early_stopping=bool(rng.integers(2)),
            batch_size=int(rng.choice([5, 8, N])),
            max_epochs=12,
            n_iter_no_change=12,
            random_state=seed,
        )
    )


@pytest.mark.parametrize(
    ("scale", "loss"),
    [
        *((scale, "squared_error") for scale in (1e30, 1e200, 1e-300, 1e308)),
        (1e200, "absolute_error"),
        (1e200, "huber"),
    ],
)
@pytest.mark.parametrize("normalize_losses", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_target_of_extreme_scale(scale, loss, normalize_losses, dtype):
    params = {"heads": {"number": Regression(loss)}, "dtype": dtype}
    net = make_net(normalize_losses=normalize_losses, **params)
    match = check_run(net, X, {**Y, "number": scale * SCALED})
    if normalize_losses:
        assert match is None
        expected = make_net(**params).fit(X, {**Y, "number": SCALED}).predict(X)["number"]
        found = net.predict(X)["number"] / scale
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("scale", [1e30, 1e200])
@pytest.mark.parametrize("normalize_losses", [True, False])
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(("columns", "dtype"), [(3, "float32"), (3, "float64"), (1, "float64")])
def test_features_of_extreme_scale(scale, normalize_losses, early_stopping, columns, dtype):
    huge = X.copy()
    huge[:, :columns] *= scale
    net = make_net(normalize_losses=normalize_losses, early_stopping=early_stopping, dtype=dtype)
    match = check_run(net, huge)
    assert match is not None or (dtype, normalize_losses) == ("float64", False)


LOSSES = {
    "exp": lambda raw, target: torch.exp(raw - target),
    "exp of the square": lambda raw, target: torch.exp((raw - target) ** 2),
    "minus exp": lambda raw, target: -torch.exp(raw - target),
    "unbounded": lambda raw, target: raw - target,
    "concave": lambda raw, target: -((raw - target) ** 2),
    "steep": lambda raw, target: (raw - target) ** 40,
    "huge": lambda raw, target: 1e300 * (raw - target) ** 2,
    "tiny": lambda raw, target: 1e-300 * (raw - target) ** 2,
    "log": lambda raw, target: -torch.log(raw - target),
    "pole": lambda raw, target: 1 / (raw - target) ** 2,
    "some labels": lambda raw, target: torch.where(
        (target > 1) & (raw != raw[:1]), torch.nan, (raw - target) ** 2
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalize_losses", [True, False])
@pytest.mark.parametrize(("learning_rate", "early_stopping"), [(1e-2, True), (1e1, False)])
def test_a_loss_that_explodes(loss, normalize_losses, learning_rate, early_stopping):
    check_run(
        make_net(
            heads={"number": Regression(LOSSES[loss])},
            normalize_losses=normalize_losses,
            early_stopping=early_stopping,
            learning_rate=learning_rate,
            max_epochs=10,
        ),
        X,
        NUMBER,
    )


@pytest.mark.parametrize(
    ("value", "above"), [(np.nan, -np.inf), (np.inf, 1.0), (np.nan, 1.0), (1e30, -np.inf)]
)
@pytest.mark.parametrize("step", [1, STEPS + 3, 3 * STEPS])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_loss_that_turns_bad(step, value, above, early_stopping):
    loss = FailingLoss(step, value, above)
    net = make_net(heads={"number": Regression(loss)}, early_stopping=early_stopping)
    match = check_run(net, X, NUMBER)
    assert match["output"] == "number"
    epoch, last = -(-step // STEPS), step % STEPS == 0
    assert int(match["epoch"]) in (epoch, epoch + (above > 0 and last))


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e200])
@pytest.mark.parametrize("step", [1, STEPS + 1, 2 * STEPS + 3, EPOCHS * STEPS])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_trunk_that_turns_bad(step, value, early_stopping):
    match = check_run(make_net(trunk=FailingTrunk(step, value), early_stopping=early_stopping))
    assert int(match["epoch"]) == -(-step // STEPS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("step", [1, STEPS + 1, 2 * STEPS + 3])
def test_a_trunk_that_turns_bad_on_held_out_rows(step, value):
    net = make_net(trunk=FailingTrunk(step, value, only_eval=True), early_stopping=True)
    assert int(check_run(net)["epoch"]) == -(-step // STEPS)
    with pytest.raises(DivergenceError, match="with a mean validation loss of"):
        net.fit(X, Y)


@pytest.mark.parametrize("step", [STEPS, 2 * STEPS, 2 * STEPS + 2, EPOCHS * STEPS])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_weights_that_turn_bad(step, value, early_stopping):
    # On positive rows, units with weights of minus infinity are zero: no loss shows them.
    net = make_net(trunk=PoisonedTrunk(step, value), early_stopping=early_stopping, alpha=0)
    match = check_run(net, POSITIVE)
    assert match is not None
    if match["kept"] is not None:
        assert int(match["kept"]) <= step // STEPS - (step % STEPS == 0)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_penalty_that_turns_bad(early_stopping):
    # Units without values leave the losses as they are; the squares of their weights overflow.
    trunk = PoisonedTrunk(2 * STEPS + 2, -1e200)
    match = check_run(make_net(trunk=trunk, early_stopping=early_stopping), POSITIVE)
    assert (match["output"], match["kept"]) == (None, "2")
    assert match["epoch"] in ("3", "4")
    assert check_run(make_net(alpha=1e308, early_stopping=early_stopping))["epoch"] == "1"


# Who is named, and which weights are kept.


@pytest.mark.parametrize("step", [1, STEPS + 3, 2 * STEPS])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_output_named_is_the_one_that_was_bad_first(step, early_stopping):
    heads = {"number": Regression(FailingLoss(step, np.nan))}
    match = check_run(make_net(heads=heads, early_stopping=early_stopping))
    assert match["output"] == "number"


@pytest.mark.parametrize("first", ["a", "b"])
def test_the_epoch_kept_is_one_whose_weights_no_output_found_bad(first):
    # The last step of epoch 2 spoils a layer of one output, the third of epoch 3 the other's loss.
    second = {"a": "b", "b": "a"}[first]
    heads = {
        first: Regression(at=first),
        second: Regression(FailingLoss(2 * STEPS + 3, np.inf), at=second),
    }
    net = make_net(trunk=TwoLayers(first, step=2 * STEPS), heads=heads)
    match = check_run(net, POSITIVE, {"a": Y["number"], "b": Y["number"] ** 2})
    assert (match["output"], match["epoch"], match["kept"]) == (first, "3", "1")


@pytest.mark.parametrize("n_good", [2, 3, 4])
@pytest.mark.parametrize("learning_rate", [1e-3, 0.3])
def test_the_epoch_kept_with_early_stopping_is_the_best_one(n_good, learning_rate):
    # With the low rate each epoch is better than the one before; with the high one, none is.
    params = {"learning_rate": learning_rate, "early_stopping": True}
    loss = FailingLoss(n_good * STEPS + 1, np.nan)
    match = check_run(net := make_net(heads={"number": Regression(loss)}, **params), X, NUMBER)
    assert match["epoch"] == str(n_good + 1)
    same = make_net(max_epochs=n_good, **params).fit(X, NUMBER)
    assert net.best_epoch_ == same.best_epoch_ == (n_good if learning_rate < 0.1 else 1)
    np.testing.assert_allclose(net.predict(X)["number"], same.predict(X)["number"])


def test_predictions_that_are_not_finite_are_refused_by_name():
    net = make_net(trunk=FailingTrunk(STEPS + 2, np.nan, only_eval=True)).fit(X, Y)
    for method in (net.predict, net.predict_proba):
        with pytest.raises(DivergenceError, match=r"MultiOutputNet: output '\w+': .*40 of 40 rows"):
            method(X)
    with pytest.raises(DivergenceError, match="rows are not finite"):
        net.score(X, Y)


def test_predictions_are_refused_where_the_trunk_goes_on_being_bad():
    net = make_net(trunk=FailingTrunk(2 * STEPS + 2, np.nan, remembers=True))
    match = DIVERGED.fullmatch(str(error_of(net, X, Y)))
    assert (match["epoch"], match["kept"]) == ("3", "2")
    with pytest.raises(DivergenceError, match="rows are not finite"):
        net.predict(X)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_the_history_is_finite_beside_an_output_of_weight_zero():
    net = make_net(normalize_losses=False, loss_weights={"number": 0.0})
    net.fit(X, {**Y, "number": 1e200 * SCALED})
    assert np.isfinite([row["loss"] for row in net.history_]).all()


def test_scores_of_huge_numbers_are_those_of_the_scaled_ones():
    huge, scaled = ({"number": factor * SCALED} for factor in (2.0**700, 1.0))
    a, b = (make_net(learning_rate=0.1).fit(X, y).score(X, y) for y in (huge, scaled))
    assert a == pytest.approx(b, rel=1e-6)


# What is left behind.

FLAGS = (X[:, 0] > 0).astype(int)
PAIRS = np.column_stack([np.where(X[:, 0] > 0, "p", "q"), np.where(X[:, 1] > 0, "r", "s")])


LATE = FailingTrunk(2 * STEPS + 3, np.nan)  # epoch 3 diverges, and epoch 2 is kept


@pytest.mark.parametrize(
    ("cls", "y", "shape"),
    [
        (MultiOutputNet, SCALED, (N,)),
        (MultiOutputNet, np.column_stack([SCALED, SCALED]), (N, 2)),
        (MultiOutputNet, FLAGS, (N,)),
        (MultiOutputNetRegressor, SCALED, (N,)),
        (MultiOutputNetRegressor, np.column_stack([SCALED, SCALED]), (N, 2)),
        (MultiOutputNetClassifier, FLAGS, (N,)),
        (MultiOutputNetClassifier, Y["tags"], (N, 2)),
        (MultiOutputNetClassifier, PAIRS, (N, 2)),
    ],
)
def test_every_estimator_predicts_with_the_weights_that_are_kept(cls, y, shape):
    net = cls(LATE, max_epochs=EPOCHS, batch_size=BATCH, random_state=0)
    same = clone(net).set_params(max_epochs=2).fit(X, y)
    with pytest.raises(DivergenceError, match=f"{cls.__name__}: output .* weights of epoch 2"):
        net.fit(X, y)
    assert net.predict(X).shape == shape
    np.testing.assert_array_equal(net.predict(X), same.predict(X))
    assert net.score(X, y) == same.score(X, y)
    if hasattr(same, "classes_"):
        np.testing.assert_array_equal(net.predict_proba(X), same.predict_proba(X))
        np.testing.assert_array_equal(net.classes_, same.classes_)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert again.history_ == net.history_
    assert again.best_epoch_ == 2


@pytest.mark.parametrize(("before", "after"), [(Y, SCALED), (SCALED, Y)], ids=["array", "names"])
def test_what_is_kept_has_the_form_of_the_targets_that_diverged(before, after):
    net = make_net(max_epochs=1).fit(X, before)
    net.set_params(trunk=LATE, max_epochs=EPOCHS)
    with pytest.raises(DivergenceError, match="weights of epoch 2"):
        net.fit(X, after)
    same = make_net(trunk=LATE, max_epochs=2).fit(X, after)
    assert type(net.predict(X)) is type(same.predict(X))
    np.testing.assert_equal(dict_of(net.predict(X)), dict_of(same.predict(X)))


def test_what_is_kept_of_a_classifier_has_the_columns_that_diverged():
    net = MultiOutputNetClassifier(MLP((4,)), max_epochs=1, batch_size=BATCH, random_state=0)
    net.fit(X, FLAGS).set_params(trunk=LATE, max_epochs=EPOCHS)
    with pytest.raises(DivergenceError, match="weights of epoch 2"):
        net.fit(X, PAIRS)
    assert [list(classes) for classes in net.classes_] == [["p", "q"], ["r", "s"]]
    assert net.predict(X).shape == (N, 2)


def test_outputs_can_be_taken_from_what_is_kept():
    net = make_net(trunk=LATE)
    with pytest.raises(DivergenceError, match="weights of epoch 2"):
        net.fit(X, Y)
    expected = net.predict(X)
    np.testing.assert_array_equal(net.output("number").predict(X), expected["number"])
    np.testing.assert_array_equal(net.drop_outputs(["kind"]).predict(X)["flag"], expected["flag"])
    assert net.embed(X).shape == (N, 4)


BAD_PARAMS = {
    "first batch": {"optimizer": "sgd", "learning_rate": 1e30},
    "first epoch": {"trunk": FailingTrunk(3, np.inf)},
    "held-out rows": {"trunk": FailingTrunk(1, np.nan, only_eval=True), "early_stopping": True},
    "weights": {"trunk": PoisonedTrunk(STEPS, np.nan), "max_epochs": 1},
}


@pytest.mark.parametrize("params", BAD_PARAMS.values(), ids=list(BAD_PARAMS))
def test_a_first_epoch_that_diverges_leaves_the_estimator_as_it_was(params):
    net = make_net().fit(X, Y)
    same = clone(net).fit(X, Y)
    net.set_params(**params)
    before, history = dict(vars(net)), list(net.history_)
    with pytest.raises(DivergenceError, match=r"epoch [12]\b") as info:
        net.fit(X[::-1], Y)
    assert "keeps" not in str(info.value)
    assert vars(net) == before
    assert net.history_ == history == same.history_
    assert same_tensors(net, same)
    assert net.predict(X) == same.predict(X)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("warm_start", [True, False])
def test_a_fit_after_the_error_works(early_stopping, warm_start):
    params = {"early_stopping": early_stopping, "warm_start": warm_start}
    net = make_net(**SLOWLY, **params)
    with pytest.raises(DivergenceError, match=r"The estimator keeps the weights of epoch [12]\."):
        net.fit(X, NUMBER)
    epochs = net.n_iter_
    net.set_params(learning_rate=1e-3, max_epochs=EPOCHS).fit(X, NUMBER)
    check_predictions(net, X)
    if warm_start:
        assert net.n_iter_ == epochs + EPOCHS
        assert np.isfinite([row["loss"] for row in net.history_]).all()
    else:
        same = clone(net).fit(X, NUMBER)
        assert same_tensors(net, same)
        assert net.history_ == same.history_


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("learning_rate", [1e-3, 1e-2])
def test_going_on_after_the_error_begins_with_good_moments(optimizer, learning_rate):
    # The trunk counts its steps, and only the first fit has the one that is bad.
    class OnceBad(FailingTrunk):
        def forward(self, x):
            self.value = 1.0 if OnceBad.is_over else np.nan
            return super().forward(x)

    OnceBad.is_over = False
    net = make_net(
        trunk=OnceBad(2 * STEPS + 3, np.nan), optimizer=optimizer, warm_start=True, max_epochs=4
    )
    with pytest.raises(DivergenceError, match="weights of epoch 2"):
        net.fit(X, Y)
    OnceBad.is_over = True
    net.set_params(learning_rate=learning_rate).fit(X, Y)
    assert net.n_iter_ == net.best_epoch_ == 6
    check_predictions(net, X)
    net.partial_fit(X, Y)
    assert net.n_iter_ == 7


# Continued trainings.


def test_a_continued_fit_that_diverges_in_its_first_epoch_is_undone():
    net, same = (make_net(warm_start=True).fit(X, Y) for _ in range(2))
    history, skorch_history = list(net.history_), list(net.net_.history)
    net.set_params(optimizer="sgd", learning_rate=1e30)
    with pytest.raises(DivergenceError, match=f"diverged in epoch {EPOCHS + 1}") as info:
        net.fit(X, Y)
    assert "keeps" not in str(info.value)
    assert net.history_ == history
    assert net.net_.history == skorch_history
    assert net.n_iter_ == net.best_epoch_ == EPOCHS
    assert net.predict(X) == same.predict(X)
    net.set_params(optimizer="adam", learning_rate=1e-3)
    assert same_tensors(net.fit(X, Y), same.fit(X, Y))
    assert net.history_ == same.history_


def test_a_continued_fit_of_the_same_settings_that_diverges_is_undone():
    net, same = (make_net(warm_start=True).fit(X, Y) for _ in range(2))
    skorch_history = list(net.net_.history)
    with pytest.raises(DivergenceError, match=f"diverged in epoch {EPOCHS + 1}"):
        net.fit(1e30 * X, Y)
    assert list(net.net_.history) == skorch_history
    assert net.predict(X) == same.predict(X)
    assert same_tensors(net.fit(X, Y), same.fit(X, Y))
    assert net.history_ == same.history_


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("step", [STEPS + 2, 2 * STEPS + 1, 2 * STEPS + 4])
def test_a_continued_fit_that_diverges_later_keeps_an_epoch_of_its_own(step, early_stopping):
    trunk = FailingTrunk(EPOCHS * STEPS + step, np.nan)

    def fit_on(max_epochs):
        net = make_net(trunk=trunk, warm_start=True, early_stopping=early_stopping).fit(X, Y)
        return net.set_params(max_epochs=max_epochs)

    net = fit_on(EPOCHS)
    match = DIVERGED.fullmatch(str(error_of(net, X, Y)))
    epoch, kept = int(match["epoch"]), int(match["kept"])
    assert epoch == EPOCHS + -(-step // STEPS)
    assert EPOCHS < kept == net.best_epoch_ < epoch
    assert len(net.history_) == net.n_iter_ == epoch - 1
    assert np.isfinite([list(row.values()) for row in net.history_]).all()
    same = fit_on(kept - EPOCHS).fit(X, Y)
    assert same_tensors(net, same)
    assert net.history_[:kept] == same.history_


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("piece", [1e30, 1e200])
def test_a_piece_of_a_stream_that_diverges_is_undone(optimizer, piece):
    net, same = (
        make_net(trunk=MLP((4,), dropout=0.2), optimizer=optimizer).partial_fit(X, Y)
        for _ in range(2)
    )
    net.partial_fit(X, Y), same.partial_fit(X, Y)
    with pytest.raises(DivergenceError, match="diverged in epoch 3") as info:
        net.partial_fit(piece * X, Y)
    assert "keeps" not in str(info.value)
    assert net.predict(X) == same.predict(X)
    assert net.history_ == same.history_
    assert same_tensors(net.partial_fit(X, Y), same.partial_fit(X, Y))
    assert net.n_iter_ == 3
    assert net.history_ == same.history_


def test_a_first_piece_of_a_stream_that_diverges_leaves_nothing_behind():
    net = make_net()
    before = set(vars(net))
    with pytest.raises(DivergenceError, match="diverged in epoch 1"):
        net.partial_fit(1e30 * X, Y)
    assert set(vars(net)) == before
    same = make_net().partial_fit(X, Y)
    assert same_tensors(net.partial_fit(X, Y), same)


def test_a_stream_goes_on_after_a_fit_that_diverged():
    net = make_net(trunk=LATE)
    with pytest.raises(DivergenceError, match="weights of epoch 2"):
        net.fit(X, SCALED)
    net.partial_fit(X[:BATCH], SCALED[:BATCH])
    assert net.n_iter_ == net.best_epoch_ == 3
    assert np.isfinite(net.predict(X)).all()


# The error among scikit-learn's tools.


@pytest.mark.parametrize("learning_rate", [3.0, 1e30])
def test_the_error_is_pickled_with_its_message(learning_rate):
    net = make_net(**SLOWLY).set_params(learning_rate=learning_rate)
    error = error_of(net, X, NUMBER)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) is DivergenceError
    assert str(again) == str(error)
    assert DIVERGED.fullmatch(str(again))


def test_a_worker_process_hands_the_error_on():
    net = make_net(optimizer="sgd", learning_rate=1e30)
    with pytest.raises(DivergenceError, match=r"MultiOutputNet: .*diverged in epoch 1"):
        Parallel(n_jobs=2, backend="multiprocessing")(delayed(net.fit)(X, Y) for _ in range(2))


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_search_goes_on_where_a_fit_diverges(n_jobs):
    rates = {"learning_rate": [1e-2, 3.0, 1e30]}
    search = GridSearchCV(make_net(**SLOWLY), rates, cv=2, error_score=np.nan, n_jobs=n_jobs)
    message = r"(?s)4 fits failed out of a total of 6.*DivergenceError: MultiOutputNet: output"
    with parallel_backend("threading"), pytest.warns(FitFailedWarning, match=message):
        search.fit(X, Targets(NUMBER))
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True, True]
    assert search.best_params_ == {"learning_rate": 1e-2}
    check_predictions(search.best_estimator_, X)


def test_a_search_that_shall_raise_raises_the_error():
    search = GridSearchCV(make_net(**SLOWLY), {"alpha": [0.0]}, cv=2, error_score="raise")
    with pytest.raises(DivergenceError, match="The estimator keeps the weights of epoch"):
        search.fit(X, Targets(NUMBER))
