import functools
import io
import pickle

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OnlineMultiOutputNet,
    Targets,
)
from mtlearn.deployment import to_torch
from mtlearn.ensemble import Blend
from mtlearn.heads import ClassHead, Classification, Count, Gaussian, Regression
from mtlearn.preprocessing import SmoothClip
from mtlearn.trunks import MLP, AuxDrop, CategoryEmbedding, Embedding, Graph, Pool
from tests.estimator_cases import (
    CODES,
    COUNTS,
    GRADE,
    HEADS,
    IDS,
    KIND,
    PRICE,
    TABLES,
    TAGS,
    TRANSFORMED,
    TRUNKS,
    Case,
    N,
    X,
    Y,
)

RNG = np.random.default_rng(0)
net = functools.partial(MultiOutputNet, MLP((8,)), max_epochs=3, random_state=0)
unfitted = functools.partial(MultiOutputNet, max_epochs=3, random_state=0)
ALL_HEADS = {**HEADS, **TRANSFORMED}
TRANSFORMED_HEADS = {"price": TRANSFORMED["Regression of a log"][0]}


def tensors(rows):
    if isinstance(rows, dict):
        return {name: torch.tensor(part) for name, part in rows.items()}
    return torch.tensor(np.asarray(rows))


def assert_predicts_the_same(module, fitted, rows=X, outputs=None, to_tensors=tensors):
    """Compare all that the module returns with predict, predict_proba and predict_std."""
    found = {name: values.numpy() for name, values in module(to_tensors(rows)).items()}
    assert list(found) == module.output_names
    expected = fitted.predict(rows, outputs)
    proba = fitted.predict_proba(rows, outputs) if "proba" in "".join(found) else {}
    std = fitted.predict_std(rows, outputs) if "std" in "".join(found) else {}
    keys = [*expected, *(f"{n}__proba" for n in proba), *(f"{n}__std" for n in std)]
    assert sorted(found) == sorted(keys)
    for name in expected:
        if name in module.classes:
            assert found[name].dtype == np.int64
            np.testing.assert_array_equal(module.classes[name][found[name]], expected[name])
        else:
            assert found[name].dtype == expected[name].dtype
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6)
    for suffix, values in (("proba", proba), ("std", std)):
        for name in values:
            close = found[f"{name}__{suffix}"]
            np.testing.assert_allclose(close, values[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("head", "labels"), ALL_HEADS.values(), ids=ALL_HEADS)
def test_every_head_is_decoded_as_predict_does(head, labels, dtype):
    fitted = net({"y": head}, dtype=dtype).fit(X, {"y": labels})
    assert_predicts_the_same(to_torch(fitted), fitted)


@pytest.mark.parametrize(("head", "labels"), ALL_HEADS.values(), ids=ALL_HEADS)
def test_members_are_averaged_as_predict_does(head, labels):
    fitted = net({"y": head}, n_members=3).fit(X, {"y": labels})
    assert_predicts_the_same(to_torch(fitted), fitted)


def test_raw_sums_are_mapped_back_too():
    heads = {name: head for name, (head, _) in HEADS.items()}
    y = {name: HEADS[name][1] / (1000 if name == "Regression" else 1) for name in ("Count",)}
    y |= {"Gaussian": X[:, 0], "Quantiles": X[:, 1], "Regression": X[:, 2]}
    fitted = net({n: heads[n] for n in y}, normalize_losses=False).fit(X, y)
    assert_predicts_the_same(to_torch(fitted), fitted)


DRAWS = Case(AuxDrop((8, 8, 4), n_units=10, drop_in_prediction=True))


@pytest.mark.parametrize("case", [*TRUNKS.values(), DRAWS], ids=[*TRUNKS, "AuxDrop that draws"])
def test_every_trunk_computes_as_in_predict(case):
    rows = case.rows
    fitted = case.net().fit(rows, Y)
    module = to_torch(fitted)
    assert_predicts_the_same(module, fitted, rows)
    some = {n: part[7:8] for n, part in rows.items()} if isinstance(rows, dict) else rows[7:8]
    assert_predicts_the_same(module, fitted, some)


def test_codes_and_ids_that_fit_did_not_see_are_unknown_as_in_predict():
    trunk = [
        ("vectors", CategoryEmbedding(3), "codes"),
        ("read", Pool(), "more"),
        ("more", Embedding(None, 3), "ids"),
        ("all", "concatenate", ["vectors", "read"]),
    ]
    fitted = unfitted(Graph(trunk)).fit({"codes": CODES, "ids": IDS}, Y)
    rows = {"codes": CODES * 3 - 2, "ids": IDS * 3 - 2}
    assert_predicts_the_same(to_torch(fitted), fitted, rows)


def test_only_what_the_kept_outputs_need_is_left():
    estimator = unfitted(
        Graph([("a", MLP((8,)), "X"), ("b", MLP((16,)), "X"), ("c", MLP((4,)), "b")]),
        {"price": Regression(at="a"), "kind": Classification(at="c")},
    )
    fitted = estimator.fit(X, Y)
    module = to_torch(fitted, ["price"])
    assert module.output_names == ["price"]
    assert_predicts_the_same(module, fitted, outputs=["price"])
    smaller = fitted.drop_outputs(["kind"]).module_
    sizes = [sum(p.numel() for p in part.parameters()) for part in (module, smaller)]
    assert sizes[0] == sizes[1] < sum(p.numel() for p in fitted.module_.parameters())


INPUTS = {"x": X[:, :2], "z": X[:, 2:]}
OF_TWO = [("a", MLP((8,)), "x"), ("b", MLP((8,)), "z")]
AT = {"price": Regression(at="a"), "kind": Classification(at="b")}


@pytest.mark.parametrize("params", [{}, {"n_members": 2}], ids=str)
def test_an_input_that_no_kept_output_needs_need_not_be_given(params):
    fitted = unfitted(Graph(OF_TWO), AT, **params).fit(INPUTS, Y)
    module = to_torch(fitted, ["price"])
    expected = fitted.predict(INPUTS)["price"]
    found = module({"x": torch.tensor(INPUTS["x"])})["price"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert_predicts_the_same(module, fitted, INPUTS, ["price"])
    with pytest.raises(ValueError, match=r"X must have the inputs \['x'\]. Missing are \['x'\]"):
        module({"z": torch.tensor(INPUTS["z"])})
    with pytest.raises(ValueError, match=r"the inputs \['x', 'z'\]. Missing are \['z'\]"):
        to_torch(fitted)({"x": torch.tensor(INPUTS["x"])})


def test_heads_at_several_layers_and_constants_read_what_they_need():
    heads = {**AT, "kind": Classification(at=["a", "b"])}
    fitted = unfitted(Graph(OF_TWO), heads).fit(INPUTS, {**Y, "same": np.full(N, 7.5)})
    assert list(to_torch(fitted, ["kind"]).inputs) == ["x", "z"]
    assert list(to_torch(fitted, ["price"]).inputs) == ["x"]
    module = to_torch(fitted, ["same"])
    assert module({"x": torch.tensor(INPUTS["x"][:3])})["same"].tolist() == [7.5] * 3


def test_the_order_is_that_of_the_outputs_asked_for():
    fitted = net().fit(X, Y)
    assert to_torch(fitted).output_names == ["price", "kind", "kind__proba"]
    assert to_torch(fitted, ["kind", "price"]).output_names == ["kind", "kind__proba", "price"]


def test_constants_are_predicted_without_layers():
    y = {**Y, "same": np.full(N, 7.5), "left": GRADE}
    fitted = net(loss_weights={"left": 0.0}).fit(X, y)
    assert_predicts_the_same(to_torch(fitted), fitted)
    module = to_torch(fitted, ["left", "same"])
    assert not list(module.parameters())
    assert_predicts_the_same(module, fitted, outputs=["left", "same"])


def test_of_a_regressor_and_a_classifier_the_auxiliary_outputs_are_left_out():
    fitted = MultiOutputNetRegressor(MLP((8,)), max_epochs=2, random_state=0)
    fitted = fitted.fit(X, PRICE, aux={"kind": KIND})
    found = to_torch(fitted)(torch.tensor(X))
    assert list(found) == ["y"]
    np.testing.assert_allclose(found["y"], fitted.predict(X), rtol=1e-6)
    assert to_torch(fitted, ["kind"]).output_names == ["kind", "kind__proba"]
    fitted = MultiOutputNetClassifier(MLP((8,)), max_epochs=2, random_state=0)
    fitted = fitted.fit(X, np.column_stack([KIND, GRADE.astype(str)]))
    module = to_torch(fitted)
    found = module(torch.tensor(X))
    labels = np.column_stack([module.classes[n][found[n]] for n in ("y0", "y1")])
    np.testing.assert_array_equal(labels, fitted.predict(X))


def test_a_search_and_an_output_dropped_before_are_no_obstacle():
    search = GridSearchCV(net(), {"alpha": [0.0, 0.1]}, cv=2).fit(X, Targets(Y))
    assert_predicts_the_same(to_torch(search), search.best_estimator_)
    fitted = net().fit(X, Y).drop_outputs(["price"])
    assert_predicts_the_same(to_torch(fitted), fitted)


STEPS = {
    "StandardScaler": [StandardScaler()],
    "StandardScaler without a mean": [StandardScaler(with_mean=False)],
    "StandardScaler without a scale": [StandardScaler(with_std=False)],
    "RobustScaler": [RobustScaler()],
    "MinMaxScaler": [MinMaxScaler((-1, 1))],
    "MinMaxScaler that clips": [MinMaxScaler(clip=True)],
    "MaxAbsScaler": [MaxAbsScaler()],
    "several": [make_pipeline(FunctionTransformer(np.negative), StandardScaler()), SmoothClip(1)],
    "passthrough": ["passthrough", StandardScaler()],
    "passthrough inside": [make_pipeline("passthrough", StandardScaler()), MinMaxScaler()],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_the_scalers_of_a_pipeline_become_a_part_of_the_module(steps):
    rows = 30 + X * [1, 3, 10, 30]
    fitted = make_pipeline(*steps, net()).fit(rows, Y)
    new = 2 * rows - 30
    expected = fitted.predict(new)
    found = to_torch(fitted)(torch.tensor(new))
    np.testing.assert_allclose(found["price"], expected["price"], rtol=1e-6)
    np.testing.assert_allclose(
        found["kind__proba"], fitted.predict_proba(new)["kind"], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("add_indicator", [False, True])
def test_missing_values_are_imputed(add_indicator):
    rows = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
    imputer = SimpleImputer(strategy="median", add_indicator=add_indicator)
    fitted = make_pipeline(imputer, StandardScaler(), net()).fit(rows, Y)
    found = to_torch(fitted)(torch.tensor(rows))
    np.testing.assert_allclose(found["price"], fitted.predict(rows)["price"], rtol=1e-6)


def test_a_step_that_torch_does_not_have_is_refused_with_what_to_do():
    fitted = make_pipeline(PCA(2), net()).fit(X, Y)
    with pytest.raises(ValueError, match=r"the step PCA.*to_torch\(pipeline\[-1\]\)"):
        to_torch(fitted)
    module = to_torch(fitted[-1])
    assert_predicts_the_same(module, fitted[-1], fitted[:-1].transform(X))


def test_an_unknown_transformer_of_a_target_is_refused_with_what_to_do():
    heads = {"price": Regression(transformer=PowerTransformer())}
    fitted = net(heads).fit(X, Y)
    with pytest.raises(ValueError, match=r"output 'price': the `transformer` PowerTransformer"):
        to_torch(fitted)
    assert to_torch(fitted, ["kind"]).output_names == ["kind", "kind__proba"]
    heads = {"price": Regression(transformer=FunctionTransformer(lambda x: x, lambda x: x))}
    with pytest.raises(ValueError, match="has no counterpart in torch"):
        to_torch(net(heads).fit(X, Y))


class OwnHead(Regression):
    def decode(self, raw):
        return super().decode(raw) + 1


def test_a_head_of_ones_own_is_refused():
    fitted = net({"price": OwnHead()}).fit(X, Y)
    with pytest.raises(ValueError, match="output 'price': the head OwnHead is none of mtlearn's"):
        to_torch(fitted)
    assert_predicts_the_same(to_torch(fitted, ["kind"]), fitted, outputs=["kind"])


def test_what_cannot_be_one_module_is_refused():
    stream = OnlineMultiOutputNet(random_state=0).fit(X, Y)
    with pytest.raises(TypeError, match=r"Got OnlineMultiOutputNet; .* mtlearn.persistence.save"):
        to_torch(stream)
    blend = Blend([("a", net(validation_fraction=0.2, early_stopping=True))]).fit(X, Y)
    with pytest.raises(TypeError, match=r"Got Blend; .* take the estimators inside"):
        to_torch(blend)
    assert_predicts_the_same(to_torch(blend.estimators_[0]), blend.estimators_[0])
    view = net().fit(X, Y).output("price")
    with pytest.raises(TypeError, match=r"Got OutputView; take to_torch\(view.fitted, .*view.name"):
        to_torch(view)
    with pytest.raises(TypeError, match="Got StandardScaler"):
        to_torch(StandardScaler())


def test_an_unknown_output_and_an_unfitted_estimator_are_errors():
    with pytest.raises(ValueError, match="unknown output 'prise'"):
        to_torch(net().fit(X, Y), ["prise"])
    with pytest.raises(NotFittedError, match="not fitted"):
        to_torch(net())


def test_what_is_not_an_input_is_named():
    case = TRUNKS["CategoryEmbedding"]
    fitted = case.net().fit(case.rows, Y)
    module = to_torch(fitted)
    with pytest.raises(TypeError, match=r"a dict of \['codes', 'numbers'\]"):
        module(torch.tensor(X))
    with pytest.raises(ValueError, match=r"Missing are \['codes'\]"):
        module({"numbers": torch.tensor(X)})
    with pytest.raises(TypeError, match="must be a tensor"):
        to_torch(net().fit(X, Y))({"X": torch.tensor(X)})


def test_the_estimator_is_not_touched_and_shares_nothing():
    fitted = net().fit(X, Y)
    before = fitted.predict(X)
    module = to_torch(fitted)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.zero_()
        module.classes["kind"][:] = ""
    assert fitted.predict(X) == before
    assert all(p.requires_grad for p in fitted.module_.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("trained_in", ["float32", "float64"])
def test_the_module_can_be_moved_to_another_type(trained_in, dtype):
    y = {**Y, "spread": PRICE, "count": COUNTS, "tags": TAGS, "same": np.full(N, 7.5)}
    fitted = net({"spread": Gaussian(), "count": Count()}, dtype=trained_in).fit(X, y)
    module = to_torch(fitted)
    expected = module(torch.tensor(X))
    assert next(module.parameters()).dtype == getattr(torch, trained_in)
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-5
    for name, values in module.to(dtype)(torch.tensor(X)).items():
        if values.is_floating_point():
            size = expected[name].abs().max().double()
            torch.testing.assert_close(
                values.double() / size, expected[name].double() / size, atol=tolerance, rtol=0
            )
    assert {p.dtype for p in module.parameters()} == {dtype}


NUMBERS = [name for name, (head, _) in HEADS.items() if not isinstance(head, ClassHead)]


@pytest.mark.parametrize("name", NUMBERS)
def test_the_state_holds_all_that_was_learned(name):
    head, labels = HEADS[name]
    module = to_torch(net({"y": head}).fit(X, {"y": labels}))
    other = to_torch(net({"y": head}, random_state=1).fit(X + 1, {"y": 3 * labels[::-1] + 2}))
    assert not torch.equal(other(torch.tensor(X))["y"], module(torch.tensor(X))["y"])
    other.load_state_dict(module.state_dict())
    for key, expected in module(torch.tensor(X)).items():
        torch.testing.assert_close(other(torch.tensor(X))[key], expected)


def test_the_module_can_be_trained_again_and_pickled():
    steps = [FunctionTransformer(np.log1p), StandardScaler()]
    rows = torch.tensor(np.abs(X))
    with torch.inference_mode():
        module = to_torch(make_pipeline(*steps, net(TRANSFORMED_HEADS)).fit(np.abs(X), Y))
    copied = pickle.loads(pickle.dumps(module))
    assert torch.equal(copied(rows)["price"], module(rows)["price"])
    module.train().requires_grad_(True)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    before = -torch.log(module(rows)["kind__proba"][:, 0]).mean()
    before.backward()
    assert all(p.grad is not None for p in module.networks[0].network.trunk.parameters())
    optimizer.step()
    assert -torch.log(module(rows)["kind__proba"][:, 0]).mean() < before


@pytest.mark.parametrize("case", TABLES.values(), ids=TABLES)
def test_no_rows_give_no_predictions(case):
    module = to_torch(case.net(max_epochs=1).fit(case.rows, Y))
    found = module(torch.tensor(case.rows[:0]))
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "price": (0,),
        "kind": (0,),
        "kind__proba": (0, 2),
    }


@pytest.mark.parametrize("name", ["MLP", "PLE", "Recurrent", "Transformer of sequences", "take"])
def test_a_file_of_torch_export_takes_any_number_of_rows(name):
    rows = TRUNKS[name].rows
    fitted = TRUNKS[name].net().fit(rows, Y)
    module = to_torch(fitted)
    X = tensors(rows)
    shapes = {0: torch.export.Dim("rows")}
    dynamic = (shapes,) if isinstance(X, torch.Tensor) else (dict.fromkeys(X, shapes),)
    program = torch.export.export(module, (X,), dynamic_shapes=dynamic, strict=False)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    some = {n: x[3:20] for n, x in X.items()} if isinstance(X, dict) else X[3:20]
    for key, expected in module(some).items():
        torch.testing.assert_close(loaded(some)[key], expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_module_can_be_traced():
    fitted = net({"price": Gaussian()}, n_members=2).fit(X, {**Y, "tags": TAGS, "grade": GRADE})
    module = to_torch(fitted)
    traced = torch.jit.trace(module, torch.tensor(X[:5]), strict=False)
    for key, expected in module(torch.tensor(X)).items():
        torch.testing.assert_close(traced(torch.tensor(X))[key], expected)
