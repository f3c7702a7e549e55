"""A backend of joblib that runs fits until they train, and then trains them side by side."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from joblib import cpu_count
from joblib.parallel import ParallelBackendBase

from mtlearn._engine._stacks import Epoch, Stacks
from mtlearn._pausing import PausingCall
from mtlearn._torch_state import training_settings

__all__ = ["StackingBackend"]

MOST_TOGETHER = 256
BYTES_TOGETHER = 2**30


class _Task:
    """A task of joblib, and what joblib wants to hear when it is done."""

    def __init__(self, backend: "StackingBackend", call: PausingCall, callback: Any) -> None:
        self.call, self.callback = call, callback
        self._backend = backend

    def get(self, timeout: float | None = None) -> Any:  # noqa: ARG002
        """Return the result, once all that were sent are done."""
        self._backend.finish()
        return self.call.result()


class StackingBackend(ParallelBackendBase):
    """Runs every task until it asks for an epoch, and answers those that wait together.

    Nothing runs at the same time as anything else: the tasks take turns, and the stacked program
    uses several threads inside torch's operators.

    Parameters
    ----------
    n_threads : int or None
        How many threads, as joblib's `n_jobs`: None for 1, -1 for all processors.
    progress : callable
        Takes the number of tasks that have just ended, of those that are trained, and of their
        epochs so far.

    Attributes
    ----------
    seconds : float
        How long the calls of joblib's Parallel took.
    """

    uses_threads = True
    supports_sharedmem = True
    supports_retrieve_callback = False
    supports_timeout = True

    def __init__(
        self, n_threads: int | None = None, progress: Callable[[int, int, int], None] | None = None
    ) -> None:
        super().__init__()
        n_threads = 1 if n_threads is None else n_threads
        self._n_threads = n_threads if n_threads > 0 else max(1, cpu_count() + 1 + n_threads)
        self._progress = progress or (lambda *_: None)
        self._stacks = Stacks()
        self._waiting: list[_Task] = []
        self._ended: list[_Task] = []
        self._running: _Task | None = None
        self._n_bytes = 0
        self.seconds = 0.0

    def effective_n_jobs(self, n_jobs: int | None) -> int:  # noqa: ARG002
        """Return how many tasks joblib may send before it asks for results."""
        return MOST_TOGETHER

    def start_call(self) -> None:
        """Remember how many threads torch has, and when the call began."""
        self._n_threads_before, self._start = torch.get_num_threads(), time.perf_counter()

    def stop_call(self) -> None:
        """Give torch its threads back, of which the tasks had one each."""
        torch.set_num_threads(self._n_threads_before)
        self.seconds += time.perf_counter() - self._start

    def submit(self, func: Callable[[], Any], callback: Any = None) -> _Task:
        """Run a task until it waits or ends; answer all when enough wait."""
        task = _Task(self, PausingCall(partial(_on_one_thread, func)), callback)
        self._go_on(task)
        if task.call.done:
            self._progress(1, len(self._waiting), 0)
        if len(self._waiting) >= MOST_TOGETHER or self._n_bytes >= BYTES_TOGETHER:
            self.finish()
        return task

    def apply_async(self, func: Callable[[], Any], callback: Any = None) -> _Task:
        """Do what `submit` does, for joblib before 1.5."""
        return self.submit(func, callback)

    def finish(self) -> None:
        """Answer all tasks that wait until they are done, then let joblib send more."""
        n_epochs = 0
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            n_epochs += 1
            answers = self._answers(waiting)
            for task, answer in zip(waiting, answers, strict=True):
                self._go_on(task, answer)
            self._progress(len(waiting) - len(self._waiting), len(self._waiting), n_epochs)
        self._n_bytes, self._stacks = 0, Stacks()
        ended, self._ended = self._ended, []
        for task in ended:
            task.callback(task)

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002
        """End the tasks that wait."""
        waiting, self._waiting = [self._running, *self._waiting], []
        for task in waiting:
            if task is not None:
                task.call.cancel()

    def _go_on(self, task: _Task, answer: Any = None) -> None:
        is_new = not task.call.done and task.call.question is None
        self._running = task
        task.call.go_on(answer)
        self._running = None
        if task.call.done:
            self._ended.append(task)
            return
        self._waiting.append(task)
        if is_new and isinstance(task.call.question, Epoch):
            self._n_bytes += task.call.question.n_bytes

    def _answers(self, tasks: list[_Task]) -> list[Any]:
        epochs: list[Epoch] = [task.call.question for task in tasks]
        try:
            with training_settings(self._n_threads, 0):
                return self._stacks.train(epochs)
        except Exception as error:  # noqa: BLE001 - it belongs to the fits, as if each had met it
            return [error] * len(tasks)


def _on_one_thread(function: Callable[[], Any]) -> Any:
    """Call a function with one thread for torch: to start more in each thread takes long."""
    torch.set_num_threads(1)
    return function()
