"""What is not mtlearn's own is not stored, and must be given again, and be the same."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold
from sklearn.preprocessing import FunctionTransformer, PowerTransformer
from skorch.callbacks import EpochTimer
from torch import nn

from mtlearn import MultiOutputNet, OnlineMultiOutputNet, Targets
from mtlearn.exceptions import ModelFileError
from mtlearn.heads import Classification, Regression
from mtlearn.persistence import load, save
from mtlearn.trunks import MLP, Graph, LinearSkip, ModuleTrunk, Trunk
from mtlearn.weighting import Weigher, Weighting

N = 40
X = np.random.default_rng(0).normal(size=(N, 5))
Y = Targets({"price": np.exp(X[:, 0]), "kind": np.where(X[:, 1] > 0, "flat", "house")})


def fit(trunk=None, heads=None, **params):
    params = {"max_epochs": 2, "random_state": 0, **params}
    return MultiOutputNet(MLP((6,)) if trunk is None else trunk, heads, **params).fit(X, Y)


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh())


def build(n_features):
    return nn.Linear(n_features, 7)


def loss(raw, target):
    return (raw - target).abs()


def schedule(epoch):
    return 0.5


class Wide(Trunk):
    """A trunk of a user's own."""

    def __init__(self, n_units=4):
        self.n_units = n_units

    def note(self, X, rows=None):
        self.largest_ = np.abs(X).max(axis=0)
        return self

    def build(self, n_features):
        return nn.Linear(n_features, self.n_units)


class Half(Weighting):
    """A weighting of a user's own."""

    def begin(self, weights, main, seed):
        return HalfWeigher(len(weights))


class HalfWeigher(Weigher):
    """Its state."""

    def factors(self, losses, products):
        self.seen = losses
        return np.full(self.n_outputs, 0.5)


class Net(MultiOutputNet):
    """An estimator of a user's own."""


TRUNKS = {
    "module": (module(), {"trunk": module()}),
    "function": (build, {"trunk": build}),
    "partial": (
        partial(nn.Linear, out_features=6),
        {"trunk": partial(nn.Linear, out_features=6)},
    ),
    "wrapped": (ModuleTrunk(build), {"trunk__module": build}),
    "stage": (
        Graph([("tower", module(), "X"), ("end", MLP((4,)), "tower")]),
        {"trunk__tower": module()},
    ),
    "class": (Wide(5), {"Wide": Wide}),
}
PARAMS = {
    "loss": (
        {"heads": {"price": Regression(loss)}},
        {"heads__price__loss": loss},
    ),
    "loss module": (
        {"heads": {"price": Regression(nn.SmoothL1Loss())}},
        {"heads__price__loss": nn.SmoothL1Loss()},
    ),
    "schedule": ({"loss_weights": {"kind": schedule}}, {"loss_weights__kind": schedule}),
    "optimizer": ({"optimizer": torch.optim.NAdam}, {"optimizer": torch.optim.NAdam}),
    "splitter": (
        {"early_stopping": True, "validation_fraction": KFold(4)},
        {"validation_fraction": KFold(4)},
    ),
    "callbacks": (
        {"callbacks": [("timer", EpochTimer())]},
        {"callbacks__timer": EpochTimer()},
    ),
    "weighting": (
        {"weighting": Half(), "warm_start": True},
        {"Half": Half, "HalfWeigher": HalfWeigher},
    ),
    "batch size": ({"batch_size": lambda n: n // 2}, {"batch_size": lambda n: n // 2}),
}


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("case", TRUNKS)
def test_a_trunk_that_is_given_again_predicts_the_same(case, n_members, tmp_path):
    trunk, objects = TRUNKS[case]
    net = fit(trunk, n_members=n_members)
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects=objects)
    assert loaded.predict(X) == net.predict(X)
    assert loaded.predict_proba(X) == net.predict_proba(X)


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("case", PARAMS)
def test_a_parameter_that_is_given_again_predicts_the_same(case, n_members, tmp_path):
    params, objects = PARAMS[case]
    net = fit(**params, n_members=n_members)
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects=objects)
    assert loaded.predict(X) == net.predict(X)
    assert loaded.fit(X, Y).predict(X) == net.fit(X, Y).predict(X)


