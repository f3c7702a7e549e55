"""The network is a trunk and heads, each part with weights from a seed of its own."""

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn._engine._module import build_module
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP, ModuleTrunk

N_FEATURES = 3


def fitted_heads(**changes):
    n = 12
    labels = {
        "number": np.linspace(0.0, 1.0, n),
        "pair": np.column_stack([np.arange(n), np.arange(n)[::-1]]).astype(float),
        "kind": np.arange(n) % 3,
        "flag": np.arange(n) % 2 == 0,
        "tags": (np.arange(4 * n).reshape(n, 4) % 3 == 0).astype(int),
    }
    heads = {
        "number": Regression(),
        "pair": Regression(),
        "kind": Classification(),
        "flag": Classification(),
        "tags": MultiLabel(),
    } | changes
    return {
        name: head.fit(labels[name], np.ones(labels[name].shape), normalize=True)
        for name, head in heads.items()
    }


def build(trunk, heads, seed=0, dtype=torch.float64):
    return build_module(trunk, heads, N_FEATURES, seed, dtype)


def pick(heads, *names):
    return {name: heads[name] for name in names}


class Named(nn.Module):
    """A trunk with two named tensors of different widths."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Linear(N_FEATURES, 5), nn.Linear(5, 2)

    def forward(self, X):
        low = self.low(X)
        return {"low": low, "high": self.high(low)}


def test_each_output_has_the_raw_shape_of_its_head():
    heads = fitted_heads()
    raw = build(MLP((4,)), heads)(torch.zeros(7, N_FEATURES, dtype=torch.float64))
    assert list(raw) == sorted(heads)
    for name, head in heads.items():
        assert raw[name].shape == (7, *head.raw_shape_)


def test_order_of_heads_changes_no_weight():
    heads = fitted_heads()
    a, b = build(MLP((4,)), heads), build(MLP((4,)), dict(reversed(heads.items())))
    assert a.names == b.names
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_another_head_changes_no_weight_of_trunk_and_heads():
    heads = fitted_heads()
    few, many = build(MLP((4,)), pick(heads, "kind")), build(MLP((4,)), heads)
    assert torch.equal(few.trunk[0].weight, many.trunk[0].weight)
    assert torch.equal(few.heads[0][0].weight, many.heads[many.names.index("kind")][0].weight)


def test_heads_of_one_shape_start_from_different_weights():
    labels, weight = np.linspace(0.0, 1.0, 5), np.ones(5)
    heads = {name: Regression().fit(labels, weight, normalize=True) for name in ("a", "b")}
    module = build(MLP((4,)), heads)
    assert not torch.equal(module.heads[0][0].weight, module.heads[1][0].weight)


def test_another_seed_gives_other_weights():
    heads = pick(fitted_heads(), "kind")
    a, b = build(MLP((4,)), heads, seed=0), build(MLP((4,)), heads, seed=1)
    assert not any(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_building_leaves_the_global_generator_as_it_is():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build(MLP((4,)), fitted_heads())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_have_the_asked_type_and_the_module_trains(dtype):
    module = build(MLP((4,)), fitted_heads(), dtype=dtype)
    assert {p.dtype for p in module.parameters()} == {dtype}
    assert all(part.training for part in module.modules())


def test_dry_run_leaves_running_statistics_as_they_are():
    module = build(MLP((4,), normalization="batch"), pick(fitted_heads(), "kind"))
    fresh = nn.BatchNorm1d(4)
    assert torch.equal(module.trunk[1].running_mean, fresh.running_mean.double())
    assert int(module.trunk[1].num_batches_tracked) == 0


def test_heads_attach_to_the_named_tensors():
    heads = fitted_heads(kind=Classification(at="low"), number=Regression(at="high"))
    module = build(ModuleTrunk(Named), pick(heads, "kind", "number"))
    assert module.heads[module.names.index("kind")][0].in_features == 5
    assert module.heads[module.names.index("number")][0].in_features == 2
    X = torch.ones(3, N_FEATURES, dtype=torch.float64)
    raw, tensors = module(X), module.trunk(X)
    assert torch.equal(raw["kind"], module.heads[0](tensors["low"]))
    assert torch.equal(raw["number"], module.heads[1](tensors["high"]))


def test_lone_named_tensor_needs_no_at():
    heads = pick(fitted_heads(), "kind")

    class Lone(Named):
        def forward(self, X):
            return {"only": self.low(X)}

    assert build(ModuleTrunk(Lone), heads).heads[0][0].in_features == 5


def test_unknown_tensor_is_an_error_that_lists_the_known_ones():
    heads = fitted_heads(kind=Classification(at="lo"))
    message = r"output 'kind': `at` of the head names the unknown trunk tensor 'lo'.*'high', 'low'"
    with pytest.raises(ValueError, match=message):
        build(ModuleTrunk(Named), pick(heads, "kind"))


def test_several_tensors_ask_for_at():
    with pytest.raises(ValueError, match=r"'kind'.*\['high', 'low'\], .* several tensors"):
        build(ModuleTrunk(Named), pick(fitted_heads(), "kind"))


def test_at_is_refused_where_the_trunk_names_no_tensor():
    heads = pick(fitted_heads(kind=Classification(at="low")), "kind")
    with pytest.raises(
        ValueError,
        match=r"'kind': `at` of the head must be None, .* one tensor",
    ):
        build(ModuleTrunk(nn.Linear(3, 4)), heads)


@pytest.mark.parametrize(
    ("trunk", "message"),
    [
        (nn.Linear(N_FEATURES + 1, 2), rf"must take rows of {N_FEATURES} features.*RuntimeError"),
        (nn.Unflatten(1, (N_FEATURES, 1)), r"shape \(n_samples, n_units\).*\(2, 3, 1\)"),
        (nn.Flatten(0), r"shape \(n_samples, n_units\).*returned \(6,\)"),
    ],
    ids=["wrong width", "three axes", "one axis"],
)
def test_trunk_that_returns_no_matrix_is_refused(trunk, message):
    with pytest.raises(ValueError, match=message):
        build(ModuleTrunk(trunk), pick(fitted_heads(), "kind"))


def test_trunk_that_returns_no_tensor_is_refused():
    class Lists(nn.Module):
        def forward(self, X):
            return {"rows": X.tolist()}

    with pytest.raises(ValueError, match=r"it returned list as 'rows'"):
        build(ModuleTrunk(Lists()), pick(fitted_heads(), "kind"))


class Numbered(Named):
    def forward(self, X):
        return dict(enumerate(super().forward(X).values()))


@pytest.mark.parametrize("at", [[0, 1], "0", None])
def test_tensors_must_have_strings_as_names(at):
    heads = fitted_heads(kind=Classification(at=at))
    with pytest.raises(ValueError, match=r"must have strings as names, .* Got \[0, 1\]\.$"):
        build(ModuleTrunk(Numbered), pick(heads, "kind"))


@pytest.mark.parametrize("at", [[], ()])
def test_a_head_at_no_tensor_is_refused(at):
    heads = fitted_heads(kind=Classification(at=at))
    message = r"output 'kind': `at` of the head must name a tensor of the trunk. Got .*; leave it"
    with pytest.raises(ValueError, match=message):
        build(MLP((4,)), pick(heads, "kind"))


def test_a_layer_of_an_mlp_without_layers_is_refused():
    heads = fitted_heads(kind=Classification(at="hidden_1"))
    with pytest.raises(ValueError, match=r"Got 'hidden_1'; give an MLP hidden layers, or"):
        build(MLP(()), pick(heads, "kind"))


def test_without_a_name_the_trunks_own_default_is_embedded():
    heads = fitted_heads(kind=Classification(at="hidden_1"), flag=Classification())
    for at in ("hidden_1", ["hidden_1", "hidden_2"]):
        heads["kind"].set_params(at=at)
        module = build(MLP((5, 4)), pick(heads, "kind", "flag"))
        x = torch.rand(3, N_FEATURES, dtype=torch.float64)
        assert torch.equal(module.embed(x), module.embed(x, "hidden_2"))
        assert module.embed(x, "hidden_1").shape == (3, 5)


def test_some_layers_of_an_mlp_with_names_are_layers():
    module = build(MLP((5, 4)), pick(fitted_heads(kind=Classification(at="hidden_2")), "kind"))
    x = torch.rand(3, N_FEATURES, dtype=torch.float64)
    assert torch.equal(module.trunk[:2](x), module.trunk(x)["hidden_1"])
    assert module.trunk[-1] is list(module.trunk)[3]
