"""The part that makes vectors of the categories of a table's columns."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._sklearn import Interval
from mtlearn._typing import Array
from mtlearn.inputs import Inputs
from mtlearn.trunks._base import Trunk

__all__ = ["CategoryEmbedding"]


class CategoryEmbedding(Trunk):
    """A vector for each category of each column, learned; the vectors of a row side by side.

    Shape: codes (n_samples, n_columns) to (n_samples, n_columns * n_units).

    The codes are whole numbers, such as those of scikit-learn's OrdinalEncoder. A negative code, or
    one that no training row has, is an unseen category. Each column has a vector for these; it
    begins as 0, and is learned if training rows have negative codes, which stand for rare or
    missing categories too.

    Parameters
    ----------
    n_units : int, default=8
        The length of a vector.
    scale : float, default=0.05
        The first weights are uniform in -`scale` to `scale`.

    Attributes
    ----------
    categories_ : list of ndarray
        The codes of each column that training rows have, sorted; no negative ones. Of a stream, the
        codes of its first piece.

    See Also
    --------
    mtlearn.preprocessing.ColumnInputs : Selects and encodes the columns of a frame.
    mtlearn.trunks.Embedding : Vectors of ids, such as those of words.

    References
    ----------
    Guo and Berkhahn, "Entity Embeddings of Categorical Variables", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from mtlearn.trunks import CategoryEmbedding
    >>> codes = np.array([[0, 2], [1, 0]])
    >>> module = CategoryEmbedding(4).note(codes).build(2)
    >>> vectors = module(torch.tensor([[1, 2], [-1, 9]]))
    >>> vectors.shape
    torch.Size([2, 8])
    >>> vectors[1]  # both are unseen
    tensor([0., 0., 0., 0., 0., 0., 0., 0.], grad_fn=<SelectBackward0>)
    """

    takes_integers: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, n_units: int = 8, *, scale: float = 0.05) -> None:
        self.n_units = n_units
        self.scale = scale

    def note(self, X: Array | Inputs, rows: Array | None = None) -> Self:
        """Find the categories of each column; see `Trunk.note`."""
        if not isinstance(X, np.ndarray) or X.ndim != 2 or not X.shape[1]:
            raise ValueError(
                f"CategoryEmbedding takes columns of codes, rows of the shape (n_columns,). Got "
                f"{type(X).__name__} of the shape {X.shape}."
            )
        self.categories_ = [_categories(column if rows is None else column[rows]) for column in X.T]
        return self

    def build(self, n_features: Any) -> nn.Module:
        """Return the tables; shape (n_samples, n_columns) to (n_samples, n_columns * n_units)."""
        categories = getattr(self, "categories_", None)
        if categories is None or n_features != len(categories):
            raise ValueError(
                f"CategoryEmbedding must take an input of X by itself, whose categories it finds "
                f"in fit. Got rows of the shape {n_features}."
            )
        return CategoryTables(categories, self.n_units, self.scale)


class CategoryTables(nn.Module):
    """A table of vectors for each column, the first for the unseen; one after the other."""

    def __init__(self, categories: Sequence[Array], n_units: int, scale: float) -> None:
        super().__init__()
        sizes = torch.tensor([len(codes) for codes in categories])
        self.table = nn.Embedding(int(sizes.sum()) + len(categories), n_units)
        padded = torch.full((len(categories), int(sizes.max()) + 1), torch.iinfo(torch.int64).max)
        for row, codes in zip(padded, categories, strict=True):
            row[: len(codes)] = torch.tensor(codes)
        self.codes: Tensor
        self.sizes: Tensor
        self.starts: Tensor
        self.register_buffer("codes", padded, persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("starts", torch.cumsum(sizes + 1, 0) - sizes - 1, persistent=False)
        with torch.no_grad():
            self.table.weight.uniform_(-scale, scale)
            self.table.weight[self.starts] = 0

    def forward(self, codes: Tensor) -> Tensor:
        if codes.shape[1:] != self.sizes.shape:
            raise ValueError(
                f"CategoryEmbedding takes the columns of fit, rows of the shape "
                f"{tuple(self.sizes.shape)}. Got rows of the shape {tuple(codes.shape[1:])}."
            )
        codes = codes.long().T.contiguous()
        places = torch.searchsorted(self.codes, codes)
        found = self.codes.gather(1, places.clamp_max(self.codes.shape[1] - 1))
        known = (found == codes) & (places < self.sizes[:, None])
        return self.table(torch.where(known, places + 1, 0).T + self.starts).flatten(1)


def _categories(codes: Array) -> Array:
    """Return the codes that are not negative, sorted."""
    if codes.dtype.kind == "f" and (codes != np.floor(codes)).any():
        raise ValueError(
            "CategoryEmbedding takes codes, whole numbers. Got fractions; encode categories with "
            "OrdinalEncoder, and let numbers be an input of their own."
        )
    with np.errstate(invalid="ignore"):  # torch takes floats that are too large for the same codes
        found = np.unique(codes.astype(np.int64))
    return found[found >= 0]
