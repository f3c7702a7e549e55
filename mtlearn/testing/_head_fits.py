"""Checks of a head inside an estimator: fits, streams, pickles, steps by formula."""

import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import clone

from mtlearn._typing import Array
from mtlearn.estimators import MultiOutputNet
from mtlearn.heads import ClassHead
from mtlearn.targets import Targets
from mtlearn.testing._case import require
from mtlearn.testing._head_case import HeadCase, raises

__all__ = [
    "check_fits",
    "check_pickles_of_fits",
    "check_steps_of_formulas",
    "check_streams",
]

TOLERANCE = 1e-9


def check_fits(case: HeadCase) -> None:
    """Require fits with weights and missing labels, in both types of floats, twice the same."""
    rule = "an estimator with the head must fit, predict and score"
    y = _with_gap(case)
    for dtype in (np.float32, np.float64):
        X = case.X.astype(dtype)
        net = case.net(early_stopping=True, validation_fraction=0.3)
        weight = case.rng("rows").uniform(0.5, 1, case.n)
        try:
            predicted = _quiet_fit(net, X, y, weight).predict(X)
            scores = net.scores(X, y, weight)
            again = _quiet_fit(clone(net), X, y, weight).predict(X)
        except Exception as error:
            raise AssertionError(
                f"{rule}. For {np.dtype(dtype)} it raised {type(error).__name__}: "
                f"{str(error).rstrip('.')}; see the error above."
            ) from error
        require(
            len(predicted["y"]) == case.n and np.isfinite(scores["y"]),
            rule,
            f"For {np.dtype(dtype)} there are {len(predicted['y'])} predictions of {case.n} rows, "
            f"with the score {scores['y']}",
            "predict each row, and bound the score",
        )
        require(
            again == predicted,
            "the same `random_state` must give the same predictions, bit for bit",
            "After a second fit they differ",
            "keep what is learned in attributes of the head, and no state between fits",
        )


def check_streams(case: HeadCase) -> None:
    """Require that an estimator can learn in pieces, the first of which is all alike."""
    if not case.can_stream:
        return
    X, y = case.X, case.y
    present = (case.weight > 0).reshape(case.n, -1).all(axis=1)
    pieces: list[Array] = [y, y]
    if not isinstance(case.fitted, ClassHead) and present.any():
        first = np.repeat(y[present][:1], case.n, axis=0)
        if raises(lambda: case.fit(first, np.ones(y.shape), more_to_come=True)) is None:
            pieces.insert(0, first)
    net = case.net()
    try:
        for piece in pieces:
            net = net.partial_fit(X, {"y": piece})
        predicted = net.predict(X)["y"]
    except Exception as error:
        raise AssertionError(
            f"an estimator with the head must learn in pieces. It raised {type(error).__name__}: "
            f"{str(error).rstrip('.')}; use `more_to_come` of `fit`."
        ) from error
    require(
        net.n_iter_ == len(pieces) and len(predicted) == case.n,
        "each call of partial_fit must be an epoch",
        f"There were {net.n_iter_} for {len(pieces)} pieces",
        "make `is_constant_` false with `more_to_come`",
    )


def check_steps_of_formulas(case: HeadCase) -> None:
    """Require that steps by formula, taken where there is one, are those by autograd."""
    settings: dict[str, Any] = {"optimizer": "sgd", "dtype": "float64", "max_epochs": 4}
    fits = [
        _quiet_fit(case.net(fast_step=fast, **settings), case.X, case.targets).module_.state_dict()
        for fast in ("auto", False)
    ]
    far = [
        name
        for name, value in fits[0].items()
        if not torch.allclose(value, fits[1][name], TOLERANCE, TOLERANCE)
    ]
    require(
        not far,
        "weights after training must be the same with fast_step='auto' and False",
        f"{far} differ",
        "let layers and losses keep no Python state between batches",
    )


def check_pickles_of_fits(case: HeadCase) -> None:
    """Require that a fitted estimator survives a pickle, with equal predictions."""
    net = _quiet_fit(case.net(), case.X, case.targets)
    try:
        copied = pickle.loads(pickle.dumps(net))
    except (AttributeError, TypeError, pickle.PicklingError):
        # A class of a script or a notebook needs cloudpickle, as joblib's workers do.
        copied = pickle.loads(pickle.dumps(joblib.wrap_non_picklable_objects(net)))
    require(
        copied.predict(case.X) == net.predict(case.X),
        "a fitted estimator must survive a pickle, with equal predictions",
        "They differ",
        "let `build` give the same layers each time, and hold what is learned in attributes",
    )


def _with_gap(case: HeadCase) -> Targets:
    """Return the labels with one more missing, where they can be."""
    y = case.y
    y = y if y.dtype.kind in "fO" else y.astype(object)
    y[-1] = np.nan if y.dtype.kind == "f" else None
    return Targets({"y": y})


def _quiet_fit(net: MultiOutputNet, X: Array, y: Targets, weight: Any = None) -> MultiOutputNet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as scikit-learn's, of classes with a single label
        return net.fit(X, y, weight)
