"""Checks of a weighting: its factors, its state, and estimators with it."""

import pickle
import warnings
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone

from mtlearn._typing import Floats
from mtlearn.targets import Targets
from mtlearn.testing._case import require
from mtlearn.testing._specification import is_same
from mtlearn.testing._weighting_case import N_STEPS, WeightingCase

__all__ = [
    "check_a_lone_output",
    "check_clone_of_weighting",
    "check_factors",
    "check_fits_are_the_same_again",
    "check_formulas",
    "check_history",
    "check_missing_outputs",
    "check_order_of_outputs",
    "check_pickles_of_streams",
    "check_stopping",
    "check_what_it_remembers",
]

TOLERANCE = 1e-8


def check_clone_of_weighting(case: WeightingCase) -> None:
    """Require that a clone has the same parameters."""
    ours, theirs = case.weighting.get_params(), clone(case.weighting).get_params()
    differ = [name for name in ours if not is_same(ours[name], theirs[name])]
    require(
        not differ,
        "a clone must have the same parameters",
        f"{differ} differ",
        "store arguments in `__init__` as they are",
    )


def check_factors(case: WeightingCase) -> None:
    """Require a finite factor of at least 0 for each output, in each step."""
    weigher = case.begin()
    for i in range(N_STEPS):
        factors = case.step(weigher, i)
        require(
            factors.shape == (3,) and _is_fine(factors),
            "factors must be finite and at least 0, one for each output",
            f"Got {factors.tolist()} in step {i + 1}",
            "keep them within bounds",
        )


def check_missing_outputs(case: WeightingCase) -> None:
    """Require factors where an output has no loss, and no gradient, in a batch."""
    weigher = case.begin()
    for i in range(N_STEPS):
        losses, products = case.losses[i].copy(), case.products[i].copy()
        losses[2], products[2], products[:, 2] = 0, 0, 0
        with np.errstate(all="ignore"):
            factors = weigher.factors(losses, products if case.weighting.sees_gradients else None)
            weigher.end_step(losses, lambda losses=losses: 0.9 * losses)
        require(
            _is_fine(np.asarray(factors)),
            "factors must be finite and at least 0 where an output has no labels",
            f"Got {np.asarray(factors).tolist()} for the losses {losses.tolist()}",
            "let a loss of 0 be no divisor",
        )


def check_order_of_outputs(case: WeightingCase) -> None:
    """Require that factors belong to outputs, whatever their positions."""
    order, first, other = [2, 0, 1], case.begin(main=1), case.begin(main=2)
    again = case.begin(main=1)
    draws = any(not np.allclose(case.step(first, i), case.step(again, i)) for i in range(N_STEPS))
    require(
        not draws,
        "what a weighting draws must come from the seed",
        "The same steps had other factors",
        "make a generator of the seed in `begin`",
    )
    if hasattr(first, "generator"):
        return  # draws belong to positions
    first = case.begin(main=1)
    for i in range(N_STEPS):
        ours, theirs = case.step(first, i)[order], case.step(other, i, order)
        require(
            bool(np.allclose(ours, theirs, rtol=1e-6, atol=1e-9)),
            "factors must belong to outputs, not to positions",
            f"In another order, they are {theirs.tolist()} for {ours.tolist()}",
            "treat all outputs alike, but for the main one",
        )


