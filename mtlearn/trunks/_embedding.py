"""The part that makes vectors of ids."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._sklearn import Interval
from mtlearn._typing import Array
from mtlearn.inputs import Inputs
from mtlearn.trunks._base import Trunk

__all__ = ["Embedding"]

MOST_IDS = 2**31  # far more than have a vector each in memory
PIECE = 2**14  # rows that are copied at a time


class Embedding(Trunk):
    r"""A vector for each id, learned.

    Shape: ids (n_samples, \*shape) to (n_samples, \*shape, n_units).

    The estimator's L2 penalty counts the whole table in every step, the vectors of other ids than
    those of the batch too: make `alpha` small for a large one, or 0.

    Parameters
    ----------
    n_ids : int or None
        The number of ids, 0 to ``n_ids - 1``; None for as many as the training rows need, where the
        part takes an input of X. Of a stream these are the rows of its first piece.
    n_units : int
        The length of a vector.
    padding_id : int or None, default=0
        The id of padding, whose vector is 0 and stays so; None for none.
    unknown_id : int, default=1
        The id that those outside the range are taken for.
    scale : float, default=0.05
        The first weights are uniform in -`scale` to `scale`; the default is that of Keras. Few ids,
        such as states, may learn sooner with 1.

    Attributes
    ----------
    n_ids_ : int
        The largest id of the training rows, plus one; only if `n_ids` is None.

    See Also
    --------
    mtlearn.trunks.CategoryEmbedding : Vectors of the categories of several columns.
    mtlearn.trunks.Recurrent : Reads sequences of vectors.

    References
    ----------
    Bengio et al., "A Neural Probabilistic Language Model", 2003.

    Examples
    --------
    >>> from mtlearn.trunks import Embedding
    >>> Embedding(10_000, 512).build((100,))
    IdEmbedding(10000, 512, padding_idx=0)
    """

    takes_integers: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_ids": [Interval(Integral, 1, None, closed="left"), None],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "padding_id": [Interval(Integral, 0, None, closed="left"), None],
        "unknown_id": [Interval(Integral, 0, None, closed="left")],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_ids: int | None,
        n_units: int,
        padding_id: int | None = 0,
        unknown_id: int = 1,
        *,
        scale: float = 0.05,
    ) -> None:
        self.n_ids = n_ids
        self.n_units = n_units
        self.padding_id = padding_id
        self.unknown_id = unknown_id
        self.scale = scale

    def note(self, X: Array | Inputs, rows: Array | None = None) -> Self:
        """Find the largest id, if it is not given; see `Trunk.note`."""
        if self.n_ids is None:
            if not isinstance(X, np.ndarray):
                raise ValueError(
                    f"Embedding must take one input of ids. Got the inputs {list(X)}; make it a "
                    f"stage of a Graph, or leave out the others."
                )
            pieces = [slice(None)] if rows is None else np.array_split(rows, len(rows) // PIECE + 1)
            largest = max(int(X[piece].max(initial=0)) for piece in pieces)
            if largest >= MOST_IDS:
                raise ValueError(
                    f"Embedding needs a vector for each id up to the largest. Got the id "
                    f"{largest:,}; number the ids from 0, or use CategoryEmbedding for categories."
                )
            self.n_ids_ = max(largest + 1, 2)
        return self

    def build(self, n_features: Any) -> nn.Module:  # noqa: ARG002
        r"""Return the table of vectors; shape (n_samples, \*shape) to (..., n_units)."""
        n_ids = getattr(self, "n_ids_", None) if self.n_ids is None else self.n_ids
        if n_ids is None:
            raise ValueError(
                "`n_ids` of Embedding must be given where it takes no single input of X. Got None."
            )
        for name in ("padding_id", "unknown_id"):
            value = getattr(self, name)
            if value is not None and value >= n_ids and not (name == "unknown_id" and value == 1):
                raise ValueError(
                    f"`{name}` of Embedding must be below `n_ids`, {n_ids}. Got {value}."
                )
        return IdEmbedding(n_ids, self.n_units, self.padding_id, self.unknown_id, self.scale)


class IdEmbedding(nn.Embedding):
    """torch's Embedding, with an id for those outside the range."""

    def __init__(
        self, n_ids: int, n_units: int, padding_id: int | None, unknown_id: int, scale: float
    ) -> None:
        super().__init__(n_ids, n_units, padding_idx=padding_id)
        self.unknown_id = min(unknown_id, n_ids - 1)
        with torch.no_grad():
            self.weight.uniform_(-scale, scale)
            if padding_id is not None:
                self.weight[padding_id] = 0

    def reset_parameters(self) -> None:
        """Do nothing: the first weights are drawn once."""

    def forward(self, input: Tensor) -> Tensor:
        ids = input.long()
        known = (ids >= 0) & (ids < self.num_embeddings)
        return super().forward(torch.where(known, ids, self.unknown_id))
