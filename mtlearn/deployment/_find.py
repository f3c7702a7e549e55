"""What a fitted object is made of that can be deployed."""

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from mtlearn.estimators import OnlineMultiOutputNet
from mtlearn.estimators._base import BaseMultiOutputNet
from mtlearn.estimators._view import OutputView, find_net

__all__ = ["find_parts"]


def find_parts(fitted: Any, owner: str) -> tuple[BaseMultiOutputNet, list[Any]]:
    """Return the network's estimator, and what transforms its rows, without Pipelines in it.

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
            f"{type(net).__name__}; {_remedy(net, owner)}"
        )
    check_is_fitted(net)
    return net, _flat(steps)


def _remedy(found: Any, owner: str) -> str:
    """Return what to do with something that is no network."""
    if isinstance(found, OnlineMultiOutputNet):
        return (
            "it is no torch network. Keep it by mtlearn.persistence.save, or fit a MultiOutputNet."
        )
    if isinstance(found, OutputView):
        return f"take {owner}(view.fitted, ..., outputs=[view.name])."
    return "of an ensemble or a wrapper, take the estimators inside."


def _flat(steps: list[Any]) -> list[Any]:
    """Return transformers with those of inner Pipelines among them, without "passthrough"."""
    found = []
    for step in steps:
        if isinstance(step, Pipeline):
            found += _flat([inner for _, inner in step.steps])
        elif step is not None and not isinstance(step, str):
            found.append(step)
    return found
