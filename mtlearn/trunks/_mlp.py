"""The trunk for tables: a multilayer perceptron."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

from torch import nn

from mtlearn._layers import ACTIVATIONS, NORMALIZATIONS, NamedLayers, dense
from mtlearn._sklearn import Interval, StrOptions
from mtlearn.trunks._base import Trunk

__all__ = ["MLP"]


class MLP(Trunk):
    """A stack of dense layers, each normalised, activated and dropped out.

    Shape: (n_samples, n_features) to (n_samples, last size). Heads attach to the last layer, or
    with ``at="hidden_1"`` to the first, ``at="hidden_2"`` to the second, and so on.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(128, 64)
        The number of units of each layer; empty for none, so that heads see the features.
    activation : {"elu", "gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="relu"
        The function after each layer.
    dropout : float, default=0.0
        The share of units set to zero in training, in [0, 1).
    normalization : {"batch", "layer"}, default=None
        Normalisation before each activation, over the batch or over the units; None for none.

    See Also
    --------
    mtlearn.MultiOutputNet : Takes a trunk, or any torch module in its place.

    References
    ----------
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986;
    Lee et al., "Deeply-Supervised Nets", 2015 (heads at inner layers).

    Examples
    --------
    >>> from mtlearn.trunks import MLP
    >>> MLP((64,), dropout=0.1).build(n_features=3)
    Sequential(
      (0): Linear(in_features=3, out_features=64, bias=True)
      (1): ReLU()
      (2): Dropout()
    )
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "normalization": [StrOptions(set(NORMALIZATIONS)), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 64),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        normalization: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.normalization = normalization

    def build(self, n_features: Any) -> nn.Module:
        """Return the stack; shape (n_samples, n_features) to (n_samples, last size)."""
        return nn.Sequential(*self._layers(n_features))

    def build_named(
        self,
        n_features: Any,
        outputs: Collection[str] = (),  # noqa: ARG002
    ) -> nn.Module:
        """Return the stack, with the outputs of its layers as ``hidden_1``, ``hidden_2``, ..."""
        layers, n_sizes = self._layers(n_features), len(self.hidden_layer_sizes)
        if not n_sizes:
            return nn.Sequential()
        n_each = len(layers) // n_sizes
        return NamedLayers(layers, {f"hidden_{i}": i * n_each for i in range(1, n_sizes + 1)})

    def _layers(self, n_features: Any) -> list[nn.Module]:
        if not isinstance(n_features, int):
            found = f"rows of the shape {n_features}; make rows of one axis first, as Pool does"
            if isinstance(n_features, Mapping):
                found = (
                    f"the inputs {list(n_features)}; pass a module that takes a dict of them, or "
                    f"one table as X"
                )
            raise TypeError(f"`trunk` MLP takes one table. Got {found}.")
        return dense(
            n_features,
            [int(size) for size in self.hidden_layer_sizes],
            self.activation,
            self.dropout,
            self.normalization,
        )
