"""The estimators: scikit-learn's surface."""

from mtlearn.estimators._classifier import MultiOutputNetClassifier
from mtlearn.estimators._net import MultiOutputNet
from mtlearn.estimators._online import OnlineMultiOutputNet
from mtlearn.estimators._regressor import MultiOutputNetRegressor
from mtlearn.estimators._view import OutputView

__all__ = [
    "MultiOutputNet",
    "MultiOutputNetClassifier",
    "MultiOutputNetRegressor",
    "OnlineMultiOutputNet",
    "OutputView",
]
