import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from mtlearn import Inputs, MultiOutputNet, Targets
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent

N = 60
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 20, (N, 5))
EXTRA = RNG.normal(size=(N, 3))
X = Inputs({"main_input": IDS, "aux_input": EXTRA})
Y = Targets({"main_output": (IDS[:, 0] > 9).astype(int), "number": EXTRA[:, 0] + EXTRA[:, 1]})
STAGES = [
    ("embed", Embedding(20, 6), "main_input"),
    ("lstm", Recurrent(4), "embed"),
    ("dense", MLP((8, 8)), ["lstm", "aux_input"]),
]
HEADS = {
    "main_output": Classification(at="dense"),
    "aux_output": Classification(at="lstm", target="main_output"),
    "number": Regression(at="dense"),
}
NET = MultiOutputNet(
    trunk=Graph(STAGES),
    heads=HEADS,
    loss_weights={"aux_output": 0.2},
    max_epochs=5,
    batch_size=16,
    random_state=0,
)


def test_the_guides_model_has_keras_parameters_and_torchs_second_bias():
    graph = Graph(
        [
            ("embed", Embedding(10_000, 512), "main_input"),
            ("lstm", Recurrent(32, cell="lstm"), "embed"),
            ("dense", MLP((64, 64, 64)), ["lstm", "aux_input"]),
        ]
    )
    heads = {"aux_output": Classification(at="lstm"), "main_output": Classification(at="dense")}
    X = {"main_input": np.arange(400).reshape(4, 100), "aux_input": np.eye(4, 5)}
    y = {name: np.array([0, 1, 0, 1]) for name in heads}
    net = MultiOutputNet(trunk=graph, heads=heads, max_epochs=1, random_state=0).fit(X, y)
    assert sum(p.numel() for p in net.module_.parameters()) == 5_200_610 + 128


def test_stages_compute_what_they_say():
    module = Graph(
        [
            ("a", MLP((4,)), "X"),
            ("b", nn.Linear(4, 4), "a"),
            ("sum", "add", ["a", "b"]),
            ("product", "multiply", ["a", "b", "sum"]),
            ("both", "concatenate", ["a", "X"]),
            ("end", lambda n_features: nn.Linear(n_features, 2), ["both", "sum"]),
        ]
    ).build(3)
    x = torch.rand(5, 3)
    found = module(x)
    stages = dict(zip(module.names, module.stages, strict=True))
    a = stages["a"](x)
    b = stages["b"](a)
    torch.testing.assert_close(found["sum"], a + b)
    torch.testing.assert_close(found["product"], a * b * (a + b))
    torch.testing.assert_close(found["both"], torch.cat([a, x], 1))
    end = stages["end"].module(torch.cat([a, x, a + b], 1))
    torch.testing.assert_close(found["end"], end)
    assert module.default is None


def test_the_order_of_the_stages_changes_nothing():
    expected = clone(NET).fit(X, Y).predict(X)
    assert clone(NET).set_params(trunk=Graph(STAGES[::-1])).fit(X, Y).predict(X) == expected


def test_an_end_without_labels_in_the_loss_is_not_built():
    stages = [*STAGES, ("extra", MLP((5,)), "aux_input")]
    heads = HEADS | {"number": Regression(at="extra")}
    net = clone(NET).set_params(trunk=Graph(stages), heads=heads)
    without = clone(net).set_params(loss_weights__number=0.0).fit(X, Y)
    assert "extra" not in without.module_.trunk.names
    assert "extra" in clone(net).fit(X, Y).module_.trunk.names
    plain = clone(NET).set_params(loss_weights__number=0.0).fit(X, Y)
    names = ["main_output", "aux_output"]
    assert without.predict(X, names) == plain.predict(X, names)


def test_heads_without_a_stage_take_the_last():
    heads = {"main_output": Classification(), "number": Regression()}
    net = clone(NET).set_params(heads=heads, loss_weights=None).fit(X, Y)
    assert net.module_.taps == ["dense", "dense"]


def test_only_what_is_needed_is_computed():
    net = clone(NET).fit(X, Y)
    stages = dict(zip(net.module_.trunk.names, net.module_.trunk.stages, strict=True))
    calls = []
    for name, module in stages.items():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    part = net.predict(X, outputs=["aux_output"])
    assert calls == ["embed", "lstm"]
    assert np.array_equal(part["aux_output"], net.predict(X)["aux_output"])


def test_dropped_outputs_take_their_stages_with_them():
    net = clone(NET).fit(X, Y)
    kept = net.drop_outputs(["main_output", "number"])
    assert kept.module_.trunk.names == ["embed", "lstm"]
    expected = net.predict(X, ["aux_output"])
    assert kept.predict(X) == expected
    assert pickle.loads(pickle.dumps(kept)).predict(X) == expected
    rest = net.drop_outputs(["aux_output"])
    assert rest.predict(X) == net.predict(X, ["main_output", "number"])