@pytest.mark.parametrize("case", [*TRUNKS, *PARAMS])
def test_an_object_that_is_missing_is_named(case, tmp_path):
    params, objects = PARAMS.get(case) or ({"trunk": TRUNKS[case][0]}, TRUNKS[case][1])
    save(fit(**params), tmp_path / "net")
    with pytest.raises(ModelFileError, match="objects that are not mtlearn's own") as raised:
        load(tmp_path / "net")
    assert all(f"{name!r}" in str(raised.value) for name in objects)


def test_a_fitted_transformer_stands_for_its_template_too(tmp_path):
    net = fit(heads={"price": Regression(transformer=PowerTransformer())})
    save(net, tmp_path / "net")
    fitted = net.heads_["price"].transformer_
    loaded = load(tmp_path / "net", objects={"heads__price__transformer_": fitted})
    assert loaded.predict(X) == net.predict(X)
    assert loaded.fit(X, Y).predict(X) == net.predict(X)


def test_a_transformer_of_functions_is_given_again(tmp_path):
    log = FunctionTransformer(np.log, inverse_func=np.exp)
    net = fit(heads={"price": Regression(transformer=log)})
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects={"heads__price__transformer_": log})
    assert loaded.predict(X) == net.predict(X)


def test_a_transformer_that_learned_something_else_is_refused(tmp_path):
    net = fit(heads={"price": Regression(transformer=PowerTransformer())})
    save(net, tmp_path / "net")
    other = PowerTransformer().fit(X[:, :1])
    with pytest.raises(ModelFileError, match="head 'price' compute something else"):
        load(tmp_path / "net", objects={"heads__price__transformer_": other})


def test_a_module_that_is_another_is_refused(tmp_path):
    save(fit(module()), tmp_path / "net")
    other = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU())
    with pytest.raises(ModelFileError, match=r"(?s)must be what the .* Tanh.* Got .*ReLU"):
        load(tmp_path / "net", objects={"trunk": other})


class Shift(nn.Module):
    """Two of these look the same, and are not."""

    def __init__(self, shift):
        super().__init__()
        self.layer, self.shift = nn.Linear(5, 6), shift

    def forward(self, x):
        return self.layer(x) + self.shift


def test_a_module_that_computes_something_else_is_refused(tmp_path):
    save(fit(Shift(1.0)), tmp_path / "net")
    assert load(tmp_path / "net", objects={"trunk": Shift(1.0)}).n_features_in_ == 5
    with pytest.raises(ModelFileError, match="trunk given computes something else"):
        load(tmp_path / "net", objects={"trunk": Shift(2.0)})


def shifted(n_features):
    layer = nn.Linear(n_features, 7)
    inner = layer.forward
    layer.forward = lambda x: inner(x) + 1.0
    return layer


def test_a_module_with_a_forward_of_its_own_keeps_it(tmp_path):
    net = fit(shifted)
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects={"trunk": shifted})
    np.testing.assert_array_equal(loaded.embed(X), net.embed(X))


