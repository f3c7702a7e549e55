"""An ONNX file predicts what the estimator predicts, through onnxruntime alone."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetRegressor
from mtlearn._version import VERSION
from mtlearn.deployment import to_onnx
from mtlearn.heads import Classification, Regression
from mtlearn.preprocessing import PiecewiseLinear, SmoothClip
from mtlearn.trunks import MLP, AuxDrop, Graph
from tests.estimator_cases import CODES, HEADS, KIND, PRICE, TRANSFORMED, TRUNKS, N, X, Y

pytestmark = pytest.mark.interop

RNG = np.random.default_rng(0)
unfitted = functools.partial(MultiOutputNet, max_epochs=3, random_state=0)
net = functools.partial(unfitted, MLP((8,)))


@pytest.fixture(scope="module")
def runtime():
    for name in ("onnx", "onnxscript", "skl2onnx"):
        pytest.importorskip(name, reason=f"{name} is absent")
    return pytest.importorskip("onnxruntime", reason="onnxruntime is absent")


@pytest.fixture
def run(runtime, tmp_path):
    """Writes the file, and runs it on rows in the type that it asks for."""
    types = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(int64)": np.int64}

    def run(fitted, rows, outputs=None, **params):
        path = to_onnx(fitted, tmp_path / "net.onnx", outputs, **params)
        session = runtime.InferenceSession(path)
        rows = rows if isinstance(rows, dict) else {"X": rows}
        given = {
            one.name: np.asarray(rows[one.name]).astype(types[one.type])
            for one in session.get_inputs()
        }
        found = session.run(None, given)
        return {o.name: v for o, v in zip(session.get_outputs(), found, strict=True)}, session

    return run


def assert_close(found, expected):
    """Each column by itself, whatever the size of the others."""
    assert found.shape == expected.shape
    size = np.abs(expected).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    np.testing.assert_allclose(found / size, expected / size, rtol=0, atol=1e-5)


def assert_predicts_the_same(run, fitted, rows, outputs=None, **params):
    found, session = run(fitted, rows, outputs, **params)
    about = json.loads(session.get_modelmeta().custom_metadata_map["mtlearn"])
    proba = (
        {f"{n}__proba": p for n, p in fitted.predict_proba(rows, outputs).items()}
        if any(name.endswith("__proba") for name in found)
        else {}
    )
    std = (
        {f"{n}__std": p for n, p in fitted.predict_std(rows, outputs).items()}
        if any(name.endswith("__std") for name in found)
        else {}
    )
    expected = {**fitted.predict(rows, outputs), **proba, **std}
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        if name in about["classes"]:
            labels = np.array(about["classes"][name])[found[name]]
            np.testing.assert_array_equal(labels, values)
        elif values.dtype.kind == "f":
            assert_close(found[name], values)
        else:
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_members", [1, 2])
def test_every_head_predicts_the_same(run, dtype, n_members):
    cases = {**HEADS, **TRANSFORMED}
    heads = {name: head for name, (head, _) in cases.items()}
    fitted = net(heads, dtype=dtype, n_members=n_members)
    fitted = fitted.fit(X, {name: labels for name, (_, labels) in cases.items()})
    assert_predicts_the_same(run, fitted, X)


@pytest.mark.parametrize("case", TRUNKS.values(), ids=TRUNKS)
def test_every_trunk_computes_the_same(run, case):
    fitted = case.net().fit(case.rows, Y)
    assert_predicts_the_same(run, fitted, case.rows)


def test_codes_that_fit_did_not_see_are_unknown_there_too(run):
    case = TRUNKS["CategoryEmbedding"]
    fitted = case.net().fit(case.rows, Y)
    assert_predicts_the_same(run, fitted, {"codes": CODES * 3 - 2, "numbers": X})


@pytest.mark.parametrize("n_rows", [1, 2, 1000])
def test_a_file_takes_any_number_of_rows(run, n_rows):
    fitted = net().fit(X, Y)
    assert_predicts_the_same(run, fitted, RNG.normal(size=(n_rows, 4)))


def test_auxiliary_outputs_are_left_out_with_all_that_only_they_need(run, tmp_path):
    trunk = Graph([("a", MLP((8,)), "X"), ("b", MLP((512, 512)), "X")])
    heads = {"price": Regression(at="a"), "kind": Classification(at="b")}
    fitted = unfitted(trunk, heads).fit(X, Y)
    assert_predicts_the_same(run, fitted, X, ["price"])
    small = (tmp_path / "net.onnx").stat().st_size
    assert to_onnx(fitted, tmp_path / "net.onnx").stat().st_size > 20 * small
    regressor = MultiOutputNetRegressor(max_epochs=2).fit(X, PRICE, aux={"kind": KIND})
    found, _ = run(regressor, X)
    assert list(found) == ["y"]
    assert_close(found["y"], regressor.predict(X))


INPUTS = {"x": X[:, :2], "z": X[:, 2:]}
OF_TWO = [("a", MLP((8,)), "x"), ("b", MLP((64,)), "z")]
AT = {"price": Regression(at="a"), "kind": Classification(at="b")}


def test_an_input_that_no_kept_output_needs_is_none_of_the_file(run):
    fitted = unfitted(Graph(OF_TWO), AT).fit(INPUTS, Y)
    found, session = run(fitted, INPUTS, ["price"], X=INPUTS)
    assert [one.name for one in session.get_inputs()] == ["x"]
    assert_close(found["price"], fitted.predict(INPUTS)["price"])


def test_a_file_of_some_outputs_has_the_nodes_and_numbers_of_a_net_without_the_others(
    run, tmp_path
):
    import onnx

    def size():
        graph = onnx.load(tmp_path / "net.onnx").graph
        n_numbers = sum(int(np.prod(one.dims)) for one in graph.initializer)
        return len(graph.node), len(graph.initializer), n_numbers

    fitted = unfitted(Graph(OF_TWO), AT).fit(INPUTS, Y)
    run(fitted, INPUTS)
    whole = size()
    run(fitted, INPUTS, ["price"])
    kept = size()
    assert all(small < large for small, large in zip(kept, whole, strict=True))
    alone = unfitted(Graph(OF_TWO[:1])).fit({"x": INPUTS["x"]}, {"price": PRICE})
    run(alone, {"x": INPUTS["x"]})
    assert kept == size()


# Such as torch gives to what is inside a graph.
NAMES = ["linear", "add", "val_0", "X", "x", "rows", "module", "net", "cast_steps"]


def test_names_of_outputs_and_inputs_may_be_those_of_anything_inside(run):
    y = {name: X[:, i % 4] for i, name in enumerate(NAMES)}
    for fitted in (net().fit(X, y), make_pipeline(PCA(3), net()).fit(X, y)):
        found, session = run(fitted, {"X__input": X})
        assert [one.name for one in session.get_inputs()] == ["X__input"]
        assert list(found) == NAMES
        for name, expected in fitted.predict(X).items():
            assert_close(found[name], expected)
    rows = {"linear": X[:, :2], "val_0": X[:, 2:], "rows": X, "price": X}
    fitted = unfitted(Graph([("a", MLP((4,)), list(rows))])).fit(rows, Y)
    found, session = run(fitted, {**rows, "price__input": X})
    assert [one.name for one in session.get_inputs()] == ["linear", "val_0", "rows", "price__input"]
    assert_close(found["price"], fitted.predict(rows)["price"])


def test_an_output_whose_predictions_are_near_zero_is_no_error(run):
    """Sums of single precision differ in their last bits, which is much of what is next to 0."""
    noise = 100 * np.random.default_rng(0).normal(size=N)
    fitted = unfitted(MLP((512, 512)), dtype="float32").fit(X, {"noise": noise})
    head, bias = fitted.heads_["noise"], fitted.module_.heads[0][0].bias
    with torch.no_grad():
        raw = fitted.module_(torch.tensor(X[:1], dtype=torch.float32))["noise"]
        bias -= raw + torch.tensor(head.center_ / head.scale_, dtype=torch.float32)
    expected = fitted.predict(X[:1])["noise"]
    assert np.abs(expected) < 1e-4
    found, _ = run(fitted, X[:1], X=X[:1])
    np.testing.assert_allclose(found["noise"], expected, rtol=0, atol=1e-5 * noise.std())


class Slightly(nn.Module):
    """Adds what a graph has and the network has not, as an error of the export would."""

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 3)

    def forward(self, x):
        return self.layer(x) + (1e-3 if torch.compiler.is_compiling() else 0.0)


def test_each_column_of_an_output_is_compared_at_its_own_scale(runtime, tmp_path):
    columns = np.column_stack([X[:, 0], 1e6 + X[:, 1]])
    fitted = unfitted(Slightly).fit(X, {"columns": columns})
    with pytest.raises(RuntimeError, match="the graph predicts of 'columns'"):
        to_onnx(fitted, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("wanted", "found"), [("float32", "float"), ("float64", "double")])
def test_the_type_of_the_numbers_can_be_chosen(run, wanted, found):
    fitted = net().fit(X, Y)
    _, session = run(fitted, X, dtype=wanted)
    assert [one.type for one in session.get_inputs()] == [f"tensor({found})"]
    assert_predicts_the_same(run, fitted, X, dtype=wanted)


FAR = 100 + X * [1, 10, 100, 1000]
FRAME = pd.DataFrame(FAR, columns=["a", "b", "c", "d"])
PIPELINES = {
    "StandardScaler": ([StandardScaler()], FAR),
    "imputer and bounds": (
        [SimpleImputer(add_indicator=True), StandardScaler(), SmoothClip()],
        np.where(RNG.random(X.shape) < 0.2, np.nan, FAR),
    ),
    "log1p": ([FunctionTransformer(np.log1p), StandardScaler()], np.abs(FAR)),
    "PCA": ([StandardScaler(), PCA(2)], FAR),
    "QuantileTransformer": ([QuantileTransformer(n_quantiles=10)], FAR),
    "PowerTransformer": ([PowerTransformer()], X),
    "PolynomialFeatures": ([PolynomialFeatures(2)], X),
    "ColumnTransformer": (
        [
            ColumnTransformer(
                [("a", make_pipeline(SimpleImputer(), StandardScaler()), [0, 2])],
                remainder=MinMaxScaler(),
            )
        ],
        FAR,
    ),
    "ColumnTransformer by names": (
        [ColumnTransformer([("a", StandardScaler(), ["d", "a"]), ("b", MinMaxScaler(), ["c"])])],
        FRAME,
    ),
    "ColumnTransformer by a range of names": (
        [ColumnTransformer([("a", StandardScaler(), slice("b", "c"))], remainder="passthrough")],
        FRAME,
    ),
    "ColumnTransformer by a mask": (
        [ColumnTransformer([("a", StandardScaler(), np.array([True, False, True, True]))])],
        FAR,
    ),
    "ColumnTransformer by places from the end": (
        [ColumnTransformer([("a", StandardScaler(), [-1, -3])])],
        FAR,
    ),
    "OneHotEncoder": (
        [
            ColumnTransformer(
                [
                    ("numbers", StandardScaler(), [2, 3]),
                    ("codes", OneHotEncoder(handle_unknown="ignore"), [0, 1]),
                ]
            )
        ],
        np.column_stack([CODES, FAR[:, :2]]),
    ),
    "Pipelines inside": ([make_pipeline("passthrough", StandardScaler()), PCA(2)], FAR),
}


@pytest.mark.parametrize(("steps", "rows"), PIPELINES.values(), ids=PIPELINES)
def test_the_steps_of_a_pipeline_are_in_the_file(run, steps, rows):
    fitted = make_pipeline(*steps, net()).fit(rows, Y)
    found, _ = run(fitted, rows, X=rows)
    assert_close(found["price"], fitted.predict(rows)["price"])
    assert_close(found["kind__proba"], fitted.predict_proba(rows)["kind"])


@pytest.mark.parametrize("step", [PiecewiseLinear(), FunctionTransformer(lambda x: x)])
def test_a_step_without_a_counterpart_is_refused_by_name(runtime, tmp_path, step):
    fitted = make_pipeline(step, net()).fit(X, Y)
    match = rf"the steps \['{type(step).__name__}'\].*to_onnx\(pipeline\[-1\], path\)"
    with pytest.raises(ValueError, match=match):
        to_onnx(fitted, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_predicts_otherwise_on_the_given_rows_is_not_written(runtime, tmp_path):
    # Products of such numbers are wrong in single precision, which is all that skl2onnx has here.
    rows = 1e6 + X
    fitted = make_pipeline(StandardScaler(), PolynomialFeatures(2), net()).fit(rows, Y)
    with pytest.raises(RuntimeError, match=r"the graph predicts of 'price' .* Nothing was written"):
        to_onnx(fitted, tmp_path / "net.onnx", X=rows)
    assert not list(tmp_path.iterdir())


class LooksAtTheData(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 3)

    def forward(self, x):
        return self.layer(x) if float(x.sum()) > 0 else self.layer(-x)


def test_texts_in_a_table_are_refused_with_what_to_do(runtime, tmp_path):
    encoder = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    fitted = make_pipeline(encoder, net()).fit(FRAME.assign(kind=KIND), Y)
    match = r"no counterpart in ONNX for a table of numbers.*to_onnx\(pipeline\[-1\], path\)"
    with pytest.raises(ValueError, match=match):
        to_onnx(fitted, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_part_without_a_counterpart_is_refused_by_name(runtime, tmp_path):
    fitted = unfitted(LooksAtTheData).fit(X, Y)
    with pytest.raises(ValueError, match=r"no counterpart in ONNX: probably \['LooksAtTheData'\]"):
        to_onnx(fitted, tmp_path / "net.onnx")
    fitted = unfitted(AuxDrop((8, 8, 4), n_units=10, drop_in_prediction=True)).fit(X, Y)
    with pytest.raises(ValueError, match="AuxDrop with `drop_in_prediction` draws random numbers"):
        to_onnx(fitted, tmp_path / "net.onnx")
    fitted = net({"price": Regression(transformer=PowerTransformer())}).fit(X, Y)
    with pytest.raises(ValueError, match="output 'price': the `transformer` PowerTransformer"):
        to_onnx(fitted, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_the_metadata_say_what_the_numbers_mean(run):
    fitted = net().fit(pd.DataFrame(X, columns=["a", "b", "c", "d"]), Y)
    _, session = run(fitted, X)
    about = session.get_modelmeta()
    assert about.producer_name == "mtlearn"
    assert json.loads(about.custom_metadata_map["mtlearn"]) == {
        "version": VERSION,
        "outputs": ["price", "kind"],
        "classes": {"kind": ["flat", "house"]},
        "feature_names": ["a", "b", "c", "d"],
    }


def test_an_older_file_is_kept_where_the_new_one_cannot_be_written(runtime, tmp_path):
    fitted = net().fit(X, Y)
    path = to_onnx(fitted, tmp_path / "net.onnx")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="unknown output"):
        to_onnx(fitted, path, ["prise"])
    with pytest.raises(OSError, match="could not write"):
        to_onnx(fitted, tmp_path / "no" / "net.onnx")
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]


def test_the_export_leaves_torch_as_it_was(runtime, tmp_path):
    fitted = net().fit(X, Y)
    before = fitted.predict(X)
    state = torch.get_rng_state()
    fast, n_threads = torch.backends.mha.get_fastpath_enabled(), torch.get_num_threads()
    to_onnx(fitted, tmp_path / "net.onnx")
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.get_num_threads() == n_threads
    assert torch.equal(torch.get_rng_state(), state)
    assert fitted.predict(X) == before
