"""What a fitted estimator predicts of each output, and how well."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._predict import embeddings, raw_outputs
from mtlearn._engine._recipe import DTYPES, Recipe
from mtlearn._typing import Array, ArrayLike, SampleWeight
from mtlearn._validation import check_known, naming
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

    def embed(self, X: ArrayLike, at: str | None = None) -> Array:
        """Return what the trunk makes of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        at : str, default=None
            The name of the trunk's tensor; None for the only one.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            The tensor, in the network's type.
        """
        check_is_fitted(self)
        rows = self._check_X(X, reset=False)
        with naming(self._owner):
            return embeddings(self.module_, rows, DTYPES[self._recipe.dtype], at)

    def _heads(self, names: Collection[str] | None) -> dict[str, Head]:
        """Return the heads of the outputs named, in that order; of all by default."""
        check_is_fitted(self)
        if isinstance(names, str):
            raise TypeError(f"{self._owner}: `outputs` must be a list of names. Got {names!r}.")
        names = self.output_names_ if names is None else names
        check_known(names, self.output_names_, subject=f"{self._owner}: `outputs`")
        if not names:
            raise ValueError(
                f"{self._owner}: `outputs` must name an output. Got none of {self.output_names_}."
            )
        return {name: self.heads_[name] for name in names}

    def _raw(self, X: ArrayLike, heads: Mapping[str, Head]) -> dict[str, Array]:
        """Return the raw values of the outputs of some heads."""
        rows = self._check_X(X, reset=False)
        raw = raw_outputs(self.module_, heads, rows, DTYPES[self._recipe.dtype])
        for name, values in raw.items():
            self._check_finite(name, values)
        return raw

    def _predict(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        """Return the predictions of the outputs named, by default of all."""
        heads = self._heads(names)
        raw = self._raw(X, heads)
        predicted = {name: head.decode(raw[name]) for name, head in heads.items()}
        for name, head in heads.items():
            if not isinstance(head, ClassHead):
                self._check_finite(name, predicted[name])
        return predicted

    def _predict_proba(
        self, X: ArrayLike, names: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Return the class probabilities of those outputs named that have classes."""
        heads = {n: h for n, h in self._heads(names).items() if isinstance(h, ClassHead)}
        raw = self._raw(X, heads)
        return {name: head.decode_proba(raw[name]) for name, head in heads.items()}

    def _scores(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        names: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Return the default score of the outputs, by default of all that learn a target of `y`."""
        heads = {
            name: head
            for name, head in self._heads(names).items()
            if (head.target or name) in list(y)
        }
        predicted = self._predict(X, list(heads))
        self._check_rows(next(iter(predicted.values())), y)
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
        weights, _ = find_label_weights(labels, sample_weight, self.missing_targets, self._owner)
        return labels, weights

    def _check_X(self, X: ArrayLike, *, reset: bool) -> Array:
        rows = validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=reset)
        return rows.copy() if min(rows.strides) < 0 else rows  # torch takes no negative strides

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
