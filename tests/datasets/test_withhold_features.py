"""Features that come and go."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from mtlearn.datasets import withhold_features

X = np.random.default_rng(0).normal(size=(1000, 12))
Y = np.where(X[:, 0] + X[:, 1] > 0, "up", "down")
PATTERNS = ["variable", "trapezoidal", "sudden", "obsolete", "informative"]


def available(pattern="variable", **params):
    return ~np.isnan(withhold_features(X, pattern, random_state=0, **params))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_values_are_kept_or_nan_in_a_copy(pattern):
    before = X.copy()
    found = withhold_features(X, pattern, y=Y, random_state=0)
    assert np.array_equal(X, before)
    there = ~np.isnan(found)
    assert np.array_equal(found[there], X[there])
    assert 0 < there.mean() < 1
    assert np.array_equal(found, withhold_features(X, pattern, y=Y, random_state=0), equal_nan=True)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_first_features_are_always_there(pattern):
    there = available(pattern, n_always=5, y=Y)
    assert there[:, :5].all()
    assert not there[:, 5:].all(axis=0).all()


@pytest.mark.parametrize("pattern", ["variable", "sudden", "obsolete", "informative"])
def test_another_seed_draws_another_stream(pattern):
    first, second = (
        np.isnan(withhold_features(X, pattern, y=Y, random_state=seed)) for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.75, 1.0])
def test_variable_features_are_there_with_the_probability(p):
    there = available(p=p)
    np.testing.assert_allclose(there.mean(axis=0), p, atol=4 * np.sqrt(p * (1 - p) / len(X)))
    if 0 < p < 1:  # rows and features by themselves
        correlations = np.corrcoef(there.T.astype(float)) - np.eye(X.shape[1])
        assert np.abs(correlations).max() < 0.15
        assert abs(np.corrcoef(there[1:].ravel(), there[:-1].ravel())[0, 1]) < 0.05


def test_a_trapezoid_grows_by_a_part_of_the_columns_in_each_chunk():
    there = ~np.isnan(withhold_features(np.ones((20, 10)), "trapezoidal", n_chunks=5))
    counts = there.sum(axis=1)
    assert counts.tolist() == np.repeat([2, 4, 6, 8, 10], 4).tolist()
    assert all(row[:count].all() for row, count in zip(there, counts, strict=True))


def test_a_trapezoid_of_few_features_or_rows_has_one_at_least():
    there = ~np.isnan(withhold_features(np.ones((7, 3)), "trapezoidal"))
    assert there.sum(axis=1).tolist() == [1, 1, 1, 2, 2, 3, 3]


def test_sudden_features_come_in_sets_and_stay():
    there = available("sudden", n_chunks=4)
    assert (there[1:] >= there[:-1]).all()
    assert there[-1].all()
    first_rows = there.argmax(axis=0)
    assert first_rows.min() == 0
    rows, counts = np.unique(first_rows, return_counts=True)
    assert len(rows) == 4
    assert counts.tolist() == [3, 3, 3, 3]


def test_obsolete_features_vanish_pause_or_come():
    there = available("obsolete")
    changes = np.diff(there.astype(int), axis=0)
    kinds = sorted(tuple(column[column != 0].tolist()) for column in changes.T)
    assert kinds == sorted([(-1,)] * 4 + [(-1, 1)] * 4 + [(1,)] * 4)


def test_absence_tells_of_the_label_what_a_mask_is_needed_to_see():
    features = np.random.default_rng(1).normal(size=(2000, 24))
    labels = np.random.default_rng(2).integers(2, size=2000)
    found = withhold_features(features, "informative", y=labels, random_state=0)
    filled, mask = np.nan_to_num(found), np.isnan(found)
    model = LogisticRegression()
    assert cross_val_score(model, filled, labels).mean() < 0.55
    assert cross_val_score(model, np.hstack([filled, mask]), labels).mean() > 0.75


def test_informative_chances_of_each_class_are_within_the_bounds():
    features, labels = np.ones((60_000, 8)), np.repeat(["a", "b", "c"], 20_000)
    there = ~np.isnan(withhold_features(features, "informative", p=0.8, y=labels, random_state=0))
    chances = there.reshape(3, 20_000, 8).mean(axis=1)
    assert chances.min() > 0.7 - 0.02
    assert chances.max() < 0.9 + 0.02
    assert np.ptp(chances, axis=0).mean() > 0.04


def test_absence_may_depend_on_the_size_of_a_number_or_of_the_value_itself():
    features = np.random.default_rng(0).normal(size=(20_000, 6))
    for labels in (features[:, 0], None):
        found = withhold_features(features, "informative", y=labels, random_state=3)
        by = features if labels is None else np.repeat(labels[:, None], 6, axis=1)
        there = ~np.isnan(found)
        low, high = by < np.quantile(by, 0.1, axis=0), by > np.quantile(by, 0.9, axis=0)
        jumps = [there[high[:, j], j].mean() - there[low[:, j], j].mean() for j in range(6)]
        assert max(np.abs(jumps)) > 0.15
        assert there.mean() == pytest.approx(0.5, abs=0.1)


def test_of_a_missing_label_nothing_is_told():
    labels = np.array(["a", "b", None] * 10_000, dtype=object)
    found = withhold_features(np.ones((30_000, 10)), "informative", y=labels, random_state=0)
    there = ~np.isnan(found)
    np.testing.assert_allclose(there[2::3].mean(axis=0), 0.5, atol=0.02)
    assert np.abs(there[::3].mean(axis=0) - 0.5).max() > 0.1


def test_missing_values_stay_and_floats_keep_their_type():
    values = X.astype(np.float32)
    values[3, 4] = np.nan
    found = withhold_features(values, p=1.0)
    assert found.dtype == np.float32
    assert np.array_equal(found, values, equal_nan=True)
    assert withhold_features(np.ones((3, 2), dtype=int)).dtype == np.float64
    assert withhold_features(X.tolist(), p=1.0).shape == X.shape


def test_a_frame_comes_back_with_its_names_and_rows():
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"], index=np.arange(1000) + 5)
    array = withhold_features(X[:, :2], random_state=0)
    found = withhold_features(frame, random_state=0)
    pd.testing.assert_frame_equal(
        found, pd.DataFrame(array, columns=frame.columns, index=frame.index)
    )
    polars = withhold_features(pl.DataFrame(X[:, :2], schema=["a", "b"]), random_state=0)
    assert polars.columns == ["a", "b"]
    assert np.array_equal(polars.to_numpy(), array, equal_nan=True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pattern": "varable"}, r"`pattern` must be one of .* 'varable' \(did you mean 'vari"),
        ({"p": 1.5}, r"`p` must be a probability, from 0 to 1. Got 1.5"),
        ({"p": np.nan}, r"`p` must be a probability, from 0 to 1. Got nan"),
        ({"n_always": 13}, r"`n_always` must be an integer from 0 to .*, 12. Got 13"),
        ({"n_always": 1.0}, r"`n_always` must be an integer .* Got 1.0"),
        ({"n_chunks": 0}, r"`n_chunks` must be an integer of at least 1. Got 0"),
        ({"y": [1, 2]}, r"`y` must have a label for each of 1000 rows, .* \(2,\)"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=f"^withhold_features: {message}"):
        withhold_features(X, **params)


def test_what_is_no_table_of_numbers_is_refused():
    with pytest.raises(ValueError, match=r"^withhold_features: .* Got the shape \(3,\)"):
        withhold_features([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match=r"^withhold_features: `X` must hold numbers"):
        withhold_features([["a", "b"]])
