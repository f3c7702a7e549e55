import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mtlearn import MultiOutputNet
from mtlearn.heads import Regression
from mtlearn.testing import check_trunk
from mtlearn.trunks import AuxNet

X = np.random.default_rng(0).normal(size=(40, 5))
SMALL = AuxNet(base_layers=2, end_layers=2, n_units=4)
NAMES = ["base_1", "base_2", "middle", "end_1", "end_2", "x2", "x3", "x4"]


def changed(**params):
    return clone(SMALL).set_params(**params)


def build(trunk=SMALL, n_features=5, seed=0):
    torch.manual_seed(seed)
    module = trunk.build(n_features).double()
    for parameter in module.parameters():  # biases other than 0 tell absent layers from others
        torch.nn.init.normal_(parameter)
    return module


def rows(n, n_features=5, p=0.5):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, n_features, generator=generator, dtype=torch.float64)
    present = torch.rand(n, n_features, generator=generator) < p
    present[:, :2] = True
    return x, present


def by_loop(module, row, there, weights):
    """The paper's network for one row, one position of the first end layer after the other."""
    made, state = {}, row[:2]
    for i, layer in enumerate(module.base, 1):
        state = made[f"base_{i}"] = torch.relu(layer(state))
    made["middle"] = torch.relu(module.middle(state))
    slots = {"middle": made["middle"]}
    for j in range(2, len(row)):
        units = slice(4 * (j - 2), 4 * (j - 1))
        own = row[j] * module.aux_weight[0, units] + module.aux_bias[0, units]
        if there[j]:
            slots[f"x{j}"] = made[f"x{j}"] = torch.relu(own)
    total = sum(weights[name] for name in slots)
    state = module.end[0].bias
    for place, name in enumerate(["middle", "x2", "x3", "x4"]):
        if name in slots:
            columns = module.end[0].weight[:, 4 * place : 4 * (place + 1)]
            state = state + columns @ slots[name] * weights[name] / total
    state = made["end_1"] = torch.relu(state)
    made["end_2"] = torch.relu(module.end[1](state))
    return made


@pytest.mark.parametrize("weighted", [False, True])
def test_layers_are_those_of_a_loop_over_rows_and_features(weighted):
    module, (x, present) = build(), rows(12)
    weights = torch.rand(8).double() if weighted else None
    found = module(x, present, weights)
    assert list(found) == module.experts == NAMES
    assert module.default == "end_2"
    each = dict(zip(NAMES, weights if weighted else torch.ones(8), strict=True))
    for i in range(12):
        expected = by_loop(module, x[i], present[i], each)
        for name in NAMES:
            row = expected.get(name, torch.zeros(4))
            torch.testing.assert_close(found[name][i], row.double())
    assert 0 < present[:, 2:].sum() < 36
    assert found["end_2"].any()


def test_all_features_are_there_unless_said_otherwise():
    module, (x, present) = build(), rows(4)
    everywhere = module(x, torch.ones_like(present), torch.full((8,), 1 / 8))
    for name, made in module(x).items():
        torch.testing.assert_close(made, everywhere[name])


def test_an_expert_is_there_where_its_feature_is():
    module, (_, present) = build(), rows(12)
    found = module.experts_present(present)
    assert found[:, :5].all()
    assert torch.equal(found[:, 5:], present[:, 2:])


@pytest.mark.parametrize("value", [7.0, torch.nan, torch.inf])
def test_what_stands_for_an_absent_feature_plays_no_part(value):
    module, (x, present) = build(), rows(9)
    present[0, 0] = False  # of a base feature, too
    expected = module(torch.where(present, x, 0.0), present)
    found = module(torch.where(present, x, value), present)
    for name in NAMES:
        assert torch.equal(found[name], expected[name])


def test_weights_of_absent_features_get_no_gradient_and_the_weights_of_experts_none():
    module, (x, _) = build(), rows(1)
    present = torch.tensor([[True, True, False, True, True]])
    weights = torch.rand(8).double()
    sum(made.sum() for made in module(x, present, weights).values()).backward()
    for parameter in (module.aux_weight, module.aux_bias):
        gradient = parameter.grad.view(3, 4)
        assert not gradient[0].any()
        assert gradient[1].any()
        assert gradient[2].any()
    places = module.end[0].weight.grad.view(4, 4, 4)  # units, positions, units of a position
    assert not places[:, 1].any()
    assert places[:, [0, 2, 3]].any()


