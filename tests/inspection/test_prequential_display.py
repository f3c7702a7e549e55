"""The errors on a stream, its availability and the weights of experts as a figure."""

import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.linear_model import SGDClassifier

from mtlearn.datasets import withhold_features
from mtlearn.inspection import PrequentialDisplay
from mtlearn.model_selection import prequential

ROWS = np.array([10, 20, 30])
WEIGHTS = np.array([[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]])


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def make_result(**changes):
    parts = {
        "rows": ROWS,
        "cumulative_error": {"kind": np.array([0.5, 0.4, 0.3]), "price": np.array([3.0, 2.0, 1.0])},
        "windowed_error": {
            "kind": np.array([0.5, 0.3, 0.1]),
            "price": np.array([3.0, np.nan, 0.0]),
        },
        "error_names": {"kind": "error rate", "price": "mean absolute error"},
        "availability": np.array([0.5, 0.6, 1.0]),
        "expert_names": ["linear", "layer_1", "layer_2"],
        "expert_weights": {"kind": WEIGHTS, "price": WEIGHTS[:, ::-1]},
        "window": 10,
    }
    return SimpleNamespace(**{**parts, **changes})


def labels_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_lines_are_the_errors_of_each_output():
    result = make_result()
    display = PrequentialDisplay.from_result(result)
    for name in ("kind", "price"):
        for lines, errors in (
            (display.cumulative_lines_, result.cumulative_error),
            (display.windowed_lines_, result.windowed_error),
        ):
            assert np.array_equal(lines[name].get_xdata(), ROWS)
            assert np.array_equal(lines[name].get_ydata(), errors[name], equal_nan=True)
    assert np.array_equal(display.availability_line_.get_ydata(), result.availability)
    assert [ax.get_ylabel() for ax in display.axes_] == [
        "kind\nerror rate",
        "price\nmean absolute error",
        "features there",
        "kind\nweights",
        "price\nweights",
    ]
    assert labels_of(display.axes_[0]) == ["last 10 rows", "all rows so far"]


def test_areas_are_the_weights_on_each_other():
    display = PrequentialDisplay.from_result(make_result())
    below = np.zeros(3)
    for area, weights in zip(display.expert_areas_["kind"], WEIGHTS.T, strict=True):
        corners = area.get_paths()[0].vertices
        for row, low, height in zip(ROWS, below, weights, strict=True):
            edges = corners[corners[:, 0] == row, 1]
            assert edges.min() == pytest.approx(low)
            assert edges.max() == pytest.approx(low + height)
        below = below + weights
    assert labels_of(display.axes_[3]) == ["layer_2", "layer_1", "linear"]


def test_only_what_is_there_has_a_panel():
    bare = make_result(expert_weights={}, expert_names=[])
    assert len(PrequentialDisplay.from_result(bare).axes_) == 3
    display = PrequentialDisplay(ROWS, {"y": [1, 2, 3]}, {"y": [3, 2, 1]}).plot()
    assert len(display.axes_) == 1
    assert display.availability_line_ is None
    assert labels_of(display.axes_[0]) == ["window", "all rows so far"]
    assert display.axes_[0].get_xlabel() == "rows"


def test_some_outputs_can_be_chosen():
    display = PrequentialDisplay.from_result(make_result(), outputs=["price"])
    assert list(display.cumulative_lines_) == ["price"]
    assert list(display.expert_areas_) == ["price"]
    message = "^PrequentialDisplay: `outputs` names the unknown output 'pric'.*did you mean 'price'"
    with pytest.raises(ValueError, match=message):
        PrequentialDisplay.from_result(make_result(), outputs=["pric"])


def test_experts_without_names_are_numbered():
    display = PrequentialDisplay.from_result(make_result(expert_names=["linear"]))
    assert labels_of(display.axes_[3]) == ["expert 2", "expert 1", "linear"]


def test_it_draws_in_the_place_of_given_axes_or_into_a_sequence():
    figure, ax = plt.subplots()
    display = PrequentialDisplay.from_result(make_result(), ax=ax)
    assert display.figure_ is figure
    assert display.axes_ == ax.child_axes
    tops = [panel.get_position().y1 for panel in display.axes_]
    assert tops == sorted(tops, reverse=True)
    panels = plt.subplots(5, 1)[1]
    assert PrequentialDisplay.from_result(make_result(), ax=panels).axes_ == list(panels)
    assert display.plot() is display
    with pytest.raises(ValueError, match=r"^PrequentialDisplay: .* each of 5 panels. Got 2 axes"):
        display.plot(plt.subplots(1, 2)[1])


def test_a_single_record_is_seen():
    display = PrequentialDisplay([10], {"y": [0.5]}, {"y": [0.5]}).plot()
    assert display.cumulative_lines_["y"].get_marker() == "o"


def test_it_draws_what_prequential_finds():
    X = np.random.default_rng(0).normal(size=(60, 3))
    X_there = np.nan_to_num(withhold_features(X, random_state=0))
    result = prequential(SGDClassifier(random_state=0), X_there, X[:, 0] > 0, window=20)
    display = PrequentialDisplay.from_result(result)
    errors = display.cumulative_lines_["y"].get_ydata()
    assert errors[-1] == pytest.approx(1 - result.metrics["y"]["accuracy"])
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("args", "params", "message"),
    [
        (([], {"y": []}, {"y": []}), {}, r"must have an output and a record. .* \(0,\)"),
        ((ROWS, {}, {}), {}, r"must have an output and a record. Got the outputs \[\]"),
        ((ROWS, {"y": ROWS}, {"z": ROWS}), {}, r"must have the same outputs. Got \['y'\] and"),
        ((ROWS, {"y": [1, 2]}, {"y": ROWS}), {}, r"each of 3 rows. Got the shapes \[\(2,\)\]"),
        ((ROWS, {"y": ROWS}, {"y": ROWS}), {"availability": [1]}, r"shapes \[\(1,\)\]"),
        ((ROWS, {"y": ROWS}, {"y": ROWS}), {"expert_weights": {"y": [1, 2, 3]}}, r"\[\(3,\)\]"),
    ],
)
def test_bad_curves_are_refused(args, params, message):
    with pytest.raises(ValueError, match=f"^PrequentialDisplay: .*{message}"):
        PrequentialDisplay(*args, **params)


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r'^PrequentialDisplay needs matplotlib: pip install "scikit-mtlearn\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        PrequentialDisplay.from_result(make_result())
