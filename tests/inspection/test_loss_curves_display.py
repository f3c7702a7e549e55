"""The losses of each output by epoch, as a figure."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.inspection import ArchitectureDisplay, LossCurvesDisplay
from mtlearn.trunks import MLP

X = np.random.default_rng(0).normal(size=(60, 3))
Y = Targets({"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")})


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def make_net(**params):
    return MultiOutputNet(MLP((4,)), max_epochs=3, random_state=0).set_params(**params)


def legend(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def test_lines_are_the_losses_of_the_history():
    net = make_net(early_stopping=True).fit(X, Y)
    display = LossCurvesDisplay.from_estimator(net)
    columns = ["price_loss", "val_price_loss", "kind_loss", "val_kind_loss"]
    assert list(display.lines_) == columns
    for column, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), [row[column] for row in net.history_])
        assert line.get_linestyle() == ("--" if column.startswith("val_") else "-")
    assert legend(display)[:4] == ["price", "kind", "training rows", "held-out rows"]
    assert display.figure_ is display.ax_.figure


def test_the_best_epoch_is_marked():
    net = make_net(early_stopping=True, learning_rate=0.5, max_epochs=12).fit(X, Y)
    assert net.best_epoch_ < net.n_iter_
    display = LossCurvesDisplay.from_estimator(net)
    assert set(display.best_line_.get_xdata()) == {net.best_epoch_}
    assert legend(display)[-1] == f"best epoch, {net.best_epoch_}"


def test_a_history_alone_has_no_best_epoch_unless_it_is_given():
    history = make_net().fit(X, Y).history_
    display = LossCurvesDisplay.from_history(history)
    assert display.best_line_ is None
    assert list(display.lines_) == ["price_loss", "kind_loss"]
    assert legend(display) == ["price", "kind"]
    marked = LossCurvesDisplay.from_history(history, best_epoch=2)
    assert set(marked.best_line_.get_xdata()) == {2}


def test_some_outputs_are_shown_in_the_colours_that_they_have_among_all():
    net = make_net().fit(X, Y)
    every = LossCurvesDisplay.from_estimator(net)
    some = LossCurvesDisplay.from_estimator(net, names=["kind"])
    assert list(some.lines_) == ["kind_loss"]
    colour = some.lines_["kind_loss"].get_color()
    assert colour == every.lines_["kind_loss"].get_color()
    assert colour != every.lines_["price_loss"].get_color()
    faces = [
        patch.get_facecolor()[:3] for patch in ArchitectureDisplay.from_estimator(net).ax_.patches
    ]
    assert mpl.colors.to_rgb(colour) in faces


def test_a_column_of_a_callback_is_no_output_and_an_epoch_may_lack_a_loss():
    history = [
        {"loss": 1.0, "a_loss": 1.0, "a_weight": 1.0, "penalty": 0.0, "extra_loss": 3.0},
        {"loss": 1.0, "a_weight": 1.0, "penalty": 0.0, "body_weight": 70.0},
    ]
    display = LossCurvesDisplay.from_history(history)
    assert display.names == ["a"]
    np.testing.assert_array_equal(display.lines_["a_loss"].get_ydata(), [1.0, np.nan])


def test_a_single_epoch_is_seen():
    display = LossCurvesDisplay.from_estimator(make_net(max_epochs=1).fit(X, Y))
    assert {line.get_marker() for line in display.lines_.values()} == {"o"}


def test_it_draws_into_given_axes_and_again():
    figure, ax = plt.subplots()
    display = LossCurvesDisplay.from_estimator(make_net().fit(X, Y), ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.plot() is display
    assert display.ax_ is not ax


def test_names_are_shown_as_they_are():
    y = {"$a$": X[:, 0], "_hidden": X[:, 1]}
    display = LossCurvesDisplay.from_estimator(make_net().fit(X, y))
    display.figure_.canvas.draw()
    assert legend(display)[:2] == [r"\$a\$", " _hidden"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: make_pipeline(StandardScaler(), net),
        lambda net: GridSearchCV(net, {"alpha": [0.0, 0.1]}, cv=2),
        lambda net: net.set_params(n_members=2),
    ],
    ids=["pipeline", "search", "members"],
)
def test_it_takes_what_ends_in_an_estimator(wrap):
    display = LossCurvesDisplay.from_estimator(wrap(make_net()).fit(X, Y))
    assert display.names == ["price", "kind"]


def test_it_takes_the_estimators_of_arrays():
    net = MultiOutputNetRegressor(MLP((4,)), max_epochs=2, random_state=0).fit(X, X[:, 0])
    assert LossCurvesDisplay.from_estimator(net).names == ["y"]


def test_bad_input_is_named():
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        LossCurvesDisplay.from_estimator(make_net())
    with pytest.raises(TypeError, match=r"^LossCurvesDisplay: `estimator` must be a fitted"):
        LossCurvesDisplay.from_estimator(LinearRegression().fit(X, X[:, 0]))
    for history in ([], [{"loss": 1.0}]):
        with pytest.raises(ValueError, match=r"^LossCurvesDisplay: the history must have an epoch"):
            LossCurvesDisplay(history)
    history = make_net().fit(X, Y).history_
    with pytest.raises(ValueError, match="`names` names the unknown output 'cost'"):
        LossCurvesDisplay(history, names=["cost"])


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r'^LossCurvesDisplay needs matplotlib: pip install "scikit-mtlearn\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        LossCurvesDisplay.from_estimator(make_net().fit(X, Y))
