"""`summary`: what a network is made of, and which outputs train what."""

import pickle
import sys

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from mtlearn import Inputs, MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor
from mtlearn.estimators._architecture import find_architecture
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP, Convolution, Embedding, Graph, Inception, Pool, Recurrent

RNG = np.random.default_rng(0)
IDS, EXTRA = RNG.integers(1, 50, size=(40, 8)), RNG.normal(size=(40, 3))
X = Inputs({"main_input": IDS, "aux_input": EXTRA})
SPAM = np.where(EXTRA[:, 0] > 0, "spam", "ham")
Y = {"price": EXTRA[:, 0], "spam": SPAM, "size": EXTRA[:, 1]}
FAST = {"max_epochs": 2, "random_state": 0}


def make_guide(**params):
    net = MultiOutputNet(
        trunk=Graph(
            [
                ("dense", MLP((16, 16)), ["lstm", "aux_input"]),
                ("lstm", Recurrent(8), "embed"),
                ("embed", Embedding(50, 16), "main_input"),
            ]
        ),
        heads={
            "main_output": Classification(at="dense"),
            "aux_output": Classification(at="lstm", target="main_output"),
        },
        **FAST,
    )
    return net.set_params(**params).fit(X, {"main_output": SPAM})


def trained_by(net):
    """Return the outputs that train each stage with parameters."""
    return {s.name: set(s.trained_by) for s in find_architecture(net) if s.n_parameters}


def takes(net):
    return {stage.name: set(stage.takes) for stage in find_architecture(net)}


def n_parameters(net):
    return sum(p.numel() for p in net.module_.parameters())


def test_the_network_of_the_guide_has_a_row_per_stage_in_computing_order():
    table = make_guide().summary()
    assert list(table.index) == [
        *("main_input", "aux_input", "embed", "lstm", "dense", "main_output", "aux_output")
    ]
    assert list(table.columns) == ["kind", "part", "takes", "shape", "n_parameters", "trained_by"]
    assert list(table["kind"]) == ["input"] * 2 + ["trunk"] * 3 + ["output"] * 2
    assert list(table["part"]) == [
        *("integers", "float64", "Embedding(50, 16)", "Recurrent(8)", "MLP((16, 16))"),
        *("Classification()", "Classification()"),
    ]
    assert list(table["takes"]) == [
        *("", "", "main_input", "embed", "lstm, aux_input", "dense", "lstm")
    ]
    assert list(table["shape"]) == [(8,), (3,), (8, 16), (8,), (16,), (), ()]
    assert table.loc["embed", "n_parameters"] == 50 * 16


def test_an_early_output_trains_the_stages_below_it_alone():
    both = {"main_output", "aux_output"}
    assert trained_by(make_guide()) == {
        "embed": both,
        "lstm": both,
        "dense": {"main_output"},
        "main_output": {"main_output"},
        "aux_output": {"aux_output"},
    }


@pytest.mark.parametrize("frozen", ["embed", "lstm", "dense"])
def test_trained_by_is_what_a_fit_changes(frozen):
    still = make_guide(learning_rate=1e-12, alpha=0.0)
    net = make_guide(alpha=0.0, param_groups={f"trunk.{frozen}": {"lr": 0}})
    before, after = (
        dict(zip(trunk.names, trunk.stages, strict=True))
        for trunk in (still.module_.trunk, net.module_.trunk)
    )
    changed = {
        name
        for name in after
        if any(
            not torch.allclose(new, old)
            for new, old in zip(after[name].parameters(), before[name].parameters(), strict=True)
        )
    }
    found = trained_by(net)
    assert changed == {name for name in after if found[name]} == {*after} - {frozen}


def test_stages_of_a_weight_zero_output_are_not_there():
    table = make_guide(loss_weights={"main_output": 0}).summary()
    assert list(table.index) == [
        "main_input",
        "aux_input",
        "embed",
        "lstm",
        "main_output",
        "aux_output",
    ]
    assert table.loc["main_output", "kind"] == "constant"
    assert table.loc["lstm", "trained_by"] == "aux_output"


