"""Folds that are alike in all targets at once."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from mtlearn._arrays import as_columns, homogeneous, missing_mask
from mtlearn._sklearn import Interval, validate_parameter_constraints
from mtlearn._typing import Array, Mask, RandomState
from mtlearn.model_selection._rows import by_name

__all__ = ["IterativeStratification"]


class IterativeStratification(BaseEstimator):
    """Divide rows into folds that have every label of every target in proportion.

    Every class, and every column of an indicator matrix, is a label; numbers are divided into
    quantiles. The rarest label is dealt out first, each of its rows to the fold that lacks it
    most. Missing labels count for nothing.

    Parameters
    ----------
    n_splits : int, default=5
        The number of folds, at least 2.
    n_quantiles : int, default=4
        Into how many parts numbers are divided.
    random_state : int, RandomState instance or None, default=None
        Decides between folds that lack a label alike, and the order of a label's rows.

    See Also
    --------
    StratifyOn : Stratifies on one target.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import Targets
    >>> from mtlearn.model_selection import IterativeStratification
    >>> kind, flag = np.repeat(["a", "b"], 6), np.tile([True, True, False], 4)
    >>> y = Targets({"kind": kind, "flag": flag})
    >>> for _, test in IterativeStratification(2, random_state=0).split(np.zeros((12, 1)), y):
    ...     print((kind[test] == "a").sum(), flag[test].sum())
    3 4
    3 4
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_splits": [Interval(Integral, 2, None, closed="left")],
        "n_quantiles": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, n_splits: int = 5, *, n_quantiles: int = 4, random_state: RandomState = None
    ) -> None:
        self.n_splits = n_splits
        self.n_quantiles = n_quantiles
        self.random_state = random_state

    def split(
        self,
        X: Any,  # noqa: ARG002 (scikit-learn passes it)
        y: Any,
        groups: Any = None,  # noqa: ARG002 (scikit-learn passes it)
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the rows to train on and those to test on.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Not used.
        y : Targets, dict of array-like or DataFrame
            The targets by name.
        groups : array-like of shape (n_samples,), default=None
            Not used.

        Yields
        ------
        train, test : ndarray
            The positions of the rows.

        Raises
        ------
        ValueError
            For more folds than rows, and for bad parameters.
        """
        params = self.get_params(deep=False)
        validate_parameter_constraints(
            self._parameter_constraints, params, caller_name=type(self).__name__
        )
        targets = by_name(y)
        if len(targets) < self.n_splits:
            raise ValueError(
                f"IterativeStratification: `n_splits` must not exceed the number of rows, "
                f"{len(targets)}. Got {self.n_splits}."
            )
        labels = np.column_stack([_labels(targets[name], self.n_quantiles) for name in targets])
        folds = _deal(labels, self.n_splits, check_random_state(self.random_state))
        for fold in range(self.n_splits):
            yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)

    def get_n_splits(
        self,
        X: Any = None,  # noqa: ARG002 (scikit-learn passes it)
        y: Any = None,  # noqa: ARG002 (scikit-learn passes it)
        groups: Any = None,  # noqa: ARG002 (scikit-learn passes it)
    ) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), default=None
            Not used.
        y : Targets, dict of array-like or DataFrame, default=None
            Not used.
        groups : array-like of shape (n_samples,), default=None
            Not used.

        Returns
        -------
        int
            The number.
        """
        return self.n_splits


def _labels(y: Array, n_quantiles: int) -> Mask:
    """Return one column per label of a target, true where a row has it."""
    missing = missing_mask(y)
    observed = homogeneous(y[~missing])
    if y.ndim == 2 and np.isin(observed, (0, 1)).all():
        return (y == 1) & ~missing
    columns = []
    for values, gaps in zip(as_columns(y).T, as_columns(missing).T, strict=True):
        if gaps.all():
            continue
        known = homogeneous(values[~gaps])
        if known.dtype.kind == "f":
            bounds = np.quantile(known, np.linspace(0, 1, n_quantiles + 1)[1:-1])
            known = np.digitize(known, bounds)
        codes = np.full(len(values), -1)
        kinds, codes[~gaps] = np.unique(known, return_inverse=True)
        columns += [codes == code for code in range(len(kinds))]
    return np.column_stack(columns) if columns else np.zeros((len(y), 0), dtype=bool)


def _deal(labels: Mask, n_folds: int, random: np.random.RandomState) -> Array:
    """Return the fold of each row, by Sechidis' algorithm 1."""
    n_rows = len(labels)
    folds = np.full(n_rows, -1)
    wanted_rows = np.full(n_folds, n_rows / n_folds)
    wanted = np.tile(labels.sum(axis=0) / n_folds, (n_folds, 1))
    left = labels.copy()
    while left.any():
        counts = left.sum(axis=0)
        label = int(np.where(counts > 0, counts, n_rows + 1).argmin())
        for row in random.permutation(np.flatnonzero(left[:, label])):
            fold = _neediest(wanted[:, label], wanted_rows, random)
            folds[row] = fold
            wanted[fold] -= labels[row]
            wanted_rows[fold] -= 1
            left[row] = False
    for row in random.permutation(np.flatnonzero(folds < 0)):
        folds[row] = fold = _neediest(wanted_rows, wanted_rows, random)
        wanted_rows[fold] -= 1
    return folds


def _neediest(wanted: Array, wanted_rows: Array, random: np.random.RandomState) -> int:
    """Return the fold that lacks most; of several, that which lacks most rows."""
    ties = np.flatnonzero(wanted == wanted.max())
    ties = ties[wanted_rows[ties] == wanted_rows[ties].max()]
    return int(ties[0] if len(ties) == 1 else random.choice(ties))
