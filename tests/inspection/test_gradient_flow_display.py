"""Shares of the update as a table of colours."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.heads import Regression
from mtlearn.inspection import GradientFlowDisplay, gradient_report
from mtlearn.trunks import MLP

X = np.random.default_rng(0).normal(size=(60, 3))
Y = Targets({"price": X[:, 0], "size": X[:, 1], "kind": np.where(X[:, 2] > 0, "a", "b")})
DASH = "\u2013"


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def fit(**params):
    return (
        MultiOutputNet(
            MLP((4, 4)),
            {"size": Regression(at="hidden_1")},
            loss_weights={"kind": 0.2},
            max_epochs=2,
            random_state=0,
        )
        .set_params(**params)
        .fit(X, Y)
    )


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_rows_are_stages_with_parameters_and_columns_are_outputs_and_the_penalty():
    display = GradientFlowDisplay.from_estimator(fit(), X, Y)
    assert labels(display.ax_.yaxis) == ["hidden_1", "hidden_2", "price", "size", "kind"]
    columns = [label.partition("\n") for label in labels(display.ax_.xaxis)]
    assert [name for name, _, _ in columns] == ["price", "size", "kind", "penalty"]
    assert [weight for _, _, weight in columns] == ["weight 1", "weight 1", "weight 0.2", ""]
    assert display.figure_ is display.ax_.figure


def test_cells_show_the_shares_in_percent_and_a_dash_where_an_output_does_not_reach():
    report = gradient_report(fit(), X, Y)
    display = GradientFlowDisplay.from_report(report)
    colours = display.image_.get_array()
    for i, (shares, reaches) in enumerate(zip(report.shares[1:], report.reaches[1:], strict=True)):
        for j, (share, there) in enumerate(zip(shares, reaches, strict=True)):
            text = display.texts_[i, j].get_text()
            if there:
                assert float(text) == pytest.approx(100 * share, abs=0.51)
                assert colours[i, j] == share
            else:
                assert text == DASH
                assert colours.mask[i, j]
        assert colours[i, 3] == report.penalty_shares[i + 1]
    assert display.texts_[1, 1].get_text() == DASH  # `size` is at hidden_1


def test_colours_are_white_at_zero_and_differ_by_sign():
    display = GradientFlowDisplay.from_estimator(fit(), X, Y)
    low, high = display.image_.get_clim()
    assert low == -high <= -1
    below, zero, above = (display.image_.cmap(display.image_.norm(v)) for v in (low, 0.0, high))
    assert min(zero[:3]) > 0.95
    assert below[0] > below[2]  # red
    assert above[2] > above[0]  # blue


def test_a_penalty_of_0_and_a_frozen_stage_have_dashes():
    net = fit(alpha=0, param_groups={"trunk.0": {"lr": 0}})
    display = GradientFlowDisplay.from_estimator(net, X, Y)
    assert {text.get_text() for text in display.texts_[:, 3]} == {DASH}
    assert {text.get_text() for text in display.texts_[0]} == {DASH}


def test_texts_stay_inside_the_figure_and_apart_also_with_long_names():
    y = {f"an_output_with_a_rather_long_name_{i}": X[:, i % 3] + i for i in range(5)}
    net = MultiOutputNet(MLP((4,)), max_epochs=1, random_state=0).fit(X, y)
    display = GradientFlowDisplay.from_estimator(net, X, y)
    display.figure_.canvas.draw()
    ticks = [*display.ax_.get_xticklabels(), *display.ax_.get_yticklabels()]
    boxes = [text.get_window_extent() for text in [*ticks, *display.texts_.ravel()]]
    around = display.figure_.bbox
    assert all(around.x0 <= box.x0 <= box.x1 <= around.x1 for box in boxes)
    shrunk = [box.shrunk(0.98, 0.8) for box in boxes]
    assert not any(one.overlaps(other) for i, one in enumerate(shrunk) for other in shrunk[i + 1 :])


def test_it_draws_into_given_axes():
    report = gradient_report(fit(), X, Y)
    figure, ax = plt.subplots()
    display = GradientFlowDisplay(report).plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.report is report


def test_it_passes_on_how_to_measure():
    net = MultiOutputNetRegressor(MLP((4,)), max_epochs=1, random_state=0)
    net.fit(X, Y["price"], aux=Y[["kind"]])
    given = {"aux": Y[["kind"]], "main_output": "kind", "batch_size": 20, "random_state": 0}
    display = GradientFlowDisplay.from_estimator(net, X, Y["price"], np.ones(60), **given)
    assert display.report.main_output == "kind"
    assert display.report.n_batches == 3


def test_dollars_in_names_are_no_formula():
    y = {"$price$": X[:, 0]}
    net = MultiOutputNet(MLP((4,)), max_epochs=1, random_state=0).fit(X, y)
    display = GradientFlowDisplay.from_estimator(net, X, y)
    display.figure_.canvas.draw()
    assert not any(label.get_parse_math() for label in display.ax_.get_yticklabels())


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r'^GradientFlowDisplay needs matplotlib: pip install "scikit-mtlearn\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        GradientFlowDisplay.from_estimator(fit(), X, Y)
