"""A splitter that sees one of several targets."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from mtlearn._arrays import homogeneous, missing_mask
from mtlearn._typing import Array
from mtlearn._validation import check_known
from mtlearn.model_selection._rows import by_name

__all__ = ["StratifyOn"]


class StratifyOn(BaseEstimator):
    """Let a splitter of scikit-learn see one target: stratify the rows on it.

    Rows whose label is missing are a stratum of their own.

    Parameters
    ----------
    target : str
        The target.
    splitter : cross-validation splitter
        What splits the rows by the labels, such as ``StratifiedKFold(5)``.

    See Also
    --------
    IterativeStratification : Stratifies on all targets at once.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import StratifiedKFold
    >>> from mtlearn import Targets
    >>> from mtlearn.model_selection import StratifyOn
    >>> y = Targets({"price": np.arange(6.0), "kind": ["a", "a", "b", "b", "a", "b"]})
    >>> splitter = StratifyOn("kind", StratifiedKFold(3))
    >>> [y["kind"][test].tolist() for _, test in splitter.split(np.zeros((6, 1)), y)]
    [['a', 'b'], ['a', 'b'], ['a', 'b']]
    """

    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, target: str, splitter: Any) -> None:
        self.target = target
        self.splitter = splitter

    def split(self, X: Any, y: Any, groups: Any = None) -> Iterator[tuple[Array, Array]]:
        """Yield the rows to train on and those to test on.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : Targets, dict of array-like or DataFrame
            The targets by name.
        groups : array-like of shape (n_samples,), default=None
            Groups, for a splitter that takes some.

        Yields
        ------
        train, test : ndarray
            The positions of the rows.

        Raises
        ------
        ValueError
            For an unknown target.
        """
        yield from self.splitter.split(X, self._labels(y), groups)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), default=None
            The rows.
        y : Targets, dict of array-like or DataFrame, default=None
            The targets by name.
        groups : array-like of shape (n_samples,), default=None
            Groups.

        Returns
        -------
        int
            The number.
        """
        return self.splitter.get_n_splits(X, None if y is None else self._labels(y), groups)

    def _labels(self, y: Any) -> Array:
        targets = by_name(y)
        check_known([self.target], targets, subject="StratifyOn: `target`", noun="target")
        labels = targets[self.target]
        missing = missing_mask(labels)
        if not missing.any():
            return labels
        codes = np.full(len(labels), -1)
        codes[~missing] = np.unique(homogeneous(labels[~missing]), return_inverse=True)[1]
        return codes
