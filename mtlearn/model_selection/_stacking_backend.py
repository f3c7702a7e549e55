"""A backend of joblib that collects fits, to train their networks side by side."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from joblib import Parallel, delayed
from joblib.parallel import ParallelBackendBase

from mtlearn._engine._side_by_side import Outcome, side_by_side

__all__ = ["StackingBackend"]


class _Task:
    """A task of joblib, and what joblib wants to hear when it is done."""

    def __init__(self, run_all: Callable[[], None], function: Any, callback: Any) -> None:
        self.function, self.callback = function, callback
        self.outcome: Outcome | None = None
        self._run_all = run_all

    def get(self, timeout: float | None = None) -> Any:  # noqa: ARG002
        """Return the result, for which all tasks are run."""
        if self.outcome is None:
            self._run_all()
        assert self.outcome is not None
        value, error = self.outcome
        if error is not None:
            raise error
        return value


class StackingBackend(ParallelBackendBase):
    """Collects tasks until joblib asks for a result, then runs all of them side by side.

    Parameters
    ----------
    n_jobs : int
        How many processes share the tasks.
    begins, progress : callable, default=None
        The first takes the number of all tasks; the second the number of tasks that have just
        ended, of those that are trained, and of their epochs so far. The last two are known in
        this process only.

    Attributes
    ----------
    seconds : float
        How long all processes worked.
    ends : callable
        Called when all tasks are done.
    """

    uses_threads = True
    supports_sharedmem = True
    supports_retrieve_callback = False
    supports_timeout = True

    def __init__(
        self,
        n_jobs: int = 1,
        begins: Callable[[int], None] = lambda *_: None,
        progress: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        super().__init__()
        self.ends: Callable[[], None] = lambda: None
        self._n_jobs = n_jobs
        self._begins, self._progress = begins, progress
        self._tasks: list[_Task] = []
        self.seconds = 0.0

    def effective_n_jobs(self, n_jobs: int | None) -> int:  # noqa: ARG002
        """Return more than one, so that joblib sends its tasks here."""
        return max(2, self._n_jobs)

    def submit(self, func: Callable[[], Any], callback: Any = None) -> _Task:
        """Keep a task for later."""
        self._tasks.append(_Task(self._run_all, func, callback))
        return self._tasks[-1]

    def apply_async(self, func: Callable[[], Any], callback: Any = None) -> _Task:
        """Do what `submit` does, for joblib before 1.5."""
        return self.submit(func, callback)

    def _run_all(self) -> None:
        tasks, self._tasks = self._tasks, []
        functions = [task.function for task in tasks]
        self._begins(len(functions))
        for task, outcome in zip(tasks, self._outcomes(functions), strict=True):
            task.outcome = outcome
        self.ends()
        for task in tasks:
            task.callback(task)

    def _outcomes(self, functions: Sequence[Callable[[], Any]]) -> list[Outcome]:
        n_jobs = min(self._n_jobs, len(functions))
        if n_jobs == 1:
            outcomes, seconds = _timed(functions, self._progress)
            self.seconds += seconds
            return outcomes
        bounds = [len(functions) * i // n_jobs for i in range(n_jobs + 1)]
        parts = [functions[a:b] for a, b in pairwise(bounds)]
        found: list[Outcome] = []
        with Parallel(n_jobs=n_jobs, backend="loky", return_as="generator") as parallel:
            for outcomes, seconds in parallel(delayed(_timed)(part) for part in parts):
                found += outcomes
                self.seconds += seconds
                self._progress(len(outcomes), 0, 0)
        return found


def _timed(
    functions: Sequence[Callable[[], Any]], *progress: Callable[[int, int, int], None]
) -> tuple[list[Outcome], float]:
    start = time.perf_counter()
    return side_by_side(functions, *progress), time.perf_counter() - start