def check_what_it_remembers(case: WeightingCase) -> None:
    """Require that a pickled state goes on as the state itself does."""
    weigher = case.begin()
    for i in range(N_STEPS // 2):
        case.step(weigher, i)
    again = _copied(weigher)
    for i in range(N_STEPS // 2, N_STEPS):
        ours, theirs = case.step(weigher, i), case.step(again, i)
        require(
            bool(np.array_equal(ours, theirs)),
            "a pickled Weigher must go on as itself",
            f"Its factors are {theirs.tolist()} for {ours.tolist()} in step {i + 1}",
            "keep all that is remembered in its attributes",
        )


def check_a_lone_output(case: WeightingCase) -> None:
    """Require that an output that is alone is learned as without a weighting."""
    y = Targets({"price": case.y["price"]})
    plain = case.net(weighting=None).fit(case.X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it has nothing to do here, and says so
        net = case.net().fit(case.X, y)
    require(
        net.predict(case.X) == plain.predict(case.X),
        "an output that is alone must be learned as without a weighting",
        "Predictions differ",
        "nothing can be done about that in a weighting: please report it",
    )


def check_history(case: WeightingCase) -> None:
    """Require that weights times losses, and the penalty, are the loss of each epoch."""
    net = case.net().fit(case.X, case.y)
    for row in net.history_:
        total = sum(row[f"{n}_weight"] * row[f"{n}_loss"] for n in case.y) + row["penalty"]
        require(
            abs(total - row["loss"]) <= TOLERANCE * max(1.0, abs(total)),
            "the weights in `history_` must make up the loss",
            f"They make {total!r} of {row['loss']!r}",
            "let factors depend on the arguments and the state only",
        )


def check_fits_are_the_same_again(case: WeightingCase) -> None:
    """Require that a second fit gives the same bits."""
    net = case.net()
    first = net.fit(case.X, case.y).predict(case.X)
    require(
        net.fit(case.X, case.y).predict(case.X) == first,
        "a second fit must give the same predictions",
        "They differ",
        "remember nothing in the weighting, all in the Weigher; draw from the seed",
    )


def check_formulas(case: WeightingCase) -> None:
    """Require that steps by formula are those by autograd."""
    fast = case.net(fast_step=True).fit(case.X, case.y)
    eager = case.net(fast_step=False).fit(case.X, case.y)
    ours, theirs = (net.predict(case.X) for net in (fast, eager))
    worst = max(np.abs(ours[name] - theirs[name]).max() for name in ("price", "size"))
    require(
        worst <= 1e-6,
        "steps by formula must be those by autograd",
        f"Predictions differ by {worst:.1e}",
        "let factors depend smoothly on the losses and gradients",
    )


def check_stopping(case: WeightingCase) -> None:
    """Require that the loss that ends the training is that at fixed weights."""
    rows = {"X_val": case.X[:15], "y_val": case.y[:15]}
    net = case.net(main_output=None, early_stopping=True) if not _needs_main(case) else None
    if net is None:
        return
    for row in net.fit(case.X, case.y, **rows).history_:
        total = sum(row[f"val_{name}_loss"] for name in case.y) + row["val_penalty"]
        require(
            abs(total - row["val_loss"]) <= TOLERANCE * max(1.0, abs(total)),
            "the held-out loss must be that at the weights in `loss_weights`",
            f"It is {row['val_loss']!r}, not {total!r}",
            "nothing can be done about that in a weighting: please report it",
        )


def check_pickles_of_streams(case: WeightingCase) -> None:
    """Require that a stream goes on from a pickle as if nothing had happened."""
    net = case.net()
    for _ in range(3):
        net.partial_fit(case.X, case.y)
    again = _copied(net)
    for one in (net, again):
        one.partial_fit(case.X, case.y)
    require(
        net.predict(case.X) == again.predict(case.X),
        "a stream must go on from a pickle as if nothing had happened",
        "Predictions differ",
        "keep all that is remembered in the attributes of the Weigher",
    )


def _needs_main(case: WeightingCase) -> bool:
    try:
        case.begin(main=None)
    except ValueError:
        return True
    return False


def _copied(value: Any) -> Any:
    try:
        return pickle.loads(pickle.dumps(value))
    except (AttributeError, TypeError, pickle.PicklingError):
        # A class of a script or a notebook needs cloudpickle, as joblib's workers do.
        return pickle.loads(pickle.dumps(joblib.wrap_non_picklable_objects(value)))


def _is_fine(factors: Floats) -> bool:
    return bool(np.isfinite(factors).all() and (factors >= 0).all())
