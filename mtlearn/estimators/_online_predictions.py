"""What an estimator for streams predicts of each output, and how well."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, validate_data

from mtlearn._arrays import is_frame
from mtlearn._engine._online_network import OnlineNetwork
from mtlearn._typing import Array, Floats, SampleWeight
from mtlearn._validation import check_known, naming
from mtlearn.estimators._outputs import ARRAY_NAME, check_not_lazy, labels_of
from mtlearn.estimators._predictions import NamedOutputs, has_std
from mtlearn.estimators._stream_rows import is_rows_of_dicts, rows_by_name
from mtlearn.estimators._weights import find_label_weights
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.targets import Targets

__all__ = ["OnlinePredictions"]


class OnlinePredictions(NamedOutputs):
    """Predictions and scores by output, from rows in which features may be absent."""

    balanced: bool
    missing_targets: str
    network_: OnlineNetwork
    n_features_in_: int
    _y_is_array: bool

    @property
    def heads_(self) -> dict[str, Head]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The heads, fitted to the labels so far."""
        check_is_fitted(self)
        return {name: output.head for name, output in self.network_.outputs.items()}

    def _rows(self, X: Any, *, learns: bool) -> tuple[Floats, list[str]]:
        """Return rows as a matrix, and the names of its columns."""
        known: list[str] = self.__dict__.get("_feature_names", [])
        if _is_ready(X, len(known)) and not hasattr(self, "feature_names_in_"):
            return X, known
        check_not_lazy(X, f"{self._owner}: `X`")
        by_name = is_frame(X) or is_rows_of_dicts(X)
        if known and not by_name and hasattr(self, "feature_names_in_"):
            raise TypeError(
                f"{self._owner}: `X` must have names as before, as a DataFrame or a list of dicts. "
                f"Got {type(X).__name__}."
            )
        if by_name:
            if known and not hasattr(self, "feature_names_in_"):
                raise TypeError(f"{self._owner}: `X` must be an array as before. Got names.")
            return rows_by_name(X, known, self._owner)
        if isinstance(X, Mapping) and not hasattr(X, "tocsr"):  # some sparse ones are dicts
            raise TypeError(
                f"{self._owner}: `X` must be a table. Got a dict; pass [row] for a row."
            )
        rows = validate_data(
            self,
            X,
            dtype=np.float64,
            order="C",
            ensure_all_finite="allow-nan",
            reset=learns and not known,
        )
        return rows, known or [f"x{i}" for i in range(rows.shape[1])]

    def _keep_names(self, X: Any, names: list[str]) -> None:
        if is_frame(X) or is_rows_of_dicts(X):
            self.feature_names_in_ = np.array(names, dtype=object)
        self._feature_names, self.n_features_in_ = names, len(names)

    def _heads(self, names: Collection[str] | None) -> dict[str, Head]:
        heads = self.heads_
        if isinstance(names, str):
            raise TypeError(f"{self._owner}: `outputs` must be a list of names. Got {names!r}.")
        names = list(heads) if names is None else list(names)
        check_known(names, heads, subject=f"{self._owner}: `outputs`")
        if not names:
            raise ValueError(
                f"{self._owner}: `outputs` must name an output. Got none of {list(heads)}."
            )
        return {name: heads[name] for name in names}

    def _mixed(self, X: Any, heads: Mapping[str, Head]) -> dict[str, tuple[Array, Any]]:
        """Return the raw outputs, and the probabilities of those with classes."""
        rows, _ = self._rows(X, learns=False)
        found = self.network_.predict(rows[:, : self.n_features_in_], list(heads))
        for name, head in heads.items():
            output = self.network_.outputs[name]
            if not output.labels.is_known:
                raise NotFittedError(
                    f"{self._owner}: output {name!r} cannot be predicted before its first label."
                )
            if name not in found:
                raw = np.repeat(np.asarray(head.constant_raw_)[None], len(rows), axis=0)
                proba = head.decode_proba(raw) if isinstance(head, ClassHead) else None
                found[name] = raw, proba
            if not np.isfinite(found[name][0]).all():
                raise DivergenceError(
                    f"{self._owner}: output {name!r}: predictions are not finite. Lower "
                    f"`learning_rate`, and learn anew."
                )
        return found

    def _predict(self, X: Any, names: Collection[str] | None = None) -> dict[str, Array]:
        heads = self._heads(names)
        mixed = self._mixed(X, heads)
        found = {}
        for name, head in heads.items():
            raw, proba = mixed[name]
            if isinstance(head, ClassHead):
                if self.balanced and not isinstance(head, MultiLabel):
                    proba = proba / head.decode_proba(np.asarray(head.constant_raw_)[None])
                found[name] = head.decide(proba)
            else:
                found[name] = head.decode(raw)
        return found

    def _predict_proba(self, X: Any, names: Collection[str] | None = None) -> dict[str, Array]:
        heads = {n: head for n, head in self._heads(names).items() if isinstance(head, ClassHead)}
        return {name: proba for name, (_, proba) in self._mixed(X, heads).items()}

    def _predict_std(self, X: Any, names: Collection[str] | None = None) -> dict[str, Array]:
        """Return the standard deviations of those outputs named that predict them."""
        heads = {name: head for name, head in self._heads(names).items() if has_std(head)}
        mixed = self._mixed(X, heads)
        return {
            name: getattr(head, "decode_std")(mixed[name][0])  # noqa: B009 (only some heads have it)
            for name, head in heads.items()
        }

    def _scores(
        self,
        X: Any,
        y: Targets,
        sample_weight: SampleWeight,
        names: Collection[str] | None = None,
    ) -> dict[str, float]:
        heads = {n: h for n, h in self._heads(names).items() if (h.target or n) in list(y)}
        predicted = self._predict(X, list(heads))
        labels = labels_of(y, heads)
        weights, _ = find_label_weights(labels, sample_weight, self.missing_targets, self._owner)
        scores = {}
        for name, head in heads.items():
            with naming(f"{self._owner}: output {name!r}"):
                scores[name] = head.score(labels[name], predicted[name], weights[name])
        return scores

    def _like_y(self, outputs: dict[str, Array]) -> Any:
        return outputs[ARRAY_NAME] if self._y_is_array else Targets(outputs)

    @property
    def _owner(self) -> str:
        return type(self).__name__


def _is_ready(X: Any, n_features: int) -> bool:
    """Tell rows that scikit-learn's validation, which takes longer than a step, leaves alone."""
    return (
        type(X) is np.ndarray
        and X.dtype == np.float64
        and X.ndim == 2
        and X.shape[1] == n_features > 0
        and len(X) > 0
        and X.flags.c_contiguous
        and not np.isinf(X).any()
    )
