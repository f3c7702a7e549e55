"""Weights by output, auxiliary targets and groups reach the fits and scores, row for row."""

import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn import model_selection as sk
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingRegressor
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn import model_selection as ours
from mtlearn.trunks import MLP

N = 48
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
PRICE = X[:, 0] + RNG.normal(size=N)
KIND = np.where(X[:, 1] + RNG.normal(size=N) > 0, "flat", "house")
SIZE = X[:, 2] + RNG.normal(size=N)
GROUPS = np.repeat(np.arange(8), 6)[RNG.permutation(N)]
FOLDS = sk.KFold(3, shuffle=True, random_state=0)
SETTINGS = {"trunk": MLP((5,)), "max_epochs": 3, "random_state": 0}
GRID = {"alpha": [0.0, 0.3]}

# The main target, what else `fit` gets, and the main output's name.
FORMS = {
    "net": (
        MultiOutputNet(**SETTINGS),
        Targets({"price": PRICE, "kind": KIND}),
        {"sample_weight": ["price", "kind"]},
    ),
    "main output": (
        MultiOutputNet(**SETTINGS, main_output="price"),
        Targets({"price": PRICE, "kind": KIND}),
        {"sample_weight": ["price", "kind"]},
    ),
    "regressor": (
        MultiOutputNetRegressor(**SETTINGS),
        PRICE,
        {"sample_weight": ["y", "kind"], "aux": {"kind": KIND, "size": SIZE}},
    ),
    "classifier": (
        MultiOutputNetClassifier(**SETTINGS),
        KIND,
        {"sample_weight": ["y", "size"], "aux": {"price": PRICE, "size": SIZE}},
    ),
}
CONTAINERS = {"targets": Targets, "pandas": pd.DataFrame, "polars": pl.DataFrame}


def newer(reason):
    """Skip a test where scikit-learn, before 1.9, does otherwise."""
    version = tuple(map(int, sklearn.__version__.split(".")[:2]))
    return pytest.mark.skipif(version < (1, 9), reason=f"in older versions {reason}")


def model(form, container=Targets):
    """Return a net, its y, and what its `fit` gets besides: weights by output, and aux."""
    net, y, params = FORMS[form]
    rng = np.random.default_rng(1)
    weights = {name: rng.uniform(0.1, 5, size=N) for name in params["sample_weight"]}
    made = {"sample_weight": container(weights)}
    if "aux" in params:
        made["aux"] = container(params["aux"])
    return clone(net), y, made


def rows(values, chosen):
    """Return rows of what a user may pass, without scikit-learn."""
    if isinstance(values, pd.DataFrame):
        return values.iloc[chosen]
    return values[chosen]


def of_rows(params, chosen):
    return {name: rows(values, chosen) for name, values in params.items()}


def fitted(net, y, params, chosen):
    return clone(net).fit(X[chosen], y[chosen], **of_rows(params, chosen))


def score(net, y, params, chosen):
    return net.score(X[chosen], y[chosen], rows(params["sample_weight"], chosen))


def answers(fitted, values=X):
    """Return all that a fitted estimator answers, bit for bit."""
    found = [fitted.predict(values)]
    if hasattr(fitted, "predict_proba"):
        found.append(fitted.predict_proba(values))
    return [
        {name: part.tobytes() for name, part in dict(each.items()).items()}
        if isinstance(each, Targets)
        else each.tobytes()
        for each in found
    ]


def routing(on):
    return sklearn.config_context(enable_metadata_routing=True) if on else nullcontext()


def requesting(net, params, *, scores=True):
    """Return the net that asks for what it gets; `sample_weight` in `score` too if `scores`."""
    return net.set_fit_request(**dict.fromkeys(params, True)).set_score_request(
        sample_weight=scores
    )


def scores_of(search):
    return {
        name: values
        for name, values in search.cv_results_.items()
        if name.startswith("split") and name.endswith("_test_score")
    }


def assert_searched(search, net, y, params, splits, weighted, prefix=""):
    """Every score, and the refit, are those of a loop over settings and folds."""
    for k, alpha in enumerate(GRID["alpha"]):
        alone = clone(net).set_params(**{f"{prefix}alpha": alpha})
        for fold, (a, b) in enumerate(splits):
            one = fitted(alone, y, params, a)
            expected = score(one, y, params, b) if weighted else one.score(X[b], y[b])
            assert scores_of(search)[f"split{fold}_test_score"][k] == expected
    best = clone(net).set_params(**search.best_params_).fit(X, y, **params)
    assert answers(search) == answers(best)


