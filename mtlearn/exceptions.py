"""Exceptions and warnings of mtlearn, for users to catch or filter by."""

__all__ = ["DivergenceError", "HeadInferenceWarning", "TrainingInterruptedWarning"]


class DivergenceError(ValueError):
    """Training left the finite numbers, or its loss grew without bound.

    The message names the output, the epoch and the usual remedies, and the epoch whose weights the
    estimator keeps: with early stopping the best one, otherwise the last good one. If it names
    none, the estimator is as it was before. It is a ``ValueError``, as what scikit-learn's own
    networks raise then is.
    """


class HeadInferenceWarning(UserWarning):
    """A head was inferred from a target, and the guess deserves a look."""


class TrainingInterruptedWarning(UserWarning):
    """A fit ended early on Ctrl-C or SIGTERM; the estimator is usable as it is."""
