"""Whether a fitted estimator can go on learning with new parameters and labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtlearn._engine._data import Rows
from mtlearn._engine._recipe import Recipe
from mtlearn._validation import naming
from mtlearn.heads import ClassHead, Head
from mtlearn.trunks import Trunk, as_trunk

__all__ = ["check_known_labels", "check_same_network", "check_several_classes"]


def check_same_network(
    trunks: tuple[Any, Trunk],
    heads: tuple[Mapping[str, Head], Mapping[str, Head]],
    normalize_losses: tuple[bool, bool],
    owner: str,
) -> None:
    """Raise a ValueError if what the network was made of has changed since.

    Parameters
    ----------
    trunks, heads, normalize_losses : tuple
        The parameter of the estimator, and what was fitted.
    owner : str
        Who complains.
    """
    changed = [] if _is_same(as_trunk(trunks[0]), trunks[1]) else ["trunk"]
    if bool(normalize_losses[0]) != normalize_losses[1]:
        changed.append("normalize_losses")
    given, fitted = heads
    changed += [
        f"heads[{name!r}]"
        for name, head in given.items()
        if name not in fitted or not _is_same(head, fitted[name], but="classes")
    ]
    if changed:
        raise ValueError(
            f"{owner}: training can only go on with the network that was fitted. Changed since: "
            f"{changed}; clone the estimator and fit it anew."
        )


def check_known_labels(rows: Rows, heads: Mapping[str, Head], recipe: Recipe) -> None:
    """Raise a ValueError for labels of another shape, and new values of a constant output."""
    for name, head in heads.items():
        with naming(f"output {name!r}"):
            constant = head.decode(np.asarray(head.constant_raw_, dtype=np.float64)[None])
            labels, weight = rows.targets[name], rows.weights[name]
            if labels.shape[1:] != constant.shape[1:]:
                raise ValueError(
                    f"the labels must have the columns of the first fit, shape "
                    f"{constant.shape[1:]} per row. Got {labels.shape[1:]}."
                )
            if name in (recipe.outputs or ()) or recipe.loss_weights[name] == 0:
                continue
            other = (weight > 0) & (labels != constant)
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
        params[name] is others[name] or repr(params[name]) == repr(others[name])
        for name in params
        if name != but
    )
