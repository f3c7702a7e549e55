"""The columns of one table become inputs, each as its transformer makes them alone."""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_selector
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils import estimator_checks, estimator_html_repr, get_tags

from mtlearn import Inputs, MultiOutputNet, Targets
from mtlearn.heads import Classification, Regression
from mtlearn.preprocessing import ColumnInputs, OnInput, Tokenizer
from mtlearn.trunks import MLP, Graph

N = 60
RNG = np.random.default_rng(0)
AGE, RENT = RNG.normal(40, 10, size=N), RNG.normal(900, 200, size=N)
CITY = np.array(["Rome", "Oslo", "Paris"])[RNG.integers(0, 3, size=N)]
JOB = np.array(["cook", "nurse"])[RNG.integers(0, 2, size=N)]
COLUMNS = {"age": AGE, "rent": RENT, "city": CITY, "job": JOB, "count": np.arange(N)}
X = pd.DataFrame(COLUMNS)
NUMBERS, CATEGORIES = ["age", "rent"], ["city", "job"]
TABLE = X[[*NUMBERS, "count"]].to_numpy()
WEIGHT = RNG.uniform(0.1, 1, size=N)
ENCODER = OrdinalEncoder(
    handle_unknown="use_encoded_value",
    unknown_value=-1,
    encoded_missing_value=-1,
    dtype=np.int64,
)
STEP = ColumnInputs([("numbers", StandardScaler(), NUMBERS), ("categories", ENCODER, CATEGORIES)])


class OnlyFit(BaseEstimator):
    """A transformer without fit_transform."""

    def fit(self, X, y=None):
        self.mean_ = np.mean(X, axis=0)
        return self

    def transform(self, X):
        return np.asarray(X - self.mean_)


class Shifted(TransformerMixin, BaseEstimator):
    """A transformer of as many rows, or fewer."""

    def __init__(self, n_lost=0):
        self.n_lost = n_lost

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.asarray(X)[self.n_lost :]


def codes_of(values):
    return np.unique(values, return_inverse=True)[1]


def joined(inputs):
    return np.hstack([np.asarray(inputs[name], dtype=float) for name in inputs])


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_each_input_is_what_its_transformer_makes_of_its_columns(library):
    frame = library.DataFrame(COLUMNS)
    step = clone(STEP).fit(frame[:40])
    scaler = StandardScaler().fit(TABLE[:40, :2])
    assert step.input_names_ == ["numbers", "categories"]
    for rows in (slice(0, 40), slice(40, None)):
        found = step.transform(frame[rows])
        assert isinstance(found, Inputs)
        assert list(found) == ["numbers", "categories"]
        np.testing.assert_allclose(found["numbers"], scaler.transform(TABLE[rows, :2]), rtol=1e-12)
        expected = np.column_stack([codes_of(CITY), codes_of(JOB)])[rows]
        np.testing.assert_array_equal(found["categories"], expected)
    assert clone(STEP).fit_transform(frame[:40]) == step.transform(frame[:40])


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_integers_stay_integers_beside_floats_and_texts(library):
    entries = [*STEP.inputs, ("count", "passthrough", ["count"]), ("words", Tokenizer(), "city")]
    found = ColumnInputs(entries).fit_transform(library.DataFrame(COLUMNS))
    assert {name: part.dtype.name for name, part in found.items()} == {
        "numbers": "float64",
        "categories": "int64",
        "count": "int64",
        "words": "int64",
    }
    np.testing.assert_array_equal(found["count"], np.arange(N)[:, None])
    np.testing.assert_array_equal(found["words"], Tokenizer().fit_transform(CITY))


