"""What a fit shows while it runs: nothing, a table or a bar."""

import re

import numpy as np
import pytest
from skorch.callbacks import EpochScoring

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.exceptions import DivergenceError
from mtlearn.trunks import MLP

N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = Targets({"number": X[:, 0], "kind": RNG.random(N) < 0.5, "tags": RNG.random((N, 2)) < 0.5})
VALIDATION = {"X_val": X[:15], "y_val": Y[:15]}
COLORS = re.compile(r"\x1b\[\d+m")


def make_net(**params):
    return MultiOutputNet(
        MLP((4,)), max_epochs=5, batch_size=16, early_stopping=False, random_state=0
    ).set_params(**params)


def table_of(text):
    """The columns of a printed table, each a list with one entry per epoch."""
    header, rule, *lines = COLORS.sub("", text).strip().splitlines()
    assert set(rule) == {" ", "-"}
    cells = [line.split() for line in lines]
    assert {len(row) for row in cells} == {len(header.split())}
    return dict(zip(header.split(), zip(*cells, strict=True), strict=True))


def assert_printed(cells, values):
    np.testing.assert_allclose([float(cell) for cell in cells], values, atol=6e-5)


# The table.


@pytest.mark.parametrize("verbose", [1, True, 2])
@pytest.mark.parametrize("validation", [{}, VALIDATION])
def test_table_has_a_column_for_the_losses_of_each_output(validation, verbose, capsys):
    net = make_net(verbose=verbose).fit(X, Y, **validation)
    captured = capsys.readouterr()
    table = table_of(captured.out)
    losses = ["loss", "kind_loss", "number_loss", "penalty", "tags_loss"]
    prefixes = {"train": "", **({"valid": "val_"} if validation else {})}
    expected = {
        f"{long}_{name}": f"{short}{name}" for long, short in prefixes.items() for name in losses
    }
    assert list(table) == ["epoch", *sorted(expected), "dur"]
    assert table["epoch"] == ("1", "2", "3", "4", "5")
    for column, name in expected.items():
        assert_printed(table[column], [row[name] for row in net.history_])
    assert captured.err == ""


def test_best_losses_are_in_colour(capsys):
    net = make_net(verbose=1, learning_rate=0.5, max_epochs=8).fit(X, Y)
    lines = capsys.readouterr().out.strip().splitlines()[2:]
    totals = [row["loss"] for row in net.history_]
    best = [loss == min(totals[: i + 1]) for i, loss in enumerate(totals)]
    assert len(set(best)) == 2
    cells = [
        next(cell for cell in line.split() if f"{loss:.4f}" in cell)
        for line, loss in zip(lines, totals, strict=True)
    ]
    assert [bool(COLORS.search(cell)) for cell in cells] == best


def test_table_has_the_rate_of_a_schedule_and_the_users_scores(capsys):
    score = EpochScoring(lambda *_: 0.25, name="mine", lower_is_better=False)
    make_net(verbose=1, learning_rate_schedule="cosine", learning_rate=0.5, callbacks=[score]).fit(
        X, Y, **VALIDATION
    )
    table = table_of(capsys.readouterr().out)
    assert table["mine"] == ("0.2500",) * 5
    assert table["learning_rate"][0] == "0.5000"


def test_table_of_an_array_names_its_output(capsys):
    net = MultiOutputNetRegressor(MLP((4,)), max_epochs=2, verbose=1, random_state=0)
    net.fit(X, X[:, 0], aux=Targets({"kind": Y["kind"]}))
    table = table_of(capsys.readouterr().out)
    assert {"train_loss", "train_y_loss", "train_kind_loss"} <= set(table)


@pytest.mark.parametrize("warm_start", [False, True])
def test_every_fit_prints_its_epochs(warm_start, capsys):
    net = make_net(verbose=1, warm_start=warm_start)
    net.fit(X, Y)
    first = table_of(capsys.readouterr().out)
    net.fit(X, Y)
    lines = capsys.readouterr().out.strip().splitlines()[-5:]
    assert len({len(line.split()) for line in lines} | {len(first)}) == 1
    total = [COLORS.sub("", line).split()[list(first).index("train_loss")] for line in lines]
    assert_printed(total, [row["loss"] for row in net.history_[-5:]])