@pytest.mark.parametrize(
    "trunk",
    [
        None,
        MLP(()),
        MLP((4, 3), dropout=0.1, normalization="batch"),
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4)),
        nn.Linear(3, 4),
    ],
)
def test_the_counts_add_up_to_those_of_the_network(trunk):
    net = MultiOutputNet(trunk, **FAST).fit(EXTRA, Y)
    assert net.summary()["n_parameters"].sum() == n_parameters(net)


def test_layers_of_a_perceptron_are_grouped():
    net = MultiOutputNet(MLP((6, 5), dropout=0.5, normalization="layer"), **FAST).fit(EXTRA, Y)
    table = net.summary()
    assert list(table.index) == ["X", "hidden_1", "hidden_2", *Y]
    assert list(table["takes"]) == ["", "X", "hidden_1", *["hidden_2"] * 3]
    assert table.loc["hidden_1", "part"] == "Linear(3, 6), LayerNorm, ReLU, Dropout"
    assert table.loc["hidden_1", "n_parameters"] == 3 * 6 + 6 + 2 * 6


def test_heads_take_the_hidden_layers_that_they_name():
    heads = {"price": Regression(at="hidden_1"), "spam": Classification(at="hidden_2")}
    net = MultiOutputNet(MLP((6, 5, 4)), heads, **FAST)
    net.fit(EXTRA, {"price": EXTRA[:, 0], "spam": SPAM})
    assert takes(net)["price"] == {"hidden_1"}
    assert trained_by(net) == {
        "hidden_1": {"price", "spam"},
        "hidden_2": {"spam"},
        "price": {"price"},
        "spam": {"spam"},
    }


def test_heads_on_the_inputs_take_these():
    net = MultiOutputNet(MLP(()), **FAST).fit(EXTRA, Y)
    assert takes(net) == {"X": set(), **{name: {"X"} for name in Y}}


@pytest.mark.parametrize("weight_of", ["price", "spam", "size"])
def test_an_output_of_weight_zero_is_a_constant(weight_of):
    net = MultiOutputNet(MLP((4,)), loss_weights={weight_of: 0}, **FAST).fit(EXTRA, Y)
    row = net.summary().loc[weight_of]
    assert (row["kind"], row["part"]) == ("constant", "a constant (loss weight 0)")
    assert (row["takes"], row["n_parameters"], row["trained_by"]) == ("", 0, "")
    assert trained_by(net)["hidden_1"] == {*Y} - {weight_of}


def test_an_output_whose_weight_becomes_zero_trains_nothing_more():
    net = MultiOutputNet(MLP((4,)), warm_start=True, **FAST).fit(EXTRA, Y)
    net.set_params(loss_weights={"price": 0}).fit(EXTRA, Y)
    assert trained_by(net)["hidden_1"] == {"spam", "size"}
    assert net.summary().loc["price", "trained_by"] == "none"


def test_constants_alone_are_shown_without_a_network_that_learns():
    net = MultiOutputNet(MLP((4,)), **FAST).fit(EXTRA, {"a": np.ones(40), "b": np.zeros(40)})
    table = net.summary()
    assert list(table.loc[["a", "b"], "part"]) == ["a constant (constant target)"] * 2
    assert table.loc["hidden_1", "trained_by"] == "none"
    assert table["n_parameters"].sum() == n_parameters(net)


@pytest.mark.parametrize(
    "params",
    [
        {"param_groups": {"trunk.embed": {"lr": 0}}},
        {"param_groups": {"trunk": {"lr": 0}, "trunk.lstm": {"lr": 1e-3}}},
    ],
)
def test_parts_with_a_learning_rate_of_zero_are_trained_by_none(params):
    table = make_guide(**params).summary()
    assert table.loc["embed", "trained_by"] == "none"
    assert table.loc["lstm", "trained_by"] == "main_output, aux_output"
    whole = "trunk" in params["param_groups"]
    assert table.loc["dense", "trained_by"] == ("none" if whole else "main_output")


