import copy
import pickle
from functools import partial
from itertools import product

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from sklearn import model_selection as ms
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import resample, shuffle
from sklearn.utils.validation import check_consistent_length

from mtlearn import Inputs, Targets

N = 12
NAMES = ["row", "text", "words", "pixels", "table", "ids"]
KINDS = [list, tuple, pl.Series, pa.array, partial(pd.Series, dtype="category")]
VALUES = [*product(KINDS, [[1, 2], ["a", "b"], ["a", None]]), (list, ["a", np.nan])]
VALUES += [(list, [1, "a", 2.5]), (list, [[1, 2], [3, 4]]), (list, [{"a": 1}, {"b": 2}])]
VALUES += [(partial(pd.Series, dtype="Int64", index=[2, 1]), pair) for pair in ([1, 2], [1, None])]
RAGGED = [[[3, 7], [], [2, 4, 9]], (np.ones((2, 3)), np.zeros((2, 4))), [["a"], ["b", "c"]]]
MASK = np.arange(N) % 3 == 0
ROWS = [slice(2, 9, 3), slice(None, None, -1), slice(0), [3, 1, 3], np.array([0, -1]), range(2, 5)]
ROWS += [MASK, MASK.tolist(), pd.Series(MASK), pl.Series(MASK), MASK & ~MASK, np.array([], int), []]
MISSING = [np.array([[1.0, np.nan]]), np.array(["a", None, np.nan]), np.array(["NaT"], "M8[D]")]
MISSING += [pd.Series(["a", None], dtype="string"), [[1.0, np.nan], [2.0], ["a"]]]
MISSING += [library.DataFrame({"x": [1.0, np.nan], "y": ["a", None]}) for library in (pd, pl)]
CHANGES = {"__setitem__": ("row", 0), "__delitem__": ("row",), "__ior__": ({"row": 0},)}
CHANGES |= {"clear": (), "pop": ("row",), "popitem": (), "setdefault": ("b", 0), "update": ({},)}
COPIES = [copy.copy, Inputs.copy, copy.deepcopy, lambda X: pickle.loads(pickle.dumps(X))]
REFUSED = [Ridge().fit, StandardScaler().fit, BaggingRegressor().fit]


def make_inputs():
    rng = np.random.default_rng(0)
    size = np.where(np.arange(N) == 5, np.nan, rng.normal(size=N))
    table = pd.DataFrame({"size": size, "kind": pd.Categorical(["a", "b", "c"] * 4)})
    ids = pl.DataFrame({"user": range(N), "shop": [None, *"abcdefghijk"]})
    text, words = [f"text {i}" for i in range(N)], [list(range(1 + i % 5)) for i in range(N)]
    parts = [np.arange(N), text, words, rng.normal(size=(N, 1, 2, 2)), table, ids]
    return Inputs(zip(NAMES, parts, strict=True))


def rows_of(part):
    """The rows of an input and its type, as texts: in these NaN is equal to itself."""
    if isinstance(part, np.ndarray):
        return [*map(repr, part), part.dtype]
    rows = part.itertuples() if isinstance(part, pd.DataFrame) else part.rows()
    return [*map(repr, rows), str(part.dtypes)]


def assert_rows(part, whole, rows):
    """`part` holds exactly the rows `rows` of `whole`, in order."""
    assert (type(part), list(part)) == (Inputs, list(whole))
    for name in whole:
        *expected, kind = rows_of(whole[name])
        assert rows_of(part[name]) == [*(expected[i] for i in np.arange(len(whole))[rows]), kind]


@pytest.mark.parametrize(("kind", "values"), VALUES)
def test_lists_and_series_become_arrays_of_the_same_values(kind, values):
    found = Inputs({"a": kind(values)})["a"]
    assert type(found) is np.ndarray
    assert repr(found.tolist()) == repr(values)


def test_arrays_and_frames_are_kept_without_a_copy():
    arrays = [np.zeros((2, 3, 4, 5)[:n]) for n in range(1, 5)]
    for values in (*arrays, pd.DataFrame(arrays[1]), pl.DataFrame(arrays[1])):
        assert Inputs({"a": values})["a"] is values