class Tied(nn.Module):
    """Two layers with the same weights, and numbers that are neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(10, 10), nn.Linear(10, 10)
        self.last.weight = self.first.weight
        self.steps = torch.arange(100.0)

    def forward(self, x):
        x = torch.nn.functional.pad(x, (0, 5))
        return self.last(torch.tanh(self.first(x))) + self.steps[:10].to(x.dtype)


@pytest.mark.parametrize(
    ("trunk", "name"),
    [
        (Tied(), "trunk"),
        (Graph([("tied", Tied(), "X"), ("end", MLP((4,)), "tied")]), "trunk__tied"),
        (LinearSkip(ModuleTrunk(Tied())), "trunk__part__module"),
    ],
    ids=["alone", "stage", "inside"],
)
def test_weights_that_layers_share_stay_shared(trunk, name, tmp_path):
    net = fit(trunk, warm_start=True)
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects={name: Tied()})
    assert loaded.predict(X) == net.predict(X)
    assert loaded.fit(X, Y).predict(X) == net.fit(X, Y).predict(X)


@pytest.mark.parametrize("online", [False, True])
def test_layers_that_find_their_shapes_themselves_are_loaded(online, tmp_path):
    def lazy():
        return nn.Sequential(nn.LazyLinear(20), nn.LazyBatchNorm1d(), nn.Tanh())

    stream = OnlineMultiOutputNet(lazy, batch_size=8, random_state=0)
    net = stream.partial_fit(X, Y) if online else fit(lazy)
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects={"trunk": lazy})
    assert loaded.predict(X) == net.predict(X)
    assert loaded.partial_fit(X, Y).predict(X) == net.partial_fit(X, Y).predict(X)


def test_a_transformer_without_values_for_some_raw_outputs_is_saved(tmp_path):
    root = FunctionTransformer(np.square, inverse_func=np.sqrt)
    net = fit(heads={"price": Regression(transformer=root)})
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects={"heads__price__transformer_": root})
    assert loaded.predict(X, ["kind"]) == net.predict(X, ["kind"])


def test_a_module_of_other_shapes_is_refused(tmp_path):
    save(fit(build), tmp_path / "net")
    build_wider = partial(lambda n_features: nn.Linear(n_features, 9))
    build_wider.__qualname__ = build.__qualname__
    with pytest.raises(ModelFileError, match=r"shape \(7, 5\) and the type float64; its parts"):
        load(tmp_path / "net", objects={"trunk": build_wider})


def test_an_object_too_many_is_refused(tmp_path):
    save(fit(), tmp_path / "net")
    with pytest.raises(ModelFileError, match=r"`objects` names \['trunk'\]; the file needs \[\]"):
        load(tmp_path / "net", objects={"trunk": module()})


def test_a_class_must_be_of_the_kind_that_is_asked_for(tmp_path):
    save(fit(Wide()), tmp_path / "net")
    fake = type("Wide", (), {"__qualname__": Wide.__qualname__})
    with pytest.raises(ModelFileError, match="there is no class 'own:Wide'"):
        load(tmp_path / "net", objects={"Wide": fake})


def test_an_estimator_of_a_class_of_ones_own_is_given_its_class(tmp_path):
    net = Net(MLP((6,)), max_epochs=2, random_state=0).fit(X, Y)
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects={"Net": Net})
    assert type(loaded) is Net
    assert loaded.predict(X) == net.predict(X)


def test_the_trunk_of_an_online_estimator_is_given_again(tmp_path):
    net = OnlineMultiOutputNet(build, random_state=0).partial_fit(X, Y)
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net", objects={"trunk": build})
    assert loaded.predict(X) == net.predict(X)
    assert loaded.partial_fit(X, Y).predict(X) == net.partial_fit(X, Y).predict(X)


def test_a_module_changed_since_the_fit_is_not_saved(tmp_path):
    net = fit(module())
    net.set_params(trunk=nn.Sequential(nn.Linear(5, 6), nn.ReLU()))
    with pytest.raises(ValueError, match=r"(?s)'trunk' was changed since the fit"):
        save(net, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_parameters_of_ours_may_have_changed_since_the_fit(tmp_path):
    net = fit()
    net.set_params(trunk=MLP((3,)), heads={"kind": Classification(label_smoothing=0.2)})
    save(net, tmp_path / "net")
    loaded = load(tmp_path / "net")
    assert loaded.predict(X) == net.predict(X)
    assert repr(loaded) == repr(net)


def test_a_weighting_of_torchjd_is_not_saved(tmp_path):
    aggregation = pytest.importorskip("torchjd.aggregation")
    net = fit(weighting=aggregation.MGDA())
    with pytest.raises(ValueError, match="class TorchJD, which model files do not hold"):
        save(net, tmp_path / "net")
