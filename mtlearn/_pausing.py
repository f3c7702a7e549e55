"""Calls that can pause anywhere inside, to ask whoever runs them for something."""

import contextvars
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["Cancelled", "PausingCall", "ask", "can_ask", "check_cancelled"]

_HERE = threading.local()


class Cancelled(BaseException):
    """A call that waits for an answer shall end instead."""


class PausingCall:
    """A call in a thread of its own, which runs only while its owner waits for it.

    It is a coroutine that any function can be, however deep it asks: the owner and the call take
    turns, so that nothing runs at the same time as anything else.

    Parameters
    ----------
    function : callable
        What to call, without arguments.

    Attributes
    ----------
    question : Any
        What the call waits for; None while it runs.
    done : bool
        Whether it has ended.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.question: Any = None
        self.done = False
        self._answer: Any = None
        self._cancelled = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._here, self._there = threading.Lock(), threading.Lock()
        self._here.acquire()
        self._there.acquire()
        context = contextvars.copy_context()
        function = partial(context.run, function)
        self._thread = threading.Thread(
            target=self._run, args=(function,), name="pausing call", daemon=True
        )

    def go_on(self, answer: Any = None) -> None:
        """Run until the next question or the end, with the answer to the last question.

        Parameters
        ----------
        answer : Any, default=None
            What `ask` returns; an exception is raised there.
        """
        if self.done:
            raise RuntimeError("PausingCall: the call has ended.")
        self._answer = answer
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._there.release()
        while not self._here.acquire(timeout=1.0):  # a signal may have reached another thread
            pass

    @property
    def outcome(self) -> tuple[Any, BaseException | None]:
        """What the call returned, and None; or None, and what it raised."""
        return self._value, self._error

    def cancel(self) -> None:
        """End a call that is not done, where it waits or at its next `check_cancelled`."""
        self._cancelled = True
        if self._thread.is_alive():
            if self._there.locked():
                self._there.release()
            self._thread.join()

    def check_cancelled(self) -> None:
        """Raise Cancelled if the owner wants the call to end."""
        if self._cancelled:
            raise Cancelled

    def ask(self, question: Any) -> Any:
        """Pause until the owner goes on; for the call itself."""
        self.check_cancelled()
        self.question = question
        self._here.release()
        self._there.acquire()
        self.question = None
        self.check_cancelled()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def _run(self, function: Callable[[], Any]) -> None:
        _HERE.call = self
        try:
            self._value = function()
        except BaseException as error:  # noqa: BLE001 - it belongs to the owner, whatever it is
            self._error = error
        finally:
            self.done = True
            self._here.release()


def can_ask() -> bool:
    """Tell whether this code runs inside a PausingCall."""
    return hasattr(_HERE, "call")


def ask(question: Any) -> Any:
    """Pause, and return what the owner of the PausingCall answers."""
    return _HERE.call.ask(question)


def check_cancelled() -> None:
    """Raise Cancelled inside a PausingCall whose owner wants it to end."""
    if can_ask():
        _HERE.call.check_cancelled()
