"""What a head of a user's own must satisfy."""

from collections.abc import Callable

from mtlearn._random import root_seed
from mtlearn._typing import ArrayLike, RandomState
from mtlearn.heads import Head
from mtlearn.testing._head_case import HeadCase
from mtlearn.testing._head_fits import (
    check_fits,
    check_pickles_of_fits,
    check_steps_of_formulas,
    check_streams,
)
from mtlearn.testing._head_labels import (
    check_bad_labels,
    check_clone_of_head,
    check_constant_labels,
    check_encode,
    check_fitted_attributes,
    check_labels_are_left_alone,
    check_labels_without_weight,
    check_pickles_of_head,
    check_weights_are_ratios,
)
from mtlearn.testing._head_losses import (
    check_baseline,
    check_constant_is_best,
    check_gradients,
    check_layers,
    check_loss_is_finite,
    check_loss_per_label,
    check_units,
)
from mtlearn.testing._head_predictions import (
    check_decode,
    check_least_loss_is_right,
    check_probabilities,
    check_scores,
    check_standard_deviations,
)
from mtlearn.testing._specification import (
    check_constraints,
    check_init_only_stores,
    check_names_of_parameters,
)

__all__ = ["CHECKS", "check_head"]

CHECKS: tuple[Callable[[HeadCase], None], ...] = (
    check_init_only_stores,
    check_names_of_parameters,
    check_constraints,
    check_fitted_attributes,
    check_clone_of_head,
    check_labels_are_left_alone,
    check_labels_without_weight,
    check_weights_are_ratios,
    check_encode,
    check_layers,
    check_loss_per_label,
    check_loss_is_finite,
    check_gradients,
    check_constant_is_best,
    check_baseline,
    check_units,
    check_decode,
    check_probabilities,
    check_standard_deviations,
    check_scores,
    check_least_loss_is_right,
    check_constant_labels,
    check_bad_labels,
    check_pickles_of_head,
    check_fits,
    check_streams,
    check_steps_of_formulas,
    check_pickles_of_fits,
)


def check_head(head: Head, y: ArrayLike, *, random_state: RandomState = 0) -> None:
    """Check that a head keeps what the estimators rely on.

    It is for heads what scikit-learn's ``check_estimator`` is for estimators. The rules are:

    - ``__init__`` only stores; clones, nested names and declared constraints work.
    - ``fit`` and ``encode`` learn of labels of positive weight only, and leave them alone. Labels
      of another kind are refused by a ValueError.
    - ``constant_raw_`` is the best constant, and losses are divided by its mean loss, whatever the
      unit of numbers. Labels that are all alike are predicted as they are.
    - The loss has one value per label, finite and with the right gradient for any raw output.
    - ``decode`` undoes ``encode``, probabilities sum to 1, and the score of perfect predictions
      is 1.
    - In an estimator, fits with missing labels work and are reproducible, as do streams if ``fit``
      takes ``more_to_come``; steps by formula are those by autograd; pickles predict the same.

    Parameters
    ----------
    head : Head
        The head, with the parameters to check it with. It is not changed.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        At least 6 labels that the head is meant for, not all alike; some may be missing. A few
        dozen find more, and take a few seconds.
    random_state : int, RandomState instance or None, default=0
        The seed of all draws.

    Raises
    ------
    AssertionError
        For the first rule that is broken. The message names the head, the check, the rule, what
        was found, and what to do.
    TypeError, ValueError
        If there are too few labels, and for what is no head.

    See Also
    --------
    mtlearn.heads.Head : The base of heads.
    mtlearn.testing.check_trunk : The same for trunks.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.heads import Quantile, Regression
    >>> from mtlearn.testing import check_head
    >>> y = np.random.default_rng(0).normal(size=30)
    >>> check_head(Quantile([0.1, 0.9]), y)
    >>> class Doubled(Regression):
    ...     def decode(self, raw):
    ...         return super().decode(2 * raw)
    >>> check_head(Doubled(), y)
    Traceback (most recent call last):
        ...
    AssertionError: Doubled fails check_least_loss_is_right: raw outputs of the least loss must be
    decoded to predictions with a score of nearly 1. Their score is ...; let `decode` undo what
    `encode` does.
    """
    case = HeadCase(head, y, root_seed(random_state) % 2**32)
    for check in CHECKS:
        failed = f"{case.name} fails {check.__name__}"
        try:
            check(case)
        except AssertionError as error:
            raise AssertionError(f"{failed}: {error}") from error.__cause__
        except Exception as error:
            raise AssertionError(
                f"{failed}: no other errors must be raised meanwhile. Got {type(error).__name__}: "
                f"{str(error).rstrip('.')}; see the error above."
            ) from error
