"""Data made for examples, tests and self-supervised outputs."""

from mtlearn.datasets._grid_walks import make_grid_walks
from mtlearn.datasets._order_pairs import make_order_pairs
from mtlearn.datasets._withhold_features import withhold_features

__all__ = ["make_grid_walks", "make_order_pairs", "withhold_features"]
