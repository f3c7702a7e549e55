"""The objective is one loss per output, and the penalty on weights."""

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn._engine._data import Labels
from mtlearn._engine._objective import Objective, l2_penalty
from mtlearn.heads import Classification, Regression

NUMBER = np.array([1.0, 2.0, 4.0])
KIND = np.array(["a", "b", "c"])


def make_objective(weights, dtype=torch.float64):
    ones = np.ones(3)
    heads = {
        "number": Regression().fit(NUMBER, ones, normalize=False),
        "kind": Classification().fit(KIND, ones, normalize=False),
    }
    return Objective(heads, weights, dtype)


def test_losses_are_weighted_means_over_the_rows_of_a_batch_in_the_order_of_names():
    objective = make_objective({"number": 2.0, "kind": 0.5})
    raw = {
        "number": torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64),
        "kind": torch.zeros(3, 3, dtype=torch.float64),
    }
    weight = torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64)
    labels = {
        "number": Labels(torch.tensor(NUMBER), weight),
        "kind": Labels(torch.arange(3), torch.ones(3, dtype=torch.float64)),
    }
    assert objective.names == ["kind", "number"]
    assert objective(raw, labels).tolist() == pytest.approx([np.log(3), 0.5 * 16 / 3])


def test_weights_are_in_the_order_of_names_and_move_with_the_module():
    objective = make_objective({"number": 2.0, "kind": 0.5, "unused": 9.0}, torch.float32)
    assert objective.weights.tolist() == [0.5, 2.0]
    assert objective.weights.dtype == torch.float32
    assert "weights" in dict(objective.named_buffers())
    assert not list(objective.parameters())


def test_penalty_counts_weights_but_no_biases():
    layers = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv1d(2, 3, 2)).double()
    expected = 0.3 * sum(layers[j].weight.square().sum().item() for j in (0, 2))
    assert l2_penalty(layers.parameters(), 0.3).item() == pytest.approx(expected)


def test_penalty_leaves_out_frozen_weights():
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    layers[0].requires_grad_(False)
    expected = 0.5 * layers[1].weight.square().sum().item()
    assert l2_penalty(layers.parameters(), 0.5).item() == pytest.approx(expected)


def test_no_penalty_for_alpha_zero_even_of_infinite_weights():
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, float("inf"))
    assert l2_penalty(layer.parameters(), 0.0) == 0.0


def test_penalty_of_no_weights_is_zero():
    assert l2_penalty([], 0.1) == 0.0
