"""Outliers drawn in, smoothly."""

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from mtlearn._sklearn import Interval, fit_context
from mtlearn._typing import Array

__all__ = ["SmoothClip"]


class SmoothClip(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Bound standardised columns smoothly: small values stay, and outliers are drawn in.

    .. math:: z \mapsto \frac{z}{\sqrt{1 + (z / \mathrm{limit})^2}}

    The result z' of a value z is between -limit and limit, of the same order, and nearly z where
    the value is small beside the limit: the slope at 0 is 1. With the default a value of 2 becomes
    1.94, one of 8 becomes 5.66, and one of 1000 becomes 8.00.

    A network follows an outlier of its inputs far out, and lets it rule the gradients of its batch.
    Put this behind a StandardScaler or RobustScaler; on columns of other scales it does harm.

    Parameters
    ----------
    limit : float, default=8.0
        The bound of the result's size.

    Attributes
    ----------
    n_features_in_ : int
        The number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X was a DataFrame whose names are all strings.

    See Also
    --------
    PiecewiseLinear : Columns as components that are linear within bins.
    sklearn.preprocessing.RobustScaler : Scales by quantiles, which outliers do not change.

    Notes
    -----
    Nothing is learned of the rows, so `transform` works before `fit` too. Missing values stay
    missing; infinite ones are refused.

    References
    ----------
    Holzmüller et al., "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data",
    2024, behind a robust scaling and with the limit 3.

    Examples
    --------
    >>> from mtlearn.preprocessing import SmoothClip
    >>> clip = SmoothClip(limit=3)
    >>> clip.fit_transform([[0.1, -1.0], [3.0, 500.0]]).round(2)
    array([[ 0.1 , -0.95],
           [ 2.12,  3.  ]])
    >>> clip.inverse_transform(clip.transform([[0.1, 500.0]])).round(6)
    array([[1.e-01, 5.e+02]])

    In a Pipeline:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from mtlearn import MultiOutputNet
    >>> pipe = make_pipeline(StandardScaler(), SmoothClip(), MultiOutputNet())
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "limit": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, limit: float = 8.0) -> None:
        self.limit = limit

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 (scikit-learn passes one)
        """Check the parameter and the columns; nothing else is learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Standardised columns.
        y : object, default=None
            Ignored.

        Returns
        -------
        SmoothClip
            This object.

        Raises
        ------
        TypeError
            For a sparse X.
        ValueError
            For infinite values.
        """
        self._check(X, reset=True)
        return self

    def transform(self, X: Any) -> Array:
        """Return the bounded values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Standardised columns.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The result, of X's float type.

        Raises
        ------
        TypeError
            For a sparse X.
        ValueError
            For infinite values, and for other columns than in `fit`.
        """
        values = self._check(X)
        limit = float(self.limit)  # numpy's own float would make doubles of singles
        return values / np.hypot(values, limit) * limit  # no square, which could overflow

    def inverse_transform(self, X: Any) -> Array:
        """Return the values that `transform` bounded.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Results of `transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The values before, of X's float type. Far beyond the limit only their size is known, for
            what remains of their differences is lost to rounding.

        Raises
        ------
        TypeError
            For a sparse X.
        ValueError
            For values beyond the limit, and for other columns than in `fit`.
        """
        values = self._check(X)
        share = values / float(self.limit)
        beyond = np.abs(share) > 1 + np.finfo(values.dtype).eps
        if beyond.any():
            raise ValueError(
                f"SmoothClip: X must be within `limit`={self.limit}, as results of transform are. "
                f"Got {values[beyond][0]}."
            )
        largest = np.nextafter(values.dtype.type(1), values.dtype.type(0))
        share = np.clip(share, -largest, largest)  # rounding reaches the limit; no value does
        return share / np.sqrt((1 - share) * (1 + share)) * float(self.limit)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check(self, X: Any, *, reset: bool = False) -> Array:
        return validate_data(
            self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", reset=reset
        )
