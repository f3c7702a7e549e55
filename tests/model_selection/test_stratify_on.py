"""A splitter of scikit-learn that sees one target splits as it does on the labels alone."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    RepeatedStratifiedKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)

from mtlearn import MultiOutputNet, Targets
from mtlearn.model_selection import StratifyOn

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
KIND = RNG.choice(["a", "b", "c"], size=N, p=[0.2, 0.3, 0.5])
GROUPS = np.arange(N) % 12
Y = Targets({"price": X[:, 0], "kind": KIND, "flag": X[:, 1] > 0})
NET = MultiOutputNet(max_epochs=2, random_state=0)

SPLITTERS = [
    StratifiedKFold(4),
    StratifiedKFold(3, shuffle=True, random_state=1),
    RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0),
    StratifiedShuffleSplit(3, test_size=0.3, random_state=0),
    StratifiedGroupKFold(3, shuffle=True, random_state=0),
]


def assert_same_splits(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for (train, test), (train_expected, test_expected) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(train, train_expected)
        np.testing.assert_array_equal(test, test_expected)


@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
@pytest.mark.parametrize("target", ["kind", "flag"])
@pytest.mark.parametrize(
    "as_y", [Targets, dict, Targets.to_frame], ids=["Targets", "dict", "frame"]
)
def test_it_splits_as_the_splitter_does_on_the_labels(splitter, target, as_y):
    groups = GROUPS if isinstance(splitter, StratifiedGroupKFold) else None
    found = StratifyOn(target, splitter).split(X, as_y(Y), groups)
    assert_same_splits(found, splitter.split(X, Y[target], groups))
    counted = StratifyOn(target, splitter).get_n_splits(X, as_y(Y), groups)
    assert counted == len(list(splitter.split(X, Y[target], groups)))
    assert StratifyOn(target, splitter).get_n_splits() == counted


@pytest.mark.parametrize("dtype", [float, object])
def test_missing_labels_are_a_stratum_of_their_own(dtype):
    labels = np.repeat([0.0, 1.0], 30).astype(dtype)
    labels[::3] = np.nan if dtype is float else None
    known = [str(label) for label in labels]
    splitter = StratifiedKFold(5)
    folds = list(StratifyOn("a", splitter).split(X, Targets({"a": labels})))
    for _, test in folds:
        kinds, counts = np.unique(np.array(known)[test], return_counts=True)
        assert len(kinds) == 3
        assert counts.tolist() == [4, 4, 4]


def test_missing_strings_are_a_stratum_of_their_own():
    labels = KIND.astype(object)
    labels[::4] = None
    found = StratifyOn("kind", StratifiedKFold(3)).split(X, {"kind": labels})
    for _, test in found:
        assert sum(label is None for label in labels[test]) == 5


def test_groups_reach_the_splitter():
    for train, test in StratifyOn("kind", StratifiedGroupKFold(3)).split(X, Y, GROUPS):
        assert not set(GROUPS[train]) & set(GROUPS[test])


def test_it_is_the_cv_of_scikit_learns_tools():
    folds = StratifyOn("kind", StratifiedKFold(3))
    rows = list(StratifiedKFold(3).split(X, KIND))
    found = cross_val_score(NET, X, Y, cv=folds, error_score="raise")
    assert found.tolist() == cross_val_score(NET, X, Y, cv=rows).tolist()
    search = GridSearchCV(NET, {"alpha": [0.0, 1.0]}, cv=folds, error_score="raise").fit(X, Y)
    expected = GridSearchCV(NET, {"alpha": [0.0, 1.0]}, cv=rows).fit(X, Y)
    assert search.n_splits_ == 3
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_groups_are_passed_on_by_scikit_learns_tools():
    folds = StratifyOn("kind", StratifiedGroupKFold(3))
    rows = list(StratifiedGroupKFold(3).split(X, KIND, GROUPS))
    found = cross_val_score(NET, X, Y, cv=folds, groups=GROUPS, error_score="raise")
    assert found.tolist() == cross_val_score(NET, X, Y, cv=rows).tolist()


def test_groups_are_routed():
    folds = StratifyOn("kind", StratifiedGroupKFold(3))
    rows = list(StratifiedGroupKFold(3).split(X, KIND, GROUPS))
    expected = GridSearchCV(NET, {"alpha": [0.0]}, cv=rows).fit(X, Y)
    with sklearn.config_context(enable_metadata_routing=True):
        net = clone(NET).set_fit_request(groups=False)
        search = GridSearchCV(net, {"alpha": [0.0]}, cv=folds, error_score="raise")
        search.fit(X, Y, groups=GROUPS)
    assert search.best_score_ == expected.best_score_


def test_clone_and_repr():
    splitter = StratifyOn("kind", StratifiedKFold(3, shuffle=True, random_state=0))
    twin = clone(splitter)
    assert twin is not splitter
    assert_same_splits(twin.split(X, Y), splitter.split(X, Y))
    assert repr(twin) == repr(splitter)
    assert "target='kind'" in repr(splitter)
    assert "StratifiedKFold(n_splits=3" in repr(splitter)
    twin.set_params(target="flag")
    assert_same_splits(twin.split(X, Y), splitter.splitter.split(X, Y["flag"]))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y, r"`target` names the unknown target 'knd'.*did you mean 'kind'"),
        (pd.DataFrame({"kind": KIND}), r"unknown target 'knd'; the targets are \['kind'\]"),
        (KIND, r"unknown target 'knd'; the targets are \['y'\]"),
    ],
    ids=["Targets", "frame", "array"],
)
def test_an_unknown_target_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        next(StratifyOn("knd", StratifiedKFold(3)).split(X, y))


def test_an_array_is_the_target_y():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(StratifyOn("y", StratifiedKFold(3)).split(X, KIND))
    assert_same_splits(found, StratifiedKFold(3).split(X, KIND))
