"""The part that adds its input to what another part makes of it."""

from typing import Any

from torch import Tensor, nn

from mtlearn.trunks._around import Around

__all__ = ["Residual"]


class Residual(Around):
    r"""A part whose input is added to its output.

    Shape: that of the part; (n_samples, \*shape, n_units). Where the input's last axis has another
    length, a learned linear map without bias makes it fit.

    Parameters
    ----------
    part : Trunk, torch.nn.Module or callable, default=None
        The part; None for ``MLP()``.

    See Also
    --------
    mtlearn.trunks.LinearSkip : Puts the input beside the output.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", 2016; the linear map is their option
    B, without batch normalisation.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import MLP, Residual
    >>> Residual(MLP((16, 16))).build(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 16])
    """

    def build(self, n_features: Any) -> nn.Module:
        """Return the part with its input added; see the class for the shapes."""
        inner, shape, found = self._build_inner(n_features)
        if len(found) != len(shape) or found[:-1] != shape[:-1]:
            raise ValueError(
                f"the part of Residual must keep all axes but the last. It makes rows of the shape "
                f"{found} of {shape}."
            )
        skip = nn.Identity()
        if found != shape:
            skip = nn.Linear(shape[-1], found[-1], bias=False)
        return Sum(inner, skip)


class Sum(nn.Module):
    """The sum of two modules on the same tensor."""

    def __init__(self, inner: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.inner, self.skip = inner, skip

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.skip(x)
