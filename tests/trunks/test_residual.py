import numpy as np
import pytest
import torch
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn.trunks import MLP, CategoryEmbedding, Embedding, Graph, Residual, Transformer

X = np.random.default_rng(0).normal(size=(20, 3))


def test_the_input_is_added_to_what_the_part_makes_of_it():
    module, x = Residual(MLP((4, 3))).build(3), torch.rand(5, 3)
    assert torch.equal(module(x), module.inner(x) + x)
    assert isinstance(module.skip, nn.Identity)


def test_a_linear_map_makes_another_width_fit():
    module, x = Residual(MLP((4,))).build(3), torch.rand(5, 3)
    expected = module.inner(x) + x @ module.skip.weight.T
    torch.testing.assert_close(module(x), expected)


def test_sequences_and_images_keep_their_positions():
    assert Residual(Transformer(n_heads=2)).build((7, 6))(torch.rand(2, 7, 6)).shape == (2, 7, 6)
    assert Residual(nn.Linear(4, 5)).build((3, 3, 4))(torch.rand(2, 3, 3, 4)).shape == (2, 3, 3, 5)
    with pytest.raises(
        ValueError, match=r"Residual must keep all axes but the last.* \(6,\) of \(2"
    ):
        Residual(nn.Flatten()).build((2, 3))


def test_it_stacks_and_nested_parameters_reach_the_part():
    graph = Graph([("a", Residual(MLP((8,))), "X"), ("b", Residual(), "a")])
    graph.set_params(a__part__hidden_layer_sizes=(6,), b__part=MLP((6,), dropout=0.5))
    X = np.random.default_rng(0).normal(size=(50, 3))
    net = MultiOutputNet(graph, max_epochs=2, random_state=0).fit(X, {"y": X[:, 0]})
    assert net.embed(X, "b").shape == (50, 6)


def test_the_part_learns_of_the_rows_what_it_needs():
    codes = np.array([[0, 3], [1, 2]])
    module = Residual(CategoryEmbedding(2)).note(codes).build(2)
    with pytest.raises(RuntimeError, match="dtype"):  # codes are no numbers to add
        module(torch.tensor(codes))


@pytest.mark.parametrize(
    ("part", "match"),
    [
        (MLP((4,), dropout=2), "the part of Residual: The 'dropout' parameter of MLP"),
        (
            MLP((0,)),
            "the part of Residual: `hidden_layer_sizes` of MLP must hold positive integers",
        ),
        ("mlp", "'part' parameter of Residual"),
    ],
)
def test_bad_parameters_of_the_part_are_refused(part, match):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match=match):
        MultiOutputNet(Residual(part), max_epochs=1).fit(X, {"y": X[:, 0]})


@pytest.mark.parametrize(
    ("part", "X", "match"),
    [
        (Graph([("a", MLP((3,)), "X")]), X, "the part of Residual: it must return one .* Got dict"),
        (nn.LSTM(3, 3), X, "the part of Residual: it must return one tensor.* Got tuple"),
        (nn.Flatten(0), X, r"the part of Residual: it must return one .* Got \(6,\) for 2 rows"),
        (nn.Linear(4, 3), X, r"the part of Residual: it failed on two rows of zeros .*\(3,\)"),
        (MLP((3,)), {"a": X, "b": X}, r"Residual takes one input. Got the inputs \['a', 'b'\]"),
    ],
)
def test_parts_that_do_not_go_with_it_are_refused(part, X, match):
    with pytest.raises(ValueError, match=f"^MultiOutputNet: {match}"):
        MultiOutputNet(Residual(part), max_epochs=1).fit(X, {"y": np.arange(20.0)})


def test_rows_without_an_axis_are_refused():
    with pytest.raises(ValueError, match=r"must keep all axes but the last.* \(3,\) of \(\)"):
        Residual(Embedding(5, 3)).build(())


def test_a_template_may_have_any_type():
    net = MultiOutputNet(Residual(nn.Linear(3, 3).double()), dtype="float32", max_epochs=1)
    assert net.fit(X, {"y": X[:, 0]}).embed(X).dtype == np.float32
