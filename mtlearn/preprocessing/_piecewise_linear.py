"""Columns as components that are linear within bins."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from mtlearn._sklearn import Interval, fit_context
from mtlearn._typing import Array, ArrayLike, Floats

__all__ = ["PiecewiseLinear"]

TIE = 1e-9  # shares of weight closer than this to a quantile's are it, whatever rounding says
RESOLUTION = 8  # the least width of a bin, in units of its edges' rounding


class PiecewiseLinear(TransformerMixin, BaseEstimator):
    r"""Encode each column as several, each of which follows it within one bin of its values.

    The bins of a column lie between its quantiles :math:`b_0 < b_1 < \dots < b_T` in the training
    rows. Component t of a value x is

    .. math:: e_t = \frac{x - b_{t-1}}{b_t - b_{t-1}},

    but 0 below its bin, unless this is the first, and 1 above, unless it is the last: the two outer
    bins have no end, so that no value is lost. Linear models of the components are functions of the
    column with a bend at each edge, and a network, too, learns steep and narrow steps with ease.

    Parameters
    ----------
    n_bins : int, default=8
        The number of bins of a column, at most, with about as many rows in each; but a value that
        more rows have, such as 0, takes the place of one bin only. A column with no more than
        ``n_bins + 1`` different values has its edges at these; so a column of 0 and 1 stays one
        column. Edges that coincide are one, as do those that only rounding tells apart.
    center : bool, default=True
        Whether the mean of each component over the training rows is subtracted.

    Attributes
    ----------
    bin_edges_ : list of ndarray
        The edges of each column, in ascending order; a single one if the column is constant.
    mean_ : ndarray of shape (n_components,) or None
        The mean of each component; None if `center` is False.
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X was a DataFrame whose names are all strings.

    See Also
    --------
    SmoothClip : Bounds outliers, which the outer bins let through.
    mtlearn.trunks.Periodic : Waves of the columns, which are learned.
    sklearn.preprocessing.KBinsDiscretizer : Bins without the place in them.
    sklearn.preprocessing.SplineTransformer : Smooth components, several of which overlap.

    Notes
    -----
    The scale of a column makes no difference. A value far outside the training rows becomes a large
    component; with StandardScaler and SmoothClip before, it cannot.

    A constant column becomes one column of zeros, so that there is a component for every column.
    An edge is a value of the column: the first in ascending order up to which at least t / `n_bins`
    of the rows' weight lies, "inverted_cdf" in ``numpy.quantile``. A value counts for one bin's
    share of the weight at most: in a column that is 0 in nine rows of ten, the rest has bins too.

    References
    ----------
    Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", 2022, their
    quantile-based bins; they do not centre, and let a frequent value take several quantiles.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.preprocessing import PiecewiseLinear
    >>> X = np.array([[0.0], [1.0], [2.0], [4.0], [8.0]])
    >>> encoder = PiecewiseLinear(n_bins=2, center=False).fit(X)
    >>> encoder.bin_edges_
    [array([0., 2., 8.])]
    >>> encoder.transform([[-1.0], [1.0], [5.0], [11.0]])
    array([[-0.5,  0. ],
           [ 0.5,  0. ],
           [ 1. ,  0.5],
           [ 1. ,  1.5]])
    >>> encoder.get_feature_names_out(["age"])
    array(['age_bin0', 'age_bin1'], dtype=object)

    A linear model of the components follows steps, which one of the column cannot:

    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.linspace(0, 1, 200)[:, None]
    >>> y = np.floor(4 * X[:, 0]) % 2
    >>> round(Ridge().fit(X, y).score(X, y), 2)
    0.17
    >>> pipe = make_pipeline(PiecewiseLinear(n_bins=32), Ridge(alpha=0.01))
    >>> round(pipe.fit(X, y).score(X, y), 2)
    0.93
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "center": ["boolean"],
    }

    def __init__(self, n_bins: int = 8, center: bool = True) -> None:
        self.n_bins = n_bins
        self.center = center

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002 (scikit-learn passes one)
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Find the edges of the bins, and the means of the components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts for the quantiles and means. Rows of weight 0 have no part.

        Returns
        -------
        PiecewiseLinear
            This object.

        Raises
        ------
        TypeError
            For a sparse X.
        ValueError
            For missing and infinite values, and for bad weights.
        """
        values = self._check(X, reset=True)
        weight = None
        if sample_weight is not None:
            weight = _check_weight(sample_weight, len(values))
            values, weight = values[weight > 0], weight[weight > 0]
        self.bin_edges_ = [_find_edges(column, weight, self.n_bins) for column in values.T]
        self.mean_ = None
        if self.center:
            means = [
                np.average(part, axis=0, weights=weight)
                for part in map(_components, values.T, self.bin_edges_)
            ]
            self.mean_ = np.concatenate(means)
        return self

    def transform(self, X: Any) -> Array:
        """Return the components of all columns, side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The components, of X's float type.

        Raises
        ------
        TypeError
            For a sparse X.
        ValueError
            For missing and infinite values, and for other columns than in `fit`.
        """
        check_is_fitted(self)
        values = self._check(X)
        widths = [_n_components(edges) for edges in self.bin_edges_]
        ends = np.cumsum(widths)
        out = np.empty((len(values), ends[-1]), dtype=values.dtype)
        for column, edges, end, width in zip(values.T, self.bin_edges_, ends, widths, strict=True):
            part = _components(column, edges)
            if self.mean_ is not None:
                part -= self.mean_[end - width : end]
            out[:, end - width : end] = part
        return out

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Return the names of the components: ``age_bin0``, ``age_bin1``, and so on.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,), default=None
            The names of the columns; None for those of `fit`, or ``x0``, ``x1``, and so on.

        Returns
        -------
        ndarray of str of shape (n_components,)
            The names.
        """
        check_is_fitted(self)
        columns = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        names = [
            f"{column}_bin{t}"
            for column, edges in zip(columns, self.bin_edges_, strict=True)
            for t in range(_n_components(edges))
        ]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check(self, X: Any, *, reset: bool = False) -> Array:
        """Return the values; raise for what has no place in a bin."""
        values = validate_data(
            self, X, dtype=[np.float64, np.float32], ensure_all_finite=False, reset=reset
        )
        bad = ~np.isfinite(values)
        if bad.any():
            names = OneToOneFeatureMixin.get_feature_names_out(self)
            raise ValueError(
                f"PiecewiseLinear: X must hold finite numbers. Got NaN or infinity in "
                f"{bad.any(axis=1).sum()} of {len(bad)} rows, in the columns "
                f"{names[bad.any(axis=0)].tolist()}; fill missing values before, for example with "
                f"SimpleImputer(add_indicator=True)."
            )
        return values


