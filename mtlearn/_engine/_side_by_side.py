"""Calls that fit networks, run so that these are trained side by side."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mtlearn._engine._kept_training import EpochStart
from mtlearn._engine._stacks import Epoch, Stacks
from mtlearn._engine._stopping import HeldOutLoss
from mtlearn._pausing import PausingCall
from mtlearn._torch_state import training_settings

__all__ = ["Outcome", "side_by_side"]

MOST_TOGETHER = 256
BYTES_TOGETHER = 2**30
IN_AN_EPOCH = Epoch, HeldOutLoss, EpochStart  # the last ends it

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
    """Answer calls until all are done; those that are ahead in an epoch wait for the others."""
    stacks, n_epochs = Stacks(), 0
    while waiting:
        n_epochs += 1
        kind = next(k for k in IN_AN_EPOCH if any(isinstance(c.question, k) for c in waiting))
        asking = [call for call in waiting if isinstance(call.question, kind)]
        answers = _answers(stacks, [call.question for call in asking])
        for call, answer in zip(asking, answers, strict=True):
            call.go_on(answer)
        left = [call for call in waiting if not call.done]
        progress(len(waiting) - len(left), len(left), n_epochs)
        waiting = left


def _answers(stacks: Stacks, questions: Sequence[Any]) -> Sequence[Any]:
    """Return the answers to questions of one kind."""
    if isinstance(questions[0], HeldOutLoss):
        n_rows = sum(loss.n_rows for loss in questions)
        mean = sum(loss.value * loss.n_rows for loss in questions) / n_rows
        return [mean] * len(questions)
    try:
        if isinstance(questions[0], EpochStart):
            return [questions[0].keep()] * len(questions)
        with training_settings(1, 0):
            return stacks.train(questions)
    except Exception as error:  # noqa: BLE001 - it belongs to the fits, as if each had met it
        return [error] * len(questions)
