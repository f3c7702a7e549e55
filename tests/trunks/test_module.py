from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn.heads import Regression
from mtlearn.trunks import MLP, ModuleTrunk, as_trunk


class TwoLayers(nn.Module):
    """Return both hidden layers by name."""

    def __init__(self, n_features):
        super().__init__()
        self.first, self.second = nn.Linear(n_features, 5), nn.Linear(5, 4)

    def forward(self, x):
        low = self.first(x).relu()
        return {"low": low, "high": self.second(low).relu()}


class WithoutInit(nn.Module):
    """A class whose inherited `__init__` names no argument."""

    def forward(self, x):
        return x


class FixedWidth(nn.Module):
    """A class that takes no argument."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 8)

    def forward(self, x):
        return self.layer(x)


def make_data(n=30):
    X = np.random.default_rng(0).normal(size=(n, 3))
    return X, {"a": X[:, 0], "b": X[:, 1] - X[:, 2]}


def test_a_module_is_a_template_that_is_copied_with_its_weights():
    template = nn.Linear(3, 8)
    built = ModuleTrunk(template).build(3)
    assert built is not template
    assert torch.equal(built.weight, template.weight)
    with torch.no_grad():
        built.weight += 1
    assert not torch.equal(built.weight, template.weight)


@pytest.mark.parametrize(
    "builder",
    [
        lambda n_features: nn.Linear(n_features, 8),
        lambda: nn.Linear(3, 8),
        lambda *args: nn.Linear(*args, 8),
        partial(nn.Linear, out_features=8),
        FixedWidth,
    ],
    ids=["argument", "none", "star", "partial", "class"],
)
def test_a_callable_is_called_with_the_number_of_features_if_it_takes_one(builder):
    assert ModuleTrunk(builder).build(3)(torch.rand(2, 3)).shape == (2, 8)


def test_a_class_without_an_init_of_its_own_is_called_without_arguments():
    assert ModuleTrunk(WithoutInit).build(3)(torch.ones(2, 3)).shape == (2, 3)


def test_a_callable_must_make_a_module():
    with pytest.raises(TypeError, match=r"must make a torch.nn.Module.*returned 3"):
        ModuleTrunk(lambda: 3).build(3)


def test_an_error_inside_a_builder_is_not_hidden():
    def builder(n_features):
        raise TypeError(f"no layers for {n_features}")

    with pytest.raises(TypeError, match="no layers for 3"):
        ModuleTrunk(builder).build(3)


def test_none_is_the_default_trunk():
    assert repr(as_trunk(None)) == repr(MLP())


def test_a_trunk_stays_as_it_is():
    trunk = MLP((3,))
    assert as_trunk(trunk) is trunk


@pytest.mark.parametrize("module", [nn.Linear(3, 8), FixedWidth, lambda n: nn.Linear(n, 8)])
def test_a_module_or_a_callable_is_wrapped(module):
    trunk = as_trunk(module)
    assert isinstance(trunk, ModuleTrunk)
    assert trunk.module is module


def test_a_class_of_trunks_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"must be an instance. Got the class; write MLP\(\)"):
        as_trunk(MLP)


@pytest.mark.parametrize("trunk", ["mlp", 3, (64, 32)])
def test_anything_else_is_refused(trunk):
    with pytest.raises(TypeError, match=r"must be a trunk, a torch.nn.Module, or a callable"):
        as_trunk(trunk)


def test_training_starts_from_the_weights_of_the_template_and_leaves_them():
    X, y = make_data()
    template = nn.Linear(3, 8)
    before = template.weight.detach().clone()
    rate = 1e-12
    net = MultiOutputNet(trunk=template, max_epochs=1, learning_rate=rate, optimizer="sgd")
    trained = net.fit(X.astype(np.float32), y).module_.trunk
    assert torch.equal(template.weight, before)
    assert template.weight.grad is None
    torch.testing.assert_close(trained.weight, before)
    assert net.trunk is template


def test_two_fits_of_a_template_are_independent():
    X, y = make_data()
    net = MultiOutputNet(trunk=nn.Linear(3, 8), max_epochs=3, random_state=0)
    first = net.fit(X, y).predict(X)
    assert net.fit(X, y).predict(X) == first


def test_a_callable_draws_its_weights_from_the_random_state():
    X, y = make_data()

    def predictions(seed):
        return (
            MultiOutputNet(trunk=TwoLayersSum, max_epochs=2, random_state=seed).fit(X, y).predict(X)
        )

    assert predictions(0) == predictions(0)
    assert predictions(0) != predictions(1)


class TwoLayersSum(TwoLayers):
    def forward(self, x):
        return super().forward(x)["high"]


def test_heads_attach_to_named_tensors():
    X, y = make_data()
    heads = {"a": Regression(at="low"), "b": Regression(at="high")}
    net = MultiOutputNet(trunk=TwoLayers, heads=heads, max_epochs=2, random_state=0).fit(X, y)
    widths = {
        name: next(layer.in_features for layer in head.modules() if isinstance(layer, nn.Linear))
        for name, head in zip(net.module_.names, net.module_.heads, strict=True)
    }
    assert widths == {"a": 5, "b": 4}


def test_a_tensor_that_the_trunk_lacks_is_an_error_that_names_the_output():
    X, y = make_data()
    heads = {"a": Regression(at="low"), "b": Regression(at="hihg")}
    with pytest.raises(ValueError, match=r"output 'b'.*unknown trunk tensor 'hihg'.*'high'\?"):
        MultiOutputNet(trunk=TwoLayers, heads=heads).fit(X, y)


def test_a_head_must_choose_among_several_tensors():
    X, y = make_data()
    with pytest.raises(ValueError, match=r"output 'a'.*`at` of the head must name one of \['high'"):
        MultiOutputNet(trunk=TwoLayers).fit(X, y)


def test_a_clone_keeps_a_callable_and_copies_a_template():
    template = nn.Linear(3, 8)
    assert clone(ModuleTrunk(FixedWidth)).module is FixedWidth
    copied = clone(ModuleTrunk(template)).module
    assert copied is not template
    assert torch.equal(copied.weight, template.weight)