# The score of one output takes the weights of all.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("container", [dict, *CONTAINERS.values()])
def test_a_score_takes_from_the_weights_of_all_outputs_those_that_it_needs(form, container):
    net, y, params = model(form)
    net.fit(X, y, **params)
    weights = params["sample_weight"]
    if form == "net":
        expected = np.mean([net.scores(X, y, weights)[name] for name in ("price", "kind")])
    else:
        first = next(iter(weights))
        alone = net.score(X, y, {first: weights[first]})
        assert alone != net.score(X, y)
        expected = net.score(X, y, weights[first]) if form != "main output" else alone
        assert net.score(X, y, container({n: weights[n] for n in weights if n != first})) == (
            net.score(X, y)
        )
    assert net.score(X, y, container(dict(weights.items()))) == expected


@pytest.mark.parametrize("form", FORMS)
def test_a_score_refuses_weights_of_an_output_that_is_not_there(form):
    net, y, params = model(form)
    net.fit(X, y, **params)
    with pytest.raises(ValueError, match="`sample_weight` names the unknown output 'prize'"):
        net.score(X, y, {"prize": np.ones(N)})


# Cross-validation


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
def test_weights_and_auxiliary_targets_are_split_with_the_rows(form, container, on):
    net, y, params = model(form, CONTAINERS[container])
    with routing(on):
        found = sk.cross_validate(
            requesting(net, params) if on else net,
            X,
            y,
            cv=FOLDS,
            params=params,
            return_estimator=True,
            error_score="raise",
        )
    for k, (a, b) in enumerate(FOLDS.split(X)):
        one = fitted(net, y, params, a)
        assert answers(found["estimator"][k]) == answers(one)
        assert found["test_score"][k] == (score(one, y, params, b) if on else one.score(X[b], y[b]))
        unweighted = {name: params[name] for name in params if name != "sample_weight"}
        assert answers(one) != answers(fitted(net, y, unweighted, a))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
@pytest.mark.parametrize("tool", ["cross_val_predict", "learning_curve"])
def test_other_tools_split_them_too(form, on, tool):
    net, y, params = model(form)
    with routing(on):
        asking = net
        if on:
            asking = requesting(net, params, scores=False)
            asking.set_partial_fit_request(**dict.fromkeys(params, True))  # learning_curve asks
        if tool == "cross_val_predict":
            found = sk.cross_val_predict(asking, X, y, cv=FOLDS, params=params)
        else:
            found = sk.learning_curve(
                asking, X, y, cv=FOLDS, params=params, train_sizes=[20], error_score="raise"
            )[2][0]
    for k, (a, b) in enumerate(FOLDS.split(X)):
        if tool == "cross_val_predict":
            expected = fitted(net, y, params, a).predict(X[b])
            assert np.all(found[b] == expected)
        else:
            assert found[k] == fitted(net, y, params, a[:20]).score(X[b], y[b])


@newer("learning_curve hands metadata unsplit to partial_fit")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
def test_pieces_of_a_stream_get_their_own(form, on):
    net, y, params = model(form)
    sizes = [12, 20, 32]
    with routing(on):
        asking = net
        if on:
            asking = requesting(net, params, scores=False)
            asking.set_partial_fit_request(**dict.fromkeys(params, True))
        found = sk.learning_curve(
            asking,
            X,
            y,
            cv=FOLDS,
            params=params,
            train_sizes=sizes,
            exploit_incremental_learning=True,
            error_score="raise",
        )[2]
    for fold, (a, b) in enumerate(FOLDS.split(X)):
        alone = clone(net)
        for k, piece in enumerate(np.split(a, sizes)[:-1]):
            alone.partial_fit(X[piece], y[piece], **of_rows(params, piece))
            assert found[k, fold] == alone.score(X[b], y[b])


# Searches


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("module", [sk, ours], ids=["sklearn", "mtlearn"])
@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
def test_a_search_passes_the_weights_of_each_output(form, module, on):
    net, y, params = model(form)
    if module is ours:
        given = {name: dict(values.items()) for name, values in params.items()}
    else:
        given = params
    with routing(on):
        asking = requesting(net, params) if on else net
        search = module.GridSearchCV(asking, GRID, cv=FOLDS, error_score="raise")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            search.fit(X, y, **given)
    splits = list(FOLDS.split(X))
    weighted = on or passes_weights_to_scores(y)
    assert_searched(search, net, y, params, splits, weighted)


