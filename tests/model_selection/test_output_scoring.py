"""Scorers of single outputs are scikit-learn's scorers on a view of the output."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.inspection import permutation_importance
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    get_scorer,
    log_loss,
    make_scorer,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OutputView,
    Targets,
)
from mtlearn.heads import Classification
from mtlearn.model_selection import make_output_scorer, output_scoring

N = 120
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
Y = Targets(
    {
        "price": X[:, 0] + 0.1 * RNG.normal(size=N),
        "kind": np.array(["a", "b", "c"])[np.digitize(X[:, 1], [-0.5, 0.5])],
        "flag": np.where(X[:, 2] + 0.5 * RNG.normal(size=N) > 0, "yes", "no"),
        "tags": (X[:, :3] + 0.5 * RNG.normal(size=(N, 3)) > 0).astype(int),
    }
)
WEIGHT = np.linspace(0.1, 2.0, N)
F1_YES = make_scorer(f1_score, pos_label="yes")
METRICS = {
    "r2": ("price", "r2"),
    "mae": ("price", "neg_mean_absolute_error"),
    "accuracy": ("kind", "accuracy"),
    "auc": ("flag", "roc_auc"),
    "auc_ovr": ("kind", "roc_auc_ovr"),
    "log_loss": ("kind", "neg_log_loss"),
    "f1": ("flag", F1_YES),
    "precision": ("tags", "average_precision"),
}


def by_hand(net, weight=None):
    """Return all metrics, from predictions and scikit-learn's functions."""
    found, proba = net.predict(X), net.predict_proba(X)
    options = {"sample_weight": weight}
    return {
        "r2": r2_score(Y["price"], found["price"], **options),
        "mae": -mean_absolute_error(Y["price"], found["price"], **options),
        "accuracy": accuracy_score(Y["kind"], found["kind"], **options),
        "auc": roc_auc_score(Y["flag"] == "yes", proba["flag"][:, 1], **options),
        "auc_ovr": roc_auc_score(Y["kind"], proba["kind"], multi_class="ovr", **options),
        "log_loss": -log_loss(Y["kind"], proba["kind"], **options),
        "f1": f1_score(Y["flag"], found["flag"], pos_label="yes", **options),
        "precision": average_precision_score(Y["tags"], proba["tags"], **options),
    }


def make_net(**params):
    return MultiOutputNet(**{"max_epochs": 3, "random_state": 0, **params})


def make_pipeline():
    return Pipeline([("scale", StandardScaler()), ("net", make_net())])


NET = make_net().fit(X, Y)
PIPELINE = make_pipeline().fit(X, Y)
SEARCH = GridSearchCV(PIPELINE, {"net__loss_weights__kind": [0.5]}, cv=2).fit(X, Y)


@pytest.fixture
def calls(monkeypatch):
    """Record which methods the nets answer with."""
    made = []
    for method in ("_predict", "_predict_proba"):
        original = getattr(MultiOutputNet, method)

        def counted(self, *args, _method=method, _original=original):
            made.append(_method)
            return _original(self, *args)

        monkeypatch.setattr(MultiOutputNet, method, counted)
    return made


@pytest.mark.parametrize("fitted", [NET, PIPELINE, SEARCH], ids=["net", "pipeline", "search"])
@pytest.mark.parametrize("metric", list(METRICS))
def test_a_scorer_gives_what_scikit_learns_gives_for_the_output(fitted, metric):
    output, scoring = METRICS[metric]
    found = make_output_scorer(output, scoring)(fitted, X, Y)
    assert type(found) is float
    assert found == get_scorer(scoring)(OutputView(fitted, output), X, Y[output])
    np.testing.assert_allclose(found, by_hand(fitted)[metric], rtol=1e-12)


@pytest.mark.parametrize("as_y", [dict, Targets.to_frame], ids=["dict", "frame"])
def test_targets_may_be_a_dict_or_a_frame(as_y):
    some = Y[["price", "kind"]]
    scorer = make_output_scorer("kind", "accuracy")
    assert scorer(NET, X, as_y(some)) == scorer(NET, X, some)


