import pickle

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn.heads import Regression
from mtlearn.testing import check_trunk
from mtlearn.trunks import MLP, Hedge

X = np.random.default_rng(0).normal(size=(40, 3))
SMALL = Hedge((5, 4))
FORMS = [
    SMALL,
    Hedge((5, 4), masked=False, activation="tanh"),
    Hedge((4,), linear=False),
    Hedge((), masked=False),
]


def build(trunk=SMALL, n_features=3):
    torch.manual_seed(0)
    return trunk.build(n_features).double()


def rows(n, n_features=3):
    x = torch.randn(n, n_features, generator=torch.Generator().manual_seed(0)).double()
    return x, x > 0


def test_each_depth_has_a_tensor():
    x, _ = rows(7)
    expected = {"masked": 6, "linear": 3, "hidden_1": 100, "hidden_2": 50}
    module = Hedge().build(3)
    found = module(x.float())
    assert {name: made.shape[1] for name, made in found.items()} == expected
    assert all(len(made) == 7 for made in found.values())
    for trunk, names in [
        (Hedge((4,), linear=False), ["masked", "hidden_1"]),
        (Hedge((4,), masked=False), ["linear", "hidden_1"]),
        (Hedge(()), ["masked", "linear"]),
    ]:
        module = build(trunk)
        assert list(module(x)) == module.experts == names
        assert module.default == names[-1]


def test_layers_are_those_of_an_mlp_of_the_same_weights():
    module, (x, _) = build(), rows(7)
    mlp = MLP((5, 4)).build_named(3).double()
    linear = [layer for layer in mlp if isinstance(layer, nn.Linear)]
    for own, other in zip(module.layers, linear, strict=True):
        other.load_state_dict(own.state_dict())
    for name, made in mlp(x).items():
        torch.testing.assert_close(module(x)[name], made)
    assert torch.equal(module(x)["linear"], x)


def test_the_masked_expert_sees_which_features_are_absent():
    module, (x, present) = build(), rows(7)
    found = module(x, present)["masked"]
    assert torch.equal(found[:, ::2], x)
    assert torch.equal(found[:, 1::2], (~present).double())
    assert not module(x)["masked"][:, 1::2].any()


@pytest.mark.parametrize("trunk", FORMS)
def test_new_features_keep_what_was_made(trunk):
    module, (x, present) = build(trunk, 3), rows(6, 5)
    before = module(x[:, :3], present[:, :3])
    names = list(module.experts)
    module.widen(5)
    absent = x.clone()
    absent[:, 3:] = 0
    found = module(absent, present)
    assert list(found) == module.experts == names
    for name, made in before.items():
        if name.startswith("hidden"):
            torch.testing.assert_close(found[name], made)
        else:  # what is new comes behind, so that heads keep their weights
            assert torch.equal(found[name][:, : made.shape[1]], made)
            assert found[name].shape[1] == made.shape[1] * 5 // 3
    if len(module.layers):
        assert (module.layers[0].weight[:, 3:] != 0).all()
        assert any((module(x, present)[n] != found[n]).any() for n in names if "hidden" in n)


def test_a_wider_module_has_the_parameters_of_one_built_so():
    module, other = build(n_features=2), build(n_features=3)
    module.widen(3)
    other.load_state_dict(module.double().state_dict())
    x, _ = rows(4)
    for name, made in module(x).items():
        assert torch.equal(other(x)[name], made)


def test_first_weights_keep_the_size_of_what_goes_through_them():
    module = build(Hedge((400, 400)), 300)
    x, _ = rows(50, 300)
    found = module(x)
    sizes = [float(found[name].detach().square().mean()) for name in ("hidden_1", "hidden_2")]
    assert sizes == pytest.approx([1.96, 1.96], rel=0.15)  # those of x are 1, of its first gain 1.4
    assert not any(layer.bias.any() for layer in module.layers)


@pytest.mark.parametrize("trunk", FORMS)
def test_it_is_a_trunk_of_other_estimators(trunk):
    check_trunk(trunk, X)


def test_heads_of_other_estimators_attach_to_its_layers():
    y = {"a": X[:, 0], "b": X[:, 1]}
    heads = {"a": Regression(at="hidden_1"), "b": Regression()}
    net = MultiOutputNet(SMALL, heads, max_epochs=2, random_state=0).fit(X, y)
    assert net.embed(X, "hidden_1").shape == (40, 5)
    assert net.summary()["trained_by"]["layers.1"] == "b"
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X)["a"], net.predict(X)["a"])


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"hidden_layer_sizes": (4, 0)}, "`hidden_layer_sizes` of Hedge must hold positive"),
        ({"hidden_layer_sizes": 4}, "'hidden_layer_sizes' parameter of Hedge"),
        ({"activation": "step"}, "'activation' parameter of Hedge"),
        ({"linear": "yes"}, "'linear' parameter of Hedge"),
        ({"masked": None}, "'masked' parameter of Hedge"),
        (
            {"hidden_layer_sizes": (), "linear": False, "masked": False},
            "Hedge needs an expert. Got no hidden layer, and neither linear one",
        ),
    ],
)
def test_bad_parameters_are_refused(params, match):
    with pytest.raises(ValueError, match=match):
        MultiOutputNet(Hedge(**params), max_epochs=1).fit(X, {"y": X[:, 0]})


def test_rows_of_more_axes_are_refused():
    with pytest.raises(TypeError, match=r"`trunk` Hedge takes one table. .* \(3, 2\)"):
        Hedge().build((3, 2))
