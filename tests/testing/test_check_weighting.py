"""The checks of weightings pass for ours, and find what is wrong in others."""

import numpy as np
import pytest

import mtlearn.weighting
from mtlearn.testing import check_weighting
from mtlearn.weighting import Linear, Weigher, Weighting
from mtlearn.weighting._find import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_weighting_of_ours_passes(name):
    check_weighting(NAMES[name]())


def test_every_public_weighting_has_a_name():
    public = {getattr(mtlearn.weighting, name) for name in mtlearn.weighting.__all__}
    weightings = {cls for cls in public if issubclass(cls, Weighting)} - {Weighting}
    assert weightings == set(NAMES.values())


class Plain(Weighting):
    weigher = Weigher

    def begin(self, weights, main, seed):
        return self.weigher(len(weights))


def made_of(function):
    """Return a weighting whose factors are a function of the losses."""

    class Its(Weigher):
        def factors(self, losses, products):
            return function(losses)

    return type("Mine", (Plain,), {"weigher": Its})()


def test_a_weighting_of_ones_passes():
    check_weighting(Plain())


class Converts(Plain):
    def __init__(self, scale=1):
        self.scale = float(scale)


class Remembers(Plain):
    def begin(self, weights, main, seed):
        self.n_fits = getattr(self, "n_fits", 0) + 1
        weigher = super().begin(weights, main, seed)
        weigher.factors = None
        return weigher


class Draw(Weigher):
    def factors(self, losses, products):
        return np.random.default_rng().uniform(size=self.n_outputs)


class Draws(Plain):
    weigher = Draw


class Counts(Weigher):
    steps = 0  # of all trainings

    def factors(self, losses, products):
        Counts.steps += 1
        return np.full(self.n_outputs, 1 + Counts.steps)


class CountsAll(Plain):
    weigher = Counts


@pytest.mark.parametrize(
    ("weighting", "check", "match"),
    [
        (Converts(), "check_init_only_stores", "`__init__` must store its arguments as they are"),
        (made_of(lambda _: np.ones(2)), "check_factors", r"Got \[1.0, 1.0\]"),
        (made_of(lambda losses: -losses), "check_factors", "finite and at least 0"),
        (
            made_of(lambda losses: np.where(losses > 0, 1, np.nan)),
            "check_missing_outputs",
            "let a loss of 0 be no divisor",
        ),
        (
            made_of(lambda losses: np.arange(1.0, 1 + len(losses))),
            "check_order_of_outputs",
            "not to positions",
        ),
        (Draws(), "check_order_of_outputs", "must come from the seed"),
        (CountsAll(), "check_order_of_outputs", "must come from the seed"),
        (Remembers(), "check_factors", "no other errors must be raised meanwhile"),
    ],
)
def test_a_fault_is_found_and_named(weighting, check, match):
    with pytest.raises(AssertionError, match=f"fails {check}: .*{match}"):
        check_weighting(weighting)


def test_what_is_no_weighting_is_refused():
    with pytest.raises(TypeError, match=r"must be a Weighting\. Got Linear"):
        check_weighting(Linear(1.0))
