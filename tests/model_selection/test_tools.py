"""The functions for plain dicts do what scikit-learn's own do for Targets."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import model_selection as sk
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn import model_selection as ours
from mtlearn.heads import Classification

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
DATA = {
    "price": X[:, 0] + X[:, 1],
    "kind": np.where(X[:, 1] > 0, "flat", "house"),
    "tags": (X[:, :2] > 0).astype(int),
}
Y = Targets(DATA)
WEIGHT = {"price": np.linspace(0.1, 2.0, N)}
NET = MultiOutputNet(max_epochs=3, random_state=0)
FOLDS = sk.KFold(3, shuffle=True, random_state=0)


def numbers_of(results):
    return {name: values for name, values in results.items() if not name.endswith("_time")}


def test_train_test_split_splits_dicts_as_targets():
    options = {"test_size": 0.3, "random_state": 1, "stratify": DATA["kind"]}
    found = ours.train_test_split(X, DATA, WEIGHT, **options)
    expected = sk.train_test_split(X, Y, Targets(WEIGHT), **options)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert all(type(part) is Targets for part in found[2:])
    assert found[2:] == expected[2:]


def test_train_test_split_leaves_arrays_and_frames_what_they_are():
    frame, some = pd.DataFrame(X), list(range(N))
    found = ours.train_test_split(frame, some, random_state=0)
    expected = sk.train_test_split(frame, some, random_state=0)
    pd.testing.assert_frame_equal(found[0], expected[0])
    assert found[2:] == expected[2:]


@pytest.mark.parametrize("params", [None, {"sample_weight": WEIGHT}], ids=["plain", "weighted"])
def test_cross_validate_gives_the_numbers_of_scikit_learn(params):
    options = {
        "cv": FOLDS,
        "scoring": ours.output_scoring(r2=("price", "r2"), acc=("kind", "accuracy")),
        "return_train_score": True,
        "error_score": "raise",
    }
    given = params and {name: Targets(value) for name, value in params.items()}
    found = ours.cross_validate(NET, X, DATA, params=params, **options)
    expected = sk.cross_validate(NET, X, Y, params=given, **options)
    assert found.keys() == expected.keys()
    for name, values in numbers_of(expected).items():
        np.testing.assert_array_equal(found[name], values)


def test_cross_val_score_gives_the_numbers_of_a_loop():
    found = ours.cross_val_score(NET, X, DATA, cv=FOLDS, params={"sample_weight": WEIGHT})
    expected = []
    for a, b in FOLDS.split(X):
        net = clone(NET).fit(X[a], Y[a], {"price": WEIGHT["price"][a]})
        expected.append(net.score(X[b], Y[b]))
    assert found.tolist() == expected


def test_auxiliary_targets_and_weights_may_be_dicts():
    net = MultiOutputNetRegressor(max_epochs=3, random_state=0)
    aux, weight = {"kind": DATA["kind"]}, {"y": WEIGHT["price"]}
    params = {"aux": aux, "sample_weight": weight}
    found = ours.cross_val_score(net, X, DATA["price"], cv=FOLDS, params=params)
    as_targets = {"aux": Targets(aux), "sample_weight": Targets(weight)}
    expected = sk.cross_val_score(net, X, DATA["price"], cv=FOLDS, params=as_targets)
    assert np.isfinite(found).all()
    assert found.tolist() == expected.tolist()
    predicted = ours.cross_val_predict(net, X, DATA["price"], cv=FOLDS, params=params)
    np.testing.assert_array_equal(
        predicted, sk.cross_val_predict(net, X, DATA["price"], cv=FOLDS, params=as_targets)
    )


def test_learning_curve_gives_the_numbers_of_scikit_learn():
    options = {"cv": FOLDS, "train_sizes": [10, 40], "error_score": "raise"}
    found = ours.learning_curve(NET, X, DATA, params={"sample_weight": WEIGHT}, **options)
    given = {"sample_weight": Targets(WEIGHT)}
    expected = sk.learning_curve(NET, X, Y, params=given, **options)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_predictions_are_those_of_scikit_learn():
    found = ours.cross_val_predict(NET, X, DATA, cv=FOLDS)
    assert type(found) is Targets
    assert found == sk.cross_val_predict(NET, X, Y, cv=FOLDS)


def probabilities_by_hand(net, X, y, folds, groups=None, weight=None):
    """Return each output's probabilities in the columns of all classes, by a loop over rows."""
    seen, answers = {}, {}
    for a, b in folds.split(X, groups=groups):
        given = None if weight is None else {name: w[a] for name, w in weight.items()}
        fitted = clone(net).fit(X[a], y[a], given)
        for name, values in fitted.predict_proba(X[b]).items():
            classes = list(fitted.classes_[name])
            seen.setdefault(name, set()).update(classes)
            for row, row_values in zip(b, values, strict=True):
                answers[name, row] = dict(zip(classes, row_values, strict=True))
    return {
        name: np.array(
            [
                [answers[name, row].get(label, 0.0) for label in sorted(labels)]
                for row in range(len(X))
            ]
        )
        for name, labels in seen.items()
    }


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_probabilities_are_those_of_a_loop(n_jobs):
    found = ours.cross_val_predict(NET, X, DATA, cv=FOLDS, method="predict_proba", n_jobs=n_jobs)
    expected = probabilities_by_hand(NET, X, Y, FOLDS)
    assert type(found) is Targets
    assert list(found) == ["kind", "tags"]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_probabilities_of_a_class_that_a_fold_lacks_are_zero():
    kind = np.array(["b", "c"] * 30, dtype=object)
    kind[:20], kind[20:25] = "a", "d"
    y = Targets({"kind": kind, "price": X[:, 0]})
    folds = sk.KFold(3)
    found = ours.cross_val_predict(NET, X, y, cv=folds, method="predict_proba")["kind"]
    np.testing.assert_array_equal(found, probabilities_by_hand(NET, X, y, folds)["kind"])
    assert found.shape == (N, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found[:20, 0] == 0).all()
    assert (found[20:40, 3] == 0).all()
    assert (found[40:] > 0).all()


