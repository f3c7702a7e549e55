"""The trunk for streams: layers of which each has heads of its own."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._layers import ACTIVATIONS
from mtlearn._sklearn import StrOptions
from mtlearn.trunks._base import Trunk

__all__ = ["Hedge", "widened"]

FIRST_GAIN = 1.4


class Hedge(Trunk):
    r"""Layers of which each has heads, whose predictions are mixed by how well each has done.

    An `mtlearn.OnlineMultiOutputNet` gives every output a head at each depth, an expert, and mixes
    them by a `mtlearn.weighting.MultiplicativeWeights`: on a stream the shallow ones learn in a
    few rows, the deep ones with more, and nobody has to choose the depth. All are trained by one
    backward pass.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units): ``masked`` and ``linear``,
    the features themselves, and ``hidden_1``, ``hidden_2``, ..., the layers. In other estimators
    heads attach to one by ``at=``, by default to the last.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(100, 50)
        The number of units of each layer.
    activation : {"elu", "gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="relu"
        The function after each layer.
    linear : bool, default=True
        Whether the features themselves have heads: linear models.
    masked : bool, default=True
        Whether there are linear models too that see which features are absent beside the features.
        It is these that learn where the absence itself tells something.

    See Also
    --------
    mtlearn.trunks.AuxDrop : Nodes that drop out with the features that they belong to.
    mtlearn.trunks.AuxNet : A layer for every feature that comes and goes.

    Notes
    -----
    With a weight :math:`a_l` for expert l, the gradient of :math:`\sum_l a_l L_l`, the weights held
    fixed, is what Sahoo et al. compute by a backward pass for each of the L layers, of
    :math:`O(L^2)` in all; one pass over the sum gives the same in O(L). Their network has no
    ``masked`` expert. Weights begin as :math:`N(0, 2 / n)` with n inputs, those of the first layer
    1.4 times as large.

    References
    ----------
    Sahoo et al., "Online Deep Learning: Learning Deep Neural Networks on the Fly", 2018; He et al.,
    "Delving Deep into Rectifiers", 2015 (the first weights).

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import Hedge
    >>> module = Hedge((8, 4)).build(n_features=3)
    >>> {name: tuple(made.shape) for name, made in module(torch.zeros(2, 3)).items()}
    {'masked': (2, 6), 'linear': (2, 3), 'hidden_1': (2, 8), 'hidden_2': (2, 4)}
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "linear": ["boolean"],
        "masked": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100, 50),
        *,
        activation: str = "relu",
        linear: bool = True,
        masked: bool = True,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.linear = linear
        self.masked = masked

    def check_params(self) -> None:
        """Raise for a parameter outside its constraints, and for no expert at all."""
        super().check_params()
        if not (self.linear or self.masked or len(self.hidden_layer_sizes)):
            raise ValueError("Hedge needs an expert. Got no hidden layer, and neither linear one.")

    def build(self, n_features: Any) -> nn.Module:
        """Return the layers; shape (n_samples, n_features) to a dict by name."""
        if isinstance(n_features, Mapping) or not isinstance(n_features, int):
            raise TypeError(f"`trunk` Hedge takes one table. Got rows of the shape {n_features}.")
        sizes = [int(size) for size in self.hidden_layer_sizes]
        inputs = [name for name in ("masked", "linear") if getattr(self, name)]
        return HedgeModule(n_features, sizes, self.activation, inputs)


class HedgeModule(nn.Module):
    """Layers, and the features before them, by name.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units).

    Parameters
    ----------
    n_features : int
        The number of features.
    sizes : sequence of int
        The units of each layer.
    activation : str
        The function after each layer.
    inputs : sequence of str
        Which forms of the features have heads.

    Attributes
    ----------
    experts : list of str
        The names.
    default : str
        The last one, for heads that name none.
    """

    def __init__(
        self, n_features: int, sizes: Sequence[int], activation: str, inputs: Sequence[str]
    ) -> None:
        super().__init__()
        self.inputs = list(inputs)
        widths = [n_features, *sizes]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        for i, layer in enumerate(self.layers):
            draw_(layer, gain=1.0 if i else FIRST_GAIN)
        self.activation = ACTIVATIONS[activation]()
        hidden = [f"hidden_{i}" for i in range(1, len(sizes) + 1)]
        self.experts = [*self.inputs, *hidden]
        self.default = self.experts[-1]

    def forward(
        self,
        x: Tensor,
        present: Tensor | None = None,
        weights: Tensor | None = None,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the features and the layers by name.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            The features, with some number where one is absent.
        present : Tensor of shape (n_samples, n_features), default=None
            True where a feature is there; None for everywhere.
        weights : Tensor of shape (n_experts,), default=None
            The weights of the experts, which play no part here.
        """
        made: dict[str, Tensor] = {}
        if "masked" in self.inputs:
            absent = torch.zeros_like(x) if present is None else (~present).to(x)
            made["masked"] = torch.stack([x, absent], -1).flatten(1)
        if "linear" in self.inputs:
            made["linear"] = x
        for i, layer in enumerate(self.layers, 1):
            x = self.activation(layer(x))
            made[f"hidden_{i}"] = x
        return made

    def widen(self, n_features: int) -> None:
        """Take more features, behind those there are."""
        if len(self.layers):
            self.layers[0] = widened(self.layers[0], n_features, FIRST_GAIN)


def draw_(layer: nn.Module, gain: float = 1.0) -> None:
    """Draw the first weights of a layer for rectified units."""
    assert isinstance(layer, nn.Linear)
    nn.init.normal_(layer.weight, 0.0, gain * sqrt(2.0 / max(layer.in_features, 1)))
    nn.init.zeros_(layer.bias)


def widened(layer: nn.Module, n_inputs: int, gain: float = 1.0) -> nn.Linear:
    """Return a layer with more inputs: those it had with their weights, the others drawn."""
    assert isinstance(layer, nn.Linear)
    wider = nn.Linear(n_inputs, layer.out_features).to(layer.weight)
    draw_(wider, gain)
    with torch.no_grad():
        wider.weight[:, : layer.in_features] = layer.weight
        wider.bias.copy_(layer.bias)
    return wider
