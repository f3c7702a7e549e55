"""The checkpoint of a fit: where it is, and whether it is of the same data and parameters."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from mtlearn._engine._callbacks import copy_callbacks, see_batches
from mtlearn._engine._checkpoint import (
    Checkpoint,
    CheckpointRun,
    open_checkpoint,
)
from mtlearn._engine._data import Rows
from mtlearn._engine._kept_training import KeptTraining
from mtlearn._engine._recipe import Recipe
from mtlearn._typing import Array, ArrayLike
from mtlearn._validation import naming
from mtlearn._version import VERSION
from mtlearn.inputs import Inputs

__all__ = ["begin_checkpoint", "begin_training"]

WITHOUT_EFFECT = ("callbacks", "verbose")
ROWS_AT_ONCE = 2**16


def begin_checkpoint(
    estimator: Any,
    checkpoint: Checkpoint | str | os.PathLike[str],
    seed: int,
    rows: Rows,
    held: Rows | None,
    groups: ArrayLike | None,
    stages: Sequence[Sequence[str]],
) -> CheckpointRun:
    """Return where the state of a fit is kept, and what it goes on from.

    Parameters
    ----------
    estimator : estimator
        What is fitted.
    checkpoint : Checkpoint, str or path-like
        What the user gave.
    seed : int
        The seed of the fit, unless there is a state.
    rows : Rows
        All rows.
    held : Rows or None
        The rows that the user gave to watch the losses on.
    groups : array-like or None
        The groups of the rows.
    stages : list of list of str
        The names of the trainings, in the order of their stages.

    Raises
    ------
    ValueError
        If there is the state of another fit, or something that cannot be kept.
    OSError
        If the folder cannot be used.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint)
    with naming(type(estimator).__name__):
        if estimator.warm_start:
            raise ValueError(
                "`checkpoint` keeps a fit from its beginning. Got warm_start=True; set it to "
                "False, or pickle the estimator between fits."
            )
        identity = _identity(estimator.get_params(), rows, held, groups)
        callbacks = copy_callbacks(estimator.callbacks)
        if sum(map(len, stages)) > 1:  # networks side by side compute in another order
            identity["callbacks that see batches"] = "some" if see_batches(callbacks) else "none"
        return open_checkpoint(checkpoint, identity, seed, stages, callbacks)


def begin_training(
    estimator: Any,
    checkpoint: Checkpoint | KeptTraining | str | os.PathLike[str] | None,
    recipe: Recipe,
    rows: Rows,
    held: Rows | None,
    groups: ArrayLike | None,
) -> tuple[Recipe, KeptTraining | None]:
    """Return the recipe with the seed of the state that is kept, and where it is kept.

    Parameters
    ----------
    estimator : estimator
        What is fitted.
    checkpoint : Checkpoint, KeptTraining, str, path-like or None
        What the user gave; the training of a member, which has begun; None to keep no state.
    recipe : Recipe
        How to train.
    rows : Rows
        All rows.
    held : Rows or None
        The rows that the user gave to watch the losses on.
    groups : array-like or None
        The groups of the rows.
    """
    if checkpoint is None or isinstance(checkpoint, KeptTraining):
        return recipe, checkpoint
    run = begin_checkpoint(estimator, checkpoint, recipe.seed, rows, held, groups, [["net"]])
    return replace(recipe, seed=run.seed), KeptTraining(run, "net")


def _identity(
    params: Mapping[str, Any], rows: Rows, held: Rows | None, groups: ArrayLike | None
) -> dict[str, str]:
    """Return digests of the data, and parameters and versions as texts, by name."""
    found = {"mtlearn": VERSION, "torch": torch.__version__}
    for ending, some in (("", rows), ("_val", held)):
        if some is None:
            continue
        found |= _digests(f"X{ending}", some.X)
        for name, labels in some.targets.items():
            found[f"y{ending}[{name!r}]"] = _digest(labels)
        for name, weights in some.weights.items():
            found[f"sample_weight{ending}[{name!r}]"] = _digest(weights)
    if groups is not None:
        found["groups"] = _digest(np.asarray(groups))
    for name, value in params.items():
        if name.split("__")[0] not in WITHOUT_EFFECT:
            found[name] = _as_text(value)
    return found


def _digests(name: str, X: Array | Inputs) -> dict[str, str]:
    if isinstance(X, Inputs):
        return {f"{name}[{key!r}]": _digest(part) for key, part in X.items()}
    return {name: _digest(X)}


def _digest(values: Array) -> str:
    """Return the digest of an array; of a large one a piece of rows at a time."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    rows = np.atleast_1d(values)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        piece = rows[start : start + ROWS_AT_ONCE]
        if piece.dtype.kind == "O":
            digest.update(repr(piece.tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(piece).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"


def _as_text(value: Any) -> str:
    """Return a text that is the same for equal values in any process."""
    if isinstance(value, nn.Module):
        weights = {name: tensor.numpy(force=True) for name, tensor in value.state_dict().items()}
        digests = "".join(name + _digest(array[None]) for name, array in weights.items())
        return f"sha256:{hashlib.sha256((repr(value) + digests).encode()).hexdigest()}"
    if isinstance(value, np.ndarray):
        return _digest(value)
    if isinstance(value, np.random.RandomState):
        return "RandomState"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_as_text(value[key])}' for key in value)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_text, value))}]"
    if isinstance(value, partial):
        return f"partial({_as_text([value.func, value.args, value.keywords])})"
    if type(value).__repr__ is object.__repr__:  # which has an address in it
        state = _as_text(getattr(value, "__dict__", {}))
        return f"{type(value).__module__}.{type(value).__qualname__}({state})"
    return repr(value)
