"""The net is skorch's, with a loss per output that is read once per epoch."""

import numpy as np
import pytest
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from mtlearn._engine._data import Batches, Rows, training_data
from mtlearn._engine._make_net import make_net
from mtlearn._engine._module import build_module
from mtlearn._engine._objective import Objective, l2_penalty
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 23
WEIGHTS = {"number": 0.5, "kind": 2.0}


def make(trunk=None, **changes):
    X = np.random.default_rng(0).normal(size=(N, 3))
    y = {"number": X[:, 0] - X[:, 1], "kind": np.digitize(X[:, 2], [-0.5, 0.5])}
    ones = {name: np.ones(N) for name in y}
    heads = {"number": Regression(), "kind": Classification()}
    for name, head in heads.items():
        head.fit(y[name], ones[name], normalize=True)
    settings = {
        "optimizer": "sgd",
        "optimizer_params": {},
        "param_groups": {},
        "shuffle": True,
        "keep_batches": False,
        "record_rate": False,
        "fast_step": "auto",
        "learning_rate": 0.05,
        "alpha": 0.01,
        "batch_size": 10,
        "max_epochs": 3,
        "loss_limit": 1e6,
        "callbacks": [],
        "device": "cpu",
        "verbose": 0,
        "seed": 0,
    }
    module = build_module(trunk or MLP((4,)), heads, 3, 0, torch.float64)
    objective = Objective(heads, WEIGHTS, torch.float64)
    data = training_data(Rows(X, y, ones), heads, torch.float64, "cpu")
    return make_net(module, objective, heads=heads, **settings | changes), data


def test_net_is_a_skorch_net_that_trains_the_module_it_was_given():
    net, data = make()
    before = net.module_.trunk[0].weight.detach().clone()
    assert isinstance(net, NeuralNet)
    assert net.module_ is net.module
    net.partial_fit(data)
    assert not torch.equal(net.module_.trunk[0].weight, before)


def test_history_has_the_losses_of_all_outputs_under_skorchs_prefix():
    net, data = make()
    net.partial_fit(data)
    assert len(net.history) == 3
    for epoch in net.history:
        names = ("train_loss", "train_number_loss", "train_kind_loss", "train_penalty")
        total, number, kind, penalty = (epoch[name] for name in names)
        assert total == pytest.approx(0.5 * number + 2.0 * kind + penalty, rel=1e-14)
        assert epoch["train_batch_count"] == 3


def test_losses_of_an_epoch_are_means_weighted_by_the_rows_of_the_batches():
    net, data = make(learning_rate=1e-30)
    net.partial_fit(data)
    with torch.no_grad():
        kind, number = net.criterion_(net.module_(data.inputs), data.labels).tolist()
    assert net.history[0]["train_kind_loss"] == pytest.approx(kind, rel=1e-12)
    assert net.history[0]["train_number_loss"] == pytest.approx(number, rel=1e-12)


def test_step_returns_the_losses_and_the_penalty_beside_the_total():
    net, data = make()
    step = net.train_step_single(data[torch.arange(5)])
    penalty = l2_penalty(net.module_.parameters(), 0.01)
    kind, number, last = step["terms"].tolist()
    assert last == pytest.approx(penalty.item(), rel=1e-14)
    assert step["loss"].item() == pytest.approx(2.0 * kind + 0.5 * number + last, rel=1e-14)
    assert not step["terms"].requires_grad
    assert all(p.grad is not None for p in net.module_.parameters())


def test_validation_step_has_the_same_total_without_gradients():
    net, data = make()
    batch = data[torch.arange(5)]
    total = net.validation_step(batch)["loss"]
    assert not total.requires_grad
    assert all(p.grad is None for p in net.module_.parameters())
    assert total.item() == net.train_step_single(batch)["loss"].item()


def test_validation_epoch_is_recorded_under_its_own_prefix():
    net, data = make()
    net.partial_fit(data)
    net.run_single_epoch(Batches(data, N), False, "valid", net.validation_step)
    assert {"valid_loss", "valid_kind_loss", "valid_number_loss"} <= set(net.history[-1])
    assert not net.module_.training


def test_no_iterator_is_no_epoch():
    net, _ = make()
    net.history.new_epoch()
    net.run_single_epoch(None, False, "valid", net.validation_step)
    assert "valid_loss" not in net.history[-1]


def test_callbacks_of_skorch_see_every_batch_and_epoch():
    class Counter(Callback):
        def initialize(self):
            self.n_batches = self.n_epochs = 0
            return self

        def on_batch_end(self, _net, training, loss, **_kwargs):
            self.n_batches += int(training and torch.isfinite(loss))

        def on_epoch_end(self, _net, **_kwargs):
            self.n_epochs += 1

    net, data = make()
    net.set_params(callbacks=[("counter", Counter)])
    net.initialize()
    net.partial_fit(data)
    counter = dict(net.callbacks_)["counter"]
    assert (counter.n_batches, counter.n_epochs) == (9, 3)


@pytest.mark.parametrize("learning_rate", [1e3, 1e30])
def test_divergence_names_output_and_epoch(learning_rate):
    net, data = make(learning_rate=learning_rate, alpha=0.0, max_epochs=50)
    message = r"output '(kind|number)': training diverged in epoch \d+, with a mean loss of"
    with pytest.raises(DivergenceError, match=message):
        net.partial_fit(data)


def test_loss_above_the_limit_counts_as_diverged():
    net, data = make(loss_limit=0.01)
    with pytest.raises(
        DivergenceError, match=r"'kind': .* diverged in epoch 1, .*Lower `learning_rate`"
    ):
        net.partial_fit(data)


def test_last_single_row_is_skipped_under_batch_normalisation_only():
    plain, data = make(batch_size=11)
    plain.partial_fit(data)
    normalized, data = make(MLP((4,), normalization="batch"), batch_size=11)
    normalized.partial_fit(data)
    assert plain.history[0]["train_batch_count"] == 3
    assert normalized.history[0]["train_batch_count"] == 2


def test_verbose_prints_a_line_with_all_losses_per_epoch(capsys):
    net, data = make(verbose=1)
    net.partial_fit(data)
    printed = capsys.readouterr().out
    assert "train_kind_loss" in printed
    assert len(printed.strip().splitlines()) == 5
