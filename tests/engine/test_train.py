"""One training run: who is trained, on what, for how long, and what it leaves behind."""

import random
import warnings

import numpy as np
import pytest
import torch

from mtlearn._engine._data import Rows
from mtlearn._engine._recipe import Recipe
from mtlearn._engine._train import train
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 30
X = np.random.default_rng(0).normal(size=(N, 3))
Y = {"number": X[:, 0], "kind": X[:, 1] > 0, "constant": np.full(N, 4.5)}


def make_recipe(**changes):
    settings = {
        "loss_weights": {"number": 1.0, "kind": 0.5, "constant": 2.0},
        "normalize_losses": True,
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "alpha": 1e-3,
        "batch_size": "auto",
        "max_epochs": 4,
        "early_stopping": False,
        "n_iter_no_change": 10,
        "device": "cpu",
        "dtype": "float64",
        "n_threads": 1,
        "verbose": 0,
        "seed": 0,
    }
    return Recipe(**settings | changes)


def make_heads(normalize=True):
    heads = {"number": Regression(), "kind": Classification(), "constant": Regression()}
    return {n: head.fit(Y[n], np.ones(N), normalize=normalize) for n, head in heads.items()}


def run(recipe=None, heads=None, trunk=None, weights=None):
    heads = heads or make_heads()
    weights = weights or {name: np.ones(N) for name in Y}
    return train(
        recipe or make_recipe(), trunk or MLP((4,)), heads, X.shape[1], Rows(X, Y, weights)
    )


def test_heads_with_weight_and_something_to_learn_are_trained():
    heads = make_heads()
    assert list(make_recipe().trained(heads)) == ["kind", "number"]
    none = {"number": 0.0, "kind": 1.0, "constant": 1.0}
    assert list(make_recipe(loss_weights=none).trained(heads)) == ["kind"]
    assert "constant" in make_recipe().trained(make_heads(normalize=False))


def test_trained_network_is_in_evaluation_mode():
    trained = run()
    assert trained.module.names == ["kind", "number"]
    assert trained.recipe.outputs == ("kind", "number")
    assert not any(part.training for part in trained.module.modules())
    assert len(trained.net.history) == len(trained.history) == trained.best_epoch == 4


def test_nothing_to_learn_trains_nothing():
    recipe = make_recipe(loss_weights={"number": 0.0, "kind": 0.0, "constant": 1.0})
    trained = run(recipe)
    assert trained.module.names == []
    assert trained.history == []
    assert trained.net is None


@pytest.mark.parametrize(
    ("n_rows", "changes", "batch_size", "max_epochs"),
    [
        (7, {"max_epochs": "auto"}, 7, 200),
        (200, {"max_epochs": "auto"}, 200, 200),
        (350, {"max_epochs": "auto"}, 200, 100),
        (10_000, {"max_epochs": "auto"}, 200, 100),
        (100, {"max_epochs": "auto", "batch_size": 10}, 10, 100),
        (10_000, {"max_epochs": "auto", "batch_size": 10_000}, 10_000, 200),
        (50, {"max_epochs": 3, "batch_size": 64}, 64, 3),
    ],
)
def test_auto_settings_give_enough_steps(n_rows, changes, batch_size, max_epochs):
    recipe = make_recipe(**changes)
    heads = make_heads()
    net = recipe.for_rows(n_rows).make_net(recipe.build(MLP((4,)), heads, 3), heads)
    assert (net.batch_size, net.max_epochs) == (batch_size, max_epochs)


def test_history_rows_obey_the_total_with_the_constant_outputs_in_it():
    recipe = make_recipe(loss_weights={"number": 0.0, "kind": 0.5, "constant": 2.0})
    rows = run(recipe).history
    assert len(rows) == 4
    for row in rows:
        total = sum(row[f"{name}_weight"] * row[f"{name}_loss"] for name in Y)
        assert row["loss"] == pytest.approx(total + row["penalty"], rel=1e-14)
        assert row["constant_loss"] == 0.0
        assert row["number_loss"] == pytest.approx(1.0)


def test_global_generators_and_thread_count_are_left_as_they_are():
    torch.manual_seed(123)
    threads = torch.get_num_threads()
    states = (random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state())  # noqa: NPY002
    run(make_recipe(n_threads=threads + 1), trunk=MLP((4,), dropout=0.3))
    assert torch.get_num_threads() == threads
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_generators_and_threads_are_put_back_after_a_failure():
    torch.manual_seed(123)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    recipe = make_recipe(optimizer="sgd", learning_rate=1e12, n_threads=threads + 1, max_epochs=50)
    with pytest.raises(DivergenceError, match="diverged"):
        run(recipe)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_last_step_to_infinite_weights_is_an_error():
    recipe = make_recipe(optimizer="sgd", learning_rate=1e308, alpha=1e3, max_epochs=1)
    with pytest.raises(DivergenceError, match="diverged in epoch 1: a weight is not finite"):
        run(recipe)


def test_fit_works_where_gradients_are_switched_off():
    expected = run().history[-1]["loss"]
    with torch.no_grad():
        assert run().history[-1]["loss"] == expected
    with torch.inference_mode():
        assert run().history[-1]["loss"] == expected


def test_no_warning_is_raised():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(trunk=MLP((4,), dropout=0.1, normalization="batch"))


def test_rows_without_weight_do_not_count_for_the_batch_size():
    weights = {name: (np.arange(N) < 12) * 1.0 for name in Y}
    assert run(weights=weights).net.batch_size == 12
