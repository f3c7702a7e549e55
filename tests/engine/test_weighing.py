"""Weightings at work: in steps by formula and by autograd, in streams, searches and members."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.heads import Regression
from mtlearn.model_selection import StackedGridSearchCV
from mtlearn.trunks import MLP, PLE
from mtlearn.weighting import DWA, Linear, Weigher, Weighting
from mtlearn.weighting._find import NAMES as NAMES_OF_WEIGHTINGS

RNG = np.random.default_rng(0)
N = 83
X = RNG.normal(size=(N, 4))
Y = Targets(
    {
        "price": X[:, 0] * X[:, 1],
        "kind": np.where(X[:, 2] > 0, "a", "b"),
        "size": X[:, 0] + X[:, 3] ** 2,
    }
)
NAMES = sorted(Y)


class Told(Weigher):
    """Factors of a list, and what was told."""

    def __init__(self, n_outputs, fixed):
        super().__init__(n_outputs)
        self.fixed, self.steps, self.after, self.epochs = fixed, [], [], []

    def factors(self, losses, products):
        self.steps.append((losses, products))
        return np.array(self.fixed) * (1 + losses if self.fixed[0] > 5 else 1.0)

    def end_step(self, losses, after):
        self.after.append((losses, after()))

    def end_epoch(self, losses):
        self.epochs.append(losses)


class Fixed(Weighting):
    """Factors that are given."""

    def __init__(self, factors=(1.0, 1.0, 1.0), after=False):
        self.factors = factors
        self.after = after

    @property
    def sees_step_results(self):
        return self.after

    def begin(self, weights, main, seed):
        return Told(len(weights), self.factors)


class OfGradients(Fixed):
    sees_gradients = True


def make(weighting=None, **params):
    settings = {"trunk": MLP((8, 6)), "batch_size": 20, "max_epochs": 5, "random_state": 0}
    return MultiOutputNet(weighting=weighting, **settings | params)


def assert_close(net, other, atol=1e-10):
    ours, theirs = net.predict(X), other.predict(X)
    for name in ("price", "size"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=atol)


@pytest.mark.parametrize("fast_step", [False, True])
def test_factors_that_stay_are_weights(fast_step):
    factors = dict(zip(NAMES, [0.5, 2.0, 0.25], strict=True))
    net = make(Fixed(list(factors.values())), fast_step=fast_step).fit(X, Y)
    assert_close(net, make(loss_weights=factors, fast_step=fast_step).fit(X, Y))
    for name, factor in factors.items():
        assert net.history_[-1][f"{name}_weight"] == pytest.approx(factor)


def test_factors_multiply_the_weights_of_the_losses():
    given = {"price": 0.5, "kind": 3.0}
    net = make(Fixed([2.0, 1.0, 0.5]), loss_weights=given).fit(X, Y)
    assert_close(net, make(loss_weights={"kind": 6.0, "price": 0.5, "size": 0.5}).fit(X, Y))


@pytest.mark.parametrize("kind", [Fixed, OfGradients])
@pytest.mark.parametrize("trunk", [MLP((8, 6)), MLP((8,), dropout=0.4), PLE(MLP((4,)))])
def test_steps_by_formula_are_those_by_autograd(kind, trunk):
    params = {"trunk": trunk, "alpha": 0.01, "loss_weights": {"kind": 0.3}}
    fast = make(kind([6.0, 7.0, 8.0]), **params).fit(X, Y)
    eager = make(kind([6.0, 7.0, 8.0]), fast_step=False, **params).fit(X, Y)
    assert fast.fast_step_ != (kind is OfGradients and isinstance(trunk, PLE))
    assert_close(fast, eager)
    for ours, theirs in zip(fast.history_, eager.history_, strict=True):
        assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("fast_step", [False, True])
def test_gradients_that_are_combined_with_ones_are_the_sum(fast_step):
    net = make(OfGradients(), fast_step=fast_step, alpha=0.01).fit(X, Y)
    assert_close(net, make(fast_step=fast_step, alpha=0.01).fit(X, Y))


class Lower(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.low, self.high = nn.Linear(n_features, 6), nn.Linear(6, 4)

    def forward(self, x):
        low = self.low(x).tanh()
        return {"low": low, "high": self.high(low).relu()}


@pytest.mark.parametrize("fast_step", [False, "auto"])
def test_only_what_outputs_share_is_weighed_by_gradients(fast_step):
    y = {"a": X[:, 0], "b": X[:, 1]}
    heads = {"a": Regression(at="low"), "b": Regression(at="high")}
    params = {"heads": heads, "trunk": Lower, "alpha": 0, "batch_size": N, "max_epochs": 1}
    params |= {"optimizer": "sgd", "optimizer_params": {"momentum": 0.0}, "learning_rate": 0.1}
    net = make(OfGradients([0.0, 2.0]), fast_step=fast_step, **params).fit(X, y)
    plain = make(fast_step=fast_step, **params).fit(X, y)
    alone = make(fast_step=fast_step, loss_weights={"a": 0.0, "b": 2.0}, **params).fit(X, y)
    ours, sums = dict(net.module_.named_parameters()), dict(plain.module_.named_parameters())
    for name, value in ours.items():
        if "low" in name:  # shared: 0 times the one and twice the other
            own = dict(alone.module_.named_parameters())[name]
            torch.testing.assert_close(value, own)
        else:
            torch.testing.assert_close(value, sums[name])


def weigher_of(net):
    return net.net_.weighing.weigher


def trunk_after_a_step(rate, **params):
    """Return the trunk after a step of gradient descent on all rows."""
    descent = {"optimizer": "sgd", "optimizer_params": {"momentum": 0.0, "nesterov": False}}
    net = make(batch_size=N, alpha=0, learning_rate=rate, **descent, **params).partial_fit(X, Y)
    parameters = [p.detach().flatten() for p in net.module_.trunk.parameters()]
    return net, torch.cat(parameters).numpy()


@pytest.mark.parametrize("fast_step", [False, True])
def test_products_are_those_of_the_gradients_of_weighted_losses(fast_step):
    weights = {"kind": 2.0, "price": 0.5, "size": 1.0}
    gradients = []
    for name in NAMES:
        alone = {other: weights[other] if other == name else 0 for other in NAMES}
        _, start = trunk_after_a_step(1e-30, loss_weights=alone)
        gradients.append(start - trunk_after_a_step(1.0, loss_weights=alone)[1])
    net, _ = trunk_after_a_step(
        1.0, loss_weights=weights, weighting=OfGradients(), fast_step=fast_step
    )
    ((losses, products),) = weigher_of(net).steps
    expected = np.array(gradients) @ np.array(gradients).T
    np.testing.assert_allclose(products, expected, rtol=1e-6, atol=1e-10)
    row = net.history_[0]
    np.testing.assert_allclose(losses, [row[f"{name}_loss"] for name in NAMES], rtol=1e-10)


@pytest.mark.parametrize("fast_step", [False, True])
def test_a_weighting_is_told_of_steps_and_epochs(fast_step):
    net = make(Fixed(after=True), fast_step=fast_step, batch_size=N)
    told = weigher_of(net.partial_fit(X, Y).partial_fit(X, Y))
    assert len(told.steps) == len(told.after) == len(told.epochs) == 2
    (before, after), (next_before, _) = told.after
    np.testing.assert_allclose(after, next_before, rtol=1e-10)  # the same rows, after the step
    np.testing.assert_allclose(told.epochs[0], before, rtol=1e-10)
    assert (after < before).all()


@pytest.mark.parametrize("fast_step", [False, True])
def test_weights_that_change_in_an_epoch_are_averaged_by_what_they_weighed(fast_step):
    net = make(Fixed([6.0, 1.0, 1.0]), fast_step=fast_step)  # 6 (1 + loss) for the first
    told = weigher_of(net.partial_fit(X, Y))
    losses = np.array([of_step for of_step, _ in told.steps])
    sizes = np.array([20, 20, 20, 20, 3]) / N
    weights = np.array([6.0, 1.0, 1.0]) * (1 + losses)
    expected = (sizes @ (weights * losses)) / (sizes @ losses)
    row = net.history_[0]
    np.testing.assert_allclose([row[f"{name}_weight"] for name in NAMES], expected, rtol=1e-10)
    total = sum(row[f"{name}_weight"] * row[f"{name}_loss"] for name in NAMES) + row["penalty"]
    assert row["loss"] == pytest.approx(total)


def test_epochs_are_compared_at_fixed_weights():
    rows = {"X_val": X[:30], "y_val": Y[:30]}
    net = make(Fixed([100.0, 1.0, 1.0]), max_epochs=30, early_stopping=True).fit(X, Y, **rows)
    totals = [
        sum(row[f"val_{name}_loss"] for name in NAMES) + row["val_penalty"] for row in net.history_
    ]
    assert net.best_epoch_ == 1 + int(np.argmin(totals))
    np.testing.assert_allclose([row["val_loss"] for row in net.history_], totals)


def test_a_search_over_weightings_finds_what_single_fits_give():
    grid = {"weighting": [None, "uncertainty", "dwa", "pcgrad", DWA(temperature=0.5)]}
    for search in (GridSearchCV, StackedGridSearchCV):
        found = search(make(), grid, cv=3).fit(X, Y)
        scores = found.cv_results_["mean_test_score"]
        assert len({round(score, 12) for score in scores}) == len(scores)
        best = make(found.best_params_["weighting"]).fit(X, Y)
        assert best.predict(X) == found.best_estimator_.predict(X)


def test_parameters_of_a_weighting_have_nested_names():
    net = make(DWA()).set_params(weighting__temperature=3.0)
    assert net.get_params()["weighting__temperature"] == 3.0
    assert clone(net).weighting.temperature == 3.0


def test_a_stream_begins_anew_with_another_weighting():
    net = make(DWA()).partial_fit(X, Y).partial_fit(X, Y)
    assert len(weigher_of(net).last) == 2
    assert len(weigher_of(net.set_params(weighting__temperature=1.0).partial_fit(X, Y)).last) == 1


def test_members_have_weightings_of_their_own():
    net = make("uncertainty", n_members=2).fit(X, Y)
    single = net.members_[0].history_[-1]["price_weight"]
    assert single != net.members_[1].history_[-1]["price_weight"]


def test_the_output_of_a_regressor_is_the_main_one():
    y, aux = X[:, 0] * X[:, 1], Targets({"size": X[:, 0]})
    net = MultiOutputNetRegressor(weighting="gradcosine", max_epochs=3, random_state=0)
    assert net.fit(X, y, aux=aux).partial_fit(X, y, aux=aux).history_[-1]["y_weight"] == 1


OF_GRADIENTS = [name for name, kind in NAMES_OF_WEIGHTINGS.items() if kind.sees_gradients]
each_of_gradients = pytest.mark.parametrize("weighting", OF_GRADIENTS)
both_steps = pytest.mark.parametrize("fast_step", [False, True])


def assert_the_same(net, other, rows=Y):
    """Require the same network and history, bit for bit."""
    for fitted in (net, other):
        fitted.set_params(main_output="price").fit(X, rows)
    pairs = zip(net.module_.parameters(), other.module_.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert net.history_ == other.history_


@both_steps
@each_of_gradients
def test_the_gradients_of_a_lone_output_train_the_plain_net(weighting, fast_step):
    nets = [make(strategy, fast_step=fast_step) for strategy in (weighting, None)]
    with pytest.warns(UserWarning, match="^MultiOutputNet: `weighting` has no other .* 'price'"):
        assert_the_same(*nets, rows=Y[["price"]])


def test_the_control_of_a_search_over_weights_is_no_lone_output():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("uncertainty", loss_weights={"kind": 0, "size": 0}).fit(X, Y)
        make(None).fit(X, Y[["price"]])


@both_steps
@each_of_gradients
@pytest.mark.parametrize("zero", [0, Linear(0.0)], ids=["constant", "schedule"])
def test_gradients_of_which_one_alone_has_a_weight_train_the_plain_net(weighting, fast_step, zero):
    params = {"loss_weights": {"kind": zero, "size": zero}, "fast_step": fast_step}
    assert_the_same(make(weighting, **params), make(**params))


@both_steps
@each_of_gradients
@pytest.mark.parametrize(
    "params",
    [{"param_groups": {"trunk": {"lr": 0}}}, {"trunk": MLP(())}],
    ids=["frozen trunk", "no trunk"],
)
def test_gradients_without_anything_shared_that_learns_train_the_plain_net(
    weighting, fast_step, params
):
    params = params | {"fast_step": fast_step}
    net = make(weighting, **params)
    assert_the_same(net, make(**params))
    weights = [row[f"{name}_weight"] for row in net.history_ for name in Y]
    assert set(weights) == {1.0}


@both_steps
def test_a_trunk_that_thaws_is_weighed_by_gradients_again(fast_step):
    params = {"warm_start": True, "max_epochs": 2, "fast_step": fast_step}
    frozen = {"param_groups": {"trunk": {"lr": 0}}}
    nets = [make(strategy, **params) for strategy in ("mgda", None)]
    for net in nets:
        net.set_params(**frozen).fit(X, Y)
    assert nets[0].predict(X) == nets[1].predict(X)
    for net in nets:
        net.set_params(param_groups=None).fit(X, Y)
    assert nets[0].predict(X) != nets[1].predict(X)
    assert nets[0].history_[-1]["size_weight"] != 1


@pytest.mark.parametrize(
    ("weighting", "error", "match"),
    [
        ("uncertainy", ValueError, "`weighting` names the unknown .*did you mean 'uncertainty'"),
        (DWA, ValueError, r"must be an instance, not the class DWA; write DWA\("),
        (3.0, TypeError, "`weighting` must be None, one of .* Got 3.0"),
        (DWA(temperature=-1), ValueError, "'temperature' parameter of DWA"),
        ("gradcosine", ValueError, "main output"),
    ],
)
def test_a_bad_weighting_is_refused(weighting, error, match):
    with pytest.raises(error, match=match):
        make(weighting).fit(X, Y)
