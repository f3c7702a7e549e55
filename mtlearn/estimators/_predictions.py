"""What a fitted estimator predicts of each output, and how well."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._predict import raw_outputs
from mtlearn._engine._train import DTYPES, Recipe
from mtlearn._typing import Array, ArrayLike, SampleWeight
from mtlearn._validation import naming
from mtlearn.estimators._outputs import find_label_weights, labels_of
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import ClassHead, Head
from mtlearn.targets import Targets

__all__ = ["Predictions"]


class Predictions(BaseEstimator):
    """Predictions and scores by output, from rows and labels that are checked."""

    missing_targets: str
    output_names_: list[str]
    heads_: dict[str, Head]
    module_: MultiOutputModule
    _recipe: Recipe

    def _raw(self, X: ArrayLike) -> dict[str, Array]:
        """Return the raw values of every output."""
        check_is_fitted(self)
        rows = self._check_X(X, reset=False)
        raw = raw_outputs(self.module_, self.heads_, rows, DTYPES[self._recipe.dtype])
        for name, values in raw.items():
            self._check_finite(name, values)
        return raw

    def _predict(self, X: ArrayLike) -> dict[str, Array]:
        """Return the predictions of every output."""
        predicted = {}
        for name, raw in self._raw(X).items():
            predicted[name] = self.heads_[name].decode(raw)
            if not isinstance(self.heads_[name], ClassHead):
                self._check_finite(name, predicted[name])
        return {name: predicted[name] for name in self.output_names_}

    def _predict_proba(self, X: ArrayLike) -> dict[str, Array]:
        """Return the class probabilities of every output that has classes."""
        raw = self._raw(X)
        return {
            name: head.decode_proba(raw[name])
            for name, head in self.heads_.items()
            if isinstance(head, ClassHead)
        }

    def _scores(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        names: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Return the default score of the outputs, by default of all that learn a target of `y`."""
        predicted = self._predict(X)
        self._check_rows(next(iter(predicted.values())), y)
        heads = {
            name: head
            for name, head in self.heads_.items()
            if (head.target or name) in list(y) and (names is None or name in names)
        }
        labels, weights = self._labels(y, heads, sample_weight)
        scores = {}
        for name, head in heads.items():
            with naming(f"{self._owner}: output {name!r}"):
                if labels[name].shape[1:] != predicted[name].shape[1:]:
                    raise ValueError(
                        f"the labels must have the shape {predicted[name].shape}, as in fit. Got "
                        f"{labels[name].shape}."
                    )
                scores[name] = head.score(labels[name], predicted[name], weights[name])
        return scores

    def _labels(
        self, y: Targets, heads: Mapping[str, Head], sample_weight: SampleWeight
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        labels = labels_of(y, heads)
        return labels, find_label_weights(labels, sample_weight, self.missing_targets, self._owner)

    def _check_X(self, X: ArrayLike, *, reset: bool) -> Array:
        return validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=reset)

    def _check_rows(self, X: Array, y: Targets) -> None:
        if len(y) != len(X):
            raise ValueError(
                f"{self._owner}: `y` must have as many rows as X, {len(X)}. Got {len(y)} rows of "
                f"the targets {list(y)}."
            )

    def _check_finite(self, name: str, values: Array) -> None:
        bad = np.logical_not(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if bad.any():
            raise DivergenceError(
                f"{self._owner}: output {name!r}: the predictions of {int(bad.sum())} of "
                f"{len(bad)} rows are not finite. Scale X, or lower `learning_rate` and fit again."
            )

    @property
    def _owner(self) -> str:
        return type(self).__name__
