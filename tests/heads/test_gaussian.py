import pickle

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, OutputView
from mtlearn.heads import Gaussian, Regression
from mtlearn.trunks import MLP

N = 400
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = 50 + 4 * (X[:, 0] - 0.5 * X[:, 1] + RNG.normal(size=N))
NLL = 0.5 * np.log(2 * np.pi * np.e)


def fit(y, weight=None, *, normalize=True, more_to_come=False, **params):
    y = np.asarray(y)
    weight = np.ones(len(y)) if weight is None else weight
    return Gaussian(**params).fit(y, weight, normalize=normalize, more_to_come=more_to_come)


class OnlyTheMean(Gaussian):
    """A linear model whose standard deviation is the same for all rows."""

    def build(self, n_features):
        return MeanAndConstant(n_features)


class MeanAndConstant(torch.nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.mean = torch.nn.Linear(n_features, 1)
        self.spread = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.cat([self.mean(x), self.spread.expand(len(x), 1)], 1)


@pytest.mark.parametrize("weighted", [False, True])
def test_with_one_spread_a_linear_model_is_that_of_least_squares(weighted):
    weight = RNG.uniform(0.2, 2, N) if weighted else np.ones(N)
    net = MultiOutputNet(
        MLP(()),
        {"y": OnlyTheMean()},
        alpha=0.0,
        batch_size=N,
        max_epochs=500,
        learning_rate=0.1,
        learning_rate_schedule="cosine",
        random_state=0,
    ).fit(X, {"y": Y}, weight)
    expected = LinearRegression().fit(X, Y, weight).predict(X)
    np.testing.assert_allclose(net.predict(X)["y"], expected, atol=1e-3)
    spread = np.sqrt(np.average((Y - expected) ** 2, weights=weight))
    np.testing.assert_allclose(net.predict_std(X)["y"], spread, rtol=1e-3)


def test_the_spread_of_rows_is_recovered():
    rng = np.random.default_rng(1)
    rows = rng.uniform(-1, 1, size=(4000, 1))
    spread = np.exp(rows[:, 0])
    y = 10 + 3 * rows[:, 0] + spread * rng.normal(size=4000)
    net = MultiOutputNet(
        heads={"y": Gaussian()},
        alpha=0.0,
        max_epochs=40,
        learning_rate=0.005,
        learning_rate_schedule="cosine",
        random_state=0,
    ).fit(rows, {"y": y})
    inside = np.abs(rows[:, 0]) < 0.9
    np.testing.assert_allclose(net.predict_std(rows)["y"][inside], spread[inside], rtol=0.2)
    np.testing.assert_allclose(net.predict(rows)["y"], 10 + 3 * rows[:, 0], atol=0.5)
    standardised = (y - net.predict(rows)["y"]) / net.predict_std(rows)["y"]
    np.testing.assert_allclose(standardised.std(), 1, atol=0.05)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_loss_is_the_negative_log_density(normalize):
    head = fit(Y, normalize=normalize)
    raw = RNG.normal(size=(N, 2))
    target, _ = head.encode(Y, np.ones(N))
    losses = head.build_loss()(torch.tensor(raw), torch.tensor(target)).numpy()
    density = norm.logpdf(Y, head.decode(raw), head.decode_std(raw))
    np.testing.assert_allclose(losses, -density - np.log(head.scale_))


def test_the_baseline_is_the_entropy_of_a_normal_distribution():
    weight = RNG.uniform(0.2, 2, N)
    head = fit(Y, weight)
    assert head.baseline_ == pytest.approx(NLL)
    assert head.constant_loss_ == pytest.approx(1.0)
    mean = np.average(Y, weights=weight)
    spread = np.sqrt(np.average((Y - mean) ** 2, weights=weight))
    np.testing.assert_allclose(head.decode(head.constant_raw_[None]), [mean])
    np.testing.assert_allclose(head.decode_std(head.constant_raw_[None]), [spread])


def test_without_normalisation_the_labels_stay_as_they_are():
    head = fit(Y, normalize=False)
    assert (head.baseline_, head.center_, head.scale_) == (1.0, 0.0, 1.0)
    np.testing.assert_allclose(head.constant_loss_, NLL + np.log(Y.std()))
    np.testing.assert_allclose(head.decode(head.constant_raw_[None]), [Y.mean()])
    np.testing.assert_allclose(head.decode_std(head.constant_raw_[None]), [Y.std()])


def test_a_loss_below_zero_is_no_divergence_and_stops_at_its_best():
    rows = RNG.uniform(-1, 1, size=(600, 1))
    y = {"y": rows[:, 0] + 0.05 * RNG.normal(size=600)}
    net = MultiOutputNet(
        heads={"y": Gaussian()},
        alpha=0.0,
        learning_rate=0.003,
        early_stopping=True,
        n_iter_no_change=15,
        max_epochs=150,
        random_state=0,
    ).fit(rows, y)
    watched = [row["val_loss"] for row in net.history_]
    assert min(watched) < -0.3
    assert net.best_epoch_ == 1 + int(np.argmin(watched))
    assert net.scores(rows, y)["y"] > 0.99


def below_zero(raw, target):
    return 0 * (raw - target) - 10


def test_plateau_lowers_the_rate_of_a_loss_below_zero_that_stays():
    net = MultiOutputNet(
        heads={"y": Regression(below_zero)},
        normalize_losses=False,
        optimizer="sgd",
        learning_rate=0.1,
        alpha=0.0,
        learning_rate_schedule="plateau",
        max_epochs=13,
        shuffle=False,
        random_state=0,
    ).fit(X, {"y": X[:, 0]})
    losses, rates = ([row[name] for row in net.history_] for name in ("loss", "learning_rate"))
    assert max(losses) == min(losses) < -1
    np.testing.assert_allclose(rates, [0.1] * 7 + [0.02] * 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("min_std", [1e-6, 1e-3, 1.0, 2.0])
def test_the_spread_has_a_floor_and_nothing_overflows(min_std, dtype):
    head = fit(Y, min_std=min_std)
    raw = np.array([[m, s] for m in (-1e4, 0, 1e4) for s in (-1e4, -50, 0, 50, 1e4)])
    std = head.decode_std(raw)
    assert (std >= min_std * head.scale_ * (1 - 1e-12)).all()
    np.testing.assert_allclose(std[0], min_std * head.scale_)
    raws = torch.tensor(raw, dtype=dtype, requires_grad=True)
    losses = head.build_loss().to(dtype)(raws, torch.zeros(len(raw), dtype=dtype))
    losses.sum().backward()
    assert bool(losses.isfinite().all())
    assert bool(raws.grad.isfinite().all())
    assert np.isfinite(head.constant_raw_).all()


@pytest.mark.parametrize("unit", [1e-8, 1e8, 1e200])
def test_the_unit_of_the_target_changes_nothing_else(unit):
    one, other = (
        MultiOutputNet(heads={"y": Gaussian()}, random_state=0, max_epochs=3).fit(
            X, {"y": Y * factor, "other": X[:, 0]}
        )
        for factor in (1.0, unit)
    )
    np.testing.assert_allclose(other.predict(X)["other"], one.predict(X)["other"], rtol=1e-6)
    for method in ("predict", "predict_std"):
        found, expected = (getattr(net, method)(X)["y"] for net in (other, one))
        np.testing.assert_allclose(found, expected * unit, rtol=1e-6)


def test_a_constant_target_is_predicted_exactly_without_a_spread():
    y = {"y": np.full(N, 0.1), "other": X[:, 0]}
    net = MultiOutputNet(heads={"y": Gaussian()}, random_state=0, max_epochs=2).fit(X, y)
    assert net.heads_["y"].is_constant_
    assert (net.predict(X)["y"] == 0.1).all()
    assert (net.predict_std(X)["y"] == 0).all()


def test_an_output_of_weight_zero_has_the_spread_of_all_labels():
    y = {"y": Y, "other": X[:, 0]}
    net = MultiOutputNet(
        heads={"y": Gaussian()}, loss_weights={"y": 0}, random_state=0, max_epochs=2
    ).fit(X, y)
    np.testing.assert_allclose(net.predict_std(X)["y"], Y.std())


def test_a_stream_may_begin_with_labels_that_are_all_alike():
    net = MultiOutputNet(heads={"y": Gaussian()}, learning_rate=0.01, random_state=0)
    net.partial_fit(X[:50], {"y": np.full(50, 50.0)})
    for _ in range(60):
        net.partial_fit(X, {"y": Y})
    assert net.scores(X, {"y": Y})["y"] > 0.3
    np.testing.assert_allclose(np.median(net.predict_std(X)["y"]), 4, rtol=0.4)


# predict_std


def make():
    y = {"a": Y, "b": X[:, 2] ** 2, "kind": X[:, 0] > 0}
    heads = {"a": Gaussian(), "b": Gaussian()}
    return MultiOutputNet(heads=heads, random_state=0, max_epochs=3).fit(X, y)


def test_standard_deviations_are_those_of_outputs_that_have_one():
    net = make()
    found = net.predict_std(X)
    assert sorted(found) == ["a", "b"]
    assert type(found).__name__ == "Targets"
    raw = net.module_(torch.tensor(X))
    for name in found:
        expected = net.heads_[name].decode_std(raw[name].detach().numpy())
        np.testing.assert_allclose(found[name], expected)
        assert (found[name] > 0).all()
    only = net.predict_std(X, outputs=["b"])
    assert list(only) == ["b"]
    np.testing.assert_array_equal(only["b"], found["b"])
    again = pickle.loads(pickle.dumps(net))
    assert again.predict_std(X) == found


def test_an_estimator_without_a_spread_says_so():
    net = MultiOutputNet(random_state=0, max_epochs=2).fit(X, {"y": Y})
    with pytest.raises(AttributeError, match=r"no output has a standard deviation\. Give it"):
        net.predict_std(X)
    regressor = MultiOutputNetRegressor(random_state=0, max_epochs=2).fit(X, Y)
    with pytest.raises(AttributeError, match="MultiOutputNetRegressor: no output has a standard"):
        regressor.predict_std(X)
    with pytest.raises(ValueError, match="`outputs` names the unknown output 'c'"):
        make().predict_std(X, outputs=["c"])


def test_the_regressor_and_views_predict_an_array():
    net = MultiOutputNetRegressor(heads={"y": Gaussian()}, random_state=0, max_epochs=3)
    pipe = make_pipeline(StandardScaler(), net).fit(X, Y)
    expected = pipe[-1].predict_std(pipe[0].transform(X))
    assert expected.shape == (N,)
    view = OutputView(pipe, "y")
    np.testing.assert_array_equal(view.predict_std(X), expected)
    assert not view.__sklearn_tags__().target_tags.multi_output
    array = MultiOutputNet(heads={"y": Gaussian()}, random_state=0, max_epochs=3).fit(X, Y)
    assert array.predict_std(X).shape == (N,)


def test_a_view_has_the_method_only_if_its_output_does():
    net = make()
    assert hasattr(OutputView(net, "a"), "predict_std")
    assert not hasattr(OutputView(net, "kind"), "predict_std")


def test_the_spread_of_several_networks_has_that_of_their_means():
    net = MultiOutputNet(heads={"y": Gaussian()}, n_members=3, random_state=0, max_epochs=3)
    net.fit(X, {"y": Y})
    means = np.array([member.predict(X)["y"] for member in net.members_])
    spreads = np.array([member.predict_std(X)["y"] for member in net.members_])
    expected = np.sqrt((spreads**2).mean(axis=0) + means.var(axis=0))
    np.testing.assert_allclose(net.predict_std(X)["y"], expected)
    np.testing.assert_allclose(net.predict(X)["y"], means.mean(axis=0))


# Labels and parameters


def test_the_score_is_r2_of_the_means():
    weight = RNG.uniform(0.2, 2, N) * (RNG.random(N) < 0.8)
    predicted = Y + RNG.normal(size=N)
    expected = r2_score(Y, predicted, sample_weight=weight)
    np.testing.assert_allclose(fit(Y).score(Y, predicted, weight), expected)
    spoilt = np.where(weight > 0, Y, np.nan)
    np.testing.assert_allclose(fit(Y).score(spoilt, predicted, weight), expected)


def test_its_scale_is_that_of_regression():
    weight = RNG.uniform(0.2, 2, N)
    head, other = fit(Y, weight), Regression().fit(Y, weight, normalize=True)
    assert (head.center_, head.scale_) == (other.center_[0], other.scale_[0])
    np.testing.assert_array_equal(head.encode(Y, weight)[0], other.encode(Y, weight)[0])


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.ones((3, 2)), r"Gaussian needs one number per row. Got the shape \(3, 2\); use one"),
        (np.array(["a", "b", "c"]), "Gaussian needs numbers. Got values of type"),
        (np.array([1.0, np.inf, 2.0]), "Gaussian needs finite numbers. Got infinity in 1 labels"),
    ],
)
def test_wrong_labels_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        Gaussian().fit(y, np.ones(y.shape), normalize=True)


@pytest.mark.parametrize(
    "params", [{"min_std": 0}, {"min_std": -1.0}, {"min_std": "a"}, {"at": 3}], ids=str
)
def test_bad_parameters_are_refused_by_name(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        Gaussian(**params).check_params()


def test_good_parameters_pass_and_survive_a_clone():
    head = Gaussian(0.01, hidden_layer_sizes=[3], at="a", target="b")
    head.check_params()
    assert repr(clone(head)) == repr(head)
