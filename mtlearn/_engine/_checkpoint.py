"""Checkpoints: the whole state of a training between two epochs, on disk."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from skorch.callbacks import Callback, EpochTimer, LRScheduler, PrintLog

from mtlearn._atomic import remove_unfinished
from mtlearn._engine._module import all_tensors
from mtlearn._engine._resume import load_training_state, training_state
from mtlearn._engine._stopping import as_arrays, as_tensors, put_tensors
from mtlearn._plain_files import BROKEN, DamagedFileError, read_plain, write_plain

__all__ = ["Checkpoint", "CheckpointRun", "open_checkpoint"]

FILE = "checkpoint.mtlearn"
FIELDS = {
    "identity",
    "seed",
    "weights",
    "training",
    "weigher",
    "history",
    "used_weights",
    "least_losses",
    "callbacks",
    "groups",
    "generator",
}
SHARE_OF_TIME = 0.05


class Checkpoint:
    """Where, and how often, a fit keeps its state.

    The same call of ``fit`` again goes on from the last state that was kept, and ends with the same
    result, bit for bit, as one that was never stopped.

    Parameters
    ----------
    folder : str or path-like
        A folder for this fit alone; it is made if it is not there.
    every_epochs : int, default=None
        After how many epochs to keep the state.
    every_minutes : float, default=None
        After how many minutes to keep it, once the epoch has ended. With neither, it is kept as
        often as takes a twentieth of the time.

    Notes
    -----
    The state is one file: weights, the optimizer's moments, the schedule of the learning rate, the
    best weights and counters of early stopping, the state of every generator, that of a weighting,
    and the history. It is written beside the last one and then put in its place, so that there is
    always a whole one; a digest of SHA-256 tells a damaged one. It holds no pickle.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from mtlearn import Checkpoint, MultiOutputNet
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = {"sum": X.sum(axis=1)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net = MultiOutputNet(random_state=0)
    ...     net = net.fit(X, y, checkpoint=Checkpoint(folder, every_epochs=10))
    >>> len(net.history_)
    200
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every_epochs: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        self.folder = Path(folder)
        for name, value in (("every_epochs", every_epochs), ("every_minutes", every_minutes)):
            kind = Integral if name == "every_epochs" else Real
            is_number = isinstance(value, kind) and not isinstance(value, bool)
            if value is not None and not (is_number and value > 0):
                what = "an integer" if kind is Integral else "a number"
                raise ValueError(f"Checkpoint: `{name}` must be {what} above 0. Got {value!r}.")
        self.every_epochs = every_epochs
        self.every_minutes = every_minutes

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.folder)!r})"

    @property
    def path(self) -> Path:
        """The file with the last state."""
        return self.folder / FILE


@dataclass(frozen=True)
class CheckpointRun:
    """A fit with a checkpoint: what it is the fit of, and the state it goes on from.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the state is kept.
    identity : dict of str to str
        What data and parameters are, as short texts.
    seed : int
        The seed of the fit: that of the state, if there is one.
    saved : dict or None
        The state to go on from.
    """

    checkpoint: Checkpoint
    identity: Mapping[str, str]
    seed: int
    saved: Mapping[str, Any] | None

    @property
    def keeper(self) -> Callback:
        """What keeps the state while a net is trained."""
        return StateKeeper(self)

    def restore(self, net: Any) -> int:
        """Put a net that begins into the state that was kept; return the epochs behind it.

        Raises
        ------
        ValueError
            If it is not the state of such a net.
        """
        if self.saved is None:
            return 0
        try:
            self._restore(net, self.saved)
        except BROKEN as error:
            raise _unusable(self.checkpoint, error) from error
        return len(self.saved["history"])

    def _restore(self, net: Any, saved: Mapping[str, Any]) -> None:
        weights = as_tensors(saved["weights"])
        shapes = {name: tensor.shape for name, tensor in all_tensors(net.module_).items()}
        if {name: tensor.shape for name, tensor in weights.items()} != shapes:
            raise ValueError("its weights are not those of the network")
        with torch.no_grad():
            put_tensors(net.module_, weights)
        load_training_state(net, {**saved["training"], "weighing": None})
        if net.weighing is not None and net.weighing.weigher is not None:
            vars(net.weighing.weigher).update(saved["weigher"])
        net.history.extend(saved["history"])
        net.used_weights = list(saved["used_weights"])
        net.recorder.best = dict(saved["least_losses"])
        for name, callback in net.callbacks_:
            if name in saved["callbacks"]:
                _put_state(callback, saved["callbacks"][name])
        for group, kept in zip(net.optimizer_.param_groups, saved["groups"], strict=True):
            group.update(kept)
        torch.default_generator.set_state(torch.tensor(saved["generator"]))

    def keep(self, net: Any) -> None:
        """Write the state of a net whose next epoch is about to begin.

        Raises
        ------
        OSError
            If it cannot be written; the last state is as it was.
        """
        training = training_state(net)
        weighing = training.pop("weighing")
        state = {
            "identity": dict(self.identity),
            "seed": self.seed,
            "weights": as_arrays(all_tensors(net.module_)),
            "training": training,
            "weigher": {} if weighing is None else vars(weighing),
            "history": [dict(row) for row in net.history[:-1]],
            "used_weights": net.used_weights,
            "least_losses": net.recorder.best,
            "callbacks": {
                name: state for name, one in net.callbacks_ if (state := _state_of(one)) is not None
            },
            "groups": [
                {key: value for key, value in group.items() if key != "params"}
                for group in net.optimizer_.param_groups
            ],
            "generator": torch.default_generator.get_state().numpy(),
        }
        write_plain(self.checkpoint.path, state)


