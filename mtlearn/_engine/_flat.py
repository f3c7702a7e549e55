"""The parameters that learn, and their gradients, as one tensor each."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["FlatParameters", "Place", "Placed"]

# The values of a parameter, and where its gradient goes; None where it learns nothing.
Placed: TypeAlias = tuple[Tensor, Tensor | None]


class Place(Protocol):
    """Where the values and gradients of the parameters of one model or several are."""

    def __call__(self, *parameters: Tensor) -> Placed:
        """Return the place of a parameter, or of several as one, joined along their first axis."""
        ...

    def layers(self, layer: nn.Module) -> Sequence[Any]:
        """Return the layer of each model that corresponds to one of the first."""
        ...

    def set_gradient(self, parameter: nn.Parameter, gradient: Tensor | None) -> None:
        """Set the gradient of the loss; None if the loss does not depend on the parameter."""
        ...


class FlatParameters:
    """The parameters of a network side by side: those with the L2 penalty, then the others.

    From then on the parameters, and their ``grad``, are views of two flat tensors.

    Parameters
    ----------
    parameters : sequence of torch.nn.Parameter
        Those that learn, of one type and device, in the order in which they shall lie.
    alpha : float
        The penalty on the squared values of weights: parameters of two or more axes.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], alpha: float) -> None:
        weights = [p for p in parameters if p.ndim >= 2]
        ordered = [*weights, *(p for p in parameters if p.ndim < 2)]
        self.alpha = alpha
        self.values = torch.cat([p.detach().flatten() for p in ordered])
        self.gradients = torch.zeros_like(self.values)
        n_weights = sum(p.numel() for p in weights)
        self._weights, self._weight_gradients = self.values[:n_weights], self.gradients[:n_weights]
        self._zero = self.values.new_zeros(())
        self._places: dict[Tensor, tuple[int, Tensor, Tensor]] = {}
        start = 0
        for parameter in ordered:
            value, gradient = self._views(start, tuple(parameter.shape))
            self._places[parameter] = start, value, gradient
            parameter.data, parameter.grad = value, gradient
            start += parameter.numel()

    def __call__(self, *parameters: Tensor) -> Placed:
        """Return the place of a parameter, or of several as one, joined along their first axis."""
        first = parameters[0]
        if first not in self._places:
            return first.detach(), None
        start, value, gradient = self._places[first]
        if len(parameters) == 1:
            return value, gradient
        return self._views(start, (sum(len(p) for p in parameters), *first.shape[1:]))

    def layers(self, layer: nn.Module) -> Sequence[nn.Module]:
        """Return the layer: there is one model."""
        return [layer]

    def is_intact(self) -> bool:
        """Tell whether the parameters and their gradients are still views of these tensors."""
        return all(
            parameter.requires_grad
            and parameter.data_ptr() == value.data_ptr()
            and parameter.grad is gradient
            for parameter, (_, value, gradient) in self._places.items()
        )

    def mask(self, parameters: Collection[Tensor]) -> Tensor:
        """Return a tensor of the shape of all values: 1 where they are of these, else 0."""
        found = torch.zeros_like(self.values)
        for parameter, (start, value, _) in self._places.items():
            if parameter in parameters:
                found[start : start + value.numel()] = 1
        return found

    def reset_gradients(self) -> None:
        """Make every ``grad`` a view again: one may be None, or replaced by somebody else's."""
        for parameter, (_, _, gradient) in self._places.items():
            parameter.grad = gradient

    def set_gradient(self, parameter: nn.Parameter, gradient: Tensor | None) -> None:
        """Set the gradient of the loss; None if the loss does not depend on the parameter."""
        place = self._places[parameter][2]
        unused = gradient is None and not (self.alpha and parameter.ndim >= 2)
        parameter.grad = None if unused else place
        if gradient is None:
            place.zero_()
        else:
            place.copy_(gradient)

    def add_penalty(self) -> Tensor:
        """Add the gradient of the penalty to that of the loss; return the penalty."""
        if not self.alpha:
            return self._zero
        self._weight_gradients.add_(self._weights, alpha=2 * self.alpha)
        return torch.dot(self._weights, self._weights)

    def _views(self, start: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        end = start + torch.Size(shape).numel()
        return self.values[start:end].view(shape), self.gradients[start:end].view(shape)
