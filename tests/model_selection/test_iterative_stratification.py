"""Folds that are alike in all targets."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score

from mtlearn import MultiOutputNet, Targets
from mtlearn.model_selection import IterativeStratification


def split(y, n_splits=3, **params):
    return list(IterativeStratification(n_splits, **params).split(None, y))


def counts(labels, folds):
    """Return how many rows of each fold have each label."""
    return np.array([labels[test].sum(axis=0) for _, test in folds])


def away(labels, folds):
    """Return how far the worst label of each fold is from its share."""
    return np.abs(counts(labels, folds) - labels.sum(axis=0) / len(folds)).max(axis=1)


def mixed_targets(seed, n=80):
    """Return targets of all kinds, and an indicator of all their labels."""
    rng = np.random.default_rng(seed)
    kind, flag = rng.integers(0, 3, n), rng.random(n) < 0.3
    tags, price = (rng.random((n, 3)) < 0.2).astype(int), rng.normal(size=n)
    quarter = np.digitize(price, np.quantile(price, [0.25, 0.5, 0.75]))
    labels = [kind == code for code in range(3)] + [flag, ~flag]
    labels += [*tags.T.astype(bool), *(quarter == code for code in range(4))]
    y = Targets({"kind": kind, "flag": flag, "tags": tags, "price": price})
    return y, np.column_stack(labels)


@pytest.mark.parametrize("n_splits", [2, 5, 7])
@pytest.mark.parametrize("seed", range(4))
def test_folds_are_a_partition_of_the_rows_without_an_empty_one(seed, n_splits):
    y, _ = mixed_targets(seed, n=20 + seed)
    folds = split(y, n_splits, random_state=seed)
    assert len(folds) == n_splits == IterativeStratification(n_splits).get_n_splits(None, y)
    rows = np.concatenate([test for _, test in folds])
    assert sorted(rows) == list(range(20 + seed))
    for train, test in folds:
        assert len(test)
        assert sorted([*train, *test]) == list(range(20 + seed))


@pytest.mark.parametrize("seed", range(20))
def test_independent_labels_are_within_one_of_their_share(seed):
    rng = np.random.default_rng(seed)
    tags = (rng.random((int(rng.integers(60, 200)), 6)) < 0.15).astype(int)
    folds = split({"tags": tags}, int(rng.integers(2, 6)), random_state=seed)
    assert away(tags, folds).max() <= 1.0


@pytest.mark.parametrize("n_splits", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_one_target_is_stratified_exactly(seed, n_splits):
    kind = np.random.default_rng(seed).permutation(["a"] * 6 + ["b"] * 17 + ["c"] * 27)
    folds = split({"kind": kind}, n_splits, random_state=seed)
    labels = kind[:, None] == np.unique(kind)
    expected = counts(labels, StratifiedKFold(n_splits).split(kind, kind))
    np.testing.assert_array_equal(np.sort(counts(labels, folds), axis=0), np.sort(expected, axis=0))


def test_mixed_targets_are_balanced_better_than_by_chance():
    found, by_chance = [], []
    for seed in range(10):
        y, labels = mixed_targets(seed)
        shuffled = list(KFold(4, shuffle=True, random_state=seed).split(labels))
        found.append(away(labels, split(y, 4, random_state=seed)).mean())
        by_chance.append(away(labels, shuffled).mean())
    assert all(np.less(found, by_chance))
    assert np.mean(found) < 0.7 * np.mean(by_chance)


@pytest.mark.parametrize("seed", range(6))
def test_the_rarest_label_is_dealt_out_first(seed):
    rng = np.random.default_rng(seed)
    tags = (rng.random((60, 3)) < [0.9, 0.8, 0.1]).astype(int)
    tags[:4, 2], tags[4:, 2] = 1, tags[4:, 2]
    folds = split({"tags": tags}, 3, random_state=seed)
    assert np.ptp(counts(tags, folds)[:, 2]) <= 1


def test_a_label_rarer_than_the_folds_is_in_different_folds():
    rare = np.zeros((30, 1), dtype=int)
    rare[[3, 4, 5]] = 1
    for seed in range(5):
        found = counts(rare, split({"rare": rare}, 5, random_state=seed))[:, 0]
        assert sorted(found) == [0, 0, 1, 1, 1]


# Algorithm 1 of Sechidis et al. by hand: 6 rows, 2 folds, the labels p and q,
#
#     row   0  1  2  3  4  5
#     p     1  1  0  0  0  0
#     q     1  0  1  1  0  0
#
# Each fold wants 1 of p, 1.5 of q and 3 rows. p is the rarest, and rows 0 and 1 go to different
# folds: the first to a fold by chance, the second to that which still wants 1 of p. Say row 0 is
# in fold A, which wants 0.5 of q then, and row 1 in fold B, which wants 1.5. Of rows 2 and 3, with
# q, the first goes to B, so that both want 0.5 of q; of rows A wants 2 then and B wants 1, and the
# second goes to A. Rows 4 and 5 have no label: A and B want 1 row each, so that each gets one.


@pytest.mark.parametrize("seed", range(12))
def test_a_hand_worked_example(seed):
    tags = np.array([[1, 1], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0]])
    tests = [set(test) for _, test in split({"tags": tags}, 2, random_state=seed)]
    (with_both,) = [test for test in tests if 0 in test]
    assert len(with_both & {1}) == 0
    assert len(with_both & {2, 3}) == 1
    assert len(with_both & {4, 5}) == 1


# Ties that the rows decide: 7 rows, 2 folds. r is the rarest, in row 0 alone, with p; p is in
# rows 0, 1 and 2. Each fold wants 0.5 of r, 1.5 of p and 3.5 rows. Row 0 goes to A by chance, which
# wants 0.5 of p then; rows 1 and 2 go to B (it wants 1.5), then to A (both want 0.5 of p, but A and
# B want 2.5 rows each, so chance decides). What is certain: B gets one of them at least.


def test_the_choices_that_are_left_to_chance_are_made_by_random_state():
    tags = np.array([[1, 1], [0, 1], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0]])
    sizes = set()
    for seed in range(30):
        tests = [set(test) for _, test in split({"tags": tags}, 2, random_state=seed)]
        (first,) = [test for test in tests if 0 in test]
        sizes.add(len(first & {1, 2}))
        assert {len(test) for test in tests} == {3, 4}
    assert sizes == {0, 1}


@pytest.mark.parametrize("n_quantiles", [1, 2, 5])
def test_numbers_are_divided_into_quantiles(n_quantiles):
    price = np.random.default_rng(0).lognormal(size=120)
    folds = split({"price": price}, 4, n_quantiles=n_quantiles, random_state=0)
    part = np.argsort(np.argsort(price)) * n_quantiles // 120
    labels = part[:, None] == np.arange(n_quantiles)
    np.testing.assert_array_equal(
        counts(labels, folds), np.full((4, n_quantiles), 30 // n_quantiles)
    )


def test_every_column_of_numbers_is_divided():
    pair = np.random.default_rng(0).normal(size=(80, 2)) * [1.0, 1e6]
    halves = np.column_stack([pair > np.median(pair, axis=0), pair <= np.median(pair, axis=0)])
    folds = split({"pair": pair}, 4, n_quantiles=2, random_state=0)
    assert away(halves, folds).max() <= 1.0


@pytest.mark.parametrize("dtype", [float, object])
def test_missing_labels_count_for_nothing(dtype):
    kind = np.tile(np.array([0, 1], dtype=dtype), 30)
    kind[::5] = np.nan if dtype is float else None
    observed = np.array([label in (0, 1) for label in kind])
    labels = np.column_stack([kind == 0, kind == 1])
    folds = split({"kind": kind}, 4, random_state=0)
    assert labels.sum() == observed.sum() == 48
    np.testing.assert_array_equal(counts(labels, folds), np.full((4, 2), 6))
    assert {len(test) for _, test in folds} == {15}


def test_missing_strings_and_indicators_count_for_nothing():
    kind = np.array(["a", None, "b", "a"] * 6, dtype=object)
    tags = np.tile([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]], (8, 1))
    labels = np.column_stack([kind == "a", kind == "b", tags == 1])
    folds = split({"kind": kind, "tags": tags}, 2, random_state=0)
    assert away(labels, folds).max() <= 1.0


@pytest.mark.parametrize(
    "nothing",
    [np.full(12, np.nan), np.array([None] * 12), np.full((12, 2), np.nan)],
    ids=["floats", "objects", "columns"],
)
def test_a_target_without_any_label_counts_for_nothing(nothing):
    kind = np.tile(["a", "b"], 6)
    folds = split({"nothing": nothing, "kind": kind}, 3, random_state=0)
    expected = split({"kind": kind}, 3, random_state=0)
    for (_, test), (_, test_expected) in zip(folds, expected, strict=True):
        np.testing.assert_array_equal(test, test_expected)
    assert [len(test) for _, test in split({"nothing": nothing}, 3)] == [4, 4, 4]


@pytest.mark.parametrize("as_y", [dict, Targets, pd.DataFrame])
def test_any_container_gives_the_same_folds(as_y):
    columns = {"kind": np.tile(["a", "b", "c"], 10), "price": np.arange(30.0)}
    for found, expected in zip(
        split(as_y(columns), random_state=0), split(Targets(columns), random_state=0), strict=True
    ):
        np.testing.assert_array_equal(found[1], expected[1])


def test_an_array_is_one_target():
    kind = np.tile(["a", "b"], 9)
    assert counts(kind[:, None] == ["a", "b"], split(kind, 3)).tolist() == [[3, 3]] * 3


def test_random_state_decides():
    y, _ = mixed_targets(0)
    one, two, other = (split(y, random_state=seed) for seed in (0, 0, 1))
    tests = [[test.tolist() for _, test in folds] for folds in (one, two, other)]
    assert tests[0] == tests[1] != tests[2]


def test_it_is_the_cv_of_scikit_learns_tools():
    y, _ = mixed_targets(0)
    X = np.random.default_rng(1).normal(size=(80, 2))
    net = MultiOutputNet(max_epochs=1, random_state=0)
    folds = IterativeStratification(3, random_state=0)
    rows = list(folds.split(X, y))
    found = cross_val_score(net, X, y, cv=folds, error_score="raise")
    assert found.tolist() == cross_val_score(net, X, y, cv=rows).tolist()
    search = GridSearchCV(net, {"alpha": [0.1]}, cv=folds, error_score="raise").fit(X, y)
    assert search.n_splits_ == 3


def test_clone_and_repr():
    splitter = IterativeStratification(3, n_quantiles=2, random_state=0)
    text = "IterativeStratification(n_quantiles=2, n_splits=3, random_state=0)"
    assert eval(repr(clone(splitter))).get_params() == splitter.get_params()
    assert sorted(repr(splitter)) == sorted(text)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_splits": 1}, "'n_splits' parameter of IterativeStratification must be an int"),
        ({"n_splits": 2.5}, "'n_splits' parameter of IterativeStratification must be an int"),
        ({"n_quantiles": 0}, "'n_quantiles' parameter of IterativeStratification must be an int"),
        ({"random_state": "no"}, "'random_state' parameter of IterativeStratification"),
        ({"n_splits": 7}, "`n_splits` must not exceed the number of rows, 6. Got 7"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        split({"kind": ["a", "b"] * 3}, **params)
