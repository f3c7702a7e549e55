"""The effect of auxiliary outputs by weight, as a figure."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from mtlearn import MultiOutputNet
from mtlearn.inspection import AuxiliaryEffect, AuxiliaryEffectDisplay
from mtlearn.trunks import MLP

BASE = np.array([0.5, 0.6, 0.4, 0.55])
NOISE = np.array([0.01, -0.01, 0.02, -0.02])


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def make_effect(**options):
    return AuxiliaryEffect(
        "price",
        {"kind": [0, 0.1, 1], "area": [0, 0.3]},
        {"kind": [BASE, BASE + NOISE, BASE + 0.3 + NOISE], "area": [BASE, BASE - 0.3 + NOISE]},
        0.25,
        **options,
    )


def ticks(display):
    return [text.get_text() for text in display.ax_.get_xticklabels()]


def test_points_and_intervals_are_the_figures_of_the_effect():
    effect = make_effect()
    display = AuxiliaryEffectDisplay.from_effect(effect)
    assert ticks(display) == ["0", "0.1", "0.3", "1"]
    for name, places in (("kind", [0, 1, 3]), ("area", [0, 2])):
        points = np.asarray(display.points_[name].get_offsets())
        np.testing.assert_array_equal(np.round(points[:, 0]), places)
        np.testing.assert_allclose(points[:, 1], effect.means[name])
        lines = np.array(display.intervals_[name].get_segments())
        np.testing.assert_allclose(lines[:, 0, 1], effect.lower[name])
        np.testing.assert_allclose(lines[:, 1, 1], effect.upper[name])
        np.testing.assert_allclose(lines[:, :, 0], points[:, :1].repeat(2, axis=1))
    assert set(display.zero_line_.get_ydata()) == {0}
    legend = [text.get_text() for text in display.legend_.get_texts()]
    assert legend == ["kind: helps", "area: hurts"]
    assert display.ax_.get_ylabel() == "change of the score of price"


def test_points_of_different_outputs_are_beside_each_other():
    display = AuxiliaryEffectDisplay.from_effect(make_effect())
    first, second = (points.get_offsets()[0, 0] for points in display.points_.values())
    assert first < 0 < second
    alone = AuxiliaryEffect("price", {"kind": [0, 1]}, {"kind": [BASE, BASE]}, 0.25)
    points = AuxiliaryEffectDisplay(alone).plot().points_["kind"].get_offsets()
    np.testing.assert_array_equal(points[:, 0], [0, 1])


def test_points_are_filled_where_the_interval_does_not_hold_0():
    display = AuxiliaryEffectDisplay.from_effect(make_effect())
    for name, filled in (("kind", [False, False, True]), ("area", [False, True])):
        ground = display.ax_.get_facecolor()
        faces = display.points_[name].get_facecolors()
        assert [not np.array_equal(face, ground) for face in faces] == filled


def test_the_random_control_is_the_last():
    display = AuxiliaryEffectDisplay.from_effect(make_effect(random_scores={"kind": BASE + 0.1}))
    assert ticks(display)[-1] == "random"
    points = np.asarray(display.points_["kind"].get_offsets())
    assert np.round(points[-1, 0]) == 4
    np.testing.assert_allclose(points[-1, 1], 0.1)
    assert len(display.points_["area"].get_offsets()) == 2


def test_it_finds_the_effect_of_an_estimator():
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = {"price": X[:, 0], "area": X[:, 1]}
    net = MultiOutputNet(MLP((4,)), main_output="price", max_epochs=2)
    figure, ax = plt.subplots()
    display = AuxiliaryEffectDisplay.from_estimator(
        net, X, y, {"area": [0.3]}, cv=2, n_repeats=2, random_state=0, ax=ax
    )
    assert display.effect.scores["area"].shape == (2, 4)
    assert display.ax_ is ax
    assert display.figure_ is figure


def test_without_matplotlib_it_says_what_to_install_before_any_fit(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r'^AuxiliaryEffectDisplay needs matplotlib: pip install "scikit-mtlearn\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        AuxiliaryEffectDisplay.from_estimator(None, None, None, {})
    with pytest.raises(ImportError, match=message):
        AuxiliaryEffectDisplay.from_effect(make_effect())
