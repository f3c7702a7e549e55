"""The trunk for streams in which every auxiliary feature has a layer of its own."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._layers import ACTIVATIONS
from mtlearn._sklearn import Interval, StrOptions
from mtlearn.trunks._aux_drop import base_of, more_columns, more_inputs
from mtlearn.trunks._base import Trunk

__all__ = ["AuxNet"]


class AuxNet(Trunk):
    r"""A layer for every feature that comes and goes, between layers that all rows go through.

    The first `n_base` features, those that are always there, go through layers one after the other
    and a middle one. Each of the others, the auxiliary ones, has a layer of its own, which plays no
    part where the feature is absent. The end layers, the first of which takes the middle layer and
    those of all auxiliary features side by side, come behind. Each layer has heads.

    In an `mtlearn.OnlineMultiOutputNet` the heads are experts, which are mixed by how well each has
    done, those of absent features left out. A new feature gets a layer with heads. There are
    ``n_units ** 2`` weights for every auxiliary feature: `mtlearn.trunks.AuxDrop` needs fewer.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units): ``base_1``, ``base_2``, ...,
    ``middle``, ``end_1``, ``end_2``, ..., and for the auxiliary feature in column j ``xj``, such as
    ``x2``. In other estimators, where all features are there, heads attach to one by ``at=``, by
    default to the last end layer.

    Parameters
    ----------
    n_base : int, default=2
        The number of features that are always there; with 0, the first layer has the constant 1. A
        base feature that is absent all the same is 0.
    base_layers : int, default=5
        The number of layers of the base features, before the middle one.
    end_layers : int, default=5
        The number of layers at the end.
    n_units : int, default=50
        The number of units of each layer.
    activation : {"elu", "gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="relu"
        The function after each layer.

    See Also
    --------
    mtlearn.trunks.AuxDrop : Nodes that drop out with the features that they belong to.
    mtlearn.trunks.Hedge : Layers with heads, whose first one takes all features.

    Notes
    -----
    With :math:`h_0` the middle layer, :math:`h_j` that of auxiliary feature j, P the positions that
    are there in a row (0 is in all), and :math:`\alpha_j` the weights of these experts, the first
    end layer is

    .. math:: e_1 = \sigma\Big(b + \sum_{j \in P} \frac{\alpha_j}{\sum_{k \in P} \alpha_k} W_j h_j
        \Big), \qquad h_j = \sigma(v_j x_j + c_j).

    No gradient goes through the weights, which are equal where nothing mixes heads. With several
    outputs they are the mean over the outputs. The published code trains the sum of the losses of
    all experts, each taken of a softmax of its weighted probabilities, by AdamW; here, as in the
    paper, losses are those of the experts, weighted outside.

    Weights and biases begin uniform in :math:`\pm 1 / \sqrt{n}` with n inputs, as in the published
    code; in the first end layer, n counts the units of one position only, since what multiplies the
    positions adds up to 1.

    References
    ----------
    Agarwal et al., "Auxiliary Network: Scalable and Agile Online Learning for Dynamic System with
    Inconsistently Available Inputs", 2022.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import AuxNet
    >>> module = AuxNet(base_layers=1, end_layers=2, n_units=8).build(n_features=4)
    >>> list(module(torch.zeros(1, 4)))
    ['base_1', 'middle', 'end_1', 'end_2', 'x2', 'x3']
    >>> module.experts_present(torch.tensor([[True, True, False, True]]))
    tensor([[ True,  True,  True,  True, False,  True]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_base": [Interval(Integral, 0, None, closed="left")],
        "base_layers": [Interval(Integral, 1, None, closed="left")],
        "end_layers": [Interval(Integral, 1, None, closed="left")],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        n_base: int = 2,
        *,
        base_layers: int = 5,
        end_layers: int = 5,
        n_units: int = 50,
        activation: str = "relu",
    ) -> None:
        self.n_base = n_base
        self.base_layers = base_layers
        self.end_layers = end_layers
        self.n_units = n_units
        self.activation = activation

    def build(self, n_features: Any) -> nn.Module:
        """Return the layers; shape (n_samples, n_features) to a dict by name."""
        if isinstance(n_features, Mapping) or not isinstance(n_features, int):
            raise TypeError(f"`trunk` AuxNet takes one table. Got rows of the shape {n_features}.")
        return AuxNetModule(
            n_features,
            self.n_base,
            self.base_layers,
            self.end_layers,
            self.n_units,
            self.activation,
        )


class AuxNetModule(nn.Module):
    """Layers by name: those of the base features, of each auxiliary one, and of all.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units).

    Parameters
    ----------
    n_features : int
        The number of features.
    n_base : int
        How many of them the first layer takes.
    base_layers, end_layers : int
        The number of layers of the base features, without the middle one, and at the end.
    n_units : int
        The number of units of each layer.
    activation : str
        The function after each layer.

    Attributes
    ----------
    experts : list of str
        The names, those of the auxiliary features last.
    default : str
        The last end layer, for heads that name none.
    sees_weights : bool
        That `forward` makes use of the experts' weights.
    """

    sees_weights = True

    def __init__(
        self,
        n_features: int,
        n_base: int,
        base_layers: int,
        end_layers: int,
        n_units: int,
        activation: str,
    ) -> None:
        super().__init__()
        self.n_base, self.n_units, self.n_aux = n_base, n_units, 0
        n_inputs = max(min(n_base, n_features), 1)
        widths = [n_inputs] + base_layers * [n_units]
        self.base = nn.ModuleList(nn.Linear(width, n_units) for width in widths[:-1])
        self.middle = nn.Linear(n_units, n_units)
        self.end = nn.ModuleList(nn.Linear(n_units, n_units) for _ in range(end_layers))
        # One column for each unit of a layer of one feature after the other.
        self.aux_weight = nn.Parameter(torch.empty(1, 0))
        self.aux_bias = nn.Parameter(torch.empty(1, 0))
        self.activation = ACTIVATIONS[activation]()
        base = [f"base_{i}" for i in range(1, base_layers + 1)]
        end = [f"end_{i}" for i in range(1, end_layers + 1)]
        self.experts = [*base, "middle", *end]
        self.default = self.experts[-1]
        self._widen_aux(n_features)

    def forward(
        self, x: Tensor, present: Tensor | None = None, weights: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return all layers by name.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            The features, with some number where one is absent.
        present : Tensor of shape (n_samples, n_features), default=None
            True where a feature is there; None for everywhere.
        weights : Tensor of shape (n_experts,), default=None
            The weights of the experts; None for equal ones.
        """
        if present is None:
            present = torch.ones_like(x, dtype=torch.bool)
        x = torch.where(present, x, 0.0)
        made: dict[str, Tensor] = {}
        state = base_of(x, self.n_base)
        for i, layer in enumerate(self.base, 1):
            state = made[f"base_{i}"] = self.activation(layer(state))
        middle = made["middle"] = self.activation(self.middle(state))
        aux = self._aux(x[:, self.n_base :], present[:, self.n_base :])
        shares = self._shares(present, weights).to(x)
        slots = torch.cat([middle[:, None], aux], 1) * shares[..., None]
        state = slots.flatten(1)
        for i, layer in enumerate(self.end, 1):
            state = made[f"end_{i}"] = self.activation(layer(state))
        names = self.experts[len(made) :]
        return made | {name: aux[:, j] for j, name in enumerate(names)}

    def _aux(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the layers of the auxiliary features, of shape (n_rows, n_aux, n_units)."""
        weight, bias = (p.view(self.n_aux, self.n_units) for p in (self.aux_weight, self.aux_bias))
        return self.activation(x[..., None] * weight + bias) * present[..., None]

    def _shares(self, present: Tensor, weights: Tensor | None) -> Tensor:
        """Return what the middle layer and those of features count, (n_rows, 1 + n_aux)."""
        there = self.experts_present(present).double()
        if weights is not None:
            there = there * weights
        middle, first = self.experts.index("middle"), len(self.experts) - self.n_aux
        own = torch.cat([there[:, [middle]], there[:, first:]], 1)
        return own / own.sum(1, keepdim=True).clamp_min(torch.finfo(own.dtype).tiny)

    def experts_present(self, present: Tensor) -> Tensor:
        """Return which experts are there in each row, of shape (n_rows, n_experts).

        Parameters
        ----------
        present : Tensor of shape (n_samples, n_features)
            True where a feature is there.
        """
        always = present.new_ones((present.shape[0], len(self.experts) - self.n_aux))
        return torch.cat([always, present[:, self.n_base :]], 1)

    def widen(self, n_features: int) -> None:
        """Take more features, behind those there are."""
        self.base[0] = more_inputs(self.base[0], max(min(self.n_base, n_features), 1))
        self._widen_aux(n_features)

    def _widen_aux(self, n_features: int) -> None:
        """Give auxiliary features that have none a layer, an expert, and a place at the end."""
        n_before, self.n_aux = self.n_aux, max(n_features - self.n_base, 0)
        n_columns = self.n_aux * self.n_units
        self.aux_weight = more_columns(self.aux_weight, n_columns, 1.0)
        self.aux_bias = more_columns(self.aux_bias, n_columns, 1.0)
        n_inputs, bound = (1 + self.n_aux) * self.n_units, self.n_units**-0.5
        self.end[0] = more_inputs(self.end[0], n_inputs, bound)
        columns = range(self.n_base + n_before, self.n_base + self.n_aux)
        self.experts += [f"x{j}" for j in columns]