def test_gradients_above_a_head_do_not_depend_on_it():
    module = clone(NET).fit(X, Y).module_
    x = {"main_input": torch.tensor(IDS), "aux_input": torch.tensor(EXTRA)}
    module.zero_grad(set_to_none=True)
    module(x)["aux_output"].sum().backward()
    stages = dict(zip(module.trunk.names, module.trunk.stages, strict=True))
    assert all(p.grad is None or not p.grad.any() for p in stages["dense"].parameters())
    assert all(p.grad.any() for p in stages["lstm"].parameters())


def test_it_is_searched_by_names():
    grid = {"trunk__lstm__n_units": [3, 4], "trunk__dense": [MLP((4,)), MLP((5,))]}
    search = GridSearchCV(NET, grid, cv=2).fit(X, Y)
    assert search.best_params_.keys() == grid.keys()
    assert search.best_estimator_.trunk_.get_params()["lstm__n_units"] in (3, 4)
    assert Graph(STAGES).get_params()["lstm__n_units"] == 4


def test_the_users_parts_are_not_changed():
    graph = Graph(STAGES)
    net = clone(NET).set_params(trunk=graph, trunk__lstm__n_units=7).fit(X, Y)
    assert clone(graph).get_params()["lstm__n_units"] == 7
    assert pickle.loads(pickle.dumps(net)).predict(X) == net.predict(X)


def test_steps_by_formula_and_by_autograd_agree():
    fits = [clone(NET).set_params(fast_step=fast).fit(X, Y) for fast in ("auto", False)]
    for row, other in zip(*(net.history_ for net in fits), strict=True):
        assert row == pytest.approx(other, rel=1e-9)


