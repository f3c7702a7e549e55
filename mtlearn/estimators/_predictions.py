"""What a fitted estimator predicts of each output, and how well."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from mtlearn._arrays import is_frame
from mtlearn._engine._data import Rows
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._predict import embeddings, raw_outputs
from mtlearn._engine._recipe import DTYPES, Recipe
from mtlearn._typing import Array, ArrayLike, SampleWeight, Spec
from mtlearn._validation import check_known, naming
from mtlearn.estimators._inputs import check_inputs, refuse_dates
from mtlearn.estimators._outputs import (
    check_columns,
    check_not_lazy,
    find_held_heads,
    labels_of,
)
from mtlearn.estimators._weights import find_label_weights
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import ClassHead, Head
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets

__all__ = ["NamedOutputs", "Predictions", "has_std"]


class NamedOutputs(BaseEstimator, ABC):
    """What is fitted for several outputs by name, of which an OutputView shows one."""

    heads_: dict[str, Head]

    @abstractmethod
    def _heads(self, names: Collection[str] | None) -> Mapping[str, Head]:
        """Return the heads of the outputs named, by default of all."""

    @abstractmethod
    def _predict(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        """Return the predictions of the outputs named, by default of all."""

    @abstractmethod
    def _predict_proba(
        self, X: ArrayLike, names: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Return the class probabilities of those outputs named that have classes."""

    @abstractmethod
    def _scores(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        names: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Return the scores of the outputs named, by default of all that learn a target of `y`."""


class Predictions(NamedOutputs):
    """Predictions and scores by output, from rows and labels that are checked."""

    missing_targets: str
    output_names_: list[str]
    heads_: dict[str, Head]
    module_: MultiOutputModule
    _recipe: Recipe
    _spec: Spec

    def embed(self, X: ArrayLike, at: str | None = None) -> Array:
        """Return what the trunk makes of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
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
            self._check_tensor(at)
            return embeddings(self.module_, rows, DTYPES[self._recipe.dtype], at)

    def _check_tensor(self, at: str | None) -> None:
        """Raise a ValueError for a tensor that only outputs of weight 0 have their head at."""
        users = [
            name
            for name, head in self.heads_.items()
            if at in ([head.at] if isinstance(head.at, str) else list(head.at or []))
        ]
        if users and all(map(self._recipe.is_left_out, users)):
            raise ValueError(
                f"`at` names {at!r}, where only the outputs {users} have their head; their weight "
                f"is 0, so that the network has no such tensor. To have it without training it, "
                f"make the weight a schedule: loss_weights={{{users[0]!r}: lambda epoch: 0.0}}."
            )

    def _heads(
        self, names: Collection[str] | None, fitted: Mapping[str, Any] | None = None
    ) -> dict[str, Head]:
        """Return the heads of the outputs named, in that order; of all by default.

        `fitted` are the attributes to take them from; None for those of now.
        """
        check_is_fitted(self)
        heads: dict[str, Head] = (fitted or self.__dict__)["heads_"]
        if isinstance(names, str) or not (names is None or isinstance(names, Iterable)):
            raise TypeError(f"{self._owner}: `outputs` must be a list of names. Got {names!r}.")
        names = list(heads) if names is None else list(names)
        check_known(names, heads, subject=f"{self._owner}: `outputs`")
        if not names:
            raise ValueError(
                f"{self._owner}: `outputs` must name an output. Got none of {list(heads)}."
            )
        return {name: heads[name] for name in names}

    def _raw(
        self, X: ArrayLike, heads: Mapping[str, Head], fitted: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Return the raw values of the outputs of some heads, by the network of the same fit."""
        rows = self._check_X(X, reset=False)
        with naming(self._owner):
            raw = raw_outputs(fitted["module_"], heads, rows, DTYPES[fitted["_recipe"].dtype])
        for name, values in raw.items():
            self._check_finite(name, values)
        return raw

    def _predict(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        """Return the predictions of the outputs named, by default of all."""
        fitted = self.__dict__.copy()  # another thread may fit meanwhile
        heads = self._heads(names, fitted)
        raw = self._raw(X, heads, fitted)
        predicted = {name: head.decode(raw[name]) for name, head in heads.items()}
        for name, head in heads.items():
            if not isinstance(head, ClassHead):
                self._check_finite(name, predicted[name])
        return predicted

    def _predict_proba(
        self, X: ArrayLike, names: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Return the class probabilities of those outputs named that have classes."""
        fitted = self.__dict__.copy()  # another thread may fit meanwhile
        heads = {n: h for n, h in self._heads(names, fitted).items() if isinstance(h, ClassHead)}
        raw = self._raw(X, heads, fitted)
        return {name: head.decode_proba(raw[name]) for name, head in heads.items()}

    def _predict_std(self, X: ArrayLike, names: Collection[str] | None = None) -> dict[str, Array]:
        """Return the standard deviations of those outputs named that predict them."""
        fitted = self.__dict__.copy()  # another thread may fit meanwhile
        heads = {n: h for n, h in self._heads(names, fitted).items() if has_std(h)}
        if not heads:
            raise AttributeError(
                f"{self._owner}: no output has a standard deviation. Give it a head that predicts "
                f"one, such as Gaussian()."
            )
        raw = self._raw(X, heads, fitted)
        found: dict[str, Array] = {
            name: getattr(head, "decode_std")(raw[name])  # noqa: B009 (only some heads have it)
            for name, head in heads.items()
        }
        for name, std in found.items():
            self._check_finite(name, std)
        return found

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
        weight = _weights_of(sample_weight, heads, self.output_names_, self._owner)
        rows, _ = self._find_rows(next(iter(predicted.values())), y, heads, weight)
        labels, weights = rows.targets, rows.weights
        scores = {}
        for name, head in heads.items():
            with naming(f"{self._owner}: output {name!r}"):
                shape = (len(predicted[name]), *head.constant_label().shape[1:])
                if labels[name].shape != shape:
                    raise ValueError(
                        f"the labels must have the shape {shape}, as in fit. Got "
                        f"{labels[name].shape}."
                    )
                scores[name] = head.score(labels[name], predicted[name], weights[name])
        return scores

    def _find_rows(
        self,
        X: Array | Inputs,
        y: Targets,
        heads: Mapping[str, Head],
        sample_weight: SampleWeight,
        units: Mapping[str, int] | None = None,
    ) -> tuple[Rows, dict[str, int]]:
        labels = labels_of(y, heads)
        weights, units = find_label_weights(
            labels, sample_weight, self.missing_targets, self._owner, units
        )
        return Rows(X, labels, weights), units

    def _find_held(
        self,
        X: ArrayLike,
        y: Targets,
        sample_weight: SampleWeight,
        heads: Mapping[str, Head],
        rows: Rows,
        main_output: str | None,
    ) -> Rows:
        """Return the validation rows that the user gave."""
        values = self._check_X(X, reset=False)
        self._check_rows(values, y)
        watched = find_held_heads(y, heads, main_output, self._owner)
        held, _ = self._find_rows(values, y, watched, sample_weight)
        check_columns(held.targets, rows.targets, self._owner)
        return held

    def _check_X(self, X: Any, *, reset: bool) -> Array | Inputs:
        if isinstance(X, Mapping) and not hasattr(X, "tocsr"):  # some sparse ones are dicts
            return self._check_inputs(X, reset=reset)
        if not isinstance(X, np.ndarray) or X.dtype.kind not in "biuf":
            check_not_lazy(X, f"{self._owner}: `X`")
            refuse_dates(X, self._owner)
        if not reset and isinstance(self._spec, dict):
            raise TypeError(
                f"{self._owner}: `X` must be a dict of the inputs of fit, {list(self._spec)}. Got "
                f"{type(X).__name__}."
            )
        rows = validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=reset)
        if reset:
            self._spec = rows.shape[1]
        return rows.copy() if min(rows.strides) < 0 else rows  # torch takes no negative strides

    def _check_inputs(self, X: Mapping[str, Any], *, reset: bool) -> Inputs:
        """Return the checked inputs of a dict."""
        before = None
        if not reset:
            before = self._spec
            if not isinstance(before, dict):
                raise TypeError(
                    f"{self._owner}: `X` must be a table of {before} columns, as in fit. Got a "
                    f"dict of {list(X)}."
                )
        inputs, spec = check_inputs(X, self._owner, before)
        if reset:
            self._spec = spec
            for of_table in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(of_table, None)
        return inputs

    def _check_rows(self, X: Array | Inputs, y: Targets) -> None:
        if len(y) != len(X):
            raise ValueError(
                f"{self._owner}: `y` must have as many rows as X, {len(X)}. Got {len(y)} rows of "
                f"the targets {list(y)}."
            )

    def _check_finite(self, name: str, values: Array) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            bad = np.logical_not(finite.reshape(len(values), -1).all(axis=1))
            raise DivergenceError(
                f"{self._owner}: output {name!r}: the predictions of {int(bad.sum())} of "
                f"{len(bad)} rows are not finite. Scale X, or lower `learning_rate` and fit again."
            )

    @property
    def _owner(self) -> str:
        return type(self).__name__


def has_std(head: Head) -> bool:
    """Tell whether a head predicts a standard deviation."""
    return hasattr(head, "decode_std")


def _weights_of(
    sample_weight: SampleWeight, names: Iterable[str], known: Iterable[str], owner: str
) -> SampleWeight:
    """Return the weights by output for some outputs; weights for all outputs as they are.

    Raises
    ------
    ValueError
        For a name that is not among the `known` ones.
    """
    check_not_lazy(sample_weight, f"{owner}: `sample_weight`")
    if is_frame(sample_weight):
        sample_weight = Targets.from_frame(sample_weight)
    if not isinstance(sample_weight, Mapping):
        return sample_weight
    check_known(sample_weight, known, subject=f"{owner}: `sample_weight`")
    return {name: sample_weight[name] for name in names if name in list(sample_weight)}
