"""The weights of losses and of labels, checked and completed."""

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from mtlearn._arrays import is_frame, missing_mask
from mtlearn._typing import Array, ArrayLike, Floats, LossWeights, Mask, SampleWeight
from mtlearn._validation import check_known, naming
from mtlearn.estimators._outputs import check_not_lazy
from mtlearn.targets import Targets
from mtlearn.weighting import Schedule
from mtlearn.weighting._base import is_weight, weight_at

__all__ = ["find_label_weights", "find_loss_weights", "rows_that_count", "warn_of_lone_output"]


def find_loss_weights(
    loss_weights: LossWeights, names: list[str], owner: str
) -> tuple[dict[str, float], dict[str, Callable[[int], float]]]:
    """Return the weight of every output's loss, 1 for an output that is not named; and schedules.

    The weight of an output with a schedule is that of the first epoch.

    Raises
    ------
    ValueError
        For an unknown name, a weight that is no finite number of at least 0, and all weights 0.
    """
    given = dict(loss_weights or {})
    check_known(given, names, subject=f"{owner}: `loss_weights`")
    weights: dict[str, float] = {}
    schedules: dict[str, Callable[[int], float]] = {}
    for name in names:
        weight, subject = given.get(name, 1.0), f"{owner}: `loss_weights[{name!r}]`"
        if isinstance(weight, Schedule):
            with naming(subject):
                weight.check_params()
        if callable(weight):
            schedules[name] = weight
            weight = weight_at(weight, 0, subject)
        if not is_weight(weight):
            raise ValueError(
                f"{subject} must be a finite number of at least 0, "
                f"or a function from the epoch to one. Got {weight!r}."
            )
        weights[name] = float(weight)
    if not any(weights.values()) and not schedules:
        raise ValueError(
            f"{owner}: `loss_weights` must leave an output to learn. All of {names} have the "
            f"weight 0."
        )
    return weights, schedules


def warn_of_lone_output(names: Collection[str], weighting: Any, owner: str) -> None:
    """Warn if a weighting has nothing to do, as there is one output.

    An output that has others with the weight 0 beside it is none: that is the control of a search.
    """
    if weighting is not None and len(names) == 1:
        warnings.warn(
            f"{owner}: `weighting` has no other output to weigh {next(iter(names))!r} against; the "
            f"network is trained as without it.",
            UserWarning,
            stacklevel=2,
        )


def find_label_weights(
    labels: Mapping[str, Array],
    sample_weight: SampleWeight,
    missing_targets: str,
    owner: str,
    units: Mapping[str, int] | None = None,
) -> tuple[dict[str, Floats], dict[str, int]]:
    """Return the weight of every label, in the labels' shape: zero where it is missing.

    Only ratios of weights count. So that sums stay finite, weights are divided by a power of two
    such that the largest of an output is in [1, 2).

    Parameters
    ----------
    labels : mapping of str to ndarray
        The labels of each output.
    sample_weight : array-like of shape (n_samples,), mapping of str to that, DataFrame or None
        One array for all outputs, or one for each; ones for an output that is not named.
    missing_targets : {"raise", "ignore"}
        Whether missing labels are an error.
    owner : str
        Who complains.
    units : mapping of str to int, default=None
        The exponents of two of an earlier call, to be used again; an output may then be without
        any label. None for the first call.

    Returns
    -------
    weights : dict of str to ndarray
        The weights.
    units : dict of str to int
        The exponents of two that they were divided by.

    Raises
    ------
    ValueError
        For an unknown name, for weights that are negative, not finite or all zero, for missing
        labels unless they are ignored, and for an output of which no label remains.
    """
    check_not_lazy(sample_weight, f"{owner}: `sample_weight`")
    if is_frame(sample_weight):
        sample_weight = Targets.from_frame(sample_weight)
    by_name: Mapping[str, Any] = (
        sample_weight
        if isinstance(sample_weight, Mapping)
        else dict.fromkeys(labels, sample_weight)
    )
    check_known(by_name, labels, subject=f"{owner}: `sample_weight`")
    weights: dict[str, Floats] = {}
    found: dict[str, int] = {}
    for name, y in labels.items():
        with naming(f"{owner}: output {name!r}"):
            rows = _row_weights(by_name.get(name), len(y))
            if units is None and not rows.any():
                raise ValueError(
                    "`sample_weight` must not be zero for all rows; leave the output out."
                )
            found[name] = int(np.frexp(rows.max())[1] - 1) if units is None else units[name]
            rows = np.ldexp(rows, -found[name])
            missing = missing_mask(y)
            if missing.any() and missing_targets == "raise":
                raise ValueError(
                    f"the labels must not be missing. Input y contains NaN, None or NaT in "
                    f"{int(missing.sum())} of {missing.size} labels; set "
                    f"missing_targets='ignore' to learn from the others."
                )
            weights[name] = np.where(missing, 0.0, rows.reshape(-1, *[1] * (y.ndim - 1)))
            if units is None and not weights[name].any():
                raise ValueError(
                    f"some label must be observed with a positive weight. All {missing.size} are "
                    f"missing or have the weight zero."
                )
    return weights, found


def rows_that_count(sample_weight: SampleWeight, names: Collection[str], n_rows: int) -> Mask:
    """Return which rows have a weight above 0 for some output, by weights that were checked."""
    if is_frame(sample_weight):
        sample_weight = Targets.from_frame(sample_weight)
    if isinstance(sample_weight, Mapping):
        some = [sample_weight.get(name) for name in names]
        return np.any([_row_weights(weights, n_rows) > 0 for weights in some], axis=0)
    return _row_weights(sample_weight, n_rows) > 0


def _row_weights(sample_weight: ArrayLike | None, n_rows: int) -> Floats:
    if sample_weight is None:
        return np.ones(n_rows)
    if hasattr(sample_weight, "tocsr"):
        raise ValueError("`sample_weight` must be dense. Got a sparse one; pass its toarray().")
    try:
        weights = np.asarray(sample_weight)
        if weights.dtype.kind == "c":
            raise TypeError("Got complex numbers")
        weights = weights.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`sample_weight` must have the shape ({n_rows},), one number per row. {error}."
        ) from error
    if weights.shape != (n_rows,):
        raise ValueError(
            f"`sample_weight` must have the shape ({n_rows},), one weight per row. Got the shape "
            f"{weights.shape}; mind that scikit-learn splits Targets, but not a plain dict."
        )
    if not np.isfinite(weights).all():
        raise ValueError("`sample_weight` must be finite. Input sample_weight contains NaN or inf.")
    if (weights < 0).any():
        raise ValueError(
            f"`sample_weight` must not be negative. Got {int((weights < 0).sum())} negative values."
        )
    return weights
