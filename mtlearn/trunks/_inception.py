"""The part that looks for patterns of several sizes at once."""

from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._sklearn import Interval
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._convolution import ChannelsLast, check_positions

__all__ = ["Inception"]


class Inception(Trunk):
    """Convolutions of sizes 1, 3 and 5, and a pooling, side by side.

    Shape: images (n_samples, height, width, n_channels_in) to (n_samples, height, width,
    n_channels), the four kinds of channels one after the other. The convolutions of sizes 3 and 5
    are each on fewer channels, that one of size 1 makes first.

    Parameters
    ----------
    n_1x1 : int, default=8
        The number of channels of the convolution of size 1.
    n_3x3 : int, default=16
        The number of channels of the convolution of size 3.
    n_5x5 : int, default=4
        The number of channels of the convolution of size 5.
    n_pool : int, default=4
        The number of channels of the pooling.
    n_3x3_reduced : int, default=8
        How many channels the convolution of size 3 is on.
    n_5x5_reduced : int, default=4
        How many channels the convolution of size 5 is on.

    References
    ----------
    Szegedy et al., "Going Deeper with Convolutions", 2015, figure 2(b).

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import Inception
    >>> Inception().build((8, 8, 3))(torch.zeros(5, 8, 8, 3)).shape
    torch.Size([5, 8, 8, 32])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        name: [Interval(Integral, 1, None, closed="left")]
        for name in ("n_1x1", "n_3x3_reduced", "n_3x3", "n_5x5_reduced", "n_5x5", "n_pool")
    }

    def __init__(
        self,
        n_1x1: int = 8,
        n_3x3: int = 16,
        n_5x5: int = 4,
        n_pool: int = 4,
        *,
        n_3x3_reduced: int = 8,
        n_5x5_reduced: int = 4,
    ) -> None:
        self.n_1x1 = n_1x1
        self.n_3x3 = n_3x3
        self.n_5x5 = n_5x5
        self.n_pool = n_pool
        self.n_3x3_reduced = n_3x3_reduced
        self.n_5x5_reduced = n_5x5_reduced

    def build(self, n_features: Any) -> nn.Module:
        """Return the block; see the class for the shapes."""
        shape = check_positions(n_features, "Inception")
        if len(shape) != 3:
            raise ValueError(
                f"Inception takes images, rows of the shape (height, width, n_channels). Got rows "
                f"of the shape {shape}."
            )
        n = shape[-1]
        return ChannelsLast(
            Branches(
                _convolution(n, self.n_1x1, 1),
                nn.Sequential(
                    _convolution(n, self.n_3x3_reduced, 1),
                    _convolution(self.n_3x3_reduced, self.n_3x3, 3),
                ),
                nn.Sequential(
                    _convolution(n, self.n_5x5_reduced, 1),
                    _convolution(self.n_5x5_reduced, self.n_5x5, 5),
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(n, self.n_pool, 1)),
            )
        )


class Branches(nn.ModuleList):
    """Modules on the same tensor, their channels one after the other."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(modules)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([module(x) for module in self], 1)


def _convolution(n_in: int, n_out: int, size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(n_in, n_out, size, padding=size // 2), nn.ReLU())
