"""Checks of what a head learns of labels, and of what it makes of them."""

import pickle
from typing import Any

import numpy as np
from sklearn.base import clone

from mtlearn._typing import Array
from mtlearn.heads import ClassHead, Head
from mtlearn.testing._case import require
from mtlearn.testing._head_case import HeadCase, raises
from mtlearn.testing._specification import is_same

__all__ = [
    "check_bad_labels",
    "check_clone_of_head",
    "check_constant_labels",
    "check_encode",
    "check_fitted_attributes",
    "check_labels_are_left_alone",
    "check_labels_without_weight",
    "check_pickles_of_head",
    "check_weights_are_ratios",
]


def check_fitted_attributes(case: HeadCase) -> None:
    """Require that `fit` works, returns the head, and sets what the estimators read."""
    head = clone(case.head)
    try:
        result = head.fit(case.y, case.weight, normalize=True)
    except Exception as error:
        raise AssertionError(
            f"the head must take the labels. {type(error).__name__} was raised: "
            f"{str(error).rstrip('.')}; pass labels that it is meant for."
        ) from error
    require(result is head, "`fit` must return the head", f"Got {result!r}", "end with return self")
    names = ["raw_shape_", "constant_raw_", "baseline_", "constant_loss_", "is_constant_"]
    names += ["classes_"] if isinstance(head, ClassHead) else []
    missing = [name for name in names if not hasattr(head, name)]
    require(
        not missing,
        "`fit` must set the attributes that the estimators read",
        f"There are no {missing}",
        "set them in `fit`, the loss of the constant by `set_baseline`",
    )
    shape = np.shape(head.constant_raw_)
    require(
        isinstance(head.raw_shape_, tuple) and shape == head.raw_shape_ and len(shape) <= 1,
        "`raw_shape_` must be () or (n_raw,), and that of `constant_raw_`",
        f"Got {head.raw_shape_!r}, and {shape} of `constant_raw_`",
        "return several values as one axis",
    )
    require(
        bool(np.isfinite(head.constant_raw_).all()),
        "`constant_raw_` must be finite",
        f"Got {head.constant_raw_}",
        "bound logarithms and quotients",
    )


def check_clone_of_head(case: HeadCase) -> None:
    """Require that a clone is equal and has learned nothing, and that `fit` keeps parameters."""
    fitted = clone(case.head)
    before = fitted.get_params()
    fitted.fit(case.y, case.weight, normalize=True)
    after = fitted.get_params()
    changed = [name for name in before if not is_same(before[name], after.get(name))]
    require(
        not changed,
        "`fit` must leave the parameters alone",
        f"It changed {changed}",
        "keep what is learned in attributes with a trailing underscore",
    )
    left = sorted(set(vars(clone(fitted))) - set(vars(clone(case.head))))
    require(
        not left,
        "a clone must have learned nothing",
        f"It has {left}",
        "set what is learned in `fit` only",
    )


def check_labels_are_left_alone(case: HeadCase) -> None:
    """Require that neither labels nor weights are changed."""
    y, weight = case.y, case.weight
    head = case.fit(y, weight)
    head.encode(y, weight)
    predicted = head.decode(case.raw(head))
    head.score(y, predicted, weight)
    for what, now, before in (("labels", y, case.y), ("weights", weight, case.weight)):
        require(
            _equal(now, before),
            "labels and weights must be left alone",
            f"The {what} were changed",
            "work on copies",
        )


def check_labels_without_weight(case: HeadCase) -> None:
    """Require that labels of weight zero have no influence, whatever they are."""
    out = np.arange(case.n) % 3 == 0
    weight, spoilt = case.weight, case.y
    weight[out] = 0.0
    spoilt = spoilt if spoilt.dtype.kind in "fO" else spoilt.astype(object)
    spoilt[out] = np.nan if spoilt.dtype.kind == "f" else None
    rule = "labels of weight zero must have no influence: they may be missing"
    try:
        one = case.fit(case.y[~out], weight[~out])
    except ValueError:
        return  # too few labels are left
    for what, y in {"other": case.y, "missing": spoilt}.items():
        found: list[Head] = []
        error = raises(lambda y=y, found=found: found.append(case.fit(y, weight)))
        text = f"With {what} labels there, fit raised {type(error).__name__}: {error}"
        require(error is None, rule, text, "look at y[weight > 0] only")
        differ = _differences(one, found[0], case)
        require(
            not differ,
            rule,
            f"With {what} labels there, {differ} differ",
            "look at y[weight > 0] only",
        )
        for method in ("encode", "score"):
            error = raises(lambda y=y, m=method, head=found[0]: _use(head, m, y, weight, case))
            text = f"With {what} labels there, {method} raised {type(error).__name__}: {error}"
            require(error is None, rule, text, "look at y[weight > 0] only")


def check_weights_are_ratios(case: HeadCase) -> None:
    """Require that weights count relative to each other only."""
    one, other = case.fit(), case.fit(weight=1024 * case.weight)
    differ = _differences(one, other, case)
    require(
        not differ,
        "weights must count relative to each other only",
        f"With weights 1024 times as large, {differ} differ",
        "divide by the sum of the weights",
    )


