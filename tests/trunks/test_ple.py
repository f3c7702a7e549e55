import copy
import pickle

import numpy as np
import pytest
import torch

from mtlearn import MultiOutputNet
from mtlearn.trunks import MLP, PLE, Graph

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = {"sum": X.sum(axis=1), "product": X[:, 0] * X[:, 1], "sign": np.where(X[:, 2] > 0, "+", "-")}
FORMS = [
    PLE(MLP((6,))),
    PLE(MLP((6,)), n_own_experts=2, n_shared_experts=1, n_levels=2),
    PLE(MLP((6,)), n_levels=3),
]
IN_GRAPH = Graph([("low", MLP((5,)), "X"), ("experts", FORMS[1], "low")])


def fitted(trunk, y=Y, **params):
    return MultiOutputNet(trunk, max_epochs=3, random_state=0, **params).fit(X, y)


def mixture(gate, x, experts):
    weights = torch.softmax(x @ gate.logits.weight.T + gate.logits.bias, 1)
    return sum(weights[:, [i]] * made for i, made in enumerate(experts))


@pytest.mark.parametrize("trunk", FORMS)
def test_states_are_those_of_the_paper(trunk):
    module, x = trunk.build_named(4, ["b", "a", "c"]), torch.rand(7, 4)
    names, states, shared = ["a", "b", "c"], dict.fromkeys("abc", x), x
    for level in module.levels:
        own = {
            name: [expert(states[name]) for expert in experts]
            for name, experts in zip(names, level.own, strict=True)
        }
        common = [expert(shared) for expert in level.shared]
        gates = dict(zip(names, level.gates, strict=True))
        states = {n: mixture(gates[n], states[n], own[n] + common) for n in names}
        if level.shared_gate is not None:
            shared = mixture(level.shared_gate, shared, own["a"] + own["b"] + own["c"] + common)
    assert module.levels[-1].shared_gate is None
    found = module(x)
    for name in names:
        torch.testing.assert_close(found[name], states[name])


def test_in_one_level_nobody_else_trains_what_is_an_output_s_own():
    trained = fitted(PLE(MLP((6,)))).summary()["trained_by"]
    assert trained["levels.0.shared.0"] == "sum, product, sign"
    for name in Y:
        assert trained[f"levels.0.own.{name}.0"] == trained[f"levels.0.gates.{name}"] == name


def test_further_levels_share_what_came_before_them():
    trained = fitted(PLE(MLP((6,)), n_levels=2)).summary()["trained_by"]
    assert trained["levels.0.own.sum.0"] == "sum, product, sign"
    assert trained["levels.0.gates.sum"] == "sum"
    assert trained["levels.1.own.sum.0"] == "sum"


@pytest.mark.parametrize("trunk", FORMS)
def test_an_output_of_weight_0_is_as_if_it_were_not_there(trunk):
    with_0 = fitted(trunk, loss_weights={"sign": 0})
    without = fitted(trunk, {name: Y[name] for name in ("sum", "product")})
    assert len(with_0.summary()) == len(without.summary()) + 1  # the constant itself
    for name in ("sum", "product"):
        np.testing.assert_array_equal(with_0.predict(X)[name], without.predict(X)[name])


@pytest.mark.parametrize(
    "trunk", [*FORMS, Graph([("low", MLP((5,)), "X"), ("e", FORMS[1], "low")])]
)
def test_the_rest_predicts_the_same_when_outputs_are_dropped(trunk):
    net = fitted(trunk)
    expected = net.predict(X)["product"]
    smaller = net.drop_outputs(["sum"])
    smallest = smaller.drop_outputs(["sign"])
    for one in (smaller, smallest, pickle.loads(pickle.dumps(smallest)), copy.deepcopy(smallest)):
        np.testing.assert_array_equal(one.predict(X)["product"], expected)
    np.testing.assert_array_equal(net.predict(X, outputs=["product"])["product"], expected)

    def size(one):
        return sum(p.numel() for p in one.module_.parameters())

    assert size(net) > size(smaller) > size(smallest)


def test_a_stream_goes_on_from_a_pickle():
    net = MultiOutputNet(FORMS[1], random_state=0).partial_fit(X, Y, classes={"sign": ["+", "-"]})
    again = pickle.loads(pickle.dumps(net)).partial_fit(X, Y)
    np.testing.assert_array_equal(again.predict(X)["sum"], net.partial_fit(X, Y).predict(X)["sum"])


@pytest.mark.parametrize("name", ["n_shared_experts", "n_own_experts", "n_levels"])
def test_there_is_at_least_one_of_each(name):
    with pytest.raises(ValueError, match=f"'{name}' parameter of PLE"):
        fitted(PLE(**{name: 0}))