def passes_weights_to_scores(y):
    """Tell whether an unrouted search of this scikit-learn hands `sample_weight` to `score`."""
    seen = []

    class Watched(MultiOutputNetRegressor):
        def score(self, X, y, sample_weight=None):
            seen.append(sample_weight is not None)
            return 0.0

    weight = np.ones(N)
    sk.GridSearchCV(Watched(**SETTINGS), {"alpha": [0.0]}, cv=2, refit=False).fit(
        X, PRICE, sample_weight=weight
    )
    return all(seen)


def test_a_routed_search_leaves_the_weights_out_of_the_score_if_told_so():
    net, y, params = model("regressor")
    with routing(True):
        search = sk.GridSearchCV(
            requesting(net, params, scores=False), GRID, cv=FOLDS, error_score="raise"
        ).fit(X, y, **params)
    assert_searched(search, net, y, params, list(FOLDS.split(X)), weighted=False)


@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
def test_a_randomized_search_in_two_processes_passes_them_too(on):
    net, y, params = model("classifier")
    with routing(on):
        search = sk.RandomizedSearchCV(
            requesting(net, params) if on else net,
            GRID,
            n_iter=2,
            cv=FOLDS,
            n_jobs=2,
            random_state=0,
            error_score="raise",
        ).fit(X, y, **params)
    assert search.cv_results_["param_alpha"].tolist() == GRID["alpha"]
    weighted = on or passes_weights_to_scores(y)
    assert_searched(search, net, y, params, list(FOLDS.split(X)), weighted)


def test_a_metric_of_scikit_learn_wants_the_weights_of_its_output_alone():
    net, y, params = model("regressor")
    with routing(True):
        net = requesting(net, params)
        scorer = sklearn.metrics.get_scorer("r2").set_score_request(sample_weight=True)
        with pytest.raises(TypeError, match=r"\['y', 'kind'\] are not one array"):
            sk.cross_validate(
                net, X, y, cv=FOLDS, params=params, scoring=scorer, error_score="raise"
            )
        scorer = ours.make_output_scorer("y", "r2").set_score_request(sample_weight=True)
        found = sk.cross_validate(
            net, X, y, cv=FOLDS, params=params, scoring=scorer, error_score="raise"
        )
    for k, (a, b) in enumerate(FOLDS.split(X)):
        predicted = fitted(net, y, params, a).predict(X[b])
        expected = r2_score(y[b], predicted, sample_weight=params["sample_weight"]["y"][b])
        np.testing.assert_allclose(found["test_score"][k], expected, rtol=1e-12)


# Pipelines


def make_pipeline(net):
    return Pipeline([("scale", StandardScaler()), ("net", net)])


def piped(net, y, params, chosen):
    """Return the scaler and the net that a Pipeline should have fitted."""
    scaler = StandardScaler().fit(X[chosen])
    values = scaler.transform(X[chosen])
    return scaler, clone(net).fit(values, y[chosen], **of_rows(params, chosen))


def routed_pipeline(net, params, *, scores=True):
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    return Pipeline([("scale", scaler), ("net", requesting(net, params, scores=scores))])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
def test_a_pipeline_hands_them_to_its_last_step(form, on):
    net, y, params = model(form)
    with routing(on):
        if on:
            pipe = routed_pipeline(net, params).fit(X, y, **params)
        else:
            pipe = make_pipeline(net)
            pipe.fit(X, y, **{f"net__{name}": values for name, values in params.items()})
        found = pipe.score(X, y, sample_weight=params["sample_weight"])
    scaler, alone = piped(net, y, params, np.arange(N))
    values = scaler.transform(X)
    assert answers(pipe) == answers(alone, values)
    assert found == alone.score(values, y, params["sample_weight"])
    assert found != alone.score(values, y)


