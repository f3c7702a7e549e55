"""Exceptions and warnings of mtlearn, for users to catch or filter by."""

__all__ = [
    "DivergenceError",
    "HeadInferenceWarning",
    "ModelFileError",
    "TrainingInterruptedWarning",
    "VersionWarning",
]


class DivergenceError(ValueError):
    """Training left the finite numbers, or its loss grew without bound.

    The message names the output, the epoch and the usual remedies, and the epoch whose weights the
    estimator keeps: with early stopping the best one, otherwise the last good one. If it names
    none, the estimator is as it was before. It is a ``ValueError``, as what scikit-learn's own
    networks raise then is.
    """


class HeadInferenceWarning(UserWarning):
    """A head was inferred from a target, and the guess deserves a look."""


class ModelFileError(ValueError):
    """A model file cannot be loaded: it is damaged, of another kind, or needs something else.

    All that ``mtlearn.persistence.load`` finds wrong with the content of a file has this class, and
    nothing of such a file is used. That a file is not there, or cannot be read, is an ``OSError``.
    """


class TrainingInterruptedWarning(UserWarning):
    """A fit ended early on Ctrl-C or SIGTERM; the estimator is usable as it is."""


class VersionWarning(UserWarning):
    """A pickle of another version of mtlearn was loaded.

    What an estimator consists of may change from version to version. It may fail later, or predict
    something else; files of ``mtlearn.persistence.save`` are made to be loaded by later versions.
    """
