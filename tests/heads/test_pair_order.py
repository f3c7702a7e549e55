import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mtlearn import Inputs, MultiOutputNet, Targets
from mtlearn.datasets import make_grid_walks, make_order_pairs
from mtlearn.heads import Classification, PairOrder
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent

STAGES = [
    ("embed", Embedding(9, 6, padding_id=None), "states"),
    ("memory", Recurrent(5, "gru"), "embed"),
    ("pair", "take", ["embed", "pair_steps"]),
]
X, Y = make_order_pairs(make_grid_walks(40, size=3, n_steps=6, random_state=0), random_state=0)


def make(at=("pair", "memory"), stages=STAGES, **params):
    params = {"max_epochs": 3, "random_state": 0, "alpha": 0.0} | params
    return MultiOutputNet(Graph(stages), {"in_order": PairOrder(at=list(at))}, **params)


def swapped(X):
    return Inputs({**X, "pair_steps": X["pair_steps"][:, ::-1].copy()})


@pytest.mark.parametrize("at", [["pair", "memory"], ["pair"]])
def test_both_orders_have_probabilities_that_sum_to_one(at):
    stages = STAGES if "memory" in at else [STAGES[0], STAGES[2]]
    net = make(at, stages).fit(X, Y)
    shown, other = (net.predict_proba(x)["in_order"] for x in (X, swapped(X)))
    np.testing.assert_allclose(shown, other[:, ::-1], atol=1e-12)
    assert np.ptp(shown[:, 0]) > 0


def test_the_log_odds_are_the_difference_of_both_orders():
    head = PairOrder(hidden_layer_sizes=(4,)).fit(
        np.array([True, False]), np.ones(2), normalize=True
    )
    module, rng = head.build((6, 2)), np.random.default_rng(0)
    a, b, memory = (torch.tensor(rng.normal(size=(5, n)), dtype=torch.float32) for n in (3, 3, 2))
    first, _, last = module.layers
    forth, back = (
        last(first(torch.cat(parts, 1)).relu()) for parts in ((a, b, memory), (b, a, memory))
    )
    expected = (forth - back)[:, 0]
    torch.testing.assert_close(module(torch.cat([a, b, memory], 1)), expected)


def test_the_loss_reaches_what_the_memory_is_made_of():
    net = make().fit(X, Y)
    module = net.module_
    names = ["states", "pair_steps"]
    loss = module({name: torch.tensor(X[name]) for name in names})["in_order"].square().sum()
    memory = module.trunk.trunk.stages[module.trunk.trunk.names.index("memory")]
    gradients = torch.autograd.grad(loss, list(memory.parameters()))
    assert all(gradient.any() for gradient in gradients)


def test_the_same_state_twice_leaves_the_order_open():
    net = make().fit(X, Y)
    same = Inputs({**X, "pair_steps": X["pair_steps"][:, [0, 0]]})
    np.testing.assert_allclose(net.predict_proba(same)["in_order"], 0.5)


def test_it_is_learned_beside_another_output():
    last = X["states"][:, -1] // 3
    heads = {"in_order": PairOrder(at=["pair", "memory"]), "row": Classification(at="memory")}
    weights = {"in_order": 0.1}
    net = make().set_params(heads=heads, loss_weights=weights, main_output="row")
    net.fit(X, Targets({**Y, "row": last}))
    alone = net.drop_outputs(["in_order"])
    assert np.array_equal(alone.predict(X)["row"], net.predict(X)["row"])
    assert sorted(alone.module_.trunk.names) == ["embed", "memory"]
    copy = pickle.loads(pickle.dumps(net))
    assert copy.predict(X) == net.predict(X)


def test_fast_steps_are_those_of_autograd():
    fits = [make(fast_step=fast, dtype="float64").fit(X, Y) for fast in ("auto", False)]
    assert [net.fast_step_ for net in fits] == [True, False]
    for ours, theirs in zip(*(net.module_.parameters() for net in fits), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_classes_are_named_in_the_order_second_first_then_first_first():
    names = np.where(Y["in_order"], "first", "second")
    head = PairOrder(at=["pair", "memory"], classes=["second", "first"])
    net = make().set_params(heads={"in_order": head}).fit(X, {"in_order": names})
    assert net.classes_["in_order"].tolist() == ["second", "first"]
    plain = make().fit(X, Y)
    same = net.predict_proba(X)["in_order"], plain.predict_proba(X)["in_order"]
    assert np.array_equal(*same)


def test_bad_pairs_and_labels_are_refused():
    with pytest.raises(ValueError, match=r"'in_order'.* two classes, .* \[0, 1, 2\]"):
        make().fit(X, {"in_order": np.arange(len(X)) % 3})
    odd = MultiOutputNet(MLP((5,)), {"y": PairOrder(at="hidden_1")})
    with pytest.raises(ValueError, match=r"states side by side. 'hidden_1' has 5 units"):
        odd.fit(np.ones((4, 2)), {"y": [0, 1, 0, 1]})


def test_it_is_cloned_and_its_parameters_are_searched_by_name():
    net = clone(make()).set_params(heads__in_order__hidden_layer_sizes=(8, 4))
    assert net.heads["in_order"].hidden_layer_sizes == (8, 4)
    assert make().heads["in_order"].hidden_layer_sizes == (64,)
