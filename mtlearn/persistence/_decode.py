"""From JSON and tensors to a fitted estimator."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import clone

from mtlearn._engine._online_network import OnlineNetwork
from mtlearn._engine._resume import set_dropout_states
from mtlearn._typing import Array
from mtlearn.estimators._state import to_rows
from mtlearn.exceptions import ModelFileError
from mtlearn.heads import Head
from mtlearn.persistence._build import build_network, build_trunk
from mtlearn.persistence._checks import check_estimator, check_moments
from mtlearn.persistence._container import TEXT_LIMIT
from mtlearn.persistence._given import describe, has_infinite
from mtlearn.persistence._probes import check_probes
from mtlearn.persistence._registry import find_class
from mtlearn.trunks import Trunk

__all__ = ["Decoder"]

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
# The fields that an entry has beside its kind, where there are any.
_FIELDS = {
    "$array": {"dtype"},
    "$net": {"params", "state", "requests", "weights", "widths", "dropout_seeds", "probes"},
    "$objects": {"shape"},
    "$part": {"params", "state"},
    "$record": {"fields"},
    "$state": {"state"},
    "$texts": {"dtype", "shape"},
    "$weigher": {"state"},
}
_TIMES = re.compile(r"(datetime64|timedelta64)(\[(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?")


class Decoder:
    """Makes objects from what `Encoder` made of them.

    Parameters
    ----------
    tensors : dict of str to ndarray
        The tensors of the file; each is used once.
    needed : dict of str to str
        The objects that the file does not hold, with what they were.
    given : mapping of str to Any
        The objects that the user gives.
    """

    def __init__(
        self, tensors: dict[str, Array], needed: dict[str, str], given: Mapping[str, Any]
    ) -> None:
        self.tensors = tensors
        self.given = _find_given(needed, given)
        self._text_left = TEXT_LIMIT
        self._makers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "$array": self._array,
            "$dict": self._dict,
            "$device": lambda entry: torch.device(entry["$device"]),
            "$float": lambda entry: _FLOATS[entry["$float"]],
            "$generator": self._generator,
            "$given": lambda entry: self.given[entry["$given"]],
            "$net": self._net,
            "$objects": self._objects,
            "$part": self._part,
            "$random_state": self._random_state,
            "$record": self._record,
            "$state": self._state,
            "$scalar": self._scalar,
            "$texts": self._texts,
            "$tuple": lambda entry: tuple(self.decode(entry["$tuple"])),
            "$weigher": self._weigher,
        }

    def decode(self, value: Any) -> Any:
        """Return what an encoded value stands for."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        kind = next(iter(value), "")
        if not kind.startswith("$"):
            return self._values(value)
        if kind not in self._makers:
            raise ModelFileError(f"it holds something of the unknown kind {kind[:40]!r}")
        if not set(value) <= {kind, *_FIELDS.get(kind, ())}:
            raise ModelFileError(f"it holds a {kind} with other fields than `save` writes")
        return self._makers[kind](value)

    def _values(self, entries: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(entries, dict) or any(key.startswith("$") for key in entries):
            raise ModelFileError("it has no values by name where there should be some")
        return {key: self.decode(value) for key, value in entries.items()}

    def _dict(self, entry: dict[str, Any]) -> dict[Any, Any]:
        found = {self.decode(key): self.decode(value) for key, value in entry["$dict"]}
        if len(found) < len(entry["$dict"]):
            raise ModelFileError("a key of a dict comes twice")
        return found

    def _scalar(self, entry: dict[str, Any]) -> Any:
        values = self.decode(entry["$scalar"])
        if not isinstance(values, np.ndarray) or values.shape != ():
            raise ModelFileError("it holds an array where there should be one value")
        return values[()]

    def _array(self, entry: dict[str, Any], *, finite: bool = True) -> Array:
        values = self._take(entry["$array"], finite=finite)
        if "dtype" not in entry:
            return values
        if values.dtype != np.int64 or not _TIMES.fullmatch(entry["dtype"]):
            raise ModelFileError(f"it has an array of the unknown type {entry['dtype'][:40]!r}")
        return values.view(entry["dtype"])

    def _take(self, name: str, *, finite: bool = True) -> Array:
        """Return a tensor that can be changed; each is there for one place only."""
        if name not in self.tensors:
            raise ModelFileError(f"the tensor {name[:100]!r} is not there, or used twice")
        values = self.tensors.pop(name)
        if finite and values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelFileError(f"the tensor {name[:100]!r} holds numbers that are not finite")
        if values.dtype == bool and (values.view(np.uint8) > 1).any():
            raise ModelFileError(f"the tensor {name[:100]!r} holds truth values that are none")
        return values.copy()

    def _texts(self, entry: dict[str, Any]) -> Array:
        texts, dtype = entry["$texts"], entry["dtype"]
        found = re.fullmatch(r"([US])([0-9]{1,9})", dtype)
        if found is None or not all(isinstance(text, str) for text in texts):
            raise ModelFileError("it has texts that are none")
        self._text_left -= int(found[2]) * (4 if found[1] == "U" else 1) * len(texts)
        if self._text_left < 0:
            raise ModelFileError(f"it has texts of the type {dtype}, more than `save` writes")
        if found[1] == "S":
            texts = [text.encode("latin-1") for text in texts]
        return np.array(texts, dtype=dtype).reshape(_shape(entry["shape"], len(texts)))

    def _objects(self, entry: dict[str, Any]) -> Array:
        values = self.decode(entry["$objects"])
        found = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):
            found[i] = value
        return found.reshape(_shape(entry["shape"], len(values)))

    def _record(self, entry: dict[str, Any]) -> Any:
        return self._class("record", entry["$record"])(**self._values(entry["fields"]))

    def _part(self, entry: dict[str, Any]) -> Any:
        cls = self._class("part", entry["$part"])
        part = self._with_params(cls, self._values(entry["params"]))
        if isinstance(part, Trunk | Head):
            part.check_params()
        if has_infinite(entry["state"]):
            raise ModelFileError(f"a {cls.__name__} holds a number that is not finite")
        self._set(part, self._values(entry["state"]))
        return part

    def _weigher(self, entry: dict[str, Any]) -> Any:
        cls = self._class("weigher", entry["$weigher"])
        weigher = object.__new__(cls)
        self._set(weigher, self._values(entry["state"]))
        return weigher

    def _state(self, entry: dict[str, Any]) -> Any:
        cls = self._class("state", entry["$state"])
        values = self._values(entry["state"])
        found = object.__new__(cls)
        if cls is OnlineNetwork:
            weights, dropouts = values.pop("_weights"), values.pop("_dropouts")
            self._set(found, values)
            new = OnlineNetwork(found.recipe, found.trunk, found.outputs)
            found._stepper.make = new._stepper.make
            found.module = build_trunk(found.trunk, found.n_features, weights, found.recipe.seed)
            set_dropout_states(found.module, dropouts)
        else:
            self._set(found, values)
        return found

    def _net(self, entry: dict[str, Any]) -> Any:
        cls = self._class("net", entry["$net"])
        net = self._with_params(cls, self._values(entry["params"]))
        with config_context(enable_metadata_routing=True):
            for method, asked in entry.get("requests", {}).items():
                if method in ("fit", "partial_fit", "score", "predict", "predict_proba"):
                    getattr(net, f"set_{method}_request")(**asked)
        if "weights" in entry:
            columns = entry["state"]["history_"]
            self._set(net, self._values({**entry["state"], "history_": None}))
            history = {name: self._array(column, finite=False) for name, column in columns.items()}
            net.history_ = to_rows(history, net.__dict__.pop("_absent"))
            self._add_network(net, entry)
        else:
            self._set(net, self._values(entry["state"]))
        check_estimator(net)
        return net

    def _add_network(self, net: Any, entry: dict[str, Any]) -> None:
        """Set the network, and see that it computes what it did."""
        net._recipe = net._recipe.on_this_machine()
        weights = {name: self._take(tensor) for name, tensor in entry["weights"].items()}
        net.module_ = build_network(net, weights, entry["widths"], entry["dropout_seeds"])
        check_moments(net)
        check_probes(net, self._values(entry["probes"]))

    def _with_params(self, cls: type[Any], params: dict[str, Any]) -> Any:
        unknown = sorted(set(params) - _parameters(cls))
        if unknown:
            raise ModelFileError(f"{cls.__name__} has no parameters {unknown[:5]} here")
        return cls(**params)

    def _set(self, part: Any, state: dict[str, Any]) -> None:
        """Set attributes, which hide no method or property of the class, and are no parameters."""
        params = _parameters(type(part)) if hasattr(part, "get_params") else ()
        for name, value in state.items():
            inherited = inspect.getattr_static(type(part), name, None)
            hides = callable(inherited) or hasattr(inherited, "__get__")
            if name.startswith("__") or hides or name in params:
                raise ModelFileError(f"a {type(part).__name__} has no attribute {name[:40]!r}")
            vars(part)[name] = value

    def _class(self, kind: str, name: str) -> type[Any]:
        """Return the class of a name: one of mtlearn, or one that the user gave."""
        own = self.given[name.removeprefix("own:")] if name.startswith("own:") else None
        found = find_class(kind, name, own)
        if found is None:
            raise ModelFileError(f"there is no class {name[:60]!r} that files can hold here")
        return found

    def _generator(self, entry: dict[str, Any]) -> np.random.Generator:
        generator = np.random.default_rng(0)
        generator.bit_generator.state = self._values(entry["$generator"])
        return generator

    def _random_state(self, entry: dict[str, Any]) -> np.random.RandomState:
        found = np.random.RandomState(0)
        state = self._values(entry["$random_state"])
        if not 0 <= state["state"]["pos"] <= 624:  # numpy would read beyond the end
            raise ModelFileError("it has a state of a generator that there cannot be")
        found.set_state(state)
        return found


