"""Checks of a trunk as a specification: its parameters, its clones, and what it learns of rows."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn

from mtlearn._params import Part
from mtlearn.inputs import Inputs
from mtlearn.testing._case import Case, Specified, require

__all__ = [
    "check_clone",
    "check_constraints",
    "check_init_only_stores",
    "check_names_of_parameters",
    "check_note_learns_of_its_rows",
    "is_same",
    "learned",
]


def check_init_only_stores(case: Specified) -> None:
    """Require that `__init__` stores its arguments as they are, and nothing else."""
    part, rule = case.part, "`__init__` must store its arguments as they are, and nothing else"
    names = list(inspect.signature(type(part)).parameters)
    for meaningless in (object, lambda: None, list):
        given = {name: meaningless() for name in names}
        try:
            made = type(part)(**given)
        except Exception as error:
            raise AssertionError(
                f"{rule}. With {list(given.values())} it raised {type(error).__name__}: {error}; "
                f"check parameters by `_parameter_constraints`, and in `{case.uses_in}`."
            ) from error
        missing = [name for name in names if not hasattr(made, name)]
        require(not missing, rule, f"It did not store {missing}", "set an attribute of that name")
        changed = [name for name in names if getattr(made, name) is not given[name]]
        require(
            not changed, rule, f"It changed {changed}", f"convert parameters in `{case.uses_in}`"
        )
        others = sorted(set(vars(made)) - set(names))
        require(not others, rule, f"It sets {others} too", f"set them in `{case.learns_in}`")


def check_names_of_parameters(case: Specified) -> None:
    """Require that parameters are got and set by name, those of inner parts too."""
    rule = "get_params and set_params must give and take the same names"
    before = case.part.get_params()
    copy = clone(case.part)
    own = clone(case.part).get_params(deep=False)
    copy.set_params(**copy.get_params())
    after = copy.get_params()
    differ = sorted(name for name in before if not is_same(before[name], after.get(name)))
    require(
        not differ and before.keys() == after.keys(),
        rule,
        f"Set to what they were, {differ or sorted(before.keys() ^ after.keys())} changed",
        "set nothing but the named parameter",
    )
    for name in before:
        copy, value = clone(case.part), object()
        copy.set_params(**{name: value})
        found = copy.get_params(deep=name not in own).get(name)
        require(
            found is value,
            rule,
            f"After set_params({name}=value), get_params gives {found!r}",
            f"hold the value of {name!r} in one attribute",
        )
        others = copy.get_params(deep=False)
        differ = [n for n in own if n != name and name in own and not is_same(own[n], others[n])]
        require(
            not differ,
            rule,
            f"After set_params({name}=value), {differ} changed",
            "set nothing but the named parameter",
        )
    try:
        clone(case.part).set_params(no_such_parameter=1)
    except (TypeError, ValueError):
        return
    require(False, rule, "set_params took an unknown name", "raise a ValueError for it")


def check_clone(case: Case) -> None:
    """Require that a clone is equal and has noted nothing, and that `note` keeps parameters."""
    rule = "a clone must be an equal specification that has noted nothing"
    fitted = clone(case.whole)
    before = fitted.get_params()
    result = fitted.note(case.X)
    require(
        result is fitted, "`note` must return the trunk", f"Got {result!r}", "end with return self"
    )
    after = fitted.get_params()
    changed = [name for name in before if not is_same(before[name], after.get(name))]
    require(
        not changed,
        "`note` must leave the parameters alone",
        f"It changed {changed}",
        "keep what is learned in attributes with a trailing underscore",
    )
    copy = clone(fitted)
    require(
        is_same(copy, case.whole),
        rule,
        f"The clone is {copy!r}",
        "let get_params give the arguments of `__init__`",
    )
    left = sorted(learned(copy))
    require(not left, rule, f"The clone has {left}", "set what is learned in `note` only")


def check_constraints(case: Specified) -> None:
    """Require that what is outside the declared constraints is refused."""
    rule = "parameters outside their constraints must be refused"
    try:
        case.part.check_params()
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"a part to be checked must have valid parameters. check_params raised: "
            f"{str(error).rstrip('.')}; change them, or `_parameter_constraints`."
        ) from error
    parts = {"": case.part}
    parts |= {f"{n}__": p for n, p in case.part.get_params().items() if isinstance(p, Part)}
    for prefix, part in parts.items():
        declared, params = part._parameter_constraints, part.get_params(deep=False)
        unknown = sorted(set(declared) - set(params))
        require(
            not unknown,
            "constraints must be those of parameters",
            f"`_parameter_constraints` of {type(part).__name__} names {unknown}; the parameters "
            f"are {sorted(params)}",
            "correct the names",
        )
        for name, allowed in declared.items():
            if allowed == "no_validation":
                continue
            wrong = clone(case.part).set_params(**{f"{prefix}{name}": object()})
            try:
                wrong.check_params()
            except (TypeError, ValueError) as error:
                require(
                    name in str(error),
                    rule,
                    f"The message for {prefix}{name} is {str(error)!r}",
                    "name the parameter",
                )
                continue
            require(
                False,
                rule,
                f"check_params took an object() as {prefix}{name}",
                "call super().check_params() if it is overridden, and check_params of parts",
            )


def check_note_learns_of_its_rows(case: Case) -> None:
    """Require that `note` learns of no other rows of X than those it is told."""
    rows = np.arange(0, len(case.X), 2)
    some = learned(clone(case.whole).note(case.X, rows))
    alone = learned(clone(case.whole).note(case.X[rows]))
    differ = sorted(n for n in some.keys() | alone.keys() if not is_same(some.get(n), alone.get(n)))
    require(
        not differ,
        "`note(X, rows)` must learn what `note(X[rows])` does",
        f"{differ} differ, so that held out rows have an influence",
        "take X[rows] first if rows are given",
    )


def learned(trunk: Any) -> dict[str, Any]:
    """Return what a trunk and its parts have noted."""
    parts = {"": trunk} | {f"{n}.": p for n, p in trunk.get_params().items()}
    return {
        prefix + name: value
        for prefix, part in parts.items()
        if isinstance(part, Part)
        for name, value in vars(part).items()
        if name.endswith("_") and not name.startswith("_")
    }


def is_same(a: Any, b: Any) -> bool:
    """Tell whether two values of parameters are equal: parts by theirs, modules by weights."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, BaseEstimator):
        return is_same(a.get_params(deep=False), b.get_params(deep=False))
    if isinstance(a, nn.Module):
        return is_same(dict(a.state_dict()), dict(b.state_dict()))
    if isinstance(a, Mapping) and not isinstance(a, Inputs):
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, float) and np.isnan(a):
        return bool(np.isnan(b))
    return bool(a == b)
