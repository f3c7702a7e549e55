"""A stacked search finds what separate fits find."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetClassifier
from mtlearn._engine._stacks import Stacks
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.model_selection import (
    GridSearchCV,
    StackedGridSearchCV,
    cross_val_score,
    output_scoring,
)
from mtlearn.trunks import MLP

N = 90
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
DATA = {
    "price": X[:, 0] + X[:, 1] ** 2 + 0.1 * RNG.normal(size=N),
    "kind": np.array(["flat", "house", "villa"])[(X[:, 2] > 0).astype(int) + (X[:, 3] > 0)],
    "sold": (X[:, 0] > 0).astype(int),
}
NET = MultiOutputNet(
    trunk=MLP((8, 8)),
    main_output="price",
    max_epochs=6,
    batch_size=16,
    early_stopping=False,
    random_state=0,
)
STACKED = {
    "weights": {"loss_weights__kind": [0.1, 1.0], "loss_weights__sold": [0.5, 2.0]},
    "learning rates": {"learning_rate": [1e-3, 1e-2, 3e-2]},
    "penalties": {"alpha": [0.0, 1e-3, 0.1]},
    "decay": {"optimizer": ["adamw"], "optimizer_params__weight_decay": [0.0, 0.1]},
    "dropout": {"trunk__dropout": [0.1, 0.4]},
    "normalization": {"trunk__normalization": ["layer"], "alpha": [0.0, 0.1]},
    "smoothing": {"heads__kind__label_smoothing": [0.0, 0.1, 0.3]},
    "class weights": {"heads__sold__class_weight": [{0: 1.0, 1: 3.0}, "balanced"]},
    "seeds": {"random_state": [0, 1, 2]},
    "in order": {"shuffle": [False], "alpha": [0.0, 0.1]},
    "rates that fall": {"learning_rate_schedule": ["plateau"], "n_iter_no_change": [2, 3]},
    "schedules": {"learning_rate_schedule": ["cosine"], "learning_rate": [1e-3, 0.01]},
    "one cycle": {"learning_rate_schedule": ["onecycle"], "early_stopping": [True, False]},
    "shapes": {"trunk__hidden_layer_sizes": [(8,), (8, 8)], "alpha": [0.0, 0.1]},
    "activations": {"trunk__activation": ["relu", "tanh", "gelu"], "alpha": [0.0, 0.1]},
    "batches": {"batch_size": [8, 16], "alpha": [0.0, 0.1]},
    "early stopping": {"early_stopping": [True], "learning_rate": [1e-3, 0.05, 0.2]},
}
ALONE = {
    "batch normalisation": {"trunk__normalization": ["batch"]},
    "sgd": {"optimizer": ["sgd"]},
    "param_groups": {"param_groups": [{"trunk": {"lr": 1e-4}}]},
    "autograd": {"fast_step": [False]},
}


@pytest.fixture
def stacked_sizes(monkeypatch):
    """The number of networks in each stack that trained an epoch, 1 for those left alone."""
    sizes = []
    train = Stacks.train

    def spy(self, epochs):
        found = train(self, epochs)
        sizes.extend(len(ids) for ids in self._steps)
        sizes.extend(1 for epoch in found if epoch is None)
        return found

    monkeypatch.setattr(Stacks, "train", spy)
    return sizes


def assert_same_search(found, expected, rtol=1e-9):
    assert found.cv_results_.keys() == expected.cv_results_.keys()
    assert found.cv_results_["params"] == expected.cv_results_["params"]
    for name, values in expected.cv_results_.items():
        if "test_" in name or "train_" in name:
            np.testing.assert_allclose(found.cv_results_[name], values, rtol=rtol, atol=1e-12)
    for name in ("best_params_", "best_index_", "n_splits_", "multimetric_"):
        assert getattr(found, name, None) == getattr(expected, name, None)


def both(estimator, grid, X=X, y=DATA, cv=3, fit_params=None, **options):
    searches = [
        kind(estimator, grid, cv=cv, **options) for kind in (StackedGridSearchCV, GridSearchCV)
    ]
    return [search.fit(X, y, **(fit_params or {})) for search in searches]


@pytest.mark.parametrize("name", STACKED)
def test_scores_are_those_of_separate_fits(name, stacked_sizes):
    net = clone(NET).set_params(heads={"kind": Classification(), "sold": Classification()})
    found, expected = both(net, STACKED[name])
    assert_same_search(found, expected)
    assert max(stacked_sizes) >= 2
    assert found.predict(X) == expected.predict(X)


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_be_stacked_is_fitted_alone(name, stacked_sizes):
    found, expected = both(NET, ALONE[name] | {"loss_weights__kind": [0.1, 1.0]})
    assert_same_search(found, expected, rtol=0)
    assert stacked_sizes == []


def test_float32_scores_agree_to_its_rounding():
    found, expected = both(NET, STACKED["weights"], X.astype(np.float32))
    assert_same_search(found, expected, rtol=1e-4)


def test_networks_of_a_search_train_in_one_stack(stacked_sizes):
    StackedGridSearchCV(NET, STACKED["weights"], cv=3, refit=False).fit(X, DATA)
    assert stacked_sizes == [4 * 3] * 6


def test_each_fit_stops_at_its_own_best_epoch():
    ends = {}

    def scorer(kind):
        def score(net, _X, _y):
            ends.setdefault(kind, []).append(
                (net.n_iter_, net.best_epoch_, net.history_[-1]["loss"])
            )
            return 0.0

        return score

    net = clone(NET).set_params(early_stopping=True, max_epochs=40, n_iter_no_change=2)
    grid = {"learning_rate": [1e-3, 3e-3, 0.02, 0.1]}
    for kind in (StackedGridSearchCV, GridSearchCV):
        kind(net, grid, cv=3, scoring=scorer(kind), refit=False).fit(X, DATA)
    found, expected = (sorted(ends[kind]) for kind in (StackedGridSearchCV, GridSearchCV))
    assert len({n_epochs for n_epochs, *_ in expected}) > 3
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("fit_params", [{}, {"sample_weight": np.linspace(0, 2, N)}])
def test_missing_labels_and_weights(fit_params):
    y = {name: labels.astype(object) for name, labels in DATA.items()}
    y["price"] = np.where(np.arange(N) % 7 == 0, np.nan, DATA["price"])
    y["kind"][::5] = None
    net = clone(NET).set_params(missing_targets="ignore", main_output="sold")
    found, expected = both(net, STACKED["weights"], y=y, fit_params=fit_params)
    assert_same_search(found, expected)


def test_groups_and_weights_of_each_output():
    groups = np.repeat(np.arange(9), 10)
    weight = {"price": np.linspace(0.1, 2, N), "kind": np.linspace(2, 0.1, N)}
    found, expected = both(
        NET,
        STACKED["weights"],
        cv=GroupKFold(3),
        fit_params={"groups": groups, "sample_weight": weight},
    )
    assert_same_search(found, expected)


def test_several_metrics_and_train_scores():
    scoring = output_scoring(r2=("price", "r2"), accuracy=("kind", "accuracy"))
    options = {"scoring": scoring, "refit": "r2", "return_train_score": True}
    found, expected = both(NET, STACKED["weights"], **options)
    assert_same_search(found, expected)
    assert set(found.cv_results_) >= {"mean_test_r2", "mean_test_accuracy", "mean_train_r2"}


def test_heads_of_all_kinds():
    y = DATA | {"tags": np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)}
    y["both"] = X[:, :2] @ np.ones((2, 2))
    heads = {
        "tags": MultiLabel(),
        "both": Regression(loss="huber"),
        "price": Regression(loss="absolute_error"),
        "kind": Classification(hidden_layer_sizes=(5,)),
    }
    net = clone(NET).set_params(heads=heads)
    found, expected = both(net, {"loss_weights__tags": [0.1, 1.0], "alpha": [0.0, 0.01]}, y=y)
    assert_same_search(found, expected)


def test_the_classifier_with_auxiliary_targets():
    net = MultiOutputNetClassifier(MLP((8,)), max_epochs=5, batch_size=16, random_state=0)
    aux = {"price": DATA["price"]}
    found, expected = both(
        net, {"loss_weights__price": [0.1, 1.0]}, y=DATA["kind"], fit_params={"aux": aux}
    )
    assert_same_search(found, expected)


class Counting(TransformerMixin, BaseEstimator):
    """A scaler that counts its fits."""

    fits = 0

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        Counting.fits += 1
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        return (X - self.mean_) * self.factor


def test_transformers_are_fitted_once_per_fold_and_parameters():
    pipe = Pipeline([("scale", Counting()), ("net", NET)])
    grid = {"net__loss_weights__kind": [0.1, 0.5, 1.0], "scale__factor": [1.0, 2.0]}
    Counting.fits = 0
    found = StackedGridSearchCV(pipe, grid, cv=3, refit=False).fit(X, DATA)
    assert Counting.fits == 3 * 2
    expected = GridSearchCV(pipe, grid, cv=3, refit=False).fit(X, DATA)
    assert_same_search(found, expected)


def test_a_pipeline_keeps_its_own_memory_and_gets_no_other(tmp_path):
    pipe = Pipeline([("scale", StandardScaler()), ("net", NET)])
    found = StackedGridSearchCV(pipe, {"net__alpha": [0.0, 0.1]}, cv=3).fit(X, DATA)
    assert found.best_estimator_.memory is None
    assert found.estimator is pipe
    assert pipe.memory is None
    pipe.set_params(memory=str(tmp_path))
    StackedGridSearchCV(pipe, {"net__alpha": [0.0, 0.1]}, cv=3, refit=False).fit(X, DATA)
    assert any(tmp_path.iterdir())


class Shifting(TransformerMixin, BaseEstimator):
    """A transformer that works in place and, on each call, otherwise."""

    def fit(self, X, y=None):
        self.calls_ = 0
        return self

    def transform(self, X):
        self.calls_ += 1
        X += self.calls_
        return X


def test_transformers_that_work_in_place_or_change_give_the_same():
    pipe = Pipeline([("copy", StandardScaler()), ("shift", Shifting()), ("net", NET)])
    found, expected = both(pipe, {"net__loss_weights__kind": [0.1, 0.5, 1.0]}, refit=False)
    assert_same_search(found, expected)


def test_processes_share_the_fits():
    found, expected = both(NET, STACKED["weights"], n_jobs=2)
    assert_same_search(found, expected)


def test_other_estimators_are_searched_as_by_scikit_learn():
    y = DATA["sold"]
    found, expected = both(LogisticRegression(), {"C": [0.1, 1.0]}, y=y)
    assert_same_search(found, expected, rtol=0)


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_a_candidate_that_fails_is_reported_as_by_scikit_learn():
    grid = {"loss_weights__kind": [0.1, -1.0, 1.0]}
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        found = StackedGridSearchCV(NET, grid, cv=3).fit(X, DATA)
    assert np.isnan(found.cv_results_["mean_test_score"]).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="loss_weights"):
        StackedGridSearchCV(NET, grid, cv=3, error_score="raise").fit(X, DATA)
    assert_no_call_waits()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_a_network_that_diverges_does_not_disturb_the_others():
    grid = {"learning_rate": [1e-3, 1e20, 1e-2]}
    found = StackedGridSearchCV(NET, grid, cv=3, refit=False).fit(X, DATA)
    expected = GridSearchCV(NET, grid, cv=3, refit=False).fit(X, DATA)
    assert np.isnan(expected.cv_results_["mean_test_score"]).tolist() == [False, True, False]
    assert_same_search(found, expected)


def test_a_failure_in_the_stack_is_one_of_each_fit(monkeypatch):
    def fail(*_args):
        raise MemoryError("too large")

    monkeypatch.setattr(Stacks, "train", fail)
    with pytest.raises(ValueError, match="All the 6 fits failed") as raised:
        StackedGridSearchCV(NET, {"alpha": [0.0, 0.1]}, cv=3).fit(X, DATA)
    assert "too large" in str(raised.value)


def test_an_interrupt_ends_the_search_and_every_fit(monkeypatch):
    n_threads = torch.get_num_threads()
    train, calls = Stacks.train, []

    def interrupt(self, epochs):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(self, epochs)

    monkeypatch.setattr(Stacks, "train", interrupt)
    search = StackedGridSearchCV(NET, {"alpha": [0.0, 0.1]}, cv=3)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        search.fit(X, DATA)
    assert_no_call_waits()
    assert not hasattr(search, "cv_results_")
    assert torch.get_num_threads() == n_threads


def test_an_interrupt_ends_fits_that_are_not_stacked(monkeypatch):
    timers = []

    def interrupt(*_args):
        if not timers:
            timers.append(threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]))
            timers[0].start()

    monkeypatch.setattr("mtlearn._engine._optimizers.refuse_lbfgs", interrupt)
    monkeypatch.setattr("mtlearn._engine._make_net.refuse_lbfgs", interrupt)
    net = clone(NET).set_params(optimizer="sgd", max_epochs=10**6, learning_rate=1e-9)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        StackedGridSearchCV(net, {"alpha": [0.0, 0.1]}, cv=3).fit(X, DATA)
    assert not [thread for thread in threading.enumerate() if thread.name == "pausing call"]


def assert_no_call_waits():
    left = [thread for thread in threading.enumerate() if thread.name == "pausing call"]
    for thread in left:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in left)


def test_the_generator_and_the_threads_of_torch_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    n_threads = torch.get_num_threads()
    StackedGridSearchCV(NET, STACKED["dropout"], cv=3).fit(X, DATA)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == n_threads


def test_a_users_module_draws_as_in_a_fit_alone(stacked_sizes):
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
    found, expected = both(NET, {"trunk": [MLP((8,)), module]}, refit=False)
    assert_same_search(found, expected)
    assert max(stacked_sizes) == 3


def test_kinds_of_weight_decay_are_not_mixed(stacked_sizes):
    plain, decoupled = {"weight_decay": 0.5}, {"weight_decay": 0.5, "decoupled_weight_decay": True}
    found, expected = both(NET, {"optimizer_params": [plain, decoupled]})
    assert_same_search(found, expected)
    first, second = found.cv_results_["mean_test_score"]
    assert first != second
    assert max(stacked_sizes) >= 3


class Quiet(MultiOutputNet):
    """A net whose fit silences warnings, and notes numpy's setting."""

    def fit(self, X, y, **params):
        self.divides_ = np.geterr()["divide"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return super().fit(X, y, **params)


def test_warnings_and_numpys_settings_stay_the_callers():
    seen = []
    net = Quiet(**NET.get_params(deep=False))
    search = StackedGridSearchCV(
        net, {"alpha": [0.0, 0.1]}, cv=3, scoring=lambda net, *_: seen.append(net.divides_) or 0.0
    )
    before = warnings.filters.copy()
    with np.errstate(divide="raise"):
        search.fit(X, DATA)
    assert warnings.filters == before
    assert seen == ["raise"] * 6


def test_the_refit_has_the_backend_of_the_caller():
    backends = []

    class Net(MultiOutputNet):
        def fit(self, X, y, **params):
            backends.append(type(joblib.parallel.get_active_backend()[0]).__name__)
            return super().fit(X, y, **params)

    net = Net(**NET.get_params(deep=False))
    StackedGridSearchCV(net, {"alpha": [0.0, 0.1]}, cv=2).fit(X, DATA)
    assert backends[-1] == type(joblib.parallel.get_active_backend()[0]).__name__


def test_no_fitted_network_keeps_the_others_alive():
    kept = []

    def score(net, _X, _y):
        kept.append(net)
        return 0.0

    StackedGridSearchCV(NET, STACKED["weights"], cv=3, scoring=score, refit=False).fit(X, DATA)
    for net in kept:
        for parameter in net.module_.parameters():
            assert parameter.untyped_storage().size() == parameter.numel() * 8
            assert parameter.grad is None or parameter.grad.shape == parameter.shape


def test_a_fit_in_a_search_can_go_on_as_after_a_fit_alone():
    ends = {}

    def scorer(kind):
        def score(net, X, y):
            more = copy.deepcopy(net).fit(X, {name: y[name] for name in y})
            ends.setdefault(kind, []).append((net.alpha, more.predict(X)["price"].sum()))
            return 0.0

        return score

    net = clone(NET).set_params(warm_start=True)
    for kind in (StackedGridSearchCV, GridSearchCV):
        kind(net, {"alpha": [0.0, 0.1]}, cv=3, scoring=scorer(kind), refit=False).fit(X, DATA)
    found, expected = (sorted(ends[kind]) for kind in (StackedGridSearchCV, GridSearchCV))
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_more_fits_than_are_held_at_a_time(monkeypatch, stacked_sizes):
    monkeypatch.setattr("mtlearn._engine._side_by_side.MOST_TOGETHER", 5)
    found, expected = both(NET, STACKED["weights"], refit=False)
    assert_same_search(found, expected)
    assert max(stacked_sizes) == 5


def test_a_nested_search():
    scores = [
        cross_val_score(kind(NET, {"alpha": [0.0, 0.1]}, cv=2), X, DATA, cv=KFold(2))
        for kind in (StackedGridSearchCV, GridSearchCV)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-9)


def test_inside_another_backend_of_joblib():
    search = StackedGridSearchCV(NET, {"alpha": [0.0, 0.1]}, cv=2)
    expected = clone(search).fit(X, DATA).cv_results_["mean_test_score"]
    with joblib.parallel_config("threading", n_jobs=2):
        found = clone(search).fit(X, DATA).cv_results_["mean_test_score"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_it_is_a_search_of_scikit_learn():
    search = StackedGridSearchCV(NET, STACKED["weights"], cv=3)
    assert isinstance(search, sklearn.model_selection.GridSearchCV)
    fitted = clone(search).fit(X, DATA)
    assert str(fitted.get_params()) == str(search.get_params())
    again = pickle.loads(pickle.dumps(fitted))
    assert again.predict(X) == fitted.predict(X)
    assert again.score(X, DATA) == fitted.score(X, DATA)


def test_fit_times_are_shares_of_the_whole():
    start = time.perf_counter()
    search = StackedGridSearchCV(NET, STACKED["weights"], cv=3, refit=False).fit(X, DATA)
    elapsed = time.perf_counter() - start
    times = search.cv_results_["mean_fit_time"]
    assert (times > 0).all()
    assert 3 * times.sum() <= elapsed


def test_progress_is_a_bar_over_the_fits(capsys):
    StackedGridSearchCV(NET, STACKED["weights"], cv=3, verbose="progress").fit(X, DATA)
    assert "12/12" in capsys.readouterr().err
    folds = iter(list(KFold(3).split(X)))
    StackedGridSearchCV(NET, STACKED["weights"], cv=folds, verbose="progress").fit(X, DATA)
    assert "12/12" in capsys.readouterr().err
    StackedGridSearchCV(NET, STACKED["weights"], cv=3, verbose=1).fit(X, DATA)
    printed = capsys.readouterr()
    assert "Fitting 3 folds for each of 4 candidates" in printed.out
    assert "fit/s" not in printed.err


def test_no_processes_are_refused():
    with pytest.raises(ValueError, match="n_jobs == 0"):
        StackedGridSearchCV(NET, STACKED["weights"], n_jobs=0).fit(X, DATA)


def test_a_bad_verbose_is_refused():
    with pytest.raises(ValueError, match="'verbose' parameter"):
        StackedGridSearchCV(NET, STACKED["weights"], verbose="bar").fit(X, DATA)


def test_routed_metadata_reaches_the_fits():
    weight = np.linspace(0, 2, N)
    with sklearn.config_context(enable_metadata_routing=True):
        net = clone(NET).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        found, expected = both(net, STACKED["weights"], fit_params={"sample_weight": weight})
    assert_same_search(found, expected)


def test_large_data_are_released():
    search = StackedGridSearchCV(NET, STACKED["weights"], cv=3, refit=False).fit(X, DATA)
    gc.collect()
    alive = [o for o in gc.get_objects() if type(o).__name__ in ("StackedStep", "PausingCall")]
    assert not alive
    assert search.n_splits_ == 3