@cache
def _parameters(cls: type[Any]) -> frozenset[str]:
    return frozenset(inspect.signature(cls).parameters)


def _find_given(needed: dict[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects by name; a transformer's template is made of the fitted one."""
    found = dict(given)
    for name in needed:
        if name not in found and f"{name}_" in found and hasattr(found[f"{name}_"], "get_params"):
            found[name] = clone(found[f"{name}_"])
    fitted_too = [n for n in needed if f"{n}_" in needed and f"{n}_" not in found]
    missing = [n for n in needed if n not in found and n not in fitted_too]
    if missing:
        listed = "\n".join(f"  {name!r}: {_shorten(needed[name])}" for name in missing)
        raise ModelFileError(
            f"the file does not hold objects that are not mtlearn's own; pass them again, as "
            f"`objects={{{missing[0]!r}: ...}}`. Missing are\n{listed}"
        )
    unknown = sorted(set(given) - set(needed))
    if unknown:
        raise ModelFileError(f"`objects` names {unknown}; the file needs {sorted(needed)}")
    for name, was in needed.items():
        if describe(found[name]) != was:
            raise ModelFileError(
                f"objects[{name!r}] must be what the estimator was saved with, "
                f"{_shorten(was)}. Got {_shorten(describe(found[name]))}"
            )
    return found


def _shorten(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}..."


def _shape(shape: Any, size: int) -> list[int]:
    if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) != size:
        raise ModelFileError("it has an array whose shape is not that of its values")
    return shape
