import numpy as np
import pytest
import torch
from torch import nn

from mtlearn._engine._label_terms import label_terms

RNG = np.random.default_rng(0)
RAW = 3 * RNG.normal(size=(50, 4))
CASES = {
    "logistic": (nn.BCEWithLogitsLoss(reduction="none"), RAW[:, 0], RNG.integers(0, 2, 50) * 1.0),
    "smoothed": (nn.BCEWithLogitsLoss(reduction="none"), RAW[:, 0], np.full(50, 0.05)),
    "multilabel": (
        nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor([1.0, 2.0, 0.5, 9.0])),
        RAW,
        RNG.integers(0, 2, (50, 4)) * 1.0,
    ),
    "classes": (nn.CrossEntropyLoss(reduction="none"), RAW, RNG.integers(0, 4, 50)),
    "smoothed classes": (
        nn.CrossEntropyLoss(reduction="none", label_smoothing=0.2),
        RAW,
        RNG.integers(0, 4, 50),
    ),
    "number": (nn.MSELoss(reduction="none"), RAW[:, 0], RNG.normal(size=50)),
    "huber": (nn.HuberLoss(reduction="none"), RAW[:, 0], RNG.normal(size=50)),
    "poisson": (nn.PoissonNLLLoss(reduction="none"), RAW[:, 0], RNG.poisson(2.0, 50) * 1.0),
    "absolute": (nn.L1Loss(reduction="none"), RAW[:, 0], RNG.normal(size=50)),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_slopes_are_those_of_autograd(name):
    loss, raw, target = CASES[name]
    leaf = torch.tensor(raw, requires_grad=True)
    expected = loss.double()(leaf, torch.tensor(target))
    (slopes,) = torch.autograd.grad(expected.sum(), leaf)
    found = label_terms(loss)(raw, target)
    np.testing.assert_allclose(found[0], expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found[1], slopes.numpy(), rtol=1e-8, atol=1e-10)
    assert found[2].shape == raw.shape
    assert (found[2] >= 1e-4).all()


def test_of_absolute_values_the_curvature_is_the_square_of_the_slope():
    loss, raw, target = CASES["absolute"]
    _, slopes, curvatures = label_terms(loss)(raw, target)
    np.testing.assert_array_equal(curvatures, slopes**2)


@pytest.mark.parametrize("name", ["logistic", "multilabel", "classes", "number", "poisson"])
def test_curvatures_are_second_derivatives_where_no_label_surprises(name):
    loss, raw, target = CASES[name]
    leaf = torch.tensor(raw, requires_grad=True)
    total = loss.double()(leaf, torch.tensor(target)).sum()
    (slopes,) = torch.autograd.grad(total, leaf, create_graph=True)
    second = np.empty_like(raw)
    for place in np.ndindex(raw.shape):
        (row,) = torch.autograd.grad(slopes[place], leaf, retain_graph=True)
        second[place] = row[place].item()
    found = label_terms(loss)(raw, target)[2]
    usual = np.abs(slopes.detach().numpy()) / 4 <= np.maximum(second, 1e-4)
    if name == "number":
        usual[:] = True
    assert usual.mean() > 0.3
    np.testing.assert_allclose(found[usual], np.maximum(second, 1e-4)[usual], rtol=1e-7)
    assert (found >= second - 1e-9).all()


def test_no_step_changes_the_log_odds_by_more_than_four():
    terms = label_terms(nn.BCEWithLogitsLoss(reduction="none"))
    _, slope, curvature = terms(np.array([-30.0]), np.array([1.0]))
    for variance in (1.0, 100.0, 1e6):
        step = -slope * variance / (1 + curvature * variance)
        assert 0 < step <= 4
