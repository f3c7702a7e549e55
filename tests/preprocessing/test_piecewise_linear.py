"""Components are those of the formula, between quantiles of the training rows."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from mtlearn import MultiOutputNet, Targets
from mtlearn.preprocessing import ColumnInputs, PiecewiseLinear

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.normal(size=101), RNG.lognormal(size=101), RNG.integers(0, 30, 101)])
WEIGHT = RNG.integers(0, 4, 101)


@parametrize_with_checks([PiecewiseLinear(), PiecewiseLinear(n_bins=3, center=False)])
def test_it_passes_the_check_of_scikit_learn(estimator, check):
    check(estimator)


def component(x, t, edges):
    """Return component t, from 1 on, of a value, as the paper writes it."""
    if x < edges[t - 1] and t > 1:
        return 0.0
    if x >= edges[t] and t < len(edges) - 1:
        return 1.0
    return (x - edges[t - 1]) / (edges[t] - edges[t - 1])


@pytest.mark.parametrize("n_bins", [1, 2, 5, 8])
def test_components_are_those_of_the_formula_inside_and_outside_of_the_training_rows(n_bins):
    encoder = PiecewiseLinear(n_bins, center=False).fit(X)
    rows = np.concatenate([X, 3 * X - 5, X.max(axis=0, keepdims=True) + 1])
    expected = [
        [
            component(x, t, edges)
            for x, edges in zip(row, encoder.bin_edges_, strict=True)
            for t in range(1, len(edges))
        ]
        for row in rows
    ]
    np.testing.assert_allclose(encoder.transform(rows), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_bins", [1, 2, 5, 8])
def test_edges_are_quantiles(n_bins):
    levels = np.arange(n_bins + 1) / n_bins
    expected = np.quantile(X, levels, axis=0, method="inverted_cdf").T
    for found, edges in zip(PiecewiseLinear(n_bins).fit(X).bin_edges_, expected, strict=True):
        np.testing.assert_array_equal(found, np.unique(edges))


def test_each_bin_holds_about_as_many_rows():
    values = RNG.normal(size=(800, 1))
    (edges,) = PiecewiseLinear(8).fit(values).bin_edges_
    counts, _ = np.histogram(values, edges)
    assert len(counts) == 8
    assert np.abs(counts - 100).max() <= 1


def test_a_row_of_weight_two_is_two_rows_and_one_of_weight_zero_none():
    weighted = PiecewiseLinear().fit(X, sample_weight=WEIGHT)
    repeated = PiecewiseLinear().fit(np.repeat(X, WEIGHT, axis=0))
    for found, expected in zip(weighted.bin_edges_, repeated.bin_edges_, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(weighted.mean_, repeated.mean_, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1 / 3, 0.7, 7e5])
def test_the_scale_of_the_weights_makes_no_difference(scale):
    rows = X[:100]  # a fifth of them is a whole number, which sums of weights may miss
    found = PiecewiseLinear(5).fit(rows, sample_weight=np.full(100, scale))
    expected = PiecewiseLinear(5).fit(rows)
    for ours, edges in zip(found.bin_edges_, expected.bin_edges_, strict=True):
        np.testing.assert_array_equal(ours, edges)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (np.ones(5), r"must have the shape \(101,\), one for each row\. Got \(5,\)"),
        (np.ones((101, 1)), r"must have the shape \(101,\).* Got \(101, 1\)"),
        (np.zeros(101), r"none negative and not all zero\. Got 0 .* and 101 zero weights of 101"),
        (-np.ones(101), "Got 101 negative or non-finite and 0 zero"),
        (np.full(101, np.nan), "must hold finite numbers.* Got 101 negative or non-finite"),
    ],
)
def test_bad_weights_are_refused(weight, match):
    with pytest.raises(ValueError, match=match):
        PiecewiseLinear().fit(X, sample_weight=weight)


def test_a_column_is_the_sum_of_its_components_times_the_widths_of_their_bins():
    encoder = PiecewiseLinear(center=False).fit(X)
    rows = np.concatenate([X, 10 * X - 3])
    parts = np.split(
        encoder.transform(rows), np.cumsum([len(e) - 1 for e in encoder.bin_edges_])[:-1], axis=1
    )
    back = [part @ np.diff(e) + e[0] for part, e in zip(parts, encoder.bin_edges_, strict=True)]
    np.testing.assert_allclose(np.column_stack(back), rows, rtol=1e-10)


def test_components_rise_and_each_is_linear_in_its_bin_and_constant_in_others():
    encoder = PiecewiseLinear(6, center=False).fit(X[:, [0]])
    (edges,) = encoder.bin_edges_
    assert (np.diff(encoder.transform(np.sort(X[:, [0]], axis=0)).sum(1)) >= 0).all()
    reach = np.array([edges[0] - 1, *edges[1:-1], edges[-1] + 1])
    for t, (low, high) in enumerate(pairwise(reach)):
        inside = np.linspace(low, high, 7)[:, None]
        steps = np.diff(encoder.transform(inside), axis=0)
        expected = np.zeros(6)
        expected[t] = (high - low) / 6 / (edges[t + 1] - edges[t])
        np.testing.assert_allclose(steps, np.tile(expected, (6, 1)), atol=1e-12)


def test_the_scale_and_place_of_a_column_make_no_difference():
    found = PiecewiseLinear().fit_transform(1000 * X + 5)
    np.testing.assert_allclose(found, PiecewiseLinear().fit_transform(X), atol=1e-9)


def test_few_different_values_are_edges_themselves():
    counts = [50, 1, 1, 40]
    values = np.repeat([5, -1, 2, 9], counts)[:, None]
    encoder = PiecewiseLinear(n_bins=3, center=False).fit(values)
    assert [edges.tolist() for edges in encoder.bin_edges_] == [[-1, 2, 5, 9]]
    assert encoder.transform([[-1], [2], [5], [9]]).tolist() == [
        [0, 0, 0],
        [1, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
    ]


def test_a_column_of_zeros_and_ones_stays_as_it_is():
    flags = RNG.integers(0, 2, (30, 1)).astype(bool)
    np.testing.assert_array_equal(PiecewiseLinear(center=False).fit_transform(flags), flags)


def test_a_frequent_value_takes_the_place_of_one_bin_only():
    values = np.array([0.0] * 70 + list(range(1, 31)))[:, None]
    encoder = PiecewiseLinear(n_bins=10, center=False).fit(values)
    assert [edges.tolist() for edges in encoder.bin_edges_] == [
        [0, 4, 7, 10, 14, 17, 20, 24, 27, 30]
    ]


def test_frequent_values_count_as_if_they_were_a_bin_s_share_of_the_rows():
    light = np.random.default_rng(0).normal(size=6000)
    values = np.concatenate([light, np.full(2000, 0.5), np.full(50_000, -0.3)])
    edges = PiecewiseLinear(n_bins=8).fit(values[:, None]).bin_edges_[0]
    as_if = np.concatenate([light, np.full(1000, 0.5), np.full(1000, -0.3)])
    expected = np.quantile(as_if, np.arange(9) / 8, method="inverted_cdf")
    np.testing.assert_array_equal(edges, expected)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("constant", [[3.0] * 20, list(0.1 + 1e-17 * np.arange(20))])
def test_a_constant_column_becomes_one_column_of_zeros(center, constant):
    rows = np.column_stack([np.arange(20.0), constant, np.arange(20) % 2])
    encoder = PiecewiseLinear(4, center=center).fit(rows)
    rows[:, 1] += 100
    assert encoder.get_feature_names_out().tolist() == [
        *[f"x0_bin{t}" for t in range(4)],
        "x1_bin0",
        "x2_bin0",
    ]
    found = encoder.transform(rows)
    assert found.shape == (20, 6)
    assert not found[:, 4].any()
    assert found[:, [0, 3, 5]].any(axis=0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_only_rounding_tells_apart_are_one(dtype):
    noise = 0.7 + np.finfo(dtype).eps * RNG.integers(-1, 2, 50)
    encoder = PiecewiseLinear().fit(noise.astype(dtype)[:, None])
    assert np.abs(encoder.transform(np.array([[0.9]], dtype))).max() == 0


def test_one_row_is_enough():
    assert PiecewiseLinear().fit_transform([[1.0, 2.0]]).tolist() == [[0.0, 0.0]]


def test_centred_components_have_the_mean_zero_over_the_weighted_training_rows():
    encoder = PiecewiseLinear().fit(X, sample_weight=WEIGHT)
    means = np.average(encoder.transform(X), axis=0, weights=WEIGHT)
    np.testing.assert_allclose(means, 0, atol=1e-14)
    plain = PiecewiseLinear(center=False).fit(X, sample_weight=WEIGHT)
    assert plain.mean_ is None
    np.testing.assert_allclose(encoder.transform(X) + encoder.mean_, plain.transform(X))


def test_float_types_stay_and_integers_become_floats():
    single = PiecewiseLinear().fit(X.astype(np.float32))
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(
        single.transform(X.astype(np.float32)), PiecewiseLinear().fit_transform(X), atol=1e-4
    )
    assert PiecewiseLinear().fit_transform(X.astype(int)).dtype == np.float64


def test_single_precision_tells_small_bins_of_large_values_apart():
    days = (738_000 + np.arange(40)).astype(np.float32)[:, None]
    found = PiecewiseLinear(4, center=False).fit_transform(days)
    np.testing.assert_allclose(found[9], [1, 0, 0, 0])
    np.testing.assert_allclose(found.sum(1), np.searchsorted([9, 19, 29], np.arange(40)), atol=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_refused_with_a_remedy(bad):
    broken = pd.DataFrame(X.copy(), columns=["a", "b", "c"])
    broken.loc[3, "b"] = bad
    message = r"NaN or infinity in 1 of 101 rows, in the columns \['b'\]; fill .* SimpleImputer\("
    with pytest.raises(ValueError, match=message):
        PiecewiseLinear().fit(broken)
    fitted = PiecewiseLinear().fit(X)
    with pytest.raises(ValueError, match=r"in the columns \['x1'\]"):
        fitted.transform(broken.to_numpy())
    if np.isnan(bad):
        pipe = make_pipeline(SimpleImputer(add_indicator=True), PiecewiseLinear())
        assert pipe.fit_transform(broken).shape == (101, 8 + 8 + 8 + 1)


def test_sparse_tables_are_refused():
    with pytest.raises(TypeError, match="dense data is required"):
        PiecewiseLinear().fit(sparse.csr_array(X))


@pytest.mark.parametrize(("name", "value"), [("n_bins", 0), ("n_bins", 2.5), ("center", "yes")])
def test_bad_parameters_are_refused(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of PiecewiseLinear must be"):
        PiecewiseLinear(**{name: value}).fit(X)


@pytest.mark.parametrize(("library", "make"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_a_frame_comes_back_as_one_with_a_column_for_each_component(library, make):
    frame = make({"age": X[:, 0], "smokes": np.arange(101) % 2})
    encoder = PiecewiseLinear(2).set_output(transform=library).fit(frame)
    found = encoder.transform(frame)
    assert isinstance(found, make)
    assert list(found.columns) == ["age_bin0", "age_bin1", "smokes_bin0"]
    np.testing.assert_array_equal(
        found.to_numpy(), PiecewiseLinear(2).fit_transform(frame.to_numpy())
    )


def test_names_follow_the_given_ones_and_need_a_fit():
    encoder = PiecewiseLinear(2)
    for method in (encoder.get_feature_names_out, lambda: encoder.transform(X)):
        with pytest.raises(NotFittedError, match="not fitted"):
            method()
    encoder.fit(X[:, :1])
    assert encoder.get_feature_names_out(["a"]).tolist() == ["a_bin0", "a_bin1"]
    with pytest.raises(ValueError, match="input_features should have length equal"):
        encoder.get_feature_names_out(["a", "b"])


def test_a_later_row_changes_nothing_of_what_was_learned():
    encoder = PiecewiseLinear().fit(X)
    copy = pickle.loads(pickle.dumps(encoder))
    encoder.transform(100 * X)
    np.testing.assert_array_equal(copy.transform(X), encoder.transform(X))
    assert not hasattr(clone(encoder), "bin_edges_")


def test_weights_are_routed_to_it_on_request():
    with sklearn.config_context(enable_metadata_routing=True):
        encoder = PiecewiseLinear().set_fit_request(sample_weight=True)
        pipe = make_pipeline(encoder, Ridge().set_fit_request(sample_weight=False))
        pipe.fit(X, X[:, 0], sample_weight=WEIGHT)
    expected = PiecewiseLinear().fit(X, sample_weight=WEIGHT)
    np.testing.assert_array_equal(pipe[0].mean_, expected.mean_)


def test_a_linear_model_of_the_components_follows_steps_on_new_rows():
    rng = np.random.default_rng(1)
    values = rng.uniform(size=(600, 2))
    y = np.floor(4 * values[:, 0]) % 2 - 2.0 * (values[:, 1] > 0.6)
    train, test = slice(0, 400), slice(400, None)
    error = {}
    for n_bins in (None, 8, 32):
        steps = [] if n_bins is None else [PiecewiseLinear(n_bins)]
        model = make_pipeline(*steps, Ridge(alpha=0.01)).fit(values[train], y[train])
        error[n_bins] = 1 - model.score(values[test], y[test])
    assert error[8] < error[None] / 2
    assert error[32] < error[None] / 4


def test_it_makes_an_input_of_a_network_beside_the_columns_themselves():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    columns = ColumnInputs(
        [("raw", "passthrough", ["a", "b", "c"]), ("bins", PiecewiseLinear(4), ["a", "b"])]
    )
    inputs = columns.fit_transform(frame)
    assert inputs["bins"].shape == (101, 8)
    pipe = make_pipeline(PiecewiseLinear(), MultiOutputNet(max_epochs=2, random_state=0))
    search = GridSearchCV(pipe, {"piecewiselinear__n_bins": [2, 4]}, cv=2)
    assert search.fit(frame, Targets({"y": X[:, 0]})).predict(frame[:5])["y"].shape == (5,)
