"""The training step follows the gradients that autograd gives output by output."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mtlearn import MultiOutputNet, Targets
from mtlearn._engine._data import training_data
from mtlearn._engine._module import build_module
from mtlearn._random import part_seed, root_seed
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N, SEED = 64, 5
WEIGHTS = {"number": 0.7, "pair": 1.3, "kind": 0.2, "flag": 2.0, "tags": 0.5}
ALPHA = 0.03
HEADS = {
    "number": Regression(hidden_layer_sizes=(3,)),
    "pair": Regression(),
    "kind": Classification(label_smoothing=0.1),
    "flag": Classification(),
    "tags": MultiLabel(pos_weight=2.0),
}


def make_data():
    """Five outputs, with labels missing and rows weighted."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    number = 5.0 + 40.0 * X[:, 0]
    number[rng.random(N) < 0.5] = np.nan
    pair = np.column_stack([X[:, 1], 1e3 * X[:, 2]])
    pair[rng.random(pair.shape) < 0.2] = np.nan
    kind = np.digitize(X[:, 3], [-0.5, 0.5])
    flag = np.where(X[:, 0] > X[:, 1], "yes", "no")
    tags = (X[:, :3] + 0.5 * rng.normal(size=(N, 3)) > 0).astype(int)
    y = {"number": number, "pair": pair, "kind": kind, "flag": flag, "tags": tags}
    return X, y, {"kind": rng.uniform(0.0, 3.0, N), "number": rng.uniform(0.5, 2.0, N)}


def make_net(**params):
    return MultiOutputNet(
        MLP((6, 5), activation="tanh"),
        HEADS,
        loss_weights=WEIGHTS,
        missing_targets="ignore",
        optimizer="sgd",
        alpha=ALPHA,
        max_epochs=1,
        random_state=SEED,
    ).set_params(**params)


def initial_module(net):
    return build_module(net.trunk_, net.heads_, 4, root_seed(SEED), torch.float64)


def standardized(values, weight):
    mean = np.average(values, weights=weight)
    return (values - mean) / np.sqrt(np.average((values - mean) ** 2, weights=weight))


def cell_losses(y, sample_weight):
    """For each output, a function from raw outputs to weighted losses of shape (n_cells, ...).

    They are divided by the mean weight of the training rows and by the best constant's loss, so
    that an output's loss on a batch is their sum over the batch's rows divided by their number.
    """
    one = np.ones(N)
    losses = {}

    def squared(name):
        values = y[name].reshape(N, -1)
        weight = sample_weight.get(name, one)[:, None] * ~np.isnan(values)
        goal = np.zeros_like(values)
        for j in range(values.shape[1]):
            seen = weight[:, j] > 0
            goal[seen, j] = standardized(values[seen, j], weight[seen, j])
        scale = weight.mean() * values.shape[1]
        weight, goal = torch.tensor(weight / scale), torch.tensor(goal)
        return lambda raw, rows: weight[rows] * (raw.reshape(len(rows), -1) - goal[rows]) ** 2

    losses["number"], losses["pair"] = squared("number"), squared("pair")

    weight = sample_weight["kind"]
    share = np.bincount(y["kind"], weights=weight) / weight.sum()
    smooth = 0.9 * np.eye(3)[y["kind"]] + 0.1 / 3
    best = 0.9 * share + 0.1 / 3
    scale = weight.mean() * -(best * np.log(best)).sum()
    smooth, weight = torch.tensor(smooth), torch.tensor(weight / scale)
    losses["kind"] = lambda raw, rows: weight[rows] * -(smooth[rows] * raw.log_softmax(1)).sum(1)

    yes = torch.tensor((y["flag"] == "yes") * 2.0 - 1.0)
    p = (y["flag"] == "yes").mean()
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    losses["flag"] = lambda raw, rows: functional.softplus(-yes[rows] * raw) / entropy

    on = torch.tensor(y["tags"] * 1.0)
    frequency = 2 * y["tags"].mean(0) / (1 + y["tags"].mean(0))
    best = -(
        2 * y["tags"].mean(0) * np.log(frequency) + (1 - y["tags"].mean(0)) * np.log(1 - frequency)
    ).mean()
    losses["tags"] = lambda raw, rows: (
        (2 * on[rows] * functional.softplus(-raw) + (1 - on[rows]) * functional.softplus(raw))
        / (3 * best)
    )
    return losses


