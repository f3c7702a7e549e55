import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.utils import estimator_html_repr

from mtlearn import Targets, tabular_net
from mtlearn.ensemble import Blend
from mtlearn.ensemble._tabular_net import (
    category_columns,
    few_number_columns,
    number_columns,
    rows_per_step,
)
from mtlearn.heads import Regression

N = 150


def make_frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, N),
            "income": rng.lognormal(size=N),
            "town": rng.choice(["a", "b", "c"], N),
            "member": rng.random(N) > 0.5,
            "gap": np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)),
        }
    )
    frame.loc[::9, "town"] = None
    price = np.floor(frame["age"] / 10) + (frame["town"] == "a") + frame["gap"].isna()
    kind = np.where(frame["member"] & (frame["income"] > 0.5), "x", "y")
    return frame, Targets({"price": price.to_numpy(float), "kind": kind})


def quick(**params):
    net = tabular_net(random_state=0, **params)
    return net.set_params(values__net__max_epochs=3, bins__net__max_epochs=3)


def test_a_frame_with_categories_booleans_and_gaps_is_learned():
    frame, y = make_frame()
    net = tabular_net(random_state=0).fit(frame, y)
    scores = net.scores(frame, y)
    assert scores["price"] > 0.9
    assert scores["kind"] > 0.9
    assert net.predict(frame)["price"].shape == (N,)


def test_unseen_categories_and_new_gaps_are_predicted():
    frame, y = make_frame()
    net = quick().fit(frame, y)
    new = frame.head(3).assign(town=["elsewhere", None, "a"], income=[np.nan, 1e9, -1e9])
    assert np.isfinite(net.predict(new)["price"]).all()


def test_columns_are_numbers_or_categories_by_their_type():
    frame, _ = make_frame()
    frame["date"] = pd.Categorical(["x"] * N)
    assert number_columns(frame) == ["age", "income", "gap"]
    assert category_columns(frame) == ["town", "member", "date"]
    assert number_columns(np.zeros((2, 3))) == [0, 1, 2]
    assert category_columns(np.zeros((2, 3))) == []


def test_frames_of_polars_are_taken():
    pl = pytest.importorskip("polars")
    frame, y = make_frame()
    frame = pl.from_pandas(frame.assign(town=frame["town"].fillna("none")))
    assert set(number_columns(frame)) == {"age", "income", "gap"}
    assert np.isfinite(quick().fit(frame, y).predict(frame)["price"]).all()


def test_many_columns_of_numbers_have_no_bins_but_other_members():
    X = np.random.default_rng(0).normal(size=(60, 81))
    assert few_number_columns(X[:, :80]) == list(range(80))
    assert few_number_columns(X) == []
    net = quick().fit(X, Targets({"y": X[:, 0]}))
    widths = [one[:-1].transform(X).shape[1] for one in net.estimators_]
    assert widths == [81, 81]
    first, second = (one.predict(X)["y"] for one in net.estimators_)
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(1, 16), (49, 16), (337, 32), (768, 64), (3000, 256), (10**6, 256)]
)
def test_a_step_takes_about_a_twelfth_of_the_rows(n_rows, expected):
    assert rows_per_step(n_rows) == expected


def test_it_is_better_than_a_forest_on_smooth_data():
    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    net = tabular_net(random_state=0).fit(X, Targets({"y": y}))
    forest = RandomForestRegressor(random_state=0).fit(X, y)
    assert net.score(X_test, {"y": y_test}) > forest.score(X_test, y_test)


def test_fast_has_no_members_on_all_rows():
    frame, y = make_frame()
    slow, fast = quick().fit(frame, y), quick(fast=True).fit(frame, y)
    assert [len(one[-1].members_) for one in slow.estimators_] == [8, 8]
    assert [len(one[-1].members_) for one in fast.estimators_] == [4, 4]


def test_what_is_said_of_outputs_reaches_both_networks():
    frame, y = make_frame()
    price = np.where(np.arange(N) < 5, np.nan, y["price"])
    y = Targets({**y, "price": price})
    net = quick(
        heads={"price": Regression("huber")},
        loss_weights={"kind": 0.1},
        main_output="price",
        missing_targets="ignore",
    ).fit(frame, y)
    for one in net.estimators_:
        assert one[-1].heads_["price"].loss == "huber"
        assert one[-1].loss_weights_ == {"price": 1.0, "kind": 0.1}
    assert net.score(frame, y) == net.scores(frame, y)["price"]


