"""Layers without memory, to see what shapes the parts of a file imply."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mtlearn.exceptions import ModelFileError

__all__ = ["WithoutMemory"]

# Tensors of so many numbers are always real; others until there are so many together.
SMALL, REAL = 64, 2**24

_FACTORIES = {
    torch.arange,
    torch.empty,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.randperm,
    torch.zeros,
}


class WithoutMemory(TorchFunctionMode):
    """Lets large tensors be made without memory, on the device "meta".

    What is computed of them is zeros, since only shapes are of interest. Small tensors are real
    until there are too many: layers draw seeds and count by them, and look at the rows of zeros
    that they are tried out on.

    Parameters
    ----------
    n_tensors : int
        How many tensors the network shall have; parts that make far more are an error.
    """

    def __init__(self, n_tensors: int) -> None:
        super().__init__()
        self.calls_left = 10_000 + 50 * n_tensors
        self.real_left = REAL

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FACTORIES:
            return self._make(func, args, kwargs)
        given = list(_tensors((args, kwargs)))
        are_small = all(tensor.numel() <= SMALL and not tensor.is_meta for tensor in given)
        if are_small or func.__name__ == "__get__":
            return func(*args, **kwargs)
        try:
            planned = func(*_without_memory(args), **_without_memory(kwargs))
        except RuntimeError:  # the lengths of packed sequences are looked at, and stay as they are
            planned = func(
                *_without_memory(args, integers=False), **_without_memory(kwargs, integers=False)
            )
        found = list(_tensors(planned))
        if not found:  # a question, or a change in place
            return func(*args, **kwargs)
        if any(tensor is of_caller for tensor in found for of_caller in given):
            return planned
        if any(tensor.is_meta for tensor in given):
            return self._with_zeros(planned)
        fits = self._may_be_real(sum(tensor.numel() for tensor in found))
        return func(*args, **kwargs) if fits else planned

    def _with_zeros(self, planned: Any) -> Any:
        """Return what was computed with zeros for tensors, where there is room for them."""
        if isinstance(planned, list | tuple):
            return type(planned)(map(self._with_zeros, planned))
        if not isinstance(planned, Tensor) or not self._may_be_real(planned.numel()):
            return planned
        return torch.zeros(planned.shape, dtype=planned.dtype)

    def _make(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise ModelFileError("its parts have far more layers than it has tensors")
        planned = func(*args, **{**kwargs, "device": "meta"})
        return func(*args, **kwargs) if self._may_be_real(planned.numel()) else planned

    def _may_be_real(self, n: int) -> bool:
        if n <= SMALL:
            return True
        fits = n <= self.real_left
        self.real_left -= n if fits else 0
        return fits


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors among the arguments of a function."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _tensors(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)


def _without_memory(value: Any, *, integers: bool = True) -> Any:
    """Return arguments with their tensors on the device without memory; or those of floats."""
    if isinstance(value, Tensor):
        return value.to("meta") if integers or value.is_floating_point() else value
    if isinstance(value, torch.device):
        return torch.device("meta")
    if isinstance(value, dict):
        return {key: _without_memory(entry, integers=integers) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_memory(entry, integers=integers) for entry in value)
    return value
