"""A network as a figure of matplotlib."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.estimators._architecture import Stage
from mtlearn.estimators._drawing import colours_of
from mtlearn.inspection import ArchitectureDisplay
from mtlearn.trunks import MLP

X = np.random.default_rng(0).normal(size=(40, 3))
Y = Targets({"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")})


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def make_net(**params):
    return MultiOutputNet(MLP((4, 4)), max_epochs=1, random_state=0).set_params(**params)


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


def test_it_draws_every_stage_in_a_figure_of_the_right_size():
    display = ArchitectureDisplay.from_estimator(make_net().fit(X, Y))
    assert [stage.name for stage in display.stages] == ["X", "hidden_1", "hidden_2", *Y]
    assert {"X", "hidden_1", "Linear(3, 4), ReLU", "(4,)", "kind", "Classification()"} <= {
        *texts(display)
    }
    assert display.figure_ is display.ax_.figure
    display.figure_.canvas.draw()
    for text in display.ax_.texts:
        box, around = text.get_window_extent(), display.figure_.bbox
        assert around.x0 <= box.x0 <= box.x1 <= around.x1
        assert around.y0 <= box.y0 <= box.y1 <= around.y1


def test_texts_do_not_overlap_also_with_many_outputs_and_long_names():
    y = {f"an_output_with_a_rather_long_name_{i}": X[:, i % 3] + i for i in range(8)}
    display = ArchitectureDisplay.from_estimator(make_net().fit(X, y))
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent().shrunk(0.98, 0.8) for text in display.ax_.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])


def test_outputs_and_the_stages_that_they_train_have_their_colours():
    net = make_net(param_groups={"trunk.0": {"lr": 0}}).fit(X, Y)
    display = ArchitectureDisplay.from_estimator(net)
    for name, colour in colours_of(display.stages).items():
        same = [p for p in display.ax_.patches if same_color(p.get_facecolor()[:3], colour)]
        assert len(same) == 2, name  # its box, and a bar under hidden_2
    dashed = [p for p in display.ax_.patches if p.get_linestyle() == "--" and p.get_linewidth()]
    assert len(dashed) == 1


def test_it_draws_into_given_axes_with_letters_that_fit_them():
    display = ArchitectureDisplay.from_estimator(make_net().fit(X, Y))
    large = display.ax_.texts[0].get_fontsize()
    figure, axes = plt.subplots(1, 2)
    again = display.plot(axes[1])
    assert again is display
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert not axes[0].texts
    assert display.ax_.texts[0].get_fontsize() < large


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: make_pipeline(StandardScaler(), net),
        lambda net: GridSearchCV(net, {"alpha": [0.0, 0.1]}, cv=2),
        lambda net: GridSearchCV(make_pipeline(StandardScaler(), net), {}, cv=2),
    ],
    ids=["pipeline", "search", "search over a pipeline"],
)
def test_it_takes_what_ends_in_an_estimator(wrap):
    display = ArchitectureDisplay.from_estimator(wrap(make_net()).fit(X, Y))
    assert [stage.name for stage in display.stages] == ["X", "hidden_1", "hidden_2", *Y]


def test_it_takes_the_estimators_of_arrays():
    net = MultiOutputNetRegressor(MLP((4,)), max_epochs=1, random_state=0).fit(X, X[:, 0])
    assert ArchitectureDisplay.from_estimator(net).stages[-1].name == "y"


def test_letters_are_those_of_the_style():
    net = make_net().fit(X, Y)
    with plt.style.context("dark_background"):
        display = ArchitectureDisplay.from_estimator(net)
        assert same_color(display.ax_.texts[0].get_color(), "white")


def test_dollars_in_names_are_no_formula():
    display = ArchitectureDisplay.from_estimator(make_net().fit(X, {"$price$": X[:, 0]}))
    display.figure_.canvas.draw()
    assert "$price$" in texts(display)
    assert not any(text.get_parse_math() for text in display.ax_.texts)


@pytest.mark.parametrize(
    "estimator",
    [
        make_net(),
        make_pipeline(StandardScaler(), make_net()),
        GridSearchCV(make_net(), {"alpha": [0.0]}),
    ],
    ids=["net", "pipeline", "search"],
)
def test_it_needs_a_fit(estimator):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        ArchitectureDisplay.from_estimator(estimator)


def test_it_takes_no_other_estimator():
    with pytest.raises(TypeError, match="ArchitectureDisplay: `estimator` must be a fitted"):
        ArchitectureDisplay.from_estimator(LinearRegression().fit(X, X[:, 0]))


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r'^ArchitectureDisplay needs matplotlib: pip install "scikit-mtlearn\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        ArchitectureDisplay.from_estimator(make_net().fit(X, Y))


def test_a_network_that_is_too_large_is_refused():
    first = Stage("X", "float64", (), (3,), 0, (), "input")
    outputs = [Stage(f"y{i}", "Regression()", ("X",), (), 4, (), "output") for i in range(2000)]
    with pytest.raises(ValueError, match=r"^ArchitectureDisplay: a network to be drawn must have"):
        ArchitectureDisplay([first, *outputs]).plot()
