import numpy as np
import pytest
import torch
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn.trunks import MLP, Graph, LinearSkip

X = np.random.default_rng(0).normal(size=(20, 3))


def test_the_input_is_beside_what_the_part_makes_of_it():
    module, x = LinearSkip(MLP((4,))).build(3), torch.rand(5, 3)
    assert torch.equal(module(x), torch.cat([module.inner(x), x], 1))


def test_a_linear_target_is_learned_beyond_the_reach_of_the_layers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = {"y": X[:, 0] - 2 * X[:, 1]}
    far = 20 * X
    errors = {}
    for trunk in (MLP((8,), activation="tanh"), LinearSkip(MLP((8,), activation="tanh"))):
        net = MultiOutputNet(trunk, alpha=0.0, learning_rate=0.01, random_state=0).fit(X, y)
        errors[type(trunk)] = np.abs(net.predict(far)["y"] - 20 * y["y"]).mean()
    assert errors[LinearSkip] < errors[MLP] / 2


def test_it_takes_tables_only():
    with pytest.raises(
        ValueError, match=r"LinearSkip takes a table.* Got rows of the shape \(4, 3"
    ):
        LinearSkip().build((4, 3))


@pytest.mark.parametrize(
    ("part", "match"),
    [
        (MLP((4,), dropout=2), "the part of LinearSkip: The 'dropout' parameter of MLP"),
        (
            MLP((0,)),
            "the part of LinearSkip: `hidden_layer_sizes` of MLP must hold positive integers",
        ),
        ("mlp", "'part' parameter of LinearSkip"),
    ],
)
def test_bad_parameters_of_the_part_are_refused(part, match):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match=match):
        MultiOutputNet(LinearSkip(part), max_epochs=1).fit(X, {"y": X[:, 0]})


@pytest.mark.parametrize(
    ("part", "X", "match"),
    [
        (
            Graph([("a", MLP((3,)), "X")]),
            X,
            "the part of LinearSkip: it must return one.* Got dict",
        ),
        (nn.LSTM(3, 3), X, "the part of LinearSkip: it must return one tensor.* Got tuple"),
        (nn.Flatten(0), X, r"the part of LinearSkip: it must return one .* Got \(6,\) for 2 rows"),
        (nn.Linear(4, 3), X, r"the part of LinearSkip: it failed on two rows of zeros .*\(3,\)"),
        (MLP((3,)), {"a": X, "b": X}, r"LinearSkip takes one input. Got the inputs \['a', 'b'\]"),
    ],
)
def test_parts_that_do_not_go_with_it_are_refused(part, X, match):
    with pytest.raises(ValueError, match=f"^MultiOutputNet: {match}"):
        MultiOutputNet(LinearSkip(part), max_epochs=1).fit(X, {"y": np.arange(20.0)})


def test_a_part_that_makes_no_table_is_refused():
    with pytest.raises(ValueError, match=r"part of LinearSkip must make rows of one axis.* \(3, 1"):
        LinearSkip(nn.Unflatten(1, (3, 1))).build(3)


def test_a_template_may_have_any_type():
    net = MultiOutputNet(LinearSkip(nn.Linear(3, 3).double()), dtype="float32", max_epochs=1)
    assert net.fit(X, {"y": X[:, 0]}).embed(X).dtype == np.float32