@pytest.mark.parametrize(
    "columns",
    [
        ["age", "rent"],
        [0, 1],
        [-5, -4],
        slice(0, 2),
        slice("age", "rent"),
        [True, True, False, False, False],
        np.array([True, True, False, False, False]),
        pd.Index(["age", "rent"]),
        make_column_selector(dtype_include=float),
        lambda frame: [name for name in frame.columns if name in NUMBERS],
    ],
    ids=lambda columns: type(columns).__name__,
)
def test_columns_are_selected_in_all_ways_of_a_column_transformer(columns):
    step = ColumnInputs([("numbers", "passthrough", columns)])
    np.testing.assert_array_equal(step.fit_transform(X)["numbers"], X[NUMBERS])
    np.testing.assert_array_equal(step.transform(X[:7])["numbers"], X[NUMBERS][:7])
    again = clone(step).fit_transform(X)
    np.testing.assert_array_equal(again["numbers"], X[NUMBERS])


@pytest.mark.parametrize("columns", [[0, 1], slice(0, 2), [True, True, False], slice(-3, -1)])
def test_columns_of_an_array_are_selected_by_position(columns):
    step = ColumnInputs([("numbers", StandardScaler(), columns), ("last", "passthrough", [-1])])
    found = step.fit_transform(TABLE)
    np.testing.assert_array_equal(found["numbers"], StandardScaler().fit_transform(TABLE[:, :2]))
    np.testing.assert_array_equal(found["last"], TABLE[:, 2:])
    assert step.n_features_in_ == 3
    assert not hasattr(step, "feature_names_in_")


def test_a_column_may_go_into_several_inputs():
    step = ColumnInputs([("raw", "passthrough", ["age"]), ("scaled", MinMaxScaler(), ["age"])])
    found = step.fit_transform(X)
    np.testing.assert_array_equal(found["raw"][:, 0], AGE)
    assert (found["scaled"].min(), found["scaled"].max()) == pytest.approx((0, 1))


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize("by", ["name", "position"])
def test_columns_in_another_order_and_further_ones_change_nothing(library, by):
    frame = library.DataFrame(COLUMNS)
    where = {"name": (NUMBERS, CATEGORIES), "position": ([0, 1], [2, 3])}[by]
    step = ColumnInputs([("numbers", StandardScaler(), where[0]), ("ids", ENCODER, where[1])])
    expected = step.fit(frame).transform(frame)
    more = library.DataFrame({"new": np.ones(N), **dict(reversed(COLUMNS.items()))})
    assert step.transform(more) == expected
    without = library.DataFrame({k: v for k, v in COLUMNS.items() if k != "count"})
    assert step.transform(without) == expected


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_a_missing_column_is_scikit_learns_error_with_the_input(library):
    frame = library.DataFrame(COLUMNS)
    lacking = library.DataFrame({k: v for k, v in COLUMNS.items() if k != "city"})
    step = clone(STEP).fit(frame)
    message = "ColumnInputs: input 'categories': columns are missing: {'city'}"
    with pytest.raises(ValueError, match=message):
        step.transform(lacking)
    with pytest.raises(ValueError, match=r"ColumnInputs: input 'categories': .*column"):
        clone(STEP).fit(lacking)


def test_the_columns_of_an_array_are_counted():
    step = ColumnInputs([("first", "passthrough", [0])]).fit(TABLE)
    with pytest.raises(ValueError, match=r"input 'first': X has 2 features, but .* expecting 3"):
        step.transform(TABLE[:, :2])
    with pytest.raises(ValueError, match="input 'first': all features must be in"):
        ColumnInputs([("first", "passthrough", [7])]).fit(TABLE)


def test_unseen_and_missing_categories_get_the_id_that_the_encoder_has_for_them():
    step = clone(STEP).fit(X)
    frame = X[:3].assign(city=["Bonn", None, "Oslo"])
    np.testing.assert_array_equal(step.transform(frame)["categories"][:, 0], [-1, -1, 0])


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_the_given_transformers_stay_unfitted(method):
    scaler, encoder = StandardScaler(), clone(ENCODER)
    inputs = [("numbers", scaler, NUMBERS), ("categories", encoder, CATEGORIES)]
    step = ColumnInputs(inputs).set_output(transform="pandas")
    getattr(step, method)(X)
    assert step.inputs is inputs
    assert inputs == [("numbers", scaler, NUMBERS), ("categories", encoder, CATEGORIES)]
    assert not hasattr(scaler, "mean_")
    assert isinstance(scaler.fit_transform(X[NUMBERS]), np.ndarray)
    np.testing.assert_allclose(step.named_transformers_["numbers"].mean_, X[NUMBERS].mean())
    assert [list(c) for c in step.named_transformers_["categories"].categories_] == [
        ["Oslo", "Paris", "Rome"],
        ["cook", "nurse"],
    ]
    assert step.column_transformers_["numbers"].transformers_[0][2] == NUMBERS


