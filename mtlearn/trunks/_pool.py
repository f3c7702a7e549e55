"""The part that makes one row of a sequence or an image."""

from typing import Any, ClassVar

from torch import Tensor, nn

from mtlearn._sklearn import StrOptions
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._convolution import check_positions

__all__ = ["Pool"]


class Pool(Trunk):
    r"""All positions of a sequence or an image as one row.

    Shape: (n_samples, \*positions, n_channels) to (n_samples, n_channels), or for ``"flatten"`` to
    (n_samples, n_positions * n_channels).

    Parameters
    ----------
    how : {"mean", "max", "flatten"}, default="mean"
        The mean or the largest value of each channel, or all values side by side.

    References
    ----------
    Lin et al., "Network In Network", 2014, for the mean over all positions.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import Pool
    >>> Pool().build((4, 4, 16))(torch.zeros(5, 4, 4, 16)).shape
    torch.Size([5, 16])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "how": [StrOptions({"mean", "max", "flatten"})],
    }

    def __init__(self, how: str = "mean") -> None:
        self.how = how

    def build(self, n_features: Any) -> nn.Module:
        """Return the layer; see the class for the shapes."""
        check_positions(n_features, "Pool")
        return PoolModule(self.how)


class PoolModule(nn.Module):
    """The mean, the largest or all values over the axes between the first and the last."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "flatten":
            return x.flatten(1)
        axes = tuple(range(1, x.ndim - 1))
        return x.mean(axes) if self.how == "mean" else x.amax(axes)
