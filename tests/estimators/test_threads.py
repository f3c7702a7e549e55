"""The same bytes whatever runs beside: processes, threads, hash seeds, the order of names."""

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed

from mtlearn import MultiOutputNet, Targets
from mtlearn.trunks import MLP

pytestmark = pytest.mark.slow

N_THREADS = 8


def make_data(n=40, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 4))
    y = {
        "price": 5 + X[:, 0],
        "kind": np.where(X[:, 1] > 0, "flat", "house"),
        "tags": (X[:, :2] > 0).astype(int),
        "pair": X[:, 1:3] * 3,
    }
    return X, y


def make_net(normalization="batch", **params):
    trunk = MLP((8, 8), dropout=0.2, normalization=normalization)
    defaults = {"trunk": trunk, "max_epochs": 3, "batch_size": 16, "random_state": 0}
    return MultiOutputNet(**defaults | params)


def digest(net, X):
    """Return the SHA-256 of all predictions and probabilities."""
    return digest_of(net.predict(X)) + digest_of(net.predict_proba(X))


def digest_of(predicted):
    digest = hashlib.sha256()
    for name in sorted(predicted):
        values = predicted[name]
        text = values.dtype.kind == "U"
        digest.update("".join(values).encode() if text else values.tobytes())
    return digest.hexdigest()


def fit_and_digest(seed, turned=False):
    X, y = make_data()
    y = dict(reversed(y.items())) if turned else y
    weights = {"kind": 0.3, "price": 2.0}
    weights = dict(reversed(weights.items())) if turned else weights
    return digest(make_net(random_state=seed, loss_weights=weights).fit(X, Targets(y)), X)


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_parallel_jobs_predict_the_same_bytes(backend, n_jobs):
    alone = [fit_and_digest(seed) for seed in range(4)]
    assert len(set(alone)) == 4
    jobs = (delayed(fit_and_digest)(seed) for seed in range(4))
    assert Parallel(n_jobs=n_jobs, backend=backend)(jobs) == alone


def test_the_order_of_names_changes_no_byte():
    assert fit_and_digest(3, turned=True) == fit_and_digest(3)


def test_the_hash_seed_changes_no_byte():
    code = (
        "import runpy, sys; names = runpy.run_path(sys.argv[1]); print(names['fit_and_digest'](3))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, __file__],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "4242")
    ]
    found = [run.communicate(timeout=120)[0].strip() for run in runs]
    assert found == [fit_and_digest(3)] * 3


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_predictions_in_many_threads_are_the_same_bytes(normalization):
    X, y = make_data()
    net = make_net(normalization).fit(X, y)
    expected = digest(net, X)
    with ThreadPoolExecutor(N_THREADS) as pool:
        assert set(pool.map(lambda _: digest(net, X), range(25 * N_THREADS))) == {expected}


def test_fits_in_many_threads_are_the_same_bytes_and_put_the_thread_counts_back():
    before = torch.get_num_threads()
    expected = [fit_and_digest(seed) for seed in range(N_THREADS)]
    barrier = threading.Barrier(N_THREADS)

    def run(seed):
        found = torch.get_num_threads()
        barrier.wait(timeout=60)
        return fit_and_digest(seed), torch.get_num_threads() == found

    with ThreadPoolExecutor(N_THREADS) as pool:
        results = list(pool.map(run, range(N_THREADS)))
    assert results == [(found, True) for found in expected]
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def watch(net, X, change):
    """Return the digests that four threads see while a fifth changes the net, and the errors."""
    seen, errors = set(), []
    done = threading.Event()
    barrier = threading.Barrier(5)

    def look():
        barrier.wait(timeout=60)
        while not done.is_set():
            try:
                seen.add(digest_of(net.predict(X)))
            except (AttributeError, TypeError, ValueError) as error:
                errors.append(error)

    def work():
        barrier.wait(timeout=60)
        try:
            change()
        finally:
            done.set()

    threads = [threading.Thread(target=look) for _ in range(4)]
    threads.append(threading.Thread(target=work))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    return seen, errors


@pytest.mark.parametrize("repetition", range(3))
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_predictions_during_a_refit_are_those_before_or_after_it(normalization, repetition):
    X, y = make_data()
    scaled = {name: v * 3 + 1 if v.dtype.kind == "f" else v[::-1] for name, v in y.items()}
    net = make_net(normalization, max_epochs=8, random_state=repetition).fit(X, y)
    before = digest_of(net.predict(X))

    def refit():
        for _ in range(3):
            net.fit(X, scaled)
            net.fit(X, y)

    other = make_net(normalization, max_epochs=8, random_state=repetition).fit(X, scaled)
    after = digest_of(other.predict(X))
    seen, _ = watch(net, X, refit)
    assert seen <= {before, after}


class RefitsWhenRead:
    """Rows that refit the estimator while it reads them, as another thread might."""

    def __init__(self, X, refit):
        self.X = X
        self.refit = refit

    def __array__(self, dtype=None, copy=None):
        self.refit()
        return self.X


@pytest.mark.parametrize("method", ["predict", "predict_proba", "embed"])
def test_a_refit_within_a_prediction_makes_no_mixture(method):
    X, y = make_data()
    names = np.where(y["kind"] == "flat", "villa", "castle")
    scaled = {**y, "price": y["price"] * 3 + 1, "kind": names}
    net, other = make_net().fit(X, y), make_net().fit(X, scaled)
    before, after = getattr(net, method)(X), getattr(other, method)(X)
    found = getattr(net, method)(RefitsWhenRead(X, lambda: net.fit(X, scaled)))
    assert np.all(found == before) or np.all(found == after)
