"""Data made for examples, tests and self-supervised outputs."""

from mtlearn.datasets._grid_walks import make_grid_walks
from mtlearn.datasets._order_pairs import make_order_pairs

__all__ = ["make_grid_walks", "make_order_pairs"]
