"""Gradients of layers by formula: what autograd computes, in fewer and reused tensors."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._aten import ACTIVATION_GRADIENTS, layer_norm, layer_norm_gradient
from mtlearn._engine._data import Batch
from mtlearn._engine._flat import Place, Placed
from mtlearn._layers import Dropout

__all__ = ["Chain", "Formula", "Linear", "has_formula", "split"]

ACTIVATION_OUTPUTS: dict[type[nn.Module], Callable[[Any, Tensor, Tensor | None], Tensor]] = {
    nn.ReLU: lambda _layer, x, out: torch.clamp_min(x, 0, out=out),
    nn.Sigmoid: lambda _layer, x, out: torch.sigmoid(x, out=out),
    nn.Tanh: lambda _layer, x, out: torch.tanh(x, out=out),
}


class Formula(ABC):
    """A layer, forward and backward on batches of one size.

    Tensors have the shape (n_samples, n_units), or (n_models, n_samples, n_units) for models that
    are trained side by side. What `forward` returns is overwritten by the next one.
    """

    @abstractmethod
    def forward(self, x: Any) -> Any:
        """Return the output of the layer, and remember what the gradient needs."""

    @abstractmethod
    def backward(self, d: Any) -> Tensor | None:
        """Write the gradients of the parameters; return that of the input if it is needed."""


class Linear(Formula):
    """An affine map: a Linear layer, or the last layers of several heads as one."""

    def __init__(
        self,
        weight: Placed,
        bias: Placed | None,
        *,
        needs_input_gradient: bool,
        reuses_output: bool = True,
    ) -> None:
        self._weight, self._weight_gradient = weight
        self._bias, self._bias_gradient = bias or (None, None)
        stacked = self._weight.ndim == 3
        self._matmul = torch.bmm if stacked else torch.mm
        self._affine = torch.baddbmm if stacked else torch.addmm
        if stacked and self._bias is not None:
            self._bias = self._bias.unsqueeze(1)
        self._transposed = self._weight.mT
        self._needs_input_gradient = needs_input_gradient
        self._reuses_output = reuses_output
        self._y: Tensor | None = None
        self._d: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self._x = x
        if self._bias is None:
            y = self._matmul(x, self._transposed, out=self._y)
        else:
            y = self._affine(self._bias, x, self._transposed, out=self._y)
        if self._reuses_output:
            self._y = y
        return y

    def backward(self, d: Tensor) -> Tensor | None:
        if self._weight_gradient is not None:
            self._matmul(d.mT, self._x, out=self._weight_gradient)
        if self._bias_gradient is not None:
            torch.sum(d, -2, out=self._bias_gradient)
        if not self._needs_input_gradient:
            return None
        self._d = self._matmul(d, self._weight, out=self._d)
        return self._d


class Activation(Formula):
    """A function of each unit."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._output = ACTIVATION_OUTPUTS.get(type(layer), lambda layer, x, _out: layer(x))
        self._gradient = ACTIVATION_GRADIENTS[type(layer)]
        self._y: Tensor | None = None
        self._d: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self._x = x
        self._y = self._output(self._layer, x, self._y)
        return self._y

    def backward(self, d: Tensor) -> Tensor:
        assert self._y is not None
        if self._d is None:
            self._d = torch.empty_like(self._y)
        return self._gradient(self._layer, d, self._x, self._y, self._d)


