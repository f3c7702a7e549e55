"""Checks of a head's predictions, probabilities and scores."""

import numpy as np
import torch

from mtlearn._typing import Array
from mtlearn.heads import ClassHead
from mtlearn.testing._case import require
from mtlearn.testing._head_case import HeadCase

__all__ = [
    "check_decode",
    "check_least_loss_is_right",
    "check_probabilities",
    "check_scores",
    "check_standard_deviations",
]

EXTREME = 1e4
N_STEPS = 300


def check_decode(case: HeadCase) -> None:
    """Require predictions for each row, that depend on its raw output alone."""
    head = case.fitted
    for dtype in (np.float32, np.float64):
        raw = case.raw().astype(dtype)
        before = raw.copy()
        predicted = head.decode(raw)
        require(
            isinstance(predicted, np.ndarray) and predicted.shape[:1] == (case.n,),
            "`decode` must return an array of a prediction for each row",
            f"Got {type(predicted).__name__} of the shape {np.shape(predicted)} for {case.n} rows",
            "keep the first axis",
        )
        require(
            np.array_equal(raw, before),
            "`decode` must leave raw outputs alone",
            "They were changed",
            "work on a copy",
        )
        alone = np.concatenate([head.decode(row[None]) for row in raw])
        same = (
            np.allclose(alone, predicted, rtol=1e-5)
            if predicted.dtype.kind == "f"
            else np.array_equal(alone, predicted)
        )
        require(
            bool(same),
            "a prediction must depend on the raw output of its row alone",
            "Rows alone have other predictions",
            "use no operation across the first axis",
        )
        finite = predicted.dtype.kind != "f" or bool(np.isfinite(predicted).all())
        require(
            finite or isinstance(head, ClassHead),
            "predictions must be finite",
            "Some are not for raw outputs near the best constant",
            "bound what can overflow",
        )
    label = head.constant_label()
    require(
        label.shape == (1, *case.y.shape[1:]),
        "`constant_label` must have the columns of the labels",
        f"Got the shape {label.shape} for labels of the shape {case.y.shape}",
        "override it where `decode` has more columns than the labels",
    )


def check_probabilities(case: HeadCase) -> None:
    """Require probabilities for each class, that sum to 1 and agree with the predictions."""
    head = case.fitted
    if not isinstance(head, ClassHead):
        return
    for what, raw in {
        "raw outputs near the best constant": case.raw(),
        "large raw outputs": EXTREME * np.sign(case.raw(spread=100.0)),
    }.items():
        proba = head.decode_proba(raw)
        shape = (case.n, len(head.classes_))
        require(
            proba.shape == shape,
            "`decode_proba` must return a column for each class",
            f"Got the shape {proba.shape} for {shape}",
            "follow the order of `classes_`",
        )
        right = bool(np.isfinite(proba).all() and (proba >= 0).all() and (proba <= 1 + 1e-6).all())
        if case.y.ndim == 1:
            right = right and bool(np.allclose(proba.sum(axis=1), 1, atol=1e-5))
        require(
            right,
            "probabilities must be in [0, 1], and those of classes sum to 1",
            f"They do not for {what}",
            "normalise them, in a way that does not overflow",
        )
        predicted = head.decode(raw)
        require(
            bool(np.array_equal(predicted, head.decide(proba))),
            "`decode` must be what `decide` makes of the probabilities",
            f"They differ for {what}",
            "let `decode` return self.decide(self.decode_proba(raw))",
        )
        known = head.classes_ if case.y.ndim == 1 else np.unique(predicted)
        require(
            bool(np.isin(predicted, known).all()),
            "predictions must be classes",
            f"Got {predicted[~np.isin(predicted, known)][:3].tolist()}",
            "take them from `classes_`",
        )


def check_standard_deviations(case: HeadCase) -> None:
    """Require standard deviations that are positive numbers, in the shape of the predictions."""
    head = case.fitted
    if not hasattr(head, "decode_std"):
        return
    for raw in (case.raw(), EXTREME * np.sign(case.raw(spread=100.0))):
        std = getattr(head, "decode_std")(raw)  # noqa: B009 (only some heads have it)
        predicted = head.decode(raw)
        require(
            std.shape == predicted.shape and bool(np.isfinite(std).all() and (std > 0).all()),
            "`decode_std` must return positive numbers in the shape of the predictions",
            f"Got the shape {std.shape} for {predicted.shape}, and {std.min():.3g} for the least",
            "floor them",
        )


def check_least_loss_is_right(case: HeadCase) -> None:
    """Require that raw outputs of the least loss are decoded to predictions with a high score."""
    head = case.fitted
    target, weight = case.encoded()
    loss = head.build_loss().double()
    raw = torch.tensor(case.constant(), requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.3)
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.001, total_iters=N_STEPS)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        (loss(raw, target) * torch.tensor(weight > 0)).sum().backward()
        optimizer.step()
        rates.step()
    found = _score(case, head.decode(raw.detach().numpy()))
    constant = _score(case, head.decode(case.constant()))
    require(
        found > 0.9 and found > constant,
        "raw outputs of the least loss must be decoded to predictions with a score of nearly 1",
        f"Their score is {found:.3g}, that of the best constant {constant:.3g}",
        "let `decode` undo what `encode` does",
    )


def check_scores(case: HeadCase) -> None:
    """Require a score of 1 for perfect predictions, less for a constant, without missing labels."""
    head = case.fitted
    constant = head.decode(case.constant())
    perfect = _score(case, case.perfect(constant))
    require(
        isinstance(perfect, float) and abs(perfect - 1) < 1e-9,
        "`score` must return the float 1.0 for perfect predictions",
        f"Got {perfect!r}",
        "return a score, not a loss",
    )
    found = _score(case, constant)
    require(
        found < 1,
        "`score` must be lower for a constant",
        f"Got {found!r}",
        "compare predictions with labels",
    )
    # Predictions that are right but for some rows are worse than perfect unless these do not count.
    rows = np.arange(case.n) % 2 == 0
    weight, mixed = case.weight, case.perfect(constant).copy()
    weight[rows] = 0
    mixed[rows] = constant[rows]
    if not weight.any():
        return
    found = float(head.score(case.y, mixed, weight))
    require(
        abs(found - 1) < 1e-9,
        "labels of weight zero must not count in the score",
        f"It is {found!r} where all others are right",
        "score y[weight > 0] only",
    )


def _score(case: HeadCase, predicted: Array) -> float:
    return case.fitted.score(case.y, predicted, case.weight)
