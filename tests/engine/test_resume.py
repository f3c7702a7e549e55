"""What training needs beside the weights is read from one net and put into another."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from mtlearn._engine._data import Rows, training_data
from mtlearn._engine._make_net import make_net
from mtlearn._engine._module import build_module
from mtlearn._engine._objective import Objective
from mtlearn._engine._optimizers import OPTIMIZERS
from mtlearn._engine._resume import load_training_state, set_dropout_states, training_state
from mtlearn._engine._stopping import copy_tensors, put_tensors
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 23
TRUNK = MLP((4,), dropout=0.3, normalization="batch")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(seed=0, dtype=torch.float64, **changes):
    X = np.random.default_rng(0).normal(size=(N, 3))
    y = {"number": X[:, 0] - X[:, 1], "kind": np.digitize(X[:, 2], [-0.5, 0.5])}
    ones = {name: np.ones(N) for name in y}
    heads = {"number": Regression(), "kind": Classification()}
    for name, head in heads.items():
        head.fit(y[name], ones[name], normalize=True)
    settings = {
        "optimizer": "adam",
        "optimizer_params": {},
        "param_groups": {},
        "shuffle": True,
        "keep_batches": False,
        "record_rate": False,
        "fast_step": "auto",
        "learning_rate": 0.05,
        "alpha": 0.01,
        "batch_size": 10,
        "max_epochs": 2,
        "loss_limit": 1e6,
        "callbacks": [],
        "device": "cpu",
        "verbose": 0,
        "seed": seed,
    }
    module = build_module(TRUNK, heads, 3, seed, dtype)
    objective = Objective(heads, {"number": 0.5, "kind": 2.0}, dtype)
    data = training_data(Rows(X, y, ones), heads, dtype, "cpu")
    return make_net(module, objective, heads=heads, **settings | changes), data


def resumed(net, seed=1, **changes):
    """Another net with the weights and the training state of the first."""
    other, _ = make(seed, next(net.module_.parameters()).dtype, **changes)
    put_tensors(other.module_, copy_tensors(net.module_))
    load_training_state(other, training_state(net))
    return other


def assert_same_weights(net, other):
    for ours, theirs in zip(net.module_.parameters(), other.module_.parameters(), strict=True):
        np.testing.assert_array_equal(ours.detach(), theirs.detach())


MADE_BY = {
    **{name: {"optimizer": name} for name in sorted(OPTIMIZERS)},
    "momentum": {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9}},
    "amsgrad": {"optimizer": "adam", "optimizer_params": {"amsgrad": True}},
    "centered": {"optimizer": partial(torch.optim.RMSprop, centered=True, momentum=0.5)},
    "plain adam": {"optimizer": torch.optim.Adam},
    "adagrad": {"optimizer": torch.optim.Adagrad},
    "adadelta": {"optimizer": torch.optim.Adadelta},
    "adafactor": {"optimizer": torch.optim.Adafactor},
    "adamax": {"optimizer": torch.optim.Adamax},
    "asgd": {"optimizer": partial(torch.optim.ASGD, t0=2.0)},
    "nadam": {"optimizer": torch.optim.NAdam},
    "radam": {"optimizer": torch.optim.RAdam},
    "rprop": {"optimizer": torch.optim.Rprop},
    "groups": {"param_groups": {"trunk": {"lr": 0.1}, "number": {"betas": (0.5, 0.9)}}},
}


@pytest.mark.parametrize("changes", MADE_BY.values(), ids=MADE_BY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_another_net_with_the_state_trains_bit_for_bit_the_same(dtype, changes):
    net, data = make(dtype=dtype, **changes)
    net.partial_fit(data)
    other = resumed(net, **changes)
    for _ in range(3):
        net.partial_fit(data)
        other.partial_fit(data)
        assert_same_weights(net, other)
        other = resumed(other, **changes)


@pytest.mark.parametrize("changes", MADE_BY.values(), ids=MADE_BY)
def test_moments_come_back_with_their_type_and_shape(changes):
    net, data = make(**changes)
    net.partial_fit(data)
    before, after = training_state(net), training_state(resumed(net, **changes))
    assert before["moments"].keys() == after["moments"].keys()
    for name, moments in before["moments"].items():
        assert moments.keys() == after["moments"][name].keys()
        for key, value in moments.items():
            np.testing.assert_array_equal(value, after["moments"][name][key])
            assert np.asarray(value).dtype == np.asarray(after["moments"][name][key]).dtype


def test_the_state_is_made_of_arrays_and_plain_values_by_the_names_of_parameters():
    net, data = make()
    net.partial_fit(data)
    state = training_state(net)
    names = [name for name, _ in net.get_all_learnable_params()]
    assert set(state) == {"moments", "batches", "dropout", "weighing"}
    assert state["weighing"] is None
    assert list(state["moments"]) == names
    assert list(state["dropout"]) == ["trunk.3"]
    arrays = [state["batches"], *state["dropout"].values()]
    arrays += [value for moments in state["moments"].values() for value in moments.values()]
    assert all(type(value) in (np.ndarray, float, int) for value in arrays)


def test_a_net_that_has_not_trained_has_no_moments_and_no_draws():
    net, _ = make()
    state = training_state(net)
    assert state["moments"] == state["dropout"] == {}
    assert_same_weights(net, resumed(net))


def test_a_state_from_before_the_first_step_begins_anew():
    net, data = make()
    state, weights = training_state(net), copy_tensors(net.module_)
    net.partial_fit(data)
    expected = copy_tensors(net.module_)
    put_tensors(net.module_, weights)
    load_training_state(net, state)
    assert training_state(net)["moments"] == {}
    net.partial_fit(data)
    for name, values in copy_tensors(net.module_).items():
        np.testing.assert_array_equal(values, expected[name])


def test_later_training_changes_no_state_that_was_read():
    net, data = make()
    net.partial_fit(data)
    state = training_state(net)
    before = copy.deepcopy(state)
    net.partial_fit(data)
    np.testing.assert_equal(state, before)
    other, _ = make(1)
    load_training_state(other, state)
    other.partial_fit(data)
    np.testing.assert_equal(state, before)


def test_settings_stay_those_of_the_net():
    net, data = make(learning_rate=0.05, optimizer_params={"betas": (0.8, 0.9)})
    net.partial_fit(data)
    other = resumed(net, learning_rate=0.01)
    (group,) = other.optimizer_.param_groups
    assert (group["lr"], group["betas"]) == (0.01, (0.9, 0.999))


def test_moments_go_by_name_to_other_groups():
    groups = {"kind": {"lr": 0.2}, "trunk.0": {"lr": 0.1}}
    net, data = make()
    net.partial_fit(data)
    other = resumed(net, param_groups=groups)
    ours, theirs = training_state(net)["moments"], training_state(other)["moments"]
    np.testing.assert_equal(theirs, {name: ours[name] for name in theirs})
    assert theirs.keys() == ours.keys()
    lengths = [len(group["params"]) for group in other.optimizer_.param_groups]
    assert sorted(lengths) == [2, 2, 4]


def test_without_moments_the_optimizer_begins_anew_and_the_draws_go_on():
    net, data = make()
    net.partial_fit(data)
    other, _ = make(1)
    load_training_state(other, training_state(net), moments=False)
    state, before = training_state(other), training_state(net)
    assert state["moments"] == {}
    np.testing.assert_array_equal(state["batches"], before["batches"])
    np.testing.assert_equal(state["dropout"], before["dropout"])


def test_restarted_dropout_draws_as_at_its_beginning():
    net, data = make()
    layer = net.module_.trunk[3]
    ones = torch.ones(5, 4, dtype=torch.float64)
    first = layer(ones)
    net.partial_fit(data)
    set_dropout_states(net.module_, {})
    np.testing.assert_array_equal(layer(ones), first)


def test_the_order_of_batches_goes_on():
    net, data = make()
    net.partial_fit(data)
    other = resumed(net)
    (ours, _), (theirs, _) = (
        next(iter(each.get_iterator(data, training=True))) for each in (net, other)
    )
    fresh, _ = next(iter(make()[0].get_iterator(data, training=True)))
    np.testing.assert_array_equal(ours, theirs)
    assert not torch.equal(ours, fresh)
