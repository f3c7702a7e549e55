import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn.trunks import Recurrent

KINDS = [
    {"cell": cell, "bidirectional": both, "n_layers": n}
    for cell in ("lstm", "gru")
    for both in (False, True)
    for n in (1, 2)
]


def sequences(lengths, n_steps=6, n_features=3):
    x = torch.rand(len(lengths), n_steps, n_features, dtype=torch.float64) + 0.1
    for i, length in enumerate(lengths):
        x[i, length:] = 0
    return x


@pytest.mark.parametrize("params", KINDS)
@pytest.mark.parametrize("sequence", [False, True])
def test_padding_is_not_read(params, sequence):
    module = Recurrent(4, sequence=sequence, **params).build((6, 3)).double()
    lengths = [6, 2, 1, 4]
    x = sequences(lengths)
    found = module(x)
    for i, length in enumerate(lengths):
        alone = module(x[i : i + 1, :length])
        if sequence:
            torch.testing.assert_close(found[i : i + 1, :length], alone)
            assert not found[i, length:].any()
        else:
            torch.testing.assert_close(found[i : i + 1], alone)


@pytest.mark.parametrize("params", KINDS)
def test_without_padding_it_is_torchs_own(params):
    module = Recurrent(4, **params).build((6, 3)).double()
    x = sequences([6, 6])
    states, last = module.cell(x)
    last = last[0] if isinstance(last, tuple) else last
    expected = torch.cat([last[-2], last[-1]], 1) if params["bidirectional"] else last[-1]
    torch.testing.assert_close(module(x), expected)
    if not params["bidirectional"]:
        torch.testing.assert_close(module(x), states[:, -1])


@pytest.mark.parametrize("sequence", [False, True])
def test_nothing_but_padding_is_zero(sequence):
    module = Recurrent(4, sequence=sequence).build((6, 3)).double()
    assert not module(sequences([0, 3]))[0].any()
    assert not module(sequences([0, 0])).any()


def test_zeros_can_be_read_too():
    module = Recurrent(4, mask_zeros=False).build((6, 3)).double()
    assert module(sequences([0]))[0].any()


def test_zeros_within_a_sequence_are_read():
    module = Recurrent(4).build((6, 3)).double()
    x = sequences([5])
    x[0, 2] = 0
    torch.testing.assert_close(module(x), module(x[:, :5]))


def test_gradients_reach_every_weight():
    module = Recurrent(4, n_layers=2, bidirectional=True).build((6, 3)).double()
    module(sequences([6, 2])).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_parameters_are_checked_and_cloned():
    part = Recurrent(4, "gru", bidirectional=True)
    assert clone(part).get_params() == part.get_params()
    assert isinstance(part.build((6, 3)).cell, nn.GRU)
    with pytest.raises(ValueError, match="'cell' parameter of Recurrent"):
        Recurrent(cell="rnn").check_params()
    with pytest.raises(ValueError, match=r"takes sequences, rows of the shape \(n_steps"):
        Recurrent().build(5)