def output_gradients(module, X, losses, rows):
    """The gradient of each output's loss on the rows, by output; None where there is none."""
    raw = module(torch.tensor(X[rows]))
    parameters = list(module.parameters())
    return {
        name: torch.autograd.grad(
            loss(raw[name], rows).sum() / len(rows),
            parameters,
            retain_graph=True,
            allow_unused=True,
        )
        for name, loss in losses.items()
    }


def weighted_sum(module, gradients):
    total = []
    for j, parameter in enumerate(module.parameters()):
        penalty = 2 * ALPHA * parameter.detach() if parameter.ndim > 1 else 0.0
        parts = [WEIGHTS[name] * g[j] for name, g in gradients.items() if g[j] is not None]
        total.append(sum(parts) + penalty)
    return total


def test_step_follows_the_weighted_sum_of_the_outputs_gradients_and_the_penaltys():
    X, y, sample_weight = make_data()
    learning_rate = 1e-2
    net = make_net(batch_size=N, learning_rate=learning_rate).fit(X, y, sample_weight)
    module = initial_module(net)
    gradients = output_gradients(module, X, cell_losses(y, sample_weight), np.arange(N))
    expected = weighted_sum(module, gradients)
    pairs = zip(module.parameters(), net.module_.parameters(), expected, strict=True)
    for before, after, gradient in pairs:
        taken = (before - after).detach() / learning_rate
        torch.testing.assert_close(taken, gradient, rtol=0, atol=1e-10)
        assert gradient.abs().max() > 1e-4


def test_gradients_on_a_batch_are_the_sums_of_those_of_the_outputs():
    X, y, sample_weight = make_data()
    net = make_net(batch_size=N).fit(X, y, sample_weight)
    rows = np.arange(7, 30)
    gradients = output_gradients(net.module_, X, cell_losses(y, sample_weight), rows)
    given, _ = net._find_rows(X, Targets(y), net.heads_, sample_weight)
    data = training_data(given, net.heads_, torch.float64, "cpu")
    net.module_.zero_grad()
    net.net_.train_step_single(data[torch.tensor(rows)])
    expected = weighted_sum(net.module_, gradients)
    for parameter, gradient in zip(net.module_.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-10)


def test_epochs_of_small_batches_are_those_of_a_loop_by_hand():
    X, y, sample_weight = make_data()
    learning_rate, n_epochs, batch_size = 0.05, 3, 10
    net = make_net(batch_size=batch_size, learning_rate=learning_rate, max_epochs=n_epochs).fit(
        X, y, sample_weight
    )
    module, losses = initial_module(net), cell_losses(y, sample_weight)
    generator = torch.Generator().manual_seed(part_seed(root_seed(SEED), "batches"))
    for _ in range(n_epochs):
        for rows in torch.randperm(N, generator=generator).split(batch_size):
            gradients = output_gradients(module, X, losses, rows.numpy())
            steps = weighted_sum(module, gradients)
            with torch.no_grad():
                for parameter, step in zip(module.parameters(), steps, strict=True):
                    parameter -= learning_rate * step
    for ours, theirs in zip(net.module_.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_losses_in_the_history_are_those_of_the_outputs():
    X, y, sample_weight = make_data()
    net = make_net(batch_size=N).fit(X, y, sample_weight)
    module, rows = initial_module(net), np.arange(N)
    raw = module(torch.tensor(X))
    row = net.history_[0]
    for name, loss in cell_losses(y, sample_weight).items():
        assert row[f"{name}_loss"] == pytest.approx(loss(raw[name], rows).sum().item() / N)


def test_a_heads_own_layers_get_no_gradient_from_other_outputs():
    X, y, sample_weight = make_data()
    net = make_net(batch_size=N).fit(X, y, sample_weight)
    gradients = output_gradients(net.module_, X, cell_losses(y, sample_weight), np.arange(N))
    for j, name in enumerate(name for name, _ in net.module_.named_parameters()):
        owner = net.module_.names[int(name.split(".")[1])] if name.startswith("heads") else None
        for output, gradient in gradients.items():
            assert (gradient[j] is not None) == (owner in (None, output))


def test_other_outputs_weights_leave_the_first_step_of_a_private_layer_as_it_is():
    X, y, sample_weight = make_data()
    few = make_net(batch_size=N).fit(X, y, sample_weight).module_
    many = make_net(batch_size=N, loss_weights__kind=9.0).fit(X, y, sample_weight).module_
    number, kind = few.names.index("number"), few.names.index("kind")
    assert len(list(few.heads[number].parameters())) == 4
    for a, b in zip(few.heads[number].parameters(), many.heads[number].parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(few.trunk[0].weight, many.trunk[0].weight)
    assert not torch.equal(few.heads[kind][0].weight, many.heads[kind][0].weight)
