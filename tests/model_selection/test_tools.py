"""The functions for plain dicts do what scikit-learn's own do for Targets."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import model_selection as sk
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
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