def test_declared_classes_keep_their_columns():
    net = clone(NET).set_params(heads={"kind": Classification(classes=["house", "flat", "tent"])})
    found = ours.cross_val_predict(net, X, DATA, cv=FOLDS, method="predict_proba")["kind"]
    fitted = clone(net).fit(X, Y)
    for a, b in FOLDS.split(X):
        alone = clone(net).fit(X[a], Y[a])
        np.testing.assert_array_equal(alone.classes_["kind"], fitted.classes_["kind"])
        np.testing.assert_array_equal(found[b], alone.predict_proba(X[b])["kind"])


def test_probabilities_go_through_pipelines_frames_groups_and_weights():
    pipeline = Pipeline([("scale", StandardScaler()), ("net", NET)])
    frame, groups = pd.DataFrame(X, columns=list("abc")), np.arange(N) % 6
    found = ours.cross_val_predict(
        pipeline,
        frame,
        DATA,
        cv=sk.GroupKFold(3),
        groups=groups,
        method="predict_proba",
        params={"net__sample_weight": WEIGHT},
    )
    for a, b in sk.GroupKFold(3).split(X, groups=groups):
        weight = {"price": WEIGHT["price"][a]}
        alone = clone(pipeline).fit(frame.iloc[a], Y[a], net__sample_weight=weight)
        assert found[b] == alone.predict_proba(frame.iloc[b])


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_groups_and_weights_are_routed(method):
    groups, folds = np.arange(N) % 6, sk.GroupKFold(3)
    with sklearn.config_context(enable_metadata_routing=True):
        net = clone(NET).set_fit_request(sample_weight=True, groups=False)
        params = {"groups": groups, "sample_weight": WEIGHT}
        found = ours.cross_val_predict(net, X, DATA, cv=folds, method=method, params=params)
    for a, b in folds.split(X, groups=groups):
        alone = clone(NET).fit(X[a], Y[a], {"price": WEIGHT["price"][a]})
        assert found[b] == getattr(alone, method)(X[b])


COLUMNS = np.column_stack([DATA["kind"], np.where(X[:, 0] > 0, "new", "old")])
CLASSIFIER = MultiOutputNetClassifier(max_epochs=3, random_state=0)


