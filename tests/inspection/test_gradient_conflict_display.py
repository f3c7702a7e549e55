"""Cosines of gradients, by stage and over epochs."""

import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, Targets
from mtlearn.estimators._drawing import colours_of
from mtlearn.heads import Regression
from mtlearn.inspection import (
    ArchitectureDisplay,
    GradientConflictDisplay,
    GradientMonitor,
    gradient_report,
)
from mtlearn.trunks import MLP

X = np.random.default_rng(0).normal(size=(60, 3))
Y = Targets({"price": X[:, 0], "size": X[:, 1], "kind": np.where(X[:, 2] > 0, "a", "b")})


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "agg"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="GradientMonitor")
        yield
        plt.close("all")


def make_net(**params):
    return MultiOutputNet(
        MLP((4, 4)), {"size": Regression(at="hidden_1")}, max_epochs=3, random_state=0
    ).set_params(**params)


def test_bars_are_the_cosines_of_the_stages_that_are_shared():
    report = gradient_report(make_net().fit(X, Y), X, Y)
    display = GradientConflictDisplay.from_report(report)
    assert display.places == ["hidden_1", "hidden_2"]
    assert display.main_output == "price"
    assert list(display.artists_) == ["size", "kind"]
    for name, k in (("size", 1), ("kind", 2)):
        widths = [bar.get_width() for bar in display.artists_[name]]
        np.testing.assert_array_equal(widths, report.cosines[1:3, k])
    assert np.isnan(display.artists_["size"][1].get_width())  # it is at hidden_1
    shown = {text.get_text() for text in display.ax_.texts}
    assert f"{report.cosines[1, 2]:.2f}" in shown


def test_from_an_estimator_it_is_the_same():
    net = make_net().fit(X, Y)
    given = {"main_output": "kind", "batch_size": 20, "random_state": 0}
    display = GradientConflictDisplay.from_estimator(net, X, Y, **given)
    report = gradient_report(net, X, Y, **given)
    assert display.main_output == "kind"
    np.testing.assert_array_equal(display.cosines["price"], report.cosines[1:3, 0])


def test_stages_go_down_and_outputs_have_the_colours_of_the_architecture():
    net = make_net().fit(X, Y)
    display = GradientConflictDisplay.from_estimator(net, X, Y)
    low, high = display.ax_.get_ylim()
    assert low > high
    colours = colours_of(ArchitectureDisplay.from_estimator(net).stages)
    for name, bars in display.artists_.items():
        assert all(same_color(bar.get_facecolor(), colours[name]) for bar in bars)
    assert [text.get_text() for text in display.legend_.get_texts()] == ["size", "kind"]
    assert display.ax_.get_xlabel() == "cosine of the gradient with that of price"


def test_lines_are_what_a_monitor_recorded():
    net = make_pipeline(
        StandardScaler(), make_net(callbacks=[GradientMonitor(every=2)], max_epochs=5)
    ).fit(X, Y)
    display = GradientConflictDisplay.from_history(net)
    assert display.places == [1, 3, 5]
    assert display.main_output == "price"
    history = net[-1].history_
    for name in ("size", "kind"):
        recorded = [history[epoch][f"gradient__cosine__{name}"] for epoch in (0, 2, 4)]
        np.testing.assert_array_equal(display.artists_[name].get_ydata(), recorded)
        np.testing.assert_array_equal(display.artists_[name].get_xdata(), [1, 3, 5])
    assert display.ax_.get_xlabel() == "epoch"


def test_it_draws_into_given_axes():
    figure, ax = plt.subplots()
    display = GradientConflictDisplay({"aux": [0.5, -0.2]}, ["one", "two"], "main").plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert [bar.get_width() for bar in display.artists_["aux"]] == [0.5, -0.2]


def test_many_stages_and_outputs_stay_on_a_page():
    cosines = {f"y{i}": np.linspace(-1, 1, 20) for i in range(8)}
    stages = [f"stage_{i}" for i in range(20)]
    display = GradientConflictDisplay(cosines, stages, "main").plot()
    assert display.figure_.get_figheight() < 10
    assert len(display.legend_.get_texts()) == 8


@pytest.mark.parametrize("places", [["one", "two"], [1, 2]], ids=["stages", "epochs"])
def test_letters_stay_inside_the_figure(places):
    cosines = {"a_long_name_of_an_output": [-1, 1], "another": [1, -1]}
    display = GradientConflictDisplay(cosines, places, "a_main_output").plot()
    display.figure_.canvas.draw()
    texts = [display.ax_.xaxis.label, display.ax_.yaxis.label, *display.legend_.get_texts()]
    around = display.figure_.bbox
    for text in [text for text in [*texts, *display.ax_.texts] if text.get_text()]:
        box = text.get_window_extent()
        assert around.x0 <= box.x0 <= box.x1 <= around.x1
        assert around.y0 <= box.y0 <= box.y1 <= around.y1


def test_it_needs_outputs_that_share_a_stage():
    y = Y[["price"]]
    net = make_net(heads=None).fit(X, y)
    with pytest.raises(ValueError, match="some output must share a stage with the main one"):
        GradientConflictDisplay.from_estimator(net, X, y)
    with pytest.raises(ValueError, match=r"callbacks=\[GradientMonitor\(\)\]"):
        GradientConflictDisplay.from_history(net)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r'^GradientConflictDisplay needs matplotlib: pip install "scikit-mtlearn\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        GradientConflictDisplay.from_estimator(make_net().fit(X, Y), X, Y)
