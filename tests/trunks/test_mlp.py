import inspect
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn._layers import ACTIVATIONS, NORMALIZATIONS
from mtlearn.heads import Regression
from mtlearn.trunks import MLP


def linear_sizes(module):
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in layers]


@pytest.mark.parametrize("sizes", [(5,), [5, 4], np.array([5, 4, 3])], ids=str)
def test_the_layers_have_their_sizes(sizes):
    module = MLP(sizes).build(7)
    assert linear_sizes(module) == list(zip([7, *sizes], sizes, strict=False))
    assert module(torch.rand(2, 7)).shape == (2, sizes[-1])


def test_no_layer_passes_the_features_on():
    x = torch.rand(2, 7)
    assert torch.equal(MLP(()).build(7)(x), x)


def test_the_forward_pass_is_that_of_its_weights():
    module = MLP((5, 4), activation="tanh").build(3).double()
    x = np.random.default_rng(0).normal(size=(6, 3))
    expected = x
    for layer in (layer for layer in module.modules() if isinstance(layer, nn.Linear)):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        expected = np.tanh(expected @ weight.T + bias)
    np.testing.assert_allclose(module(torch.tensor(x)).detach().numpy(), expected)


def test_every_layer_is_normalised_activated_and_dropped_out():
    module = MLP((5, 4), activation="elu", dropout=0.5, normalization="batch").build(3)
    names = [type(layer).__name__ for layer in module.children()]
    assert names == ["Linear", "BatchNorm1d", "ELU", "Dropout"] * 2


def test_dropout_acts_in_training_only():
    module, x = MLP((50,), activation="identity", dropout=0.5).build(3), torch.rand(4, 3)
    assert not torch.equal(module.train()(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


def test_every_build_draws_weights_anew_under_the_seed_of_the_caller():
    trunk = MLP((5,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = trunk.build(3), trunk.build(3)
        torch.manual_seed(0)
        again = trunk.build(3)
    weights = [module[0].weight for module in (first, second, again)]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
def test_every_named_layer_is_accepted_and_named_in_the_documentation(activation, normalization):
    trunk = MLP((5,), activation=activation, normalization=normalization)
    trunk.check_params()
    assert trunk.build(3)(torch.rand(4, 3)).shape == (4, 5)
    assert f'"{activation}"' in inspect.getdoc(MLP)
    assert normalization is None or f'"{normalization}"' in inspect.getdoc(MLP)


@pytest.mark.parametrize(
    "params",
    [
        {"hidden_layer_sizes": 5},
        {"hidden_layer_sizes": (5, 0)},
        {"hidden_layer_sizes": (5.0,)},
        {"hidden_layer_sizes": None},
        {"activation": "swish"},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"normalization": "group"},
    ],
    ids=str,
)
def test_bad_parameters_are_refused_by_name(params):
    with pytest.raises(
        ValueError, match=f"(?s)MLP.*{next(iter(params))}|{next(iter(params))}.*MLP"
    ):
        MLP(**params).check_params()


def test_a_clone_has_equal_parameters():
    trunk = MLP([5], activation="tanh", dropout=0.1, normalization="layer")
    assert clone(trunk).get_params() == trunk.get_params()


def test_the_named_layers_are_those_of_the_plain_stack():
    mlp, x = MLP((5, 4, 3), dropout=0.5, normalization="layer"), torch.rand(6, 7)
    torch.manual_seed(0)
    plain = mlp.build(7).eval()
    torch.manual_seed(0)
    named = mlp.build_named(7).eval()
    found = named(x)
    assert named.default == "hidden_3"
    for i in (1, 2, 3):
        assert torch.equal(found[f"hidden_{i}"], plain[: 4 * i](x))
    assert list(named(x, {"hidden_2"})) == ["hidden_2"]
    assert list(named.without_others({"hidden_2", "hidden_1"}).ends) == ["hidden_1", "hidden_2"]
    assert named.state_dict().keys() == plain.state_dict().keys()


def test_a_stack_without_layers_has_no_names():
    assert torch.equal(MLP(()).build_named(2)(torch.ones(1, 2)), torch.ones(1, 2))


def fit(**heads):
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = {name: X[:, 0] * X[:, i] for i, name in enumerate(heads)}
    net = MultiOutputNet(MLP((8, 6)), heads, max_epochs=3, alpha=0.0, random_state=0)
    return net.fit(X, y), X, y


def test_heads_at_the_last_layer_are_those_that_name_none():
    plain, X, _ = fit(a=Regression(), b=Regression())
    named, _, _ = fit(a=Regression(at="hidden_2"), b=Regression())
    for name, predicted in plain.predict(X).items():
        assert np.array_equal(named.predict(X)[name], predicted)


def test_an_output_at_an_inner_layer_trains_nothing_above_it():
    net, X, _ = fit(a=Regression(at="hidden_1"), b=Regression())
    module = net.module_
    loss = module(torch.tensor(X))["a"].sum()
    first, second = module.trunk.blocks.values()
    gradients = torch.autograd.grad(loss, list(first.parameters()), retain_graph=True)
    assert all(g.any() for g in gradients)
    of_second = torch.autograd.grad(loss, list(second.parameters()), allow_unused=True)
    assert of_second == (None, None)


def test_dropping_the_inner_output_changes_no_prediction_and_the_last_one_drops_its_layers():
    net, X, _ = fit(a=Regression(at="hidden_1"), b=Regression())
    expected = net.predict(X)
    assert np.array_equal(net.drop_outputs(["a"]).predict(X)["b"], expected["b"])
    early = net.drop_outputs(["b"])
    assert np.array_equal(early.predict(X)["a"], expected["a"])
    assert list(early.module_.trunk.ends) == ["hidden_1"]
    assert len(early.module_.trunk) == 2


def test_a_head_may_take_several_layers():
    net, X, _ = fit(a=Regression(at=["hidden_2", "hidden_1"]), b=Regression())
    x = torch.tensor(X)
    both = torch.cat([torch.tensor(net.embed(X, f"hidden_{i}")) for i in (2, 1)], 1)
    expected = net.module_.heads[0](both)
    assert torch.equal(net.module_(x)["a"], expected)
    assert np.array_equal(net.predict(X, outputs=["a"])["a"], net.predict(X)["a"])
    smaller = net.drop_outputs(["a"])
    assert np.array_equal(smaller.predict(X)["b"], net.predict(X)["b"])
    assert np.array_equal(pickle.loads(pickle.dumps(net)).predict(X)["a"], net.predict(X)["a"])


def test_an_unknown_layer_is_an_error_that_names_the_layers():
    message = r"output 'a': `at` of the head names the unknown trunk tensor 'hidden_3'.*hidden_2"
    for at in ("hidden_3", ["hidden_1", "hidden_3"]):
        with pytest.raises(ValueError, match=message):
            fit(a=Regression(at=at))


def test_sequences_and_several_inputs_are_refused_with_a_remedy():
    with pytest.raises(TypeError, match=r"one table. Got rows of the shape \(5, 3\); make rows of"):
        MLP().build((5, 3))
    with pytest.raises(TypeError, match=r"one table. Got the inputs \['a', 'b'\]; pass a module"):
        MLP().build({"a": (5,), "b": (3,)})
