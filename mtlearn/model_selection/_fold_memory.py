"""What pipelines of one search have fitted already, in memory."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import joblib

__all__ = ["FoldMemory"]


class FoldMemory:
    """The interface of :class:`joblib.Memory` that scikit-learn's Pipeline uses, without files.

    Pipelines that are cloned from one with this memory share it, so that a transformer with the
    same parameters is fitted once on the same rows.
    """

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def cache(self, function: Callable[..., Any], ignore: Sequence[str] = ()) -> Callable[..., Any]:
        """Return a function that is called once for equal arguments, but for those to ignore."""

        def cached(*args: Any, **kwargs: Any) -> Any:
            counted = {name: value for name, value in kwargs.items() if name not in ignore}
            try:
                key = joblib.hash((function.__qualname__, args, counted))
            except Exception:  # noqa: BLE001 - what cannot be pickled cannot be recognised
                return function(*args, **kwargs)
            if key not in self._known:
                self._known[key] = function(*args, **kwargs)
            return copy.deepcopy(self._known[key])  # later steps may work in place

        return cached

    def __deepcopy__(self, _memo: Any) -> Self:
        return self