def test_a_row_whose_experts_have_no_weight_is_finite():
    module, (x, present) = build(), rows(3)
    found = module(x, present, torch.zeros(8).double())
    assert all(made.isfinite().all() for made in found.values())


def test_a_new_feature_brings_a_layer_and_an_expert_and_changes_no_row_without_it():
    module, (x, _) = build(n_features=3), rows(6)
    before = module(x[:, :3])
    old = {name: p.clone() for name, p in module.named_parameters()}
    module.widen(5)
    assert module.experts == NAMES
    for name, parameter in module.named_parameters():
        part = tuple(slice(n) for n in old[name].shape)
        assert torch.equal(parameter[part], old[name])
    present = torch.tensor([True, True, True, False, False]).expand(6, 5)
    found = module(x, present)
    for name in before:
        torch.testing.assert_close(found[name], before[name])
    assert not found["x3"].any()
    assert module(x)["x4"].any()
    again = build(seed=1)
    again.load_state_dict(module.state_dict())
    for name, made in module(x).items():
        assert torch.equal(again(x)[name], made)


def test_a_stream_may_begin_with_fewer_features_than_the_base_has():
    module, (x, _) = build(n_features=1), rows(5)
    before = module(x[:, :1])
    assert list(before) == NAMES[:5]
    module.widen(2)
    found = module(torch.cat([x[:, :1], torch.zeros(5, 1)], 1))
    for name in before:
        torch.testing.assert_close(found[name], before[name])
    module.widen(5)
    assert list(module(x)) == NAMES


def test_without_base_features_every_feature_has_a_layer():
    module = build(changed(n_base=0))
    assert module.experts == [*NAMES[:5], "x0", "x1", *NAMES[5:]]
    _, present = rows(3)
    none = module(torch.ones(3, 5).double(), torch.zeros_like(present))
    assert len(none["end_2"].unique(dim=0)) == 1


def test_first_weights_do_not_depend_on_how_many_features_came_before():
    trunk = AuxNet(n_units=50)
    torch.manual_seed(0)
    whole, wider = trunk.build(12), trunk.build(3)
    wider.widen(12)
    for module in (whole, wider):
        for weights, bound in [(module.end[0].weight, 50**-0.5), (module.aux_bias, 1.0)]:
            halves = weights.detach().abs().chunk(2, 1)  # there before, and new
            for half in halves:
                assert bound * 0.98 < float(half.max()) <= bound
                assert float(half.mean()) == pytest.approx(bound / 2, rel=0.1)


@pytest.mark.parametrize("trunk", [SMALL, changed(n_base=0, base_layers=1, end_layers=1)])
def test_it_is_a_trunk_of_other_estimators(trunk):
    check_trunk(trunk, X)


def test_heads_of_other_estimators_attach_to_its_layers():
    y = {"a": X[:, 0], "b": X[:, 3]}
    heads = {"a": Regression(at="x3"), "b": Regression()}
    net = MultiOutputNet(SMALL, heads, max_epochs=2, random_state=0).fit(X, y)
    assert net.embed(X, "x3").shape == (40, 4)
    assert net.summary()["trained_by"]["end.1"] == "b"
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X)["a"], net.predict(X)["a"])


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("n_base", -1),
        ("base_layers", 0),
        ("end_layers", 0),
        ("n_units", 2.5),
        ("activation", "step"),
    ],
)
def test_bad_parameters_are_refused(param, value):
    net = MultiOutputNet(changed(**{param: value}), max_epochs=1)
    with pytest.raises(ValueError, match=f"'{param}' parameter of AuxNet"):
        net.fit(X, {"y": X[:, 0]})


def test_rows_of_more_axes_are_refused():
    with pytest.raises(TypeError, match=r"`trunk` AuxNet takes one table. .* \(3, 2\)"):
        AuxNet().build((3, 2))
