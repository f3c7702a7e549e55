"""Checks of a trunk inside an estimator: fits, pickles, and what they must not depend on."""

import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import clone

from mtlearn.estimators import MultiOutputNet
from mtlearn.heads import Regression
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets
from mtlearn.testing._case import Case, require
from mtlearn.testing._specification import is_same

__all__ = [
    "check_bad_shapes",
    "check_dropped_outputs",
    "check_fits_are_reproducible",
    "check_order_of_inputs",
    "check_pickles",
    "check_steps_by_formula",
]

TOLERANCE = 1e-9


def check_fits_are_reproducible(case: Case) -> None:
    """Require that the same `random_state` gives the same fit, which leaves X alone."""
    X = case.X
    net = case.net().fit(X, case.y)
    require(
        is_same(dict(_named(X)), dict(_named(case.X))),
        "a fit must leave X as it was",
        "It was changed",
        "use operations without a trailing underscore, and copies in `note`",
    )
    predicted = net.predict(case.X)
    for what, again in {
        "a second fit": clone(net).fit(case.X, case.y).predict(case.X),
        "a second call of predict": net.predict(case.X),
    }.items():
        require(
            again == predicted,
            "the same `random_state` must give the same predictions, bit for bit",
            f"After {what} they differ",
            "draw from torch's generators only, and keep no state between fits",
        )


def check_pickles(case: Case) -> None:
    """Require that a fitted estimator survives pickle and joblib with equal predictions."""
    net = case.net().fit(case.X, case.y)
    expected = net.predict(case.X)
    rule = "a fitted estimator must survive a pickle, with equal predictions"
    ways: dict[str, Callable[[Any], Any]] = {"pickle": _by_pickle, "joblib": _by_joblib}
    try:
        pickle.dumps(net)
    except (AttributeError, TypeError, pickle.PicklingError):
        # A class or function of a script or a notebook needs cloudpickle, as joblib's workers do.
        ways = {"cloudpickle": _by_cloudpickle}
    for way, copied in ways.items():
        try:
            found = copied(net).predict(case.X)
        except Exception as error:
            raise AssertionError(
                f"{rule}. By {way}, it raised {type(error).__name__}: {error}; hold plain values, "
                f"arrays and modules only, and let `build` give the same layers each time."
            ) from error
        require(
            found == expected,
            rule,
            f"After {way} they differ",
            "hold what training changes in parameters or buffers, which are saved",
        )


def check_steps_by_formula(case: Case) -> None:
    """Require that steps by formula, taken where there is one, are those by autograd."""
    # Not Adam: it makes steps of the noise in gradients that are 0, as before batch normalisation.
    settings: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.05, "max_epochs": 4}
    fits = [
        case.net(fast_step=fast, **settings).fit(case.X, case.y).module_.state_dict()
        for fast in ("auto", False)
    ]
    far = [
        name
        for name, value in fits[0].items()
        if not torch.allclose(value.double(), fits[1][name].double(), TOLERANCE, TOLERANCE)
    ]
    require(
        not far,
        "weights after training must be the same with fast_step='auto' and False",
        f"{far} differ",
        "let the module look at its own parameters in `forward`, never at copies or views of them, "
        "and keep no Python state between batches",
    )


def check_dropped_outputs(case: Case) -> None:
    """Require that outputs at one of several tensors predict the same without the others."""
    if len(case.taps) < 2:
        return
    rng = np.random.default_rng(case.seed)
    names = [f"at {tap}" for tap in case.taps]
    heads = {name: Regression(at=tap) for name, tap in zip(names, case.taps, strict=True)}
    y = Targets({name: rng.normal(size=len(case.X)) for name in names})
    net = case.net(heads=heads).fit(case.X, y)
    predicted = net.predict(case.X)
    for name in names:
        alone = net.drop_outputs([other for other in names if other != name])
        for how, found in {
            "drop_outputs": alone.predict(case.X),
            "predict(outputs=...)": net.predict(case.X, outputs=[name]),
        }.items():
            require(
                np.array_equal(found[name], predicted[name]),
                "an output must predict the same without those at other tensors, bit for bit",
                f"By {how}, the output {name} differs",
                "let no tensor depend on which are asked for",
            )


def check_order_of_inputs(case: Case) -> None:
    """Require that the order of the inputs in a dict X changes nothing."""
    if not isinstance(case.X, Inputs) or len(list(case.X)) < 2:
        return
    X = Inputs(dict(reversed(case.X.items())))
    net = case.net().fit(case.X, case.y)
    expected = net.predict(case.X)
    for what, found in {
        "predict": net.predict(X),
        "fit": case.net().fit(X, case.y).predict(case.X),
    }.items():
        require(
            found == expected,
            "the order of the inputs must change nothing, bit for bit",
            f"With the inputs {list(X)} for {list(case.X)} in {what}, predictions differ",
            "take inputs by name, and iterate over them in sorted order",
        )


def check_bad_shapes(case: Case) -> None:
    """Require that rows of one axis more or less work, or are refused with a reason."""
    whole, X = case.in_graph
    for name, part in _named(X):
        for what, shape in {"one axis more": (*part.shape, 1), "one less": part.shape[:-1]}.items():
            if not shape:
                continue
            other = part.reshape(shape) if len(shape) > part.ndim else part[..., 0]
            bad = Inputs({**dict(_named(X)), name: other}) if isinstance(X, Inputs) else other
            net = case.net()
            net.set_params(trunk=clone(whole))
            found = _refusal(net, bad, case)
            require(
                found is None,
                "rows of another shape must be refused by a ValueError or a TypeError that names "
                "the part",
                f"Input {name!r} with {what}, of the shape {other.shape[1:]}: {found}",
                "check n_features in `build`, and say what the part takes",
            )


def _refusal(net: MultiOutputNet, X: Any, case: Case) -> str | None:
    """Return what is wrong with how a fit fails; None if it works or says why it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as torch's, of layers without weights
            net.fit(X, case.y)
    except (TypeError, ValueError) as error:
        names = (type(case.trunk).__name__, "trunk", "stage")
        if any(name in str(error) for name in names):
            return None
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the finding)
        return f"{type(error).__name__}: {error}"
    return None


def _named(X: Any) -> list[tuple[str, Any]]:
    return list(X.items()) if isinstance(X, Inputs) else [("X", X)]


def _by_pickle(net: MultiOutputNet) -> MultiOutputNet:
    return pickle.loads(pickle.dumps(net))


def _by_joblib(net: MultiOutputNet) -> MultiOutputNet:
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    return joblib.load(file)


def _by_cloudpickle(net: MultiOutputNet) -> MultiOutputNet:
    return pickle.loads(pickle.dumps(joblib.wrap_non_picklable_objects(net)))