def check_encode(case: HeadCase) -> None:
    """Require targets and weights in the shape of the labels, of types that torch takes."""
    y, weight = case.y, case.weight
    target, found = case.fitted.encode(y, weight)
    for what, array in {"target": target, "weight": found}.items():
        require(
            isinstance(array, np.ndarray) and array.shape == y.shape,
            "`encode` must return target and weight in the shape of the labels",
            f"The {what} is {type(array).__name__} of the shape {np.shape(array)} for {y.shape}",
            "make a loss per label in `build_loss`",
        )
    require(
        target.dtype in (np.float64, np.int64),
        "encoded targets must be of type float64, or int64 for class indices",
        f"Got {target.dtype}",
        "use astype",
    )
    require(
        bool(np.isfinite(target).all() and np.isfinite(found).all() and (found >= 0).all()),
        "encoded targets must be finite, and weights finite and at least 0",
        f"Got {int((~np.isfinite(target)).sum())} targets that are not",
        "put any harmless number where the weight is zero",
    )
    require(
        not found[weight == 0].any(),
        "a label of weight zero must keep it",
        "Some have other weights",
        "multiply the weights",
    )


def check_constant_labels(case: HeadCase) -> None:
    """Require that labels that are all alike are predicted as they are, unless more may come."""
    present = (case.weight > 0).reshape(case.n, -1).all(axis=1)
    if not present.any():
        return
    label = case.y[present][:1]
    y = np.repeat(label, case.n, axis=0)
    weight = np.ones(y.shape)
    found: list[Head] = []
    error = raises(lambda: found.append(case.fit(y, weight)))
    if isinstance(error, ValueError):
        return  # the head says that it cannot learn of them
    if error is not None:
        raise error
    predicted = found[0].decode(case.constant(found[0]))
    same = (
        _close(predicted, np.broadcast_to(y.reshape(case.n, -1), predicted.shape).copy())
        if (predicted.ndim > y.ndim)
        else _close(predicted, y)
    )
    require(
        bool(found[0].is_constant_) and same,
        "labels that are all alike must make `is_constant_` true and be predicted as they are",
        f"For {label.tolist()[0]!r}, is_constant_ is {found[0].is_constant_}, and "
        f"{predicted[:1].tolist()[0]!r} is predicted",
        "set `constant_raw_` and what `decode` adds to the label itself",
    )
    if not case.can_stream:
        return
    head = case.fit(y, weight, more_to_come=True)
    only = isinstance(head, ClassHead) and len(head.classes_) == 1
    require(
        only or not head.is_constant_,
        "with more to come, labels that are all alike so far must not count as constant",
        "is_constant_ is True",
        "use `more_to_come` of `fit`",
    )


def check_bad_labels(case: HeadCase) -> None:
    """Require that labels of another kind work, or are refused by a ValueError."""
    y, weight = case.y, case.weight
    cases: dict[str, tuple[Array, Array]] = {
        "one axis more": (y[..., None][:, :1], weight[..., None][:, :1])
        if y.ndim == 1
        else (y[:, 0], weight[:, 0]),
        "text": (np.full(y.shape, "text"), weight),
        "mixed types": (_with_first(y, "text"), weight),
        "infinity": (_with_first(y, np.inf), weight),
        "negative numbers": (np.full(y.shape, -1.5), weight),
    }
    for what, (labels, of_labels) in cases.items():
        if not of_labels.any():
            continue

        def use(labels: Array = labels, of_labels: Array = of_labels) -> None:
            with np.errstate(all="ignore"):  # the head may compute with infinity before it refuses
                head = case.fit(labels, of_labels)
                head.encode(labels, of_labels)

        error = raises(use)
        require(
            error is None or (isinstance(error, ValueError) and bool(str(error))),
            "labels of another kind must work, or be refused by a ValueError that says why",
            f"With {what} it raised {type(error).__name__}: {error}",
            "check labels in `fit` and `encode`",
        )


def check_pickles_of_head(case: HeadCase) -> None:
    """Require that a fitted head survives a pickle."""
    rule = "a fitted head must survive a pickle"
    found: list[Head] = []
    head = case.fit()
    error = raises(lambda: found.append(pickle.loads(pickle.dumps(head))))
    if raises(lambda: pickle.dumps(type(head))) is not None:
        return  # a class inside a function, which needs cloudpickle
    text = f"It raised {type(error).__name__}: {error}"
    require(error is None, rule, text, "hold plain values and arrays in a head")
    differ = _differences(head, found[0], case)
    require(not differ, rule, f"Then {differ} differ", "hold all that is learned in attributes")


def _use(head: Head, method: str, y: Array, weight: Array, case: HeadCase) -> None:
    if method == "encode":
        head.encode(y, weight)
    else:
        head.score(y, head.decode(case.constant(head)), weight)


def _differences(one: Head, other: Head, case: HeadCase) -> list[str]:
    """Return in what two fitted heads differ, by more than rounding."""
    if one.raw_shape_ != other.raw_shape_:
        return ["raw_shape_"]
    raw = case.raw(one)
    pairs: dict[str, tuple[Any, Any]] = {
        "constant_raw_": (one.constant_raw_, other.constant_raw_),
        "baseline_": (one.baseline_, other.baseline_),
        "constant_loss_": (one.constant_loss_, other.constant_loss_),
        "predictions": (one.decode(raw), other.decode(raw)),
    }
    return [name for name, (a, b) in pairs.items() if not _close(np.asarray(a), np.asarray(b))]


def _close(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    try:
        a, b = a.astype(np.float64), b.astype(np.float64)
    except (TypeError, ValueError):
        return bool(np.array_equal(a, b))
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))


def _equal(a: Array, b: Array) -> bool:
    if a.dtype.kind == "O":
        return all(x is y or x == y for x, y in zip(a.ravel(), b.ravel(), strict=True))
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _with_first(y: Array, value: Any) -> Array:
    changed = y.astype(object)
    changed[0] = value
    return changed
