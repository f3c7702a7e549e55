"""What a weighting of a user's own must satisfy."""

from collections.abc import Callable

from mtlearn._random import root_seed
from mtlearn._typing import RandomState
from mtlearn.testing._specification import (
    check_constraints,
    check_init_only_stores,
    check_names_of_parameters,
)
from mtlearn.testing._weighting_case import WeightingCase
from mtlearn.testing._weighting_checks import (
    check_a_lone_output,
    check_clone_of_weighting,
    check_factors,
    check_fits_are_the_same_again,
    check_formulas,
    check_history,
    check_missing_outputs,
    check_order_of_outputs,
    check_pickles_of_streams,
    check_stopping,
    check_what_it_remembers,
)
from mtlearn.weighting import Weighting

__all__ = ["CHECKS", "check_weighting"]

CHECKS: tuple[Callable[[WeightingCase], None], ...] = (
    check_init_only_stores,
    check_names_of_parameters,
    check_constraints,
    check_clone_of_weighting,
    check_factors,
    check_missing_outputs,
    check_order_of_outputs,
    check_what_it_remembers,
    check_a_lone_output,
    check_history,
    check_fits_are_the_same_again,
    check_formulas,
    check_stopping,
    check_pickles_of_streams,
)


def check_weighting(weighting: Weighting, *, random_state: RandomState = 0) -> None:
    """Check that a weighting keeps what the estimators rely on.

    It is for weightings what scikit-learn's ``check_estimator`` is for estimators. The rules are:

    - ``__init__`` only stores; clones, nested names and declared constraints work.
    - Factors are finite and at least 0, whatever the losses, and where an output has no labels in a
      batch, or no gradient for what is shared. They belong to outputs, not to positions.
    - What a training has come to is in the `Weigher` alone, which can be pickled: a stream goes on
      from a pickle as if nothing had happened.
    - In an estimator, an output that is alone is learned as without a weighting; the weights in
      ``history_`` make up its losses; fits are reproducible, and by formula what they are by
      autograd; and the loss that ends the training early is that at fixed weights.

    Parameters
    ----------
    weighting : Weighting
        The weighting, with the parameters to check it with. It is not changed.
    random_state : int, RandomState instance or None, default=0
        The seed of all draws.

    Raises
    ------
    AssertionError
        For the first rule that is broken. The message names the weighting, the check, the rule,
        what was found, and what to do.

    See Also
    --------
    mtlearn.weighting.Weighting : The base of weightings.
    mtlearn.testing.check_trunk, mtlearn.testing.check_head : The same for other parts.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.testing import check_weighting
    >>> from mtlearn.weighting import DWA, Weigher, Weighting
    >>> check_weighting(DWA(temperature=1.0))
    >>> class Inverse(Weigher):
    ...     def factors(self, losses, products):
    ...         return 1 / losses
    >>> class ByInverse(Weighting):
    ...     def begin(self, weights, main, seed):
    ...         return Inverse(len(weights))
    >>> check_weighting(ByInverse())
    Traceback (most recent call last):
        ...
    AssertionError: ByInverse fails check_missing_outputs: factors must be finite and at least 0
    where an output has no labels. Got [... inf] for the losses [... 0.0]; let a loss of 0 be no
    divisor.
    """
    case = WeightingCase(weighting, root_seed(random_state) % 2**32)
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
