import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mtlearn import MultiOutputNet
from mtlearn.preprocessing import ColumnInputs
from mtlearn.trunks import MLP, CategoryEmbedding, Graph, Periodic

X = np.random.default_rng(0).normal(size=(30, 3))


def by_hand(x, state, n_frequencies, n_units, *, shared):
    """Return what the module makes of rows, column by column."""
    frequencies = state["frequencies"].reshape(3, n_frequencies)
    found = []
    for j, values in enumerate(x.T):
        waves = [np.sin(2 * np.pi * c * values) for c in frequencies[j]]
        waves += [np.cos(2 * np.pi * c * values) for c in frequencies[j]]
        m = 0 if shared else j
        bias = state["bias"].reshape(-1, n_units)[m]
        found.append(np.maximum(np.column_stack(waves) @ state["weight"][m] + bias, 0))
    return np.hstack(found)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("n_frequencies", "n_units"), [(1, 1), (5, 2), (16, 8)])
def test_it_is_the_formula_column_by_column(n_frequencies, n_units, shared):
    module = Periodic(n_frequencies, n_units, scale=0.5, shared=shared).build(3).double()
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    found = module(torch.from_numpy(X)).detach().numpy()
    expected = by_hand(X, state, n_frequencies, n_units, shared=shared)
    assert found.shape == (30, 3 * n_units)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_a_column_changes_its_own_units_only():
    module = Periodic(4, 5, scale=1.0).build(3)
    x = torch.rand(6, 3)
    moved = x.clone()
    moved[:, 1] += 0.4
    changed = (module(x) != module(moved)).any(0).unflatten(0, (3, 5)).any(1)
    assert changed.tolist() == [False, True, False]


def test_frequencies_are_learned():
    module = Periodic(4, 8, scale=1.0).build(3).double()
    x = torch.from_numpy(X)
    module(x).sum().backward()
    assert module.frequencies.grad.all()
    assert torch.autograd.gradcheck(
        lambda f: torch.func.functional_call(module, {"frequencies": f}, (x[:4],)),
        module.frequencies.detach().clone().requires_grad_(),
    )


def test_the_first_frequencies_have_the_given_scale_and_maps_that_of_a_linear_layer():
    torch.manual_seed(0)
    module = Periodic(32, 8, scale=3.0).build(100)
    assert module.frequencies.std().item() == pytest.approx(3.0, rel=0.05)
    assert module.frequencies.mean().item() == pytest.approx(0, abs=0.2)
    layer = torch.nn.Linear(64, 8)
    bound = layer.weight.abs().max().item()
    assert module.weight.abs().max().item() == pytest.approx(bound, rel=0.05)


def test_shared_columns_have_one_map_and_frequencies_of_their_own():
    module = Periodic(4, 8, shared=True).build(3)
    sizes = {name: p.numel() for name, p in module.named_parameters()}
    assert sizes == {"frequencies": 12, "weight": 64, "bias": 8}


def test_a_penalty_shrinks_the_map_and_leaves_frequencies():
    trunk = Periodic(8, 4, scale=2.0)
    moduli = {}
    for alpha in (0.0, 10.0):
        net = MultiOutputNet(
            trunk, alpha=alpha, optimizer="sgd", max_epochs=200, random_state=0, batch_size=30
        ).fit(X, {"y": np.sin(4 * X[:, 0])})
        moduli[alpha] = {n: p.norm().item() for n, p in net.module_.trunk.named_parameters()}
    assert moduli[10.0]["weight"] < 0.5 * moduli[0.0]["weight"]
    assert moduli[10.0]["frequencies"] > 0.9 * moduli[0.0]["frequencies"]


def test_it_takes_tables_only():
    with pytest.raises(ValueError, match=r"Periodic takes a table.* Got rows of the shape \(4, 3"):
        Periodic().build((4, 3))


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_frequencies", 0), ("n_units", 1.5), ("scale", 0.0), ("scale", "x"), ("shared", 2)],
)
def test_bad_parameters_are_refused(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of Periodic must be"):
        MultiOutputNet(Periodic(**{name: value}), max_epochs=1).fit(X, {"y": X[:, 0]})


def test_it_learns_what_goes_up_and_down_within_a_column():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2))
    y = {"y": np.sin(6 * rows[:, 0]) + (np.floor(2 * rows[:, 1]) % 2)}
    train, test = slice(0, 400), slice(400, None)
    waves = Graph([("waves", Periodic(scale=0.5), "X"), ("dense", MLP((32,)), ["waves", "X"])])
    errors = {}
    for name, trunk in {"plain": MLP((32,)), "waves": waves}.items():
        net = MultiOutputNet(trunk, learning_rate=0.01, max_epochs=60, random_state=0)
        net.fit(rows[train], {"y": y["y"][train]})
        errors[name] = 1 - net.score(rows[test], {"y": y["y"][test]})
    assert errors["waves"] < errors["plain"] / 2


def test_numbers_and_categories_of_a_table_are_embedded_side_by_side():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": np.arange(30) % 3})
    inputs = ColumnInputs(
        [("numbers", "passthrough", ["a", "b"]), ("kinds", "passthrough", ["kind"])]
    ).fit_transform(frame)
    trunk = Graph(
        [
            ("waves", Periodic(4, 2), "numbers"),
            ("vectors", CategoryEmbedding(3), "kinds"),
            ("dense", MLP((8,)), ["waves", "vectors"]),
        ]
    )
    net = MultiOutputNet(trunk, max_epochs=3, random_state=0).fit(inputs, {"y": X[:, 0]})
    shapes = net.summary()["shape"]
    assert shapes[["waves", "vectors", "dense"]].tolist() == [(4,), (3,), (8,)]
    assert net.predict(inputs)["y"].shape == (30,)


@pytest.mark.parametrize("shared", [False, True])
def test_members_side_by_side_are_what_their_seeds_make_of_single_networks(shared):
    y = {"y": X[:, 0]}
    trunk = Periodic(4, 2, scale=0.5, shared=shared)
    net = MultiOutputNet(trunk, max_epochs=5, n_members=3, random_state=0).fit(X, y)
    for member in net.members_:
        alone = clone(member).fit(X, y)
        np.testing.assert_allclose(member.predict(X)["y"], alone.predict(X)["y"], atol=1e-9)


def test_a_fitted_network_pickles():
    net = MultiOutputNet(Periodic(4, 2), max_epochs=2, random_state=0).fit(X, {"y": X[:, 0]})
    copy = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(copy.predict(X)["y"], net.predict(X)["y"])
