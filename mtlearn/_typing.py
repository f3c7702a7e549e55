"""Names for the types that several floors share."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Array",
    "ArrayLike",
    "Floats",
    "InputSpec",
    "LossWeights",
    "Mask",
    "RandomState",
    "SampleWeight",
    "Spec",
]

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
RandomState: TypeAlias = int | np.random.RandomState | None
LossWeights: TypeAlias = Mapping[str, float | Callable[[int], float]] | None
SampleWeight: TypeAlias = ArrayLike | Mapping[str, ArrayLike] | None


class InputSpec(NamedTuple):
    """What is known of an input: the shape of a row, its kind, and the columns of a frame."""

    shape: tuple[int, ...]
    is_integer: bool
    columns: tuple[str, ...] | None


# What is known of X: the number of columns of a table, or each input of several.
Spec: TypeAlias = int | dict[str, InputSpec]