@newer("a search asks the Pipeline itself for a decision about weights in score")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("module", [sk, ours], ids=["sklearn", "mtlearn"])
@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
def test_a_search_of_a_pipeline_hands_them_on(form, module, on):
    net, y, params = model(form)
    given = params
    if module is ours:
        given = {name: dict(values.items()) for name, values in params.items()}
    grid = {f"net__{name}": values for name, values in GRID.items()}
    with routing(on):
        pipe = routed_pipeline(net, params) if on else make_pipeline(net)
        search = module.GridSearchCV(pipe, grid, cv=FOLDS, error_score="raise")
        search.fit(X, y, **(given if on else {f"net__{k}": v for k, v in given.items()}))
    for k, alpha in enumerate(GRID["alpha"]):
        for fold, (a, b) in enumerate(FOLDS.split(X)):
            scaler, alone = piped(clone(net).set_params(alpha=alpha), y, params, a)
            weight = rows(params["sample_weight"], b) if on else None
            expected = alone.score(scaler.transform(X[b]), y[b], weight)
            assert scores_of(search)[f"split{fold}_test_score"][k] == expected
    best = {name.removeprefix("net__"): value for name, value in search.best_params_.items()}
    scaler, alone = piped(clone(net).set_params(**best), y, params, np.arange(N))
    assert answers(search) == answers(alone, scaler.transform(X))


