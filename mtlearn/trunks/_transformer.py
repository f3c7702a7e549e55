"""The part in which all steps of a sequence look at each other."""

import math
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._sklearn import Interval
from mtlearn.trunks._base import Trunk

__all__ = ["Transformer"]


class Transformer(Trunk):
    r"""Layers of a transformer encoder: attention between steps, then a network on each.

    Shape: (n_samples, n_steps, n_features) to the same.

    Normalisation comes before each part of a layer. Before the first layer, a step at position
    :math:`t` is told where it is by

    .. math:: p_{t,2i} = \sin(t / 10000^{2i/d}), \qquad p_{t,2i+1} = \cos(t / 10000^{2i/d})

    with the number :math:`d` of features, which is added to them.

    Parameters
    ----------
    n_heads : int, default=4
        The number of attention heads; it divides the number of features.
    n_units : int, default=128
        The number of hidden units of the network on each step.
    n_layers : int, default=1
        The number of layers.
    has_positions : bool, default=True
        Whether steps are told their positions; without, their order does not matter.
    mask_zeros : bool, default=True
        Whether steps at the end whose features are all 0 are padding: nobody looks at them, and
        they stay 0.

    See Also
    --------
    mtlearn.trunks.Pool : One row of what is left, for heads.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", 2017; Xiong et al., "On Layer Normalization in the
    Transformer Architecture", 2020, for where the normalisation is.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import Transformer
    >>> Transformer(n_heads=2).build((10, 16))(torch.rand(3, 10, 16)).shape
    torch.Size([3, 10, 16])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "has_positions": ["boolean"],
        "mask_zeros": ["boolean"],
    }

    def __init__(
        self,
        n_heads: int = 4,
        n_units: int = 128,
        *,
        n_layers: int = 1,
        has_positions: bool = True,
        mask_zeros: bool = True,
    ) -> None:
        self.n_heads = n_heads
        self.n_units = n_units
        self.n_layers = n_layers
        self.has_positions = has_positions
        self.mask_zeros = mask_zeros

    def build(self, n_features: Any) -> nn.Module:
        """Return the layers; see the class for the shapes."""
        if isinstance(n_features, int) or len(n_features) != 2:
            raise ValueError(
                f"Transformer takes sequences, rows of the shape (n_steps, n_features). Got rows "
                f"of the shape {n_features}."
            )
        width = n_features[1]
        if width % self.n_heads:
            raise ValueError(
                f"`n_heads` of Transformer must divide the number of features, {width}. Got "
                f"{self.n_heads}."
            )
        layers = [
            nn.TransformerEncoderLayer(
                width, self.n_heads, self.n_units, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(self.n_layers)
        ]
        return TransformerModule(layers, self.has_positions, self.mask_zeros)


class TransformerModule(nn.Module):
    """torch's layers, with positions and padding."""

    def __init__(
        self, layers: list[nn.TransformerEncoderLayer], has_positions: bool, mask_zeros: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.has_positions, self.mask_zeros = has_positions, mask_zeros

    def forward(self, x: Tensor) -> Tensor:
        is_read = self._is_read(x)
        if self.has_positions:
            x = x + _positions(x)
        hidden = None
        if is_read is not None:
            hidden = ~is_read
            hidden = hidden & ~hidden.all(1, keepdim=True)  # somebody must be looked at
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=hidden)
        return x if is_read is None else x * is_read.unsqueeze(-1)

    def _is_read(self, x: Tensor) -> Tensor | None:
        """Tell which steps are no padding; None if all are."""
        if not self.mask_zeros:
            return None
        nonzero = (x != 0).any(-1)
        is_read = nonzero.flip(1).cummax(1).values.flip(1)
        return None if bool(is_read.all()) else is_read


def _positions(x: Tensor) -> Tensor:
    """Return the positions of steps, of shape (n_steps, n_features)."""
    n_steps, n_features = x.shape[1:]
    steps = torch.arange(n_steps, dtype=x.dtype, device=x.device).unsqueeze(1)
    pairs = torch.arange(0, n_features, 2, dtype=x.dtype, device=x.device)
    angles = steps * torch.exp(pairs * (-math.log(10000.0) / n_features))
    both = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    return both[:, :n_features]
