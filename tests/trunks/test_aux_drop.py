import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mtlearn import MultiOutputNet
from mtlearn.heads import Regression
from mtlearn.testing import check_trunk
from mtlearn.trunks import AuxDrop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
SMALL = AuxDrop((5, 7, 3), aux_layer=2, n_units=20, n_base=2)


def changed(**params):
    return clone(SMALL).set_params(**params)


def build(trunk=SMALL, n_features=6, seed=0):
    torch.manual_seed(seed)
    return trunk.build(n_features).double()


def rows(n, n_features=6, p=0.6):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, n_features, generator=generator, dtype=torch.float64)
    present = torch.rand(n, n_features, generator=generator) < p
    present[:, :2] = True
    return x, present


def nodes(module, x, present):
    """The factors by which a module multiplies the nodes of the aux layer."""
    seen = []
    place = module.layers[module.aux_layer]
    hook = place.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module.activation = torch.nn.Identity()
    module.layers[module.aux_layer - 1].bias.data.fill_(1.0)
    module.layers[module.aux_layer - 1].weight.data.zero_()
    module.aux_weight.data.zero_()  # every node is 1 before it is multiplied
    module(x, present)
    hook.remove()
    return seen[0].detach()


def test_layers_have_heads_but_the_first_and_the_aux_one():
    x = torch.zeros(4, 9)
    default = {f"hidden_{i}": (4, 50) for i in (2, 4, 5, 6)}
    found = AuxDrop().build(9)(x)
    assert {name: tuple(made.shape) for name, made in found.items()} == default
    for trunk, names in [
        (SMALL, ["hidden_3", "hidden_4"]),
        (changed(aux_layer=1), ["hidden_2", "hidden_3", "hidden_4"]),
        (changed(aux_layer=3), ["hidden_2", "hidden_4"]),
        (changed(heads="last"), ["hidden_4"]),
    ]:
        module = build(trunk)
        assert list(module(*rows(2))) == module.experts == names
        assert module.default == names[-1]


@pytest.mark.parametrize("aux_layer", [1, 2, 3])
def test_without_drops_it_is_the_network_of_the_paper(aux_layer):
    module, (x, present) = build(changed(aux_layer=aux_layer)).eval(), rows(8)
    state = x[:, :2]
    for i, layer in enumerate(module.layers, 1):
        weight = layer.weight
        if i == aux_layer:
            state = torch.cat([torch.where(present, x, 0.0)[:, 2:], state], 1)
            weight = torch.cat([module.aux_weight, weight], 1)
        state = torch.relu(state @ weight.T + layer.bias)
        if i == aux_layer:
            n_absent = (~present[:, 2:]).sum(1, keepdim=True)
            state = state * torch.cat([present[:, 2:], torch.ones(8, 16).bool()], 1)
            state = state * 20 / (20 - n_absent)
    torch.testing.assert_close(module(x, present)["hidden_4"], state)


def test_as_many_nodes_drop_in_every_row_and_those_of_absent_features_always():
    x, present = rows(6)
    dropped = torch.zeros(6, 20)
    n_passes = 3000
    module = build().train()
    many, there = x.repeat(n_passes, 1), present.repeat(n_passes, 1)
    factors = nodes(module, many, there)
    assert set(factors.unique().tolist()) == {0.0, 1 / 0.7}
    dropped = (factors == 0).double().view(n_passes, 6, 20).mean(0)
    assert torch.equal(dropped[:, :4] == 1, ~present[:, 2:])
    n_absent = (~present[:, 2:]).sum(1)
    assert len(n_absent.unique()) > 1
    others = (6 - n_absent) / (20 - n_absent)
    for row in range(6):
        tied = dropped[row, :4][present[row, 2:]]  # they may drop at random like the free ones
        found = torch.cat([tied, dropped[row, 4:]])
        torch.testing.assert_close(found, torch.full_like(found, others[row]), atol=0.04, rtol=0)
    expected = torch.full((6,), 6.0, dtype=torch.float64)
    torch.testing.assert_close(dropped.sum(1), expected, atol=0.15, rtol=0)


