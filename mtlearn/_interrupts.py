"""Ctrl-C and SIGTERM during a fit: remembered, so that training can end between two batches."""

import multiprocessing
import signal
import threading
import time
from types import FrameType
from typing import Any, ClassVar, Self

__all__ = ["Interrupts"]

SECONDS = 0.5


class Interrupts:
    """Remember SIGINT and SIGTERM inside a ``with`` block instead of acting on them.

    A second signal in the same block, or within half a second of the last one in any block, acts
    as if the block were not there, so that a search over many fits can be ended. One that came but
    was not `handled` acts at the block's end. Only the main thread can handle signals, and only
    handlers that are Python's or the system's own are replaced. Worker processes are left alone,
    because those who started them end them by SIGTERM.

    Attributes
    ----------
    received : str or None
        The name of the signal that came.
    handled : bool
        Whether whoever runs in the block has ended in order because of it.
    """

    _last: ClassVar[float] = float("-inf")

    def __init__(self) -> None:
        self.received: str | None = None
        self.handled = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if (
            threading.current_thread() is threading.main_thread()
            and multiprocessing.current_process().name == "MainProcess"
        ):
            for number in (signal.SIGINT, signal.SIGTERM):
                if _is_replaceable(signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._restore()
        if self.received is not None and not self.handled:
            signal.raise_signal(signal.Signals[self.received])

    def _restore(self) -> None:
        for number in reversed(self._before):  # Ctrl-C last: it may raise from here on
            signal.signal(number, self._before[number])
        self._before.clear()

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        now, last = time.monotonic(), Interrupts._last
        Interrupts._last = now
        if self.received is not None or now - last < SECONDS:
            self.handled = True
            self._restore()
            signal.raise_signal(number)
        else:
            self.received = signal.Signals(number).name


def _is_replaceable(handler: Any) -> bool:
    if getattr(handler, "__func__", None) is Interrupts._remember:
        return True
    return handler in (signal.default_int_handler, signal.SIG_DFL)
