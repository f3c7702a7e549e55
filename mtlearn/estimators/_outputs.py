"""What the user says of each output, checked and completed: y, heads and weights by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from mtlearn._arrays import homogeneous, is_frame, missing_mask
from mtlearn._typing import Array, ArrayLike, Floats, SampleWeight
from mtlearn._validation import check_known, check_output_names, naming
from mtlearn.heads import ClassHead, Classification, Head, infer_head
from mtlearn.targets import Targets

__all__ = [
    "ARRAY_NAME",
    "as_targets",
    "check_all_targets",
    "check_classes",
    "check_columns",
    "check_not_lazy",
    "check_validation",
    "declare_classes",
    "find_heads",
    "find_held_heads",
    "find_label_weights",
    "find_loss_weights",
    "is_indicator",
    "labels_of",
    "refuse_names",
    "with_aux",
]

ARRAY_NAME = "y"


def check_given(y: Any, owner: str) -> None:
    """Raise a ValueError for a ``y`` of None, in scikit-learn's words."""
    if y is None:
        raise ValueError(
            f"This {owner} estimator requires y to be passed, but the target y is None."
        )


def check_not_lazy(values: Any, subject: str) -> None:
    """Raise a TypeError for a frame whose values are not there yet."""
    if hasattr(values, "collect") and not hasattr(values, "to_numpy"):
        raise TypeError(f"{subject}: a lazy frame has no values yet; pass its .collect().")


def as_targets(y: Any, owner: str) -> tuple[Targets, bool]:
    """Return `y` as Targets, and whether it came as an array rather than by name.

    Raises
    ------
    ValueError
        If `y` is None or holds no target.
    """
    check_given(y, owner)
    check_not_lazy(y, owner)
    if isinstance(y, Targets):
        targets, is_array = y, False
    elif isinstance(y, Mapping):
        targets, is_array = Targets(y), False
    elif is_frame(y):
        targets, is_array = Targets.from_frame(y), False
    else:
        targets, is_array = Targets({ARRAY_NAME: y}), True
    if not list(targets):
        raise ValueError(f"{owner}: `y` must hold at least one target. Got none.")
    return targets, is_array


def refuse_names(y: Any, owner: str) -> None:
    """Raise for a ``y`` of None or of several named targets, where an array is wanted."""
    check_given(y, owner)
    if isinstance(y, Mapping):
        raise TypeError(
            f"{owner}: `y` must be one array. Got the targets {list(y)} by name; pass one of them "
            f"as `y` and the others as `aux=Targets(...)`, or use MultiOutputNet."
        )


def is_indicator(y: Array) -> bool:
    """Tell whether the observed labels are all 0 or 1, as numbers or booleans."""
    observed = homogeneous(y[~missing_mask(y)])
    return observed.dtype.kind in "biuf" and bool(np.isin(observed, (0, 1)).all())


def check_validation(X_val: Any, y_val: Any, sample_weight_val: Any, owner: str) -> None:
    """Raise a ValueError for labels or weights to validate on without their rows."""
    if X_val is None and not (y_val is None and sample_weight_val is None):
        raise ValueError(f"{owner}: `y_val` and `sample_weight_val` need `X_val`. Got None.")


def with_aux(own: Targets, aux: Any, owner: str) -> Targets:
    """Return an estimator's own targets and the auxiliary ones together.

    Raises
    ------
    ValueError
        If the auxiliary targets are an array, take a name of its own, or have other rows.
    """
    if aux is None:
        return own
    others, is_array = as_targets(aux, owner)
    if is_array:
        raise ValueError(
            f"{owner}: `aux` must hold targets by name. Got {type(aux).__name__}; pass "
            f"aux=Targets({{'name': values}})."
        )
    taken = [name for name in others if name in list(own)]
    if taken:
        raise ValueError(f"{owner}: `aux` must not use the names of `y`, {taken}; rename them.")
    if len(others) != len(own):
        raise ValueError(
            f"{owner}: `aux` must have as many rows as `y`, {len(own)}. Got {len(others)}; mind "
            f"that scikit-learn does not split a plain dict, so pass aux=Targets(...)."
        )
    return Targets({**own, **others})


def check_all_targets(y: Targets, heads: Mapping[str, Head], owner: str) -> None:
    """Raise a ValueError unless `y` holds the targets of all heads, and no others."""
    needed = [head.target or name for name, head in heads.items()]
    check_known(y, needed, subject=f"{owner}: `y`", noun="target")
    lacking = [name for name in needed if name not in list(y)]
    if lacking:
        where = "`aux`" if ARRAY_NAME in list(y) and owner != "MultiOutputNet" else "`y`"
        raise ValueError(
            f"{owner}: {where} must hold the targets of all outputs. Missing: {lacking}."
        )


