"""What a trunk of a user's own must satisfy."""

from collections.abc import Callable, Mapping

from torch import nn

from mtlearn._random import root_seed
from mtlearn._typing import ArrayLike, RandomState
from mtlearn.testing._case import Case
from mtlearn.testing._fits import (
    check_bad_shapes,
    check_dropped_outputs,
    check_fits_are_reproducible,
    check_order_of_inputs,
    check_pickles,
    check_steps_by_formula,
)
from mtlearn.testing._hard_rows import (
    check_ids,
    check_outputs_are_finite,
    check_sequences,
)
from mtlearn.testing._modules import (
    check_build_is_seeded,
    check_build_leaves_all_as_it_was,
    check_evaluation_is_deterministic,
    check_every_parameter_learns,
    check_float_types,
    check_named_layers,
    check_rows_are_independent,
    check_rows_are_left_alone,
    check_rows_are_taken,
)
from mtlearn.testing._specification import (
    check_clone,
    check_constraints,
    check_init_only_stores,
    check_names_of_parameters,
    check_note_learns_of_its_rows,
)
from mtlearn.trunks import Trunk

__all__ = ["CHECKS", "check_trunk"]

CHECKS: tuple[Callable[[Case], None], ...] = (
    check_init_only_stores,
    check_names_of_parameters,
    check_clone,
    check_constraints,
    check_rows_are_taken,
    check_note_learns_of_its_rows,
    check_build_leaves_all_as_it_was,
    check_build_is_seeded,
    check_float_types,
    check_ids,
    check_sequences,
    check_outputs_are_finite,
    check_rows_are_left_alone,
    check_evaluation_is_deterministic,
    check_rows_are_independent,
    check_named_layers,
    check_every_parameter_learns,
    check_bad_shapes,
    check_fits_are_reproducible,
    check_steps_by_formula,
    check_order_of_inputs,
    check_dropped_outputs,
    check_pickles,
)


def check_trunk(
    trunk: Trunk | nn.Module | Callable[..., nn.Module],
    X: ArrayLike | Mapping[str, ArrayLike],
    y: ArrayLike | Mapping[str, ArrayLike] | None = None,
    *,
    random_state: RandomState = 0,
) -> None:
    """Check that a trunk, or a part of a Graph, keeps what the estimators rely on.

    It is for trunks what scikit-learn's ``check_estimator`` is for estimators. The rules are:

    - ``__init__`` only stores; clones, nested names and declared constraints work; ``note`` learns
      of the rows that it is told.
    - ``build`` depends on torch's seed alone, and changes nothing else; ``build_named`` makes the
      same layers, with more tensors for heads to attach to.
    - The module returns finite floats of the type of its weights, leaves its input alone, and in
      evaluation treats each row by itself and draws nothing.
    - Unseen ids, rows of padding and sequences of other lengths are no error; every parameter can
      learn; bad shapes are refused with a reason.
    - In an estimator, fits are reproducible, steps by formula are those by autograd, the order of
      inputs does not matter, outputs can be dropped, and pickles predict the same.

    Parameters
    ----------
    trunk : Trunk, torch.nn.Module or callable
        What an estimator would take as ``trunk``. It is not changed.
    X : array-like or mapping of str to array-like
        At least 4 rows that the trunk is meant for, as the estimator would take them. For a part
        that takes or makes sequences, images or ids, an array of these: the part is then put into a
        Graph, with the mean over all positions after it.
    y : array-like or mapping of str to array-like, default=None
        Targets of these rows; None for a number and a class that are made up.
    random_state : int, RandomState instance or None, default=0
        The seed of all draws.

    Raises
    ------
    AssertionError
        For the first rule that is broken. The message names the trunk, the check, the rule, what
        was found, and what to do.
    TypeError, ValueError
        If there are fewer than 4 rows, if they hold no numbers, and for what is no trunk.

    See Also
    --------
    mtlearn.trunks.Trunk : The base of trunks.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from mtlearn.testing import check_trunk
    >>> from mtlearn.trunks import MLP
    >>> X = np.random.default_rng(0).normal(size=(8, 3))
    >>> check_trunk(MLP((4,), dropout=0.5), X)
    >>> class Centred(nn.Module):
    ...     def forward(self, x):
    ...         return x - x.mean(0)
    >>> check_trunk(Centred(), X)
    Traceback (most recent call last):
        ...
    AssertionError: ModuleTrunk of Centred fails check_rows_are_independent: in evaluation, a row's
    output must not depend on other rows. Rows alone differ by ...; use running statistics there,
    and no operation across the first axis.
    """
    case = Case(trunk, X, y, root_seed(random_state) % 2**32)
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
