"""What is loaded predicts the same, bit for bit, and learns on as it would have."""

import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from safetensors import safe_open
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OnlineMultiOutputNet,
    Targets,
)
from mtlearn.heads import (
    Classification,
    Gaussian,
    Regression,
)
from mtlearn.persistence import _without_memory, load, save
from mtlearn.trunks import MLP, PLE, AuxDrop, AuxNet, Embedding, Graph, MMoE, Recurrent
from mtlearn.weighting import (
    DWA,
    FAMO,
    MGDA,
    Cosine,
    GradCosine,
    Linear,
    LogSum,
    MultiplicativeWeights,
    NashMTL,
    PCGrad,
    RandomWeights,
    Step,
    Uncertainty,
)
from tests import estimator_cases as cases

N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5))
NUMBER = 10 + X[:, 0]
KIND = np.array(["a", "b", "c"])[np.digitize(X[:, 1], [-0.5, 0.5])]
Y = Targets({"number": NUMBER, "kind": KIND})


def fit(trunk=None, heads=None, y=Y, rows=X, **params):
    params = {"max_epochs": 2, "random_state": 0, **params}
    return MultiOutputNet(MLP((6,)) if trunk is None else trunk, heads, **params).fit(rows, y)


def through_file(net, path, **options):
    save(net, path / "net")
    return load(path / "net", **options)


def outputs_of(net, rows):
    found = [net.predict(rows)]
    for method in ("predict_proba", "predict_std"):
        try:
            found.append(getattr(net, method)(rows))
        except AttributeError:
            continue
    return found


def assert_same(net, loaded, rows=X):
    for a, b in zip(outputs_of(net, rows), outputs_of(loaded, rows), strict=True):
        if isinstance(a, Targets):
            assert a == b
            assert [a[name].dtype for name in a] == [b[name].dtype for name in b]
        else:
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("head", cases.HEADS)
def test_a_head_predicts_the_same(head, tmp_path):
    part, labels = cases.HEADS[head]
    y = {"it": labels, "other": cases.PRICE}
    net = fit(MLP((6, 4)), {"it": part}, y, cases.X)
    assert_same(net, through_file(net, tmp_path), cases.X)


CLASSES = {
    "texts": np.array(["a", "longer"]),
    "objects": np.array(["a", "longer"], dtype=object),
    "bytes": np.array([b"a", b"\xff\xfe"]),
    "letters": np.array(["ä", "\U0001f600"]),
    "quotes": np.array(['"}', "\\$array"]),
    "integers": np.array([-(2**62), 2**62]),
    "small": np.array([1, 2], dtype=np.uint8),
    "booleans": np.array([False, True]),
    "numbers": np.array([0.5, 1.5]),
    "mixed": np.array([1, 2.5], dtype=object),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_keep_their_values_and_type(kind, tmp_path):
    labels = CLASSES[kind][(X[:, 0] > 0).astype(int)]
    net = fit(heads={"it": Classification()}, y={"it": labels})
    loaded = through_file(net, tmp_path)
    np.testing.assert_array_equal(loaded.classes_["it"], net.classes_["it"], strict=True)
    types = [type(value) for value in net.classes_["it"]]
    assert [type(value) for value in loaded.classes_["it"]] == types
    assert_same(net, loaded)


@pytest.mark.parametrize("real", [2**24, 0])
@pytest.mark.parametrize("trunk", [*cases.TABLES, *cases.OF_INPUTS])
def test_a_trunk_predicts_the_same(trunk, real, tmp_path, monkeypatch):
    monkeypatch.setattr(_without_memory, "REAL", real)  # as of networks that are far larger
    case = (cases.TABLES | cases.OF_INPUTS)[trunk]
    net = case.net(max_epochs=2).fit(case.rows, Targets(cases.Y))
    assert_same(net, through_file(net, tmp_path), case.rows)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("real", [2**24, 2**14])
def test_long_sequences_behind_a_large_embedding_predict_the_same(
    real, cell, tmp_path, monkeypatch
):
    monkeypatch.setattr(_without_memory, "REAL", real)
    rows = {"ids": RNG.integers(0, 5000, (N, 80))}
    both = Recurrent(8, cell=cell, bidirectional=True)
    net = fit(Graph([("embed", Embedding(5000, 9), "ids"), ("read", both, "embed")]), rows=rows)
    assert_same(net, through_file(net, tmp_path), rows)


def test_heads_at_inner_layers_and_at_several_predict_the_same(tmp_path):
    heads = {
        "number": Regression(at="hidden_1"),
        "kind": Classification(at=["hidden_1", "hidden_2"]),
        "copy": Classification(target="kind"),
    }
    net = fit(MLP((6, 4)), heads)
    loaded = through_file(net, tmp_path)
    assert_same(net, loaded)
    np.testing.assert_array_equal(loaded.embed(X, "hidden_1"), net.embed(X, "hidden_1"))


WEIGHTINGS = [
    DWA(),
    FAMO(),
    MGDA(),
    GradCosine(),
    LogSum(),
    MultiplicativeWeights(),
    NashMTL(),
    PCGrad(),
    RandomWeights(),
    Uncertainty(),
]


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_a_fit_goes_on_as_it_would_have(weighting, tmp_path):
    params = {"weighting": weighting, "main_output": "number", "warm_start": True}
    net = fit(MLP((6,), dropout=0.2), **params)
    loaded = through_file(net, tmp_path)
    assert_same(net.fit(X, Y), loaded.fit(X, Y))


@pytest.mark.parametrize("schedule", [Linear(0.5), Cosine(0.5), Step(0.5)], ids=repr)
def test_a_schedule_goes_on_as_it_would_have(schedule, tmp_path):
    net = fit(loss_weights={"kind": schedule}, warm_start=True)
    loaded = through_file(net, tmp_path)
    assert_same(net.fit(X, Y), loaded.fit(X, Y))
    assert loaded.history_ == net.history_


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "adagrad"])
def test_a_stream_goes_on_as_it_would_have(optimizer, tmp_path):
    net = MultiOutputNet(MLP((6,), dropout=0.2), optimizer=optimizer, random_state=0)
    net.partial_fit(X, Y)
    loaded = through_file(net, tmp_path)
    assert_same(net.partial_fit(X, Y), loaded.partial_fit(X, Y))


