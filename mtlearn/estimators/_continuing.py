"""Whether a fitted estimator can go on learning with new parameters and labels."""

from collections.abc import Mapping
from pickle import PicklingError
from typing import Any

import joblib
import numpy as np

from mtlearn._engine._data import Rows
from mtlearn._engine._recipe import Recipe
from mtlearn._validation import naming
from mtlearn.heads import ClassHead, Head
from mtlearn.trunks import Trunk, as_trunk

__all__ = ["check_known_labels", "check_same_network", "check_several_classes"]


ROUNDING = 20 * float(np.finfo(np.float64).eps)


def check_same_network(
    trunks: tuple[Any, Trunk],
    given: tuple[Mapping[str, Head], Mapping[str, Head]],
    fitted: Mapping[str, Head],
    normalize_losses: tuple[bool, bool],
    owner: str,
) -> None:
    """Raise a ValueError if what the network was made of has changed since.

    Parameters
    ----------
    trunks, given, normalize_losses : tuple
        The trunk, the heads that the user named, and the flag: now, and when the network was made.
    fitted : mapping of str to Head
        The fitted heads: a head that was inferred may be named now.
    owner : str
        Who complains.
    """
    changed = [] if _is_same(as_trunk(trunks[0]), trunks[1]) else ["trunk"]
    if bool(normalize_losses[0]) != normalize_losses[1]:
        changed.append("normalize_losses")
    now, then = given
    for name in {**now, **then}:
        if name not in then and name in fitted:
            same = _is_same(now[name], fitted[name], but="classes")
        else:
            same = name in now and name in then and _is_same(now[name], then[name])
        changed += [] if same else [f"heads[{name!r}]"]
    if changed:
        raise ValueError(
            f"{owner}: training can only go on with the network that was fitted. Changed since: "
            f"{changed}; clone the estimator and fit it anew."
        )


def check_known_labels(rows: Rows, heads: Mapping[str, Head], recipe: Recipe) -> None:
    """Raise a ValueError for labels of another shape, and new values of a constant output."""
    for name, head in heads.items():
        with naming(f"output {name!r}"):
            constant = head.constant_label()
            labels, weight = rows.targets[name], rows.weights[name]
            if labels.shape[1:] != constant.shape[1:]:
                raise ValueError(
                    f"the labels must have the columns of the first fit, shape "
                    f"{constant.shape[1:]} per row. Got {labels.shape[1:]}."
                )
            if name in (recipe.outputs or ()) or recipe.is_left_out(name):
                continue
            other = (weight > 0) & (labels != constant)
            if labels.dtype.kind == "f":  # a head takes what differs by rounding for constant
                other &= ~np.isclose(labels, constant, rtol=ROUNDING, atol=0)
            if other.any():
                raise ValueError(
                    f"the target was constant, {constant[0].tolist()!r}, when the network was "
                    f"made, so that it has no layers. Got {labels[other].tolist()[0]!r}; fit anew."
                )


def check_several_classes(heads: Mapping[str, Head]) -> None:
    """Raise a ValueError for an output that could never learn a second class."""
    for name, head in heads.items():
        if isinstance(head, ClassHead) and len(head.classes_) == 1 and head.is_constant_:
            raise ValueError(
                f"output {name!r}: a stream must have two classes at least. The first call has "
                f"only {head.classes_.tolist()}; declare those to come with `classes`."
            )


def _is_same(part: Any, other: Any, but: str = "") -> bool:
    """Tell whether two parts have the same parameters, one of them left aside."""
    params, others = part.get_params(), other.get_params()
    return type(part) is type(other) and all(
        _is_equal(params[name], others[name]) for name in params if name != but
    )


def _is_equal(value: Any, other: Any) -> bool:
    if value is other:
        return True
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_is_equal, value, other))
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(value, other)
    if repr(value) == repr(other):
        return True
    try:
        return joblib.hash(value) == joblib.hash(other)
    except (AttributeError, TypeError, PicklingError):  # what cannot be pickled
        return False
