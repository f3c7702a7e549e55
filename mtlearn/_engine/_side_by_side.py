"""Calls that fit networks, run so that these are trained side by side."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mtlearn._engine._stacks import Epoch, Stacks
from mtlearn._engine._stopping import HeldOutLoss
from mtlearn._pausing import PausingCall
from mtlearn._torch_state import training_settings

__all__ = ["Outcome", "side_by_side"]

MOST_TOGETHER = 256
BYTES_TOGETHER = 2**30

# What a call returned, and None; or None, and what it raised.
Outcome = tuple[Any, BaseException | None]


def side_by_side(
    functions: Sequence[Callable[[], Any]],
    progress: Callable[[int, int, int], None] = lambda *_: None,
    *,
    all_at_once: bool = False,
) -> list[Outcome]:
    """Call functions, each up to where it trains a network; train these networks together.

    Nothing runs at the same time as anything else: the calls take turns. At most 256 calls, or
    about 1 GiB of rows and weights, are held at a time. Calls that ask for the mean of their losses
    on held-out rows get it from all that are held.

    Parameters
    ----------
    functions : sequence of callable
        What to call, without arguments.
    progress : callable, default=None
        Takes the number of calls that have just ended, of those that are trained, and of their
        epochs so far.
    all_at_once : bool, default=False
        Whether to hold all calls, however many they are.

    Returns
    -------
    list of (value, error)
        What each returned or raised.
    """
    calls = [PausingCall(function) for function in functions]
    n_threads = torch.get_num_threads()
    start = 0
    try:
        with warnings.catch_warnings():  # calls that take turns restore it in the wrong order
            while start < len(calls):
                waiting, end = _begin(calls, start, all_at_once=all_at_once)
                progress(end - start - len(waiting), len(waiting), 0)
                _train(waiting, progress)
                start = end
    finally:
        for call in calls:
            call.cancel()
        torch.set_num_threads(n_threads)
    return [call.outcome for call in calls]


def _begin(
    calls: Sequence[PausingCall], start: int, *, all_at_once: bool
) -> tuple[list[PausingCall], int]:
    """Begin as many calls as may wait at a time; return those that do, and the next position."""
    waiting: list[PausingCall] = []
    n_bytes = 0
    for i in range(start, len(calls)):
        torch.set_num_threads(1)  # threads of each thread take long to start
        calls[i].go_on()
        if not calls[i].done:
            waiting.append(calls[i])
            n_bytes += calls[i].question.n_bytes
        if all_at_once:
            continue
        if len(waiting) == MOST_TOGETHER or n_bytes > BYTES_TOGETHER:
            return waiting, i + 1
    return waiting, len(calls)


def _train(waiting: Sequence[PausingCall], progress: Callable[[int, int, int], None]) -> None:
    """Answer calls until all are done."""
    stacks, n_epochs = Stacks(), 0
    while waiting:
        n_epochs += 1
        for call, answer in zip(waiting, _answers(stacks, waiting), strict=True):
            call.go_on(answer)
        left = [call for call in waiting if not call.done]
        progress(len(waiting) - len(left), len(left), n_epochs)
        waiting = left


def _answers(stacks: Stacks, calls: Sequence[PausingCall]) -> Sequence[Any]:
    answers: list[Any] = [None] * len(calls)
    losses = {i: c.question for i, c in enumerate(calls) if isinstance(c.question, HeldOutLoss)}
    if losses:
        n_rows = sum(loss.n_rows for loss in losses.values())
        mean = sum(loss.value * loss.n_rows for loss in losses.values()) / n_rows
        for i in losses:
            answers[i] = mean
    epochs = {i: c.question for i, c in enumerate(calls) if isinstance(c.question, Epoch)}
    try:
        with training_settings(1, 0):
            found: Sequence[Any] = stacks.train(list(epochs.values())) if epochs else []
    except Exception as error:  # noqa: BLE001 - it belongs to the fits, as if each had met it
        found = [error] * len(epochs)
    for i, answer in zip(epochs, found, strict=True):
        answers[i] = answer
    return answers
