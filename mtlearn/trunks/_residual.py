"""The part that adds its input to what another part makes of it."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from mtlearn._typing import Array
from mtlearn._validation import naming
from mtlearn.inputs import Inputs
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._module import as_trunk

__all__ = ["Residual"]


class Residual(Trunk):
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "part": [Trunk, nn.Module, callable, None]
    }

    def __init__(self, part: Trunk | nn.Module | Callable[..., nn.Module] | None = None) -> None:
        self.part = part

    def check_params(self) -> None:
        """Raise for what is no part, and for bad parameters of the part."""
        super().check_params()
        with naming("the part of Residual"):
            as_trunk(self.part).check_params()

    def note(self, X: Array | Inputs, rows: Array | None = None) -> Self:
        """Let the part learn what it needs of the rows; see `Trunk.note`."""
        as_trunk(self.part).note(X, rows)
        return self

    def build(self, n_features: Any) -> nn.Module:
        """Return the part with its input added; see the class for the shapes."""
        inner = as_trunk(self.part).build(n_features)
        shape = (n_features,) if isinstance(n_features, int) else tuple(n_features)
        found = row_shape(inner, shape)
        if found[:-1] != shape[:-1]:
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


def row_shape(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what a module makes of a row."""
    training = module.training
    with torch.no_grad():
        found = module.eval()(torch.zeros(2, *shape))
    module.train(training)
    return tuple(found.shape[1:])