def test_a_fit_without_warm_start_can_be_continued_alike(tmp_path):
    net = fit(MLP((6,), dropout=0.3))
    loaded = through_file(net, tmp_path)
    for one in (net, loaded):
        one.set_params(warm_start=True).fit(X, Y)
    assert_same(net, loaded)


@pytest.mark.parametrize("params", [{"n_members": 3}, {"refit": True, "early_stopping": True}])
def test_members_predict_the_same(params, tmp_path):
    net = fit(**params)
    loaded = through_file(net, tmp_path)
    assert_same(net, loaded)
    assert loaded.history_ == net.history_
    assert_same(net.members_[1], loaded.members_[1])


def test_members_of_a_stream_go_on_as_they_would_have(tmp_path):
    net = MultiOutputNet(MLP((6,)), n_members=2, random_state=0).partial_fit(X, Y)
    loaded = through_file(net, tmp_path)
    assert_same(net.partial_fit(X, Y), loaded.partial_fit(X, Y))


STREAMS = {
    "as it is": {},
    "first order": {"second_order": False},
    "adam": {"second_order": False, "optimizer": "adam"},
    "one layer": {"trunk": MLP((6,))},
    "dropout": {"trunk": MLP((6,), dropout=0.5)},
    "AuxDrop": {"trunk": AuxDrop(n_units=12)},
    "AuxNet": {"trunk": AuxNet()},
    "weights": {"loss_weights": {"kind": 0.0}, "expert_weighting": MultiplicativeWeights(0.3)},
    "forgets": {"forgetting": 0.99, "batch_size": 8},
    "heads": {"heads": {"kind": Classification(classes=["a", "b", "c"]), "number": Gaussian()}},
}


@pytest.mark.parametrize("real", [2**24, 0])
@pytest.mark.parametrize("case", STREAMS)
def test_an_online_estimator_goes_on_as_it_would_have(case, real, tmp_path, monkeypatch):
    monkeypatch.setattr(_without_memory, "REAL", real)
    net = OnlineMultiOutputNet(random_state=0, **STREAMS[case]).partial_fit(X, Y)
    loaded = through_file(net, tmp_path)
    assert_same(net, loaded)
    more = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
    assert_same(net.partial_fit(more, Y), loaded.partial_fit(more, Y))


def test_an_online_estimator_keeps_what_was_absent_and_what_is_new(tmp_path):
    rows = [{"a": 1.0}, {"a": 2.0, "b": 1.0}, {"b": 3.0}]
    net = OnlineMultiOutputNet(random_state=0).partial_fit(rows, [1.0, 2.0, 3.0])
    loaded = through_file(net, tmp_path)
    np.testing.assert_array_equal(loaded.predict(rows), net.predict(rows))
    more = [{"a": 1.0, "c": 4.0}, {"c": 2.0}]
    for one in (net, loaded):
        one.partial_fit(more, [1.0, 2.0])
    np.testing.assert_array_equal(loaded.predict(more), net.predict(more))


