import numpy as np
import pytest

from mtlearn.weighting import (
    DWA,
    FAMO,
    MGDA,
    GradCosine,
    LogSum,
    MultiplicativeWeights,
    NashMTL,
    PCGrad,
    RandomWeights,
    Uncertainty,
)
from mtlearn.weighting._find import find_weighting


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uncertainty", Uncertainty),
        ("log", LogSum),
        ("dwa", DWA),
        ("random", RandomWeights),
        ("famo", FAMO),
        ("hedge", MultiplicativeWeights),
        ("gradcosine", GradCosine),
        ("pcgrad", PCGrad),
        ("mgda", MGDA),
        ("nash", NashMTL),
    ],
)
def test_a_name_stands_for_a_strategy_with_its_defaults(name, expected):
    found = find_weighting(name)
    assert type(found) is expected
    assert found.get_params() == expected().get_params()


def test_none_and_a_strategy_are_what_they_are():
    strategy = DWA(temperature=3.0)
    assert find_weighting(strategy) is strategy
    assert find_weighting(None) is None


@pytest.mark.parametrize(
    ("name", "nearest"), [("uncertanty", "uncertainty"), ("pcgrd", "pcgrad"), ("rlw", None)]
)
def test_an_unknown_name_has_the_nearest_spelling(name, nearest):
    message = rf"^`weighting` names the unknown weighting '{name}'; the weightings are \['dwa', "
    message += rf".*did you mean '{nearest}'\?" if nearest else r"[^(]*\.$"
    with pytest.raises(ValueError, match=message):
        find_weighting(name)


def test_a_class_is_no_strategy():
    message = r"^`weighting` must be an instance, not the class FAMO; write FAMO\(\.\.\.\)"
    with pytest.raises(ValueError, match=message):
        find_weighting(FAMO)


def test_its_parameters_are_checked():
    with pytest.raises(ValueError, match=r"'temperature' parameter of DWA must be .* Got 0"):
        find_weighting(DWA(temperature=0))


@pytest.mark.parametrize("value", [3, {"aux": 0.1}, np.ones(2), len])
def test_anything_else_is_no_strategy(value):
    with pytest.raises(TypeError, match=r"^`weighting` must be None, one of \['dwa', .* Got "):
        find_weighting(value)
