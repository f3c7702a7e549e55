"""The part that puts its input beside what another part makes of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn.trunks._around import Around

__all__ = ["LinearSkip"]


class LinearSkip(Around):
    """A part with its input beside its output, so that heads are linear models of both.

    Shape: (n_samples, n_features) to (n_samples, n_units + n_features).

    Parameters
    ----------
    part : Trunk, torch.nn.Module or callable, default=None
        The part; None for ``MLP()``.

    See Also
    --------
    mtlearn.trunks.Residual : Adds the input to the output.

    References
    ----------
    Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016, with the same features for
    both sides.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import MLP, LinearSkip
    >>> LinearSkip(MLP((16,))).build(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 19])
    """

    def build(self, n_features: Any) -> nn.Module:
        """Return both; shape (n_samples, n_features) to (n_samples, n_units + n_features)."""
        if not isinstance(n_features, int | Mapping):
            raise ValueError(
                f"LinearSkip takes a table, rows of the shape (n_features,). Got rows of the shape "
                f"{n_features}."
            )
        inner, _, found = self._build_inner(n_features)
        if len(found) != 1:
            raise ValueError(
                f"the part of LinearSkip must make rows of one axis. It makes rows of the shape "
                f"{found}."
            )
        return Beside(inner)


class Beside(nn.Module):
    """A module's output, and its input beside it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(x), x], 1)
