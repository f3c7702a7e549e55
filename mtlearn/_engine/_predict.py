"""The forward pass on rows of numpy."""

from collections.abc import Mapping

import numpy as np
import torch

from mtlearn._engine._module import MultiOutputModule
from mtlearn._typing import Array
from mtlearn.heads import Head

__all__ = ["raw_outputs"]

ROWS_AT_ONCE = 2**15


def raw_outputs(
    module: MultiOutputModule, heads: Mapping[str, Head], X: Array, dtype: torch.dtype
) -> dict[str, Array]:
    r"""Return the raw values of every output; the best constant's where no head was built.

    Parameters
    ----------
    module : MultiOutputModule
        The network, in evaluation mode.
    heads : mapping of str to Head
        The fitted heads of all outputs.
    X : ndarray of shape (n_samples, n_features)
        The rows.
    dtype : torch.dtype
        The floating point type of the network.

    Returns
    -------
    dict of str to ndarray of shape (n_samples, \*raw_shape)
        The raw values, in the network's type.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    parts: dict[str, list[Array]] = {name: [] for name in module.names}
    with torch.inference_mode():
        for start in range(0, len(X) if module.names else 0, ROWS_AT_ONCE):
            rows = torch.tensor(X[start : start + ROWS_AT_ONCE], dtype=dtype, device=device)
            for name, raw in module(rows).items():
                parts[name].append(raw.cpu().numpy())
    raw = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    for name, head in heads.items():
        if name not in raw:
            constant = np.asarray(head.constant_raw_)
            raw[name] = np.broadcast_to(constant, (len(X), *constant.shape)).copy()
    return raw