EMBED = STAGES[0]
BAD = {
    "an input that nobody takes": ([EMBED, STAGES[1]], r"None takes \['aux_input'\]"),
    "an unknown input": (
        [EMBED, ("lstm", Recurrent(4), "embd"), STAGES[2]],
        r"stage 'lstm' names the unknown input or stage 'embd'.*\(did you mean 'embed'\?\)",
    ),
    "a cycle": (
        [EMBED, ("a", MLP((3,)), ["b", "aux_input"]), ("b", MLP((3,)), "a")],
        "stages must not wait for each other. (a -> b -> a|b -> a -> b)",
    ),
    "a stage that takes itself": (
        [("a", MLP((3,)), ["a", "aux_input"]), EMBED],
        "stages must not wait for each other. a -> a",
    ),
    "shapes that differ": (
        [EMBED, ("sum", "add", ["main_input", "aux_input"])],
        r"stage 'sum' on \['main_input', 'aux_input'\]: to add, shapes must be equal",
    ),
    "axes that differ": (
        [EMBED, ("all", "concatenate", ["embed", "aux_input"])],
        r"stage 'all' .* shapes must be equal but for the last axis",
    ),
    "an unknown merge": (
        [EMBED, ("all", "ad", ["main_input", "aux_input"])],
        r"unknown merge 'ad'.*\(did you mean 'add'\?\)",
    ),
    "a name twice": ([EMBED, EMBED], r"\['embed'\] are taken twice"),
    "the name of an input": ([("aux_input", MLP(), "main_input")], "are taken twice"),
    "a part on the wrong shape": (
        [EMBED, ("lstm", Recurrent(4), "aux_input")],
        r"stage 'lstm' on \['aux_input'\]: Recurrent takes sequences",
    ),
    "a module that fails": (
        [EMBED, ("end", nn.Linear(9, 2), "aux_input")],
        r"stage 'end' on \['aux_input'\]: it failed on two rows of zeros",
    ),
    "a stage that no head can take": (
        [EMBED, ("end", MLP(), "aux_input")],
        r"every stage must lead to a head. Nothing takes \['embed'\]",
    ),
    "no stages": ([], "stages must have names that are not taken"),
    "a bad name": ([("a__b", MLP(), "aux_input")], "must be a string without '__'"),
    "a stage of two": ([("a", MLP())], r"a stage must be \(name, part, inputs\)"),
    "a bad parameter": (
        [EMBED, ("lstm", Recurrent(0), "embed"), STAGES[2]],
        "stage 'lstm': The 'n_units' parameter of Recurrent",
    ),
    "no inputs": ([("a", MLP(), [])], "stage 'a' must take an input"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_graphs_are_named(case):
    stages, match = BAD[case]
    heads = {"number": Regression()}
    with pytest.raises(ValueError, match=match):
        MultiOutputNet(trunk=Graph(stages), heads=heads, max_epochs=1).fit(X, Y)


def test_unknown_names_of_parameters_are_refused():
    with pytest.raises(ValueError, match=r"unknown stage 'lstn'.*did you mean 'lstm'"):
        Graph(STAGES).set_params(lstn__n_units=3)
    with pytest.raises(ValueError, match="stage 'sum' is no part with parameters"):
        Graph([("sum", "add", ["a", "b"])]).set_params(sum__n_units=3)


def test_steps_of_a_sequence_are_taken_at_positions():
    graph = Graph([("steps", "take", ["states", "when"]), ("end", nn.Identity(), "steps")])
    module = graph.build({"states": (4, 3), "when": (2,)})
    states, when = torch.rand(5, 4, 3), torch.tensor([[0, 3], [1, 1], [2, 0], [3, 3], [0, 1]])
    found = module({"states": states, "when": when})["steps"]
    for row in range(5):
        assert torch.equal(found[row], torch.cat([states[row, i] for i in when[row]]))


@pytest.mark.parametrize("bad", [-1, 4])
def test_positions_outside_a_sequence_are_refused(bad):
    module = Graph([("steps", "take", ["states", "when"])]).build({"states": (4, 3), "when": (1,)})
    with pytest.raises(ValueError, match=f"steps to take must be in 0 to 3. Got {bad}"):
        module({"states": torch.rand(2, 4, 3), "when": torch.tensor([[0], [bad]])})


def test_what_is_taken_must_be_steps_of_sequences():
    graph = Graph([("steps", "take", ["states", "when"])])
    with pytest.raises(ValueError, match=r"stage 'steps' .* inputs must be sequences"):
        graph.build({"states": (3,), "when": (1,)})


def test_stages_are_parts_for_the_optimizer_by_name():
    net = clone(NET).set_params(
        param_groups={"trunk.lstm": {"lr": 0.0}, "trunk.embed": {"lr": 0.1}}
    )
    net.fit(X, Y)
    names = net.module_.trunk.names
    before = clone(NET).set_params(max_epochs=1, learning_rate=1e-12).fit(X, Y).module_.trunk
    for name, moved in (("lstm", False), ("dense", True), ("embed", True)):
        stage, first = (t.stages[names.index(name)] for t in (net.module_.trunk, before))
        pairs = zip(stage.parameters(), first.parameters(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-8) for a, b in pairs) != moved
    message = r"`param_groups` names the unknown part 'trunk.lsmt'.*did you mean 'trunk.lstm'"
    with pytest.raises(ValueError, match=message):
        net.set_params(param_groups={"trunk.lsmt": {"lr": 0.0}}).fit(X, Y)


def test_a_head_may_take_several_stages():
    heads = HEADS | {"number": Regression(at=["lstm", "dense"])}
    net = clone(NET).set_params(heads=heads).fit(X, Y)
    both = np.concatenate([net.embed(X, "lstm"), net.embed(X, "dense")], 1)
    raw = net.module_.heads[net.module_.names.index("number")](torch.tensor(both))
    expected = net.heads_["number"].decode(raw.detach().numpy())
    np.testing.assert_allclose(net.predict(X)["number"], expected)
    assert pickle.loads(pickle.dumps(net)).predict(X) == net.predict(X)
    smaller = net.drop_outputs(["main_output"])
    assert np.array_equal(smaller.predict(X)["number"], net.predict(X)["number"])
    frozen = net.set_params(param_groups={"trunk.lstm": {"lr": 0.0}})
    frozen.fit(X, Y)


@pytest.mark.parametrize("takes", [None, 1, ["X", 1]])
def test_inputs_of_a_stage_are_names(takes):
    message = r"^MultiOutputNet: Graph: stage 'dense' must take an input or a stage by its name"
    with pytest.raises(ValueError, match=message):
        MultiOutputNet(Graph([("dense", MLP((4,)), takes)])).fit(np.ones((4, 2)), {"a": range(4)})


def test_a_template_of_another_type_is_a_stage_too():
    graph = Graph([("a", nn.Linear(2, 3).double(), "X"), ("b", MLP((4,)), "a")])
    net = MultiOutputNet(graph, dtype="float32", max_epochs=1).fit(ROWS, {"a": np.arange(6.0)})
    assert net.embed(ROWS).dtype == np.float32


def test_an_error_in_a_stage_names_it_in_a_prediction_too():
    graph = Graph([("pair", "take", ["sequences", "steps"])])
    X = {"sequences": np.ones((6, 3, 2)), "steps": np.zeros((6, 1), int)}
    net = MultiOutputNet(graph, max_epochs=1).fit(X, {"a": np.arange(6.0)})
    message = r"^MultiOutputNet: Graph: stage 'pair': the positions of steps .* in 0 to 2. Got 7"
    for method in (net.predict, net.embed):
        with pytest.raises(ValueError, match=message):
            method(X | {"steps": np.full((6, 1), 7)})


def test_sequences_without_a_step_are_refused():
    graph = Graph([("embed", Embedding(5, 2), "ids"), ("read", Recurrent(3), "embed")])
    net = MultiOutputNet(graph, max_epochs=1).fit({"ids": np.ones((6, 4), int)}, {"a": range(6)})
    with pytest.raises(ValueError, match=r"^MultiOutputNet: input 'ids': sequences must have a st"):
        net.predict({"ids": np.ones((6, 0), int)})


def test_the_list_of_stages_has_no_parameters():
    with pytest.raises(ValueError, match=r"^Graph: `stages` is a list .* Got 'stages__a'; write"):
        Graph([("a", MLP((3,)), "X")]).set_params(stages__a=MLP((4,)))


ROWS = np.random.default_rng(0).normal(size=(6, 2))