def test_a_prediction_has_the_mean_of_what_training_has():
    x, present = rows(3)
    trained = nodes(build().train(), x.repeat(5000, 1), present.repeat(5000, 1))
    predicted = nodes(build().eval(), x, present)
    torch.testing.assert_close(trained.view(5000, 3, 20).mean(0), predicted, atol=0.05, rtol=0)


def test_as_many_absent_features_as_nodes_that_drop_leave_nothing_to_chance():
    module = build(AuxDrop((4, 4), aux_layer=1, n_units=10, dropout=0.3), 5).train()
    present = torch.tensor([[True, True, False, False, False]])
    factors = nodes(module, torch.ones(1, 5).double(), present)
    torch.testing.assert_close(factors, torch.tensor([[0.0] * 3 + [1 / 0.7] * 7]).double())


def test_weights_of_absent_features_and_of_dropped_nodes_get_no_gradient():
    module, (x, _) = build().train(), rows(1)
    present = torch.tensor([[True, True, False, True, False, True]])
    passed = []
    module.layers[2].register_forward_pre_hook(lambda _, inputs: passed.append(inputs[0]))
    sum(made.sum() for made in module(x, present).values()).backward()
    off = passed[0][0] == 0  # dropped, or not active
    into = torch.cat([module.aux_weight.grad, module.layers[1].weight.grad], 1)
    assert not module.aux_weight.grad[:, [0, 2]].any()
    assert module.aux_weight.grad[:, [1, 3]].any()
    assert off[0]
    assert off[2]
    assert not into[off].any()
    assert not module.layers[1].bias.grad[off].any()
    assert not module.layers[2].weight.grad[:, off].any()
    assert into[~off].any()
    assert module.layers[2].weight.grad[:, ~off].any()


@pytest.mark.parametrize("value", [7.0, torch.nan, torch.inf])
def test_what_stands_for_an_absent_feature_plays_no_part(value):
    module, (x, present) = build().eval(), rows(9)
    present[0, 0] = False  # of a base feature, too
    expected = module(torch.where(present, x, 0.0), present)
    found = module(torch.where(present, x, value), present)
    for name in expected:
        assert torch.equal(found[name], expected[name])


def test_new_features_keep_what_was_made_and_get_the_next_nodes():
    module, (x, _) = build(n_features=4).eval(), rows(5, 7)
    before = module(x[:, :4])
    module.widen(7)
    present = torch.tensor([True, True, True, True, False, False, False]).expand(5, 7)
    assert not nodes(copy.deepcopy(module), x, present)[:, 2:5].any()
    with torch.no_grad():
        module.layers[2].weight[:, 2:5] = 0  # nodes that were free, and are the new features' now
    narrow = build(n_features=4).eval()
    narrow.layers[2].weight.data[:, 2:5] = 0
    expected = narrow(x[:, :4])
    found = module(torch.where(present, x, 0.0))
    for name in before:
        torch.testing.assert_close(found[name], expected[name])
    assert module.aux_weight.shape == (20, 5)
    assert module.aux_weight[:, 2:].ne(0).all()


def test_a_stream_may_begin_with_fewer_features_than_the_base_has():
    module, (x, _) = build(n_features=1).eval(), rows(5)
    before = module(x[:, :1])
    module.widen(2)
    found = module(torch.cat([x[:, :1], torch.zeros(5, 1)], 1))
    for name in before:
        torch.testing.assert_close(found[name], before[name])
    module.widen(6)
    shapes = {name: p.shape for name, p in module.state_dict().items()}
    assert shapes == {name: p.shape for name, p in build().state_dict().items()}


def test_without_base_features_all_have_nodes():
    module = build(changed(n_base=0)).eval()
    assert module.aux_weight.shape == (20, 6)
    _, present = rows(3)
    none = module(torch.ones(3, 6).double(), torch.zeros_like(present))
    assert len(none["hidden_4"].unique(dim=0)) == 1