def test_every_step_is_seen_searched_and_copied():
    frame, y = make_frame()
    net = quick()
    assert isinstance(net, Blend)
    html = "".join(estimator_html_repr(one) for _, one in net.estimators)
    for part in ("SimpleImputer", "SmoothClip", "PiecewiseLinear", "OneHotEncoder", "MLP"):
        assert part in html
    search = GridSearchCV(net, {"bins__columns__bins__bins__n_bins": [2, 8]}, cv=2)
    search.fit(frame, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    fitted = search.best_estimator_
    assert pickle.loads(pickle.dumps(fitted)).predict(frame) == fitted.predict(frame)


def test_the_same_seed_makes_the_same_predictions():
    frame, y = make_frame()
    assert quick().fit(frame, y).predict(frame) == quick().fit(frame, y).predict(frame)


def numbers_and_texts(n_rows=60):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(n_rows, 3)), columns=["a", "b", "c"])
    X["town"] = rng.choice(["p", "q", "r"], n_rows)
    return X, Targets({"price": X["a"].to_numpy()})


def test_a_column_without_any_value_in_training_is_left_out():
    X, y = numbers_and_texts()
    empty = X.assign(b=np.nan, town=None)
    with pytest.warns(UserWarning, match=r"without any observed values: \['b'\]"):
        net = quick().fit(empty, y)
    with pytest.warns(UserWarning, match=r"without any observed values: \['b'\]"):
        without = net.predict(empty)["price"]
    assert np.isfinite(without).all()


def test_a_column_of_numbers_that_is_missing_in_new_rows_only_counts_as_the_mean():
    X, y = numbers_and_texts()
    net = quick().fit(X, y)
    at_mean = net.predict(X.assign(b=X["b"].mean()))["price"]
    for nothing in (np.nan, None):
        np.testing.assert_allclose(net.predict(X.assign(b=nothing))["price"], at_mean)


def test_texts_that_are_missing_in_new_rows_only_count_as_an_unseen_category():
    X, y = numbers_and_texts()
    net = quick().fit(X, y)
    unseen = net.predict(X.assign(town="elsewhere"))
    assert net.predict(X.assign(town=None)) == unseen
    assert unseen != net.predict(X)


@pytest.mark.parametrize("value", [3.0, 1e12])
def test_a_constant_column_changes_nothing_that_is_learned(value):
    X, y = numbers_and_texts(N)
    X = X[["a"]]
    y = Targets({"price": np.floor(2 * X["a"].to_numpy())})
    net = tabular_net(random_state=0).fit(X.assign(constant=value), y)
    assert net.score(X.assign(constant=value), y) > 0.9


@pytest.mark.parametrize("value", [1.0, np.nan])
@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
def test_rows_that_are_all_alike_get_the_constant_of_their_labels(value):
    rng = np.random.default_rng(0)
    y = Targets({"price": 100 + rng.normal(size=60), "kind": np.repeat(["x", "y"], [45, 15])})
    X = np.full((60, 2), value)
    predicted = tabular_net(random_state=0).fit(X, y).predict(X)
    np.testing.assert_allclose(predicted["price"], y["price"].mean(), atol=0.5)
    assert set(predicted["kind"]) == {"x"}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("main_output", [None, "kind"])
