"""Features that come and go: the patterns by which streams of the literature lack some."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn.utils import check_random_state

from mtlearn._arrays import column_names, is_frame, missing_mask, stack_columns
from mtlearn._typing import Array, ArrayLike, Floats, Mask, RandomState
from mtlearn._validation import suggest

__all__ = ["withhold_features"]

Pattern = Literal["variable", "trapezoidal", "sudden", "obsolete", "informative"]

OWNER = "withhold_features"


def withhold_features(
    X: Any,
    pattern: Pattern = "variable",
    *,
    p: float = 0.5,
    n_always: int = 0,
    n_chunks: int = 10,
    y: ArrayLike | None = None,
    random_state: RandomState = None,
) -> Any:
    r"""Return a copy of a stream's rows in which features come and go.

    A value that is not available is NaN. The rows keep their order, which is taken for time.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        The rows, numbers all of them. What is NaN already stays so.
    pattern : str, default="variable"
        Which values are available:

        - ``"variable"``: each with the probability `p`.
        - ``"trapezoidal"``: in the first of `n_chunks` chunks of rows the first of as many parts of
          the columns, in each chunk one part more, and all in the last. Nothing is drawn.
        - ``"sudden"``: the features are dealt into `n_chunks` sets. One is there from the
          beginning; each of the others appears at once, at a row that is drawn, and stays.
        - ``"obsolete"``: a third of the features vanishes for good, a third is away for a while,
          and a third comes later and stays; for each feature at rows of its own.
        - ``"informative"``: each with a probability that depends on the label, so that what is
          absent says something of it; see the notes.
    p : float, default=0.5
        The probability that a value is available, for "variable"; the mean one for "informative".
    n_always : int, default=0
        How many features, from the first column on, are always available.
    n_chunks : int, default=10
        The number of chunks for "trapezoidal", and of sets for "sudden".
    y : array-like of shape (n_samples,), default=None
        The labels that the absence tells of, for "informative"; floats count as numbers, all else
        as classes. None for the value itself, as where large values are not reported.
    random_state : int, RandomState instance or None, default=None
        Draws what is available.

    Returns
    -------
    ndarray or DataFrame of shape (n_samples, n_features)
        The copy, in floats: in the type of `X` if that is one.

    Raises
    ------
    TypeError
        If `X` does not hold numbers.
    ValueError
        For an unknown pattern, a probability outside [0, 1], bad numbers of features or chunks,
        and for labels of another number of rows.

    See Also
    --------
    mtlearn.model_selection.prequential : Tests and trains on such a stream.

    Notes
    -----
    For "informative", two probabilities :math:`q_j^0, q_j^1` are drawn for each feature :math:`j`,
    uniformly from :math:`p \pm \min(p, 1 - p) / 2`; with classes, one for each class. A value is
    available with the probability of its row's class. With numbers it is
    :math:`q_j^0 + r (q_j^1 - q_j^0)`, where :math:`r` goes from 0 for the smallest of the different
    labels to 1 for the largest by their rank; without `y` it is the rank of the value in its
    column. Where a label is missing, the probability is `p`. Over many features no class has more
    values than another: only which of them are absent tells something, and a linear model can learn
    it from a mask of the absent values beside them, but not from values filled in.

    References
    ----------
    Agarwal, Gupta, Horsch and Prasad, "Aux-Drop: Handling Haphazard Inputs in Online Learning Using
    Auxiliary Dropouts", TMLR, 2023, for "variable" and "trapezoidal".

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.datasets import withhold_features
    >>> withhold_features(np.ones((4, 4)), "trapezoidal", n_chunks=4)
    array([[ 1., nan, nan, nan],
           [ 1.,  1., nan, nan],
           [ 1.,  1.,  1., nan],
           [ 1.,  1.,  1.,  1.]])
    >>> withhold_features(np.ones((2, 5)), p=0.5, n_always=2, random_state=6)
    array([[ 1.,  1., nan,  1.,  1.],
           [ 1.,  1.,  1.,  1., nan]])
    """
    values = _as_floats(X)
    if pattern not in PATTERNS:
        raise ValueError(
            f"{OWNER}: `pattern` must be one of {list(PATTERNS)}. Got {pattern!r}"
            f"{suggest(pattern, PATTERNS)}."
        )
    _check_numbers(p, n_always, n_chunks, values.shape[1])
    labels = None if y is None else _checked(y, len(values))
    rng = check_random_state(random_state)
    available = PATTERNS[pattern](rng, values, p, n_chunks, labels)
    available[:, :n_always] = True
    values[~available] = np.nan
    return _like(X, values)


def _variable(
    rng: np.random.RandomState, X: Floats, p: float, _n_chunks: int, _y: Array | None
) -> Mask:
    return rng.random_sample(X.shape) < p


def _trapezoidal(
    _rng: np.random.RandomState, X: Floats, _p: float, n_chunks: int, _y: Array | None
) -> Mask:
    n_rows, n_features = X.shape
    chunk = np.arange(n_rows) * n_chunks // max(n_rows, 1)
    n_there = -(-n_features * (chunk + 1) // n_chunks)
    return np.arange(n_features) < n_there[:, None]


def _sudden(
    rng: np.random.RandomState, X: Floats, _p: float, n_chunks: int, _y: Array | None
) -> Mask:
    n_rows, n_features = X.shape
    first = np.append(0, np.sort(rng.randint(n_rows, size=n_chunks - 1)))
    set_of = rng.permutation(np.arange(n_features) % n_chunks)
    return np.arange(n_rows)[:, None] >= first[set_of]


def _obsolete(
    rng: np.random.RandomState, X: Floats, _p: float, _n_chunks: int, _y: Array | None
) -> Mask:
    n_rows, n_features = X.shape
    fate = rng.permutation(np.arange(n_features) % 3)
    first, second = np.sort(rng.randint(n_rows + 1, size=(2, n_features)), axis=0)
    time = np.arange(n_rows)[:, None]
    before, after = time < first, time >= second
    return np.choose(fate, [before, before | after, ~before])


def _informative(
    rng: np.random.RandomState, X: Floats, p: float, _n_chunks: int, y: Array | None
) -> Mask:
    n_rows, n_features = X.shape
    spread = min(p, 1 - p) / 2
    drawn = rng.random_sample(X.shape)
    if y is not None and y.dtype.kind != "f":
        missing = missing_mask(y)
        classes, code = np.unique(y[~missing], return_inverse=True)
        chances = rng.uniform(p - spread, p + spread, (len(classes), n_features))
        chance = np.full(X.shape, p, dtype=np.float64)
        chance[~missing] = chances[code]
        return drawn < chance
    low, high = rng.uniform(p - spread, p + spread, (2, n_features))
    columns = X if y is None else np.broadcast_to(y[:, None], (n_rows, 1))
    rank = np.column_stack([_rank(column) for column in columns.T])
    chance = low + rank * (high - low)
    return drawn < np.where(np.isnan(chance), p, chance)


def _rank(column: Array) -> Floats:
    """Return the ranks of the different values, from 0 to 1; NaN for NaN."""
    rank = np.full(len(column), np.nan)
    there = ~np.isnan(column)
    values, place = np.unique(column[there], return_inverse=True)
    rank[there] = place / max(len(values) - 1, 1)
    return rank


Draw: TypeAlias = Callable[[np.random.RandomState, Floats, float, int, Array | None], Mask]
PATTERNS: dict[str, Draw] = {
    "variable": _variable,
    "trapezoidal": _trapezoidal,
    "sudden": _sudden,
    "obsolete": _obsolete,
    "informative": _informative,
}


def _as_floats(X: Any) -> Floats:
    """Return a copy of a table in floats."""
    if hasattr(X, "tocsr"):
        raise TypeError(f"{OWNER}: `X` must be dense, to hold NaN. Got a sparse one; use toarray.")
    values = stack_columns(X, column_names(X)) if is_frame(X) else np.asarray(X)
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"{OWNER}: `X` must have the shape (n_samples, n_features), with a row and a column. "
            f"Got the shape {values.shape}."
        )
    try:
        return np.array(values, dtype=values.dtype if values.dtype.kind == "f" else np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{OWNER}: `X` must hold numbers. Got {values.dtype}; make numbers of "
            f"categories and texts first."
        ) from error


def _check_numbers(p: Any, n_always: Any, n_chunks: Any, n_features: int) -> None:
    if not isinstance(p, Real) or not 0 <= float(p) <= 1:
        raise ValueError(f"{OWNER}: `p` must be a probability, from 0 to 1. Got {p!r}.")
    if not isinstance(n_always, Integral) or not 0 <= int(n_always) <= n_features:
        raise ValueError(
            f"{OWNER}: `n_always` must be an integer from 0 to the number of features, "
            f"{n_features}. Got {n_always!r}."
        )
    if not isinstance(n_chunks, Integral) or n_chunks < 1:
        raise ValueError(f"{OWNER}: `n_chunks` must be an integer of at least 1. Got {n_chunks!r}.")


def _checked(y: ArrayLike, n_rows: int) -> Array:
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"{OWNER}: `y` must have a label for each of {n_rows} rows, and one dimension. Got the "
            f"shape {labels.shape}."
        )
    return labels


def _like(X: Any, values: Floats) -> Any:
    """Return an array as a frame of the library and with the names of `X`, if that is one."""
    if not is_frame(X):
        return values
    library = type(X).__module__.split(".")[0]
    if library == "pandas":
        return type(X)(values, index=X.index, columns=X.columns)
    if library == "polars":
        return type(X)(values, schema=column_names(X))
    raise TypeError(f"{OWNER}: `X` must be an array or a frame of pandas or polars. Got {library}.")