@pytest.mark.parametrize("trunk", [MLP((6,)), PLE(), MMoE()], ids=repr)
def test_an_estimator_without_some_outputs_predicts_the_same(trunk, tmp_path):
    net = fit(trunk, y={**Y, "more": X[:, 2]}).drop_outputs(["kind"])
    loaded = through_file(net, tmp_path)
    assert loaded.output_names_ == ["number", "more"]
    assert_same(net, loaded)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regressor_and_classifier_predict_the_same(dtype, tmp_path):
    frame = pd.DataFrame(X, columns=list("abcde"))
    params = {"max_epochs": 2, "random_state": 0, "dtype": dtype}
    regressor = MultiOutputNetRegressor(**params).fit(frame, NUMBER, aux=Targets({"kind": KIND}))
    classifier = MultiOutputNetClassifier(**params).fit(frame, KIND)
    for net in (regressor, classifier):
        loaded = through_file(net, tmp_path)
        assert type(loaded) is type(net)
        assert_same(net, loaded, frame)
        np.testing.assert_array_equal(loaded.feature_names_in_, net.feature_names_in_, strict=True)
        with pytest.raises(ValueError, match="feature names"):
            loaded.predict(frame[list("edcba")])


def test_parameters_and_fitted_attributes_are_the_same(tmp_path):
    net = fit(
        MLP((6,)),
        {"kind": Classification(class_weight={"a": 2.0, "b": 1.0, "c": 1.0})},
        loss_weights={"number": 0.5},
        optimizer_params={"betas": (0.8, 0.99)},
        param_groups={"trunk": {"lr": 0.01}},
        random_state=np.random.RandomState(3),
        device=torch.device("cpu"),
    )
    loaded = through_file(net, tmp_path)
    number = loaded.random_state.randint(2**31)
    assert number == net.random_state.randint(2**31)
    assert repr(loaded.set_params(random_state=0)) == repr(clone(net).set_params(random_state=0))
    assert loaded.history_ == net.history_
    for name in ("output_names_", "loss_weights_", "n_iter_", "best_epoch_", "fast_step_"):
        assert getattr(loaded, name) == getattr(net, name)
    assert repr(loaded.heads_) == repr(net.heads_)
    assert not any(part.training for part in loaded.module_.modules())
    assert all(parameter.requires_grad for parameter in loaded.module_.parameters())


def test_what_is_loaded_can_be_cloned_and_fitted(tmp_path):
    net = fit()
    loaded = through_file(net, tmp_path)
    assert_same(net, clone(loaded).fit(X, Y))
    assert_same(net, loaded.fit(X, Y))


@pytest.mark.parametrize("name", ["$x", "$array", "history_", "members_", "weights", "a.b", "ä"])
def test_an_output_may_have_any_name(name, tmp_path):
    labels = {name: NUMBER, "kind": KIND}
    net = fit(y=labels, loss_weights={name: Linear(0.5)}, warm_start=True)
    stream = OnlineMultiOutputNet(random_state=0).partial_fit(X, labels)
    for one in (net, stream):
        loaded = through_file(one, tmp_path)
        assert_same(one, loaded)
        assert_same(one.partial_fit(X, labels), loaded.partial_fit(X, labels))
    assert loaded.output_names_ == [name, "kind"]


def test_a_history_with_a_gap_is_kept(tmp_path):
    net = fit()
    net.history_[0]["loss"] = np.inf
    del net.history_[1]["loss"]
    loaded = through_file(net, tmp_path)
    assert loaded.history_ == net.history_


def test_history_without_epochs_is_kept(tmp_path):
    net = MultiOutputNet(random_state=0).fit(X[:1], Y[:1])
    loaded = through_file(net, tmp_path)
    assert loaded.history_ == []
    assert loaded.predict(X[:1]) == Y[:1]


def test_requests_of_metadata_routing_are_kept(tmp_path):
    with sklearn.config_context(enable_metadata_routing=True):
        net = MultiOutputNet(MLP((6,)), max_epochs=2, random_state=0)
        net.set_fit_request(sample_weight=True)
        net.fit(X, Y)
    loaded = through_file(net, tmp_path)
    requested = loaded.get_metadata_routing().fit.requests
    assert requested == net.get_metadata_routing().fit.requests
    assert requested["sample_weight"] is True


