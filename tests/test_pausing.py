"""A paused call waits for its owner, and neither runs while the other does."""

import contextvars
import threading
import time

import pytest

from mtlearn._pausing import Cancelled, PausingCall, ask, can_ask, check_cancelled


def add_two_answers():
    return ask("first") + ask("second")


def test_a_call_goes_on_with_each_answer_to_its_end():
    call = PausingCall(add_two_answers)
    assert (call.question, call.done) == (None, False)
    call.go_on()
    assert (call.question, call.done) == ("first", False)
    call.go_on(30)
    assert call.question == "second"
    call.go_on(4)
    assert (call.question, call.done) == (None, True)
    assert call.outcome == (34, None)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_call_raises_is_its_outcome(error):
    def fail():
        ask("first")
        raise error

    call = PausingCall(fail)
    call.go_on()
    call.go_on()
    assert call.done
    assert call.outcome == (None, error)


def test_an_exception_as_an_answer_is_raised_where_it_was_asked():
    def recover():
        try:
            ask("first")
        except ZeroDivisionError:
            return ask("again")

    call = PausingCall(recover)
    call.go_on()
    call.go_on(ZeroDivisionError("from outside"))
    assert call.question == "again"
    error = OSError("not caught")
    call.go_on(error)
    assert call.outcome == (None, error)


def test_a_cancelled_call_ends_at_its_question_and_cleans_up():
    notes = []

    def tidy():
        try:
            notes.append(ask("first"))
        except Exception:  # noqa: BLE001 - as a fit's own handlers may
            notes.append("caught")
        finally:
            notes.append("cleaned")

    call = PausingCall(tidy)
    call.go_on()
    call.cancel()
    assert call.done
    assert notes == ["cleaned"]
    assert isinstance(call.outcome[1], Cancelled)


def test_a_cancelled_call_asks_nothing_more():
    answers = []

    def persist():
        for question in ("first", "second", "third"):
            try:
                answers.append(ask(question))
            except Cancelled:
                answers.append("cancelled")
        return answers

    call = PausingCall(persist)
    call.go_on()
    call.go_on("yes")
    call.cancel()
    assert call.outcome == (["yes", "cancelled", "cancelled"], None)


def test_a_call_cancelled_before_it_began_ends_at_its_first_question():
    call = PausingCall(add_two_answers)
    call.cancel()
    assert not call.done
    call.go_on()
    assert isinstance(call.outcome[1], Cancelled)


def test_a_call_cancelled_while_it_runs_ends_where_it_looks():
    begun, notes = threading.Event(), []

    def run():
        begun.set()
        for _ in range(10_000):
            check_cancelled()
            time.sleep(0.001)
        notes.append("never cancelled")

    call = PausingCall(run)
    owner = threading.Thread(target=call.go_on)
    owner.start()
    assert begun.wait(10)
    call.cancel()
    owner.join(10)
    assert call.done
    assert isinstance(call.outcome[1], Cancelled)
    assert not notes


def test_a_call_has_the_context_of_its_owner_and_changes_none_of_it():
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("outside")

    def change():
        seen = variable.get()
        variable.set("inside")
        ask("first")
        return seen, variable.get()

    call = PausingCall(change)
    call.go_on()
    assert variable.get() == "outside"
    call.go_on()
    assert call.outcome == (("outside", "inside"), None)


def test_cancelling_a_call_that_is_done_or_cancelled_changes_nothing():
    done, cancelled = PausingCall(lambda: 5), PausingCall(add_two_answers)
    done.go_on()
    cancelled.go_on()
    for _ in range(2):
        done.cancel()
        cancelled.cancel()
    assert done.outcome == (5, None)
    assert isinstance(cancelled.outcome[1], Cancelled)


def test_calls_take_turns_and_get_their_own_answers():
    running, order = [], []

    def work(name, n_questions):
        answers = []
        for i in range(n_questions):
            running.append(name)
            time.sleep(0.005)
            order.append((name, i))
            assert running == [name]
            running.clear()
            answers.append(ask((name, i)))
        return answers

    calls = [PausingCall(lambda name=name: work(name, len(name))) for name in ("x", "yyy", "zz")]
    for call in calls:
        call.go_on()
        assert not running
    while waiting := [call for call in calls if not call.done]:
        for call in waiting:
            call.go_on([*call.question])
            assert not running
    assert order == [("x", 0), ("yyy", 0), ("zz", 0), ("yyy", 1), ("zz", 1), ("yyy", 2)]
    assert [call.outcome for call in calls] == [
        ([[name, i] for i in range(len(name))], None) for name in ("x", "yyy", "zz")
    ]


def test_only_code_inside_a_call_can_ask():
    def in_a_thread():
        found = []
        thread = threading.Thread(target=lambda: found.append(can_ask()))
        thread.start()
        thread.join()
        return found

    call = PausingCall(lambda: [can_ask(), ask("first"), can_ask(), *in_a_thread()])
    assert not can_ask()
    call.go_on()
    assert not can_ask()
    check_cancelled()  # which is for code inside, too
    call.go_on("answer")
    assert call.outcome == ([True, "answer", True, False], None)


def test_ended_calls_leave_no_thread():
    before = set(threading.enumerate())
    calls = [PausingCall(add_two_answers) for _ in range(5)]
    for call in calls:
        call.go_on()
    threads = set(threading.enumerate()) - before
    assert len(threads) == 5
    for call in calls:
        call.cancel()
    assert not any(thread.is_alive() for thread in threads)
