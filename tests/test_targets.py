import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
    permutation_test_score,
    train_test_split,
)
from sklearn.utils import resample, shuffle
from sklearn.utils.validation import check_consistent_length

from mtlearn import Targets
from mtlearn._arrays import as_array, missing_mask

N = 12


def make_targets():
    rng = np.random.default_rng(0)
    kind = rng.choice(["flat", "house"], N).astype(object)
    kind[3] = None
    price = rng.normal(size=N)
    price[5] = np.nan
    return Targets({"price": price, "kind": kind, "tags": rng.integers(0, 2, (N, 3))})


def assert_rows(part, whole, rows):
    """`part` holds exactly the rows `rows` of `whole`, in order."""
    assert type(part) is Targets
    assert list(part) == list(whole)
    for name in whole:
        np.testing.assert_array_equal(part[name], whole[name][rows])
        assert part[name].dtype == whole[name].dtype


# Construction


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2, 3], np.int64),
        ([1.5, 2, 3], np.float64),
        ([True, False, True], bool),
        (["a", "b", "c"], "U1"),
        (("a", "b", "c"), "U1"),
        (["a", None, "c"], object),
        (["a", float("nan"), "c"], object),
        ([1, "a", 2.5], object),
        (np.arange(3, dtype=np.float32), np.float32),
        (pd.Series([1, 2, 3], index=[7, 8, 9]), np.int64),
        (pd.Series([1, 2, None], dtype="Int64"), object),
        (pd.Series([1, 2, 3], dtype="Int64"), np.int64),
        (pd.Series([1.5, None, 3], dtype="Float64"), np.float64),
        (pd.Series([True, None, False], dtype="boolean"), object),
        (pd.Series(["a", "b", "a"], dtype="category"), object),
        (pd.Series([3, 2, 3], dtype="category"), np.int64),
        (pd.Series(["2020-01-01", None, "2021-01-01"], dtype="M8[us]"), "M8[us]"),
        (pl.Series([1, 2, 3]), np.int64),
        (pl.Series([1, None, 3]), np.float64),
        (pl.Series(["a", None, "b"]), object),
        ([[1, 2], [3, 4], [5, 6]], np.int64),
        (pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1, 2]}), np.float64),
        (pl.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]}), np.int64),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:30],
)
def test_values_of_any_kind_become_arrays(values, dtype):
    found = Targets({"a": values})["a"]
    assert type(found) is np.ndarray
    assert found.dtype == np.dtype(dtype)
    assert len(found) == 3


def test_an_array_is_kept_without_a_copy():
    values = np.arange(3.0)
    assert Targets({"a": values})["a"] is values


def test_labels_keep_their_values():
    assert Targets({"a": [1, "a", None]})["a"].tolist() == [1, "a", None]
    np.testing.assert_array_equal(
        Targets({"a": pd.Series([1, 2, None], dtype="Int64")})["a"], [1, 2, None]
    )


def test_pairs_make_targets_as_a_mapping_does():
    pairs = [("b", [1, 2]), ("a", ["x", "y"])]
    assert Targets(pairs) == Targets(dict(pairs))
    assert list(Targets(pairs)) == ["b", "a"]


def test_targets_make_targets():
    y = make_targets()
    assert Targets(y) == y
    assert Targets({**y}) == y
    assert Targets(dict(y)) == y
    assert list(Targets({**y, "new": np.zeros(N)})) == ["price", "kind", "tags", "new"]


def test_the_length_counts_rows_and_the_iteration_gives_names():
    y = make_targets()
    assert (len(y), y.shape) == (N, (N,))
    assert list(y) == list(y.keys()) == ["price", "kind", "tags"]
    assert "price" in y
    assert 3 not in y
    assert [len(values) for values in y.values()] == [N] * 3
    assert y.get("nope") is None


@pytest.mark.parametrize("data", [(), {}])
def test_the_empty_container_has_no_rows_and_no_names(data):
    y = Targets(data)
    assert (len(y), y.shape, list(y), bool(y)) == (0, (0,), [], False)
    assert y == Targets()
    assert repr(y) == "Targets of no target"
    assert pickle.loads(pickle.dumps(y)) == y
    assert y[[]] == y


