"""The user's callbacks, copied for one run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sklearn.base import clone
from skorch.callbacks import Callback

__all__ = ["Callbacks", "copy_callbacks", "see_batches"]

RESERVED = ("best_epoch", "epoch_timer", "last_epochs", "learning_rate_schedule", "progress")

Made: TypeAlias = Callback | Callable[[], Callback]
Callbacks: TypeAlias = Sequence[Made | tuple[str, Made]] | Mapping[str, Made] | None


def copy_callbacks(callbacks: Callbacks) -> list[Any]:
    """Return copies of callbacks, by name where they have one.

    Parameters
    ----------
    callbacks : list of callback or (str, callback), mapping of str to callback, or None
        skorch's callbacks; or functions without arguments that make one, for those that hold
        something that cannot be copied.

    Raises
    ------
    TypeError
        If an entry is no callback and makes none, or cannot be copied.
    """
    entries = callbacks.items() if isinstance(callbacks, Mapping) else callbacks or ()
    copies: list[Any] = []
    for entry in entries:
        if isinstance(entry, tuple) and len(entry) == 2:
            name, callback = entry
            if name in RESERVED:
                raise ValueError(
                    f"`callbacks` must not use the name {name!r}, which a callback of mtlearn has; "
                    f"rename yours."
                )
            copies.append((name, _copy(callback)))
        else:
            copies.append(_copy(entry))
    return copies


def see_batches(callbacks: Sequence[Any]) -> bool:
    """Tell whether some of the callbacks, with or without names, may look at single batches."""
    bare = (one[1] if isinstance(one, tuple) else one for one in callbacks)
    return any(getattr(callback, "needs_batches", True) for callback in bare)


def _copy(callback: Any) -> Callback:
    if isinstance(callback, Callback):
        try:
            return clone(callback)
        except (RuntimeError, TypeError) as error:
            name = type(callback).__name__
            raise TypeError(
                f"`callbacks` must hold what can be copied, because every fit gets its own. "
                f"{name} cannot be ({error}); pass a function that makes it, such as "
                f"lambda: {name}(...)."
            ) from error
    try:
        made = callback() if callable(callback) else callback
    except TypeError as error:
        raise TypeError(
            f"`callbacks`: {callback!r} could not make a callback without arguments ({error}); "
            f"pass a callback, or a lambda with the arguments."
        ) from error
    if not isinstance(made, Callback):
        raise TypeError(
            f"`callbacks` must hold callbacks of skorch, or functions without arguments that make "
            f"one. Got {callback!r}."
        )
    return made