class Normalization(Formula):
    """Normalisation over the units of a row, then a scale and a shift of each unit."""

    def __init__(self, layer: nn.LayerNorm, place: Place) -> None:
        self._shape, self._eps = layer.normalized_shape, layer.eps
        self._weight = self._bias = self._weight_gradient = self._bias_gradient = None
        if layer.weight is not None:
            self._weight, self._weight_gradient = place(layer.weight)
        if layer.bias is not None:
            self._bias, self._bias_gradient = place(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        self._x = x
        self._normal, self._mean, self._inverse = layer_norm(x, self._shape, self._eps)
        y = self._normal
        if self._weight is not None:
            y = y * self._weight.unsqueeze(-2)
        return y if self._bias is None else y + self._bias.unsqueeze(-2)

    def backward(self, d: Tensor) -> Tensor:
        if self._weight_gradient is not None:
            torch.sum(d * self._normal, -2, out=self._weight_gradient)
        if self._bias_gradient is not None:
            torch.sum(d, -2, out=self._bias_gradient)
        if self._weight is not None:
            d = d * self._weight.unsqueeze(-2)
        return layer_norm_gradient(d, self._x, self._shape, self._mean, self._inverse)


class Flattened(Formula):
    """A layer on the last axis of what may have more than two: those before it count as rows."""

    def __init__(self, formula: Formula) -> None:
        self._formula = formula

    def forward(self, x: Tensor) -> Tensor:
        self._shape = x.shape[:-1]
        return self._around(self._formula.forward, x)

    def backward(self, d: Tensor) -> Tensor | None:
        return self._around(self._formula.backward, d)

    def _around(self, function: Callable[[Tensor], Any], x: Tensor) -> Any:
        y = function(x.reshape(-1, x.shape[-1]))
        return None if y is None else y.view(*self._shape, y.shape[-1])


class Drop(Formula):
    """Dropout by the generators of the layers: one layer for each model."""

    def __init__(self, layers: Sequence[Dropout]) -> None:
        self._layers = layers

    def forward(self, x: Tensor) -> Tensor:
        first = self._layers[0]
        self._factors = None
        if not first.training or not any(layer.p for layer in self._layers):
            return x
        if len(self._layers) == 1:
            self._factors = first.draw(x)
        else:
            draws = zip(self._layers, x, strict=True)
            self._factors = torch.stack([layer.draw(part) for layer, part in draws])
        return x * self._factors

    def backward(self, d: Tensor) -> Tensor:
        return d if self._factors is None else d * self._factors


class Autograd(Formula):
    """A layer without a formula: any module, by torch's own means."""

    def __init__(self, layer: nn.Module, place: Place, *, needs_input_gradient: bool) -> None:
        self._layer = layer
        self._needs_input_gradient = needs_input_gradient
        self._place = place
        self._learned = [p for p in layer.parameters() if place(p)[1] is not None]

    def forward(self, x: Batch) -> Batch:
        self._inputs = []
        with torch.enable_grad():
            if self._needs_input_gradient:
                assert isinstance(x, Tensor)
                x = x.detach().requires_grad_()
                self._inputs = [x]
            # A layer may work in place, on what others still need.
            x = x.clone() if isinstance(x, Tensor) else {name: t.clone() for name, t in x.items()}
            y = self._layer(x)
        if isinstance(y, Tensor):
            self._y = {"": y}
            return y.detach()
        self._y = dict(y)
        return {name: tensor.detach() for name, tensor in self._y.items()}

    def backward(self, d: Tensor | dict[str, Tensor]) -> Tensor | None:
        by_name = {"": d} if isinstance(d, Tensor) else d
        reached = [name for name in by_name if self._y[name].requires_grad]
        sources = [*self._inputs, *self._learned]
        found: Sequence[Tensor | None] = [None] * len(sources)
        if reached and sources:
            found = torch.autograd.grad(
                [self._y[name] for name in reached],
                sources,
                [by_name[name] for name in reached],
                allow_unused=True,
            )
        for parameter, gradient in zip(self._learned, found[len(self._inputs) :], strict=True):
            self._place.set_gradient(parameter, gradient)
        inputs, self._inputs, self._y = self._inputs, [], {}
        if not inputs:
            return None
        return torch.zeros_like(inputs[0]) if found[0] is None else found[0]


class Chain:
    """The formulas of a module, one after the other.

    Parameters
    ----------
    module : torch.nn.Module
        The module. The layers of a Sequential are taken one by one, unless one is used twice.
    place : Place
        Where the values and gradients of parameters are.
    needs_input_gradient : bool
        Whether the gradient of the input is needed.
    last_is_reused : bool, default=True
        Whether the output may be overwritten by the next batch.
    """

    def __init__(
        self,
        module: nn.Module,
        place: Place,
        *,
        needs_input_gradient: bool,
        last_is_reused: bool = True,
    ) -> None:
        layers = _join_unknown([part for part in split(module) if type(part) is not nn.Identity])
        self._copies = not (last_is_reused or (layers and type(layers[-1]) is nn.Linear))
        self.formulas: list[Formula] = []
        self._learning: list[Formula] = []
        for layer in layers:
            learns = any(place(p)[1] is not None for p in layer.parameters())
            reused = last_is_reused or layer is not layers[-1]
            formula = make_formula(layer, place, needs_input_gradient, reused)
            after_unknown = any(isinstance(before, Autograd) for before in self.formulas)
            if after_unknown and isinstance(formula, Linear | Normalization):
                formula = Flattened(formula)
            self.formulas.append(formula)
            needs_input_gradient |= learns
            if needs_input_gradient:
                self._learning.insert(0, formula)
        self.learns = needs_input_gradient

    def forward(self, x: Any) -> Any:
        """Return the output of the module."""
        for formula in self.formulas:
            x = formula.forward(x)
        return x.clone() if self._copies else x

    def backward(self, d: Any) -> Any:
        """Write the gradients of the parameters; return that of the input if it is needed."""
        for formula in self._learning:
            d = formula.backward(d)
        return d


def has_formula(layer: nn.Module) -> bool:
    """Tell whether the gradient of a layer is known; that of a subclass may differ."""
    if "forward" in vars(layer) or len(getattr(layer, "normalized_shape", "1")) != 1:
        return False
    if type(layer) in ACTIVATION_GRADIENTS:
        return type(layer) is nn.ReLU or not getattr(layer, "inplace", False)
    return type(layer) in (nn.Identity, nn.LayerNorm, nn.Linear, Dropout)


def split(module: nn.Module) -> list[nn.Module]:
    """Return the layers of a module that is a Sequential of different layers, else itself."""
    layers = _flatten(module)
    parameters = [id(p) for layer in layers for p in layer.parameters()]
    apart = len(set(parameters)) == len(parameters) and len(set(map(id, layers))) == len(layers)
    return layers if apart else [module]


def make_formula(
    layer: nn.Module, place: Place, needs_input_gradient: bool, reuses_output: bool
) -> Formula:
    """Return the formula of a layer, or what leaves it to autograd."""
    if not has_formula(layer):
        return Autograd(layer, place, needs_input_gradient=needs_input_gradient)
    if isinstance(layer, nn.Linear):
        return Linear(
            place(layer.weight),
            None if layer.bias is None else place(layer.bias),
            needs_input_gradient=needs_input_gradient,
            reuses_output=reuses_output,
        )
    if isinstance(layer, nn.LayerNorm):
        return Normalization(layer, place)
    return Drop(place.layers(layer)) if isinstance(layer, Dropout) else Activation(layer)


def _join_unknown(layers: Sequence[nn.Module]) -> list[nn.Module]:
    """Return layers with neighbours that have no formula as one: they may pass on anything."""
    joined: list[nn.Module] = []
    for known, run in groupby(layers, has_formula):
        some = list(run)
        joined += some if known or len(some) == 1 else [nn.Sequential(*some)]
    return joined


def _flatten(module: nn.Module) -> list[nn.Module]:
    if type(module) is not nn.Sequential or "forward" in vars(module):
        return [module]
    return [layer for child in module for layer in _flatten(child)]