def test_first_weights_count_the_inputs_of_both_sides():
    module = build(AuxDrop(n_units=200), 50)
    for weights in (module.aux_weight, module.layers[2].weight, module.layers[2].bias[None]):
        assert 0.95 * 98**-0.5 < float(weights.detach().abs().max()) <= 98**-0.5
    assert 0.95 * 2**-0.5 < float(module.layers[0].weight.detach().abs().max()) <= 2**-0.5


def test_draws_go_on_from_the_state_of_the_module():
    x, present = rows(6)
    module = build().train()
    first = module(x, present)["hidden_4"]
    state = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    second = module(x, present)["hidden_4"]
    assert not torch.equal(first, second)
    again = build(seed=1).train()
    again.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    assert torch.equal(again(x, present)["hidden_4"], second)
    assert torch.equal(build().train()(x, present)["hidden_4"], first)
    assert not torch.equal(nodes(build(seed=2), x, present), nodes(build(), x, present))


def test_in_prediction_nodes_may_drop_that_would_in_the_next_step():
    x, present = rows(6)
    module = build(changed(drop_in_prediction=True))
    for _ in range(2):
        predicted = module.eval()(x, present)["hidden_4"]
        assert torch.equal(module.eval()(x, present)["hidden_4"], predicted)
        assert torch.equal(module.train()(x, present)["hidden_4"], predicted)


def test_the_caller_s_generator_is_left_alone():
    module, (x, present) = build().train(), rows(2)
    before = torch.get_rng_state()
    module(x, present)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("trunk", [SMALL, AuxDrop((6, 6), aux_layer=1, n_base=0, heads="last")])
def test_it_is_a_trunk_of_other_estimators(trunk):
    check_trunk(trunk, X)


def test_heads_of_other_estimators_attach_to_its_layers():
    y = {"a": X[:, 0], "b": X[:, 3]}
    heads = {"a": Regression(at="hidden_3"), "b": Regression()}
    net = MultiOutputNet(SMALL, heads, max_epochs=2, random_state=0).fit(X, y)
    assert net.embed(X, "hidden_3").shape == (40, 7)
    assert net.summary()["trained_by"]["layers.3"] == "b"
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X)["a"], net.predict(X)["a"])


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"aux_layer": 4}, "AuxDrop needs a layer behind .* `aux_layer` 4 and 3 other layers"),
        ({"hidden_layer_sizes": ()}, "AuxDrop needs a layer behind .* 2 and 0 .*; use 2"),
        ({"hidden_layer_sizes": (4, 0)}, "`hidden_layer_sizes` of AuxDrop must hold positive"),
        ({"aux_layer": 0}, "'aux_layer' parameter of AuxDrop"),
        ({"n_units": 0}, "'n_units' parameter of AuxDrop"),
        ({"dropout": 0.0}, "'dropout' parameter of AuxDrop"),
        ({"dropout": 1.0}, "'dropout' parameter of AuxDrop"),
        ({"n_base": -1}, "'n_base' parameter of AuxDrop"),
        ({"heads": "first"}, "'heads' parameter of AuxDrop"),
        ({"activation": "step"}, "'activation' parameter of AuxDrop"),
        (
            {"n_units": 13},
            r"Got 4 of them \(the features behind the first 2\), and `n_units` 13 times "
            r"`dropout` 0.3, 3.9 nodes; set `n_units` to 14 or more",
        ),
    ],
)
def test_bad_parameters_are_refused(params, match):
    net = MultiOutputNet(changed(**params), max_epochs=1)
    with pytest.raises(ValueError, match=match):
        net.fit(X, {"y": X[:, 0]})


def test_too_many_new_features_are_refused_and_change_nothing():
    module, (x, _) = build(AuxDrop((4, 4), aux_layer=1, n_units=10), 5).eval(), rows(2, 5)
    before = module(x)["hidden_3"]
    with pytest.raises(ValueError, match=r"Got 4 of them .* set `n_units` to 14 or more"):
        module.widen(6)
    assert torch.equal(module(x)["hidden_3"], before)


def test_rows_of_more_axes_are_refused():
    with pytest.raises(TypeError, match=r"`trunk` AuxDrop takes one table. .* \(3, 2\)"):
        AuxDrop().build((3, 2))