def test_a_step_before_the_net_that_takes_one_weight_per_row_refuses_those_by_output():
    net, y, params = model("regressor")
    with routing(True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipe = Pipeline([("scale", scaler), ("net", requesting(net, params))])
        with pytest.raises(TypeError, match=r"\['y', 'kind'\] are not one array"):
            pipe.fit(X, y, **params)


# What cannot work says so.


@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
@pytest.mark.parametrize(
    ("form", "given", "cure"),
    [
        *((form, "sample_weight", "splits Targets, but not a plain dict") for form in FORMS),
        ("regressor", "aux", r"does not split a plain dict, so pass aux=Targets"),
        ("classifier", "aux", r"does not split a plain dict, so pass aux=Targets"),
    ],
)
def test_a_plain_dict_is_not_split_and_refused_with_the_cure(form, given, cure, on):
    net, y, params = model(form)
    params[given] = dict(params[given].items())
    with routing(on):
        net = requesting(net, params) if on else net
        with pytest.raises(ValueError, match=cure):
            sk.cross_validate(net, X, y, cv=FOLDS, params=params, error_score="raise")
        search = sk.GridSearchCV(net, GRID, cv=FOLDS, error_score="raise")
        with pytest.raises(ValueError, match=cure):
            search.fit(X, y, **params)


@pytest.mark.parametrize("given", ["sample_weight", "aux"])
def test_a_dict_with_as_many_entries_as_rows_is_no_exception(given):
    few, names = X[:6], [f"t{j}" for j in range(6)]
    if given == "aux":
        net, y = MultiOutputNetRegressor(**SETTINGS), few[:, 0]
    else:
        net, y = MultiOutputNet(**SETTINGS), Targets(dict.fromkeys(names, few[:, 0]))
    params = {given: dict.fromkeys(names, few[:, 1] ** 2)}
    with pytest.raises(KeyError, match=r"3"):  # scikit-learn asks the dict for row 3
        sk.cross_validate(net, few, y, cv=2, params=params, error_score="raise")
    found = ours.cross_validate(net, few, y, cv=2, params=params, error_score="raise")
    assert np.isfinite(found["test_score"]).all()


@pytest.mark.parametrize("form", FORMS)
def test_routing_asks_for_a_decision_about_each(form):
    net, y, params = model(form)
    with routing(True):
        for name in params:
            message = rf"\[.?{name}.?\] are passed .*not explicitly set.*{type(net).__name__}"
            with pytest.raises(UnsetMetadataPassedError, match=message):
                sk.cross_validate(net, X, y, cv=FOLDS, params={name: params[name]})


@pytest.mark.parametrize("form", FORMS)
def test_what_is_asked_for_can_be_read_and_refused(form):
    net, _, params = model(form)
    fit = net.get_metadata_routing().fit.requests
    expected = {"sample_weight", "groups", "X_val", "y_val", "sample_weight_val"}
    assert set(fit) == expected | set(params)
    assert set(net.get_metadata_routing().score.requests) == {"sample_weight"}
    with routing(True), pytest.raises(TypeError, match=r"Unexpected args: \{'weights'\}"):
        net.set_fit_request(weights=True)


def test_without_routing_a_pipeline_wants_the_name_of_the_step():
    net, y, params = model("net")
    with pytest.raises(ValueError, match="does not accept the sample_weight parameter"):
        make_pipeline(net).fit(X, y, **params)


def test_tools_that_calculate_with_weights_refuse_those_by_output():
    net, y, params = model("classifier")
    with pytest.raises(TypeError, match=r"\['y', 'size'\] are not one array"):
        CalibratedClassifierCV(net, cv=FOLDS).fit(X, y, **params)
    net, y, params = model("regressor")
    with (
        routing(True),
        pytest.raises(TypeError, match=r"\['y', 'kind'\] are not one array"),
    ):
        BaggingRegressor(requesting(net, params), 2).fit(X, y, **params)


# Groups


def grouped(net):
    splitter = sk.GroupShuffleSplit(1, test_size=0.3, random_state=0)
    return net.set_params(early_stopping=True, validation_fraction=splitter)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("module", [sk, ours], ids=["sklearn", "mtlearn"])
@pytest.mark.parametrize("kind", ["array", "series", "strings"])
def test_groups_are_routed_to_the_splits_of_the_search_and_of_the_fit(form, module, kind):
    net, y, params = model(form)
    net = grouped(net)
    groups = {
        "array": GROUPS,
        "series": pd.Series(GROUPS, index=np.arange(N)[::-1]),
        "strings": np.array([f"group {g}" for g in GROUPS]),
    }[kind]
    folds = sk.GroupKFold(3)
    with routing(True):
        asking = requesting(net, params).set_fit_request(groups=True)
        search = module.GridSearchCV(asking, GRID, cv=folds, error_score="raise")
        search.fit(X, y, groups=groups, **params)
    splits = list(folds.split(X, groups=GROUPS))
    assert all(not set(GROUPS[a]) & set(GROUPS[b]) for a, b in splits)
    assert_searched(search, net, y, {**params, "groups": np.asarray(groups)}, splits, True)
    elsewhere = fitted(net, y, {**params, "groups": GROUPS[::-1]}, splits[0][0])
    rightly = fitted(net, y, {**params, "groups": GROUPS}, splits[0][0])
    assert answers(elsewhere) != answers(rightly)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("on", [False, True], ids=["unrouted", "routed"])
def test_groups_are_split_in_cross_validation(form, on):
    net, y, params = model(form)
    net, folds = grouped(net), sk.GroupKFold(3)
    params = {**params, "groups": GROUPS}
    with routing(on):
        found = sk.cross_validate(
            requesting(net, params) if on else net,
            X,
            y,
            cv=folds,
            params=params,
            return_estimator=True,
            error_score="raise",
            **({} if on else {"groups": GROUPS}),
        )
    for k, (a, b) in enumerate(folds.split(X, groups=GROUPS)):
        one = fitted(net, y, params, a)
        assert answers(found["estimator"][k]) == answers(one)
        assert found["test_score"][k] == (score(one, y, params, b) if on else one.score(X[b], y[b]))


def test_a_pipeline_has_groups_of_its_own_without_routing():
    net, y, params = model("regressor")
    net, folds = grouped(net), sk.GroupKFold(3)
    given = {f"net__{name}": values for name, values in params.items()}
    search = sk.GridSearchCV(
        make_pipeline(net), {"net__alpha": [0.1]}, cv=folds, error_score="raise"
    ).fit(X, y, groups=GROUPS, net__groups=GROUPS, **given)
    params = {**params, "groups": GROUPS}
    for fold, (a, b) in enumerate(folds.split(X, groups=GROUPS)):
        scaler, alone = piped(clone(net).set_params(alpha=0.1), y, params, a)
        found = scores_of(search)[f"split{fold}_test_score"][0]
        assert found == alone.score(scaler.transform(X[b]), y[b])


def test_a_search_without_routing_keeps_the_groups_for_its_own_splits():
    net, y, params = model("regressor")
    search = sk.GridSearchCV(grouped(net), GRID, cv=sk.GroupKFold(3), error_score="raise")
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        search.fit(X, y, groups=GROUPS, **params)


def test_routed_groups_that_the_net_does_not_want_are_left_to_the_splits():
    net, y, params = model("regressor")
    folds = sk.GroupKFold(3)
    with routing(True):
        asking = requesting(net, params).set_fit_request(groups=False)
        search = sk.GridSearchCV(asking, GRID, cv=folds, error_score="raise")
        search.fit(X, y, groups=GROUPS, **params)
    splits = list(folds.split(X, groups=GROUPS))
    assert_searched(search, net, y, params, splits, weighted=True)
