"""Optimizers go by name, or are given as what makes them."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn._engine._optimizers import OPTIMIZERS, find_optimizer
from mtlearn.trunks import MLP

CLASSES = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def make_data(n=50):
    X = np.random.default_rng(0).normal(size=(n, 3))
    return X, {"number": X[:, 0], "kind": X[:, 1] > 0}


def test_names_are_those_documented():
    assert set(OPTIMIZERS) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_name_stands_for_torchs_optimizer(name):
    layer = nn.Linear(2, 1)
    optimizer = find_optimizer(name)(layer.parameters(), lr=0.1)
    reference = CLASSES[name](layer.parameters(), lr=0.1)
    assert type(optimizer) is CLASSES[name]
    ignored = ("fused", "foreach")
    ours, theirs = (
        {key: value for key, value in each.defaults.items() if key not in ignored}
        for each in (optimizer, reference)
    )
    assert ours == theirs


@pytest.mark.parametrize("given", [torch.optim.NAdam, partial(torch.optim.SGD, momentum=0.9)])
def test_what_makes_an_optimizer_is_taken_as_given(given):
    assert find_optimizer(given) is given


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_named_optimizer_trains_like_torchs_class(name):
    X, y = make_data()
    net = MultiOutputNet(MLP((8,)), optimizer=name, max_epochs=5, random_state=0)
    named = net.fit(X, y).predict_proba(X)["kind"]
    of_class = net.set_params(optimizer=CLASSES[name]).fit(X, y).predict_proba(X)["kind"]
    np.testing.assert_allclose(named, of_class, rtol=1e-10)
    assert net.history_[-1]["loss"] < net.history_[0]["loss"]


@pytest.mark.parametrize("optimizer", [None, 3])
def test_what_makes_no_optimizer_is_refused(optimizer):
    with pytest.raises(ValueError, match="'optimizer' parameter of MultiOutputNet must be"):
        MultiOutputNet(optimizer=optimizer).fit(*make_data())


def test_unknown_optimizer_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown optimizer 'adamx'.*did you mean 'adam"):
        MultiOutputNet(optimizer="adamx").fit(*make_data())


def test_every_parameter_is_in_the_optimizer_once():
    net = MultiOutputNet(MLP((8,)), max_epochs=1, random_state=0).fit(*make_data())
    (group,) = net.net_.optimizer_.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in net.module_.parameters()]