def _check_weight(sample_weight: ArrayLike, n_samples: int) -> Floats:
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(
            f"PiecewiseLinear: `sample_weight` must have the shape ({n_samples},), one for each "
            f"row. Got {weight.shape}."
        )
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError(
            f"PiecewiseLinear: `sample_weight` must hold finite numbers, none negative and not all "
            f"zero. Got {np.sum(~(weight >= 0) | np.isinf(weight))} negative or non-finite and "
            f"{np.sum(weight == 0)} zero weights of {n_samples}."
        )
    return weight


def _find_edges(values: Array, weight: Floats | None, n_bins: int) -> Floats:
    """Return the different values if they are few, else quantiles, in ascending order."""
    edges, position = np.unique(values, return_inverse=True)
    if len(edges) > n_bins + 1:
        shares = np.cumsum(_capped(np.bincount(position, weights=weight), n_bins))
        inner = np.searchsorted(shares / shares[-1], np.arange(1, n_bins) / n_bins - TIE)
        edges = edges[np.unique([0, *inner, len(edges) - 1])]
    rounding = np.finfo(edges.dtype).eps * np.maximum(np.abs(edges[1:]), np.abs(edges[:-1]))
    edges = edges.astype(np.float64)
    return edges[np.append(True, np.diff(edges) > RESOLUTION * rounding)]


def _capped(weights: Array, n_bins: int) -> Floats:
    """Return weights of which none is more than one bin's share of their sum; the others stay."""
    falling = np.sort(weights)[::-1]
    rest = np.cumsum(falling[::-1])[::-1]
    shares = rest[:n_bins] / np.arange(n_bins, 0, -1)  # of a bin, if so many values have their own
    n_own = np.argmax(falling[:n_bins] <= shares)
    return np.minimum(weights, shares[n_own])


def _n_components(edges: Floats) -> int:
    return max(len(edges) - 1, 1)


def _components(values: Array, edges: Floats) -> Floats:
    """Return the components of a column; zeros if it has no bin."""
    if len(edges) == 1:
        return np.zeros((len(values), 1))
    parts = (values[:, None] - edges[:-1]) / np.diff(edges)
    np.maximum(parts[:, 1:], 0, out=parts[:, 1:])
    np.minimum(parts[:, :-1], 1, out=parts[:, :-1])
    return parts
