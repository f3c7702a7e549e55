"""A fitted estimator is saved as arrays and plain values, and predicts the same when loaded."""

import copy
import io
import pickle
import subprocess
import sys
from functools import partial

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet
from torch import nn

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 40
X = np.random.default_rng(0).normal(size=(N, 5))
NUMBER = 10.0 + X[:, 0]
KIND = np.array(["a", "b", "c"])[np.digitize(X[:, 1], [-0.5, 0.5])]
Y = Targets({"number": NUMBER, "kind": KIND, "constant": np.full(N, 2.5)})


def fit_mixed(**params):
    return MultiOutputNet(random_state=0, max_epochs=5).set_params(**params).fit(X, Y)


def fit_regressor(**params):
    net = MultiOutputNetRegressor(random_state=0, max_epochs=5).set_params(**params)
    return net.fit(X, NUMBER, aux=Targets({"kind": KIND}))


def fit_classifier(**params):
    net = MultiOutputNetClassifier(random_state=0, max_epochs=5).set_params(**params)
    return net.fit(X, KIND, aux=Targets({"number": NUMBER}))


def fit_pipeline(**params):
    net = MultiOutputNet(random_state=0, max_epochs=5).set_params(**params)
    return Pipeline([("scale", StandardScaler()), ("net", net)]).fit(X, Y)


FITS = [fit_mixed, fit_regressor, fit_classifier]


def through_pickle(net):
    return pickle.loads(pickle.dumps(net))


def through_cloudpickle(net):
    return cloudpickle.loads(cloudpickle.dumps(net))


def through_joblib(net, **options):
    stream = io.BytesIO()
    joblib.dump(net, stream, **options)
    stream.seek(0)
    return joblib.load(stream)


ROUND_TRIPS = {
    "pickle": through_pickle,
    "cloudpickle": through_cloudpickle,
    "joblib": through_joblib,
    "joblib, compressed": partial(through_joblib, compress=3),
    "deepcopy": copy.deepcopy,
}


def outputs_of(net):
    outputs = {"predict": net.predict(X)}
    if hasattr(net, "predict_proba"):
        outputs["predict_proba"] = net.predict_proba(X)
    return outputs


def assert_same_outputs(a, b):
    a, b = outputs_of(a), outputs_of(b)
    assert a.keys() == b.keys()
    for method, outputs in a.items():
        if isinstance(outputs, Targets):
            assert outputs == b[method]
        else:
            np.testing.assert_array_equal(outputs, b[method])


@pytest.mark.parametrize("round_trip", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
@pytest.mark.parametrize("fit", [*FITS, fit_pipeline])
def test_round_trip_predicts_bit_for_bit_the_same(fit, round_trip):
    net = fit()
    assert_same_outputs(net, round_trip(net))


@pytest.mark.parametrize("fit", [fit_mixed, fit_pipeline])
def test_file_of_joblib_predicts_the_same_also_when_mapped(fit, tmp_path):
    net = fit()
    path = tmp_path / "net.joblib"
    joblib.dump(net, path)
    assert_same_outputs(net, joblib.load(path))
    assert_same_outputs(net, joblib.load(path, mmap_mode="r"))


@pytest.mark.parametrize(
    "params",
    [
        {"dtype": "float32"},
        {"trunk": MLP((6,), dropout=0.2, normalization="batch")},
        {"trunk": nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh())},
        {"trunk": partial(nn.Linear, out_features=6)},
        {"heads": {"number": Regression("huber", hidden_layer_sizes=(3,))}},
        {"heads": {"copy": Classification(target="kind", label_smoothing=0.1)}},
        {"loss_weights": {"kind": 0.0}},
        {"optimizer": torch.optim.NAdam},
        {"normalize_losses": False},
    ],
    ids=lambda params: ", ".join(f"{k}={type(v).__name__}" for k, v in params.items()),
)
def test_every_setting_survives(params):
    net = fit_mixed(**params)
    assert_same_outputs(net, through_pickle(net))


