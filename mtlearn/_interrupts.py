"""Ctrl-C and SIGTERM during a fit: remembered, so that training can end between two batches."""

import multiprocessing
import signal
import threading
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupts"]


class Interrupts:
    """Remember SIGINT and SIGTERM inside a ``with`` block instead of acting on them.

    A second signal acts as if the block were not there. Only the main thread can handle signals,
    and only handlers that are Python's or the system's own are replaced. Worker processes are left
    alone, because those who started them end them by SIGTERM.

    Attributes
    ----------
    received : str or None
        The name of the signal that came.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if (
            threading.current_thread() is threading.main_thread()
            and multiprocessing.current_process().name == "MainProcess"
        ):
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            self.__exit__()
            signal.raise_signal(number)
        self.received = signal.Signals(number).name
