"""The trunk for streams whose auxiliary features have nodes that drop out with them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._layers import ACTIVATIONS
from mtlearn._sklearn import Interval, StrOptions
from mtlearn.trunks._base import Trunk

__all__ = ["AuxDrop", "base_of", "more_columns", "more_inputs"]


class AuxDrop(Trunk):
    r"""Layers, one of which has nodes that drop out with the features that they belong to.

    The first `n_base` features, those that are always there, are the input of the first layer. The
    others, the auxiliary ones, enter at a layer of their own, the aux layer, beside the layer
    before it. Each auxiliary feature has a node of the aux layer. Where the feature is absent its
    node drops out, and in training others do at random, so that as many drop out in every row: the
    layers behind learn to do without any of them.

    In an `mtlearn.OnlineMultiOutputNet` a new feature gets the next node that has none, and the
    weights of an absent feature do not change.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units): ``hidden_2``, ``hidden_4``,
    ..., the layers counted from the first one, without the first and the aux layer. In other
    estimators, where all features are there, heads attach to one by ``at=``, by default to the
    last; the aux layer then drops out nodes as ordinary dropout does.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(50, 50, 50, 50, 50)
        The number of units of each layer but the aux layer.
    aux_layer : int, default=3
        The position of the aux layer, from 1 on; some layer must come behind it.
    n_units : int, default=100
        The number of units of the aux layer.
    dropout : float, default=0.3
        The share of them that drop out in training, above 0 and below 1. ``n_units * dropout`` must
        be at least the number of auxiliary features.
    n_base : int, default=2
        The number of features that are always there; with 0, the first layer has the constant 1. A
        base feature that is absent all the same is 0.
    heads : {"all", "last"}, default="all"
        Which layers have heads: all but the first and the aux layer, or only the last one.
    drop_in_prediction : bool, default=False
        Whether nodes drop out at random in prediction, too: those that would in the next step. To
        predict a row and then learn it is then the same pass twice, as it was published. A
        prediction then depends on the row's place among those that are predicted together.
    activation : {"elu", "gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="relu"
        The function after each layer.

    See Also
    --------
    mtlearn.trunks.AuxNet : A layer for every feature that comes and goes.
    mtlearn.trunks.Hedge : Layers with heads, whose first one takes all features.

    Notes
    -----
    With M units, the dropout d and a absent auxiliary features in a row, the other nodes drop out
    with the probability

    .. math:: p = \frac{M d - a}{M - a},

    M d in all on average, and those that stay are multiplied by :math:`1 / (1 - d)`. The paper
    draws over all these nodes, its published code not over those of features that are there; this
    follows the paper. In prediction only the nodes of absent features drop out and the others are
    multiplied by :math:`M / (M - a)`, the mean of their factor in training. The paper allows
    :math:`M d > a` only; where both are equal, nothing is left to chance.

    As in the published code, neither the first layer, which sees the base features only, nor the
    aux layer has heads. ``heads="all"`` is what the paper calls Aux-Drop (ODL), ``heads="last"``
    is Aux-Drop (OGD). Weights and biases begin uniform in :math:`\pm 1 / \sqrt{n}` with n inputs,
    as in the published code.

    References
    ----------
    Agarwal et al., "Aux-Drop: Handling Haphazard Inputs in Online Learning Using Auxiliary
    Dropouts", 2023.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import AuxDrop
    >>> module = AuxDrop((8, 8, 4), n_units=10).build(n_features=5).eval()
    >>> present = torch.tensor([[True, True, True, False, False]])
    >>> {name: tuple(made.shape) for name, made in module(torch.ones(1, 5), present).items()}
    {'hidden_2': (1, 8), 'hidden_4': (1, 4)}
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like"],
        "aux_layer": [Interval(Integral, 1, None, closed="left")],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="neither")],
        "n_base": [Interval(Integral, 0, None, closed="left")],
        "heads": [StrOptions({"all", "last"})],
        "drop_in_prediction": ["boolean"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (50, 50, 50, 50, 50),
        *,
        aux_layer: int = 3,
        n_units: int = 100,
        dropout: float = 0.3,
        n_base: int = 2,
        heads: str = "all",
        drop_in_prediction: bool = False,
        activation: str = "relu",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.aux_layer = aux_layer
        self.n_units = n_units
        self.dropout = dropout
        self.n_base = n_base
        self.heads = heads
        self.drop_in_prediction = drop_in_prediction
        self.activation = activation

    def check_params(self) -> None:
        """Raise for a parameter outside its constraints, and if no layer is behind the aux one."""
        super().check_params()
        n_others = len(self.hidden_layer_sizes)
        if self.aux_layer > n_others:
            raise ValueError(
                f"AuxDrop needs a layer behind the aux layer. Got `aux_layer` {self.aux_layer} and "
                f"{n_others} other layers in `hidden_layer_sizes`; use {self.aux_layer} of them or "
                f"more."
            )

    def build(self, n_features: Any) -> nn.Module:
        """Return the layers; shape (n_samples, n_features) to a dict by name.

        Raises
        ------
        ValueError
            If there are more auxiliary features than nodes that drop out.
        """
        if isinstance(n_features, Mapping) or not isinstance(n_features, int):
            raise TypeError(f"`trunk` AuxDrop takes one table. Got rows of the shape {n_features}.")
        sizes = [int(size) for size in self.hidden_layer_sizes]
        sizes.insert(self.aux_layer - 1, int(self.n_units))
        module = AuxDropModule(
            n_features, sizes, self.aux_layer, self.n_base, float(self.dropout), self.activation
        )
        if self.heads == "last":
            module.experts = module.experts[-1:]
        module.drops_in_prediction = bool(self.drop_in_prediction)
        return module


class AuxDropModule(nn.Module):
    """Layers by name, of which one takes the auxiliary features and drops out nodes with them.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units).

    Parameters
    ----------
    n_features : int
        The number of features.
    sizes : sequence of int
        The units of each layer.
    aux_layer : int
        Which layer takes the auxiliary features, from 1 on.
    n_base : int
        How many features the first layer takes.
    dropout : float
        The share of nodes of the aux layer that drop out in training.
    activation : str
        The function after each layer.

    Attributes
    ----------
    experts : list of str
        The names of the layers that have heads.
    default : str
        The last one, for heads that name none.
    drops_in_prediction : bool
        Whether nodes drop out at random in evaluation, too.
    """

    seed: Tensor
    n_draws: Tensor

    def __init__(
        self,
        n_features: int,
        sizes: Sequence[int],
        aux_layer: int,
        n_base: int,
        dropout: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.aux_layer, self.n_base, self.dropout = aux_layer, n_base, dropout
        self.n_units, self.drops_in_prediction = sizes[aux_layer - 1], False
        n_aux = self._n_aux(n_features)
        widths = [max(min(n_base, n_features), 1), *sizes]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        n_others = widths[aux_layer - 1]
        with torch.no_grad():
            for drawn in self.layers[aux_layer - 1].parameters():
                drawn *= (n_others / (n_others + n_aux)) ** 0.5
        self.aux_weight = nn.Parameter(torch.empty(self.n_units, 0))
        self._widen_aux(n_aux)
        self.activation = ACTIVATIONS[activation]()
        places = [i for i in range(2, len(sizes) + 1) if i != aux_layer]
        self.experts = [f"hidden_{i}" for i in places]
        self.default = self.experts[-1]
        # The generator's state lies in the numbers that every copy of the weights has.
        self.register_buffer("seed", torch.randint(2**62, ()))
        self.register_buffer("n_draws", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        x: Tensor,
        present: Tensor | None = None,
        weights: Tensor | None = None,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the layers that have heads by name.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            The features, with some number where one is absent.
        present : Tensor of shape (n_samples, n_features), default=None
            True where a feature is there; None for everywhere.
        weights : Tensor of shape (n_experts,), default=None
            The weights of the experts, which play no part here.
        """
        if present is not None:
            x = torch.where(present, x, 0.0)
        made: dict[str, Tensor] = {}
        state = base_of(x, self.n_base)
        for i, layer in enumerate(self.layers, 1):
            state = layer(state)
            if i == self.aux_layer:
                state = state + x[:, self.n_base :] @ self.aux_weight.T
                state = self.activation(state) * self._factors(x, present)
            else:
                state = self.activation(state)
            made[f"hidden_{i}"] = state
        return {name: made[name] for name in self.experts}

    def _factors(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Return what each node of the aux layer is multiplied by, of shape (n_rows, n_units)."""
        keep = x.new_ones((x.shape[0], self.n_units))
        if present is not None:
            keep[:, : self.aux_weight.shape[1]] = present[:, self.n_base :].to(x)
        n_left = keep.sum(1, keepdim=True)
        if not self.training and not self.drops_in_prediction:
            return keep * (self.n_units / n_left)
        stay = self.n_units * (1 - self.dropout) / n_left
        generator = torch.Generator(x.device).manual_seed(int(self.seed) + int(self.n_draws))
        if self.training:
            self.n_draws += 1
        draws = torch.rand(keep.shape, generator=generator, device=x.device)
        return keep * (draws < stay) / (1 - self.dropout)

    def widen(self, n_features: int) -> None:
        """Take more features, behind those there are.

        Raises
        ------
        ValueError
            If there are then more auxiliary features than nodes that drop out.
        """
        n_aux = self._n_aux(n_features)
        self.layers[0] = more_inputs(self.layers[0], max(min(self.n_base, n_features), 1))
        self._widen_aux(n_aux)

    def _widen_aux(self, n_aux: int) -> None:
        others = self.layers[self.aux_layer - 1]
        assert isinstance(others, nn.Linear)
        bound = (others.in_features + n_aux) ** -0.5
        self.aux_weight = more_columns(self.aux_weight, n_aux, bound)

    def _n_aux(self, n_features: int) -> int:
        """Return the number of auxiliary features, for which there must be nodes that drop out."""
        n_aux = max(n_features - self.n_base, 0)
        n_dropped = self.n_units * self.dropout
        if n_aux > n_dropped + 1e-9:
            raise ValueError(
                f"AuxDrop must drop out as many nodes as there are auxiliary features. Got {n_aux} "
                f"of them (the features behind the first {self.n_base}), and `n_units` "
                f"{self.n_units} times `dropout` {self.dropout:g}, {n_dropped:g} nodes; set "
                f"`n_units` to {ceil(n_aux / self.dropout - 1e-9)} or more."
            )
        return n_aux


def base_of(x: Tensor, n_base: int) -> Tensor:
    """Return the base features of rows, or the constant 1 if there are none."""
    return x[:, :n_base] if n_base else x.new_ones((x.shape[0], 1))


def more_columns(weight: Tensor, n_columns: int, bound: float) -> nn.Parameter:
    """Return weights with more columns: those they had, and others drawn from -bound to bound."""
    new = bound * (2 * torch.rand(len(weight), n_columns - weight.shape[1]) - 1)
    return nn.Parameter(torch.cat([weight.detach(), new.to(weight)], 1))


def more_inputs(layer: nn.Module, n_inputs: int, bound: float | None = None) -> nn.Linear:
    """Return a layer with more inputs, by default drawn as torch draws those of a new one."""
    assert isinstance(layer, nn.Linear)
    wider = nn.Linear(n_inputs, layer.out_features).to(layer.weight)
    wider.weight = more_columns(layer.weight, n_inputs, bound or n_inputs**-0.5)
    wider.bias = layer.bias
    return wider
