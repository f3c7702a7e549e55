import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn.trunks import Convolution


def layer_of(module, kind):
    return next(layer for layer in module.modules() if isinstance(layer, kind))


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_on_images_it_is_torchs_own_with_channels_last(kernel_size):
    module = Convolution(4, kernel_size, activation="identity").build((6, 5, 2)).double()
    layer = layer_of(module, nn.Conv2d)
    x = torch.rand(3, 6, 5, 2, dtype=torch.float64)
    expected = nn.functional.conv2d(
        x.permute(0, 3, 1, 2), layer.weight, layer.bias, padding=kernel_size // 2
    )
    torch.testing.assert_close(module(x), expected.permute(0, 2, 3, 1))


def test_on_sequences_it_is_a_product_at_each_step():
    module = Convolution(4, 3, padding="valid", activation="tanh").build((6, 2)).double()
    layer = layer_of(module, nn.Conv1d)
    x = torch.rand(3, 6, 2, dtype=torch.float64)
    found = module(x)
    assert found.shape == (3, 4, 4)
    for step in range(4):
        window = x[:, step : step + 3].transpose(1, 2).flatten(1)
        expected = torch.tanh(window @ layer.weight.flatten(1).T + layer.bias)
        torch.testing.assert_close(found[:, step], expected)


@pytest.mark.parametrize(
    ("params", "shape"),
    [
        ({}, (7, 7, 4)),
        ({"kernel_size": 2}, (7, 7, 4)),
        ({"kernel_size": 4}, (7, 7, 4)),
        ({"stride": 2}, (4, 4, 4)),
        ({"padding": "valid"}, (5, 5, 4)),
        ({"pool_size": 2}, (3, 3, 4)),
        ({"stride": 2, "padding": "valid", "pool_size": 3}, (1, 1, 4)),
    ],
)
def test_positions(params, shape):
    module = Convolution(4, **params).build((7, 7, 3))
    assert module(torch.rand(2, 7, 7, 3)).shape == (2, *shape)


def test_it_is_normalised_activated_pooled_and_dropped_out():
    part = Convolution(4, normalization="batch", activation="silu", pool_size=2, dropout=0.5)
    names = [type(layer).__name__ for layer in part.build((8, 8, 1))]
    expected = ["ConstantPad2d", "Conv2d", "BatchNorm2d", "SiLU", "MaxPool2d", "Dropout"]
    assert names == expected


def test_parameters_are_checked_and_cloned():
    part = Convolution(4, 5, stride=2)
    assert clone(part).get_params() == part.get_params()
    with pytest.raises(ValueError, match="'padding' parameter of Convolution"):
        Convolution(4, padding="full").check_params()
    with pytest.raises(ValueError, match=r"Convolution takes sequences.* Got rows of the shape 5"):
        Convolution(4).build(5)
