"""What a file cannot hold, and the user gives again when it is loaded."""

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

__all__ = ["describe", "has_infinite", "name_of"]

# Attributes of a fitted estimator that hold what a parameter does, and the parameter's name.
_OF_PARAMETERS = {
    "heads_": "heads",
    "_given_heads": "heads",
    "trunk_": "trunk",
    "schedules": "loss_weights",
}
_LONGEST = 4000


def name_of(path: Sequence[str]) -> str:
    """Return the name of an object at a path of attributes and keys, as `set_params` has it.

    What belongs to several members, or to a fitted part and the parameter it was made from, has
    the same name.
    """
    steps = [step for step in path if step not in ("members_", "_recipe")]
    if steps[:2] == ["network_", "outputs"]:  # of a stream: its outputs' heads
        steps = ["heads", steps[2], *steps[5:]]
    elif steps[:1] == ["network_"]:  # its recipe and its trunk
        steps = [step for step in steps[1:] if step != "recipe"]
    if steps[:1] and steps[0] in _OF_PARAMETERS:
        steps[0] = _OF_PARAMETERS[steps[0]]
    return "__".join(steps)


def describe(value: Any) -> str:
    """Return what an object is, the same in any process: to tell it from another later."""
    if isinstance(value, type) or (hasattr(value, "__qualname__") and callable(value)):
        text = value.__qualname__
    elif isinstance(value, nn.Module) or hasattr(value, "get_params"):
        text = repr(value)
    else:
        text = f"{type(value).__qualname__}: {value!r}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)[:_LONGEST]


def has_infinite(encoded: Any) -> bool:
    """Tell whether something encoded has a number that is not finite."""
    if isinstance(encoded, dict):
        return "$float" in encoded or any(map(has_infinite, encoded.values()))
    return isinstance(encoded, list) and any(map(has_infinite, encoded))
