import numpy as np
import pytest

from mtlearn._running import RunningFeatures


def make(n_features, *, scale=True, most_imputed=250, forgetting=1.0):
    features = RunningFeatures(scale=scale, most_imputed=most_imputed, forgetting=forgetting)
    features.widen(n_features)
    return features


def some_rows(n_rows=200, n_features=4, share=0.7, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n_features, n_features))
    rows = 100 * np.arange(n_features) + rng.normal(size=(n_rows, n_features)) @ mixing
    rows[rng.random(rows.shape) > share] = np.nan
    return rows


@pytest.mark.parametrize("size", [1, 7, 200])
def test_means_and_variances_are_those_of_the_values_that_came(size):
    rows, features = some_rows(), make(4)
    for start in range(0, len(rows), size):
        features.learn(rows[start : start + size])
    np.testing.assert_allclose(features.mean, np.nanmean(rows, axis=0), rtol=1e-12)
    variance = features.squares / features.count
    np.testing.assert_allclose(variance, np.nanvar(rows, axis=0), rtol=1e-10)
    np.testing.assert_array_equal(features.count, np.isfinite(rows).sum(axis=0))


@pytest.mark.parametrize("size", [1, 7])
def test_with_forgetting_old_values_count_less(size):
    rows, features = some_rows(100), make(4, forgetting=0.9)
    for start in range(0, len(rows), size):
        features.learn(rows[start : start + size])
    for j in range(4):
        values = rows[np.isfinite(rows[:, j]), j]
        weights = 0.9 ** np.arange(len(values))[::-1]
        mean = np.average(values, weights=weights)
        assert features.mean[j] == pytest.approx(mean, rel=1e-10)
        variance = np.average((values - mean) ** 2, weights=weights)
        assert features.squares[j] / features.count[j] == pytest.approx(variance, rel=1e-8)


def test_a_row_is_scaled_as_if_it_came_next():
    rows = some_rows(share=1.0)
    features, mean = make(4, most_imputed=0), []
    for i, row in enumerate(rows):
        expected = np.zeros(4)
        if i:
            seen = rows[: i + 1]
            expected = np.clip((row - seen.mean(axis=0)) / seen.std(axis=0), -4, 4)
        before = features.transform(row[None])
        np.testing.assert_allclose(before[0], expected, atol=1e-9)
        np.testing.assert_allclose(features.learn(row[None]), before, atol=1e-12)
        mean.append(before)
    assert np.isfinite(mean).all()


def test_transform_learns_nothing():
    rows, features = some_rows(), make(4)
    features.learn(rows)
    kept = {name: np.copy(value) for name, value in vars(features).items()}
    given = rows.copy()
    features.transform(rows)
    np.testing.assert_array_equal(rows, given)
    for name, value in vars(features).items():
        np.testing.assert_array_equal(value, kept[name])


def test_of_complete_rows_the_covariance_is_that_of_the_stream():
    rng = np.random.default_rng(0)
    correlation = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, -0.5], [0.0, -0.5, 1.0]])
    rows = rng.multivariate_normal(np.zeros(3), correlation, 4000)
    features = make(3)
    for row in rows:
        features.learn(row[None])
    np.testing.assert_allclose(features.covariance, correlation, atol=0.05)


def test_absent_values_have_their_conditional_mean():
    rng = np.random.default_rng(0)
    correlation = np.array([[1.0, 0.9, 0.3], [0.9, 1.0, 0.4], [0.3, 0.4, 1.0]])
    rows = rng.multivariate_normal(np.zeros(3), correlation, 6000)
    absent = rng.random(rows.shape) < 0.4
    features = make(3)
    for row in np.where(absent, np.nan, rows):
        features.learn(row[None])
    np.testing.assert_allclose(features.covariance, correlation, atol=0.12)
    found = features.transform(np.array([[1.5, np.nan, -0.5]]))[0]
    known = [0, 2]
    s = features.covariance
    inner = s[np.ix_(known, known)] + 0.1 * np.eye(2)
    assert found[1] == pytest.approx(s[1, known] @ np.linalg.solve(inner, found[known]), rel=1e-9)
    assert found[1] > 0.8


def test_an_absent_value_takes_part_with_its_conditional_covariance():
    features = make(2, scale=False)
    features.covariance = np.array([[1.0, 0.6], [0.6, 1.0]])
    features.learn(np.array([[2.0, np.nan]]))
    gain, share = 0.6 / 1.1, 1 / 5
    z = np.array([2.0, gain * 2.0])
    rest = np.array([[0.0, 0.0], [0.0, 1.0 - gain * 0.6]])
    expected = (1 - share) * np.array([[1.0, 0.6], [0.6, 1.0]]) + share * (np.outer(z, z) + rest)
    np.testing.assert_allclose(features.covariance, expected, rtol=1e-12)


def test_the_covariance_stays_positive_definite():
    rows, features = some_rows(2000, 6, share=0.4), make(6)
    for row in rows:
        features.learn(row[None])
        assert np.linalg.eigvalsh(features.covariance).min() > 0


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_whatever_comes_the_numbers_are_finite_and_bounded(share):
    rng = np.random.default_rng(0)
    rows = rng.standard_cauchy((300, 5)) * 10.0 ** rng.integers(-20, 20, 5)
    rows[rng.random(rows.shape) > share] = np.nan
    rows[:, 0] = 3.0
    rows[:, 1] = np.nan
    features = make(5)
    for row in rows:
        found = features.learn(row[None])
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 4
        assert found[0, 0] == 0


def test_new_features_leave_the_others_as_they_are():
    rows, features = some_rows(), make(4)
    features.learn(rows)
    before = features.transform(rows)
    features.widen(6)
    wider = np.column_stack([rows, np.full((len(rows), 2), np.nan)])
    found = features.transform(wider)
    np.testing.assert_allclose(found[:, :4], before, atol=1e-12)
    np.testing.assert_array_equal(found[:, 4:], 0)


def test_above_a_number_of_features_absent_values_are_the_mean():
    features = make(4, most_imputed=5)
    features.learn(some_rows())
    assert features.impute
    features.widen(6)
    assert not features.impute
    assert features.covariance.size == 0
    found = features.transform(np.array([[300.0, 100.0, np.nan, np.nan, np.nan, np.nan]]))
    np.testing.assert_array_equal(found[0, 2:], 0)
    assert found[0, 0] == 4
