from contextlib import ExitStack

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from mtlearn import OnlineMultiOutputNet
from mtlearn._engine._blas import blas_threads

BLAS = ThreadpoolController().select(user_api="blas")


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if counts() != {2}:
            pytest.skip("this BLAS has one thread")
        yield


def counts():
    return {library.num_threads for library in BLAS.lib_controllers}


def test_the_number_is_held_and_given_back():
    with blas_threads(1):
        assert counts() == {1}
        with blas_threads(1):
            assert counts() == {1}
        assert counts() == {1}
    assert counts() == {2}


def test_an_error_gives_it_back():
    with pytest.raises(KeyError, match="lost"), blas_threads(1):
        raise KeyError("lost")
    assert counts() == {2}


def test_none_leaves_it_as_it_is():
    with blas_threads(None):
        assert counts() == {2}


def test_the_last_to_hold_it_gives_it_back():
    first, second = ExitStack(), ExitStack()
    first.enter_context(blas_threads(1))
    second.enter_context(blas_threads(1))
    first.close()
    assert counts() == {1}
    second.close()
    assert counts() == {2}


def test_a_stream_leaves_the_threads_of_blas_as_it_found_them():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    net = OnlineMultiOutputNet(random_state=0).partial_fit(X, X[:, 0] > 0)
    assert counts() == {2}
    net.predict(X)
    assert counts() == {2}