def test_targets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"same number of rows. Got \{'a': 2, 'b': 3\}"):
        Targets({"a": [1, 2], "b": [1, 2, 3]})


@pytest.mark.parametrize("values", [3, "abc", None, np.zeros((2, 2, 2))])
def test_a_target_must_have_one_or_two_dimensions(values):
    with pytest.raises(ValueError, match="Target 'a' has the shape"):
        Targets({"a": values})


def test_a_ragged_target_is_refused():
    with pytest.raises(ValueError, match="target 'a' is no regular array"):
        Targets({"a": [[1, 2], [3]]})


def test_a_sparse_target_is_refused():
    with pytest.raises(TypeError, match=r"target 'a' is sparse; pass values.toarray\(\)"):
        Targets({"a": csr_matrix(np.eye(3))})


@pytest.mark.parametrize("name", ["", "val", "a__b"])
def test_a_name_that_cannot_be_an_output_is_refused(name):
    with pytest.raises(ValueError, match="Targets: an output name must not be empty"):
        Targets({name: [1, 2]})


def test_a_name_must_be_a_string():
    with pytest.raises(TypeError, match=r"names must be strings. Got 0 .* example to '0'"):
        Targets({0: [1, 2]})


def test_names_must_not_share_columns_of_the_history():
    with pytest.raises(ValueError, match="'a' and 'val_a' would share columns"):
        Targets({"a": [1], "val_a": [1]})


# Indexing


@pytest.mark.parametrize(
    "rows",
    [
        slice(2, 9, 3),
        slice(None, None, -1),
        slice(0, 0),
        np.array([3, 1, 3]),
        [0, -1],
        np.arange(N) % 3 == 0,
        (np.arange(N) % 3 == 0).tolist(),
        np.zeros(N, dtype=bool),
        np.array([], dtype=int),
    ],
    ids=str,
)
def test_rows_are_picked_in_every_target(rows):
    y = make_targets()
    assert_rows(y[rows], y, rows)
    assert_rows(y[rows, ...], y, rows)


def test_an_empty_list_picks_no_rows():
    y = make_targets()
    assert_rows(y[[]], y, np.array([], dtype=int))


@pytest.mark.parametrize("library", [pd, pl])
def test_a_series_can_be_the_mask(library):
    y = make_targets()
    mask = np.arange(N) < 4
    assert_rows(y[library.Series(mask)], y, mask)


def test_names_pick_targets():
    y = make_targets()
    assert type(y["price"]) is np.ndarray
    some = y[["tags", "price"]]
    assert type(some) is Targets
    assert list(some) == ["tags", "price"]
    assert some["tags"] is y["tags"]


@pytest.mark.parametrize("key", ["prise", ["tags", "prise"]])
def test_an_unknown_name_is_refused_with_the_nearest(key):
    with pytest.raises(ValueError, match=r"unknown target 'prise'; .*did you mean 'price'"):
        make_targets()[key]


@pytest.mark.parametrize("key", [0, np.int64(0), None, 1.5])
def test_a_single_row_is_refused(key):
    with pytest.raises(TypeError, match=r"index by a name, a list of names, or several rows"):
        make_targets()[key]


def test_positions_out_of_range_are_refused():
    with pytest.raises(IndexError, match="out of bounds"):
        make_targets()[[N]]


# Representation, equality, copies


def test_the_repr_shows_kind_first_values_and_missing_labels():
    lines = repr(make_targets()).splitlines()
    assert lines[0] == f"Targets of {N} rows:"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["price", "float64"],
        ["kind", "object"],
        ["tags", "int64"],
    ]
    assert "1 missing" in lines[1]
    assert "1 missing" in lines[2]
    assert f"({N}, 3)" in lines[3]
    assert "missing" not in lines[3]
    assert all("..." in line for line in lines[1:])


def test_the_repr_of_few_rows_shows_all():
    assert repr(Targets({"a": [1, 2]})).splitlines()[1].split() == ["a", "int64", "1,", "2"]


