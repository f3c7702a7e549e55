"""An optimizer of all parameters as one tensor, whose moments can be kept by name."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mtlearn._engine._flat import FlatParameters
from mtlearn._typing import Array

__all__ = ["FlatOptimizer", "Moments"]

# What an optimizer remembers of each parameter: arrays of its shape; under "" of all: numbers.
Moments: TypeAlias = dict[str, dict[str, Array]]


class FlatOptimizer:
    """An optimizer whose step is one call for all parameters.

    Parameters
    ----------
    parameters : mapping of str to torch.nn.Parameter
        What is to be trained; from then on views of one tensor.
    make : callable
        Makes the optimizer from parameters.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    ) -> None:
        self.parameters = dict(parameters)
        self.flat = FlatParameters(list(parameters.values()), alpha=0.0)
        self.whole = nn.Parameter(self.flat.values)
        self.whole.grad = self.flat.gradients
        self.optimizer = make([self.whole])

    def joined(self, names: list[str]) -> tuple[Array, Tensor]:
        """Return the values, and the gradients, of parameters that lie beside each other as one.

        They are joined along the first axis; changes of the arrays are those of the parameters.
        """
        values, gradients = self.flat(*[self.parameters[name] for name in names])
        assert gradients is not None
        return values.numpy(), gradients

    def reset_gradients(self) -> None:
        """Set all gradients to 0."""
        self.flat.gradients.zero_()

    def step(self) -> None:
        """Make a step by the gradients there are."""
        self.optimizer.step()

    def moments(self) -> Moments:
        """Return what the optimizer remembers, as arrays."""
        state = self.optimizer.state[self.whole]
        found: Moments = {"": {}}
        for key, value in state.items():
            if value is None:
                continue
            value = torch.as_tensor(value)
            if value.shape != self.whole.shape:
                found[""][key] = value.numpy().copy()
                continue
            for name, part in self._parts(value).items():
                found.setdefault(name, {})[key] = part.numpy().copy()
        return found

    def load_moments(self, moments: Moments) -> None:
        """Set what the optimizer remembers; of parameters that have grown, of the part that was.

        NaN stands for what is new, too.
        """
        state = self.optimizer.state[self.whole]
        for key, value in moments[""].items():
            state[key] = torch.tensor(value)
        keys = {key for name, of_one in moments.items() if name for key in of_one}
        for key in sorted(keys):
            state.setdefault(key, torch.zeros_like(self.flat.values))
            for name, part in self._parts(state[key]).items():
                before = moments.get(name, {}).get(key)
                if before is not None and before.ndim == part.ndim:
                    kept = part[tuple(slice(n) for n in before.shape)]
                    values = torch.tensor(before)
                    kept.copy_(torch.where(values.isnan(), kept, values))

    def _parts(self, values: Tensor) -> dict[str, Tensor]:
        """Return the part of each parameter of a tensor of the shape of all."""
        found = {}
        for name, parameter in self.parameters.items():
            start = (parameter.data_ptr() - self.flat.values.data_ptr()) // values.element_size()
            found[name] = values[start : start + parameter.numel()].view(parameter.shape)
        return found
