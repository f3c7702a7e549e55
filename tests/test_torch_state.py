import threading

import pytest
import torch

from mtlearn._torch_state import suspended_settings, training_settings


@pytest.fixture(autouse=True)
def three_threads():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(n_threads)


def test_settings_hold_inside_and_are_restored_after():
    before = torch.get_rng_state()
    with training_settings(2, seed=5):
        assert torch.get_num_threads() == 2
        drawn = torch.rand(3)
    assert torch.get_num_threads() == 3
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_none_leaves_the_thread_count():
    with training_settings(None, seed=0):
        assert torch.get_num_threads() == 3


def test_settings_are_restored_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"), training_settings(1, seed=0):
        raise RuntimeError("inside")
    assert torch.get_num_threads() == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_are_computed_whatever_the_caller_set():
    with torch.inference_mode(), training_settings(1, seed=0):
        x = torch.ones(2, requires_grad=True)
        x.sum().backward()
    assert torch.equal(x.grad, torch.ones(2))


def overlapping_fits(observe):
    """Let three threads hold settings together; the first leaves before the others do.

    Returns what `observe` returns in the threads that still hold settings by then, and torch's
    thread count in each thread once it has left. torch keeps that count for each thread.
    """
    entered, first_left = threading.Barrier(3), threading.Event()
    observed = threading.Barrier(2)
    inside, after = {}, {}

    def fit(name):
        with training_settings(1, seed=0):
            entered.wait(timeout=30)
            if name != "first":
                first_left.wait(timeout=30)
                inside[name] = observe()
                observed.wait(timeout=30)
        after[name] = torch.get_num_threads()
        if name == "first":
            first_left.set()

    threads = [threading.Thread(target=fit, args=(name,)) for name in ("first", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return inside, after


def test_settings_hold_until_the_last_of_several_threads_leaves():
    before = torch.get_rng_state()

    def observe():
        return torch.get_num_threads(), torch.equal(torch.get_rng_state(), before)

    inside, _ = overlapping_fits(observe)
    assert inside == {"b": (1, False), "c": (1, False)}
    assert torch.get_num_threads() == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_every_thread_gets_its_thread_count_back():
    _, after = overlapping_fits(torch.get_num_threads)
    assert after == {"first": 3, "b": 3, "c": 3}


def test_a_fit_that_waits_leaves_the_generator_to_others():
    with training_settings(1, 3):
        expected_there = torch.rand(2)
    with training_settings(1, 1):
        expected = torch.rand(3)
    before = torch.default_generator.get_state()
    with training_settings(1, 1), training_settings(1, 1):
        found = torch.rand(1)
        with suspended_settings():
            assert torch.equal(torch.default_generator.get_state(), before)
            with training_settings(1, 3):
                assert torch.equal(torch.rand(2), expected_there)
        found = torch.cat([found, torch.rand(2)])
    assert torch.equal(found, expected)
    assert torch.equal(torch.default_generator.get_state(), before)


def test_a_thread_count_that_torch_refuses_holds_nothing():
    with pytest.raises(RuntimeError, match="positive"), training_settings(0, 1):
        pass
    with training_settings(1, 3):
        expected = torch.rand(2)
    with training_settings(1, 3):
        assert torch.equal(torch.rand(2), expected)
