"""Targets and auxiliary targets work in scikit-learn's tools."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn.heads import Classification
from mtlearn.trunks import MLP

N = 90
RNG = np.random.default_rng(0)
X = 3.0 + 10.0 * RNG.normal(size=(N, 4))
MAIN = X[:, 0] - X[:, 1] + RNG.normal(size=N)
KIND = np.where(X[:, 1] > 3, "a", "b")
Y = Targets({"main": MAIN, "aux": KIND})
SETTINGS = {"trunk": MLP((8,), dropout=0.1), "max_epochs": 8, "random_state": 0}


def make_pipeline(**params):
    net = MultiOutputNet(**SETTINGS, main_output="main").set_params(**params)
    return Pipeline([("scale", StandardScaler()), ("net", net)])


def scores_of(search):
    return {
        name: values
        for name, values in search.cv_results_.items()
        if "score" in name and "time" not in name
    }


def test_grid_search_over_a_loss_weight_gives_the_same_results_at_any_n_jobs():
    grid = {"net__loss_weights__aux": [0.0, 0.1, 1.0]}
    one, two = (
        GridSearchCV(make_pipeline(), grid, cv=3, n_jobs=n_jobs).fit(X, Y) for n_jobs in (1, 2)
    )
    assert scores_of(one).keys() == scores_of(two).keys()
    for name, values in scores_of(one).items():
        np.testing.assert_array_equal(values, scores_of(two)[name], err_msg=name)
    assert len(set(one.cv_results_["mean_test_score"])) == 3
    assert one.best_params_ == two.best_params_
    assert one.best_estimator_["net"].loss_weights_["aux"] == one.best_params_[grid.popitem()[0]]
    assert one.predict(X) == two.predict(X)
    assert (
        one.score(X, Y)
        == one.best_estimator_["net"].scores(one.best_estimator_["scale"].transform(X), Y)["main"]
    )


def test_grid_search_reaches_heads_trunk_and_whole_dicts():
    grids = [
        {"net__heads__aux__label_smoothing": [0.0, 0.2]},
        {"net__trunk__hidden_layer_sizes": [(3,), (5, 4)]},
        {"net__loss_weights": [None, {"aux": 0.3}]},
    ]
    pipeline = make_pipeline(heads={"aux": Classification()}, max_epochs=2)
    search = GridSearchCV(pipeline, grids, cv=2, error_score="raise").fit(X, Y)
    assert len(set(search.cv_results_["mean_test_score"])) >= 4


def test_grid_search_reports_a_misspelt_output():
    search = GridSearchCV(
        make_pipeline(), {"net__loss_weights__au": [0.1]}, cv=2, error_score="raise"
    )
    with pytest.raises(ValueError, match=r"unknown output 'au'.*did you mean 'aux'"):
        search.fit(X, Y)


def test_sample_weight_is_split_with_the_rows():
    weight = np.linspace(0.1, 2.0, N)
    net, folds = MultiOutputNet(**SETTINGS), KFold(2)
    params = {"sample_weight": weight}
    fitted = cross_validate(net, X, Y, cv=folds, params=params, return_estimator=True)["estimator"]
    for (a, _), found in zip(folds.split(X), fitted, strict=True):
        assert found.predict(X) == clone(net).fit(X[a], Y[a], weight[a]).predict(X)
    search = GridSearchCV(net, {"alpha": [1e-3]}, cv=folds, error_score="raise")
    by_hand = clone(net).set_params(alpha=1e-3).fit(X, Y, weight)
    assert search.fit(X, Y, sample_weight=weight).predict(X) == by_hand.predict(X)


def test_sample_weight_by_output_is_split_as_targets():
    weight = Targets({"main": np.linspace(0.1, 2.0, N)})
    net, folds = MultiOutputNet(**SETTINGS), KFold(2)
    found = cross_val_score(net, X, Y, cv=folds, params={"sample_weight": weight})
    by_hand = [clone(net).fit(X[a], Y[a], weight[a]).score(X[b], Y[b]) for a, b in folds.split(X)]
    assert found.tolist() == by_hand


def test_clone_is_equal_and_independent():
    net = MultiOutputNet(**SETTINGS, heads={"aux": Classification()}, loss_weights={"aux": 0.1})
    twin = clone(net.fit(X, Y))
    assert not hasattr(twin, "module_")
    assert repr(twin) == repr(net)
    twin.set_params(loss_weights__aux=5.0, heads__aux__label_smoothing=0.3)
    assert net.loss_weights == {"aux": 0.1}
    assert net.heads["aux"].label_smoothing == 0.0
    assert clone(net).fit(X, Y).predict(X) == net.predict(X)


def test_cross_validate_fits_and_scores_every_fold():
    folds = KFold(3)
    results = cross_validate(make_pipeline(), X, Y, cv=folds, return_estimator=True)
    for (a, b), score, fitted in zip(
        folds.split(X), results["test_score"], results["estimator"], strict=True
    ):
        alone = make_pipeline().fit(X[a], Y[a])
        assert score == alone.score(X[b], Y[b])
        assert fitted.predict(X) == alone.predict(X)


def test_groups_are_kept_together():
    scores = cross_val_score(
        make_pipeline(), X, Y, groups=np.arange(N) % 6, cv=GroupKFold(3), error_score="raise"
    )
    assert len(set(scores)) == 3


def test_train_test_split_splits_targets():
    rows = np.arange(N)
    parts = train_test_split(rows, Y, test_size=0.2, random_state=0, stratify=Y["aux"])
    train, test, y_train, y_test = parts
    assert y_train == Y[train]
    assert y_test == Y[test]
    assert (len(y_train), len(y_test)) == (72, 18)


def test_learning_curve_takes_more_and_more_rows():
    sizes, train, test = learning_curve(
        make_pipeline(), X, Y, train_sizes=[0.3, 1.0], cv=3, error_score="raise"
    )
    assert sizes.tolist() == [18, 60]
    assert train.shape == test.shape == (2, 3)
    assert np.isfinite(test).all()


def test_cross_val_predict_gives_targets_in_the_order_of_the_rows():
    folds = KFold(3, shuffle=True, random_state=0)
    predicted = cross_val_predict(make_pipeline(), X, Y, cv=folds)
    assert isinstance(predicted, Targets)
    for a, b in folds.split(X):
        assert predicted[b] == make_pipeline().fit(X[a], Y[a]).predict(X[b])


def test_cross_val_predict_of_probabilities_is_refused_clearly():
    with pytest.raises(TypeError, match=r"\['main', 'aux'\] are not one array"):
        cross_val_predict(make_pipeline(), X, Y, cv=2, method="predict_proba")


# Auxiliary targets of the estimators for arrays.

AUX = Targets({"kind": KIND, "holes": np.where(np.arange(N) % 4 == 0, np.nan, X[:, 2])})
AUX_SETTINGS = {**SETTINGS, "missing_targets": "ignore"}


@pytest.mark.parametrize(
    ("net", "y"),
    [
        (MultiOutputNetRegressor(**AUX_SETTINGS), MAIN),
        (MultiOutputNetClassifier(**AUX_SETTINGS), KIND),
    ],
    ids=["regressor", "classifier"],
)
def test_auxiliary_targets_are_split_with_the_rows(net, y):
    aux, folds = Targets({"other": AUX["holes"]}), KFold(3)
    found = cross_val_score(net, X, y, cv=folds, params={"aux": aux})
    by_hand = [clone(net).fit(X[a], y[a], aux=aux[a]).score(X[b], y[b]) for a, b in folds.split(X)]
    assert found.tolist() == by_hand


def test_plain_dict_as_aux_is_refused_with_the_cure():
    net = MultiOutputNetRegressor(**AUX_SETTINGS)
    with pytest.raises(ValueError, match=r"does not split a plain dict, so pass aux=Targets"):
        cross_val_score(net, X, MAIN, params={"aux": dict(AUX.items())}, error_score="raise")


def test_grid_search_over_the_weight_of_an_auxiliary_target():
    net = MultiOutputNetRegressor(**AUX_SETTINGS)
    grid = {"loss_weights__kind": [0.0, 0.1, 1.0]}
    one, two = (
        GridSearchCV(net, grid, cv=3, n_jobs=n_jobs, scoring="neg_mean_absolute_error").fit(
            X, MAIN, aux=AUX
        )
        for n_jobs in (1, 2)
    )
    for name, values in scores_of(one).items():
        np.testing.assert_array_equal(values, scores_of(two)[name], err_msg=name)
    assert len(set(one.cv_results_["mean_test_score"])) == 3
    assert one.predict(X).shape == (N,)


def test_pipeline_hands_auxiliary_targets_on():
    steps = [("scale", StandardScaler()), ("net", MultiOutputNetClassifier(**AUX_SETTINGS))]
    aux = AUX[["holes"]]
    pipeline = Pipeline(steps).fit(X, KIND, net__aux=aux)
    rows = StandardScaler().fit_transform(X)
    alone = MultiOutputNetClassifier(**AUX_SETTINGS).fit(rows, KIND, aux=aux)
    np.testing.assert_array_equal(pipeline.predict_proba(X), alone.predict_proba(rows))
    scores = cross_val_score(
        Pipeline(steps), X, KIND, cv=2, params={"net__aux": aux}, error_score="raise"
    )
    assert np.isfinite(scores).all()


def test_probabilities_are_cross_validated_with_auxiliary_targets():
    net = MultiOutputNetClassifier(**AUX_SETTINGS)
    params = {"aux": AUX[["holes"]]}
    predicted = cross_val_predict(net, X, KIND, cv=3, method="predict_proba", params=params)
    assert predicted.shape == (N, 2)
    np.testing.assert_allclose(predicted.sum(axis=1), 1.0, rtol=1e-12)