def test_frozen_layers_of_a_template_are_trained_by_none_also_after_a_pickle():
    template = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())
    template[0].requires_grad_(False)
    net = MultiOutputNet(template, **FAST).fit(EXTRA, Y)
    for one in (net, pickle.loads(pickle.dumps(net))):
        assert trained_by(one)["hidden_1"] == set()
        assert trained_by(one)["hidden_2"] == {*Y}
        assert not one.module_.trunk[0].weight.requires_grad


def test_an_estimator_whose_learning_outputs_were_dropped_is_trained_by_none():
    groups = {"trunk": {"lr": 0}, "price": {"lr": 0}}
    net = MultiOutputNet(MLP((4,)), param_groups=groups, **FAST).fit(EXTRA, Y)
    left = net.drop_outputs(["spam", "size"])
    assert trained_by(left) == {"hidden_1": set(), "price": set()}


class Own(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        (n_extra,) = n_features["aux_input"]
        self.dense = nn.Linear(8 + n_extra, 8)
        self.embed = nn.EmbeddingBag(50, 8)
        self.activation = nn.ReLU(inplace=True)
        self.unused = nn.Linear(2, 3)

    def forward(self, x):
        bag = self.activation(self.embed(x["main_input"]))
        return self.dense(torch.cat([bag, x["aux_input"]], 1)).relu()


def test_children_of_ones_own_module_are_shown_in_the_order_of_their_use():
    net = MultiOutputNet(Own, **FAST).fit(X, Y)
    table = net.summary()
    assert list(table.index)[:5] == ["main_input", "aux_input", "(own)", "embed", "dense"]
    assert list(table["part"])[2:5] == ["parameters of Own", "EmbeddingBag(50, 8)", "Linear(11, 8)"]
    assert takes(net)["dense"] == {"embed", "aux_input"}
    assert all(takes(net)[name] == {"dense"} for name in Y)
    assert table.loc["(own)", "n_parameters"] == 2 * 3 + 3
    assert table.loc["(own)", "trained_by"] == "none"
    assert table["n_parameters"].sum() == n_parameters(net)


class Levels(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(n_features, 4), nn.Linear(4, 4), nn.Linear(4, 4)])
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        low = self.layers[0](x).relu()
        stopped = self.layers[1](low.detach()) * self.scale
        return {"low": low, "high": self.layers[2](stopped), "again": self.layers[0](x) + x[:, :1]}


def test_gradients_that_are_stopped_train_nothing_below():
    heads = {
        "price": Regression(at="low"),
        "spam": Classification(at="high"),
        "size": Regression(at="again"),
    }
    net = MultiOutputNet(Levels, heads, **FAST).fit(EXTRA, Y)
    assert trained_by(net) == {
        "layers.0": {"price", "size"},
        "layers.1": {"spam"},
        "layers.2": {"spam"},
        "(own)": {"spam"},
        **{name: {name} for name in Y},
    }
    found = takes(net)
    assert found["layers.2"] == {"layers.1", "(own)"}
    assert found["layers.0 (2)"] == {"X"}
    assert found["size"] == {"layers.0 (2)", "X"}
    assert net.summary()["n_parameters"].sum() == n_parameters(net)


class Looped(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, n_features)

    def forward(self, x):
        for _ in range(6):
            x = self.layer(x).tanh()
        return x


class ByNumpy(nn.Module):
    """Looks at X in a way that torch forbids where a gradient is wanted."""

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 4)

    def forward(self, x):
        return self.layer(x * float(np.abs(x.numpy()).max() + 1))


class Remembers(nn.Module):
    """Keeps a tensor of its last pass, which torch does not copy."""

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 4)

    def forward(self, x):
        self.last = self.layer(x)
        return self.last


