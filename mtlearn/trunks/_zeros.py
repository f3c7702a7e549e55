"""What a module makes of a row, tried out on zeros."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["row_shape"]


def row_shape(
    module: nn.Module, shapes: Sequence[tuple[int, ...]], *, differs: bool = False
) -> tuple[int, ...]:
    """Return the shape of what a module makes of a row.

    Parameters
    ----------
    module : torch.nn.Module
        The module; in evaluation mode meanwhile.
    shapes : sequence of tuple of int
        The shape of a row of each tensor that it takes.
    differs : bool, default=False
        Whether it makes a dict of tensors of one shape, one per output.

    Returns
    -------
    tuple of int
        The shape.

    Raises
    ------
    ValueError
        If it fails on zeros, or does not make one tensor with a row for each.
    """
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    dtype = next(floats, torch.get_default_dtype())
    training = module.training
    module.eval()
    with torch.no_grad():
        try:
            out = module(*(torch.zeros(2, *shape, dtype=dtype) for shape in shapes))
        except (RuntimeError, IndexError) as error:
            raise ValueError(
                f"it failed on two rows of zeros of the shapes {list(shapes)}. "
                f"{type(error).__name__}: {error}"
            ) from error
    module.train(training)
    out = next(iter(out.values())) if differs else out
    if not isinstance(out, Tensor) or out.shape[:1] != (2,):
        found = f"{tuple(out.shape)} for 2 rows" if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"it must return one tensor, a row for each. Got {found}; "
            f"wrap it in a module that does."
        )
    return tuple(out.shape[1:])
