"""Rows and targets from frames and from arrays of any layout, beside plain arrays."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
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


# Columns that are no numbers

DAYS = np.arange(N).astype("M8[D]").astype("M8[us]")
WORDS = {
    "strings": pd.Series(KIND),
    "objects": pd.Series(KIND.astype(object)),
    "category": pd.Series(pd.Categorical(KIND)),
    "nullable strings": pd.Series(pd.array(KIND, "string")),
}
DATES = {
    "dates": pd.Series(DAYS),
    "dates of a zone": pd.Series(DAYS).dt.tz_localize("UTC"),
    "durations": pd.Series(DAYS - DAYS[0]),
    "missing dates": pd.Series(np.where(np.arange(N) < 3, np.datetime64("NaT"), DAYS)),
}


def to_polars(frame):
    """Return a frame of polars, without the help of pyarrow."""
    columns = {}
    for name, values in frame.items():
        plain = [None if pd.isna(value) else value for value in values]
        plain = [v.to_pytimedelta() if isinstance(v, pd.Timedelta) else v for v in plain]
        is_category = values.dtype == "category" and isinstance(plain[0], str)
        columns[name] = pl.Series(plain, dtype=pl.Categorical if is_category else None)
    return pl.DataFrame(columns)


LIBRARIES = {"pandas": lambda frame: frame, "polars": to_polars}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", WORDS)
def test_words_among_the_rows_are_refused_by_scikit_learn(kind, library, alone, method):
    frame = pd.DataFrame({"word": WORDS[kind]} | ({} if alone else {"a": X[:, 0]}))
    with pytest.raises(ValueError, match=r"could not convert string to float: '(flat|house)'"):
        getattr(make(), method)(LIBRARIES[library](frame), Y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", DATES)
def test_dates_among_the_rows_are_no_numbers(kind, library, alone, method):
    frame = pd.DataFrame({"day": DATES[kind]} | ({} if alone else {"a": X[:, 0]}))
    with pytest.raises(TypeError, match=r"`X` must hold numbers. Got dates.*\['day'\]"):
        getattr(make(), method)(LIBRARIES[library](frame), Y)


@pytest.mark.parametrize("library", LIBRARIES)
def test_dates_are_refused_by_a_fitted_estimator_too(library):
    convert = LIBRARIES[library]
    net = make().fit(convert(pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})), Y)
    dates = convert(pd.DataFrame({"a": X[:, 0], "b": DAYS}))
    for call in (net.predict, net.predict_proba, net.embed, lambda rows: net.score(rows, Y)):
        with pytest.raises(TypeError, match=r"`X` must hold numbers. Got dates.*\['b'\]"):
            call(dates)


@pytest.mark.parametrize("dtype", ["M8[D]", "M8[ns]", "m8[D]"])
def test_an_array_of_dates_is_refused(dtype):
    with pytest.raises(TypeError, match=r"`X` must hold numbers. Got dates.*\['X'\]"):
        make().fit(np.arange(2 * N).astype(dtype).reshape(N, 2), Y)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", ["category", "object", "bool"])
def test_numbers_in_columns_of_another_kind_are_numbers(library, dtype):
    values = X[:, 0] > 0 if dtype == "bool" else X[:, 0]
    frame = pd.DataFrame({"a": pd.Series(values).astype(dtype), "b": X[:, 1]})
    net = make().fit(LIBRARIES[library](frame), Y)
    plain_rows = np.column_stack([values, X[:, 1]]).astype(float)
    assert plain(net.predict(LIBRARIES[library](frame))) == plain(
        make().fit(plain_rows, Y).predict(plain_rows)
    )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", WORDS)
def test_a_column_transformer_makes_numbers_of_words(kind, library):
    frame = LIBRARIES[library](pd.DataFrame({"word": WORDS[kind], "a": X[:, 0]}))
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["word"]), (StandardScaler(), ["a"])
    )
    pipe = make_pipeline(encode, make()).fit(frame, Y)
    scaled = StandardScaler().fit_transform(X[:, :1])
    rows = np.column_stack([KIND == "flat", KIND == "house", scaled]).astype(float)
    assert plain(pipe.predict(frame)) == plain(make().fit(rows, Y).predict(rows))


# pyarrow: its own tables, and the columns of pandas that it backs


@pytest.fixture
def pa():
    return pytest.importorskip("pyarrow", reason="pyarrow's tables need pyarrow")


def as_arrow(pa, values, missing=0, *, encoded=False):
    """Return values as an array of pyarrow in two chunks, the first ones missing."""
    mask = np.arange(len(values)) < missing
    chunks = [pa.array(values[part], mask=mask[part]) for part in (slice(7), slice(7, None))]
    array = pa.chunked_array(chunks)
    return array.dictionary_encode() if encoded else array


def arrow_targets(pa, form):
    columns = {name: as_arrow(pa, values) for name, values in Y.items()}
    frame = pd.DataFrame(Y)
    return {
        "table": lambda: pa.table(columns),
        "batch": lambda: pa.record_batch({name: pa.array(values) for name, values in Y.items()}),
        "encoded": lambda: pa.table({**columns, "kind": columns["kind"].dictionary_encode()}),
        "chunks": lambda: columns,
        "arrays": lambda: {name: pa.array(values) for name, values in Y.items()},
        "targets": lambda: Targets(columns),
        "pandas": lambda: frame.convert_dtypes(dtype_backend="pyarrow"),
        "types": lambda: pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype),
    }[form]()


ARROW_TARGETS = ["table", "batch", "encoded", "chunks", "arrays", "targets", "pandas", "types"]


@pytest.mark.parametrize("form", ARROW_TARGETS)
def test_targets_of_pyarrow_train_the_same_network(form, pa):
    y = arrow_targets(pa, form)
    expected = make().fit(X, Y)
    net = make().fit(X, y)
    assert net.output_names_ == list(Y)
    assert {name: repr(head) for name, head in net.heads_.items()} == {
        name: repr(head) for name, head in expected.heads_.items()
    }
    assert plain(net.predict(X)) == plain(expected.predict(X))
    assert plain(net.predict_proba(X)) == plain(expected.predict_proba(X))
    assert net.scores(X, y) == expected.scores(X, Y)
    assert plain(make().partial_fit(X, y).predict(X)) == plain(make().partial_fit(X, Y).predict(X))


@pytest.mark.parametrize("name", Y)
@pytest.mark.parametrize("form", ["chunks", "one array", "encoded", "pandas"])
def test_missing_labels_of_pyarrow_are_masked(form, name, pa):
    values = as_arrow(pa, Y[name], missing=3, encoded=form == "encoded")
    y = pa.table({**{other: pa.array(labels) for other, labels in Y.items()}, name: values})
    if form == "encoded" and name == "price":
        y = y.set_column(0, name, values.cast(pa.float64()))
    if form == "pandas":
        y = y.to_pandas(types_mapper=pd.ArrowDtype)
    if form == "one array":
        y = {**Y, name: values.combine_chunks()}
    with pytest.raises(ValueError, match=f"output '{name}'.*in 3 of 30 labels"):
        make().fit(X, y)
    missing = with_missing(Y[name], None)
    labels = {**Y, name: missing.astype(float) if name == "price" else missing}
    expected = make(missing_targets="ignore").fit(X, labels)
    masked = make(missing_targets="ignore").fit(X, y)
    assert {n: c.tolist() for n, c in masked.classes_.items()} == {
        n: c.tolist() for n, c in expected.classes_.items()
    }
    assert plain(masked.predict(X)) == plain(expected.predict(X))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("form", ["table", "float64[pyarrow]", "convert_dtypes"])
def test_rows_of_pyarrow_are_those_of_an_array(form, cls, pa):
    frame = pd.DataFrame(X, columns=COLUMNS)
    rows = {
        "table": lambda: pa.table({name: as_arrow(pa, X[:, j]) for j, name in enumerate(COLUMNS)}),
        "float64[pyarrow]": lambda: frame.astype("float64[pyarrow]"),
        "convert_dtypes": lambda: frame.convert_dtypes(dtype_backend="pyarrow"),
    }[form]()
    net = make(cls).fit(rows, LABELS[cls])
    expected = make(cls).fit(X, LABELS[cls])
    assert net.feature_names_in_.tolist() == COLUMNS
    assert plain(net.predict(rows)) == plain(expected.predict(X))
    turned = rows.select(COLUMNS[::-1]) if form == "table" else rows[COLUMNS[::-1]]
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        net.predict(turned)


@pytest.mark.parametrize("form", ["table", "pandas"])
def test_missing_numbers_among_the_rows_are_refused(form, pa):
    columns = {name: as_arrow(pa, X[:, j], missing=j) for j, name in enumerate(COLUMNS)}
    rows = pa.table(columns)
    if form == "pandas":
        rows = rows.to_pandas(types_mapper=pd.ArrowDtype)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        make().fit(rows, Y)


@pytest.mark.parametrize("form", ["table", "pandas"])
def test_words_and_dates_of_pyarrow_are_refused(form, pa):
    def rows(values):
        table = pa.table({"a": X[:, 0], "b": values})
        return table if form == "table" else table.to_pandas(types_mapper=pd.ArrowDtype)

    for values in (pa.array(KIND), pa.array(KIND).dictionary_encode()):
        with pytest.raises(ValueError, match=r"could not convert string to float: '(flat|house)'"):
            make().fit(rows(values), Y)
    days = pa.array(DAYS)
    for values in (days, days.cast(pa.date32()), pa.array(DAYS - DAYS[0])):
        with pytest.raises(TypeError, match=r"`X` must hold numbers. Got dates.*\['b'\]"):
            make().fit(rows(values), Y)


@pytest.mark.parametrize("cls", [MultiOutputNetRegressor, MultiOutputNetClassifier])
@pytest.mark.parametrize("form", ["table", "batch", "pandas"])
def test_auxiliary_targets_and_weights_of_pyarrow(form, cls, pa):
    rng = np.random.default_rng(1)
    aux = {"other": KIND if cls is MultiOutputNetRegressor else PRICE}
    weight = {"y": rng.uniform(size=N), "other": rng.uniform(size=N)}

    def as_form(columns):
        table = pa.record_batch(columns) if form == "batch" else pa.table(columns)
        return table.to_pandas(types_mapper=pd.ArrowDtype) if form == "pandas" else table

    expected = make(cls).fit(X, LABELS[cls], weight, aux=aux)
    net = make(cls).fit(X, pa.array(LABELS[cls]), as_form(weight), aux=as_form(aux))
    assert plain(net.predict(X)) == plain(expected.predict(X))
    assert net.score(X, LABELS[cls], as_form(weight)) == expected.score(X, LABELS[cls], weight)


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9),
    reason="older versions do not divide tables of pyarrow",
)
@pytest.mark.parametrize("on_rows", [False, True])
def test_scikit_learn_splits_tables_of_pyarrow(on_rows, pa):
    y = pa.table({name: as_arrow(pa, values) for name, values in Y.items()})
    rows = pa.table({name: X[:, j] for j, name in enumerate(COLUMNS)}) if on_rows else X
    found = cross_validate(make(), rows, y, cv=3, return_estimator=True, error_score="raise")
    expected = cross_validate(
        make(), X, Targets(Y), cv=3, return_estimator=True, error_score="raise"
    )
    assert found["test_score"].tolist() == expected["test_score"].tolist()
    for one, other in zip(found["estimator"], expected["estimator"], strict=True):
        assert plain(one.predict(rows)) == plain(other.predict(X))
    search = GridSearchCV(make(), {"alpha": [0.0, 0.1]}, cv=3, error_score="raise").fit(rows, y)
    alone = make(**search.best_params_).fit(X, Y)
    assert plain(search.predict(rows)) == plain(alone.predict(X))
    parts = train_test_split(rows, y, test_size=0.3, random_state=0)
    plain_parts = train_test_split(X, Targets(Y), test_size=0.3, random_state=0)
    net, other = make().fit(parts[0], parts[2]), make().fit(plain_parts[0], plain_parts[2])
    assert net.scores(parts[1], parts[3]) == other.scores(plain_parts[1], plain_parts[3])


def test_targets_keep_what_a_table_of_pyarrow_holds(pa):
    table = pa.table({name: as_arrow(pa, values, missing=2) for name, values in Y.items()})
    targets = Targets.from_frame(table, groups={"both": ["rooms", "price"]})
    assert list(targets) == ["both", "kind", "new"]
    assert targets["both"][2:].tolist() == np.column_stack([ROOMS, PRICE])[2:].tolist()
    assert targets["kind"].tolist() == [None, None, *KIND[2:]]
    assert targets["new"].tolist() == [None, None, *NEW[2:]]
    assert Targets.from_frame(table)["rooms"].tolist() == [None, None, *ROOMS[2:]]
    same = pa.table([as_arrow(pa, PRICE)] * 2, names=["a", "a"])
    with pytest.raises(ValueError, match="columns of a frame must have different names"):
        Targets.from_frame(same)
