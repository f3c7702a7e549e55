"""What parts around another part share."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from torch import nn

from mtlearn._typing import Array
from mtlearn._validation import naming
from mtlearn.inputs import Inputs
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._module import as_trunk
from mtlearn.trunks._zeros import row_shape

__all__ = ["Around"]


class Around(Trunk):
    """A part that takes one input, lets another part make something of it, and adds to that.

    Parameters
    ----------
    part : Trunk, torch.nn.Module or callable, default=None
        The part; None for ``MLP()``.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "part": [Trunk, nn.Module, callable, None]
    }

    def __init__(self, part: Trunk | nn.Module | Callable[..., nn.Module] | None = None) -> None:
        self.part = part

    def check_params(self) -> None:
        """Raise for what is no part, and for bad parameters of the part."""
        super().check_params()
        with naming(self._subject):
            as_trunk(self.part).check_params()

    def note(self, X: Array | Inputs, rows: Array | None = None) -> Self:
        """Let the part learn what it needs of the rows; see `Trunk.note`."""
        as_trunk(self.part).note(X, rows)
        return self

    def _build_inner(self, n_features: Any) -> tuple[nn.Module, tuple[int, ...], tuple[int, ...]]:
        """Return the module of the part, and the shapes of rows that it takes and makes."""
        if isinstance(n_features, Mapping):
            raise ValueError(
                f"{type(self).__name__} takes one input. Got the inputs {list(n_features)}; make "
                f"it a stage of a Graph."
            )
        shape = (n_features,) if isinstance(n_features, int) else tuple(n_features)
        part = as_trunk(self.part)
        if part.differs_by_output:
            raise ValueError(
                f"{self._subject} must make the same for all outputs. {type(part).__name__} makes "
                f"something else for each; put it outside, or make it the last stage of a Graph."
            )
        inner = part.build(n_features)
        with naming(self._subject):
            return inner, shape, row_shape(inner, [shape])

    @property
    def _subject(self) -> str:
        return f"the part of {type(self).__name__}"
