"""The part that puts its input beside what another part makes of it."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from mtlearn._typing import Array
from mtlearn._validation import naming
from mtlearn.inputs import Inputs
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._module import as_trunk

__all__ = ["LinearSkip"]


class LinearSkip(Trunk):
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "part": [Trunk, nn.Module, callable, None]
    }

    def __init__(self, part: Trunk | nn.Module | Callable[..., nn.Module] | None = None) -> None:
        self.part = part

    def check_params(self) -> None:
        """Raise for what is no part, and for bad parameters of the part."""
        super().check_params()
        with naming("the part of LinearSkip"):
            as_trunk(self.part).check_params()

    def note(self, X: Array | Inputs, rows: Array | None = None) -> Self:
        """Let the part learn what it needs of the rows; see `Trunk.note`."""
        as_trunk(self.part).note(X, rows)
        return self

    def build(self, n_features: Any) -> nn.Module:
        """Return both; shape (n_samples, n_features) to (n_samples, n_units + n_features)."""
        if not isinstance(n_features, int):
            raise ValueError(
                f"LinearSkip takes a table, rows of the shape (n_features,). Got rows of the shape "
                f"{n_features}."
            )
        return Beside(as_trunk(self.part).build(n_features))


class Beside(nn.Module):
    """A module's output, and its input beside it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(x), x], 1)