def test_pieces_of_a_stream_are_printed_too(capsys):
    make_net(verbose=1).partial_fit(X, Y)
    assert table_of(capsys.readouterr().out)["epoch"] == ("1",)


# The bar.


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """A bar is cut off at the width that the shell may have set."""
    monkeypatch.delenv("COLUMNS", raising=False)


def states_of(text):
    """The states that a bar went through."""
    return [state for state in text.replace("\n", "\r").split("\r") if "epoch" in state]


@pytest.mark.parametrize("validation", [{}, VALIDATION])
def test_bar_has_the_epochs_the_time_left_and_the_losses(validation, capsys):
    net = make_net(verbose="progress", max_epochs=7).fit(X, Y, **validation)
    captured = capsys.readouterr()
    assert captured.out == ""
    states = states_of(captured.err)
    assert "0/7" in states[0]
    last = states[-1]
    assert re.search(r"100%.* 7/7 \[\d\d:\d\d<00:00, .*epoch", last)
    row = net.history_[-1]
    assert f"train_loss={row['loss']:.3g}" in last
    assert ("valid_loss=" in last) == bool(validation)
    if validation:
        assert f"valid_loss={row['val_loss']:.3g}" in last
    assert captured.err.endswith("\n")


def test_bar_of_a_fit_that_stops_early_ends_where_it_stopped(capsys):
    noise = Targets({"number": RNG.normal(size=N)})
    net = make_net(
        verbose="progress",
        early_stopping=True,
        learning_rate=0.1,
        n_iter_no_change=3,
        max_epochs=200,
    ).fit(X, noise)
    assert net.n_iter_ < 200
    assert f" {net.n_iter_}/200 [" in states_of(capsys.readouterr().err)[-1]


def test_bar_counts_the_epochs_of_auto(capsys):
    net = make_net(verbose="progress", max_epochs="auto", batch_size=40).fit(X, Y)
    assert net.n_iter_ == 200
    assert " 200/200 [" in states_of(capsys.readouterr().err)[-1]


def test_every_fit_has_a_bar_of_its_own(capsys):
    net = make_net(verbose="progress", warm_start=True)
    for _ in range(2):
        net.fit(X, Y)
        states = states_of(capsys.readouterr().err)
        assert "0/5" in states[0]
        assert " 5/5 [" in states[-1]


def test_bar_is_closed_where_training_diverges(capsys):
    net = make_net(verbose="progress", optimizer="sgd", learning_rate=1e6)
    with pytest.raises(DivergenceError, match="diverged"):
        net.fit(X, Y)
    assert capsys.readouterr().err.endswith("\n")


def test_outputs_may_be_called_like_the_callbacks(capsys):
    y = Targets({"progress": X[:, 0], "best_epoch": X[:, 1]})
    net = make_net(verbose="progress", early_stopping=True).fit(X, y)
    assert net.output_names_ == ["progress", "best_epoch"]
    assert "5/5" in capsys.readouterr().err


# Silence.


@pytest.mark.parametrize("verbose", [0, False])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_nothing_is_shown_by_default(method, verbose, capsys):
    net = make_net(verbose=verbose)
    getattr(net, method)(X, Y)
    net.predict(X)
    assert capsys.readouterr() == ("", "")


def test_nothing_is_shown_of_early_stopping_schedules_and_callbacks(capsys):
    score = EpochScoring(lambda *_: 0.25, name="mine")
    make_net(early_stopping=True, learning_rate_schedule="plateau", callbacks=[score]).fit(X, Y)
    assert capsys.readouterr() == ("", "")


def test_what_is_shown_changes_nothing():
    silent = make_net().fit(X, Y)
    for verbose in (1, "progress"):
        shown = make_net(verbose=verbose).fit(X, Y)
        assert shown.predict(X) == silent.predict(X)
        assert shown.history_ == silent.history_


@pytest.mark.parametrize("verbose", ["bar", -1, None])
def test_other_ways_to_show_it_are_refused(verbose):
    with pytest.raises(ValueError, match="'verbose' parameter of MultiOutputNet must be"):
        make_net(verbose=verbose).fit(X, Y)
