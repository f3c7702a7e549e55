"""The part that looks for patterns along sequences and across images."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

from torch import Tensor, nn

from mtlearn._layers import ACTIVATIONS, Dropout
from mtlearn._sklearn import Interval, StrOptions
from mtlearn.trunks._base import Trunk

__all__ = ["Convolution"]

KINDS: dict[int, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    2: (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
    3: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
}


class Convolution(Trunk):
    """A convolution, normalised, activated, pooled and dropped out.

    Shape: sequences (n_samples, n_steps, n_features) to (n_samples, n_steps', n_channels), images
    (n_samples, height, width, n_channels_in) to (n_samples, height', width', n_channels). Channels
    are the last axis; an image of one channel has it too: ``X[..., None]``.

    Parameters
    ----------
    n_channels : int
        The number of channels to return.
    kernel_size : int, default=3
        The width of the patterns, along each axis.
    stride : int, default=1
        How far apart the positions are that they are looked for at.
    padding : {"same", "valid"}, default="same"
        Whether zeros are put around so that, with a stride of 1, there are as many positions after
        as before; or patterns must lie inside.
    activation : {"elu", "gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="relu"
        The function after the convolution.
    normalization : {"batch"}, default=None
        Normalisation of each channel over the batch, before the activation; None for none.
    pool_size : int, default=None
        How many neighbouring positions along each axis the largest is taken of; None for no
        pooling.
    dropout : float, default=0.0
        The share of activations set to zero in training, in [0, 1).

    See Also
    --------
    mtlearn.trunks.Pool : One row of what is left, for heads.

    References
    ----------
    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import Convolution
    >>> module = Convolution(16, pool_size=2).build((8, 8, 1))
    >>> module(torch.zeros(5, 8, 8, 1)).shape
    torch.Size([5, 4, 4, 16])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_channels": [Interval(Integral, 1, None, closed="left")],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "padding": [StrOptions({"same", "valid"})],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "normalization": [StrOptions({"batch"}), None],
        "pool_size": [Interval(Integral, 1, None, closed="left"), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        n_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: str = "same",
        activation: str = "relu",
        normalization: str | None = None,
        pool_size: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        self.n_channels = n_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.activation = activation
        self.normalization = normalization
        self.pool_size = pool_size
        self.dropout = dropout

    def build(self, n_features: Any) -> nn.Module:
        """Return the layers; see the class for the shapes."""
        shape = check_positions(n_features, "Convolution")
        convolution, normalization, pool = KINDS[len(shape)]
        layers: list[nn.Module] = []
        padding = 0
        if self.padding == "same":
            # torch's own "same" takes no stride; an even kernel reaches further to the right.
            layers.append(_zeros_around(self.kernel_size, len(shape) - 1))
        layers.append(
            convolution(shape[-1], self.n_channels, self.kernel_size, self.stride, padding)
        )
        if self.normalization == "batch":
            layers.append(normalization(self.n_channels))
        layers.append(ACTIVATIONS[self.activation]())
        if self.pool_size is not None:
            layers.append(pool(self.pool_size))
        if self.dropout:
            layers.append(Dropout(self.dropout))
        return ChannelsLast(*layers)


class ChannelsLast(nn.Sequential):
    """Layers of torch, which want channels first, on what has them last."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(-1, 1)).movedim(1, -1)


def check_positions(n_features: Any, owner: str) -> Sequence[int]:
    """Return the shape of a row; raise a ValueError unless it is a sequence or an image."""
    if isinstance(n_features, int) or len(n_features) not in KINDS:
        raise ValueError(
            f"{owner} takes sequences, rows of the shape (n_steps, n_features), and images, "
            f"(height, width, n_channels). Got rows of the shape {n_features}."
        )
    return n_features


def _zeros_around(kernel_size: int, n_axes: int) -> nn.Module:
    before = (kernel_size - 1) // 2
    after = kernel_size - 1 - before
    pad = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d}[n_axes]
    return pad((before, after) * n_axes, 0.0)
