"""Checkpoints: the whole state of a fit between two epochs, on disk."""

import os
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from mtlearn._atomic import remove_unfinished
from mtlearn._engine._net_state import STATE_FIELDS, keeps_its_state
from mtlearn._plain_files import BROKEN, DamagedFileError, read_plain, write_plain

__all__ = ["Checkpoint", "CheckpointRun", "open_checkpoint", "unusable"]

FILE = "checkpoint.mtlearn"
FIELDS = {"identity", "seed", "trainings"}
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
    and the history; with ``n_members`` or ``refit``, those of all networks. It is written beside
    the last one and then put in its place, so that there is always a whole one; a digest of SHA-256
    tells a damaged one. It holds no pickle.

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


class CheckpointRun:
    """A fit with a checkpoint: what it is the fit of, and the states that it goes on from.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the states are kept.
    identity : dict of str to str
        What data and parameters are, as short texts.
    seed : int
        The seed of the fit: that of the states, if there are any.
    stages : list of list of str
        The names of the trainings, in the order of their stages; those of one stage are side by
        side.
    saved : dict of str to (dict or None), default=None
        The states to go on from, by training; None for one that had nothing to learn.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        identity: Mapping[str, str],
        seed: int,
        stages: Sequence[Sequence[str]],
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.identity = identity
        self.seed = seed
        self.saved = saved or {}
        self.whole = _whole(stages)
        self._ended: dict[str, Any] = {}
        self._begun: dict[str, Any] = {}
        self._is_due: bool | None = None
        self._kept_at: float | None = None
        self._n_epochs, self._cost = 0, 0.0

    @property
    def has_several(self) -> bool:
        """Whether there is more than one training."""
        return len(self.whole[-1]) > 1

    @property
    def is_due(self) -> bool:
        """Whether the states between these epochs are to be kept; the same for all trainings."""
        if self._kept_at is None:
            self._kept_at, self._is_due = time.monotonic(), False
        if self._is_due is None:
            self._n_epochs += 1
            self._is_due = self._is_time(time.monotonic() - self._kept_at)
        return self._is_due

    def put(self, name: str, state: Any) -> None:
        """Take the state of a training that is about to begin an epoch, or has ended."""
        has_ended = state is None or state["has_ended"]
        (self._ended if has_ended else self._begun)[name] = state

    def keep(self) -> None:
        """Write the states, now that all trainings are about to begin an epoch or have ended.

        If one has failed, the states stay those before.

        Raises
        ------
        OSError
            If they cannot be written; the last ones are as they were.
        """
        is_due, self._is_due = self._is_due, None
        states, self._begun = self._ended | self._begun, {}
        if not is_due or set(states) not in self.whole:
            return
        start = time.monotonic()
        kept = {"identity": dict(self.identity), "seed": self.seed, "trainings": states}
        write_plain(self.checkpoint.path, kept)
        self._kept_at, self._n_epochs = time.monotonic(), 0
        self._cost = self._kept_at - start

    def _is_time(self, waited: float) -> bool:
        epochs, minutes = self.checkpoint.every_epochs, self.checkpoint.every_minutes
        if epochs is None and minutes is None:
            return waited >= self._cost / SHARE_OF_TIME
        by_epochs = epochs is not None and self._n_epochs >= epochs
        return by_epochs or (minutes is not None and waited >= 60 * minutes)


def open_checkpoint(
    checkpoint: Checkpoint,
    identity: Mapping[str, str],
    seed: int,
    stages: Sequence[Sequence[str]],
    callbacks: Sequence[Any],
) -> CheckpointRun:
    """Return the run of a fit, with the states to go on from if there are any.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the states are kept.
    identity : dict of str to str
        What data and parameters are, as short texts.
    seed : int
        The seed of the fit, unless there is a state.
    stages : list of list of str
        The names of the trainings, in the order of their stages.
    callbacks : sequence of Callback or (str, Callback)
        The user's.

    Raises
    ------
    ValueError
        If the states are of other data or parameters, or damaged, and for callbacks whose state
        cannot be kept.
    OSError
        If the folder cannot be made, or the file not be read.
    """
    for callback in callbacks:
        one = callback[1] if isinstance(callback, tuple) else callback
        if not keeps_its_state(one):
            raise ValueError(
                f"`checkpoint` must know the state of every callback. {type(one).__name__} has no "
                f"`state_dict` and `load_state_dict`; add them, or is_stateless = True if it has "
                f"no state."
            )
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(checkpoint.path)
    if not checkpoint.path.exists():
        return CheckpointRun(checkpoint, identity, seed, stages)
    try:
        saved = read_plain(checkpoint.path)
        if set(saved) != FIELDS:
            raise ValueError("it has other fields than a state has")
        then, seed, states = dict(saved["identity"]), int(saved["seed"]), saved["trainings"]
        different = [
            _difference(key, then.get(key), identity.get(key))
            for key in sorted({*then, *identity})
            if then.get(key) != identity.get(key)
        ]
        if not different:
            _check_states(states, stages)
    except BROKEN as error:
        raise unusable(checkpoint, error) from error
    if different:
        raise ValueError(
            f"`checkpoint`: {str(checkpoint.folder)!r} holds the state of another fit. Different "
            f"are {'; '.join(different)}. Pass another folder, or delete this one."
        )
    return CheckpointRun(checkpoint, identity, seed, stages, states)


def _whole(stages: Sequence[Sequence[str]]) -> list[set[str]]:
    """Return the names of the trainings that have begun in each stage."""
    return list(accumulate(map(set, stages), set.union))


def _check_states(states: Mapping[str, Any], stages: Sequence[Sequence[str]]) -> None:
    if set(states) not in _whole(stages):
        raise ValueError("it has the states of other trainings")
    for state in states.values():
        if state is None:
            continue
        if set(state) != STATE_FIELDS or not all(isinstance(row, dict) for row in state["history"]):
            raise ValueError("it has other fields than a state has")


def unusable(checkpoint: Checkpoint, error: BaseException) -> ValueError:
    """Return the error of a file that holds no state of the fit."""
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
