import pytest
import torch
from torch import nn

from mtlearn._engine._joined_taps import JoinedTaps
from mtlearn._layers import NamedLayers

BOTH = ("high", "low")


class Plain(nn.Module):
    """A user's module, which cannot be asked for some tensors only."""

    def forward(self, x):
        return {"low": x + 1, "high": 2 * x}


def named():
    return NamedLayers([nn.Linear(3, 3), nn.Linear(3, 2)], {"low": 1, "high": 2})


@pytest.mark.parametrize("trunk", [Plain, named])
def test_tensors_come_side_by_side_in_the_order_asked_for(trunk):
    inner, x = trunk(), torch.rand(4, 3)
    found, single = JoinedTaps(inner, [BOTH, ("low", "low")])(x), inner(x)
    assert set(found) == {"low", "high", BOTH, ("low", "low")}
    assert torch.equal(found[BOTH], torch.cat([single["high"], single["low"]], 1))
    assert torch.equal(found["low", "low"], torch.cat([single["low"], single["low"]], 1))


@pytest.mark.parametrize("trunk", [Plain, named])
def test_what_is_not_asked_for_is_not_joined(trunk):
    found = JoinedTaps(trunk(), [BOTH, ("low", "low")])(torch.rand(4, 3), {BOTH})
    assert BOTH in found
    assert ("low", "low") not in found


def test_without_others_nothing_is_computed_that_none_needs():
    trunk = named()
    joined = JoinedTaps(trunk, [BOTH])
    assert joined.default == "high"
    assert joined.without_others({BOTH, "low"}).joined == [BOTH]
    alone = joined.without_others({"low"})
    assert isinstance(alone, NamedLayers)
    assert list(alone) == [trunk[0]]
    plain = Plain()
    assert JoinedTaps(plain, [BOTH]).without_others({"low"}) is plain