def test_two_classes_in_three_rows_are_learned(fast, main_output):
    X = np.array([[0.0, 1.0], [0.1, -1.0], [5.0, 0.0]])
    y = Targets({"kind": np.array(["a", "a", "b"])})
    net = tabular_net(fast=fast, main_output=main_output, random_state=0).fit(X, y)
    assert list(net.classes_["kind"]) == ["a", "b"]
    chances = net.predict_proba(X)["kind"]
    assert chances.shape == (3, 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert chances[2, 1] > chances[:2, 1].max()


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_a_handful_of_rows_is_enough(n_rows):
    X = np.arange(2.0 * n_rows).reshape(n_rows, 2)
    y = Targets({"price": X[:, 0], "kind": np.where(np.arange(n_rows) % 2, "x", "y")})
    predicted = quick().fit(X, y).predict(X[:1])
    assert np.isfinite(predicted["price"]).all()
    assert predicted["kind"][0] in ("x", "y")


def test_one_class_is_predicted_as_it_is():
    X, _ = numbers_and_texts()
    net = quick().fit(X, Targets({"kind": np.full(60, "x")}))
    assert set(net.predict(X)["kind"]) == {"x"}
    np.testing.assert_array_equal(net.predict_proba(X)["kind"], np.ones((60, 1)))


def test_one_row_is_predicted_as_among_others():
    X, y = numbers_and_texts()
    net = quick().fit(X, y)
    np.testing.assert_allclose(net.predict(X[:1])["price"], net.predict(X)["price"][:1], rtol=1e-4)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused_in_training_and_in_new_rows(value):
    X, y = numbers_and_texts()
    bad = X.copy()
    bad.loc[3, "b"] = value
    with pytest.raises(ValueError, match="estimator 'values': Input X contains infinity"):
        quick().fit(bad, y)
    net = quick().fit(X, y)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        net.predict(bad)
    numbers = X[["a", "b", "c"]].to_numpy()
    net = quick().fit(numbers, y)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        net.predict(bad[["a", "b", "c"]].to_numpy())


def same_in_either_form(plain, other, y):
    """Tell whether two forms of one table are learned and predicted alike, each from each."""
    of_plain, of_other = quick().fit(plain, y), quick().fit(other, y)
    found = of_plain.predict(plain)
    return all(net.predict(X) == found for net in (of_plain, of_other) for X in (plain, other))


def test_booleans_are_categories_whatever_their_type():
    X, y = numbers_and_texts()
    plain = X.assign(member=X["a"] > 0)
    assert category_columns(plain) == ["town", "member"]
    assert same_in_either_form(plain, plain.astype({"member": "boolean"}), y)
    gaps = plain.astype({"member": "boolean"})
    gaps.loc[::4, "member"] = pd.NA
    assert np.isfinite(quick().fit(gaps, y).predict(gaps)["price"]).all()


def test_categoricals_are_learned_as_their_labels():
    X, y = numbers_and_texts()
    assert same_in_either_form(X, X.astype({"town": "category"}), y)
    codes = X.assign(town=pd.Categorical([1, 2, None] * 20))
    assert number_columns(codes) == ["a", "b", "c"]
    net = quick().fit(codes, y)
    assert net.predict(codes) != net.predict(codes.assign(town=pd.Categorical([2] * 60)))


@pytest.mark.parametrize("dtype", ["Int64", "Int64[pyarrow]", "Float64"])
def test_missing_values_of_nullable_columns_are_as_those_of_floats(dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    X, y = numbers_and_texts()
    count = np.where(np.arange(60) % 4, np.arange(60) % 7, np.nan)
    plain = X.assign(count=count)
    nullable = X.assign(count=pd.array([None if np.isnan(v) else int(v) for v in count], "Int64"))
    nullable = nullable.astype({"count": dtype.replace("Int64[", "int64[")})
    assert number_columns(nullable) == ["a", "b", "c", "count"]
    assert same_in_either_form(plain, nullable, y)


def test_the_order_of_columns_is_free_and_further_ones_do_no_harm():
    X, y = numbers_and_texts()
    net = quick().fit(X, y)
    assert net.predict(X[["town", "c", "b", "a"]]) == net.predict(X)
    assert net.predict(X.assign(more=1)) == net.predict(X)


@pytest.mark.parametrize("name", ["b", "town"])
def test_a_column_that_new_rows_lack_is_named(name):
    X, y = numbers_and_texts()
    net = quick().fit(X, y)
    with pytest.raises(ValueError, match=rf"columns are missing: \{{'{name}'\}}"):
        net.predict(X.drop(columns=name))


def test_arrays_of_another_width_are_refused():
    X = np.random.default_rng(0).normal(size=(60, 3))
    net = quick().fit(X, Targets({"price": X[:, 0]}))
    for other in (X[:, :2], X[:, [0, 1, 2, 0]]):
        with pytest.raises(ValueError, match=f"X has {other.shape[1]} features, but .* 3 features"):
            net.predict(other)


def test_a_table_without_rows_or_columns_is_refused():
    X, y = numbers_and_texts()
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        quick().fit(X[:0], y[:0])
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        quick().fit(X, y).predict(X[:0])
    for empty in (X[[]], np.empty((60, 0))):
        with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\)"):
            quick().fit(empty, y)


def test_a_table_of_categories_alone_is_learned():
    X, _ = numbers_and_texts(N)
    y = Targets({"price": (X["town"] == "p").to_numpy(float)})
    assert tabular_net(random_state=0).fit(X[["town"]], y).score(X[["town"]], y) > 0.95


def test_polars_columns_are_found_by_name_and_their_gaps_are_learned():
    pl = pytest.importorskip("polars")
    X, y = numbers_and_texts()
    frame = pl.from_pandas(X).with_columns(
        pl.when(pl.col("b") > 0).then(pl.col("b")), pl.when(pl.col("b") > 0).then(pl.col("town"))
    )
    assert frame["b"].null_count() == frame["town"].null_count() > 0
    net = quick().fit(frame, y)
    assert np.isfinite(net.predict(frame)["price"]).all()
    assert net.predict(frame[["town", "c", "b", "a"]]) == net.predict(frame)
    with pytest.raises(ValueError, match=r"columns are missing: \{'b'\}"):
        net.predict(frame.drop("b"))


@pytest.mark.parametrize("head", ["kind", "price"])
def test_one_row_is_too_few_to_hold_any_out(head):
    y = Targets({head: np.array(["a"]) if head == "kind" else np.array([1.0])})
    with pytest.raises(ValueError, match=r"needs at least 2 rows with labels\. Got 1; pass"):
        quick().fit(np.ones((1, 2)), y)


def test_texts_that_were_read_as_floats_since_all_are_missing_are_unseen():
    X, y = numbers_and_texts()
    net = quick().fit(X, y)
    assert net.predict(X.assign(town=np.nan)) == net.predict(X.assign(town="elsewhere"))


@pytest.mark.parametrize("dtype", ["string", "string[pyarrow]", "category", object])
def test_gaps_among_texts_are_a_category_whatever_the_type_of_the_column(dtype):
    if "pyarrow" in str(dtype):
        pytest.importorskip("pyarrow")
    X, y = numbers_and_texts()
    X["town"] = X["town"].where(X.index % 4 > 0, None).astype(object)
    assert same_in_either_form(X, X.astype({"town": dtype}), y)


def test_numbers_and_texts_in_one_column_are_categories():
    X, y = numbers_and_texts()
    mixed = X.assign(town=pd.Series(["a", 1, True, 2.5] * 15, dtype=object))
    assert np.isfinite(quick().fit(mixed, y).predict(mixed)["price"]).all()


def test_integer_categories_are_the_same_beside_missing_ones():
    X, y = numbers_and_texts()
    whole = X.assign(town=pd.Categorical([1, 2, 3] * 20))
    net = quick().fit(whole, y)
    gaps = whole.assign(town=pd.Categorical([1, 2, None] * 20))
    known = np.flatnonzero(gaps["town"].notna())
    np.testing.assert_allclose(
        net.predict(gaps.iloc[known])["price"], net.predict(whole.iloc[known])["price"]
    )


@pytest.mark.parametrize(
    "values", [pd.date_range("2020", periods=60), pd.to_timedelta(np.arange(60), unit="h")]
)
def test_dates_and_durations_are_refused(values):
    X, y = numbers_and_texts()
    with pytest.raises(TypeError, match=r"Got dates, times or durations in \['when'\]"):
        quick().fit(X.assign(when=values), y)


def test_what_is_no_table_is_refused():
    X, y = numbers_and_texts()
    with pytest.raises(ValueError, match=r"`X` must be a table.* Got the shape \(60,\)"):
        quick().fit(X["a"].to_numpy(), y)
    with pytest.raises(TypeError, match=r"`X` is sparse; pass X\.toarray\(\)"):
        quick().fit(csr_matrix(X[["a", "b"]].to_numpy()), y)


@pytest.mark.parametrize("n_rows", [40, 41, 42, 43])
def test_all_members_are_trained_on_as_many_rows(n_rows):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 2))
    y = Targets({"price": X[:, 0], "kind": np.where(X[:, 1] > 0.5, "a", "b")})
    for main_output in (None, "kind"):
        net = quick(fast=True, main_output=main_output).fit(X, y)
        for one in net.estimators_:
            assert len({len(member._held_out_rows) for member in one[-1].members_}) == 1
