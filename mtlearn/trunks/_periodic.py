"""The part that makes waves of the columns of a table, whose frequencies are learned."""

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._sklearn import Interval
from mtlearn.trunks._base import Trunk

__all__ = ["Periodic"]


class Periodic(Trunk):
    r"""Learned features of each column by itself: waves of it, a linear map, and ReLU.

    Shape: (n_samples, n_columns) to (n_samples, n_columns * n_units).

    Of a value x of column j come :math:`\mathrm{ReLU}(W_j [\sin(2 \pi c_j x), \cos(2 \pi c_j x)] +
    b_j)`, with the learned frequencies :math:`c_j`, weights :math:`W_j` and biases :math:`b_j` of
    the column. Layers behind this learn functions that go up and down within a column more easily
    than from its values. Columns should be standardised.

    The frequencies and biases have no L2 penalty: `alpha` of the estimator is for the weights.

    Parameters
    ----------
    n_frequencies : int, default=16
        The number of frequencies of a column; each gives a sine and a cosine.
    n_units : int, default=8
        The number of features that are made of a column.
    scale : float, default=0.1
        The standard deviation of the first frequencies, drawn from a normal distribution of mean 0.
        It decides most: the larger, the finer are the details that are learned, those of noise too.
        Compare values from 0.01 to 10.
    shared : bool, default=False
        Whether all columns share one linear map: fewer weights, and less to learn from each column.

    See Also
    --------
    mtlearn.preprocessing.PiecewiseLinear : Components of the columns, nothing of which is learned.
    mtlearn.trunks.CategoryEmbedding : Vectors of categories, to concatenate with these.
    mtlearn.trunks.LinearSkip : Puts the values beside what a part makes of them.

    References
    ----------
    Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", 2022: their
    PLR, and with ``shared=True`` the "lite" one.

    Examples
    --------
    >>> import torch
    >>> from mtlearn.trunks import MLP, Graph, Periodic
    >>> Periodic(n_units=4).build(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 12])
    >>> trunk = Graph([("waves", Periodic(), "X"), ("dense", MLP((64,)), ["waves", "X"])])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_frequencies": [Interval(Integral, 1, None, closed="left")],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "shared": ["boolean"],
    }

    def __init__(
        self,
        n_frequencies: int = 16,
        n_units: int = 8,
        scale: float = 0.1,
        shared: bool = False,
    ) -> None:
        self.n_frequencies = n_frequencies
        self.n_units = n_units
        self.scale = scale
        self.shared = shared

    def build(self, n_features: Any) -> nn.Module:
        """Return the waves; shape (n_samples, n_columns) to (n_samples, n_columns * n_units)."""
        if not isinstance(n_features, int):
            raise ValueError(
                f"Periodic takes a table, rows of the shape (n_columns,). Got rows of the shape "
                f"{n_features}."
            )
        n_maps = 1 if self.shared else n_features
        return Waves(n_features, self.n_frequencies, self.n_units, n_maps, self.scale)


class Waves(nn.Module):
    """Sines and cosines of each column, a linear map of them for each or for all, and ReLU."""

    def __init__(
        self, n_columns: int, n_frequencies: int, n_units: int, n_maps: int, scale: float
    ) -> None:
        super().__init__()
        bound = (2 * n_frequencies) ** -0.5  # that of torch's Linear
        self.n_columns = n_columns
        # Without a second axis there is no L2 penalty.
        self.frequencies = nn.Parameter(torch.randn(n_columns * n_frequencies) * scale)
        self.weight = nn.Parameter(torch.empty(n_maps, 2 * n_frequencies, n_units))
        self.bias = nn.Parameter(torch.empty(n_maps * n_units))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        angles = 2 * math.pi * self.frequencies.view(self.n_columns, -1) * x[:, :, None]
        waves = torch.cat([angles.sin(), angles.cos()], 2)
        weight = self.weight.expand(self.n_columns, -1, -1)
        mapped = torch.einsum("njf,jfu->nju", waves, weight)
        return (mapped + self.bias.view(len(self.weight), -1)).relu().flatten(1)