@pytest.mark.parametrize(
    ("trunk", "name"), [(Looped, "trunk"), (ByNumpy, "layer"), (Remembers, "layer")]
)
def test_unusual_modules_are_shown_too(trunk, name):
    net = MultiOutputNet(trunk, fast_step=False, **FAST).fit(EXTRA, Y)
    if trunk is Remembers:
        net.module_(torch.zeros(2, 3, dtype=torch.float64))
    assert list(net.summary().index) == ["X", name, *Y]
    assert trained_by(net)[name] == {*Y}
    assert takes(net)[name] == {"X"}
    assert net.summary()["n_parameters"].sum() == n_parameters(net)


def test_a_network_with_branches_and_merges():
    stages = [
        ("stem", Convolution(8, pool_size=2), "image"),
        ("block", Inception(), "stem"),
        ("skip", Convolution(32, 1), "stem"),
        ("sum", "add", ["block", "skip"]),
        ("early", Pool(), "block"),
        ("late", Pool("max"), "sum"),
    ]
    heads = {"price": Regression(at="early"), "spam": Classification(at="late")}
    images = Inputs({"image": RNG.normal(size=(40, 8, 8, 1))})
    net = MultiOutputNet(Graph(stages), heads, **FAST)
    net.fit(images, {"price": Y["price"], "spam": SPAM})
    table = net.summary()
    assert table.loc["sum", "part"] == "add"
    assert table.loc["sum", "shape"] == (4, 4, 32)
    assert table.loc["sum", "trained_by"] == ""
    assert table.loc["stem", "part"] == "Convolution(8, pool_size=2)"
    found = trained_by(net)
    assert (found["block"], found["skip"]) == ({"price", "spam"}, {"spam"})


def test_dropping_an_output_leaves_fewer_stages():
    early = make_guide().drop_outputs(["main_output"])
    table = early.summary()
    assert list(table.index) == ["main_input", "aux_input", "embed", "lstm", "aux_output"]
    assert table["n_parameters"].sum() == n_parameters(early)


@pytest.mark.parametrize("kind", [MultiOutputNetRegressor, MultiOutputNetClassifier])
def test_the_estimators_of_arrays_have_it_too(kind):
    y = EXTRA[:, 0] if kind is MultiOutputNetRegressor else SPAM
    net = kind(MLP((4,)), **FAST).fit(EXTRA, y, aux={"size": EXTRA[:, 1]})
    assert list(net.summary().index) == ["X", "hidden_1", "y", "size"]
    assert trained_by(net)["hidden_1"] == {"y", "size"}


def test_nothing_is_changed():
    params = {"warm_start": True, "trunk__dense__dropout": 0.5}
    one, other = make_guide(**params), make_guide(**params)
    one.module_.zero_grad()
    modes = [module.training for module in one.module_.modules()]
    state = torch.get_rng_state()
    one.summary()
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in one.module_.modules()] == modes
    assert all(p.grad is None for p in one.module_.parameters())
    assert all(p.requires_grad for p in one.module_.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in one.module_.modules())
    for _ in range(2):
        raw, expected = (net.module_(zeros()) for net in (one, other))
        assert all(torch.equal(raw[name], expected[name]) for name in raw)
        one.fit(X, {"main_output": SPAM})
        other.fit(X, {"main_output": SPAM})
    assert one.history_ == other.history_


def zeros():
    return {
        "main_input": torch.zeros(2, 8, dtype=torch.int64),
        "aux_input": torch.zeros(2, 3, dtype=torch.float64),
    }


def test_it_works_where_gradients_are_off():
    net = make_guide()
    expected = net.summary()
    with torch.inference_mode():
        assert net.summary().equals(expected)


def test_it_needs_a_fit():
    with pytest.raises(NotFittedError, match="MultiOutputNet"):
        MultiOutputNet().summary()


def test_without_pandas_it_says_what_to_install(monkeypatch):
    net = MultiOutputNet(MLP((4,)), **FAST).fit(EXTRA, Y)
    monkeypatch.setitem(sys.modules, "pandas", None)
    message = r"^MultiOutputNet\.summary needs pandas: pip install pandas$"
    with pytest.raises(ImportError, match=message):
        net.summary()