def test_a_fit_again_forgets_the_columns_of_before():
    step = ColumnInputs([("first", "passthrough", [0])]).fit(X)
    assert (step.n_features_in_, list(step.feature_names_in_)) == (5, list(COLUMNS))
    step.fit(TABLE)
    assert step.n_features_in_ == 3
    assert not hasattr(step, "feature_names_in_")


def test_a_failed_fit_leaves_the_fitted_as_it_was():
    step = clone(STEP).fit(X)
    expected = step.transform(X)
    with pytest.raises(ValueError, match="input 'numbers': could not convert string to float"):
        step.fit(X.assign(rent=JOB))
    assert step.transform(X) == expected


def test_fit_transform_is_that_of_the_transformers():
    step = ColumnInputs([("city", TargetEncoder(), ["city"]), ("job", ENCODER, ["job"])])
    crossed = step.fit_transform(X, RENT)["city"]
    assert len(np.unique(crossed)) > 3
    expected = TargetEncoder().fit(X[["city"]], RENT).transform(X[["city"]])
    np.testing.assert_array_equal(step.transform(X)["city"], expected)


def test_a_transformer_without_fit_transform_will_do():
    found = ColumnInputs([("numbers", OnlyFit(), NUMBERS)]).fit_transform(X)
    np.testing.assert_allclose(found["numbers"], X[NUMBERS] - X[NUMBERS].mean())


def test_the_labels_reach_the_transformers():
    step = ColumnInputs([("best", SelectKBest(k=1), [0, 1, 2])])
    np.testing.assert_array_equal(step.fit_transform(TABLE, RENT > 900)["best"], TABLE[:, [1]])
    with pytest.raises(ValueError, match=r"ColumnInputs: input 'best': .*requires y to be passed"):
        step.fit(TABLE)


def test_targets_pass_transformers_that_ignore_labels():
    y = Targets({"kind": CITY == "Rome", "price": RENT})
    assert clone(STEP).fit_transform(X, y) == clone(STEP).fit_transform(X)


def test_sample_weights_are_routed_where_they_are_requested():
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        entries = [("weighted", scaler, NUMBERS), ("plain", MinMaxScaler(), ["count"])]
        step = ColumnInputs([*entries, ("raw", "passthrough", ["age"])])
        expected = StandardScaler().fit(X[NUMBERS], sample_weight=WEIGHT)
        assert not np.allclose(expected.mean_, X[NUMBERS].mean())
        for method in ("fit", "fit_transform"):
            fitted = clone(step)
            getattr(fitted, method)(X, sample_weight=WEIGHT)
            np.testing.assert_array_equal(
                fitted.transform(X)["weighted"], expected.transform(X[NUMBERS])
            )
        ridge = Ridge().set_fit_request(sample_weight=True)
        pipe = make_pipeline(step, FunctionTransformer(joined), ridge)
        pipe.fit(X, RENT, sample_weight=WEIGHT)
        np.testing.assert_array_equal(pipe[0].named_transformers_["weighted"].mean_, expected.mean_)


def test_metadata_that_nothing_takes_is_refused():
    with pytest.raises(ValueError, match=r"input 'numbers': .*enable_metadata_routing=True"):
        clone(STEP).fit(X, sample_weight=WEIGHT)
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(TypeError, match=r"sample_weight.*not routed to any object"),
    ):
        ColumnInputs([("a", MinMaxScaler(), ["age"])]).fit(X, sample_weight=WEIGHT)


