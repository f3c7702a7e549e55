"""The forward pass on rows of numpy."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from mtlearn._engine._data import Batch, as_batch
from mtlearn._engine._module import MultiOutputModule
from mtlearn._typing import Array
from mtlearn.heads import Head
from mtlearn.inputs import Inputs

__all__ = ["embeddings", "raw_outputs"]

ROWS_AT_ONCE = 2**15


def raw_outputs(
    module: MultiOutputModule, heads: Mapping[str, Head], X: Array | Inputs, dtype: torch.dtype
) -> dict[str, Array]:
    r"""Return the raw values of outputs; the best constant's where no head was built.

    Parameters
    ----------
    module : MultiOutputModule
        The network, in evaluation mode.
    heads : mapping of str to Head
        The fitted heads of the outputs.
    X : ndarray of shape (n_samples, n_features) or Inputs
        The rows.
    dtype : torch.dtype
        The floating point type of the network.

    Returns
    -------
    dict of str to ndarray of shape (n_samples, \*raw_shape)
        The raw values, in the network's type.
    """
    raw: dict[str, Array] = {}
    if any(name in heads for name in module.names):
        raw = _in_chunks(lambda rows: module(rows, heads), module, X, dtype)
    for name, head in heads.items():
        if name not in raw:
            constant = np.asarray(head.constant_raw_)
            raw[name] = np.broadcast_to(constant, (len(X), *constant.shape)).copy()
    return raw


def embeddings(
    module: MultiOutputModule, X: Array | Inputs, dtype: torch.dtype, at: str | None = None
) -> Array:
    """Return a tensor of the trunk for all rows, of shape (n_samples, n_units)."""
    return _in_chunks(lambda rows: {"": module.embed(rows, at)}, module, X, dtype)[""]


def _in_chunks(
    function: Callable[[Batch], Mapping[str, Tensor]],
    module: MultiOutputModule,
    X: Array | Inputs,
    dtype: torch.dtype,
) -> dict[str, Array]:
    """Apply a function to some rows at a time, to half as many where memory does not suffice."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    parts: list[dict[str, Array]] = []
    start, n_rows = 0, min(len(X), ROWS_AT_ONCE)
    with torch.inference_mode():
        while start < len(X):
            try:
                rows = as_batch(X[start : start + n_rows], dtype, device)
                parts.append({name: out.cpu().numpy() for name, out in function(rows).items()})
            except (MemoryError, RuntimeError) as error:
                if n_rows == 1 or not _is_out_of_memory(error):
                    raise
                n_rows //= 2
                continue
            start += n_rows
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "allocate memory" in str(error)  # the CPU's allocator raises a plain RuntimeError
