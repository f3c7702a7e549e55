"""Checks of the torch module that a trunk builds."""

import random
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from mtlearn._engine._data import Batch
from mtlearn._random import part_seed, seeded
from mtlearn.inputs import Inputs
from mtlearn.testing._case import Case, at, require
from mtlearn.testing._specification import is_same, learned

__all__ = [
    "check_build_is_seeded",
    "check_build_leaves_all_as_it_was",
    "check_evaluation_is_deterministic",
    "check_every_parameter_learns",
    "check_float_types",
    "check_named_layers",
    "check_rows_are_independent",
    "check_rows_are_left_alone",
    "check_rows_are_taken",
]

TOLERANCE = 1e-6
N_DRAWS = 3


def check_rows_are_taken(case: Case) -> None:
    """Require that the trunk notes, builds and takes the rows."""
    try:
        with torch.no_grad():
            case.run(case.build(dtype=torch.float32), case.batch(dtype=torch.float32))
    except AssertionError:
        raise
    except Exception as error:
        rows = f"rows of the shape {case.shapes}"
        raise AssertionError(
            f"`note`, `build` and the module must take X. With {rows}, {type(error).__name__} was "
            f"raised: {str(error).rstrip('.')}; pass rows that the trunk is for: an array for a "
            f"part, and a dict only for what takes a dict of tensors."
        ) from error


def check_build_is_seeded(case: Case) -> None:
    """Require that first weights depend on torch's seed, and on nothing else."""
    first, again = (case.build().state_dict() for _ in range(2))
    differ = [n for n in first if n not in again or not torch.equal(first[n], again[n])]
    require(
        not differ and first.keys() == again.keys(),
        "`build` must give the same weights for the same seed",
        f"{differ or sorted(first.keys() ^ again.keys())} differ",
        "draw from torch's generator only, which is seeded before",
    )
    values = [*case.trunk.get_params().values(), case.trunk]
    if any(isinstance(value, nn.Module) for value in values):
        return  # a template has the same weights under every seed
    module, other = case.build(), case.build(part_seed(case.seed, "other")).state_dict()
    drawn = [n for n, p in module.named_parameters() if p.numel() > 1 and len(p.unique()) > 1]
    require(
        not drawn or any(not torch.equal(first[name], other[name]) for name in drawn),
        "`build` must draw other weights for another seed",
        f"{drawn} are the same for two seeds",
        "set no seed in `build`; it is set before",
    )


def check_named_layers(case: Case) -> None:
    """Require that `build_named` makes what `build` makes, with more tensors to attach to."""
    plain, named = case.build(named=False), case.build()
    remedy = "make the same layers in the same order in both"
    rule = "`build_named` must give the weights of `build`, by the same names, for the same seed"
    first, again = plain.state_dict(), named.state_dict()
    differ = [n for n in first if n not in again or not torch.equal(first[n], again[n])]
    differ += [n for n in again if n not in first]
    require(not differ, rule, f"{sorted(differ)} differ", remedy)
    with torch.no_grad():
        lone = case.run(plain, case.batch()).get("")
        tensors = case.run(named, case.batch())
    default = getattr(named, "default", None) or ""
    require(
        lone is None or default not in tensors or torch.equal(lone, tensors[default]),
        "the tensor for heads that name none must be that of `build`",
        f"The one{at(default)} differs",
        "let the attribute `default` of the module name it",
    )


def check_build_leaves_all_as_it_was(case: Case) -> None:
    """Require that `build` changes neither parameters nor generators of others."""
    trunk = clone(case.whole).note(case.X)
    params, fitted = trunk.get_params(), learned(trunk)
    kept = {name: _copy(value) for name, value in params.items()}
    attributes = set(vars(trunk))
    state, module = _generators(), None
    with seeded(case.seed):
        module = trunk.build(case.shapes)
    moved = _moved(state)
    require(
        not moved and isinstance(module, nn.Module),
        "`build` must return a torch.nn.Module and draw from torch's generator only",
        f"It drew from that of {moved}" if moved else f"It returned {module!r}",
        "use torch.rand and the like",
    )
    after = trunk.get_params()
    changed = [name for name in kept if not is_same(kept[name], _copy(after.get(name)))]
    changed += [n for n, value in learned(trunk).items() if not is_same(value, fitted.get(n))]
    changed += sorted(set(vars(trunk)) - attributes)
    require(
        not changed,
        "`build` must leave the trunk as it was",
        f"It changed {changed}",
        "compute in local variables; what is learned of rows belongs into `note`",
    )