def test_the_same_estimator_gives_the_same_bytes(tmp_path):
    net = fit(warm_start=True)
    save(net, tmp_path / "a")
    save(load(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_saving_and_loading_leave_generators_and_the_estimator_as_they_are(tmp_path):
    stream = OnlineMultiOutputNet(random_state=0).partial_fit(X, Y)
    before = dict(vars(stream))
    through_file(stream, tmp_path)
    assert vars(stream) == before
    net = fit(n_members=2)
    attributes, numbers, state = dict(vars(net)), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    through_file(net, tmp_path)
    assert vars(net) == attributes
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numbers[1])  # noqa: NPY002


def test_the_file_is_hardly_larger_than_the_weights(tmp_path):
    net = fit(MLP((64, 64)))
    save(net, tmp_path / "net")
    size = sum(p.numel() * p.element_size() for p in net.module_.parameters())
    assert size <= (tmp_path / "net").stat().st_size <= size + 12_000


def test_the_file_is_one_of_safetensors_with_a_header_that_says_what_it_holds(tmp_path):
    net = fit()
    save(net, tmp_path / "net")
    with safe_open(tmp_path / "net", "np") as file:
        weight = file.get_tensor("weights.trunk.0.weight")
        text = file.metadata()["mtlearn"]
    np.testing.assert_array_equal(weight, net.module_.trunk[0].weight.detach().numpy())
    header = json.loads(text[64:])
    assert header["format"] == 1
    assert header["class"] == "MultiOutputNet"
    assert {"mtlearn", "numpy", "scikit-learn", "skorch", "torch"} < set(header["versions"])
    assert header["estimator"]["params"]["random_state"] == 0
    kinds = {name: head["$part"] for name, head in header["estimator"]["state"]["heads_"].items()}
    assert kinds == {"number": "Regression", "kind": "Classification"}


LOAD = """
import sys
import numpy as np, torch
from mtlearn.persistence import load
torch.set_num_threads(int(sys.argv[3]))
torch.set_default_dtype(getattr(torch, sys.argv[4]))
net = load(sys.argv[1])
found = np.load(sys.argv[2])
predicted = net.predict(found["X"])["number"]
assert np.abs(predicted - found["number"]).max() <= 1e-6 * np.abs(found["number"]).max()
print(bool((predicted == found["number"]).all()))
"""


@pytest.mark.parametrize(("threads", "dtype"), [("1", "float32"), ("2", "float64")])
def test_another_process_with_other_settings_predicts_the_same(threads, dtype, tmp_path):
    net = fit(MLP((32, 32), dropout=0.1))
    save(net, tmp_path / "net")
    np.savez(tmp_path / "rows.npz", X=X, number=net.predict(X)["number"])
    paths = [str(tmp_path / "net"), str(tmp_path / "rows.npz")]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *paths, threads, dtype],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    if threads == "1":
        assert done.stdout.strip() == "True"


def test_paths_may_be_strings(tmp_path):
    net = fit()
    save(net, str(tmp_path / "net"))
    assert_same(net, load(str(tmp_path / "net")))
    assert isinstance(Path(tmp_path / "net").stat().st_size, int)


def test_an_estimator_that_is_not_fitted_is_refused(tmp_path):
    with pytest.raises(NotFittedError, match="not fitted"):
        save(MultiOutputNet(), tmp_path / "net")


def test_a_pipeline_is_refused_and_told_what_to_do(tmp_path):
    pipeline = make_pipeline(StandardScaler(), MultiOutputNet(MLP((6,)), max_epochs=2)).fit(X, Y)
    with pytest.raises(TypeError, match="Got Pipeline; of a Pipeline or a search, save the net"):
        save(pipeline, tmp_path / "net")
    assert_same(pipeline[-1], through_file(pipeline[-1], tmp_path))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    net = fit()
    with torch.no_grad():
        net.module_.trunk[0].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"weights.trunk.0.weight holds numbers that are not fin"):
        save(net, tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        ([date(2020, 1, 1), date(2021, 1, 1)], "an array with a date in it"),
        ([Decimal(1), Decimal(2)], "an array with a Decimal in it"),
        (np.array(["a", "b"], np.dtypes.StringDType()), "an array of StringDType"),
    ],
    ids=["dates", "decimals", "texts of any length"],
)
def test_classes_that_a_file_cannot_hold_are_named(classes, found, tmp_path):
    if isinstance(classes, list):
        classes = np.array(classes, dtype=object)
    net = fit(heads={"it": Classification()}, y={"it": classes[(X[:, 0] > 0).astype(int)]})
    with pytest.raises(ValueError, match=rf"heads__it__classes_ is {found}.*, which model files"):
        save(net, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_file_of_one_thread_count_predicts_the_same_with_another(tmp_path):
    before = torch.get_num_threads()
    wide = np.random.default_rng(0).normal(size=(600, 40))
    try:
        torch.set_num_threads(1)
        net = MultiOutputNet(MLP((64,)), max_epochs=2, random_state=0)
        net.fit(wide, {"number": wide[:, 0]})
        expected = net.predict(wide)["number"]
        save(net, tmp_path / "net")
        torch.set_num_threads(2)
        found = load(tmp_path / "net").predict(wide)["number"]
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
