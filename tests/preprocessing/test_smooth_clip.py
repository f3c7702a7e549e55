"""Values are bounded smoothly, by a formula that can be inverted."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mtlearn import MultiOutputNet, Targets
from mtlearn.preprocessing import SmoothClip

Z = np.random.default_rng(0).normal(scale=6, size=(40, 3))


@parametrize_with_checks([SmoothClip(), SmoothClip(limit=3)])
def test_it_passes_the_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("limit", [0.5, 3, 8.0])
def test_it_is_the_formula(limit):
    expected = [[z / math.sqrt(1 + (z / limit) ** 2) for z in row] for row in Z]
    np.testing.assert_allclose(SmoothClip(limit).fit_transform(Z), expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_is_bounded_odd_and_in_the_same_order(dtype):
    size = np.logspace(-30, 30, 241).astype(dtype)
    z = np.concatenate([-size[::-1], [0], size])[:, None].astype(dtype)
    found = SmoothClip(2.5).transform(z)
    assert found.dtype == dtype
    assert np.abs(found).max() <= 2.5
    assert (np.diff(found[:, 0]) >= 0).all()
    np.testing.assert_array_equal(found, -found[::-1])


def test_small_values_stay_with_the_slope_one():
    z = np.array([[1e-6, -1e-3, 0.0]])
    np.testing.assert_allclose(SmoothClip().transform(z), z, rtol=1e-7)


def test_the_largest_numbers_do_not_overflow():
    largest = np.finfo(np.float64).max
    with np.errstate(all="raise"):
        assert SmoothClip().transform([[largest, -largest]]).tolist() == [[8.0, -8.0]]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-3), (np.float64, 1e-12)])
def test_it_is_inverted(dtype, rtol):
    clip, z = SmoothClip(3).fit(Z), Z.astype(dtype)
    back = clip.inverse_transform(clip.transform(z))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, z, rtol=rtol)


def test_what_rounding_has_put_on_the_limit_is_large_and_finite():
    clip = SmoothClip(3)
    back = clip.inverse_transform(clip.transform([[1e30, -1e30]]))
    assert np.isfinite(back).all()
    assert back[0, 0] > 1e7
    assert back[0, 1] == -back[0, 0]


def test_values_beyond_the_limit_have_no_inverse():
    with pytest.raises(ValueError, match=r"X must be within `limit`=3.* Got -3\.5"):
        SmoothClip(3).inverse_transform([[1.0, -3.5]])


def test_missing_values_stay_missing_and_infinite_ones_are_refused():
    clip = SmoothClip()
    found = clip.fit_transform([[np.nan, 1.0]])
    assert np.isnan(found).tolist() == [[True, False]]
    assert np.isnan(clip.inverse_transform(found)).tolist() == [[True, False]]
    for method in (clip.fit, clip.transform):
        with pytest.raises(ValueError, match="X contains infinity"):
            method([[np.inf, 1.0]])


def test_the_type_of_the_limit_does_not_change_that_of_the_result():
    limit = np.linspace(1, 2, 3)[1]
    assert SmoothClip(limit).transform(Z.astype(np.float32)).dtype == np.float32
    assert SmoothClip(2).fit_transform(np.array([[1, -5]])).dtype == np.float64


def test_the_rows_given_are_left_as_they_are():
    z = Z.copy()
    clip = SmoothClip().fit(z)
    clip.inverse_transform(clip.transform(z) / 2)
    np.testing.assert_array_equal(z, Z)


@pytest.mark.parametrize("limit", [0, -1.0, np.inf, "8"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match="The 'limit' parameter of SmoothClip must be a float"):
        SmoothClip(limit).fit(Z)


def test_sparse_tables_are_refused():
    with pytest.raises(TypeError, match="dense data is required"):
        SmoothClip().fit(sparse.csr_array(Z))


@pytest.mark.parametrize(("library", "make"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_a_frame_comes_back_as_one_with_its_columns(library, make):
    frame = make({"a": Z[:, 0], "b": Z[:, 1]})
    found = SmoothClip().set_output(transform=library).fit(frame).transform(frame)
    assert isinstance(found, make)
    assert list(found.columns) == ["a", "b"]
    np.testing.assert_array_equal(found.to_numpy(), SmoothClip().transform(Z[:, :2]))


def test_names_come_from_fit_and_other_columns_are_refused():
    clip = SmoothClip()
    with pytest.raises(NotFittedError, match="not fitted"):
        clip.get_feature_names_out()
    clip.fit(pd.DataFrame(Z, columns=["a", "b", "c"]))
    assert clip.get_feature_names_out().tolist() == ["a", "b", "c"]
    assert clone(clip).transform(Z[:, :2]).shape == (40, 2)
    with pytest.raises(ValueError, match="feature names should match"):
        clip.transform(pd.DataFrame(Z, columns=["a", "c", "b"]))


def test_an_outlier_does_not_rule_a_network():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = {"y": X[:, 0] - X[:, 1]}
    far = X.copy()
    far[7, 0] += 1e4
    net = MultiOutputNet(max_epochs=20, random_state=0)
    expected = clone(net).fit(X, y).score(X, y)
    lost = expected - clone(net).fit(far, y).score(X, y)
    assert lost > 0.2
    pipe = make_pipeline(SmoothClip(), net).fit(far, y)
    assert expected - pipe.score(X, y) < lost / 5


def test_a_search_varies_the_limit_in_a_pipeline():
    y = Targets({"y": Z[:, 0]})
    pipe = make_pipeline(StandardScaler(), SmoothClip(), MultiOutputNet(max_epochs=2))
    search = GridSearchCV(pipe, {"smoothclip__limit": [1.0, 4.0]}, cv=2).fit(Z, y)
    assert search.best_estimator_[1].limit in (1.0, 4.0)
    assert search.predict(Z)["y"].shape == (40,)
