"""Heads: what each output predicts, and by which loss."""

from mtlearn.heads._base import ClassHead, Head
from mtlearn.heads._classification import Classification
from mtlearn.heads._count import Count
from mtlearn.heads._gaussian import Gaussian
from mtlearn.heads._infer import infer_head
from mtlearn.heads._multilabel import MultiLabel
from mtlearn.heads._ordinal import Ordinal
from mtlearn.heads._pair_order import PairOrder
from mtlearn.heads._quantile import Quantile
from mtlearn.heads._regression import Regression

__all__ = [
    "ClassHead",
    "Classification",
    "Count",
    "Gaussian",
    "Head",
    "MultiLabel",
    "Ordinal",
    "PairOrder",
    "Quantile",
    "Regression",
    "infer_head",
]
