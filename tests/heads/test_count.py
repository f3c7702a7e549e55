import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import d2_tweedie_score, mean_poisson_deviance

from mtlearn import MultiOutputNet, MultiOutputNetRegressor
from mtlearn.heads import Count
from mtlearn.trunks import MLP

N = 400
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
RATES = np.exp(0.7 * X[:, 0] - 0.3 * X[:, 1])
COUNTS = RNG.poisson(RATES)


def fit(y, weight=None, *, normalize=True, more_to_come=False):
    y = np.asarray(y)
    weight = np.ones(y.shape) if weight is None else weight
    return Count().fit(y, weight, normalize=normalize, more_to_come=more_to_come)


def to_the_optimum(y, sample_weight=None, **params):
    """Fit a linear model, by full batches with a rate that falls to 0."""
    settings = {
        "alpha": 0.0,
        "batch_size": N,
        "max_epochs": 500,
        "learning_rate": 0.1,
        "learning_rate_schedule": "cosine",
        "random_state": 0,
    }
    net = MultiOutputNet(MLP(()), {"y": Count()}, **(settings | params))
    return net.fit(X, {"y": y}, sample_weight)


@pytest.mark.parametrize("factor", [1, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_is_the_poisson_regression_of_scikit_learn(factor, weighted):
    y = RNG.poisson(factor * RATES)
    weight = RNG.uniform(0.2, 2, N) if weighted else np.ones(N)
    reference = PoissonRegressor(alpha=0, tol=1e-10, max_iter=10_000).fit(X, y, weight)
    predicted = to_the_optimum(y, weight).predict(X)["y"]
    np.testing.assert_allclose(predicted, reference.predict(X), rtol=1e-4)


def test_without_normalisation_the_optimum_is_the_same():
    reference = PoissonRegressor(alpha=0, tol=1e-10, max_iter=10_000).fit(X, COUNTS)
    net = to_the_optimum(COUNTS, normalize_losses=False)
    np.testing.assert_allclose(net.predict(X)["y"], reference.predict(X), rtol=1e-4)
    half = mean_poisson_deviance(COUNTS, reference.predict(X)) / 2
    np.testing.assert_allclose(net.history_[-1]["y_loss"], half, rtol=1e-6)


def test_rates_by_exposure_are_a_model_with_an_offset():
    exposure = RNG.uniform(0.5, 20, N)
    counts = RNG.poisson(RATES * exposure)
    predicted = to_the_optimum(counts / exposure, exposure).predict(X)["y"]
    features = np.column_stack([np.ones(N), X])
    coef = np.zeros(4)
    for _ in range(50):  # Newton's method on counts, with the logarithm of the exposure as offset
        rates = exposure * np.exp(features @ coef)
        hessian = features.T @ (features * rates[:, None])
        coef += np.linalg.solve(hessian, features.T @ (counts - rates))
    np.testing.assert_allclose(predicted, np.exp(features @ coef), rtol=1e-4)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_loss_is_half_the_deviance(normalize):
    y = np.array([0.0, 1.0, 3.0, 250.0, 0.5])
    head = fit(y, normalize=normalize)
    raw = np.array([0.3, -2.0, 1.0, 0.1, 4.0])
    target, _ = head.encode(y, np.ones(5))
    losses = head.build_loss().double()(torch.tensor(raw), torch.tensor(target)).numpy()
    expected = [mean_poisson_deviance([y[i]], head.decode(raw)[[i]]) / 2 for i in range(5)]
    unit = mean_poisson_deviance(y, np.full(5, y.mean())) / 2 if normalize else 1.0
    np.testing.assert_allclose(losses, np.array(expected) / unit, rtol=1e-9)


def test_the_loss_keeps_its_digits_for_large_counts():
    y = RNG.poisson(1e6, N).astype(float)
    head = fit(y)
    raw = np.log(y * (1 + 1e-4 * RNG.normal(size=N)) / head.unit_) / head.spread_
    target, _ = head.encode(y, np.ones(N))
    single, double = (
        head.build_loss().to(dtype)(torch.tensor(raw, dtype=dtype), torch.tensor(target).to(dtype))
        for dtype in (torch.float32, torch.float64)
    )
    assert bool((single >= 0).all())
    np.testing.assert_allclose(single.mean().item(), double.mean().item(), rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("raw", [-1e4, -1e3, -80.0, 0.0, 29.0, 31.0, 80.0, 1e3, 1e4])
@pytest.mark.parametrize("y", [COUNTS, RNG.poisson(1000, N)])
def test_nothing_overflows(y, raw, dtype):
    head = fit(y)
    target, _ = head.encode(y, np.ones(N))
    raws = torch.full((N,), raw, dtype=dtype, requires_grad=True)
    losses = head.build_loss().to(dtype)(raws, torch.tensor(target, dtype=dtype))
    losses.sum().backward()
    assert bool(losses.isfinite().all())
    assert bool(raws.grad.isfinite().all())
    predicted = head.decode(raws.detach().numpy())
    assert (predicted > 0).all()
    assert np.isfinite(predicted).all()


def test_the_loss_rises_on_as_a_line():
    head = fit(COUNTS)
    raw = torch.tensor([30.0, 31.0, 32.0, 1032.0], dtype=torch.float64) / head.spread_[0]
    losses = head.build_loss().double()(raw, torch.ones(4, dtype=torch.float64)).numpy()
    steps = np.diff(losses) / [1, 1, 1000]
    np.testing.assert_allclose(steps, np.exp(30.0) / head.deviance_[0])


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_the_baseline_is_one_whatever_the_size_of_counts(factor):
    weight = RNG.uniform(0.2, 2, N)
    y = COUNTS * factor
    head = fit(y, weight)
    assert head.baseline_ == head.constant_loss_ == 1.0
    mean = np.average(y, weights=weight)
    np.testing.assert_allclose(head.decode(head.constant_raw_[None]), [mean])
    half = mean_poisson_deviance(y, np.full(N, mean), sample_weight=weight) / 2
    np.testing.assert_allclose(head.deviance_ * head.unit_, half)


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_unit_of_the_target_changes_nothing_else(unit):
    one, other = (
        MultiOutputNet(heads={"y": Count()}, random_state=0, max_epochs=3).fit(
            X, {"y": COUNTS * factor, "other": X[:, 0]}
        )
        for factor in (1.0, unit)
    )
    np.testing.assert_allclose(other.predict(X)["other"], one.predict(X)["other"], rtol=1e-6)
    np.testing.assert_allclose(other.predict(X)["y"], one.predict(X)["y"] * unit, rtol=1e-6)


def test_columns_are_learned_as_if_each_were_alone():
    y = np.column_stack([COUNTS, RNG.poisson(500, N)]).astype(float)
    weight = RNG.uniform(0.2, 2, (N, 2)) * (RNG.random((N, 2)) < 0.8)
    both = fit(y, weight)
    target, _ = both.encode(y, weight)
    raw = RNG.normal(size=(N, 2))
    losses = both.build_loss()(torch.tensor(raw), torch.tensor(target)).numpy()
    for j in range(2):
        one = fit(y[:, j], weight[:, j])
        alone, _ = one.encode(y[:, j], weight[:, j])
        np.testing.assert_allclose(target[:, j], alone)
        expected = one.build_loss()(torch.tensor(raw[:, j]), torch.tensor(alone)).numpy()
        np.testing.assert_allclose(losses[:, j], expected)
        np.testing.assert_allclose(both.decode(raw)[:, j], one.decode(raw[:, j]))
    assert both.raw_shape_ == (2,)


@pytest.mark.parametrize("value", [0, 3, 0.1])
def test_a_constant_target_is_predicted_exactly(value):
    y = {"y": np.full(N, value), "other": X[:, 0]}
    net = MultiOutputNet(heads={"y": Count()}, random_state=0, max_epochs=2).fit(X, y)
    assert net.heads_["y"].is_constant_
    assert (net.predict(X)["y"] == value).all()
    assert net.scores(X, y)["y"] == 1.0


def test_a_constant_column_takes_no_part():
    y = np.column_stack([COUNTS, np.zeros(N), np.full(N, 7)])
    head = fit(y)
    assert not head.is_constant_
    assert head.varies_.tolist() == [True, False, False]
    _, weight = head.encode(y, np.ones(y.shape))
    np.testing.assert_array_equal(weight, [[1.0, 0.0, 0.0]] * N)
    np.testing.assert_array_equal(head.decode(RNG.normal(size=(4, 3)))[:, 1:], [[0, 7]] * 4)
    assert head.baseline_ == 1.0


@pytest.mark.parametrize("first", [0, 5])
def test_a_stream_may_begin_with_labels_that_are_all_alike(first):
    net = MultiOutputNet(heads={"y": Count()}, learning_rate=0.01, random_state=0)
    net.partial_fit(X[:50], {"y": np.full(50, first)})
    assert not net.heads_["y"].is_constant_
    for _ in range(40):
        net.partial_fit(X, {"y": COUNTS})
    assert net.scores(X, {"y": COUNTS})["y"] > 0.2


def test_the_score_is_d2_of_the_deviance():
    weight = RNG.uniform(0.2, 2, N) * (RNG.random(N) < 0.8)
    head, predicted = fit(COUNTS), RATES * RNG.uniform(0.5, 2, N)
    expected = d2_tweedie_score(COUNTS, predicted, sample_weight=weight, power=1)
    np.testing.assert_allclose(head.score(COUNTS, predicted, weight), expected)
    spoilt = np.where(weight > 0, COUNTS, np.nan)
    np.testing.assert_allclose(head.score(spoilt, predicted, weight), expected)


def test_the_score_of_several_columns_is_their_mean():
    y, predicted = RNG.poisson([1, 9], (N, 2)), RNG.uniform(1, 9, (N, 2))
    each = [d2_tweedie_score(y[:, j], predicted[:, j], power=1) for j in range(2)]
    np.testing.assert_allclose(fit(y).score(y, predicted, np.ones(y.shape)), np.mean(each))


def test_a_rate_of_zero_for_counts_has_a_finite_score():
    head = fit(np.zeros(5))
    score = head.score(np.array([0, 0, 3]), np.zeros(3), np.ones(3))
    assert np.isfinite(score)
    assert score < 0


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (
            [1, -2, -3],
            r"Count needs numbers of at least 0. Got 2 negative labels, such as -3",
        ),
        (["a", "b"], "Count needs numbers. Got values of type"),
        ([1.0, np.inf], "Count needs finite numbers. Got infinity in 1 labels"),
    ],
)
def test_wrong_labels_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        fit(y)
    labels = np.asarray(y)
    with pytest.raises(ValueError, match=match):
        fit(COUNTS).encode(labels, np.ones(labels.shape))


def test_missing_labels_may_be_of_any_kind():
    y = COUNTS.astype(object)
    y[:3] = None
    net = MultiOutputNet(heads={"y": Count()}, missing_targets="ignore", max_epochs=3)
    assert (net.fit(X, {"y": y}).predict(X)["y"] > 0).all()


def test_the_regressor_takes_it():
    net = MultiOutputNetRegressor(heads={"y": Count()}, max_epochs=60, random_state=0)
    net.fit(X, COUNTS)
    expected = d2_tweedie_score(COUNTS, net.predict(X), power=1)
    np.testing.assert_allclose(net.score(X, COUNTS), expected)
    assert expected > 0.3


@pytest.mark.parametrize("params", [{"hidden_layer_sizes": 3}, {"at": 3}, {"target": 3}], ids=str)
def test_bad_parameters_are_refused_by_name(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        Count(**params).check_params()


def test_good_parameters_pass_and_survive_a_clone():
    head = Count(hidden_layer_sizes=[3], at="a", target="b")
    head.check_params()
    assert repr(clone(head)) == repr(head)
