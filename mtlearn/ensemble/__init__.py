"""Ensembles of several estimators; `mtlearn.tabular_net` is the one recommended for a table."""

from mtlearn.ensemble._blend import Blend

__all__ = ["Blend"]
