"""Thresholds chosen on held-out rows are the best ones there, and better on new rows."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    ShuffleSplit,
    TimeSeriesSplit,
    TunedThresholdClassifierCV,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OutputView,
    Targets,
)
from mtlearn.ensemble import Blend
from mtlearn.heads import Classification, Gaussian, MultiLabel, Regression
from mtlearn.model_selection import (
    GridSearchCV,
    TunedThresholdsCV,
    cross_val_predict,
    make_output_scorer,
)
from mtlearn.model_selection._label_metrics import LabelMetric, named_metric
from mtlearn.model_selection._threshold_search import search_thresholds, threshold_candidates
from mtlearn.trunks import MLP

RNG = np.random.default_rng(0)
N = 300
X = RNG.normal(size=(N, 4))
TAGS = (X[:, :3] + 0.8 * RNG.normal(size=(N, 3)) > [0.3, 1.0, 1.6]).astype(int)
RARE = np.where(X[:, 3] + 0.8 * RNG.normal(size=N) > 1.3, "yes", "no")
Y = Targets(
    {
        "price": X[:, 0] - X[:, 1],
        "tags": TAGS,
        "rare": RARE,
        "kind": np.digitize(X[:, 2], [-0.5, 0.5]),
    }
)


def net(**params):
    settings = {"trunk": MLP(()), "learning_rate": 0.03, "max_epochs": 15, "random_state": 0}
    return MultiOutputNet(**settings | params)


def members(**params):
    held = {"n_members": 4, "early_stopping": True, "validation_fraction": 0.25}
    return net(**held | params)


def held_out_chances(estimator, y, cv):
    return cross_val_predict(estimator, X, y, method="predict_proba", cv=cv)


def best_by_trying_all(y, chances, metric):
    """The threshold nearest to 0.5 of those between any two probabilities with the best score."""
    values = np.concatenate([[0], np.unique(chances), [1]])
    candidates = np.append((values[1:] + values[:-1]) / 2, 0.5)
    scores = np.array([metric(y, chances > value) for value in candidates])
    best = candidates[scores >= scores.max() - 1e-12]
    return best[np.abs(best - 0.5).argmin()], scores.max()


def test_thresholds_of_macro_f1_are_the_best_of_each_label():
    cv = KFold(3)
    tuned = TunedThresholdsCV(net(), cv=cv, n_thresholds=1000).fit(X, Y)
    chances = held_out_chances(net(), Y, cv)
    found = [best_by_trying_all(TAGS[:, j], chances["tags"][:, j], f1_score) for j in range(3)]
    np.testing.assert_allclose(tuned.thresholds_["tags"], [threshold for threshold, _ in found])
    assert tuned.best_scores_["tags"] == pytest.approx(np.mean([score for _, score in found]))
    macro = partial(f1_score, average="macro")
    threshold, score = best_by_trying_all(RARE == "yes", chances["rare"][:, 1], macro)
    assert tuned.thresholds_["rare"] == pytest.approx(threshold)
    assert tuned.best_scores_["rare"] == pytest.approx(score)
    assert set(tuned.thresholds_) == {"tags", "rare"}


def test_predictions_are_above_the_thresholds_and_the_rest_is_the_estimators():
    tuned = TunedThresholdsCV(net(), cv=3).fit(X, Y)
    fitted, predicted, chances = net().fit(X, Y), tuned.predict(X), tuned.predict_proba(X)
    assert chances == fitted.predict_proba(X) == tuned.estimator_.predict_proba(X)
    assert list(predicted) == list(Y)
    np.testing.assert_array_equal(predicted["tags"], chances["tags"] > tuned.thresholds_["tags"])
    assert predicted["tags"].dtype == TAGS.dtype
    above = chances["rare"][:, 1] > tuned.thresholds_["rare"]
    np.testing.assert_array_equal(predicted["rare"], np.where(above, "yes", "no"))
    for name in ("price", "kind"):
        np.testing.assert_array_equal(predicted[name], fitted.predict(X)[name])
    assert not np.array_equal(predicted["rare"], fitted.predict(X)["rare"])
    assert list(tuned.predict(X, outputs=["rare", "price"])) == ["rare", "price"]
    assert list(tuned.predict_proba(X, outputs=["rare"])) == ["rare"]
    with pytest.raises(ValueError, match=r"unknown output 'rar'.*did you mean 'rare'"):
        tuned.predict(X, outputs=["rar"])


@pytest.mark.parametrize("seed", range(3))
def test_rare_labels_are_found_better_on_new_rows(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4000, 5))
    tags = (rows[:, :3] + rng.normal(size=(4000, 3)) > [2.2, 2.5, 2.8]).astype(int)
    train, test = slice(0, 1500), slice(1500, None)
    tuned = TunedThresholdsCV(net(), cv=3).fit(rows[train], {"tags": tags[train]})
    macro = partial(f1_score, tags[test], average="macro", zero_division=0)
    before = macro(tuned.estimator_.predict(rows[test])["tags"])
    after = macro(tuned.predict(rows[test])["tags"])
    assert after > before + 0.1
    assert (tuned.thresholds_["tags"] < 0.45).all()


@pytest.mark.parametrize("scoring", ["f1", "balanced_accuracy", "accuracy"])
def test_two_classes_are_tuned_as_by_scikit_learn(scoring):
    y, cv = (RARE == "yes").astype(int), [(np.arange(150), np.arange(150, N))]
    net_of_array = MultiOutputNetClassifier(MLP(()), learning_rate=0.03, random_state=0)
    ours = TunedThresholdsCV(net_of_array, scoring=scoring, cv=cv, n_thresholds=1000).fit(X, y)
    theirs = TunedThresholdClassifierCV(net_of_array, scoring=scoring, cv=cv, thresholds=1000)
    theirs.fit(X, y)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    held = clone(net_of_array).fit(X[:150], y[:150]).predict_proba(X[150:])[:, 1]
    metric = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score}.get(
        scoring, lambda truth, labels: np.mean(truth == labels)
    )
    of_ours = metric(y[150:], held > ours.thresholds_["y"])
    of_theirs = metric(y[150:], held >= theirs.best_threshold_)
    assert ours.best_scores_["y"] == pytest.approx(of_ours)
    assert of_ours >= of_theirs - 1e-12
    assert of_ours == pytest.approx(best_by_trying_all(y[150:], held, metric)[1])
    assert ours.predict(X).dtype == y.dtype


@pytest.mark.parametrize("scoring", ["f1_micro", "f1_samples", "accuracy", "jaccard_weighted"])
def test_no_change_of_one_threshold_makes_a_joint_metric_better(scoring):
    cv = KFold(3)
    y = {"tags": TAGS}
    tuned = TunedThresholdsCV(net(), scoring=scoring, cv=cv, n_thresholds=1000).fit(X, y)
    chances = held_out_chances(net(), y, cv)["tags"]
    metric = named_metric(scoring, is_multilabel=True, owner="")
    ones = np.ones(TAGS.shape)
    found = tuned.thresholds_["tags"]
    best = metric(TAGS == 1, chances > found, ones)
    assert tuned.best_scores_["tags"] == pytest.approx(best)
    assert best > metric(TAGS == 1, chances > 0.5, ones)
    for j in range(3):
        for value in np.linspace(0, 1, 101):
            other = np.where(np.arange(3) == j, value, found)
            assert metric(TAGS == 1, chances > other, ones) <= best + 1e-12


def search_by_definition(y, chances, weight, metric):
    """Try all candidates of one label after the other, with the whole metric each time."""
    found, better = np.full(y.shape[1], 0.5), True
    while better:
        better = False
        for j in range(y.shape[1]):
            values = threshold_candidates(y[:, j], chances[:, j], weight[:, j], 0.5, 30)
            trials = np.tile(found, (len(values), 1))
            trials[:, j] = values
            scores = np.array([metric(y, chances > trial, weight) for trial in trials])
            best = np.flatnonzero(scores >= scores.max() - 1e-12)[0]
            if scores[best] > metric(y, chances > found, weight) + 1e-12:
                found, better = trials[best], True
    return found, metric(y, chances > found, weight)


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize(
    "scoring",
    [
        "f1_samples",
        "jaccard_samples",
        "f1_micro",
        "jaccard_micro",
        "f1_weighted",
        "f1_macro",
        "accuracy",
        "balanced_accuracy",
    ],
)
def test_the_search_finds_what_trying_the_whole_metric_finds(scoring, weighted, missing):
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(150, 4))
    y = signal + rng.normal(size=signal.shape) > [0.2, 0.8, 1.2, 1.6]
    y[:5] = False
    chances = np.round(1 / (1 + np.exp(1.0 - signal)), 1)  # many rows are tied
    weight = np.ones(y.shape) * (rng.uniform(0.1, 2.0, size=(150, 1)) if weighted else 1.0)
    if missing:
        weight[rng.random(y.shape) < 0.3] = 0.0
    weight = weight[weight.any(axis=1)]
    y, chances = y[: len(weight)], chances[: len(weight)]
    metric = named_metric(scoring, is_multilabel=True, owner="")
    found = search_thresholds(y, chances, weight, np.full(4, 0.5), metric, n_thresholds=30)
    expected = search_by_definition(y, chances, weight, metric)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1] == expected[1]
    assert (found[0] != 0.5).any()


def test_a_function_gets_labels_as_they_are_and_weights_if_it_takes_them():
    seen = []

    def metric(y_true, y_pred, sample_weight):
        seen.append((set(np.unique(y_true)) | set(np.unique(y_pred)), sample_weight))
        return f1_score(y_true, y_pred, pos_label="yes", sample_weight=sample_weight)

    y, weight = Targets({"rare": RARE}), np.repeat([1.0, 2.0, 0.0], 100)
    tuned = TunedThresholdsCV(net(), scoring=metric, cv=KFold(3, shuffle=True, random_state=0))
    tuned.fit(X, y, weight)
    assert {label for labels, _ in seen for label in labels} == {"yes", "no"}
    assert {len(weights) for _, weights in seen} == {200}
    named = TunedThresholdsCV(net(), scoring="f1", cv=KFold(3, shuffle=True, random_state=0))
    named.fit(X, y, {"rare": weight})
    assert tuned.thresholds_ == named.thresholds_
    plain = TunedThresholdsCV(net(), scoring=partial(f1_score, pos_label="yes"), cv=3).fit(X, y)
    assert plain.thresholds_ == TunedThresholdsCV(net(), scoring="f1", cv=3).fit(X, y).thresholds_
    of_labels = TunedThresholdsCV(net(), scoring=partial(f1_score, average="micro"), cv=3)
    by_name = TunedThresholdsCV(net(), scoring="f1_micro", cv=3)
    tags = {"tags": TAGS}
    expected = by_name.fit(X, tags).thresholds_["tags"]
    np.testing.assert_array_equal(of_labels.fit(X, tags).thresholds_["tags"], expected)


def test_a_dict_of_metrics_names_the_outputs_to_tune():
    scoring = {"rare": matthews_corrcoef}
    tuned = TunedThresholdsCV(net(), scoring=scoring, cv=3).fit(X, Y)
    assert set(tuned.thresholds_) == set(tuned.best_scores_) == {"rare"}
    np.testing.assert_array_equal(tuned.predict(X)["tags"], tuned.estimator_.predict(X)["tags"])


def test_a_label_that_held_out_rows_lack_keeps_the_threshold_of_its_head():
    tags = TAGS.copy()
    tags[:, 1] = np.arange(N) < 20
    cv = [(np.arange(200), np.arange(200, N))]
    tuned = TunedThresholdsCV(net(), cv=cv).fit(X, {"tags": tags})
    assert tuned.thresholds_["tags"][1] == 0.5
    assert tuned.thresholds_["tags"][0] != 0.5
    head = MultiLabel(threshold=[0.5, 0.7, 0.5])
    given = TunedThresholdsCV(net(heads={"tags": head}), cv=cv).fit(X, {"tags": tags})
    assert given.thresholds_["tags"][1] == 0.7
    assert given.estimator_.heads_["tags"].threshold_[0] == 0.5
    np.testing.assert_array_equal(given.heads_["tags"].threshold_, given.thresholds_["tags"])
    tags[:, 1] = 1
    constant = TunedThresholdsCV(net(), cv=3).fit(X, {"tags": tags})
    assert constant.predict(X)["tags"][:, 1].all()


def test_of_equal_thresholds_the_nearest_to_one_half_is_taken():
    y = np.array([0, 0, 1, 1], dtype=bool)[:, None]
    ones, half = np.ones((4, 1)), np.array([0.5])

    def accuracy(truth, labels, _):
        return float(np.mean(truth == labels))

    def search(chances):
        given = np.array(chances)[:, None]
        metric = LabelMetric(accuracy)
        found, score = search_thresholds(y, given, ones, half, metric, n_thresholds=9)
        return float(found[0]), score

    assert search([0.1, 0.2, 0.3, 0.9]) == (0.25, 1.0)
    assert search([0.1, 0.4, 0.6, 0.9]) == (0.5, 1.0)
    threshold, score = search([0.1, 0.7, 0.6, 0.9])
    assert (threshold, score) == (0.5, 0.75)
    assert search([0.3, 0.3, 0.3, 0.3]) == (0.5, 0.5)


@pytest.mark.parametrize("n_thresholds", [1, 3, 20])
def test_the_number_of_thresholds_tried_is_bounded(n_thresholds):
    calls = []

    def metric(y_true, y_pred):
        calls.append(1)
        return float(np.mean(y_true == y_pred))

    y = {"rare": RNG.integers(0, 2, N)}
    tuned = TunedThresholdsCV(net(), scoring=metric, cv=3, n_thresholds=n_thresholds).fit(X, y)
    n_sweeps = 2 if tuned.thresholds_["rare"] != 0.5 else 1
    assert len(calls) <= 1 + n_sweeps * (n_thresholds + 2)


def test_missing_labels_are_left_out():
    tags, rare = TAGS.astype(float), RARE.astype(object)
    tags[:40, 0], rare[20:50] = np.nan, None
    y, cv = Targets({"tags": tags, "rare": rare}), KFold(3, shuffle=True, random_state=0)
    estimator = net(missing_targets="ignore", heads={"tags": MultiLabel()})
    tuned = TunedThresholdsCV(estimator, cv=cv, n_thresholds=1000).fit(X, y)
    chances = held_out_chances(estimator, y, cv)
    for j in range(3):
        known = np.isfinite(tags[:, j])
        expected, _ = best_by_trying_all(tags[known, j], chances["tags"][known, j], f1_score)
        assert tuned.thresholds_["tags"][j] == pytest.approx(expected)
    known = rare != None  # noqa: E711
    macro = partial(f1_score, average="macro")
    expected, _ = best_by_trying_all(rare[known] == "yes", chances["rare"][known, 1], macro)
    assert tuned.thresholds_["rare"] == pytest.approx(expected)
    assert np.isfinite(tuned.score(X, y))
    with pytest.raises(ValueError, match="set missing_targets='ignore'"):
        TunedThresholdsCV(net(heads={"tags": MultiLabel()}), cv=3).fit(X, y)


def member_chances(fitted, rows, name):
    """What each member thinks of the rows it held out."""
    found = np.full((N, *fitted.predict_proba(rows)[name].shape[1:]), np.nan)
    for member in fitted.members_[: fitted.n_members]:
        ((_, held),) = member.validation_fraction.split(rows, np.zeros(N))
        found[held] = member.predict_proba(rows[held])[name]
    return found


@pytest.mark.parametrize("as_pipeline", [False, True])
def test_rows_that_members_held_out_need_no_more_fits(as_pipeline):
    y = {"tags": TAGS}
    estimator = make_pipeline(StandardScaler(), members()) if as_pipeline else members()
    tuned = TunedThresholdsCV(estimator, cv="held_out", n_thresholds=1000).fit(X, y)
    fitted = tuned.estimator_[-1] if as_pipeline else tuned.estimator_
    rows = tuned.estimator_[:-1].transform(X) if as_pipeline else X
    chances = member_chances(fitted, rows, "tags")
    expected = [best_by_trying_all(TAGS[:, j], chances[:, j], f1_score)[0] for j in range(3)]
    np.testing.assert_allclose(tuned.thresholds_["tags"], expected)
    assert tuned.predict_proba(X) == clone(estimator).fit(X, y).predict_proba(X)


def test_one_net_with_early_stopping_has_held_out_rows():
    one = net(early_stopping=True, validation_fraction=0.3)
    tuned = TunedThresholdsCV(one, cv="held_out").fit(X, {"tags": TAGS})
    assert (tuned.thresholds_["tags"] != 0.5).any()


def test_a_blend_has_the_held_out_rows_of_its_parts():
    parts = [("plain", members()), ("scaled", make_pipeline(StandardScaler(), members()))]
    y = {"tags": TAGS, "rare": RARE}
    tuned = TunedThresholdsCV(Blend(parts), cv="held_out", n_thresholds=1000).fit(X, y)
    plain, scaled = tuned.estimator_.estimators_
    rows = [X, scaled[:-1].transform(X)]
    weights = tuned.estimator_.weights_["tags"].values()
    chances = sum(
        weight * member_chances(one, own, "tags")
        for weight, one, own in zip(weights, (plain, scaled[-1]), rows, strict=True)
    )
    expected = [best_by_trying_all(TAGS[:, j], chances[:, j], f1_score)[0] for j in range(3)]
    np.testing.assert_allclose(tuned.thresholds_["tags"], expected)
    found = tuned.predict_proba(X)["rare"][:, 1] > tuned.thresholds_["rare"]
    np.testing.assert_array_equal(tuned.predict(X)["rare"] == "yes", found)


def test_a_fitted_estimator_is_tuned_on_the_rows_given():
    fitted = make_pipeline(StandardScaler(), net()).fit(X[:150], Y[:150])
    tuned = TunedThresholdsCV(fitted, cv="prefit", n_thresholds=1000).fit(X[150:], Y[150:])
    assert tuned.estimator_ is fitted
    chances = fitted.predict_proba(X[150:])["tags"]
    expected = [best_by_trying_all(TAGS[150:, j], chances[:, j], f1_score)[0] for j in range(3)]
    np.testing.assert_allclose(tuned.thresholds_["tags"], expected)


def test_folds_keep_groups_together_and_rows_may_be_held_out_often_or_never():
    groups, y = np.arange(N) // 3, {"tags": TAGS}
    grouped = TunedThresholdsCV(net(), cv=3).fit(X, y, groups=groups)
    splits = list(GroupKFold(3).split(X, TAGS, groups))
    same = TunedThresholdsCV(net(), cv=splits).fit(X, y)
    np.testing.assert_array_equal(grouped.thresholds_["tags"], same.thresholds_["tags"])
    cv = ShuffleSplit(4, test_size=0.4, random_state=0)
    often = TunedThresholdsCV(net(), cv=cv, n_thresholds=1000).fit(X, y)
    found = [[] for _ in range(N)]
    for train, test in cv.split(X):
        part = net().fit(X[train], {"tags": TAGS[train]})
        for row, chances in zip(test, part.predict_proba(X[test])["tags"], strict=True):
            found[row].append(chances)
    rows = [row for row in range(N) if found[row]]
    assert len(rows) < N
    means = np.array([np.mean(found[row], axis=0) for row in rows])
    expected = [best_by_trying_all(TAGS[rows, j], means[:, j], f1_score)[0] for j in range(3)]
    np.testing.assert_allclose(often.thresholds_["tags"], expected)
    later = TunedThresholdsCV(net(), cv=TimeSeriesSplit(3)).fit(X, y)
    assert np.isfinite(later.thresholds_["tags"]).all()


def test_a_fold_without_a_class_gives_it_no_probability():
    y = Targets({"rare": np.where(np.arange(N) < 100, "yes", "no")})
    tuned = TunedThresholdsCV(net(), scoring="f1", cv=[(np.arange(100, N), np.arange(100))])
    assert tuned.fit(X, y).best_scores_ == {"rare": 0.0}
    assert tuned.thresholds_ == {"rare": 0.5}


def test_sample_weights_and_fit_parameters_are_divided_with_the_rows():
    weight = np.where(np.arange(N) < 150, 1.0, 0.0)
    y, cv = Targets({"tags": TAGS}), KFold(3, shuffle=True, random_state=0)
    named = make_pipeline(StandardScaler(with_mean=False, with_std=False), net())
    weighted = TunedThresholdsCV(named, cv=cv).fit(X, y, weight)
    kept = [(train[train < 150], test[test < 150]) for train, test in cv.split(X)]
    fewer = TunedThresholdsCV(net(), cv=kept).fit(X[:150], y[:150])
    np.testing.assert_allclose(weighted.thresholds_["tags"], fewer.thresholds_["tags"], rtol=1e-6)
    array = MultiOutputNetClassifier(MLP(()), max_epochs=5, random_state=0)
    tuned = TunedThresholdsCV(array, cv=3).fit(X, RARE, aux=Targets({"price": Y["price"]}))
    assert tuned.output_names_ == ["y", "price"]
    assert tuned.score(X, RARE) == np.mean(tuned.predict(X) == RARE)
    by_step = make_pipeline(StandardScaler(), array)
    aux = {"multioutputnetclassifier__aux": {"price": Y["price"]}}
    assert TunedThresholdsCV(by_step, cv=3).fit(X, RARE, **aux).predict(X).shape == (N,)


def test_arrays_of_labels_of_two_classes_and_of_columns_give_arrays():
    make = partial(MultiOutputNetClassifier, MLP(()), learning_rate=0.03, random_state=0)
    tags = TunedThresholdsCV(make(), cv=3).fit(X, TAGS)
    assert tags.thresholds_["y"].shape == (3,)
    expected = tags.predict_proba(X) > tags.thresholds_["y"]
    np.testing.assert_array_equal(tags.predict(X), expected)
    assert is_classifier(tags)
    two = TunedThresholdsCV(make(), cv=3).fit(X, RARE)
    assert two.classes_.tolist() == ["no", "yes"]
    expected = np.where(two.predict_proba(X)[:, 1] > two.thresholds_["y"], "yes", "no")
    np.testing.assert_array_equal(two.predict(X), expected)
    columns = np.column_stack([RARE, np.array(["a", "b", "c"])[Y["kind"]]])
    for estimator in (make(), Blend([("a", members())])):
        several = TunedThresholdsCV(estimator, cv=3).fit(X, columns)
        assert set(several.thresholds_) == {"y0"}
        assert several.predict(X).shape == (N, 2)
        assert [part.shape for part in several.predict_proba(X)] == [(N, 2), (N, 3)]
        each = (several.predict(X) == columns).mean(axis=0)
        assert several.score(X, columns) == pytest.approx(each.mean())


def test_scores_are_those_of_the_heads_at_the_thresholds_found():
    tuned = TunedThresholdsCV(net(), cv=3).fit(X, Y)
    predicted, scores = tuned.predict(X), tuned.scores(X, Y)
    assert scores["rare"] == np.mean(predicted["rare"] == RARE)
    assert scores["tags"] == np.mean((predicted["tags"] == TAGS).all(axis=1))
    assert tuned.score(X, Y) == pytest.approx(np.mean(list(scores.values())))
    main = TunedThresholdsCV(net(main_output="rare"), cv=3).fit(X, Y)
    assert main.score(X, Y) == np.mean(main.predict(X)["rare"] == RARE)
    with pytest.raises(ValueError, match=r"hold the targets of all outputs\. Missing: \['rare'\]"):
        tuned.score(X, Y[["price", "tags", "kind"]])
    scorer = make_output_scorer("tags", "f1_macro")
    assert scorer(tuned, X, Y) == f1_score(TAGS, predicted["tags"], average="macro")


def test_it_is_cloned_pickled_searched_and_put_into_pipelines():
    tuned = TunedThresholdsCV(make_pipeline(StandardScaler(), net()), cv=2, n_thresholds=20)
    copy = clone(tuned).set_params(estimator__multioutputnet__max_epochs=3)
    assert tuned.estimator.steps[-1][1].max_epochs == 15
    copy.fit(X, Y)
    assert pickle.loads(pickle.dumps(copy)).predict(X) == copy.predict(X)
    assert copy.n_features_in_ == 4
    grid = {"estimator__multioutputnet__learning_rate": [0.003, 0.03]}
    scoring = make_output_scorer("tags", "f1_macro")
    search = GridSearchCV(tuned, grid, cv=2, scoring=scoring).fit(X, dict(Y.items()))
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    view = OutputView(search, "tags")
    np.testing.assert_array_equal(view.predict(X), search.predict(X)["tags"])
    outer = make_pipeline(StandardScaler(), TunedThresholdsCV(net(), cv=2)).fit(X, Y)
    np.testing.assert_array_equal(OutputView(outer, "rare").predict(X), outer.predict(X)["rare"])
    array = TunedThresholdsCV(MultiOutputNetClassifier(max_epochs=2, random_state=0), cv=2)
    assert cross_val_score(array, X, RARE, cv=2, scoring="f1_macro").shape == (2,)


def test_views_predict_at_the_thresholds_and_standard_deviations_are_passed_on():
    y = Y[["price", "rare"]]
    tuned = TunedThresholdsCV(net(heads={"price": Gaussian()}), cv=2).fit(X, y)
    rare = tuned.output("rare")
    np.testing.assert_array_equal(rare.predict(X), tuned.predict(X)["rare"])
    np.testing.assert_array_equal(rare.predict_proba(X), tuned.predict_proba(X)["rare"])
    assert rare.score(X, RARE) == tuned.scores(X, y)["rare"]
    expected = tuned.estimator_.predict_std(X)["price"]
    np.testing.assert_array_equal(tuned.predict_std(X)["price"], expected)
    np.testing.assert_array_equal(tuned.output("price").predict_std(X), expected)


def test_the_same_seed_gives_the_same_thresholds_at_any_number_of_jobs():
    with parallel_config("threading"):
        one, two = (TunedThresholdsCV(net(max_epochs=3), cv=3, n_jobs=n).fit(X, Y) for n in (1, 2))
    np.testing.assert_array_equal(one.thresholds_["tags"], two.thresholds_["tags"])
    assert one.thresholds_["rare"] == two.thresholds_["rare"]


def test_frames_and_plain_dicts_are_divided_by_rows():
    frame = pd.DataFrame(X, columns=list("abcd"))
    y = {"rare": RARE, "price": Y["price"]}
    tuned = TunedThresholdsCV(net(), cv=3).fit(frame, y)
    same = TunedThresholdsCV(net(), cv=3).fit(frame, pd.DataFrame(y))
    assert tuned.thresholds_ == same.thresholds_
    assert tuned.feature_names_in_.tolist() == list("abcd")
    weights = {"price": np.ones(N), "rare": np.linspace(0, 1, N)}
    weighted = [
        TunedThresholdsCV(net(), cv=3).fit(frame, y, form(weights)).thresholds_
        for form in (dict, pd.DataFrame)
    ]
    assert weighted[0] == weighted[1] != tuned.thresholds_


@pytest.mark.parametrize(
    ("params", "names", "message"),
    [
        (
            {},
            ["price", "kind"],
            r"`estimator` must have an output with labels or two classes.*"
            r"'price': 'Regression', 'kind': 'Classification'",
        ),
        ({"scoring": {"rar": "f1"}}, ["rare"], r"`scoring` names the unknown output 'rar'.*'rare'"),
        (
            {"scoring": {"kind": "accuracy"}},
            ["kind", "rare"],
            r"must name outputs with labels or "
            r"two classes.*Got \['kind'\]",
        ),
        ({"scoring": "f1_marco"}, ["rare"], "`scoring` of output 'rare': the metric of two "),
        ({"scoring": {"tags": "f1"}}, ["tags"], "of labels must be one of.*Got 'f1'"),
        ({"scoring": {"tags": 3}}, ["tags"], "names of metrics or functions. Got 3 for 'tags'"),
        (
            {"cv": "held_out"},
            ["rare"],
            "output 'rare': thresholds need held-out rows with a label..*early_stopping=True",
        ),
        ({"cv": "held"}, ["rare"], "The 'cv' parameter of TunedThresholdsCV must be"),
        ({"n_thresholds": 0}, ["rare"], "The 'n_thresholds' parameter of TunedThresholdsCV"),
        ({"estimator": LogisticRegression()}, ["rare"], "must be an estimator of mtlearn, or a "),
    ],
)
def test_bad_parameters_are_refused(params, names, message):
    tuned = TunedThresholdsCV(net(max_epochs=1)).set_params(**params)
    with pytest.raises((TypeError, ValueError), match=message):
        tuned.fit(X, Y[names])


def test_numbers_alone_have_no_thresholds():
    net_of_numbers = MultiOutputNetRegressor(max_epochs=1)
    with pytest.raises(ValueError, match="an output with labels or two classes"):
        TunedThresholdsCV(net_of_numbers).fit(X, Y["price"])


def test_a_user_s_heads_decide_what_is_tuned():
    heads = {
        "again": Classification(target="rare"),
        "rare": Classification(),
        "p": Regression(target="price"),
    }
    y = Y[["rare", "price"]]
    tuned = TunedThresholdsCV(net(heads={**heads, "price": Regression()}), cv=3).fit(X, y)
    assert set(tuned.thresholds_) == {"again", "rare"}