def columns_by_hand(net, y, folds, **params):
    """Return each column's probabilities in the columns of all classes, by a loop over rows."""
    found = [
        np.zeros((N, len(np.unique(np.asarray(y)[:, j])))) for j in range(np.asarray(y).shape[1])
    ]
    for a, b in folds.split(X):
        given = {name: values[a] for name, values in params.items()}
        fitted = clone(net).fit(X[a], np.asarray(y)[a], **given)
        for j, (part, classes) in enumerate(
            zip(fitted.predict_proba(X[b]), fitted.classes_, strict=True)
        ):
            every = np.unique(np.asarray(y)[:, j]).tolist()
            for label, chances in zip(classes.tolist(), part.T, strict=True):
                found[j][b, every.index(label)] = chances
    return found


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y,
        lambda y: y.tolist(),
        lambda y: y.astype(object),
        lambda y: pd.DataFrame(y, columns=["kind", "age"]),
        lambda y: np.unique(y, return_inverse=True)[1].reshape(y.shape),
    ],
    ids=["strings", "lists", "objects", "frame", "integers"],
)
def test_probabilities_of_a_matrix_of_two_classes_per_column_are_a_list(form):
    y = form(COLUMNS)
    found = ours.cross_val_predict(CLASSIFIER, X, y, cv=FOLDS, method="predict_proba")
    expected = columns_by_hand(CLASSIFIER, y, FOLDS)
    assert [part.shape for part in found] == [(N, 2), (N, 2)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_probabilities_of_a_matrix_go_through_pipelines_searches_and_fit_parameters():
    pipeline = Pipeline([("scale", StandardScaler()), ("net", CLASSIFIER)])
    search = sk.GridSearchCV(pipeline, {"net__alpha": [0.1]}, cv=2)
    aux, weight = {"price": DATA["price"]}, WEIGHT["price"]
    params = {"net__aux": aux, "net__sample_weight": weight}
    found = ours.cross_val_predict(
        search, X, COLUMNS, cv=FOLDS, method="predict_proba", params=params, n_jobs=2
    )
    best = clone(pipeline).set_params(net__alpha=0.1)
    params = {"net__aux": Targets(aux), "net__sample_weight": weight}
    for one, other in zip(found, columns_by_hand(best, COLUMNS, FOLDS, **params), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_class_of_a_column_that_a_fold_lacks_has_probability_zero():
    y = COLUMNS.astype(object)
    y[:20, 0], y[20:25, 1] = "barn", "ruin"
    folds = sk.KFold(3)
    found = ours.cross_val_predict(CLASSIFIER, X, y, cv=folds, method="predict_proba")
    for one, other in zip(found, columns_by_hand(CLASSIFIER, y, folds), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [part.shape for part in found] == [(N, 3), (N, 3)]
    assert (found[0][:20, 0] == 0).all()
    assert (found[1][20:40, 2] == 0).all()
    np.testing.assert_allclose(found[0].sum(axis=1), 1.0, rtol=1e-6)


def test_a_matrix_of_one_column_of_classes_has_one_array_of_probabilities():
    with pytest.warns(match="column-vector y was passed"):
        found = ours.cross_val_predict(
            CLASSIFIER, X, COLUMNS[:, :1], cv=FOLDS, method="predict_proba"
        )
    for a, b in FOLDS.split(X):
        alone = clone(CLASSIFIER).fit(X[a], COLUMNS[a, 0])
        np.testing.assert_array_equal(found[b], alone.predict_proba(X[b]))


def test_matrices_of_classes_have_the_probabilities_of_scikit_learn_for_its_estimators():
    estimator = MultiOutputClassifier(LogisticRegression())
    found, expected = (
        module.cross_val_predict(estimator, X, COLUMNS, cv=FOLDS, method="predict_proba")
        for module in (ours, sk)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame])
def test_an_indicator_matrix_of_a_classifier_has_one_array_of_probabilities(form):
    tags = form(DATA["tags"])
    found, expected = (
        module.cross_val_predict(CLASSIFIER, X, tags, cv=FOLDS, method="predict_proba")
        for module in (ours, sk)
    )
    assert found.shape == (N, 2)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    "folds",
    [
        sk.ShuffleSplit(2, test_size=0.3, random_state=0),
        sk.TimeSeriesSplit(2),
        sk.RepeatedKFold(n_splits=2, n_repeats=2, random_state=0),
    ],
    ids=lambda folds: type(folds).__name__,
)
def test_splits_that_are_no_partition_are_refused(folds, method):
    message = "partition" if method == "predict" else r"must be a partition of the rows.*Got \d+"
    with pytest.raises(ValueError, match=message):
        ours.cross_val_predict(NET, X, DATA, cv=folds, method=method)


def test_a_fit_that_fails_in_a_fold_is_reported():
    net = clone(NET).set_params(loss_weights={"prise": 1.0})
    with pytest.raises(ValueError, match="unknown output 'prise'"):
        ours.cross_val_predict(net, X, DATA, cv=FOLDS, method="predict_proba")


def test_other_estimators_and_arrays_are_left_to_scikit_learn():
    estimator, y = LogisticRegression(), DATA["kind"]
    weight = {"sample_weight": WEIGHT["price"]}
    for name in ("cross_val_score", "cross_val_predict"):
        found, expected = (
            getattr(module, name)(estimator, X, y, cv=3, params=weight) for module in (ours, sk)
        )
        np.testing.assert_array_equal(found, expected)
    found, expected = (
        module.cross_val_predict(estimator, X, y, cv=3, method="predict_proba")
        for module in (ours, sk)
    )
    np.testing.assert_array_equal(found, expected)
    found, expected = (module.cross_validate(estimator, X, y, cv=3) for module in (ours, sk))
    np.testing.assert_array_equal(found["test_score"], expected["test_score"])
    for one, other in zip(
        ours.learning_curve(estimator, X, y, cv=3),
        sk.learning_curve(estimator, X, y, cv=3),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
