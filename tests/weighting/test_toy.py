"""The problem with two objectives of Liu et al. (2021) and Navon et al. (2022), in plain numpy."""

import functools
from math import cosh, log, tanh

import numpy as np
import pytest

from mtlearn.weighting import MGDA, NashMTL, PCGrad

STARTS = [(-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0)]
AS_PUBLISHED = (35_000, 0.001)  # the number of Adam's steps, and their size
SHORTER = (7_000, 0.01)


def objective(x1, x2, sign, shift):
    """The value and the slopes of the first (sign -1, shift 0) or second objective (1 and 2)."""
    inner = 0.5 * (-x1 + (3 if shift else -7)) - sign * tanh(x2) + shift
    inside = abs(inner) > 5e-6
    high = log(abs(inner) if inside else 5e-6) + 6
    d_high = (-0.5 / inner, -sign / cosh(x2) ** 2 / inner) if inside else (0, 0)
    low = ((x1 + sign * 7) ** 2 + 0.1 * (x2 + 8) ** 2) / 10 - 20
    d_low = ((x1 + sign * 7) / 5, 0.02 * (x2 + 8))
    of_high, of_low = max(tanh(x2 / 2), 0), max(tanh(-x2 / 2), 0)
    right = (x2 > 0) + 0.5 * (x2 == 0)  # half of each at 0, as torch has it
    change = 0.5 / cosh(x2 / 2) ** 2 * (right * high - (1 - right) * low)
    slopes = [of_high * up + of_low * down for up, down in zip(d_high, d_low, strict=True)]
    return of_high * high + of_low * low, (slopes[0], slopes[1] + change)


def both(x, scale):
    values, slopes = zip(objective(*x.tolist(), -1, 0), objective(*x.tolist(), 1, 2), strict=True)
    return np.array(values) * [scale, 1], np.array(slopes) * [[scale], [1]]


@functools.cache
def end_points(strategy, scale, n_steps, rate):
    """Where Adam comes to from each start."""
    found = []
    for start in STARTS:
        weigher = strategy().begin(np.ones(2), main=None, seed=0)
        x, first, second = np.array(start), np.zeros(2), np.zeros(2)
        for step in range(1, n_steps + 1):
            losses, gradients = both(x, scale)
            slope = weigher.factors(losses, gradients @ gradients.T) @ gradients
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
            x = x - rate * first / (1 - 0.9**step) / root
        found.append(x)
    return np.array(found)


def is_on_front(points):
    return (np.abs(points[:, 0]) < 7.1) & (np.abs(points[:, 1] + 8.3) < 0.4)


def test_the_gradients_are_those_of_the_objectives():
    rng = np.random.default_rng(0)
    for x in rng.uniform(-9, 9, (50, 2)):
        _, gradients = both(x, 0.3)
        steps = 1e-6 * np.eye(2)
        differences = [(both(x + d, 0.3)[0] - both(x - d, 0.3)[0]) / 2e-6 for d in steps]
        np.testing.assert_allclose(gradients.T, differences, rtol=1e-4, atol=1e-6)


steps = pytest.mark.parametrize(
    "steps", [SHORTER, pytest.param(AS_PUBLISHED, marks=pytest.mark.slow)]
)


@steps
@pytest.mark.parametrize("scale", [1.0, 0.1])
@pytest.mark.parametrize("strategy", [MGDA, NashMTL])
def test_the_front_is_reached_from_every_start(strategy, scale, steps):
    assert is_on_front(end_points(strategy, scale, *steps)).all()


@steps
def test_the_scale_of_an_objective_moves_the_end_points_of_mgda_and_hardly_those_of_nash(steps):
    moved = {
        strategy: np.abs(end_points(strategy, 1.0, *steps) - end_points(strategy, 0.1, *steps))
        for strategy in (MGDA, NashMTL)
    }
    assert moved[NashMTL][:, 0].max() < 0.5
    assert moved[MGDA][:, 0].max() > 1


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "n_reached"), [(1.0, 3), (0.1, 4)])
def test_projecting_conflicts_away_stalls_from_some_starts_as_published(scale, n_reached):
    assert is_on_front(end_points(PCGrad, scale, *AS_PUBLISHED)).sum() == n_reached