def test_the_repr_stays_short():
    y = Targets({"a": np.zeros(10**5), "b": np.zeros((10**4 * 10, 2))})
    assert len(repr(y)) < 300


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, np.nan]),
        np.array(["a", None], dtype=object),
        np.array(["a", np.nan], dtype=object),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(["a", None], dtype="string"),
        np.array([[1.0, np.nan], [np.nan, 2.0]]),
    ],
    ids=["float", "None", "object NaN", "date", "boolean NA", "string NA", "2-D"],
)
def test_missing_labels_are_equal_to_themselves(values):
    y, same = Targets({"a": values}), Targets({"a": copy.deepcopy(values)})
    assert y == same
    assert (y != same) is False


@pytest.mark.parametrize(
    "other",
    [
        Targets({"a": [1.0, 3.0], "b": ["x", "y"]}),
        Targets({"a": [1.0, np.nan], "b": ["x", "y"]}),
        Targets({"a": [1.0], "b": ["x"]}),
        Targets({"a": [1.0, 2.0]}),
        Targets({"a": [1.0, 2.0], "c": ["x", "y"]}),
        Targets({"a": [[1.0], [2.0]], "b": ["x", "y"]}),
        Targets({"a": ["u", "v"], "b": ["x", "y"]}),
        {"a": [1.0, 2.0], "b": ["x", "y"]},
        3,
        None,
    ],
)
def test_targets_differ_by_values_names_shapes_and_type(other):
    y = Targets({"a": [1.0, 2.0], "b": ["x", "y"]})
    assert y != other
    assert (y == other) is False


def test_the_order_of_names_does_not_matter_for_equality():
    y = make_targets()
    assert y[["tags", "kind", "price"]] == y


def test_targets_have_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(make_targets())


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        Targets.copy,
        *(lambda y, p=p: pickle.loads(pickle.dumps(y, p)) for p in range(6)),
    ],
)
def test_copies_are_equal_targets(copied):
    y = make_targets()
    again = copied(y)
    assert type(again) is Targets
    assert again is not y
    assert again == y
    assert list(again) == list(y)


def test_a_deep_copy_shares_no_memory_and_a_copy_all():
    y = make_targets()
    assert not np.shares_memory(copy.deepcopy(y)["tags"], y["tags"])
    assert y.copy()["tags"] is y["tags"]


def test_equal_targets_have_equal_joblib_hashes():
    assert joblib.hash(make_targets()) == joblib.hash(make_targets())
    assert joblib.hash(make_targets()) != joblib.hash(make_targets()[::-1])


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.__setitem__("price", np.zeros(N)),
        lambda y: y.__delitem__("price"),
        lambda y: y.__ior__({"price": np.zeros(N)}),
        lambda y: y.clear(),
        lambda y: y.pop("price"),
        lambda y: y.popitem(),
        lambda y: y.setdefault("new", np.zeros(N)),
        lambda y: y.update(price=np.zeros(N)),
    ],
    ids=["set", "del", "ior", "clear", "pop", "popitem", "setdefault", "update"],
)
def test_targets_cannot_be_changed(change):
    y = make_targets()
    with pytest.raises(TypeError, match=r"cannot be changed in place.*Targets\(\{\*\*y"):
        change(y)
    assert y == make_targets()


# numpy


def test_concatenation_joins_rows():
    y = make_targets()
    rows = np.r_[0:5, 2:N]
    joined = np.concatenate([y[:5], y[2:]])
    assert joined == y[rows]
    assert np.concat((y[:5], y[2:])) == joined
    assert np.concatenate([y]) == y


def test_concatenation_goes_by_name():
    y = make_targets()
    joined = np.concatenate([y[:5], y[5:][["tags", "kind", "price"]]])
    assert joined == y
    assert list(joined) == list(y)


def test_concatenation_needs_the_same_names():
    y = make_targets()
    with pytest.raises(TypeError, match=r"only Targets of the same names can be concatenated"):
        np.concatenate([y, y[["price"]]])
    with pytest.raises(TypeError, match=r"same names can be concatenated.*'ndarray'"):
        np.concatenate([y, np.zeros(3)])


@pytest.mark.parametrize("convert", [np.asarray, np.array, lambda y: Ridge().fit(np.eye(N), y)])
def test_targets_are_not_one_array(convert):
    with pytest.raises(TypeError, match=r"are not one array.*Pick one with y\['price'\]"):
        convert(make_targets())


