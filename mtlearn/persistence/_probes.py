"""What parts compute that hold objects of the user's, to tell if they are given others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtlearn._engine._module import zero_rows
from mtlearn._engine._recipe import DTYPES
from mtlearn._random import seeded
from mtlearn._typing import Array
from mtlearn.estimators._state import FittedState
from mtlearn.exceptions import ModelFileError
from mtlearn.heads import Head

__all__ = ["check_probes", "probe_head", "run_on_zeros"]


def run_on_zeros(net: FittedState) -> dict[str | None, Array]:
    """Return what a fitted trunk makes of two rows of zeros, by name; None names a lone tensor."""
    rows = zero_rows(net._spec, DTYPES[net._recipe.dtype], net._recipe.device)
    with seeded(0), torch.no_grad():
        out = net.module_.trunk(rows)
    named = {None: out} if isinstance(out, Tensor) else out
    return {
        name: tensor.cpu().numpy()
        for name, tensor in named.items()
        if name is None or isinstance(name, str)
    }


def probe_head(head: Head) -> Array:
    """Return what a head makes of five raw outputs, which shows what its transformer does."""
    steps = np.linspace(-1.0, 1.0, 5).reshape(5, *[1] * len(head.raw_shape_))
    with np.errstate(all="ignore"):
        found = head.decode(steps * np.ones((5, *head.raw_shape_)))
    return np.nan_to_num(found) if found.dtype.kind == "f" else found


def check_probes(net: FittedState, probes: Mapping[str, Any]) -> None:
    """Raise if the parts with objects of the user's compute something else than when saved."""
    if "trunk" in probes and not _all_close(list(run_on_zeros(net).values()), probes["trunk"]):
        raise ModelFileError("the trunk given computes something else than the saved one")
    for name, probe in probes["heads"].items():
        if not _all_close([probe_head(net.heads_[name])], [probe]):
            raise ModelFileError(
                f"the objects given for the head {name!r} compute something else than the saved "
                f"ones"
            )


def _all_close(found: list[Array], expected: list[Array]) -> bool:
    return len(found) == len(expected) and all(
        a.shape == b.shape
        and (np.allclose(a, b, rtol=1e-3, atol=1e-6) if a.dtype.kind == "f" else (a == b).all())
        for a, b in zip(found, expected, strict=True)
    )
