"""Weights of losses that change from epoch to epoch."""

from mtlearn.weighting._base import Schedule
from mtlearn.weighting._cosine import Cosine
from mtlearn.weighting._linear import Linear
from mtlearn.weighting._step import Step

__all__ = ["Cosine", "Linear", "Schedule", "Step"]
