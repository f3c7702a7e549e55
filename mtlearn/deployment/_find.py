"""What a fitted object is made of that can be deployed."""

from typing import Any

from sklearn.utils.validation import check_is_fitted

from mtlearn.estimators._base import BaseMultiOutputNet
from mtlearn.estimators._view import find_net

__all__ = ["find_parts"]


def find_parts(fitted: Any, owner: str) -> tuple[BaseMultiOutputNet, list[Any]]:
    """Return the network's estimator, and what transforms its rows.

    Raises
    ------
    TypeError
        If there is no network of torch in it that could be deployed by itself.
    """
    try:
        net, steps = find_net(fitted)
    except TypeError:
        net, steps = fitted, []
    if not isinstance(net, BaseMultiOutputNet):
        raise TypeError(
            f"{owner}: `fitted` must be a MultiOutputNet, a MultiOutputNetRegressor or "
            f"-Classifier, a Pipeline that ends in one, or a search over either. Got "
            f"{type(net).__name__}; of an ensemble or a wrapper, take the estimators inside."
        )
    check_is_fitted(net)
    return net, steps
