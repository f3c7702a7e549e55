import math

import pytest
import torch
from sklearn.base import clone

from mtlearn.trunks import Transformer


def sequences(lengths, n_steps=5, n_features=6):
    x = torch.rand(len(lengths), n_steps, n_features, dtype=torch.float64) + 0.1
    for i, length in enumerate(lengths):
        x[i, length:] = 0
    return x


def by_hand(layer, x, n_heads):
    """A layer on one sequence: attention and network, each on what is normalised."""
    attention, d = layer.self_attn, x.shape[1] // n_heads
    q, k, v = (layer.norm1(x) @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, 1)
    mixed = []
    for h in range(n_heads):
        own = slice(h * d, (h + 1) * d)
        weights = torch.softmax(q[:, own] @ k[:, own].T / math.sqrt(d), 1)
        mixed.append(weights @ v[:, own])
    x = x + torch.cat(mixed, 1) @ attention.out_proj.weight.T + attention.out_proj.bias
    return x + layer.linear2(layer.linear1(layer.norm2(x)).relu())


def test_a_layer_is_the_papers_with_normalisation_before():
    module = Transformer(2, 7, n_layers=2, has_positions=False).build((5, 6)).double()
    x = sequences([5])
    expected = x[0]
    for layer in module.layers:
        expected = by_hand(layer, expected, 2)
    torch.testing.assert_close(module(x)[0], expected)


def test_positions_are_sines_and_cosines():
    plain = Transformer(2, has_positions=False).build((5, 6)).double()
    told = Transformer(2).build((5, 6)).double()
    told.load_state_dict(plain.state_dict())
    x = sequences([5])
    p = [
        [f(t / 10000 ** (2 * i / 6)) for i in range(3) for f in (math.sin, math.cos)]
        for t in range(5)
    ]
    expected = plain(x + torch.tensor(p, dtype=torch.float64))
    torch.testing.assert_close(told(x), expected)


@pytest.mark.parametrize("training", [True, False])
def test_padding_is_not_looked_at_and_stays_zero(training):
    module = Transformer(2, n_layers=2).build((5, 6)).double().train(training)
    lengths = [5, 2, 4]
    x = sequences(lengths)
    with torch.set_grad_enabled(training):
        found = module(x)
        for i, length in enumerate(lengths):
            torch.testing.assert_close(found[i, :length], module(x[i : i + 1, :length])[0])
            assert not found[i, length:].any()


def test_nothing_but_padding_is_zero():
    module = Transformer(2).build((5, 6)).double()
    found = module(sequences([0, 3]))
    assert not found[0].any()
    assert found.isfinite().all()


def test_without_positions_the_order_does_not_matter():
    module = Transformer(2, has_positions=False).build((5, 6)).double()
    x = sequences([5])
    torch.testing.assert_close(module(x.flip(1)).flip(1), module(x))


def test_gradients_reach_every_weight():
    module = Transformer(2, n_layers=2).build((5, 6)).double()
    (module(sequences([5, 2])) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_parameters_are_checked_and_cloned():
    part = Transformer(2, 8, n_layers=3)
    assert clone(part).get_params() == part.get_params()
    with pytest.raises(ValueError, match="'n_layers' parameter of Transformer"):
        Transformer(n_layers=0).check_params()
    with pytest.raises(ValueError, match=r"must divide the number of features, 6\. Got 4"):
        Transformer(4).build((5, 6))
    with pytest.raises(ValueError, match="Transformer takes sequences"):
        Transformer().build(6)
