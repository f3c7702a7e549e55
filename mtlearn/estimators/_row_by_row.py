"""One row at a time, as dicts: the interface of river."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from mtlearn._typing import Array
from mtlearn.targets import Targets

__all__ = ["RowByRow"]


class RowByRow(BaseEstimator):
    """Adds ``learn_one``, ``predict_one`` and ``predict_proba_one`` to an online estimator."""

    _y_is_array: bool

    @abstractmethod
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, classes: Any = None
    ) -> Self:
        """Learn rows."""

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Predict rows."""

    @abstractmethod
    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities."""

    @property
    @abstractmethod
    def classes_(self) -> Any:
        """The classes."""

    def learn_one(self, x: Mapping[str, float], y: Any, w: float = 1.0) -> None:
        """Learn one row.

        Parameters
        ----------
        x : dict of str to float
            The features that are available now.
        y : label or dict of str to label
            The label; of several outputs, the labels by name.
        w : float, default=1.0
            The weight of the row.
        """
        if isinstance(y, Mapping):
            labels: Any = Targets({name: _one(label) for name, label in y.items()})
        else:
            labels = _one(y)
        self.partial_fit([x], labels, None if w == 1.0 else [w])

    def predict_one(self, x: Mapping[str, float]) -> Any:
        """Predict one row.

        Parameters
        ----------
        x : dict of str to float
            The features that are available now.

        Returns
        -------
        label or dict of str to label
            The prediction; None before the first row was learned.
        """
        try:
            predicted = self.predict([x])
        except NotFittedError:
            return None
        if self._y_is_array:
            return _plain(predicted[0])
        return {name: _plain(predicted[name][0]) for name in predicted}

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[Any, Any]:
        """Predict the class probabilities of one row.

        Parameters
        ----------
        x : dict of str to float
            The features that are available now.

        Returns
        -------
        dict of label to float, or dict of str to that
            The probabilities by class; of several outputs by name. Empty before the first row was
            learned.
        """
        try:
            found = self.predict_proba([x])
        except NotFittedError:
            return {}
        classes = self.classes_
        if self._y_is_array:
            return _by_class(classes, found[0])
        return {name: _by_class(classes[name], found[name][0]) for name in found}


def _one(label: Any) -> Array:
    """Return an array of one label."""
    if label is None:
        return np.array([None], dtype=object)
    return np.asarray(label)[None]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _by_class(classes: Array, proba: Array) -> dict[Any, float]:
    return dict(zip(classes.tolist(), proba.tolist(), strict=True))