class StateKeeper(Callback):
    """Keeps the state of a training whenever an epoch begins and it is time.

    Parameters
    ----------
    run : CheckpointRun
        Where to keep it.
    """

    is_stateless = True

    def __init__(self, run: CheckpointRun) -> None:
        self.run = run

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Start the clock."""
        self._kept_at, self._cost = time.monotonic(), 0.0
        self._done = 0 if self.run.saved is None else len(self.run.saved["history"])

    def on_epoch_begin(self, net: Any, **_kwargs: Any) -> None:
        """Keep what the last epoch has left, if it is time."""
        n_epochs = len(net.history) - 1
        if n_epochs <= self._done or not self._is_time(n_epochs):
            return
        start = time.monotonic()
        self.run.keep(net)
        self._kept_at, self._done = time.monotonic(), n_epochs
        self._cost = self._kept_at - start

    def _is_time(self, n_epochs: int) -> bool:
        epochs = self.run.checkpoint.every_epochs
        minutes = self.run.checkpoint.every_minutes
        waited = time.monotonic() - self._kept_at
        if epochs is None and minutes is None:
            return waited >= self._cost / SHARE_OF_TIME
        by_epochs = epochs is not None and n_epochs - self._done >= epochs
        return by_epochs or (minutes is not None and waited >= 60 * minutes)


def open_checkpoint(
    checkpoint: Checkpoint,
    identity: Mapping[str, str],
    seed: int,
    callbacks: Sequence[Any],
) -> CheckpointRun:
    """Return the run of a fit, with the state to go on from if there is one.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the state is kept.
    identity : dict of str to str
        What data and parameters are, as short texts.
    seed : int
        The seed of the fit, unless there is a state.
    callbacks : sequence of Callback or (str, Callback)
        The user's.

    Raises
    ------
    ValueError
        If the state is of other data or parameters, or damaged, and for callbacks whose state
        cannot be kept.
    OSError
        If the folder cannot be made, or the state not be read.
    """
    for callback in callbacks:
        one = callback[1] if isinstance(callback, tuple) else callback
        if not _is_stateless(one) and not hasattr(one, "state_dict"):
            raise ValueError(
                f"`checkpoint` must know the state of every callback. {type(one).__name__} has no "
                f"`state_dict` and `load_state_dict`; add them, or is_stateless = True if it has "
                f"no state."
            )
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(checkpoint.path)
    if not checkpoint.path.exists():
        return CheckpointRun(checkpoint, identity, seed, None)
    try:
        saved = read_plain(checkpoint.path)
        if set(saved) != FIELDS or not all(isinstance(row, dict) for row in saved["history"]):
            raise ValueError("it has other fields than a state has")
        then, seed = dict(saved["identity"]), int(saved["seed"])
        different = [
            _difference(key, then.get(key), identity.get(key))
            for key in sorted({*then, *identity})
            if then.get(key) != identity.get(key)
        ]
    except BROKEN as error:
        raise _unusable(checkpoint, error) from error
    if different:
        raise ValueError(
            f"`checkpoint`: {str(checkpoint.folder)!r} holds the state of another fit. Different "
            f"are {'; '.join(different)}. Pass another folder, or delete this one."
        )
    return CheckpointRun(checkpoint, identity, seed, saved)


def _unusable(checkpoint: Checkpoint, error: BaseException) -> ValueError:
    what = str(error)
    if not isinstance(error, DamagedFileError):
        where = repr(str(checkpoint.path))
        what = f"{where} holds no state of this fit ({type(error).__name__}: {what[:200]})."
    return ValueError(f"`checkpoint`: {what} Delete it to begin anew, or pass another folder.")


def _difference(key: str, then: str | None, now: str | None) -> str:
    """Return what differs in words; digests of data say nothing."""
    if then is None or now is None:
        return f"{key} (only {'now' if then is None else 'then'})"
    return key if then.startswith("sha256:") else f"{key} ({then} then, {now} now)"


def _is_stateless(callback: Any) -> bool:
    return isinstance(callback, EpochTimer | PrintLog) or getattr(callback, "is_stateless", False)


def _state_of(callback: Any) -> Any:
    """Return the state of a callback; None if it has none."""
    if isinstance(callback, LRScheduler):
        schedule = callback.lr_scheduler_.state_dict()
        return {"schedule": schedule, "batch": getattr(callback, "batch_idx_", 0)}
    return callback.state_dict() if hasattr(callback, "state_dict") else None


def _put_state(callback: Any, state: Any) -> None:
    if isinstance(callback, LRScheduler):
        callback.lr_scheduler_.load_state_dict(state["schedule"])
        callback.batch_idx_ = state["batch"]
    else:
        callback.load_state_dict(state)
