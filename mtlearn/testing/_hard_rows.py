"""Checks of a trunk's module on rows that are hard: unseen ids, padding, zeros, large values."""

import numpy as np
import torch
from torch import Tensor

from mtlearn.testing._case import Case, at, require

__all__ = ["check_ids", "check_outputs_are_finite", "check_sequences"]

LARGE = 1e4


def check_outputs_are_finite(case: Case) -> None:
    """Require that zeros and large values become finite floats of shape (n_samples, n_units)."""
    module, n = case.build(), len(case.X)
    cases = {
        "the rows": case.X,
        "zeros": case.floats_as(np.zeros_like),
        "large values": case.floats_as(lambda a: LARGE * np.where(a < 0, -1.0, 1.0)),
    }
    with torch.no_grad():
        for what, X in cases.items():
            for name, out in case.run(module, case.batch(X)).items():
                require(
                    out.ndim == 2 and len(out) == n,
                    "the module must return floats of shape (n_samples, n_units)",
                    f"For {what} it returned {tuple(out.shape)}{at(name)}",
                    "let the last layer make one vector of each row",
                )
                _require_finite(out, what, name)


def check_ids(case: Case) -> None:
    """Require outputs for ids that no training row has, and for rows of nothing but padding."""
    module = case.build()
    for name in case.ids:
        ids = case.X[name]
        for what, value in {
            "negative ids": -1,
            "ids one too large": int(ids.max()) + 1,
            "huge ids": 10**9,
            "padding, 0": 0,
        }.items():
            X = case.with_inputs(**{name: np.full_like(ids, value)})
            try:
                with torch.no_grad():
                    found = case.run(module, case.batch(X))
            except (IndexError, RuntimeError, ValueError) as error:
                raise AssertionError(
                    f"ids that no training row has must have an output too. Input {name!r} with "
                    f"nothing but {what} raised {type(error).__name__}: {error}; take them for an "
                    f"unknown one."
                ) from error
            for tap, out in found.items():
                _require_finite(out, f"input {name!r} with nothing but {what}", tap)


def check_sequences(case: Case) -> None:
    """Require finite outputs for padding, and for other lengths that are not refused."""
    module = case.build()
    for name in case.sequence_inputs:
        values = case.X[name]
        padded = values.copy()
        padded[0] = 0
        changed = {"a row of padding": padded, "rows of padding": np.zeros_like(values)}
        changed["longer sequences"] = np.concatenate([values, values], 1)
        if values.shape[1] > 1:
            changed["shorter sequences"] = values[:, :-1]
        for what, sequences in changed.items():
            X = case.batch(case.with_inputs(**{name: sequences}))
            may_fail = sequences.shape != values.shape
            with torch.no_grad():
                try:
                    found = case.run(module, X)
                except (TypeError, ValueError) as error:
                    text = f"It raised {type(error).__name__}: {error}"
                    require(may_fail, *_padding(name, what, text))
                    continue
                except (IndexError, RuntimeError) as error:
                    ids = name in case.ids  # the estimator refuses other lengths of floats itself
                    text = f"It raised {type(error).__name__}: {error}"
                    require(may_fail and not ids, *_padding(name, what, text))
                    continue
            for tap, out in found.items():
                _require_finite(out, f"input {name!r} with {what}", tap)


def _padding(name: str, what: str, found: str) -> tuple[str, str, str]:
    return (
        "padding must be no error, and another length at most a ValueError with a reason",
        f"Input {name!r} with {what}: {found[0].lower()}{found[1:]}",
        "check the shape in `forward`, and give rows of padding a constant",
    )


def _require_finite(out: Tensor, what: str, name: str) -> None:
    n_bad = int((~out.isfinite()).flatten(1).any(1).sum())
    require(
        n_bad == 0,
        "outputs must be finite",
        f"For {what}, {n_bad} of {len(out)} rows are not{at(name)}",
        "guard divisions, logarithms and exponentials",
    )
