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
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetRegressor
from mtlearn._version import VERSION
from mtlearn.deployment import to_onnx
from mtlearn.heads import (
    Classification,
    Count,
    Gaussian,
    MultiLabel,
    Ordinal,
    PairOrder,
    Quantile,
    Regression,
)
from mtlearn.preprocessing import PiecewiseLinear, SmoothClip
from mtlearn.trunks import (
    MLP,
    PLE,
    AuxDrop,
    AuxNet,
    CategoryEmbedding,
    Convolution,
    Embedding,
    Graph,
    Hedge,
    Inception,
    LinearSkip,
    MMoE,
    Periodic,
    Pool,
    Recurrent,
    Residual,
    Transformer,
)

pytestmark = pytest.mark.interop

N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
PRICE = 1000 + 200 * X[:, 0] + RNG.normal(size=N)
KIND = np.where(X[:, 1] > 0, "flat", "house")
GRADE = np.digitize(X[:, 2], [-0.8, 0, 0.8])
TAGS = (X[:, :3] > 0).astype(int)
COUNTS = RNG.poisson(np.exp(X[:, 0]))
Y = {"price": PRICE, "kind": KIND}
SEQUENCES = RNG.normal(size=(N, 6, 3))
for _row, _length in zip(SEQUENCES, RNG.integers(0, 7, N), strict=True):
    _row[_length:] = 0
IDS = RNG.integers(0, 9, size=(N, 6))
IMAGES = RNG.normal(size=(N, 6, 6, 2))
CODES = RNG.integers(0, 5, size=(N, 2))

unfitted = functools.partial(MultiOutputNet, max_epochs=3, random_state=0)
net = functools.partial(unfitted, MLP((8,)))
LOG = FunctionTransformer(np.log, inverse_func=np.exp)


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
    assert found.shape == expected.shape
    size = np.abs(expected).max() or 1.0
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


EVERY_HEAD = {
    "number": (Regression(), PRICE),
    "columns": (Regression(), X[:, :2] * [1, 1e6]),
    "log": (Regression(transformer=LOG), PRICE),
    "quantile": (Quantile(0.7), PRICE),
    "quantiles": (Quantile([0.9, 0.1, 0.5]), PRICE),
    "normal": (Gaussian(), PRICE),
    "count": (Count(), COUNTS),
    "two": (Classification(), KIND),
    "four": (Classification(), GRADE),
    "one": (Classification(), np.ones(N, dtype=int)),
    "grade": (Ordinal(), GRADE),
    "tags": (MultiLabel(threshold=[0.4, 0.5, 0.6]), TAGS),
    "flags": (MultiLabel(), TAGS.astype(bool)),
    "order": (PairOrder(), X[:, 0] > X[:, 1]),
    "constant": (Regression(), np.full(N, 7.5)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_members", [1, 2])
def test_every_head_predicts_the_same(run, dtype, n_members):
    heads = {name: head for name, (head, _) in EVERY_HEAD.items()}
    fitted = net(heads, dtype=dtype, n_members=n_members)
    fitted = fitted.fit(X, {name: labels for name, (_, labels) in EVERY_HEAD.items()})
    assert_predicts_the_same(run, fitted, X)


def graph(*stages):
    return unfitted(Graph(list(stages)))


TRUNKS = {
    "MLP": (unfitted(MLP((8, 4), dropout=0.2, normalization="batch")), X),
    "MLP with gelu": (unfitted(MLP((8,), activation="gelu", normalization="layer")), X),
    "heads at several layers": (
        unfitted(MLP((8, 4)), {"kind": Classification(at=["hidden_1", "hidden_2"])}),
        X,
    ),
    "Residual": (unfitted(Residual(MLP((4,)))), X),
    "LinearSkip": (unfitted(LinearSkip(MLP((4,)))), X),
    "MMoE": (unfitted(MMoE(MLP((4,)))), X),
    "PLE": (unfitted(PLE(MLP((4,)), n_levels=2)), X),
    "Periodic": (unfitted(Periodic(n_units=3)), X),
    "Hedge": (unfitted(Hedge((5,))), X),
    "AuxDrop": (unfitted(AuxDrop((8, 8, 4), n_units=10)), X),
    "AuxNet": (unfitted(AuxNet(n_units=6, base_layers=2, end_layers=2)), X),
    "a module": (unfitted(nn.Sequential(nn.Linear(4, 5), nn.ReLU()).double()), X),
    "Recurrent, deep, in both directions": (
        graph(("read", Recurrent(5, "gru", n_layers=2, bidirectional=True), "s")),
        {"s": SEQUENCES},
    ),
    "Recurrent to Recurrent": (
        graph(
            ("states", Recurrent(5, sequence=True, bidirectional=True), "s"),
            ("read", Recurrent(4, mask_zeros=False), "states"),
        ),
        {"s": SEQUENCES},
    ),
    "Embedding": (
        graph(("vectors", Embedding(None, 4), "ids"), ("read", Recurrent(5), "vectors")),
        {"ids": IDS},
    ),
    "Transformer": (
        graph(
            ("vectors", Embedding(9, 4), "ids"),
            ("mixed", Transformer(2, 8, n_layers=2), "vectors"),
            ("pooled", Pool(), "mixed"),
        ),
        {"ids": IDS},
    ),
    "Transformer of sequences": (
        graph(("mixed", Transformer(3, 8), "s"), ("pooled", Pool("max"), "mixed")),
        {"s": SEQUENCES},
    ),
    "Convolution and Inception": (
        graph(
            ("conv", Convolution(3, 2, pool_size=2, normalization="batch"), "image"),
            ("mix", Inception(), "conv"),
            ("pooled", Pool("flatten"), "mix"),
        ),
        {"image": IMAGES},
    ),
    "CategoryEmbedding": (
        graph(
            ("vectors", CategoryEmbedding(3), "codes"),
            ("dense", MLP((4,)), ["vectors", "numbers"]),
        ),
        {"codes": CODES, "numbers": X},
    ),
    "merges": (
        graph(
            ("states", Recurrent(4, sequence=True), "s"),
            ("pair", "take", ["states", "places"]),
            ("same", MLP((8,)), "pair"),
            ("sum", "add", ["same", "pair"]),
            ("product", "multiply", ["sum", "pair"]),
        ),
        {"s": SEQUENCES, "places": RNG.integers(0, 6, (N, 2))},
    ),
}


@pytest.mark.parametrize(("estimator", "rows"), TRUNKS.values(), ids=TRUNKS)
def test_every_trunk_computes_the_same(run, estimator, rows):
    fitted = estimator.fit(rows, Y)
    assert_predicts_the_same(run, fitted, rows)


def test_codes_that_fit_did_not_see_are_unknown_there_too(run):
    fitted = TRUNKS["CategoryEmbedding"][0].fit({"codes": CODES, "numbers": X}, Y)
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


def test_an_input_that_no_kept_output_needs_need_not_be_given(run):
    trunk = Graph([("a", MLP((8,)), "x1"), ("b", MLP((8,)), "x2")])
    heads = {"price": Regression(at="a"), "kind": Classification(at="b")}
    rows = {"x1": X[:, :2], "x2": X[:, 2:]}
    fitted = unfitted(trunk, heads).fit(rows, Y)
    found, _ = run(fitted, rows, ["price"])
    assert_close(found["price"], fitted.predict(rows)["price"])


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