@pytest.mark.parametrize("values", RAGGED, ids=repr)
def test_sequences_of_different_lengths_become_an_array_of_arrays_of_one_type(values):
    found = Inputs({"a": values})["a"]
    assert [*map(repr, found)] == [repr(np.asarray(row, found[0].dtype)) for row in values]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"a": csr_matrix(np.eye(3))}, TypeError, r"input 'a' is sparse; pass values.toarray"),
        ({"a": {"b": [1]}}, TypeError, r"array or a DataFrame. Got dict for 'a'; give its entries"),
        ({"a": 3}, ValueError, r"must have rows. Input 'a' is the single value 3"),
        ({"a": [[1, 2], 3]}, ValueError, r"Inputs: input 'a' is no regular array"),
        ({"a": [1, 2], "b": [1]}, ValueError, r"same number of rows. Got \{'a': 2, 'b': 1\}"),
        ({0: [1]}, TypeError, r"input names must be strings. Got 0 of .* example to '0'"),
        ({"a__b": [1]}, ValueError, r"must not .* contain '__'.* Got 'a__b'; rename"),
    ],
)
def test_what_cannot_be_an_input_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        Inputs(data)


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_rows_are_picked_in_every_input(rows):
    X = make_inputs()
    assert_rows(X[rows], X, rows)
    assert_rows(X[rows, ...], X, rows)


def test_rows_out_of_range_are_refused():
    for name in NAMES:
        with pytest.raises(IndexError, match="out of bounds"):
            make_inputs()[[name]][[N]]


@pytest.mark.parametrize("kind", [list, np.array, pd.Index])
def test_names_pick_inputs(kind):
    X = make_inputs()
    some = X[kind(["table", "text"])]
    assert (type(some), list(some)) == (Inputs, ["table", "text"])
    assert some["table"] is X["table"]
    for key in ("txt", kind(["table", "txt"])):
        with pytest.raises(ValueError, match=r"unknown input 'txt'; .*did you mean 'text'"):
            X[key]


@pytest.mark.parametrize("key", [0, None, 1.5, (0, 1), (0, ...), [[0, 1]]], ids=str)
def test_what_picks_neither_names_nor_rows_is_refused(key):
    with pytest.raises(TypeError, match=r"Inputs: index by a name, a list .* write X\[\[3\]\]"):
        make_inputs()[key]


