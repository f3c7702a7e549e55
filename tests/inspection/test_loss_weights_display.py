"""The weights of losses by epoch and their shares in the total, as a figure."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.exceptions import NotFittedError

from mtlearn import MultiOutputNet
from mtlearn.inspection import LossWeightsDisplay
from mtlearn.trunks import MLP
from mtlearn.weighting import Linear

X = np.random.default_rng(0).normal(size=(60, 3))
Y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def make_net(**params):
    return MultiOutputNet(MLP((4,)), max_epochs=3, random_state=0).set_params(**params)


def test_lines_are_the_weights_of_each_epoch():
    net = make_net(loss_weights={"kind": Linear(0.4, 0.0, 2), "price": 2.0}).fit(X, Y)
    display = LossWeightsDisplay.from_estimator(net)
    np.testing.assert_allclose(display.lines_["kind"].get_ydata(), [0.4, 0.2, 0.0])
    np.testing.assert_allclose(display.lines_["price"].get_ydata(), [2.0, 2.0, 2.0])
    low, high = display.axes_[0].get_ylim()
    assert low < 0
    assert high > 2


def test_shares_are_the_parts_of_the_total_loss():
    net = make_net(loss_weights={"kind": 0.3}, alpha=0.01).fit(X, Y)
    display = LossWeightsDisplay.from_history(net.history_)
    for i, row in enumerate(net.history_):
        assert display.shares["kind"][i] == pytest.approx(0.3 * row["kind_loss"] / row["loss"])
        assert display.shares["price"][i] == pytest.approx(row["price_loss"] / row["loss"])
        assert display.penalty_share[i] == pytest.approx(row["penalty"] / row["loss"])


def test_areas_lie_on_each_other_up_to_one():
    net = make_net(loss_weights={"kind": 0.3}).fit(X, Y)
    display = LossWeightsDisplay.from_estimator(net)
    areas = [*display.areas_.values(), display.penalty_area_]
    bottom = 0.0
    for area, share in zip(areas, [*display.shares.values(), display.penalty_share], strict=True):
        heights = area.get_paths()[0].vertices[:, 1]
        assert heights.max() <= 1 + 1e-12
        at_first = area.get_paths()[0].vertices[area.get_paths()[0].vertices[:, 0] == 0.5, 1]
        assert at_first.min() == pytest.approx(bottom)
        assert at_first.max() == pytest.approx(bottom + share[0])
        bottom += share[0]
    assert bottom == pytest.approx(1)


def test_the_penalty_is_shown_where_there_is_one():
    texts = []
    for alpha in (0.0, 0.1):
        display = LossWeightsDisplay.from_estimator(make_net(alpha=alpha).fit(X, Y))
        texts.append([text.get_text() for text in display.legend_.get_texts()])
    assert texts == [["kind", "price"], ["penalty", "kind", "price"]]


def test_losses_below_0_have_the_share_of_their_size_and_missing_ones_none():
    history = [
        {"a_loss": -1.0, "a_weight": 1.0, "b_loss": 1.5, "b_weight": 2.0, "penalty": 0.0},
        {"a_weight": 1.0, "b_loss": 1.0, "b_weight": 2.0, "penalty": 0.0},
        {"a_loss": 0.0, "a_weight": 1.0, "b_loss": 0.0, "b_weight": 2.0, "penalty": 0.0},
    ]
    display = LossWeightsDisplay.from_history(history)
    np.testing.assert_allclose(display.shares["a"], [0.25, 0, 0])
    np.testing.assert_allclose(display.shares["b"], [0.75, 1, 0])


def test_an_output_may_have_the_name_of_the_penalty():
    y = {"penalty": X[:, 0], "kind": Y["kind"]}
    display = LossWeightsDisplay.from_estimator(make_net(alpha=0.1).fit(X, y))
    assert list(display.shares) == ["penalty", "kind"]
    total = sum(display.shares.values()) + display.penalty_share
    np.testing.assert_allclose(total, 1)


def test_lines_of_the_same_weights_do_not_hide_each_other():
    y = {**Y, "area": X[:, 2]}
    display = LossWeightsDisplay.from_estimator(make_net(loss_weights={"area": 0.5}).fit(X, y))
    assert display.lines_["area"].get_linestyle() == "-"
    assert {display.lines_[name].get_linestyle() for name in ("price", "kind")} == {"--"}
    display.figure_.canvas.draw()
    pixels = np.asarray(display.figure_.canvas.buffer_rgba())[:, :, :3].reshape(-1, 3)
    for line in display.lines_.values():
        colour = np.round(255 * np.array(mpl.colors.to_rgb(line.get_color())))
        assert np.any(np.all(pixels == colour, axis=1))


def test_it_draws_in_the_place_of_given_axes_or_into_a_pair():
    net = make_net().fit(X, Y)
    figure, ax = plt.subplots()
    display = LossWeightsDisplay.from_estimator(net, ax=ax)
    assert display.figure_ is figure
    assert display.axes_ == ax.child_axes
    pair = plt.subplots(1, 2)[1]
    assert LossWeightsDisplay.from_estimator(net, ax=pair).axes_ == list(pair)
    assert display.plot() is display
    with pytest.raises(ValueError, match=r"^LossWeightsDisplay: .* or a pair of them. Got 3 axes"):
        display.plot(plt.subplots(1, 3)[1])


def test_a_single_epoch_is_seen():
    display = LossWeightsDisplay.from_estimator(make_net(max_epochs=1).fit(X, Y))
    assert {line.get_marker() for line in display.lines_.values()} == {"o"}
    assert display.axes_[1].get_xlim() == (0.5, 1.5)


def test_bad_input_is_named(monkeypatch):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        LossWeightsDisplay.from_estimator(make_net())
    with pytest.raises(ValueError, match=r"^LossWeightsDisplay: the history must have an epoch"):
        LossWeightsDisplay.from_history([])
    net = make_net().fit(X, Y)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r'^LossWeightsDisplay needs matplotlib: pip install "scikit-mtlearn\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        LossWeightsDisplay.from_estimator(net)
