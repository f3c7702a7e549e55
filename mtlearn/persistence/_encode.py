"""From a fitted estimator to JSON and tensors."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch

from mtlearn._params import NamedParts, Part
from mtlearn._typing import Array, InputSpec
from mtlearn.estimators import OnlineMultiOutputNet
from mtlearn.estimators._member_fold import MemberFold
from mtlearn.estimators._state import FittedState
from mtlearn.persistence._build import dropout_seeds
from mtlearn.persistence._container import DTYPES, TEXT_LIMIT
from mtlearn.persistence._given import describe, has_infinite, name_of
from mtlearn.persistence._probes import probe_head, run_on_zeros
from mtlearn.persistence._registry import can_be_named
from mtlearn.weighting import Weigher

__all__ = ["Encoder"]

_NUMBERS = {dtype: name for name, dtype in DTYPES.items()}
# What scikit-learn's callbacks of tasks leave: they follow a fit from outside, and are no state.
_LEFT_OUT = ("_skl_callbacks", "_parent_callback_ctx")


class Encoder:
    """Turns objects into what JSON can say, and their arrays into named tensors.

    Attributes
    ----------
    tensors : dict of str to ndarray
        The tensors so far.
    given : dict of str to str
        The objects that cannot be stored, by the names under which they are to be given again, with
        what they are.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}
        self.given: dict[str, str] = {}
        self._wraps_trunk = False
        self._text_left = TEXT_LIMIT

    def encode(self, value: Any, path: tuple[str, ...] = ()) -> Any:
        """Return what stands for a value.

        Parameters
        ----------
        value : Any
            Plain values, numpy arrays, and objects of the classes of the registry.
        path : tuple of str, default=()
            The attributes and keys that lead to it.
        """
        plain = self._plain(value, path)
        if plain is not None or value is None:
            return plain
        if isinstance(value, InputSpec) or is_dataclass(value):
            return self._record(value, path)
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if isinstance(value, list):
            return self._items(value, path)
        if isinstance(value, tuple):
            return {"$tuple": self._items(value, path)}
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, FittedState | OnlineMultiOutputNet):
            return self._net(value, path)
        if isinstance(value, Part):
            return self._part(value, path)
        if isinstance(value, Weigher):
            named = self._named("weigher", type(value), path)
            return {"$weigher": named, "state": self._values(vars(value), path)}
        if can_be_named("state", type(value)):
            state: Any = dict(value.__getstate__())
            state.pop("make", None)  # the optimizer's, which the recipe names
            return {"$state": type(value).__name__, "state": self._values(state, path)}
        return self._random(value, path) or self._give(value, path)

    def _plain(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return values that JSON has itself, and scalars of numpy; None for all others."""
        if isinstance(value, np.generic):
            return {"$scalar": self._array(np.asarray(value), path)}
        if isinstance(value, bool | str | int):
            return value if type(value) in (bool, str, int) else None
        if isinstance(value, float):
            return value if isfinite(value) else {"$float": str(value)}
        if isinstance(value, torch.device):
            return {"$device": str(value)}
        return None

    def _items(self, values: Sequence[Any], path: tuple[str, ...]) -> list[Any]:
        """Return what stands for each value; (name, part, ...) has the name in the path."""
        found = []
        for i, value in enumerate(values):
            name = value[0] if isinstance(value, tuple) and len(value) > 1 else None
            if isinstance(name, str):
                entry = [self.encode(part, (*path, name)) for part in value]
                found.append({"$tuple": entry})
            else:
                is_member = path[-1:] == ("members_",)
                found.append(self.encode(value, path if is_member else (*path, str(i))))
        return found

    def _mapping(self, value: Mapping[Any, Any], path: tuple[str, ...]) -> Any:
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return self._values(value, path)
        pairs = [
            [self.encode(key, path), self.encode(entry, (*path, str(key)))]
            for key, entry in value.items()
        ]
        return {"$dict": pairs}

    def _values(self, values: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        return {key: self.encode(value, (*path, key)) for key, value in values.items()}

    def _record(self, value: Any, path: tuple[str, ...]) -> Any:
        if not can_be_named("record", type(value)):
            return self._give(value, path)
        held = value._asdict() if isinstance(value, InputSpec) else vars(value)
        found = {}
        for name, entry in held.items():
            is_same = isinstance(value, MemberFold) and name == "validation_fraction"
            found[name] = self.encode(entry, path if is_same else (*path, name))
        return {"$record": type(value).__name__, "fields": found}

    def _part(self, part: Part, path: tuple[str, ...]) -> Any:
        params = part.get_params(deep=False)
        encoded = {}
        for name, value in params.items():
            # A module as the trunk is wrapped; the wrapper has no name of its own.
            is_wrapper = self._wraps_trunk and path[-1:] in (("trunk_",), ("trunk",))
            is_list = isinstance(part, NamedParts) and name == part._named_parts
            encoded[name] = self.encode(value, path if is_wrapper or is_list else (*path, name))
        state = {name: value for name, value in vars(part).items() if name not in params}
        fitted = self._values(state, path)
        if has_infinite(fitted):
            raise ValueError(f"{name_of(path)} learned a number that is not finite: {state}")
        named = self._named("part", type(part), path)
        return {"$part": named, "params": encoded, "state": fitted}

    def _net(self, net: Any, path: tuple[str, ...]) -> Any:
        state = dict(net.__getstate__())
        for name in ("_mtlearn_version", *_LEFT_OUT):
            state.pop(name, None)
        requests = _requests(state.pop("_metadata_request", None))
        params = {name: state.pop(name) for name in net.get_params(deep=False)}
        self._wraps_trunk = not isinstance(params["trunk"], Part)
        weights = state.pop("_weights", None)
        history = state.pop("history_") if weights is not None else {}
        found: dict[str, Any] = {
            "$net": self._named("net", type(net), path),
            "params": self._values(params, path),
            "state": self._values(state, path),
        }
        if requests:
            found["requests"] = requests
        if weights is not None:
            found["state"]["history_"] = {
                name: self._array(column, (*path, "history_", name), finite=False)
                for name, column in history.items()
            }
            found["weights"] = {
                name: self._array(values, (*path, "weights", name))["$array"]
                for name, values in weights.items()
            }
            tensors = run_on_zeros(net)
            found["widths"] = [[name, tensor.shape[1]] for name, tensor in tensors.items()]
            found["dropout_seeds"] = dropout_seeds(net.module_)
            found["probes"] = self._values(self._probes(net, tensors), (*path, "probes"))
        return found

    def _probes(self, net: FittedState, tensors: Mapping[Any, Array]) -> dict[str, Any]:
        """Return what parts compute that hold objects of the user's, to tell if they are others."""
        found: dict[str, Any] = {}
        if any(name.split("__")[0] == "trunk" for name in self.given):
            again = run_on_zeros(net)
            if all(np.array_equal(tensors[name], again[name]) for name in tensors):
                found["trunk"] = list(tensors.values())
        found["heads"] = {
            name: probe_head(head)
            for name, head in net.heads_.items()
            if any(given.startswith(f"heads__{name}__") for given in self.given)
        }
        return found

    def _named(self, kind: str, cls: type, path: tuple[str, ...]) -> str:
        """Return the name of a class; the user has to give one of his own again."""
        if can_be_named(kind, cls):
            return cls.__name__
        if cls.__module__.startswith("mtlearn."):
            raise ValueError(
                f"{name_of(path) or 'the estimator'} is of the class {cls.__name__}, which model "
                f"files do not hold. Leave it out, or pickle the estimator."
            )
        self._note(cls.__name__, cls)
        return f"own:{cls.__name__}"

    def _give(self, value: Any, path: tuple[str, ...]) -> dict[str, str]:
        """Return what stands for an object that the user has to give again."""
        name = name_of(path)
        if type(value).__module__.startswith("mtlearn."):
            raise ValueError(
                f"{name} is of the class {type(value).__name__}, which model files do not hold. "
                f"Leave it out, or pickle the estimator."
            )
        self._note(name, value)
        return {"$given": name}

    def _note(self, name: str, value: Any) -> None:
        found = describe(value)
        if self.given.setdefault(name, found) != found:
            raise ValueError(
                f"{name!r} was changed since the fit, from {self.given[name]!r} to {found!r} or "
                f"the other way round. A model file holds neither; set the parameter back, or fit "
                f"anew."
            )

    def _array(
        self, values: Array, path: tuple[str, ...], *, finite: bool = True
    ) -> dict[str, Any]:
        kind = values.dtype.kind
        if kind in "US":
            return self._texts(values)
        if kind == "O":
            return self._objects(values, path)
        if kind not in "biufmM":
            raise _refused(path, f"an array of {values.dtype}")
        found: dict[str, Any] = {}
        if kind in "mM":
            found["dtype"] = values.dtype.name
            values = values.view(np.int64)
        values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).reshape(
            values.shape
        )
        if kind == "f" and finite and not np.isfinite(values).all():
            raise ValueError(f"{'.'.join(path)} holds numbers that are not finite.")
        if values.dtype not in _NUMBERS:
            raise _refused(path, f"an array of {values.dtype}")
        name = unique = re.sub(r"[^ -~]", "?", ".".join(path))
        while unique in self.tensors or unique == "__metadata__":
            unique = f"{name}~{len(self.tensors)}"
        self.tensors[unique] = values
        return {"$array": unique, **found}

    def _objects(self, values: Array, path: tuple[str, ...]) -> dict[str, Any]:
        objects = [(value, self._plain(value, path)) for value in values.ravel()]
        for value, plain in objects:
            if plain is None and value is not None:
                raise _refused(path, f"an array with a {type(value).__name__} in it")
        return {"$objects": [plain for _, plain in objects], "shape": list(values.shape)}

    def _texts(self, values: Array) -> dict[str, Any]:
        self._text_left -= values.nbytes
        if self._text_left < 0:
            raise ValueError(
                f"the texts in the estimator, such as classes, take more than {TEXT_LIMIT:,} "
                f"bytes. Encode them as numbers before the fit."
            )
        flat = values.ravel().tolist()
        texts = flat if values.dtype.kind == "U" else [text.decode("latin-1") for text in flat]
        return {"$texts": texts, "dtype": values.dtype.str[1:], "shape": list(values.shape)}

    def _random(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return the state of a generator of numpy; None for anything else."""
        if isinstance(value, np.random.RandomState):
            state: dict[str, Any] = dict(value.get_state(legacy=False))  # pyright: ignore[reportArgumentType, reportCallIssue]
            is_default = state["bit_generator"] == "MT19937"
            return {"$random_state": self._values(state, path)} if is_default else None
        is_default = isinstance(value, np.random.Generator) and isinstance(
            value.bit_generator, np.random.PCG64
        )
        return {"$generator": self._values(value.bit_generator.state, path)} if is_default else None


def _refused(path: tuple[str, ...], what: str) -> ValueError:
    return ValueError(
        f"{name_of(path)} is {what}, which model files cannot hold. Use numbers or texts, such as "
        f"those of `.astype(str)`, or pickle the estimator."
    )


def _requests(metadata: Any) -> dict[str, dict[str, Any]]:
    """Return what an estimator asked metadata routing for, by method."""
    found = {}
    for method in ("fit", "partial_fit", "score", "predict", "predict_proba"):
        asked = getattr(getattr(metadata, method, None), "requests", {})
        asked = {name: value for name, value in asked.items() if value is not None}
        if asked:
            found[method] = asked
    return found
