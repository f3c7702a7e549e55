"""Names for the types that several floors share."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "ArrayLike", "Floats", "Mask", "RandomState", "SampleWeight"]

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
RandomState: TypeAlias = int | np.random.RandomState | None
SampleWeight: TypeAlias = ArrayLike | Mapping[str, ArrayLike] | None