@pytest.mark.parametrize("function", [np.mean, np.unique, np.sort, np.median])
def test_functions_of_numpy_are_refused(function):
    with pytest.raises(TypeError, match="are not one array"):
        function(make_targets())


# scikit-learn


class MeanOfPrice(RegressorMixin, BaseEstimator):
    """Predict the targets of as many training rows, to see what reaches an estimator."""

    def fit(self, X, y):
        assert type(y) is Targets
        check_consistent_length(X, y)
        assert_rows(y, make_targets(), X[:, 0].astype(int))
        self.mean_ = np.nanmean(y["price"])
        return self

    def predict(self, X):
        return make_targets()[X[:, 0].astype(int)]

    def score(self, X, y):
        assert_rows(y, make_targets(), X[:, 0].astype(int))
        return -float(np.nanmean((y["price"] - self.mean_) ** 2))


class CountsRows(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        check_consistent_length(X, y)
        self.fitted_ = True
        return self

    def score(self, X, y):
        check_consistent_length(X, y)
        return float(len(y))


def make_X():
    return np.arange(N, dtype=float)[:, None]


def test_train_test_split_keeps_rows_together():
    X, y = make_X(), make_targets()
    parts = train_test_split(X, y, test_size=0.25, random_state=0)
    for rows, targets in [parts[::2], parts[1::2]]:
        assert_rows(targets, y, rows[:, 0].astype(int))


def test_train_test_split_stratifies_by_one_target():
    y = Targets({"kind": ["a", "b"] * 6, "price": np.arange(N)})
    train, test = train_test_split(y, test_size=0.5, stratify=y["kind"], random_state=0)
    assert sorted(train["kind"]) == sorted(test["kind"]) == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize("tool", [shuffle, resample])
def test_shuffle_and_resample_keep_rows_together(tool):
    y = make_targets()
    rows, targets = tool(make_X(), y, random_state=0)
    assert_rows(targets, y, rows[:, 0].astype(int))


@pytest.mark.parametrize(
    "cv",
    [KFold(3), ShuffleSplit(2, random_state=0), GroupKFold(2)],
    ids=lambda cv: type(cv).__name__,
)
def test_splitters_split_targets_as_they_split_an_array(cv):
    X, y = make_X(), make_targets()
    groups = np.arange(N) // 3 if isinstance(cv, GroupKFold) else None
    folds, expected = list(cv.split(X, y, groups)), list(cv.split(X, np.zeros(N), groups))
    np.testing.assert_equal(folds, expected)
    for train, _ in folds:
        assert_rows(y[train], y, train)


@pytest.mark.parametrize("cv", [3, KFold(4, shuffle=True, random_state=0)])
def test_cross_validation_hands_every_fold_its_rows(cv):
    result = cross_validate(MeanOfPrice(), make_X(), make_targets(), cv=cv, error_score="raise")
    assert np.isfinite(result["test_score"]).all()


def test_cross_val_predict_returns_targets_in_the_order_of_rows():
    y = make_targets()
    cv = KFold(3, shuffle=True, random_state=0)
    assert cross_val_predict(MeanOfPrice(), make_X(), y, cv=cv) == y


def test_permutation_test_score_permutes_rows():
    score, permuted, _ = permutation_test_score(
        CountsRows(), make_X(), make_targets(), cv=3, n_permutations=2, random_state=0
    )
    assert score == N / 3
    assert permuted.tolist() == [N / 3] * 2


def test_stratified_folds_on_all_targets_are_a_clear_error():
    with pytest.raises((TypeError, ValueError), match="are not one array"):
        next(StratifiedKFold(2).split(make_X(), make_targets()))


def test_cross_validated_probabilities_are_a_clear_error():
    class WithProba(MeanOfPrice):
        def predict_proba(self, X):
            return self.predict(X)

    with pytest.raises(TypeError, match="are not one array"):
        cross_val_predict(WithProba(), make_X(), make_targets(), method="predict_proba")


# Frames


@pytest.fixture(params=[pd, pl], ids=["pandas", "polars"])
def frame(request):
    data = {"price": [1.5, 2.0], "rock": [0, 1], "kind": ["a", "b"], "pop": [1, 1]}
    return request.param.DataFrame(data)


def test_the_columns_of_a_frame_are_targets(frame):
    y = Targets.from_frame(frame)
    expected = {"price": [1.5, 2.0], "rock": [0, 1], "kind": ["a", "b"], "pop": [1, 1]}
    assert y == Targets({**expected, "kind": np.array(["a", "b"], dtype=object)})
    assert list(y) == ["price", "rock", "kind", "pop"]


def test_a_group_of_columns_is_one_target_where_its_first_column_stood(frame):
    y = Targets.from_frame(frame, groups={"tags": ["pop", "rock"]})
    assert list(y) == ["price", "tags", "kind"]
    np.testing.assert_array_equal(y["tags"], [[1, 0], [1, 1]])
    assert y["tags"].dtype == np.int64


def test_a_group_of_one_column_has_two_dimensions(frame):
    assert Targets.from_frame(frame, groups={"tags": ["pop"]})["tags"].shape == (2, 1)


def test_a_frame_round_trip_gives_the_same_frame():
    groups = {"tags": ["rock", "pop"]}
    data = {"price": [1.5, np.nan], "rock": [0, 1], "pop": [1, 1], "kind": ["a", None]}
    frame = pd.DataFrame(data)
    y = Targets.from_frame(frame, groups=groups)
    pd.testing.assert_frame_equal(y.to_frame(groups=groups), frame, check_dtype=False)


def test_columns_without_names_are_numbered():
    assert list(make_targets().to_frame()) == ["price", "kind", "tags_0", "tags_1", "tags_2"]


def test_a_group_of_unknown_columns_is_refused(frame):
    with pytest.raises(ValueError, match=r"`groups\['tags'\]` names the unknown column 'rok'"):
        Targets.from_frame(frame, groups={"tags": ["rok"]})


def test_a_column_in_two_groups_is_refused(frame):
    with pytest.raises(ValueError, match="Column 'pop' is in 'a' and in 'b'"):
        Targets.from_frame(frame, groups={"a": ["rock", "pop"], "b": ["pop"]})


def test_a_group_must_not_take_the_name_of_another_column(frame):
    with pytest.raises(ValueError, match="price"):
        Targets.from_frame(frame, groups={"price": ["rock", "pop"]})


def test_to_frame_refuses_unknown_groups():
    with pytest.raises(ValueError, match=r"`groups` names the unknown target 'tag'.*'tags'\?"):
        make_targets().to_frame(groups={"tag": ["a", "b", "c"]})


def test_to_frame_refuses_a_wrong_number_of_names():
    with pytest.raises(ValueError, match=r"`groups\['tags'\]` must name 3 columns. Got \['a'\]"):
        make_targets().to_frame(groups={"tags": ["a"]})


def test_to_frame_refuses_to_write_a_column_twice():
    y = Targets({"tags": [[1, 2], [3, 4]], "tags_0": [5, 6]})
    with pytest.raises(ValueError, match="tags_0"):
        y.to_frame()


def test_frames_with_numbered_columns_are_refused():
    with pytest.raises(TypeError, match="Targets: output names must be strings"):
        Targets.from_frame(pd.DataFrame(np.zeros((3, 2))))


# Missing labels


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, np.nan], [False, True]),
        (np.array([1, np.nan], dtype=np.float32), [False, True]),
        ([1, 2], [False, False]),
        ([True, False], [False, False]),
        (["a", "nan"], [False, False]),
        (["a", None], [False, True]),
        (np.array(["2020", "NaT"], dtype="M8[D]"), [False, True]),
        (np.array(["a", np.nan, None, pd.NA, pd.NaT], dtype=object), [False] + [True] * 4),
        ([[1.0, np.nan], [2.0, 3.0]], [[False, True], [False, False]]),
    ],
)
def test_the_missing_mask_finds_every_kind_of_missing_label(values, expected):
    mask = missing_mask(as_array(values, "a"))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)


def test_a_frame_with_two_columns_of_one_name_is_refused():
    frame = pd.DataFrame([[1.0, 2.0]], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"must have different names. Got \['a', 'a'\]"):
        Targets.from_frame(frame)
