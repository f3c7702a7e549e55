"""Rows and targets from frames and from arrays of any layout, beside plain arrays."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 30
RNG = np.random.default_rng(0)
X = RNG.integers(-8, 9, size=(N, 3)) / 4  # the same numbers in float16 and float64
COLUMNS = ["a", "b", "c"]
PRICE = 10 + X[:, 0]
KIND = np.where(X[:, 1] > 0, "flat", "house")
ROOMS = 1 + (X[:, 2] > 0).astype(int)
NEW = X[:, 1] > X[:, 0]
Y = {"price": PRICE, "kind": KIND, "rooms": ROOMS, "new": NEW}
CLASSES = [MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier]
LABELS = dict(zip(CLASSES, (Y, PRICE, KIND), strict=True))


def make(cls=MultiOutputNet, **params):
    return cls(**{"trunk": MLP((6,)), "max_epochs": 2, "random_state": 0} | params)


def plain(predicted):
    """Return predictions as bytes and strings that can be compared."""
    if not isinstance(predicted, dict):
        predicted = {"y": predicted}
    return {name: np.asarray(values).tolist() for name, values in predicted.items()}


TARGETS = {
    "pandas": pd.DataFrame(Y),
    "nullable": pd.DataFrame(
        {
            "price": pd.array(PRICE, "Float64"),
            "kind": pd.array(KIND, "string"),
            "rooms": pd.array(ROOMS, "Int64"),
            "new": pd.array(NEW, "boolean"),
        }
    ),
    "object": pd.DataFrame(
        {"price": PRICE, "kind": KIND.astype(object), "rooms": ROOMS, "new": NEW}
    ),
    "category": pd.DataFrame(
        {"price": PRICE, "kind": pd.Categorical(KIND), "rooms": pd.Categorical(ROOMS), "new": NEW}
    ),
    "polars": pl.DataFrame(Y),
    "polars category": pl.DataFrame(Y).with_columns(pl.col("kind").cast(pl.Categorical)),
    "other index": pd.DataFrame(Y, index=np.arange(N)[::-1] + 100),
    "series": {name: pd.Series(values) for name, values in Y.items()},
    "polars series": {name: pl.Series(values) for name, values in Y.items()},
    "lists": {name: values.tolist() for name, values in Y.items()},
}


@pytest.mark.parametrize("form", TARGETS)
def test_targets_of_any_library_train_the_same_network(form):
    expected = make().fit(X, Y)
    net = make().fit(X, TARGETS[form])
    assert plain(net.predict(X)) == plain(expected.predict(X))
    assert plain(net.predict_proba(X)) == plain(expected.predict_proba(X))
    assert net.scores(X, TARGETS[form]) == expected.scores(X, Y)


def with_missing(values, missing):
    values = np.array(values, dtype=object)
    values[:3] = missing
    return values


MISSING = {
    "Float64": ("price", pd.array(with_missing(PRICE, None), "Float64")),
    "Int64": ("rooms", pd.array(with_missing(ROOMS, None), "Int64")),
    "boolean": ("new", pd.array(with_missing(NEW, None), "boolean")),
    "string": ("kind", pd.array(with_missing(KIND, None), "string")),
    "category": ("kind", pd.Categorical(with_missing(KIND, None))),
    "category of numbers": ("rooms", pd.Categorical(with_missing(ROOMS, None))),
}


@pytest.mark.parametrize("dtype", MISSING)
def test_missing_labels_of_a_nullable_column_are_masked(dtype):
    name, values = MISSING[dtype]
    frame = pd.DataFrame(Y)
    frame[name] = pd.Series(values)
    with pytest.raises(ValueError, match=f"output '{name}'.*in 3 of 30 labels"):
        make().fit(X, frame)
    masked = make(missing_targets="ignore").fit(X, frame)
    expected = make(missing_targets="ignore").fit(
        X,
        {**Y, name: with_missing(Y[name], None)}
        if name != "price"
        else {**Y, name: np.where(np.arange(N) < 3, np.nan, PRICE)},
    )
    assert plain(masked.predict(X)) == plain(expected.predict(X))


@pytest.mark.parametrize("name", MISSING)
def test_missing_labels_of_polars_are_masked(name):
    name = MISSING[name][0]
    frame = pl.DataFrame(Y).with_columns(
        pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise(pl.col(name)).alias(name)
    )
    heads = {"rooms": Classification(), "new": Classification(), "price": Regression()}
    params = {"missing_targets": "ignore", "heads": heads}
    with pytest.raises(ValueError, match=f"output '{name}'.*in 3 of 30 labels"):
        make(heads=heads).fit(X, frame)
    labels = {**Y, name: with_missing(Y[name], None)}
    expected = make(**params).fit(X, labels)
    masked = make(**params).fit(X, frame)
    assert list(map(str, masked.classes_["new"])) == list(map(str, expected.classes_["new"]))
    assert plain(masked.predict(X)) == plain(expected.predict(X))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("heads", [None, {"day": Regression()}])
def test_dates_are_refused_by_the_name_of_the_output(frame, heads):
    y = frame({"day": np.arange(N).astype("M8[D]").astype("M8[us]"), "price": PRICE})
    with pytest.raises((TypeError, ValueError), match=r"output 'day'.*numbers"):
        make(heads=heads).fit(X, y)


@pytest.mark.parametrize("argument", ["X", "y", "sample_weight", "aux"])
def test_a_lazy_frame_is_refused_with_the_remedy(argument):
    lazy = pl.LazyFrame({"price": PRICE})
    cls = MultiOutputNetRegressor if argument == "aux" else MultiOutputNet
    arguments = {"X": X, "y": PRICE if argument == "aux" else {"price": PRICE}, argument: lazy}
    with pytest.raises((TypeError, ValueError), match=r"\.collect\(\)"):
        make(cls).fit(**arguments)


FRAMES = {
    "pandas": pd.DataFrame(X, columns=COLUMNS),
    "Float64": pd.DataFrame(X, columns=COLUMNS).astype("Float64"),
    "other index": pd.DataFrame(X, columns=COLUMNS, index=np.arange(N)[::-1]),
    "polars": pl.DataFrame(X, schema=COLUMNS),
}


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("form", FRAMES)
def test_rows_of_a_frame_are_those_of_an_array(cls, form):
    frame = FRAMES[form]
    net = make(cls).fit(frame, LABELS[cls])
    assert net.feature_names_in_.tolist() == COLUMNS
    expected = make(cls).fit(X, LABELS[cls])
    assert not hasattr(expected, "feature_names_in_")
    assert plain(net.predict(frame)) == plain(expected.predict(X))
    turned = frame[COLUMNS[::-1]]
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        net.predict(turned)
    with pytest.raises(ValueError, match=r"(?s)names unseen at fit time:.*- z"):
        net.predict(
            frame.rename({"a": "z"}) if form == "polars" else frame.rename(columns={"a": "z"})
        )
    with pytest.raises(ValueError, match=r"(?s)seen at fit time, yet now missing:.*- c"):
        net.predict(frame[COLUMNS[:2]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert plain(net.predict(X)) == plain(expected.predict(X))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_rows_are_refused_with_the_remedy(cls, form):
    with pytest.raises(TypeError, match=r"[Ss]parse data was passed.*toarray\(\)"):
        make(cls).fit(form(X), LABELS[cls])
    with pytest.raises(TypeError, match=r"[Ss]parse data was passed.*toarray\(\)"):
        make(cls).fit(X, LABELS[cls]).predict(form(X))


def strided(values):
    wide = np.zeros((2 * len(values), *(2 * size for size in values.shape[1:])), values.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in values.shape)]
    view[...] = values
    return view


def reversed_view(values):
    return values[::-1].copy()[::-1]


def turned_columns(values):
    return values[:, ::-1].copy()[:, ::-1] if values.ndim == 2 else reversed_view(values)


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


LAYOUTS = [strided, reversed_view, turned_columns, read_only, np.asfortranarray]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_layout_of_arrays_changes_not_one_bit(cls, layout, method):
    labels = {**Y, "pair": X[:, :2] + 1} if cls is MultiOutputNet else LABELS[cls]
    weight = 1 + X[:, 2] ** 2
    expected = getattr(make(cls), method)(X, labels, weight)
    if cls is MultiOutputNet:
        turned = {name: layout(values) for name, values in labels.items()}
    else:
        turned = layout(labels)
    net = getattr(make(cls), method)(layout(X), turned, layout(weight))
    assert plain(net.predict(layout(X))) == plain(expected.predict(X))
    assert net.score(layout(X), turned, layout(weight)) == expected.score(X, labels, weight)
    assert np.array_equal(net.embed(layout(X)), expected.embed(X))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_read_only_file_in_memory_is_an_array(cls, method, tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    labels = LABELS[cls]
    if cls is not MultiOutputNet:
        np.save(tmp_path / "y.npy", labels)
        labels = np.load(tmp_path / "y.npy", mmap_mode="r")
    net = getattr(make(cls), method)(mapped, labels)
    expected = getattr(make(cls), method)(X, LABELS[cls])
    assert plain(net.predict(mapped)) == plain(expected.predict(X))
    assert np.array_equal(mapped, X)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"]
)
@pytest.mark.parametrize("cls", CLASSES)
def test_numbers_of_any_type_are_rows(cls, dtype):
    rows = np.abs(X * 4).astype(dtype)
    as_float = rows.astype(np.float32 if dtype == "float32" else np.float64)
    net, expected = (make(cls).fit(form, LABELS[cls]) for form in (rows, as_float))
    assert plain(net.predict(rows)) == plain(expected.predict(as_float))
    weights = next(net.module_.parameters())
    assert str(weights.dtype) == ("torch.float32" if dtype == "float32" else "torch.float64")
    assert plain(make(cls).fit(as_float.tolist(), LABELS[cls]).predict(rows)) == plain(
        make(cls).fit(as_float.astype(float), LABELS[cls]).predict(rows)
    )
