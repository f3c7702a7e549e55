import copy
import pickle

import pytest
import torch
from torch import nn

from mtlearn._layers import ACTIVATIONS, NORMALIZATIONS, Dropout, dense


def make_dropout(p=0.5, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Dropout(p)


def test_dropout_is_the_identity_in_evaluation():
    x = torch.rand(5, 3)
    assert torch.equal(make_dropout().eval()(x), x)


def test_dropout_without_a_share_is_the_identity():
    x = torch.rand(5, 3)
    assert torch.equal(make_dropout(p=0.0)(x), x)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_scales_the_rest(p):
    n = 100_000
    out = make_dropout(p)(torch.ones(n, dtype=torch.float64))
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)))
    standard_error = (p * (1 - p) / n) ** 0.5
    assert abs(1 - len(kept) / n - p) < 5 * standard_error


def test_dropout_passes_gradients_through_what_it_keeps():
    x = torch.ones(50, requires_grad=True)
    out = make_dropout()(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_dropout_draws_from_its_own_generator():
    layer, same, other = make_dropout(), make_dropout(), make_dropout(seed=1)
    x = torch.ones(200)
    before = torch.get_rng_state()
    first = layer(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(same(x), first)
    assert not torch.equal(other(x), first)
    assert not torch.equal(layer(x), first)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_dropout_continues_the_same_draws(copied):
    layer, x = make_dropout(), torch.ones(200)
    unused = copied(layer)
    first = layer(x)
    assert torch.equal(unused(x), first)
    used = copied(layer)
    assert torch.equal(used(x), layer(x))


def test_dense_stacks_linear_normalisation_activation_and_dropout():
    layers = dense(3, [5, 2], activation="tanh", dropout=0.1, normalization="layer")
    kinds = [nn.Linear, nn.LayerNorm, nn.Tanh, Dropout]
    assert [type(layer) for layer in layers] == kinds * 2
    assert nn.Sequential(*layers)(torch.rand(4, 3)).shape == (4, 2)


def test_dense_of_no_sizes_is_no_layer():
    assert dense(3, []) == []


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_keep_the_shape(activation):
    assert nn.Sequential(*dense(3, [4], activation=activation))(torch.rand(2, 3)).shape == (2, 4)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalisations_centre_over_the_batch_or_the_units(normalization):
    layer = NORMALIZATIONS[normalization](6)
    out = layer(torch.rand(8, 6, dtype=torch.float32) * 5 + 3)
    axis = {"batch": 0, "layer": 1}[normalization]
    torch.testing.assert_close(out.mean(axis), torch.zeros(out.shape[1 - axis]), atol=1e-5, rtol=0)
