"""The estimator that is recommended for a table."""

from collections.abc import Mapping
from math import log2
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from mtlearn._arrays import column_names, column_types, is_frame, missing_mask, series_to_numpy
from mtlearn._random import part_seed
from mtlearn._typing import Array, LossWeights, RandomState
from mtlearn.ensemble._blend import Blend
from mtlearn.estimators import MultiOutputNet
from mtlearn.estimators._inputs import refuse_dates
from mtlearn.heads import Head
from mtlearn.preprocessing import PiecewiseLinear, SmoothClip
from mtlearn.trunks import MLP

__all__ = ["tabular_net"]

FEWEST, MOST = 16, 256
STEPS_PER_EPOCH = 12
MOST_BINNED = 80


def tabular_net(
    *,
    main_output: str | None = None,
    heads: Mapping[str, Head] | None = None,
    loss_weights: LossWeights = None,
    missing_targets: str = "raise",
    fast: bool = False,
    random_state: RandomState = None,
) -> Blend:
    """Return the estimator that is recommended for a table.

    It is a `Blend` of two Pipelines of scikit-learn, whose steps and parameters can be seen,
    changed and searched as any other's. Both impute numbers by their means, with indicators of what
    was missing, standardise and softly bound them, and make a column for each category. One adds
    what is linear within eight quantile bins of each number, by far the largest gain on data with
    steps, which on noisy data costs; the blend weighs them for each output. Each Pipeline ends in a
    MultiOutputNet of four members, which hold out a quarter of the rows each: this ends the
    training, gives the blend its weights, and chooses the number of epochs for four more members on
    all rows.

    Parameters
    ----------
    main_output : str, default=None
        The output whose loss ends the training and whose score ``score`` returns; None for all.
    heads : dict of str to Head, default=None
        How each output is learned; see `MultiOutputNet`.
    loss_weights : dict of str to (float or callable), default=None
        The weight of each output's loss.
    missing_targets : {"raise", "ignore"}, default="raise"
        Whether missing labels are an error, or left out.
    fast : bool, default=False
        Whether to do without the members on all rows: half the time, for some accuracy.
    random_state : int, RandomState instance or None, default=None
        Seeds all members.

    Returns
    -------
    Blend
        The estimator, not fitted.

    See Also
    --------
    mtlearn.MultiOutputNet : One network, for data of any kind.

    Notes
    -----
    With n rows, a step takes the power of two nearest to n / 12, from 16 to 256. Columns are
    numbers by their type; all others, texts and booleans too, are categories, of which each column
    keeps the 50 most frequent, a missing one among them. Dates are refused. An array has numbers
    only. More than 80 columns of numbers get no
    bins: members of both Pipelines then differ in what they draw. The learning rate falls from
    0.004 along a cosine of 100 epochs. Of these the last one counts whose loss on the rows held out
    is within 5 % of the least, and 25 more are tried: where that loss is flat, later is better.

    References
    ----------
    Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", 2022 (bins);
    Holzmueller et al., "Better by Default", 2024 (bounds, and a strong plain network).

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import tabular_net
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> X[::7, 1] = np.nan
    >>> y = {"price": np.floor(X[:, 0]), "kind": np.where(X[:, 2] > 0, "flat", "house")}
    >>> net = tabular_net(random_state=0).fit(X, y)
    >>> {name: score > 0.8 for name, score in net.scores(X, y).items()}
    {'price': True, 'kind': True}
    """
    net = MultiOutputNet(
        trunk=MLP((128, 64)),
        heads=heads,
        loss_weights=loss_weights,
        main_output=main_output,
        missing_targets=missing_targets,
        optimizer="adamw",
        optimizer_params={"weight_decay": 0.02},
        learning_rate=4e-3,
        learning_rate_schedule="cosine",
        alpha=0,
        batch_size=rows_per_step,
        max_epochs=100,
        early_stopping=True,
        validation_fraction=0.25,
        n_iter_no_change=25,
        early_stopping_tol=0.05,
        refit=not fast,
        n_members=4,
        dtype="float32",
        random_state=random_state,
    )
    other = clone(net)
    if isinstance(random_state, Integral):
        other.set_params(random_state=part_seed(int(random_state), "bins") % 2**31)
    codes = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=50, sparse_output=False
    )
    labels = FunctionTransformer(as_labels, feature_names_out="one-to-one")
    categories = Pipeline([("labels", labels), ("codes", codes)])
    columns = [
        ("numbers", _numbers(), number_columns),
        ("categories", categories, category_columns),
    ]
    bins = ("bins", _numbers(("bins", PiecewiseLinear())), few_number_columns)
    return Blend(
        [
            ("values", Pipeline([("columns", ColumnTransformer(columns)), ("net", net)])),
            ("bins", Pipeline([("columns", ColumnTransformer([*columns, bins])), ("net", other)])),
        ]
    )


def _numbers(*more: tuple[str, Any]) -> Pipeline:
    """Return what makes columns of numbers ready for a network."""
    return Pipeline(
        [
            ("impute", SimpleImputer(add_indicator=True)),
            ("scale", StandardScaler()),
            ("clip", SmoothClip()),
            *more,
        ]
    )


def rows_per_step(n_rows: int) -> int:
    """Return the power of two that is nearest to a twelfth of the rows, from 16 to 256."""
    wanted = max(n_rows, 1) / STEPS_PER_EPOCH
    return int(np.clip(2 ** round(log2(wanted)), FEWEST, MOST))


def number_columns(X: Any) -> list[Any]:
    """Return the columns of a table that hold numbers, by name or position."""
    if not is_frame(X):
        if hasattr(X, "tocsr"):
            raise TypeError("tabular_net: `X` is sparse; pass X.toarray().")
        shape = np.shape(X)
        if len(shape) != 2:
            raise ValueError(
                f"tabular_net: `X` must be a table, of shape (n_samples, n_features). Got the "
                f"shape {shape}."
            )
        return list(range(shape[1]))
    refuse_dates(X, "tabular_net")
    return [name for name, dtype in column_types(X) if _is_number(dtype)]


def few_number_columns(X: Any) -> list[Any]:
    """Return the columns that hold numbers, none if they are many."""
    columns = number_columns(X)
    return columns if len(columns) <= MOST_BINNED else []


def category_columns(X: Any) -> list[Any]:
    """Return the columns of a table that hold anything but numbers, by name."""
    if not is_frame(X):
        return []
    return [name for name, dtype in column_types(X) if not _is_number(dtype)]


def as_labels(X: Any) -> Array:
    """Return categories as texts, and None where there is none: equal ones whatever their type.

    A column of texts that are all missing is read as one of floats, and integers beside missing
    ones as floats, or not, so that the type of new rows says little.
    """
    columns = [series_to_numpy(X[name]) for name in column_names(X)]
    return np.column_stack([_as_texts(column) for column in columns])


def _as_texts(values: Array) -> Array:
    missing = missing_mask(values)
    texts = np.full(len(values), None, dtype=object)
    texts[~missing] = [_as_text(value) for value in values[~missing]]
    return texts


def _as_text(value: Any) -> str:
    return str(float(value) if isinstance(value, bool | np.bool_ | Real) else value)


def _is_number(dtype: Any) -> bool:
    return str(dtype).lower().startswith(("int", "uint", "float", "double", "decimal"))