@pytest.mark.parametrize("metric", list(METRICS))
def test_sample_weight_of_the_rows_reaches_the_metric(metric):
    scorer = make_output_scorer(*METRICS[metric])
    found = scorer(NET, X, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(found, by_hand(NET, WEIGHT)[metric], rtol=1e-12)
    assert found != scorer(NET, X, Y)


@pytest.mark.parametrize("as_weight", [dict, Targets, pd.DataFrame])
def test_sample_weight_by_output_is_that_of_the_output(as_weight):
    weight = as_weight({"price": WEIGHT, "flag": WEIGHT[::-1].copy()})
    found = {
        name: make_output_scorer(*metric)(NET, X, Y, sample_weight=weight)
        for name, metric in METRICS.items()
    }
    plain, forward, backward = by_hand(NET), by_hand(NET, WEIGHT), by_hand(NET, WEIGHT[::-1])
    for name, (output, _) in METRICS.items():
        expected = {"price": forward, "flag": backward}.get(output, plain)[name]
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, err_msg=name)


def holes(name, rows):
    values = Y[name].astype(float if name == "price" else object)
    values[rows] = np.nan if name == "price" else None
    return Targets({**Y, name: values})


@pytest.mark.parametrize("metric", ["r2", "accuracy", "auc", "log_loss", "f1", "precision"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_missing_labels_are_left_out(metric, weight):
    output, scoring = METRICS[metric]
    gaps = np.arange(N) % 3 == 0
    left = None if weight is None else weight[~gaps]
    scorer = make_output_scorer(output, scoring)
    found = scorer(NET, X, holes(output, gaps), sample_weight=weight)
    np.testing.assert_allclose(
        found, scorer(NET, X[~gaps], Y[~gaps], sample_weight=left), rtol=1e-12
    )
    assert found != scorer(NET, X, Y, sample_weight=weight)


def test_an_output_without_any_label_is_refused():
    scorer = make_output_scorer("price", "r2")
    with pytest.raises(ValueError, match=r"output 'price': some label must be observed.*120"):
        scorer(NET, X, holes("price", np.ones(N, dtype=bool)))


def test_a_callable_scorer_sees_rows_and_labels_that_belong_together():
    gaps = np.arange(N) % 3 == 0

    def scorer(view, rows, labels):
        assert len(rows) == len(labels) == 80
        np.testing.assert_array_equal(rows, X[~gaps])
        return view.score(rows, labels)

    found = make_output_scorer("price", scorer)(NET, X, holes("price", gaps))
    np.testing.assert_allclose(
        found, r2_score(Y["price"][~gaps], NET.predict(X)["price"][~gaps]), rtol=1e-12
    )


def test_a_callable_scorer_may_predict_other_rows():
    def scorer(view, rows, labels):
        np.testing.assert_array_equal(view.predict(rows[::-1] * 2), expected["kind"])
        np.testing.assert_array_equal(view.predict_proba(rows[::-1] * 2), proba["kind"])
        return 1.5

    expected, proba = NET.predict(X[::-1] * 2), NET.predict_proba(X[::-1] * 2)
    assert make_output_scorer("kind", scorer)(NET, X, Y) == 1.5


class TwoLevels(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.low, self.high = nn.Linear(n_features, 8), nn.Linear(8, 3)

    def forward(self, x):
        low = self.low(x).relu()
        return {"low": low, "high": self.high(low)}


def test_an_output_with_the_target_of_another_is_scored_on_that_target():
    heads = {
        "kind": Classification(at="high"),
        "early": Classification(at="low", target="kind"),
    }
    net = make_net(trunk=TwoLevels, heads=heads).fit(X, Y[["kind"]])
    scores = output_scoring(early=("early", "neg_log_loss"), late=("kind", "neg_log_loss"))(
        net, X, Y[["kind"]]
    )
    proba = net.predict_proba(X)
    np.testing.assert_allclose(scores["early"], -log_loss(Y["kind"], proba["early"]), rtol=1e-12)
    np.testing.assert_allclose(scores["late"], -log_loss(Y["kind"], proba["kind"]), rtol=1e-12)
    assert scores["early"] != scores["late"]


@pytest.mark.parametrize(
    ("make", "output", "scoring"),
    [
        (MultiOutputNetRegressor, "price", "r2"),
        (MultiOutputNetClassifier, "kind", "neg_log_loss"),
    ],
)
def test_the_output_of_an_estimator_for_arrays_is_y(make, output, scoring):
    net = make(max_epochs=2, random_state=0).fit(X, Y[output], aux=Y[["flag"]])
    found = make_output_scorer("y", scoring)(net, X, Y[output])
    np.testing.assert_allclose(found, get_scorer(scoring)(net, X, Y[output]), rtol=1e-12)
    aux = make_output_scorer("flag", "accuracy")(net, X, {"flag": Y["flag"]})
    assert aux == accuracy_score(Y["flag"], net.output("flag").predict(X))


@pytest.mark.parametrize(
    ("scorer", "y", "weight", "message"),
    [
        (("prise", "r2"), Y, None, r"unknown output 'prise'.*did you mean 'price'"),
        (("price", "r2"), Y[["kind"]], None, r"`y` names the unknown target 'price'.*\['kind'\]"),
        (("price", "r2"), Y["price"], None, r"`y` names the unknown target 'price'.*\['y'\]"),
        (("price", "r2"), Y, {"prise": WEIGHT}, r"`sample_weight` names the unknown output 'prise"),
    ],
)
def test_unknown_names_are_refused_when_scoring(scorer, y, weight, message):
    with pytest.raises(ValueError, match=message):
        make_output_scorer(*scorer)(NET, X, y, sample_weight=weight)


def test_a_scorer_of_probabilities_refuses_an_output_of_numbers():
    with pytest.raises(AttributeError, match="predict_proba"):
        make_output_scorer("price", "neg_log_loss")(NET, X, Y)


def test_an_unknown_scorer_is_refused_at_once():
    with pytest.raises(ValueError, match="'acuracy' is not a valid scoring value"):
        make_output_scorer("kind", "acuracy")
    with pytest.raises(ValueError, match="'acuracy' is not a valid scoring value"):
        output_scoring(acc=("kind", "acuracy"))


def test_metrics_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="at least one metric is needed"):
        output_scoring()
    with pytest.raises(TypeError, match=r"Got acc='accuracy'; write acc=\('output', 'accuracy'\)"):
        output_scoring(acc="accuracy")
    with pytest.raises(TypeError, match="must be a pair of an output and a scorer"):
        output_scoring(acc=("kind", "accuracy", "f1"))


def test_an_estimator_of_another_library_is_refused():
    with pytest.raises(TypeError, match="must be a fitted estimator of mtlearn"):
        make_output_scorer("kind", "accuracy")(StandardScaler().fit(X), X, Y)


# In scikit-learn's tools.


def test_cross_validation_scores_every_fold_by_each_scorer():
    scoring = {name: make_output_scorer(*metric) for name, metric in METRICS.items()}
    folds = KFold(3)
    found = cross_validate(
        make_pipeline(), X, Y, cv=folds, scoring=scoring, return_estimator=True, error_score="raise"
    )
    for k, (_, b) in enumerate(folds.split(X)):
        for name, (output, scorer) in METRICS.items():
            view = OutputView(found["estimator"][k], output)
            assert found[f"test_{name}"][k] == get_scorer(scorer)(view, X[b], Y[output][b])
    alone = cross_val_score(make_pipeline(), X, Y, cv=folds, scoring=scoring["f1"])
    assert alone.tolist() == found["test_f1"].tolist()


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("form", ["dict of scorers", "output_scoring"])
def test_grid_search_takes_several_metrics_and_refits_by_one(form, n_jobs):
    metrics = {"acc": ("kind", "accuracy"), "loss": ("kind", "neg_log_loss"), "r2": METRICS["r2"]}
    scoring = {name: make_output_scorer(*metric) for name, metric in metrics.items()}
    if form == "output_scoring":
        scoring = output_scoring(**metrics)
    grid, folds = {"loss_weights__kind": [0.0, 2.0]}, KFold(2)
    search = GridSearchCV(
        make_net(),
        grid,
        scoring=scoring,
        refit="loss",
        cv=folds,
        n_jobs=n_jobs,
        error_score="raise",
    ).fit(X, Y)
    for k, weight in enumerate(grid["loss_weights__kind"]):
        for fold, (a, b) in enumerate(folds.split(X)):
            net = make_net(loss_weights={"kind": weight}).fit(X[a], Y[a])
            for name, (output, scorer) in metrics.items():
                expected = get_scorer(scorer)(net.output(output), X[b], Y[output][b])
                assert search.cv_results_[f"split{fold}_test_{name}"][k] == expected
    assert search.best_index_ == search.cv_results_["mean_test_loss"].argmax()
    expected = -log_loss(Y["kind"], search.best_estimator_.predict_proba(X)["kind"])
    np.testing.assert_allclose(search.score(X, Y), expected, rtol=1e-12)


def test_permutation_importance_is_that_of_the_output():
    one = make_output_scorer("price", "r2")
    options = {"n_repeats": 3, "random_state": 0}
    found = permutation_importance(PIPELINE, X, Y, scoring=one, **options)
    view = permutation_importance(OutputView(PIPELINE, "price"), X, Y["price"], **options)
    np.testing.assert_allclose(found["importances"], view["importances"], rtol=1e-12)
    both = {"price": one, "kind": make_output_scorer("kind", "neg_log_loss")}
    several = permutation_importance(PIPELINE, X, Y, scoring=both, **options)
    np.testing.assert_array_equal(several["price"]["importances"], found["importances"])
    assert several["kind"]["importances_mean"].argmax() == 1


def test_permutation_importance_weighs_the_rows():
    options = {"n_repeats": 2, "random_state": 0, "sample_weight": WEIGHT}
    scorer = make_output_scorer("price", "r2")
    found = permutation_importance(NET, X, Y, scoring=scorer, **options)
    view = permutation_importance(NET.output("price"), X, Y["price"], scoring="r2", **options)
    np.testing.assert_allclose(found["importances"], view["importances"], rtol=1e-12)


def test_a_search_without_routing_scores_with_the_weights_of_the_fit_or_without():
    scoring = {"r2": make_output_scorer("price", "r2"), "f1": make_output_scorer("flag", F1_YES)}
    search = GridSearchCV(
        make_net(), {"alpha": [0.1]}, scoring=scoring, refit="r2", cv=KFold(2), error_score="raise"
    ).fit(X, Y, sample_weight=Targets({"price": WEIGHT}))
    for fold, (a, b) in enumerate(KFold(2).split(X)):
        net = make_net(alpha=0.1).fit(X[a], Y[a], {"price": WEIGHT[a]})
        predicted = net.predict(X[b])["price"]
        scores = [r2_score(Y["price"][b], predicted, sample_weight=w) for w in (None, WEIGHT[b])]
        assert search.cv_results_[f"split{fold}_test_r2"][0] in scores


# One scorer of several metrics.


def test_several_metrics_are_those_of_single_scorers():
    found = output_scoring(**METRICS)(PIPELINE, X, Y, sample_weight=WEIGHT)
    assert list(found) == list(METRICS)
    for name, metric in METRICS.items():
        assert found[name] == make_output_scorer(*metric)(PIPELINE, X, Y, sample_weight=WEIGHT)


def test_several_metrics_cost_one_prediction_of_each_kind_per_fold(calls):
    found = cross_validate(make_net(), X, Y, cv=3, scoring=output_scoring(**METRICS))
    assert {f"test_{name}" for name in METRICS} < set(found)
    assert sorted(calls) == ["_predict"] * 3 + ["_predict_proba"] * 3


def test_nothing_is_predicted_that_no_metric_needs(calls):
    output_scoring(r2=METRICS["r2"], acc=METRICS["accuracy"])(NET, X, Y)
    assert calls == ["_predict"]
    calls.clear()
    output_scoring(auc=METRICS["auc"], loss=METRICS["log_loss"])(NET, X, Y)
    assert calls == ["_predict_proba"]


def test_missing_labels_of_one_output_leave_the_others_alone():
    gaps = np.arange(N) % 3 == 0
    found = output_scoring(**METRICS)(NET, X, holes("kind", gaps))
    expected = output_scoring(**METRICS)(NET, X, Y)
    some = output_scoring(**METRICS)(NET, X[~gaps], Y[~gaps])
    for name, (output, _) in METRICS.items():
        assert found[name] == pytest.approx((some if output == "kind" else expected)[name])


@pytest.mark.parametrize("form", ["one", "several", "dict"])
def test_sample_weight_is_routed_where_it_is_requested(form):
    weight = Targets({"price": WEIGHT})
    with sklearn.config_context(enable_metadata_routing=True):
        net = make_net().set_fit_request(sample_weight=True)
        make = make_output_scorer("price", "r2")
        if form == "several":
            make = output_scoring(r2=METRICS["r2"], acc=METRICS["accuracy"])
        scores = {}
        for requested in (True, False):
            scorer = clone(make).set_score_request(sample_weight=requested)
            scores[requested] = cross_validate(
                net,
                X,
                Y,
                cv=KFold(3),
                scoring={"r2": scorer} if form == "dict" else scorer,
                params={"sample_weight": weight},
                return_estimator=True,
                error_score="raise",
            )
    key = "test_score" if form == "one" else "test_r2"
    for k, (_, b) in enumerate(KFold(3).split(X)):
        for requested, options in ((True, {"sample_weight": WEIGHT[b]}), (False, {})):
            fitted = scores[requested]["estimator"][k]
            expected = r2_score(Y["price"][b], fitted.predict(X[b])["price"], **options)
            np.testing.assert_allclose(scores[requested][key][k], expected, rtol=1e-12)


def test_routing_asks_for_a_decision_about_weights():
    scorer = make_output_scorer("price", "r2")
    params = {"sample_weight": WEIGHT}
    with sklearn.config_context(enable_metadata_routing=True):
        net = make_net().set_fit_request(sample_weight=True)
        with pytest.raises(ValueError, match=r"sample_weight.*OutputScorer"):
            cross_val_score(net, X, Y, cv=2, scoring=scorer, params=params)


def test_routing_knows_only_weights():
    for scorer in (make_output_scorer("price", "r2"), output_scoring(r2=METRICS["r2"])):
        assert list(scorer.get_metadata_routing().score.requests) == ["sample_weight"]


# As objects.


@pytest.mark.parametrize("make", [clone, lambda scorer: pickle.loads(pickle.dumps(scorer))])
def test_copies_of_a_scorer_score_alike(make):
    one, several = make_output_scorer("flag", F1_YES), output_scoring(**METRICS)
    assert make(one)(NET, X, Y) == one(NET, X, Y)
    assert make(several)(NET, X, Y) == several(NET, X, Y)


def test_the_repr_of_a_scorer_names_output_and_metric():
    one = make_output_scorer("kind", "accuracy")
    assert repr(one).startswith("OutputScorer(output='kind',")
    assert "make_scorer(accuracy_score" in repr(one)
    several = repr(output_scoring(acc=("kind", "accuracy")))
    assert several.startswith("OutputScoring(metrics={'acc': ('kind',")
    assert "make_scorer(accuracy_score" in several
