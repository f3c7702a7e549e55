"""A trunk with rows it is meant for, as the checks use it."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from mtlearn._engine._data import Batch, as_batch
from mtlearn._params import Part
from mtlearn._random import part_seed, seeded
from mtlearn._typing import Array
from mtlearn.estimators import MultiOutputNet
from mtlearn.estimators._inputs import check_inputs
from mtlearn.heads import Head, infer_head
from mtlearn.inputs import Inputs
from mtlearn.targets import Targets
from mtlearn.trunks import Graph, ModuleTrunk, Trunk, as_trunk

__all__ = ["Case", "Specified", "at", "require"]

CPU = torch.device("cpu")
FEWEST = 4
Rows = Any  # an array, or Inputs


class Specified(Protocol):
    """What is checked as a specification.

    Attributes
    ----------
    part : Part
        The part.
    uses_in, learns_in : str
        The methods that use its parameters, and that set what it learns, for messages.
    """

    part: Part
    uses_in: str
    learns_in: str


class Case:
    """A trunk and rows of it; a part that is no trunk by itself is put into a small Graph.

    Parameters
    ----------
    trunk : Trunk, torch.nn.Module or callable
        What is checked.
    X : array-like or mapping of str to array-like
        The rows.
    y : mapping of str to array-like or array-like, default=None
        The targets; None for a number and a class.
    seed : int
        What all draws come from.
    """

    uses_in, learns_in = "build", "note"

    def __init__(self, trunk: Any, X: Any, y: Any, seed: int) -> None:
        self.trunk: Trunk = as_trunk(trunk)
        self.part: Part = self.trunk
        self.name = type(self.trunk).__name__
        if isinstance(self.trunk, ModuleTrunk):
            module = self.trunk.module
            self.name = f"ModuleTrunk of {getattr(module, '__name__', type(module).__name__)}"
        self.seed = seed
        X = _as_rows(X)
        if len(X) < FEWEST:
            raise ValueError(
                f"check_trunk: `X` must have {FEWEST} rows, two batches of two. Got {len(X)}."
            )
        self._n_axes, self._is_wrapped = 1, False
        if not isinstance(X, Inputs):
            if not getattr(self.trunk, "takes_integers", False):
                X = X.astype(float)
            self._n_axes = self._count_axes(X)
            self._is_wrapped = X.ndim != 2 or X.dtype.kind == "i" or self._n_axes > 1
            X = Inputs({"X": X}) if self._is_wrapped else X
        self._X: Rows = X
        self.y = self._targets(y)

    def _targets(self, y: Any) -> Targets:
        if y is not None:
            return y if isinstance(y, Targets) else Targets(y if _is_named(y) else {"y": y})
        rng, n = np.random.default_rng(self.seed), len(self._X)
        return Targets({"class": rng.permutation(n) % 2, "number": rng.normal(size=n)})

    def _count_axes(self, X: Array) -> int:
        """Return how many axes a row has that the part makes of a row; 1 if it fails."""
        shape = X.shape[1:]
        try:
            with seeded(self.seed), torch.no_grad():
                part = clone(self.trunk).note(X.copy())
                module = part.build(shape[0] if len(shape) == 1 else shape).double().eval()
                out = module(torch.tensor(X))
        except Exception:  # noqa: BLE001 (a check will meet it again, and say so)
            return 1
        return out.ndim - 1 if isinstance(out, Tensor) else 1

    @property
    def X(self) -> Rows:
        """The rows, as a new copy that nobody has changed."""
        X = self._X
        return Inputs({n: p.copy() for n, p in X.items()}) if isinstance(X, Inputs) else X.copy()

    @cached_property
    def whole(self) -> Trunk:
        """The trunk, or the Graph that the part is in."""
        if not self._is_wrapped:
            return clone(self.trunk)
        stages: list[Any] = [("part", clone(self.trunk), "X")]
        if self._n_axes > 1:
            stages.append(("mean", MeanOfPositions(), "part"))
        return Graph(stages)

    @property
    def in_graph(self) -> tuple[Trunk, Inputs]:
        """The trunk in a Graph, unless X are inputs, and the rows as Inputs."""
        X = self.X
        if isinstance(X, Inputs):
            return self.whole, X
        return Graph([("part", clone(self.trunk), "X")]), Inputs({"X": X})

    @property
    def shapes(self) -> Any:
        """What `build` is told of the rows."""
        X = self._X
        if isinstance(X, Inputs):
            return {name: part.shape[1:] for name, part in X.items()}
        return X.shape[1]

    def batch(self, X: Rows = None, dtype: torch.dtype = torch.float64) -> Batch:
        """Return rows, by default all, as new tensors."""
        return as_batch(self.X if X is None else X, dtype, CPU)

    def build(
        self, seed: int | None = None, dtype: torch.dtype = torch.float64, *, named: bool = True
    ) -> nn.Module:
        """Return a new module, by default with its inner layers; the rows are noted before."""
        trunk = clone(self.whole).note(self.X)
        with seeded(self.seed if seed is None else seed):
            return (trunk.build_named if named else trunk.build)(self.shapes).to(dtype)

    def run(self, module: nn.Module, x: Batch, *, train: bool = False) -> dict[str, Tensor]:
        """Return what a module makes of rows, by name; ``""`` names a lone tensor."""
        with seeded(part_seed(self.seed, "run")):
            out = module.train(train)(x)
        found = dict(out) if isinstance(out, Mapping) else {"": out}
        others = [type(tensor).__name__ for tensor in found.values() if not _is_tensor(tensor)]
        require(
            not others,
            "the module must return one tensor of floats, or a dict of such tensors",
            f"Got {others}",
            "return them by name, for heads to choose by `at`",
        )
        return found

    @cached_property
    def taps(self) -> list[str]:
        """The names of the tensors that heads can take; none if there is a lone one."""
        with torch.no_grad():
            return [name for name in self.run(self.build(), self.batch()) if name]

    def _heads(self) -> dict[str, Head]:
        module = self.build(named=False)
        with torch.no_grad():
            names = [name for name in self.run(module, self.batch()) if name]
        at: Any = names[0] if len(names) == 1 else names or None
        heads: dict[str, Head] = {}
        for name, labels in self.y.items():
            heads[name] = infer_head(np.asarray(labels), name).set_params(at=at)
            at = at if getattr(module, "default", None) is None else None
        return heads

    def net(self, **params: Any) -> MultiOutputNet:
        """Return an unfitted estimator of the trunk."""
        settings: dict[str, Any] = {
            "heads": self._heads() if "heads" not in params else None,
            "dtype": "float64",
            "batch_size": max(2, len(self.X) // 2),
            "max_epochs": 2,
            "learning_rate": 0.01,
            "early_stopping": False,
            "random_state": self.seed,
        }
        return MultiOutputNet(clone(self.whole), **(settings | params))

    def floats_as(self, change: Callable[[Array], Array]) -> Rows:
        """Return rows whose floats are changed; integers stay."""
        X = self.X
        if not isinstance(X, Inputs):
            return change(X)
        return Inputs({n: change(p) if p.dtype.kind == "f" else p for n, p in X.items()})

    @property
    def sequence_inputs(self) -> list[str]:
        """The inputs that are sequences: of ids, or of floats with rows of two axes."""
        if not isinstance(self._X, Inputs):
            return []
        return [
            name
            for name, part in self._X.items()
            if (part.ndim == 3 and part.dtype.kind == "f") or (name in self.ids and part.ndim == 2)
        ]

    @cached_property
    def ids(self) -> list[str]:
        """The inputs that are ids or codes: in a Graph those that such a part takes."""
        if not isinstance(self._X, Inputs):
            return []
        integers = [name for name, part in self._X.items() if part.dtype.kind == "i"]
        if not isinstance(self.whole, Graph):
            return integers
        taken = {
            name
            for _, part, takes in self.whole.stages
            if getattr(part, "takes_integers", False)
            for name in ([takes] if isinstance(takes, str) else takes)
        }
        return [name for name in integers if name in taken]

    def with_inputs(self, **changed: Array) -> Inputs:
        """Return rows with some inputs replaced."""
        return Inputs({**self.X, **changed})


class MeanOfPositions(nn.Module):
    """All positions of a row as one: their mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1, -2).mean(1)


def at(name: str) -> str:
    """Return where a tensor is, for messages."""
    return f" at {name!r}" if name else ""


def require(condition: bool, rule: str, found: str, remedy: str) -> None:
    """Raise an AssertionError unless a rule is kept."""
    if not condition:
        raise AssertionError(f"{rule}. {found}; {remedy}.")


def _as_rows(X: Any) -> Rows:
    if _is_named(X):
        inputs, _ = check_inputs(X, "check_trunk", None)
        wide = {n: p.astype(float) if p.dtype.kind == "f" else p for n, p in inputs.items()}
        return Inputs(wide)
    array = np.asarray(X)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"check_trunk: `X` must hold rows of numbers. Got {array.dtype} of the shape "
            f"{array.shape}."
        )
    return array.astype(float if array.dtype.kind == "f" else np.int64)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_named(values: Any) -> bool:
    return isinstance(values, Mapping) and not isinstance(values, np.ndarray)
