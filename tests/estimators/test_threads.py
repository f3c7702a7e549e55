"""The same bytes whatever runs beside: processes, threads, hash seeds, the order of names."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed

from mtlearn import MultiOutputNet, Targets
from mtlearn.heads import Classification, MultiLabel, Regression
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


NAMES = ("price", "kind", "tags", "pair")
HEADS = {
    "price": Regression("huber"),
    "kind": Classification(hidden_layer_sizes=(3,)),
    "tags": MultiLabel(),
    "pair": Regression(),
}
LOSS_WEIGHTS = {"price": 2.0, "kind": 0.3, "tags": 1.0, "pair": 0.1}
SEEDS = (0, 1, 2)


def fit_and_digest(seed, names=NAMES):
    """Fit with every dict in the order of `names`, and return the digest of what is predicted."""
    X, y = make_data()
    weight = np.random.default_rng(1).uniform(0.1, 2, size=(len(NAMES), len(X)))
    weights = dict(zip(NAMES, weight, strict=True))
    y, weights, heads, loss_weights = (
        {name: given[name] for name in names} for given in (y, weights, HEADS, LOSS_WEIGHTS)
    )
    net = make_net(random_state=seed, heads=heads, loss_weights=loss_weights)
    return digest(net.fit(X, Targets(y), weights), X)


def digests_of_all_ways():
    """Return the digests of the same fits in processes and threads, in two orders of names."""
    return {
        f"{backend}, n_jobs={n_jobs}, {names}": Parallel(n_jobs=n_jobs, backend=backend)(
            delayed(fit_and_digest)(seed, names) for seed in SEEDS
        )
        for backend in ("loky", "threading")
        for n_jobs in (1, 2)
        for names in (NAMES, NAMES[::-1])
    }


@pytest.fixture(scope="module")
def alone():
    """The digests of the fits one after the other, here."""
    found = [fit_and_digest(seed) for seed in SEEDS]
    assert len(set(found)) == len(SEEDS)
    return found


def test_processes_and_threads_predict_the_same_bytes(alone):
    found = digests_of_all_ways()
    assert len(found) == 8
    assert found == dict.fromkeys(found, alone)


@pytest.mark.parametrize("hash_seed", ["0", "1", "42", "4242", "4294967295"])
def test_the_hash_seed_changes_no_byte(alone, hash_seed):
    code = (
        "import json, runpy, sys\n"
        "names = runpy.run_path(sys.argv[1])\n"
        "print(json.dumps([hash('price'), names['digests_of_all_ways']()]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, __file__],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    own_hash, digests = json.loads(found.stdout)
    same_seed = os.environ.get("PYTHONHASHSEED") == hash_seed
    assert (own_hash == hash("price")) is same_seed  # the seed has arrived
    assert len(digests) == 8
    assert digests == dict.fromkeys(digests, alone)


def test_the_order_of_names_changes_no_byte(alone):
    assert {fit_and_digest(SEEDS[0], names) for names in permutations(NAMES)} == {alone[0]}


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