@pytest.mark.parametrize(("form", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
@pytest.mark.parametrize("library", [pd, pl], ids=["of pandas", "of polars"])
def test_frames_stay_frames_where_they_are_asked_for(form, frame, library):
    table = library.DataFrame(COLUMNS)
    arrays = clone(STEP).fit_transform(table)
    entries = [*STEP.inputs, ("count", "passthrough", ["count"])]
    before = ColumnInputs(entries).set_output(transform=form)
    after = ColumnInputs(entries).fit(table).set_output(transform=form)
    kept = after.set_output(transform=None)
    found = [clone(before).fit_transform(table), before.fit(table).transform(table)]
    with sklearn.config_context(transform_output=form):
        found.append(ColumnInputs(entries).fit_transform(table))
    for inputs in [*found, kept.transform(table)]:
        assert all(isinstance(part, frame) for part in inputs.values())
        assert list(inputs["numbers"].columns) == NUMBERS
        assert list(inputs["categories"].columns) == CATEGORIES
        np.testing.assert_array_equal(inputs["numbers"].to_numpy(), arrays["numbers"])
        codes = inputs["categories"].to_numpy()
        assert codes.dtype == np.int64
        np.testing.assert_array_equal(codes, arrays["categories"])
    back = before.set_output(transform="default").transform(table)
    assert all(isinstance(part, np.ndarray) for part in back.values())


def test_the_output_of_a_pipeline_is_set_in_every_copy():
    pipe = make_pipeline(STEP, FunctionTransformer(lambda inputs: inputs["numbers"]))
    pipe = clone(pipe).set_output(transform="pandas")
    for copy in (pipe, clone(pipe), pickle.loads(pickle.dumps(pipe[:1]))):
        copy[:1].fit(X)
        found = copy[0].transform(X)["numbers"]
        assert isinstance(found, pd.DataFrame)
        assert list(found.columns) == NUMBERS
    assert isinstance(STEP.fit_transform(X)["numbers"], np.ndarray)


def test_an_output_that_a_transformer_does_not_have_names_the_input():
    step = ColumnInputs([("words", Tokenizer(), "city")]).set_output(transform="pandas")
    with pytest.raises(ValueError, match="input 'words': Unable to configure output for Tokenizer"):
        step.fit(X)
    with pytest.raises(ValueError, match="input 'numbers': output config must be in"):
        clone(STEP).set_output(transform="arrow").fit(X)


def net():
    graph = Graph([("joined", MLP((4,)), ["numbers", "categories"])])
    heads = {"kind": Classification(), "price": Regression()}
    return MultiOutputNet(graph, heads, max_epochs=2, random_state=0)


Y = Targets({"kind": CITY, "price": RENT})


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_a_pipeline_is_the_net_behind_the_transformers(library):
    frame = library.DataFrame(COLUMNS)
    pipe = make_pipeline(clone(STEP), net()).fit(frame[:40], Y[:40])
    step = clone(STEP)
    alone = net().fit(step.fit_transform(X[:40]), Y[:40])
    assert pipe.predict(frame[40:]) == alone.predict(step.transform(X[40:]))
    shuffled = library.DataFrame(dict(reversed(COLUMNS.items())))
    assert pipe.predict(shuffled) == alone.predict(step.transform(X))


def test_parameters_of_the_transformers_are_searched_by_the_names_of_inputs():
    pipe = make_pipeline(clone(STEP), net())
    grid = {
        "columninputs__numbers": [StandardScaler(), "passthrough"],
        "columninputs__categories__min_frequency": [None, 30],
        "multioutputnet__loss_weights__kind": [1.0, 0.1],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, Y)
    assert len(np.unique(search.cv_results_["mean_test_score"])) > 4
    assert pipe.get_params()["columninputs__numbers__with_mean"] is True
    assert pipe[0].inputs[0][1].with_mean is True
    best = clone(pipe).set_params(**search.best_params_).fit(X, Y)
    assert search.predict(X) == best.predict(X)


def test_the_search_is_that_of_the_transformers_alone():
    def nets(step):
        return make_pipeline(step, FunctionTransformer(joined), Ridge())

    step = ColumnInputs([("numbers", StandardScaler(), [0, 2])])
    grid = {"columninputs__numbers": [StandardScaler(), "passthrough"], "ridge__alpha": [1, 100]}
    search = GridSearchCV(nets(step), grid, cv=3, error_score="raise").fit(TABLE, RENT)
    by_hand = Pipeline([("first", StandardScaler()), ("ridge", Ridge())])
    grid = {"first": [StandardScaler(), "passthrough"], "ridge__alpha": [1, 100]}
    expected = GridSearchCV(by_hand, grid, cv=3).fit(TABLE[:, [0, 2]], RENT)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_every_fold_fits_the_transformers_on_its_own_rows():
    frame = X.assign(age=np.where(np.arange(N) < 20, 1000, AGE))
    step = ColumnInputs([("numbers", StandardScaler(), NUMBERS)])
    pipe = make_pipeline(step, FunctionTransformer(joined), Ridge())
    found = cross_val_score(pipe, frame, AGE, cv=3, error_score="raise")
    expected = cross_val_score(make_pipeline(StandardScaler(), Ridge()), frame[NUMBERS], AGE, cv=3)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_predictions_of_folds_are_the_same_side_by_side(backend):
    pipe = make_pipeline(clone(STEP), net())
    found = cross_val_predict(pipe, X, Y, cv=2)
    assert list(found) == ["kind", "price"]
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert cross_val_predict(pipe, X, Y, cv=2) == found
    assert found[:30] == clone(pipe).fit(X[30:], Y[30:]).predict(X[:30])


def test_a_pipeline_remembers_the_inputs_it_has_made(tmp_path):
    step = ColumnInputs([("numbers", Shifted(), NUMBERS)])
    pipe = make_pipeline(step, FunctionTransformer(joined), Ridge(), memory=str(tmp_path))
    expected = pipe.fit(X, RENT).predict(X)
    np.testing.assert_array_equal(clone(pipe).fit(X, RENT).predict(X), expected)
    assert joblib.hash(clone(STEP)) == joblib.hash(clone(STEP))


def test_parts_are_got_and_set_by_the_names_of_inputs():
    inputs = list(STEP.inputs)
    step = ColumnInputs(inputs)
    params = step.get_params()
    assert params["inputs"] is inputs
    assert params["numbers"] is inputs[0][1]
    assert params["categories__unknown_value"] == -1
    step.set_params(numbers="passthrough", categories__dtype=np.int32)
    assert inputs == list(STEP.inputs)
    assert [part for _, part, _ in step.inputs] == ["passthrough", ENCODER]
    ENCODER.set_params(dtype=np.int64)
    with pytest.raises(ValueError, match=r"unknown input 'nubers'.*did you mean 'numbers'"):
        step.set_params(nubers__with_mean=False)
    with pytest.raises(ValueError, match="input 'numbers' is no part with parameters"):
        step.set_params(numbers__with_mean=False)


def test_a_set_parameter_changes_no_part_of_the_original_of_a_clone():
    twin = clone(STEP).set_params(numbers__with_mean=False, categories="passthrough")
    assert STEP.get_params()["numbers__with_mean"] is True
    assert STEP.inputs[1][1] is ENCODER
    np.testing.assert_allclose(
        twin.fit_transform(X[["age", "rent", "city", "job"]])["numbers"],
        StandardScaler(with_mean=False).fit_transform(X[NUMBERS]),
    )


def test_a_fitted_step_is_saved_and_restored(tmp_path):
    step = clone(STEP).fit(X)
    joblib.dump(step, tmp_path / "step")
    for twin in (pickle.loads(pickle.dumps(step)), joblib.load(tmp_path / "step")):
        assert twin.transform(X) == step.transform(X)
        assert twin.input_names_ == step.input_names_
    fresh = clone(step)
    assert not hasattr(fresh, "column_transformers_")
    assert not hasattr(fresh, "n_features_in_")
    assert fresh.inputs[0][1] is not step.inputs[0][1]
    assert repr(ColumnInputs([("a", StandardScaler(), ["age"])])) == (
        "ColumnInputs(inputs=[('a', StandardScaler(), ['age'])])"
    )


@pytest.mark.parametrize("fitted", [False, True])
def test_it_is_drawn_in_a_pipeline(fitted):
    pipe = make_pipeline(clone(STEP), net())
    html = estimator_html_repr(pipe.fit(X, Y) if fitted else pipe)
    assert "ColumnInputs" in html
    assert "MultiOutputNet" in html
    assert "StandardScaler" in html


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ([], ValueError, "ColumnInputs: `inputs` must hold an input. Got none"),
        (None, ValueError, "'inputs' parameter of ColumnInputs must be an instance of 'list'"),
        (
            [("a", StandardScaler())],
            ValueError,
            r"an input must be \(name, transformer, columns\). Got \('a', StandardScaler\(\)\)",
        ),
        (["abc"], ValueError, r"an input must be \(name, transformer, columns\). Got 'abc'"),
        ([(3, StandardScaler(), ["age"])], TypeError, "input names must be strings. Got 3"),
        ([("", StandardScaler(), ["age"])], ValueError, "must not be empty or contain '__'"),
        ([("a__b", StandardScaler(), ["age"])], ValueError, "must not be empty or contain '__'"),
        (
            [("a", StandardScaler(), ["age"]), ("a", "passthrough", ["rent"])],
            ValueError,
            r"names must differ .*Got \['a', 'a'\]; rename \['a'\]",
        ),
        (
            [("inputs", StandardScaler(), ["age"])],
            ValueError,
            r"names must differ .*that of a parameter.*rename \['inputs'\]",
        ),
        (
            [("remainder", StandardScaler(), ["age"])],
            ValueError,
            "input 'remainder': .*conflict with constructor arguments",
        ),
        ([("a", "drop", ["age"])], ValueError, "input 'a': .*Got 'drop'; leave the entry out"),
        ([("a", None, ["age"])], TypeError, "input 'a': All estimators should implement fit"),
        ([("a", Ridge(), ["age"])], TypeError, "input 'a': All estimators should implement fit"),
        (
            [("a", "passthrough", [])],
            ValueError,
            r"input 'a': an input must have a column. Got none of \[\], which is selected of "
            r"\['age', 'rent'",
        ),
        (
            [("a", StandardScaler(), make_column_selector("^x_"))],
            ValueError,
            r"input 'a': an input must have a column. Got none of \[\]",
        ),
        ([("a", "passthrough", "age")], ValueError, "input 'a': .*should be 2D"),
        ([("a", ENCODER, "city")], ValueError, "input 'a': Expected a? ?2-?(D|dim)"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_wrong_inputs_are_refused(inputs, error, message, method):
    with pytest.raises(error, match=message):
        getattr(ColumnInputs(inputs), method)(X)


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform"])
def test_an_x_that_is_no_table_is_refused(method):
    step = clone(STEP).fit(X)
    for wrong in (COLUMNS, Inputs(COLUMNS)):
        with pytest.raises(TypeError, match=f"X must be a table.*Got {type(wrong).__name__};"):
            getattr(step, method)(wrong)
    for wrong in (AGE, X["age"]):
        with pytest.raises(ValueError, match=r"X must be a table of the shape.*\(60,\)"):
            getattr(step, method)(wrong)


def test_a_sparse_result_is_refused_with_a_remedy():
    step = ColumnInputs([("city", OneHotEncoder(), ["city"])])
    message = r"ColumnInputs: input 'city'.*OneHotEncoder returned a sparse.*\(60, 3\)"
    for method in (step.fit, step.fit_transform):
        with pytest.raises(TypeError, match=message):
            method(X)
    for dense in (OneHotEncoder(sparse_output=False), Shifted()):
        assert ColumnInputs([("c", dense, ["city"])]).fit_transform(X)["c"].shape[0] == N
    words = make_pipeline(TfidfVectorizer(), TruncatedSVD(2, random_state=0))
    found = ColumnInputs([("words", words, "city")]).fit_transform(X)["words"]
    np.testing.assert_array_equal(found, clone(words).fit_transform(CITY))
    counts = sp.csr_matrix(np.diag(np.arange(1.0, 5)))
    with pytest.raises(
        TypeError, match=r"input 'a': .*returned a sparse one of the shape \(4, 2\)"
    ):
        ColumnInputs([("a", "passthrough", [0, 1])]).fit(counts)


def test_a_transformer_that_drops_rows_is_refused():
    step = ColumnInputs([("a", Shifted(1), ["age"]), ("b", "passthrough", ["rent"])])
    with pytest.raises(ValueError, match=r"ColumnInputs: .*same number of rows.*'a': 59, 'b': 60"):
        step.fit_transform(X)


def test_an_error_of_a_transformer_names_the_input():
    step = clone(STEP).fit(X)
    with pytest.raises(ValueError, match="ColumnInputs: input 'numbers': could not convert"):
        step.transform(X.assign(rent=JOB))


def test_an_unfitted_step_says_so():
    with pytest.raises(NotFittedError, match="ColumnInputs instance is not fitted yet"):
        clone(STEP).transform(X)


def test_tags_are_those_of_the_transformers():
    tags = get_tags(STEP)
    assert tags.input_tags.two_d_array
    assert not tags.input_tags.dict
    assert tags.input_tags.categorical
    assert tags.input_tags.allow_nan
    assert not tags.target_tags.required
    assert get_tags(ColumnInputs([("a", TargetEncoder(), ["city"])])).target_tags.required
    selector = SelectKBest(), ["age"]
    assert not get_tags(ColumnInputs([*STEP.inputs, ("a", *selector)])).input_tags.allow_nan
    for malformed in (None, ["abc"], [("a",)], [("a", None, "b")]):
        assert get_tags(ColumnInputs(malformed)).transformer_tags is not None


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_estimators_unfitted,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_param_validation,
        estimator_checks.check_n_features_in,
        estimator_checks.check_n_features_in_after_fitting,
        estimator_checks.check_dict_unchanged,
        estimator_checks.check_fit2d_1sample,
        estimator_checks.check_fit2d_1feature,
        estimator_checks.check_readonly_memmap_input,
    ],
)
def test_checks_of_scikit_learn_that_take_what_it_returns_pass(check):
    check("ColumnInputs", ColumnInputs([("numbers", StandardScaler(), [0])]))


def test_steps_for_single_inputs_can_follow():
    step = ColumnInputs([("numbers", "passthrough", NUMBERS), ("words", "passthrough", ["city"])])
    first = FunctionTransformer(lambda column: column[:, 0])
    words = make_pipeline(first, Tokenizer())
    steps = make_pipeline(step, OnInput("numbers", StandardScaler()), OnInput("words", words))
    found = steps.fit_transform(X)
    np.testing.assert_array_equal(found["numbers"], StandardScaler().fit_transform(X[NUMBERS]))
    np.testing.assert_array_equal(found["words"], Tokenizer().fit_transform(CITY))


def test_a_column_of_ids_tells_the_kind_that_it_decides():
    pipe = make_pipeline(
        ColumnInputs([("city", ENCODER, ["city"]), ("numbers", StandardScaler(), NUMBERS)]),
        FunctionTransformer(lambda inputs: np.eye(4)[inputs["city"][:, 0]]),
        LogisticRegression(),
    )
    assert cross_val_score(pipe, X, CITY, cv=3, error_score="raise").tolist() == [1, 1, 1]


@pytest.mark.parametrize(("value", "dtype"), [(1.5, np.float64), (2, np.int64), (True, bool)])
def test_lists_of_numbers_keep_their_type(value, dtype):
    step = ColumnInputs([("numbers", "passthrough", [0, 1])])
    rows = [[value, value]] * 3
    for found in (step.fit_transform(rows), step.transform(rows)):
        assert found["numbers"].dtype == dtype
        assert found["numbers"].tolist() == rows


def test_lists_of_numbers_and_texts_are_taken_too():
    step = ColumnInputs([("numbers", StandardScaler(), [0]), ("kinds", OrdinalEncoder(), [1])])
    found = step.fit_transform([[1.0, "a"], [3.0, "b"]])
    assert found["numbers"].tolist() == [[-1.0], [1.0]]
    assert found["kinds"].tolist() == [[0.0], [1.0]]
