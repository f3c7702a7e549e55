"""The backends of joblib give the same bytes as no parallel run at all."""

import os
import threading

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, Targets
from mtlearn.model_selection import cross_val_predict
from mtlearn.trunks import MLP

pytestmark = pytest.mark.interop

N = 80
X = np.random.default_rng(0).normal(size=(N, 4))
DATA = {"price": X[:, 0] - X[:, 1], "kind": np.where(X[:, 1] > 0, "flat", "house")}
Y = Targets(DATA)
TRUNK = MLP((8, 8), dropout=0.2, normalization="batch")
PARAMS = {"trunk": TRUNK, "batch_size": 16, "max_epochs": 3, "random_state": 0}
NET = make_pipeline(StandardScaler(), MultiOutputNet(**PARAMS))
BACKENDS = ["loky", "threading", "multiprocessing"]


def process(net, X, y):
    return os.getpid()


def thread(net, X, y):
    return threading.get_ident()


def mean(net, X, y):
    return net.score(X, y)


SCORING = {"process": process, "thread": thread, "mean": mean}


@pytest.fixture(params=BACKENDS)
def backend(request):
    with joblib.parallel_config(backend=request.param, n_jobs=2):
        yield request.param


def check_where(backend, processes, threads):
    """The work was done where the backend does it."""
    assert (os.getpid() in processes) == (backend == "threading")
    if backend == "threading":
        assert threading.get_ident() not in threads


def test_cross_validate_fits_the_same_bytes(backend):
    options = {"cv": 4, "scoring": SCORING, "return_estimator": True, "error_score": "raise"}
    found = cross_validate(NET, X, Y, **options)
    alone = cross_validate(NET, X, Y, n_jobs=1, **options)
    check_where(backend, found["test_process"], found["test_thread"])
    assert set(alone["test_process"]) == {os.getpid()}
    np.testing.assert_array_equal(found["test_mean"], alone["test_mean"])
    assert len({net.predict(X)["price"].tobytes() for net in alone["estimator"]}) == 4
    for net, expected in zip(found["estimator"], alone["estimator"], strict=True):
        assert net.predict(X) == expected.predict(X)
        assert net.predict_proba(X) == expected.predict_proba(X)
        assert net[-1].history_ == expected[-1].history_


def test_a_search_gives_the_same_bytes(backend):
    def run(**options):
        grid = {"multioutputnet__loss_weights__kind": [0.0, 0.3, 1.0]}
        options |= {"cv": 2, "scoring": SCORING, "refit": "mean", "error_score": "raise"}
        return GridSearchCV(NET, grid, **options).fit(X, Y)

    found, alone = run(), run(n_jobs=1)
    columns = [f"split{fold}_test_" for fold in range(2)]
    where = [{v for c in columns for v in found.cv_results_[c + name]} for name in SCORING]
    check_where(backend, *where[:2])
    scores = [np.array([s.cv_results_[c + "mean"] for c in columns]) for s in (found, alone)]
    np.testing.assert_array_equal(*scores)
    assert len(np.unique(scores[0])) == 6
    assert found.best_params_ == alone.best_params_
    assert found.predict(X) == alone.predict(X)


def test_auxiliary_targets_travel_to_the_workers(backend):
    net = MultiOutputNetClassifier(**PARAMS)
    options = {"cv": 3, "params": {"aux": Y[["price"]]}, "return_estimator": True}
    found = cross_validate(net, X, Y["kind"], **options)
    alone = cross_validate(net, X, Y["kind"], n_jobs=1, **options)
    np.testing.assert_array_equal(found["test_score"], alone["test_score"])
    for fitted, expected in zip(found["estimator"], alone["estimator"], strict=True):
        assert fitted.output_names_ == ["y", "price"]
        np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))


def test_probabilities_of_all_folds_are_joined_in_the_same_order(backend):
    found = cross_val_predict(NET, X, DATA, cv=4, method="predict_proba")
    assert found == cross_val_predict(NET, X, DATA, cv=4, method="predict_proba", n_jobs=1)


def test_the_example_of_the_guide_runs(run_example):
    names = run_example("joblib")
    assert names["search"].best_params_["loss_weights__kind"] in (0, 0.1, 0.3, 1)
