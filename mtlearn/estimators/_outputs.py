"""What the user says of each output, checked and completed: y, heads and weights by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from mtlearn._arrays import homogeneous, is_frame, missing_mask
from mtlearn._typing import Array, ArrayLike
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


def labels_of(y: Targets, heads: Mapping[str, Head]) -> dict[str, Array]:
    """Return the labels that each output learns: its own, or those of the head's ``target``."""
    return {name: y[name if head.target is None else head.target] for name, head in heads.items()}