@pytest.mark.parametrize("values", MISSING, ids=repr)
def test_missing_values_are_equal_to_themselves(values):
    first, second = Inputs({"a": values}), Inputs({"a": copy.deepcopy(values)})
    assert (first == second, first != second) == (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_differ_by_values_names_shapes_and_type(name):
    X = make_inputs()
    assert X[NAMES[::-1]] == X[np.arange(N)] == X == Inputs({**X})
    others = [X[name][::-1], np.zeros((N, 3)), pd.DataFrame({"x": range(N)}), [None] * N]
    others = [Inputs({**X, name: values}) for values in others]
    others += [X[1:], X[[n for n in NAMES if n != name]], dict(X), Targets({"row": X["row"]})]
    for other in others:
        assert (other == X, other != X, X.__eq__(other)) == (False, True, False)


def test_the_repr_shows_what_each_input_is():
    kinds = ["int64 (12,)", "<U7 (12,)", "sequences of 1 to 5", "float64 (12, 1, 2, 2)"]
    kinds += ["DataFrame (12, 2): size, kind", "DataFrame (12, 2): user, shop"]
    lines = [f"  {name:<6}  {kind}" for name, kind in zip(NAMES, kinds, strict=True)]
    assert repr(make_inputs()).splitlines() == ["Inputs of 12 rows:", *lines]


@pytest.mark.parametrize("change", CHANGES)
def test_inputs_cannot_be_changed_but_make_new_ones(change):
    X = make_inputs()
    with pytest.raises(TypeError, match=r"cannot be changed in place.*Inputs\(\{\*\*X"):
        getattr(X, change)(*CHANGES[change])
    assert make_inputs() == X
    assert type(X | {"row": X["row"]}) is type({"row": X["row"]} | X) is Inputs


@pytest.mark.parametrize("copied", COPIES)
def test_copies_are_equal_inputs_with_equal_hashes(copied):
    X = make_inputs()
    assert_rows(copied(X), X, slice(None))
    assert joblib.hash(copied(X)) == joblib.hash(X) != joblib.hash(X[::-1])


def test_concatenation_joins_rows_by_name():
    X, rows = make_inputs(), np.r_[0:5, 2:N]
    joined = np.concatenate([X[:5], X[2:][NAMES[::-1]]])
    assert_rows(joined, X, rows)
    assert joined == X[rows]
    with pytest.raises(TypeError, match=r"only Inputs of the same names can be concatenated"):
        np.concatenate([X, X[["row"]]])
    for make in (pd.DataFrame, pl.DataFrame):
        with pytest.raises(ValueError, match=r"frames of the same columns, can be concatenated"):
            np.concatenate([Inputs({"a": make({name: [1]})}) for name in "xy"])


class Lookup(RegressorMixin, BaseEstimator):
    """Predict the row's number, or return the rows, and see that all inputs are of one row."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y):
        assert_rows(X[NAMES], make_inputs(), y)
        self.fitted_ = True
        return self

    def predict(self, X):
        assert_rows(X[NAMES], make_inputs(), X["row"])
        return X if self.shift is None else X["row"] + self.shift


class AddMean(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.mean_ = X["pixels"].mean()
        return self

    def transform(self, X):
        return Inputs({**X, "mean": np.full(len(X), self.mean_)})


def test_tools_that_pick_rows_keep_them_together():
    X, y = make_inputs(), np.arange(N)
    train, test, y_train, y_test = ms.train_test_split(X, y, stratify=y % 2, random_state=0)
    pairs = [(train, y_train), (test, y_test), shuffle(X, y), resample(X, y, n_samples=20)]
    for rows, positions in pairs:
        assert_rows(rows, X, positions)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        check_consistent_length(X, y[1:])


@pytest.mark.parametrize("cv", [ms.KFold(3, shuffle=True, random_state=0), ms.GroupKFold(3)])
def test_inputs_go_through_cross_validation_and_searches(cv):
    X, y = make_inputs(), np.arange(N)
    groups = y % 4 if isinstance(cv, ms.GroupKFold) else None
    folds = list(cv.split(X, y, groups))
    np.testing.assert_equal(folds, list(cv.split(np.zeros(N), y, groups)))
    model = make_pipeline(AddMean(), Lookup())
    scores = ms.cross_validate(model, X, y, cv=folds, error_score="raise")
    assert scores["test_score"].tolist() == [1] * 3
    np.testing.assert_array_equal(ms.cross_val_predict(model, X, y, cv=folds), y)
    assert_rows(ms.cross_val_predict(Lookup(shift=None), X, y, cv=folds), X, slice(N))
    search = ms.GridSearchCV(model, {"lookup__shift": [0.5, 0.0]}, cv=folds).fit(X, y)
    assert search.best_params_ == {"lookup__shift": 0.0}
    np.testing.assert_array_equal(search.predict(X[3:]), y[3:])


def test_a_step_of_a_pipeline_takes_one_input():
    X, y = make_inputs(), np.arange(N)
    pixels = X["pixels"][:, 0, 0]
    model = make_pipeline(FunctionTransformer(lambda X: X["pixels"][:, 0, 0]), Ridge())
    np.testing.assert_allclose(model.fit(X, y).predict(X), Ridge().fit(pixels, y).predict(pixels))


@pytest.mark.parametrize("tool", [*REFUSED, lambda X, _: np.asarray(X), lambda X, _: np.mean(X)])
def test_what_needs_one_array_is_a_clear_error(tool):
    with pytest.raises(TypeError, match=r"are not one array.*Pick one with X\['row'\]"):
        tool(make_inputs(), np.arange(N))
