"""Signals are remembered inside the block, and act as before outside."""

import os
import signal
import threading

import pytest

from mtlearn._interrupts import Interrupts

pytestmark = pytest.mark.usefixtures("default_signals")


@pytest.fixture(autouse=True)
def _no_signal_before(monkeypatch):
    monkeypatch.setattr(Interrupts, "_last", float("-inf"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_the_handler_restored(number):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert interrupts.received is None
        os.kill(os.getpid(), number)
        assert interrupts.received == signal.Signals(number).name
        interrupts.handled = True
    assert signal.getsignal(number) is before


def test_a_second_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt, match=r"^$"), Interrupts() as interrupts:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == "SIGINT"
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_user_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("user"))
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        assert seen == ["user"]
        assert interrupts.received is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_handle_no_signals():
    received = []

    def run():
        with Interrupts() as interrupts:
            received.append(interrupts.received)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert received == [None]


def test_a_signal_that_nobody_handled_acts_at_the_end():
    with pytest.raises(KeyboardInterrupt, match=r"^$"), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_soon_after_another_acts_in_the_next_block_too():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        interrupts.handled = True
    with pytest.raises(KeyboardInterrupt, match=r"^$"), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_block_inside_another_sees_the_signal():
    with Interrupts() as outer, Interrupts() as inner:
        os.kill(os.getpid(), signal.SIGINT)
        assert inner.received == "SIGINT"
        assert outer.received is None
        inner.handled = True
