import pickle

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn.heads import Regression
from mtlearn.trunks import MLP, Graph, LinearSkip, MMoE, Recurrent, Residual

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = {"sum": X.sum(axis=1), "product": X[:, 0] * X[:, 1], "sign": np.where(X[:, 2] > 0, "+", "-")}


def fitted(trunk=None, y=Y, **params):
    trunk = MMoE(MLP((8,)), n_experts=3) if trunk is None else trunk
    return MultiOutputNet(trunk, max_epochs=3, random_state=0, **params).fit(X, y)


def test_each_output_gets_its_mean_of_what_the_experts_make():
    module, x = MMoE(MLP((5,)), n_experts=3).build_named(4, ["b", "a"]), torch.rand(7, 4)
    found = module(x)
    assert sorted(found) == ["a", "b"]
    for name, gate in zip(module.names, module.gates, strict=True):
        weights = (gate.logits.weight @ x.T).T + gate.logits.bias
        weights = weights.exp() / weights.exp().sum(1, keepdim=True)
        expected = sum(weights[:, [i]] * expert(x) for i, expert in enumerate(module.experts))
        torch.testing.assert_close(found[name], expected)


def test_experts_and_gates_begin_with_weights_of_their_own():
    module = MMoE(MLP((5,)), n_experts=3).build_named(4, ["a", "b"])
    firsts = [expert[0].weight for expert in module.experts]
    assert not any(torch.equal(firsts[0], other) for other in firsts[1:])
    assert not torch.equal(module.gates[0].logits.weight, module.gates[1].logits.weight)


def test_one_expert_is_a_plain_layer():
    module, x = MMoE(MLP((5,)), n_experts=1).build_named(4, ["a"]), torch.rand(7, 4)
    torch.testing.assert_close(module(x)["a"], module.experts[0](x))


def test_without_outputs_there_is_one_mixture():
    assert MMoE(MLP((5,))).build(4)(torch.rand(7, 4)).shape == (7, 5)


def test_heads_take_the_mixture_of_their_output_or_of_one_they_name():
    net = fitted(heads={"sum": Regression(at="product")})
    assert dict(zip(net.module_.names, net.module_.taps, strict=True)) == {
        "product": "product",
        "sign": "sign",
        "sum": "product",
    }
    assert net.embed(X, at="sign").shape == (60, 8)


def test_an_output_trains_all_experts_and_its_gate_alone():
    trained = fitted().summary()["trained_by"]
    assert trained["experts.1"] == "sum, product, sign"
    assert [trained[f"gates.{name}"] for name in Y] == list(Y)


def test_an_output_of_weight_0_has_no_gate_and_changes_nothing():
    with_0 = fitted(loss_weights={"sign": 0})
    without = fitted(y={name: Y[name] for name in ("sum", "product")})
    assert "gates.sign" not in with_0.summary().index
    for name in ("sum", "product"):
        np.testing.assert_array_equal(with_0.predict(X)[name], without.predict(X)[name])


def test_dropped_outputs_take_their_gates_along():
    net = fitted()
    smaller = net.drop_outputs(["sum", "sign"])
    assert "gates.product" in smaller.summary().index
    assert "gates.sum" not in smaller.summary().index
    expected = net.predict(X)["product"]
    np.testing.assert_array_equal(smaller.predict(X)["product"], expected)
    again = pickle.loads(pickle.dumps(smaller))
    np.testing.assert_array_equal(again.predict(X)["product"], expected)


def test_some_outputs_are_predicted_without_the_gates_of_others():
    net, asked = fitted(), []
    for name, gate in zip(net.module_.trunk.names, net.module_.trunk.gates, strict=True):
        gate.register_forward_hook(lambda *_, name=name: asked.append(name))
    found = net.predict(X, outputs=["sum"])["sum"]
    assert asked == ["sum"]
    np.testing.assert_array_equal(found, net.predict(X)["sum"])


def test_as_a_stage_of_a_graph_it_differs_by_output_too():
    stages = [("low", MLP((6,)), "X"), ("experts", MMoE(MLP((5,))), "low")]
    whole = Graph(stages)
    net = fitted(whole, heads={"sum": Regression(at=["low", "experts"])})
    taps = dict(zip(net.module_.names, net.module_.taps, strict=True))
    assert taps["product"] == "experts/product"
    assert taps["sum"] == ("low", "experts/sum")
    smaller = net.drop_outputs(["sign", "sum"])
    np.testing.assert_array_equal(smaller.predict(X)["product"], net.predict(X)["product"])
    n_gates = [
        len(one.module_.trunk.stages[1].module.gates) for one in (fitted(Graph(stages)), smaller)
    ]
    assert n_gates == [3, 1]


def test_parts_have_names_for_settings_of_their_own():
    def firsts(**params):
        trunk = fitted(**params).module_.trunk
        return trunk.experts[0][0].weight, trunk.experts[1][0].weight, trunk.gates[2].logits.weight

    still = {"trunk.experts.0": {"lr": 0.0}, "trunk.gates.sum": {"lr": 0.0}}
    begun, moved = firsts(learning_rate=1e-30), firsts(param_groups=still)
    same = [torch.equal(a, b) for a, b in zip(begun, moved, strict=True)]
    assert same == [True, False, True]


def test_an_instance_is_the_beginning_of_all_experts():
    template = nn.Linear(4, 3)
    module = MMoE(template, n_experts=2).build_named(4, ["a"])
    assert all(torch.equal(expert.weight, template.weight) for expert in module.experts)


@pytest.mark.parametrize(
    ("part", "match"),
    [
        (LinearSkip(MMoE()), "the part of LinearSkip must make the same for all outputs. MMoE"),
        (Residual(MMoE()), "the part of Residual must make the same for all outputs"),
        (MMoE(MMoE()), "the part of MMoE must make the same for all outputs"),
        (MMoE(nn.Unflatten(1, (2, 2))), r"part of MMoE must make rows of one axis.*\(2, 2\)"),
        (MMoE(n_experts=0), "'n_experts' parameter of MMoE"),
        (MMoE(MLP((0,))), "the part of MMoE: `hidden_layer_sizes`"),
        (
            Graph([("experts", MMoE(), "X"), ("last", MLP(), "experts")]),
            "stage 'last' must take the same for all outputs. Stage 'experts' makes",
        ),
    ],
)
def test_what_cannot_differ_by_output_is_refused(part, match):
    with pytest.raises(ValueError, match=match):
        fitted(part)


def test_sequences_have_to_become_rows_first():
    with pytest.raises(
        ValueError, match=r"MMoE takes a table, for its gates. Got rows of .*\(5, 3\)"
    ):
        MMoE(Recurrent(4)).build((5, 3))
    with pytest.raises(
        ValueError, match=r"Got the inputs \['a', 'b'\]; make it a stage of a Graph"
    ):
        MultiOutputNet(MMoE()).fit({"a": X, "b": X}, Y)


def test_an_unknown_output_is_no_place_for_a_head():
    with pytest.raises(ValueError, match=r"'sums'.*did you mean 'sum'"):
        fitted(heads={"product": Regression(at="sums")})
