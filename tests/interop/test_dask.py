"""A search whose fits run on the workers of a dask cluster finds what it finds alone."""

import os

import joblib
import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mtlearn import MultiOutputNet, OutputView, Targets
from mtlearn import model_selection as ours
from mtlearn.trunks import MLP

pytestmark = pytest.mark.interop

N = 300
X = np.random.default_rng(0).normal(size=(N, 4))
DATA = {"price": X[:, 0] - X[:, 1], "kind": np.where(X[:, 1] > 0, "flat", "house")}
Y = Targets(DATA)
NET = make_pipeline(
    StandardScaler(),
    MultiOutputNet(MLP((8,), dropout=0.2), main_output="price", max_epochs=3, random_state=0),
)
GRID = {"multioutputnet__loss_weights__kind": [0.0, 0.3]}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a scheduler and two workers, each a process of its own."""
    distributed = pytest.importorskip("distributed", reason="dask's distributed is absent")
    folder = str(tmp_path_factory.mktemp("dask"))
    options = {
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",
        "local_directory": folder,
    }
    with (
        distributed.LocalCluster(n_workers=2, processes=True, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def pids(client):
    return set(client.run(os.getpid).values())


def process(net, X, y):
    return os.getpid()


def price_r2(net, X, y):
    return OutputView(net, "price").score(X, y["price"])


def search(module=sk):
    scoring = {"price": price_r2, "process": process}
    return module.GridSearchCV(NET, GRID, cv=3, scoring=scoring, refit="price", error_score="raise")


def split_columns(results, name):
    return np.array([results[f"split{fold}_test_{name}"] for fold in range(3)])


@pytest.fixture(scope="module")
def alone():
    return search().fit(X, Y)


@pytest.mark.parametrize("scatter", [None, [X], [X, Y]], ids=["none", "X", "X and y"])
@pytest.mark.parametrize(
    ("module", "y"), [(sk, Y), (ours, Y), (ours, DATA)], ids=["sklearn", "Targets", "dict"]
)
def test_a_search_runs_on_the_workers_and_finds_the_same(pids, alone, module, y, scatter):
    with joblib.parallel_config(backend="dask", scatter=scatter):
        found = search(module).fit(X, y)
    used = set(split_columns(found.cv_results_, "process").ravel().astype(int))
    assert used <= pids
    assert os.getpid() not in pids
    scores = [split_columns(s.cv_results_, "price") for s in (found, alone)]
    np.testing.assert_array_equal(*scores)
    assert len(np.unique(scores[0])) == 6
    assert found.predict(X) == alone.predict(X)
    assert found.predict_proba(X) == alone.predict_proba(X)


def test_scattered_targets_are_sent_once_and_not_with_every_fit(client, monkeypatch):
    sent = []
    monkeypatch.setattr(Targets, "__reduce__", lambda y: sent.append(y) or (Targets, ({**y},)))
    n_fits = 12
    for scatter in (None, [X, Y]):
        sent.clear()
        with joblib.parallel_config(backend="dask", scatter=scatter):
            sk.cross_val_score(NET, X, Y, cv=n_fits, error_score="raise")
    assert 1 <= sum(y is Y for y in sent) < n_fits


def test_fitted_estimators_come_back_from_the_workers(client):
    options = {"cv": 3, "return_estimator": True, "error_score": "raise"}
    expected = sk.cross_validate(NET, X, Y, **options)
    with joblib.parallel_config(backend="dask"):
        found = sk.cross_validate(NET, X, Y, **options)
    for net, other in zip(found["estimator"], expected["estimator"], strict=True):
        assert net.predict(X) == other.predict(X)
        assert net[-1].history_ == other[-1].history_


def test_a_trunk_that_only_this_process_knows_travels_to_the_workers(client):
    class Tower(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.layer = nn.Linear(n_features, 3)

        def forward(self, x):
            return self.layer(x).tanh()

    net = MultiOutputNet(Tower, max_epochs=2, random_state=0)
    expected = ours.cross_val_predict(net, X, DATA, cv=3, method="predict_proba")
    with joblib.parallel_config(backend="dask"):
        found = ours.cross_val_predict(net, X, DATA, cv=3, method="predict_proba")
    assert found == expected


def test_an_error_in_a_worker_is_raised_with_its_message(client):
    grid = {"multioutputnet__loss_weights__knd": [1.0]}
    search = sk.GridSearchCV(NET, grid, cv=3, error_score="raise")
    with (
        joblib.parallel_config(backend="dask"),
        pytest.raises(ValueError, match=r"unknown output 'knd'.*did you mean 'kind'"),
    ):
        search.fit(X, Y)


def test_the_example_of_the_guide_runs(run_example):
    pytest.importorskip("distributed", reason="dask's distributed is absent")
    names = run_example("dask")
    assert names["search"].best_params_["loss_weights__kind"] in (0, 0.1, 0.3, 1)
