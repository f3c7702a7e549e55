"""Searches for plain dicts do what scikit-learn's own do for Targets."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy.stats import loguniform
from sklearn import model_selection as sk
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn import model_selection as ours

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
DATA = {"main": X[:, 0] + X[:, 1], "aux": np.where(X[:, 1] > 0, "flat", "house")}
Y = Targets(DATA)
WEIGHT = {"main": np.linspace(0.1, 2.0, N)}
NET = MultiOutputNet(max_epochs=3, main_output="main", random_state=0)
GRID = {"loss_weights__aux": [0.0, 0.5]}
DISTRIBUTION = {"loss_weights__aux": loguniform(0.01, 1)}
SEARCHES = [
    ("GridSearchCV", GRID, {}),
    ("RandomizedSearchCV", DISTRIBUTION, {"n_iter": 3, "random_state": 0}),
]


def make(module, name, estimator, space, **options):
    return getattr(module, name)(estimator, space, cv=3, error_score="raise", **options)


def assert_same_results(found, expected):
    assert found.cv_results_.keys() == expected.cv_results_.keys()
    assert found.best_params_ == expected.best_params_
    for name, values in expected.cv_results_.items():
        if "score" in name and "time" not in name:
            np.testing.assert_array_equal(found.cv_results_[name], values, err_msg=name)


@pytest.mark.parametrize(("name", "space", "options"), SEARCHES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_search_gives_the_numbers_of_scikit_learn(name, space, options, weighted):
    found, expected = (make(module, name, NET, space, **options) for module in (ours, sk))
    found.fit(X, DATA, **({"sample_weight": WEIGHT} if weighted else {}))
    expected.fit(X, Y, **({"sample_weight": Targets(WEIGHT)} if weighted else {}))
    assert isinstance(found, getattr(sk, name))
    assert_same_results(found, expected)
    assert found.predict(X) == expected.predict(X)
    assert found.predict_proba(X) == expected.predict_proba(X)
    assert found.score(X, DATA) == expected.score(X, Y)


def test_weights_in_a_dict_reach_the_fits():
    plain = make(ours, "GridSearchCV", NET, GRID).fit(X, DATA)
    weighted = make(ours, "GridSearchCV", NET, GRID).fit(X, DATA, sample_weight=WEIGHT)
    assert plain.best_score_ != weighted.best_score_
    alone = clone(NET).set_params(**weighted.best_params_).fit(X, Y, WEIGHT)
    assert weighted.predict(X) == alone.predict(X)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("form", ["dict", "output_scoring"])
def test_several_metrics_of_outputs_choose_the_best(form, n_jobs):
    metrics = {"r2": ("main", "r2"), "acc": ("aux", "accuracy")}
    scoring = {name: ours.make_output_scorer(*metric) for name, metric in metrics.items()}
    if form == "output_scoring":
        scoring = ours.output_scoring(**metrics)
    options = {"scoring": scoring, "refit": "acc", "n_jobs": n_jobs}
    found = make(ours, "GridSearchCV", NET, GRID, **options).fit(X, DATA)
    assert_same_results(found, make(sk, "GridSearchCV", NET, GRID, **options).fit(X, Y))
    assert found.best_index_ == found.cv_results_["mean_test_acc"].argmax()
    assert found.score(X, DATA) == found.best_estimator_.output("aux").score(X, DATA["aux"])


def test_auxiliary_targets_may_be_a_dict():
    net = MultiOutputNetRegressor(max_epochs=3, random_state=0)
    found = make(ours, "GridSearchCV", net, GRID).fit(X, Y["main"], aux={"aux": DATA["aux"]})
    expected = make(sk, "GridSearchCV", net, GRID).fit(X, Y["main"], aux=Y[["aux"]])
    assert_same_results(found, expected)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


def test_a_pipeline_is_searched_and_has_views():
    pipeline = Pipeline([("scale", StandardScaler()), ("net", NET)])
    grid = {"net__alpha": [0.0, 0.1]}
    search = make(ours, "GridSearchCV", pipeline, grid)
    search.fit(X, DATA, net__sample_weight=WEIGHT)
    expected = make(sk, "GridSearchCV", pipeline, grid)
    assert_same_results(search, expected.fit(X, Y, net__sample_weight=Targets(WEIGHT)))
    assert ours.make_output_scorer("main", "r2")(search, X, DATA) == search.score(X, DATA)


def test_weights_in_a_dict_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        net = clone(NET).set_fit_request(sample_weight=True)
        net.set_score_request(sample_weight=False)
        scorer = ours.make_output_scorer("main", "r2").set_score_request(sample_weight=True)
        search = make(ours, "GridSearchCV", net, GRID, scoring=scorer)
        search.fit(X, DATA, sample_weight=WEIGHT)
    for k, weight in enumerate(GRID["loss_weights__aux"]):
        for fold, (a, b) in enumerate(sk.KFold(3).split(X)):
            alone = clone(NET).set_params(loss_weights={"aux": weight})
            alone.fit(X[a], Y[a], {"main": WEIGHT["main"][a]})
            score = alone.score(X[b], Y[b], {"main": WEIGHT["main"][b]})
            found = search.cv_results_[f"split{fold}_test_score"][k]
            np.testing.assert_allclose(found, score, rtol=1e-12)


@pytest.mark.parametrize(("name", "space", "options"), SEARCHES)
def test_copies_and_repr(name, space, options):
    search = make(ours, name, NET, space, **options)
    assert type(clone(search)) is getattr(ours, name)
    assert repr(search).startswith(f"{name}(cv=3")
    search.fit(X, DATA)
    assert_same_results(clone(search).fit(X, DATA), search)
    assert pickle.loads(pickle.dumps(search)).predict(X) == search.predict(X)
    assert sk.cross_val_score(clone(search), X, Y, cv=2, error_score="raise").shape == (2,)


def test_other_estimators_and_arrays_are_left_to_scikit_learn():
    grid, weight = {"C": [0.01, 1.0]}, WEIGHT["main"]
    found, expected = (
        make(module, "GridSearchCV", LogisticRegression(), grid).fit(
            X, DATA["aux"], sample_weight=weight
        )
        for module in (ours, sk)
    )
    assert_same_results(found, expected)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


def test_an_unknown_output_in_the_space_is_reported():
    search = make(ours, "GridSearchCV", NET, {"loss_weights__ax": [1.0]})
    with pytest.raises(ValueError, match=r"unknown output 'ax'.*did you mean 'aux'"):
        search.fit(X, DATA)
