import inspect

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn._layers import ACTIVATIONS, NORMALIZATIONS
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
