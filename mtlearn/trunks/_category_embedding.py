"""The part that makes vectors of the categories of a table's columns."""

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

    The codes are those of scikit-learn's OrdinalEncoder: 0, 1, ... in each column. A negative code,
    or one that no training row has, is an unseen category. Each column has a vector for these; it
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
    n_categories_ : ndarray of shape (n_columns,)
        The largest code of each column in the training rows, plus one.

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
        """Count the categories of each column; see `Trunk.note`."""
        codes = X if rows is None else X[rows]
        if not isinstance(codes, np.ndarray) or codes.ndim != 2:
            raise ValueError(
                f"CategoryEmbedding takes columns of codes, rows of the shape (n_columns,). Got "
                f"{type(codes).__name__} of the shape {codes.shape}."
            )
        if codes.dtype.kind == "f" and (codes != np.floor(codes)).any():
            raise ValueError(
                "CategoryEmbedding takes codes, whole numbers. Got fractions; encode categories "
                "with OrdinalEncoder, and let numbers be an input of their own."
            )
        self.n_categories_ = np.maximum(codes.max(axis=0, initial=-1).astype(np.int64) + 1, 0)
        return self

    def build(self, n_features: Any) -> nn.Module:
        """Return the tables; shape (n_samples, n_columns) to (n_samples, n_columns * n_units)."""
        n_categories = getattr(self, "n_categories_", None)
        if n_categories is None or n_features != len(n_categories):
            raise ValueError(
                f"CategoryEmbedding must take an input of X by itself, whose categories it counts "
                f"in fit. Got rows of the shape {n_features}."
            )
        return CategoryTables(n_categories.tolist(), self.n_units, self.scale)


class CategoryTables(nn.Module):
    """A table of vectors for each column, the first for the unseen; one after the other."""

    def __init__(self, n_categories: list[int], n_units: int, scale: float) -> None:
        super().__init__()
        sizes = torch.tensor(n_categories)
        self.table = nn.Embedding(int(sizes.sum()) + len(n_categories), n_units)
        self.n_categories: Tensor
        self.starts: Tensor
        self.register_buffer("n_categories", sizes, persistent=False)
        self.register_buffer("starts", torch.cumsum(sizes + 1, 0) - sizes - 1, persistent=False)
        with torch.no_grad():
            self.table.weight.uniform_(-scale, scale)
            self.table.weight[self.starts] = 0

    def forward(self, codes: Tensor) -> Tensor:
        if codes.shape[1:] != self.n_categories.shape:
            raise ValueError(
                f"CategoryEmbedding takes the columns of fit, rows of the shape "
                f"{tuple(self.n_categories.shape)}. Got rows of the shape {tuple(codes.shape[1:])}."
            )
        codes = codes.long()
        known = (codes >= 0) & (codes < self.n_categories)
        return self.table(torch.where(known, codes + 1, 0) + self.starts).flatten(1)