def declare_classes(
    heads: Mapping[str, Head], classes: Mapping[str, ArrayLike], y: Targets, owner: str
) -> dict[str, Head]:
    """Return the user's heads, with the classes that the first piece of a stream declares."""
    check_output_names([*y, *heads], subject=f"{owner}: `heads`")
    check_known(classes, [*y, *heads], subject=f"{owner}: `classes`")
    declared = {name: clone(head) for name, head in heads.items() if isinstance(head, Head)}
    declared = {**heads, **declared}
    for name, values in classes.items():
        head = declared.get(name, Classification())
        if name in list(y) and y[name].ndim == 2:
            continue  # of a multilabel output, classes are the numbers of its columns
        if not isinstance(head, Classification):
            raise ValueError(f"{owner}: `classes` names the output {name!r}, which has none.")
        known = np.asarray(values)
        if missing_mask(np.asarray(values, dtype=object)).any():
            known = np.empty(0)
        if known.ndim != 1 or not known.size:
            raise ValueError(
                f"{owner}: `classes` of the output {name!r} must hold its classes, in one "
                f"dimension and none missing. Got {values!r}."
            )
        if head.classes is None:
            head.classes = np.unique(known)
        declared[name] = head
    return declared


def check_classes(heads: Mapping[str, Head], classes: Mapping[str, ArrayLike]) -> None:
    """Raise a ValueError unless `classes` are those that fitted heads have."""
    check_known(classes, heads, subject="`classes`")
    for name, values in classes.items():
        head = heads[name]
        known = head.classes_ if isinstance(head, ClassHead) else np.array([])
        if not np.array_equal(np.unique(np.asarray(values)), np.unique(known)):
            raise ValueError(
                f"`classes` of the output {name!r} must be those that it has, "
                f"{known.tolist()}. Got {values!r}."
            )


def find_heads(y: Targets, heads: Mapping[str, Head] | None, owner: str) -> dict[str, Head]:
    """Return an unfitted head for every output: the user's, else one inferred from its target.

    Raises
    ------
    TypeError
        If an entry of `heads` is no head.
    ValueError
        For a head that learns no target of `y`, and for a target whose head cannot be told.
    """
    heads = dict(heads or {})
    check_output_names([*y, *heads], subject=f"{owner}: `heads`")
    found: dict[str, Head] = {}
    for name in [*y, *(name for name in heads if name not in list(y))]:
        with naming(f"{owner}: output {name!r}"):
            head = heads.get(name)
            if head is None:
                found[name] = infer_head(y[name], name)
                continue
            if not isinstance(head, Head):
                written = f"{head.__name__}()" if isinstance(head, type) else "Regression()"
                raise TypeError(f"`heads` must hold heads. Got {head!r}; write {written}.")
            found[name] = clone(head)
            found[name].check_params()
        if head.target is not None:
            subject = f"{owner}: `target` of the head {name!r}"
            check_known([head.target], y, subject=subject, noun="target")
        else:
            check_known([name], y, subject=f"{owner}: `heads`")
    learned = {name if head.target is None else head.target for name, head in found.items()}
    unused = [name for name in y if name not in learned]
    if unused:
        raise ValueError(
            f"{owner}: every target of `y` must be learned by a head. The heads of {unused} have "
            f"another `target`; rename these heads, or leave the targets out."
        )
    return found


def find_held_heads(
    y: Targets, heads: Mapping[str, Head], main_output: str | None, owner: str
) -> dict[str, Head]:
    """Return the heads whose targets the validation rows have; the main output's at least."""
    targets = [head.target or name for name, head in heads.items()]
    check_known(y, targets, subject=f"{owner}: `y_val`", noun="target")
    known = {name: head for name, head in heads.items() if (head.target or name) in list(y)}
    if main_output is not None and main_output not in known:
        raise ValueError(
            f"{owner}: `y_val` must hold the target of the main output {main_output!r}. Got "
            f"{list(y)}."
        )
    return known


def check_columns(held: Mapping[str, Array], fitted: Mapping[str, Array], owner: str) -> None:
    """Raise a ValueError unless validation labels have the columns of the training labels."""
    for name, labels in held.items():
        if labels.shape[1:] != fitted[name].shape[1:]:
            raise ValueError(
                f"{owner}: output {name!r}: the labels of `y_val` must have the columns of those "
                f"of `y`, shape {fitted[name].shape}. Got {labels.shape}."
            )


def find_loss_weights(
    loss_weights: Mapping[str, float] | None, names: list[str], owner: str
) -> dict[str, float]:
    """Return the weight of every output's loss; 1 for an output that is not named.

    Raises
    ------
    ValueError
        For an unknown name, a weight that is no finite number of at least 0, and all weights 0.
    """
    given = dict(loss_weights or {})
    check_known(given, names, subject=f"{owner}: `loss_weights`")
    weights: dict[str, float] = {}
    for name in names:
        weight = given.get(name, 1.0)
        if not isinstance(weight, int | float | np.number) or not 0 <= float(weight) < np.inf:
            raise ValueError(
                f"{owner}: `loss_weights[{name!r}]` must be a finite number of at least 0. "
                f"Got {weight!r}."
            )
        weights[name] = float(weight)
    if not any(weights.values()):
        raise ValueError(
            f"{owner}: `loss_weights` must leave an output to learn. All of {names} have the "
            f"weight 0."
        )
    return weights


def labels_of(y: Targets, heads: Mapping[str, Head]) -> dict[str, Array]:
    """Return the labels that each output learns: its own, or those of the head's ``target``."""
    return {name: y[name if head.target is None else head.target] for name, head in heads.items()}


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