@pytest.mark.parametrize("fit", FITS)
def test_fitted_attributes_survive(fit):
    net = fit()
    loaded = through_pickle(net)
    assert loaded.history_ == net.history_
    assert [list(row) for row in loaded.history_] == [list(row) for row in net.history_]
    for name in ("output_names_", "loss_weights_", "n_iter_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(net, name)
    assert repr(loaded.heads_) == repr(net.heads_)
    assert not any(part.training for part in loaded.module_.modules())


def test_history_without_epochs_survives():
    net = MultiOutputNet(random_state=0).fit(X[:1], Y[:1])
    assert through_pickle(net).history_ == net.history_ == []
    assert through_pickle(net).predict(X[:1]) == Y[:1]


def test_loaded_net_can_be_fitted_cloned_and_saved_again():
    net = fit_mixed()
    loaded = through_pickle(through_pickle(net))
    assert_same_outputs(net, loaded)
    assert_same_outputs(net, clone(loaded).fit(X, Y))
    assert_same_outputs(net, loaded.fit(X, Y))


def test_parameters_set_after_the_fit_change_nothing_in_the_file():
    net = fit_mixed()
    predicted = net.predict(X)
    net.set_params(trunk=MLP((3,)), dtype="float32", loss_weights={"kind": 0.0}, heads=None)
    assert through_pickle(net).predict(X) == predicted


def test_skorchs_net_is_made_anew_after_loading():
    net = fit_mixed()
    loaded = through_pickle(net)
    assert isinstance(loaded.net_, NeuralNet)
    assert loaded.net_ is loaded.net_
    assert loaded.net_.module_ is loaded.module_
    assert type(loaded.net_.optimizer_) is type(net.net_.optimizer_)
    assert_same_outputs(net, loaded)


def test_saving_leaves_the_net_as_it_is():
    net = fit_mixed()
    attributes, skorch_net = dict(net.__dict__), net.net_
    pickle.dumps(net)
    assert net.__dict__ == attributes
    assert net.net_ is skorch_net


def test_unfitted_net_survives():
    net = MultiOutputNet(MLP((3,)), {"a": Regression()}, loss_weights={"a": 2.0})
    assert repr(through_pickle(net)) == repr(net)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_file_is_hardly_larger_than_the_weights(fit, dtype):
    net = fit(dtype=dtype, max_epochs="auto")
    size = sum(p.numel() * p.element_size() for p in net.module_.parameters())
    assert len(pickle.dumps(net)) <= 1.3 * size + 20_000


def names_in(data):
    """The modules of all classes and functions that a pickle refers to."""
    modules = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            modules.add(module)
            return super().find_class(module, name)

    Reader(io.BytesIO(data)).load()
    return modules


@pytest.mark.parametrize("fit", [*FITS, fit_pipeline])
def test_file_refers_to_no_class_of_torch_or_skorch(fit):
    packages = {module.partition(".")[0] for module in names_in(pickle.dumps(fit()))}
    assert "mtlearn" in packages
    assert packages <= {"mtlearn", "numpy", "sklearn", "builtins", "copyreg", "collections"}


def leaves(value, seen=None):
    """All objects that the state holds, at any depth."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    yield value
    parts = ()
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set):
        parts = value
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        parts = vars(value).values()
    for part in parts:
        yield from leaves(part, seen)


@pytest.mark.parametrize("fit", FITS)
def test_state_holds_no_object_of_torch_or_skorch(fit):
    found = list(leaves(fit().__getstate__()))
    assert sum(isinstance(value, np.ndarray) for value in found) > 5
    foreign = [v for v in found if type(v).__module__.partition(".")[0] in ("torch", "skorch")]
    assert foreign == []


SAVE = """
import sys
import cloudpickle, numpy as np, torch
from torch import nn
from mtlearn import MultiOutputNet
from mtlearn.heads import Classification, Regression

class Tower(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.early, self.late = nn.Linear(n_features, 6), nn.Linear(6, 4)

    def forward(self, X):
        early = self.early(X).tanh()
        return {"early": early, "late": self.late(early).relu()}

def loss(raw, target):
    return (raw - target).abs()

X = np.random.default_rng(0).normal(size=(30, 3))
heads = {"a": Regression(loss, at="late"), "b": Classification(at="early")}
net = MultiOutputNet(Tower, heads, max_epochs=3, random_state=0)
net.fit(X, {"a": X[:, 0], "b": X[:, 1] > 0})
with open(sys.argv[1], "wb") as file:
    cloudpickle.dump((net, X, net.predict(X), net.predict_proba(X)), file)
"""

LOAD = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    net, X, predicted, probabilities = pickle.load(file)
assert net.predict(X) == predicted
assert net.predict_proba(X) == probabilities
assert type(net.module_.trunk).__name__ == "Tower"
print("same")
"""


def test_trunk_class_of_a_script_survives_in_a_fresh_process(tmp_path):
    def run(script):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "net.pickle")],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(SAVE)
    assert run(LOAD).strip() == "same"


def test_lambda_as_trunk_survives_cloudpickle():
    net = fit_mixed(trunk=lambda n_features: nn.Linear(n_features, 3))
    assert_same_outputs(net, through_cloudpickle(net))


class Statistics(nn.Module):
    """A trunk with a buffer that training changes and a state_dict leaves out."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.layer(x) + self.seen


def test_buffers_outside_the_state_dict_travel_too():
    X = np.random.default_rng(0).normal(size=(50, 4))
    net = MultiOutputNet(Statistics, max_epochs=2, random_state=0).fit(X, {"a": X[:, 0]})
    assert pickle.loads(pickle.dumps(net)).predict(X) == net.predict(X)


def test_a_template_changed_after_the_fit_changes_no_copy():
    X = np.random.default_rng(0).normal(size=(50, 4))
    template = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    net = MultiOutputNet(template, max_epochs=2, random_state=0).fit(X, {"a": X[:, 0]})
    template[1] = nn.Tanh()
    assert pickle.loads(pickle.dumps(net)).predict(X) == net.predict(X)


def test_the_net_made_anew_trains_as_the_one_before():
    X = np.random.default_rng(0).normal(size=(120, 4))
    net = MultiOutputNet(random_state=0).fit(X, {"a": X[:, 0]})
    again = pickle.loads(pickle.dumps(net)).net_
    assert (again.batch_size, again.max_epochs) == (net.net_.batch_size, net.net_.max_epochs)