def check_rows_are_independent(case: Case) -> None:
    """Require that, in evaluation, what a row becomes does not depend on the rows beside it."""
    module, n = case.build(), len(case.X)
    order = np.random.default_rng(case.seed).permutation(n)
    rule = "in evaluation, a row's output must not depend on other rows"
    remedy = "use running statistics there, and no operation across the first axis"
    with torch.no_grad():
        together = case.run(module, case.batch())
        parts = [(np.array([i]), "alone") for i in range(n)]
        parts += [(order, "in another order"), (np.arange(n // 2), "among fewer")]
        for rows, how in parts:
            try:
                found = case.run(module, case.batch(case.X[rows]))
            except (IndexError, RuntimeError, ValueError) as error:
                raise AssertionError(
                    f"{rule}. Rows {how} raised {type(error).__name__}: {error}; {remedy}."
                ) from error
            for name, expected in together.items():
                same = found[name].shape == expected[rows].shape
                difference = _difference(found[name], expected[rows]) if same else np.inf
                require(
                    difference <= TOLERANCE,
                    rule,
                    f"Rows {how} differ by {difference:.2g}{at(name)}",
                    remedy,
                )


def check_evaluation_is_deterministic(case: Case) -> None:
    """Require that nothing is drawn in evaluation, and in training only from torch's generators."""
    module, x, state = case.build(), case.batch(), _generators()
    with torch.no_grad():
        case.run(module, x, train=True)
        moved = _moved(state)
        require(
            not moved,
            "random numbers must come from torch's generators, which `random_state` seeds",
            f"`forward` drew from that of {moved}",
            "draw with torch",
        )
        module.eval()
        with seeded(case.seed):
            before = torch.default_generator.get_state()
            first, again = module(x), module(x)
            drew = not torch.equal(before, torch.default_generator.get_state())
    require(
        not drew and is_same(first, again),
        "in evaluation, `forward` must draw nothing, and give the same twice",
        "It drew from torch's generator" if drew else "Two calls differ",
        "draw only if self.training",
    )


def check_rows_are_left_alone(case: Case) -> None:
    """Require that `forward` changes no tensor it is given."""
    module, x = case.build(), case.batch()
    for train in (True, False):
        case.run(module, x, train=train)
        require(
            is_same(x, case.batch()),
            "`forward` must leave its input as it was",
            f"It changed the rows in {'training' if train else 'evaluation'}",
            "use operations without a trailing underscore",
        )


def check_float_types(case: Case) -> None:
    """Require that the module works in float32 and in float64, and returns that."""
    for dtype in (torch.float32, torch.float64):
        module, x = case.build(dtype=dtype), case.batch(dtype=dtype)
        rule = "the output must be of the type of the weights"
        with torch.no_grad():
            try:
                found = case.run(module, x)
            except RuntimeError as error:
                raise AssertionError(
                    f"{rule}. In {dtype} it raised RuntimeError: {error}; make tensors with the "
                    f"dtype of the input, and hold constants in buffers."
                ) from error
        for name, out in found.items():
            require(
                out.dtype == dtype,
                rule,
                f"Got {out.dtype} in {dtype}{at(name)}",
                "make tensors with the dtype of the input, and hold constants in buffers",
            )


def check_every_parameter_learns(case: Case) -> None:
    """Require that each parameter has a gradient other than 0 for some rows."""
    idle = {name for name, p in case.build().named_parameters() if p.requires_grad}
    for draw in range(2 * N_DRAWS):
        module = case.build(part_seed(case.seed, f"draw/{draw}"))
        found = case.run(module, _moved_floats(case, draw), train=draw % 2 == 1)
        generator = torch.Generator().manual_seed(draw)
        loss: Any = sum(
            (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum()
            for out in found.values()
        )
        if isinstance(loss, Tensor) and loss.requires_grad:
            loss.backward()
        gradients = {name: p.grad for name, p in module.named_parameters()}
        idle -= {n for n in idle if (g := gradients.get(n)) is not None and bool(g.any())}
        if not idle:
            return
    require(
        False,
        "every parameter must have a gradient for some rows",
        f"There is none for {sorted(idle)}",
        "use them in `forward`, without detach, or set requires_grad to False",
    )


def _moved_floats(case: Case, draw: int) -> Batch:
    rng = np.random.default_rng(draw)
    return case.batch(case.floats_as(lambda a: a + (draw > 0) * rng.normal(size=a.shape)))


def _difference(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs() / (1 + b.abs())).max()) if a.numel() else 0.0


def _copy(value: Any) -> Any:
    if isinstance(value, np.ndarray | Inputs | list | tuple | dict | nn.Module):
        return clone(value, safe=False)
    return value


def _generators() -> dict[str, Any]:
    of_numpy: Any = np.random.get_state()  # noqa: NPY002 (the global generator is the subject)
    return {
        "numpy": of_numpy[1:],
        "the module random": random.getstate(),
    }


def _moved(before: dict[str, Any]) -> str:
    return " and ".join(name for name, s in _generators().items() if not is_same(s, before[name]))
