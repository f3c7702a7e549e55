"""The forward pass gives every output's raw values, in parts where there are many rows."""

import numpy as np
import pytest
import torch

from mtlearn._engine import _predict
from mtlearn._engine._module import build_module
from mtlearn._engine._predict import raw_outputs
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 25
X = np.random.default_rng(0).normal(size=(N, 3))


def make_heads():
    ones = np.ones(N)
    return {
        "number": Regression().fit(X[:, 0], ones, normalize=True),
        "kind": Classification().fit(np.arange(N) % 3, ones, normalize=True),
        "flag": Classification().fit(np.arange(N) % 5 == 0, ones, normalize=True),
    }


def make_module(heads, dtype=torch.float64):
    return build_module(MLP((4,)), heads, 3, 0, dtype).eval()


def test_raw_values_are_the_networks():
    heads = make_heads()
    module = make_module(heads)
    raw = raw_outputs(module, heads, X, torch.float64)
    with torch.no_grad():
        expected = module(torch.tensor(X))
    assert set(raw) == set(heads)
    for name, values in expected.items():
        np.testing.assert_array_equal(raw[name], values.numpy())


@pytest.mark.parametrize("rows_at_once", [1, 7, N])
def test_many_rows_in_parts_are_as_in_one(monkeypatch, rows_at_once):
    heads = make_heads()
    module = make_module(heads)
    whole = raw_outputs(module, heads, X, torch.float64)
    monkeypatch.setattr(_predict, "ROWS_AT_ONCE", rows_at_once)
    for name, values in raw_outputs(module, heads, X, torch.float64).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-13)


def test_output_without_a_head_in_the_network_has_its_best_constant():
    heads = make_heads()
    module = make_module({"number": heads["number"]})
    raw = raw_outputs(module, heads, X, torch.float64)
    assert raw["kind"].shape == (N, 3)
    np.testing.assert_array_equal(raw["kind"], np.tile(heads["kind"].constant_raw_, (N, 1)))
    np.testing.assert_array_equal(raw["flag"], np.full(N, heads["flag"].constant_raw_))


def test_no_head_at_all_gives_constants_that_can_be_written():
    heads = make_heads()
    raw = raw_outputs(make_module({}), heads, X, torch.float64)
    raw["kind"][0] = 7.0
    assert raw["kind"][1, 0] == heads["kind"].constant_raw_[0]


def test_raw_values_are_in_the_networks_type():
    heads = {"number": make_heads()["number"]}
    raw = raw_outputs(make_module(heads, torch.float32), heads, X, torch.float32)
    assert raw["number"].dtype == np.float32


def test_rows_are_left_as_they_are():
    heads = make_heads()
    rows = X.copy()
    rows.flags.writeable = False
    raw_outputs(make_module(heads), heads, rows, torch.float64)
    np.testing.assert_array_equal(rows, X)
