"""A transformer on one input does what it does alone, and leaves the other inputs alone."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils import estimator_checks, get_tags

from mtlearn import Inputs, Targets
from mtlearn.preprocessing import OnInput, Tokenizer

N = 60
RNG = np.random.default_rng(0)
SIZE = RNG.normal(3, 2, size=(N, 3))
WORDS = np.array(["free", "entry", "see", "you", "ok"])
TEXT = np.array([" ".join(RNG.choice(WORDS, size=5)) for _ in range(N)])
KIND = np.array([text.split()[0] == "free" for text in TEXT])
X = Inputs({"size": SIZE, "text": TEXT, "pixels": np.zeros((N, 1, 4, 4))})
WEIGHT = RNG.uniform(0.1, 1, size=N)


class WithoutLabels(BaseEstimator):
    """A transformer whose fit takes no y, and which has no fit_transform."""

    def fit(self, X, sample_weight=None):
        self.mean_ = np.average(X, axis=0, weights=sample_weight)
        return self

    def transform(self, X):
        return X - self.mean_


class Shorter(WithoutLabels):
    def transform(self, X):
        return X[1:]


def only(name):
    return FunctionTransformer(lambda inputs: inputs[name])


@pytest.mark.parametrize("transformer", [StandardScaler(), MinMaxScaler(), WithoutLabels()])
@pytest.mark.parametrize("form", [Inputs, dict], ids=["Inputs", "dict"])
def test_one_input_is_transformed_as_the_transformer_does_it_alone(transformer, form):
    expected = clone(transformer).fit(SIZE[:40])
    step = OnInput("size", transformer).fit(form(X[:40]))
    for rows in (slice(0, 40), slice(40, None)):
        found = step.transform(form(X[rows]))
        assert isinstance(found, Inputs)
        np.testing.assert_array_equal(found["size"], expected.transform(SIZE[rows]))
    at_once = OnInput("size", transformer).fit_transform(form(X[:40]))
    np.testing.assert_array_equal(at_once["size"], expected.transform(SIZE[:40]))


@pytest.mark.parametrize("transformer", [StandardScaler(), "passthrough"])
@pytest.mark.parametrize("form", [Inputs, dict], ids=["Inputs", "dict"])
def test_the_other_inputs_are_the_same_objects_in_the_same_order(transformer, form):
    table = pd.DataFrame({"a": SIZE[:, 0]})
    inputs = form({"table": table, "size": SIZE, "text": TEXT})
    step = OnInput("size", transformer)
    for found in (step.fit_transform(inputs), step.transform(inputs)):
        assert list(found) == ["table", "size", "text"]
        assert found["table"] is table
        assert found["text"] is inputs["text"]
    assert inputs["size"] is SIZE


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_the_given_transformer_stays_unfitted(method):
    scaler = StandardScaler()
    step = OnInput("size", scaler)
    getattr(step, method)(X)
    assert step.transformer is scaler
    assert not hasattr(scaler, "mean_")
    np.testing.assert_array_equal(step.transformer_.mean_, StandardScaler().fit(SIZE).mean_)


def test_a_frozen_transformer_is_not_fitted_again():
    scaler = StandardScaler().fit(SIZE[:5])
    found = OnInput("size", FrozenEstimator(scaler)).fit_transform(X)
    np.testing.assert_array_equal(found["size"], scaler.transform(SIZE))


def test_the_labels_reach_a_transformer_that_takes_them():
    y = SIZE[:, 1] > 3
    found = OnInput("size", SelectKBest(k=1)).fit(X, y).transform(X)
    np.testing.assert_array_equal(found["size"], SIZE[:, [1]])
    with pytest.raises(ValueError, match=r"OnInput: input 'size': .*requires y to be passed"):
        OnInput("size", SelectKBest(k=1)).fit(X)


def test_targets_pass_a_transformer_that_ignores_labels():
    y = Targets({"kind": KIND, "price": SIZE[:, 0]})
    found = OnInput("size", StandardScaler()).fit_transform(X, y)
    np.testing.assert_array_equal(found["size"], StandardScaler().fit_transform(SIZE))


def test_fit_transform_is_that_of_the_transformer():
    city = np.array(["a", "b", "c"])[np.arange(N) % 3][:, None]
    step = OnInput("city", TargetEncoder())
    crossed = step.fit_transform({"city": city}, SIZE[:, 0])["city"]
    assert len(np.unique(crossed)) > 3
    expected = TargetEncoder().fit(city, SIZE[:, 0]).transform(city)
    assert len(np.unique(expected)) == 3
    np.testing.assert_array_equal(step.transform({"city": city})["city"], expected)


@pytest.mark.parametrize("transformer", [StandardScaler(), WithoutLabels()])
def test_sample_weights_reach_the_transformer(transformer):
    expected = clone(transformer).fit(SIZE, sample_weight=WEIGHT).transform(SIZE)
    assert not np.allclose(expected, clone(transformer).fit(SIZE).transform(SIZE))
    step = OnInput("size", transformer)
    np.testing.assert_array_equal(step.fit_transform(X, sample_weight=WEIGHT)["size"], expected)
    np.testing.assert_array_equal(step.fit(X, sample_weight=WEIGHT).transform(X)["size"], expected)
    pipe = make_pipeline(step).fit(X, oninput__sample_weight=WEIGHT)
    np.testing.assert_array_equal(pipe.transform(X)["size"], expected)


@pytest.mark.parametrize("transformer", [StandardScaler(), WithoutLabels()])
def test_sample_weights_are_routed_where_they_are_requested(transformer):
    with sklearn.config_context(enable_metadata_routing=True):
        for requested in (True, False):
            scaler = clone(transformer).set_fit_request(sample_weight=requested)
            ridge = Ridge().set_fit_request(sample_weight=True)
            pipe = make_pipeline(OnInput("size", scaler), only("size"), ridge)
            pipe.fit(X, SIZE[:, 0], sample_weight=WEIGHT)
            weight = WEIGHT if requested else None
            expected = clone(transformer).fit(SIZE, sample_weight=weight)
            np.testing.assert_array_equal(pipe[0].transform(X)["size"], expected.transform(SIZE))
        step = OnInput("size", clone(transformer).set_fit_request(sample_weight=True))
        step.fit(X, sample_weight=WEIGHT)
        expected = clone(transformer).fit(SIZE, sample_weight=WEIGHT)
        np.testing.assert_array_equal(step.transform(X)["size"], expected.transform(SIZE))


@pytest.mark.parametrize("routing", [False, True])
def test_metadata_that_the_transformer_does_not_take_is_refused(routing):
    step = OnInput("size", MinMaxScaler())
    with (
        sklearn.config_context(enable_metadata_routing=routing),
        pytest.raises(TypeError, match="sample_weight"),
    ):
        step.fit(X, sample_weight=WEIGHT)


def test_passthrough_leaves_inputs_as_they_are():
    step = OnInput("size", "passthrough").fit(X, sample_weight=WEIGHT)
    assert step.transform(X) is X
    assert step.inverse_transform(X) is X
    assert step.transformer_ == "passthrough"
    assert step.fit_transform(dict(X.items())) == X


def test_inverse_transform_maps_back():
    step = OnInput("size", StandardScaler())
    transformed = step.fit_transform(X)
    np.testing.assert_allclose(step.inverse_transform(transformed)["size"], SIZE)
    assert step.inverse_transform(transformed)["text"] is TEXT
    pipe = make_pipeline(step, OnInput("size", MinMaxScaler())).fit(X)
    np.testing.assert_allclose(pipe.inverse_transform(pipe.transform(X))["size"], SIZE)


def test_inverse_transform_is_absent_where_the_transformer_has_none():
    assert hasattr(OnInput("size", StandardScaler()), "inverse_transform")
    assert not hasattr(OnInput("size", WithoutLabels()), "inverse_transform")
    assert not hasattr(OnInput("size", WithoutLabels()).fit(X), "inverse_transform")


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_an_input_that_is_a_frame_reaches_the_transformer_as_one(library):
    table = library.DataFrame({"city": ["a", "b"] * 30, "rent": SIZE[:, 0]})
    rent = FunctionTransformer(lambda frame: frame[["rent"]])
    found = OnInput("table", rent).fit_transform(Inputs({"table": table, "text": TEXT}))
    assert found["table"].equals(table[["rent"]])


def test_a_column_transformer_is_the_transformer_of_a_table():
    table = pd.DataFrame({"city": ["a", "b"] * 30, "rent": SIZE[:, 0]})
    columns = ColumnTransformer(
        [("one", OneHotEncoder(sparse_output=False), ["city"]), ("s", StandardScaler(), ["rent"])]
    )
    step = OnInput("table", columns)
    found = step.fit_transform(Inputs({"table": table, "text": TEXT}))
    np.testing.assert_array_equal(found["table"], clone(columns).fit_transform(table))
    names = ["one__city_a", "one__city_b", "s__rent"]
    assert step.transformer_.get_feature_names_out().tolist() == names


def test_a_transformer_that_returns_frames_makes_the_input_a_frame():
    scaler = StandardScaler().set_output(transform="pandas")
    found = OnInput("table", scaler).fit_transform({"table": pd.DataFrame({"rent": SIZE[:, 0]})})
    assert isinstance(found["table"], pd.DataFrame)
    with sklearn.config_context(transform_output="pandas"):
        found = OnInput("size", StandardScaler()).fit_transform(X)
    assert isinstance(found, Inputs)
    assert isinstance(found["size"], pd.DataFrame)


def test_nested_parameters_are_set_and_searched():
    pipe = make_pipeline(OnInput("size", StandardScaler()), only("size"), Ridge())
    pipe.set_params(oninput__transformer__with_mean=False)
    assert pipe.get_params()["oninput__transformer__with_mean"] is False
    found = pipe[0].fit_transform(X)["size"]
    expected = StandardScaler(with_mean=False).fit_transform(SIZE)
    np.testing.assert_array_equal(found, expected)
    grid = {"oninput__transformer": [StandardScaler(), "passthrough"], "ridge__alpha": [1, 100]}
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, SIZE @ [1, 2, 3])
    alone = make_pipeline(FunctionTransformer(), Ridge())
    grid = {
        "functiontransformer": [StandardScaler(), "passthrough"],
        "ridge__alpha": [1, 100],
    }
    expected = GridSearchCV(alone, grid, cv=3, error_score="raise").fit(SIZE, SIZE @ [1, 2, 3])
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_the_name_of_the_input_can_be_searched():
    inputs = Inputs({"a": SIZE, "b": SIZE * [1, 10, 100]})
    pipe = make_pipeline(OnInput("a", StandardScaler()), only("b"), Ridge())
    grid = {"oninput__name": ["a", "b"]}
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(inputs, SIZE[:, 0])
    raw, scaled = search.cv_results_["mean_test_score"]
    assert raw != scaled


def test_every_fold_fits_the_transformer_on_its_own_rows():
    size = SIZE.copy()
    size[:20] += 1000
    pipe = make_pipeline(OnInput("size", StandardScaler()), only("size"), Ridge())
    found = cross_val_score(pipe, Inputs({"size": size}), SIZE[:, 0], cv=3, error_score="raise")
    expected = cross_val_score(make_pipeline(StandardScaler(), Ridge()), size, SIZE[:, 0], cv=3)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform", "inverse_transform"])
@pytest.mark.parametrize("transformer", [StandardScaler(), "passthrough"])
def test_an_unknown_input_is_named_with_the_nearest(method, transformer):
    step = OnInput("size", transformer).fit(X)
    renamed = {"sise": SIZE, "text": TEXT}
    message = (
        r"OnInput: `name` names the unknown input 'size'; the inputs are "
        r"\['sise', 'text'\] \(did you mean 'sise'\?\)"
    )
    with pytest.raises(ValueError, match=message):
        getattr(step, method)(renamed)


@pytest.mark.parametrize(
    "wrong", [SIZE, SIZE.tolist(), pd.DataFrame(SIZE), "size", None], ids=lambda x: type(x).__name__
)
@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform", "inverse_transform"])
def test_an_x_that_is_no_dict_is_refused(wrong, method):
    step = OnInput("size", StandardScaler()).fit(X)
    message = f"X must be Inputs or a dict of inputs by name.*Got {type(wrong).__name__};"
    with pytest.raises(TypeError, match=message):
        getattr(step, method)(wrong)


def test_a_sparse_result_is_refused_with_a_remedy():
    step = OnInput("text", CountVectorizer())
    with pytest.raises(TypeError, match=r"'text'.*CountVectorizer returned a sparse.*\(60, 5\)"):
        step.fit_transform(X)
    with pytest.raises(TypeError, match="put TruncatedSVD behind it with make_pipeline"):
        step.fit(X).transform(X)
    dense = make_pipeline(TfidfVectorizer(), TruncatedSVD(2, random_state=0))
    found = OnInput("text", dense).fit_transform(X)["text"]
    np.testing.assert_array_equal(found, clone(dense).fit_transform(TEXT))


def test_a_transformer_that_drops_rows_is_refused():
    with pytest.raises(ValueError, match=r"input 'size'.*same number of rows.*'size': 59"):
        OnInput("size", Shorter()).fit_transform(X)


def test_an_error_of_the_transformer_names_the_input():
    one = Inputs({"size": SIZE[:, 0], "text": TEXT})
    step = OnInput("size", StandardScaler())
    for method in (step.fit, step.fit_transform, step.fit(X).transform):
        with pytest.raises(ValueError, match="OnInput: input 'size': Expected 2D array"):
            method(one)


def test_an_unfitted_step_says_so():
    with pytest.raises(NotFittedError, match="OnInput instance is not fitted yet"):
        OnInput("size", StandardScaler()).transform(X)
    with pytest.raises(NotFittedError, match="OnInput instance is not fitted yet"):
        OnInput("size", "passthrough").transform(X)


@pytest.mark.parametrize(
    ("name", "transformer", "message"),
    [
        (3, StandardScaler(), "'name' parameter of OnInput must be an instance of 'str'"),
        ("size", None, "'transformer' parameter of OnInput must be"),
        ("size", "drop", "'transformer' parameter of OnInput must be"),
        ("size", Ridge(), "'transformer' parameter of OnInput must be"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_wrong_parameters_are_refused(name, transformer, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(OnInput(name, transformer), method)(X)


def test_clone_pickle_and_repr():
    step = OnInput("size", StandardScaler(with_std=False)).fit(X)
    twin = pickle.loads(pickle.dumps(step))
    np.testing.assert_array_equal(twin.transform(X)["size"], step.transform(X)["size"])
    fresh = clone(step)
    assert not hasattr(fresh, "transformer_")
    assert fresh.transformer is not step.transformer
    assert repr(fresh) == "OnInput(name='size', transformer=StandardScaler(with_std=False))"
    html = make_pipeline(step)._repr_html_()
    assert "OnInput" in html
    assert "StandardScaler" in html


def test_tags_are_those_of_the_transformer_for_a_dict():
    tags = get_tags(OnInput("size", TargetEncoder()))
    assert tags.input_tags.dict
    assert not tags.input_tags.two_d_array
    assert tags.target_tags.required
    assert get_tags(OnInput("size", StandardScaler())).input_tags.allow_nan
    tags = get_tags(OnInput("size", "passthrough"))
    assert tags.transformer_tags is not None
    assert not tags.target_tags.required


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_param_validation,
    ],
)
def test_checks_of_scikit_learn_that_need_no_table_pass(check):
    check("OnInput", OnInput("size", StandardScaler()))


def test_texts_and_counts_of_real_messages_are_prepared_side_by_side(data_folder):
    path = data_folder / "sms_spam.csv"
    if not path.is_file():
        pytest.skip(f"the messages are absent: no file {path}")
    frame = pd.read_csv(path, keep_default_na=False)
    counts = frame.filter(regex="^x_n_").astype(float)
    inputs = Inputs({"text": frame["x_text"], "counts": counts})
    y = frame["y_label"].to_numpy()
    X_train, X_test, y_train, y_test = train_test_split(
        inputs, y, test_size=0.3, random_state=0, stratify=y
    )
    tokenizer = Tokenizer(max_tokens=2000, max_length=40)
    steps = make_pipeline(OnInput("text", tokenizer), OnInput("counts", StandardScaler()))
    found = steps.fit_transform(X_train, y_train)
    scaler = StandardScaler().fit(X_train["counts"])
    np.testing.assert_array_equal(found["counts"], scaler.transform(X_train["counts"]))
    found = steps.transform(X_test)
    np.testing.assert_array_equal(found["counts"], scaler.transform(X_test["counts"]))
    ids = clone(tokenizer).fit(X_train["text"]).transform(X_test["text"])
    np.testing.assert_array_equal(found["text"], ids)

    def join(inputs):
        words = np.array([np.bincount(row, minlength=2000) > 0 for row in inputs["text"]])
        return np.hstack([words[:, 2:], inputs["counts"]])

    model = make_pipeline(steps, FunctionTransformer(join), LogisticRegression(max_iter=500))
    only_counts = make_pipeline(StandardScaler(), LogisticRegression())
    score = model.fit(X_train, y_train).score(X_test, y_test)
    assert score >= 0.98
    assert score > only_counts.fit(X_train["counts"], y_train).score(X_test["counts"], y_test)
