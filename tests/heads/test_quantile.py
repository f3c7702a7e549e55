import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import d2_pinball_score, mean_pinball_loss

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, OutputView
from mtlearn.heads import Quantile
from mtlearn.trunks import MLP

N = 400
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = 20 + 5 * (X[:, 0] - 0.5 * X[:, 1] + RNG.normal(size=N))
SEVERAL = [0.9, 0.1, 0.5]


def fit(y, weight=None, *, quantiles=SEVERAL, normalize=True, more_to_come=False):
    y = np.asarray(y)
    weight = np.ones(len(y)) if weight is None else weight
    return Quantile(quantiles).fit(y, weight, normalize=normalize, more_to_come=more_to_come)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_of_one_quantile_is_that_of_scikit_learn(quantile, weighted):
    weight = RNG.uniform(0.2, 2, N) if weighted else np.ones(N)
    net = MultiOutputNet(
        MLP(()),
        {"y": Quantile(quantile)},
        alpha=0.0,
        batch_size=N,
        max_epochs=800,
        learning_rate=0.05,
        learning_rate_schedule="cosine",
        random_state=0,
    ).fit(X, {"y": Y}, weight)
    reference = QuantileRegressor(quantile=quantile, alpha=0).fit(X, Y, weight)
    predicted = net.predict(X)["y"]
    assert predicted.shape == (N,)
    loss, expected = (
        mean_pinball_loss(Y, found, alpha=quantile, sample_weight=weight)
        for found in (predicted, reference.predict(X))
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-3)
    np.testing.assert_allclose(predicted, reference.predict(X), atol=0.2)


def test_quantiles_of_new_rows_hold_their_share_of_labels():
    rng = np.random.default_rng(1)
    rows = rng.uniform(-1, 1, size=(4000, 1))
    y = 3 * rows[:, 0] + np.where(rows[:, 0] > 0, 2.0, 0.5) * rng.normal(size=4000)
    net = MultiOutputNet(
        heads={"y": Quantile([0.1, 0.25, 0.5, 0.9])},
        alpha=0.0,
        max_epochs=60,
        learning_rate=0.005,
        learning_rate_schedule="cosine",
        random_state=0,
    )
    predicted = net.fit(rows[:3000], {"y": y[:3000]}).predict(rows[3000:])["y"]
    held = y[3000:]
    np.testing.assert_allclose(
        (held[:, None] < predicted).mean(axis=0), [0.1, 0.25, 0.5, 0.9], atol=0.05
    )
    width = predicted[:, 3] - predicted[:, 0]
    wide = rows[3000:, 0] > 0.3
    assert np.median(width[wide]) > 2 * np.median(width[rows[3000:, 0] < -0.3])


@pytest.mark.parametrize("spread", [0.0, 1.0, 100.0, 1e4])
@pytest.mark.parametrize("quantiles", [[0.1, 0.9], SEVERAL, np.arange(1, 100) / 100])
def test_quantiles_never_cross(spread, quantiles):
    head = fit(Y, quantiles=quantiles)
    raw = RNG.normal(size=(60, len(quantiles))) * spread
    predicted = head.decode(raw)
    assert predicted.shape == (60, len(quantiles))
    assert (np.diff(predicted[:, np.argsort(quantiles)], axis=1) >= 0).all()


def test_columns_are_in_the_order_given():
    raw = RNG.normal(size=(10, 3))
    in_order, other = fit(Y, quantiles=[0.1, 0.5, 0.9]), fit(Y, quantiles=SEVERAL)
    np.testing.assert_array_equal(other.decode(raw), in_order.decode(raw)[:, [2, 0, 1]])
    assert other.quantiles_.tolist() == SEVERAL


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("quantiles", [0.3, SEVERAL, [0.001]])
def test_the_best_constants_are_the_quantiles_of_all_labels(quantiles, normalize):
    weight = RNG.uniform(0.2, 2, N) * (RNG.random(N) < 0.8)
    head = fit(Y, weight, quantiles=quantiles, normalize=normalize)
    levels = np.atleast_1d(quantiles)
    found = head.decode(np.asarray(head.constant_raw_)[None]).reshape(-1)
    expected = np.quantile(Y, levels, weights=weight, method="inverted_cdf")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    loss = np.mean(
        [
            mean_pinball_loss(Y, np.full(N, v), alpha=q, sample_weight=weight)
            for q, v in zip(levels, expected, strict=True)
        ]
    )
    loss = loss / head.scale_
    assert head.baseline_ == pytest.approx(loss if normalize else 1.0)
    assert head.constant_loss_ == pytest.approx(1.0 if normalize else loss)


def test_raw_outputs_of_zero_are_the_best_constants():
    np.testing.assert_allclose(fit(Y).constant_raw_, 0.0, atol=1e-12)


def test_equal_quantiles_of_labels_are_predicted_as_nearly_equal():
    head = fit([1.0] * 50 + [2.0] * 3, quantiles=[0.1, 0.5])
    np.testing.assert_allclose(head.decode(head.constant_raw_[None]), [[1.0, 1.0]], atol=1e-9)


def test_the_loss_is_the_mean_pinball_loss():
    head = fit(Y)
    target, _ = head.encode(Y, np.ones(N))
    raw = RNG.normal(size=(N, 3))
    losses = head.build_loss()(torch.tensor(raw), torch.tensor(target)).numpy()
    predicted = head.decode(raw)
    for i in range(5):
        expected = [
            mean_pinball_loss([Y[i]], [v], alpha=q)
            for q, v in zip(SEVERAL, predicted[i], strict=True)
        ]
        np.testing.assert_allclose(losses[i] * head.scale_, np.mean(expected))


def test_the_score_is_d2_averaged_over_quantiles():
    weight = RNG.uniform(0.2, 2, N) * (RNG.random(N) < 0.8)
    head, predicted = fit(Y), Y[:, None] + RNG.normal(size=(N, 3))
    expected = [
        d2_pinball_score(Y, predicted[:, j], sample_weight=weight, alpha=q)
        for j, q in enumerate(SEVERAL)
    ]
    np.testing.assert_allclose(head.score(Y, predicted, weight), np.mean(expected))
    spoilt = np.where(weight > 0, Y, np.nan)
    np.testing.assert_allclose(head.score(spoilt, predicted, weight), np.mean(expected))


def test_labels_that_are_all_alike_score_one_or_zero():
    head, weight = fit(Y, quantiles=0.5), np.ones(3)
    assert head.score(np.full(3, 2.0), np.full(3, 2.0), weight) == 1.0
    assert head.score(np.full(3, 2.0), np.full(3, 2.5), weight) == 0.0


@pytest.mark.parametrize("unit", [1e-8, 1e8, 1e200])
def test_the_unit_of_the_target_changes_nothing_else(unit):
    one, other = (
        MultiOutputNet(heads={"y": Quantile()}, random_state=0, max_epochs=3).fit(
            X, {"y": Y * factor, "other": X[:, 0]}
        )
        for factor in (1.0, unit)
    )
    np.testing.assert_allclose(other.predict(X)["other"], one.predict(X)["other"], rtol=1e-6)
    np.testing.assert_allclose(other.predict(X)["y"], one.predict(X)["y"] * unit, rtol=1e-6)


@pytest.mark.parametrize("quantiles", [0.5, SEVERAL])
def test_a_constant_target_is_predicted_exactly(quantiles):
    net = MultiOutputNet(heads={"y": Quantile(quantiles)}, random_state=0, max_epochs=2)
    net.fit(X, {"y": np.full(N, 0.1), "other": X[:, 0]})
    assert net.heads_["y"].is_constant_
    assert (net.predict(X)["y"] == 0.1).all()
    assert net.scores(X, {"y": np.full(N, 0.1), "other": X[:, 0]})["y"] == 1.0


def test_a_warm_start_knows_the_labels_of_a_constant_output():
    net = MultiOutputNet(
        heads={"y": Quantile()}, random_state=0, max_epochs=2, warm_start=True
    ).fit(X, {"y": np.full(N, 0.1), "other": X[:, 0]})
    net.fit(X, {"y": np.full(N, 0.1), "other": X[:, 0]})
    with pytest.raises(ValueError, match=r"the target was constant, 0\.1"):
        net.fit(X, {"y": np.full(N, 0.2), "other": X[:, 0]})


def test_a_stream_may_begin_with_labels_that_are_all_alike():
    net = MultiOutputNet(heads={"y": Quantile()}, learning_rate=0.01, random_state=0)
    net.partial_fit(X[:50], {"y": np.full(50, 20.0)})
    for _ in range(40):
        net.partial_fit(X, {"y": Y})
    assert net.heads_["y"].baseline_ == 1.0
    assert net.scores(X, {"y": Y})["y"] > 0.2


def test_the_regressor_predicts_a_column_for_each_quantile():
    net = MultiOutputNetRegressor(heads={"y": Quantile([0.1, 0.9])}, random_state=0).fit(X, Y)
    low, high = net.predict(X).T
    assert (low <= high).all()
    assert net.score(X, Y) > 0.2
    view = OutputView(net, "y")
    assert view.predict(X).shape == (N, 2)
    assert not view.__sklearn_tags__().target_tags.multi_output
    assert view.score(X, Y) == net.score(X, Y)


def test_labels_of_another_shape_are_refused_by_score():
    net = MultiOutputNet(heads={"y": Quantile()}, random_state=0, max_epochs=2).fit(X, {"y": Y})
    with pytest.raises(ValueError, match=r"must have the shape \(400,\), as in fit"):
        net.scores(X, {"y": np.column_stack([Y, Y, Y])})


def test_missing_labels_are_left_out():
    spoilt = np.where(np.arange(N) % 3 == 0, np.nan, Y)
    net = MultiOutputNet(
        heads={"y": Quantile()}, missing_targets="ignore", random_state=0, max_epochs=3
    ).fit(X, {"y": spoilt})
    assert net.predict(X)["y"].shape == (N, 3)
    assert np.isfinite(net.scores(X, {"y": spoilt})["y"])


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (
            np.ones((3, 2)),
            r"Quantile needs one number per row. Got the shape \(3, 2\); use one",
        ),
        (np.array(["a", "b", "c"]), "Quantile needs numbers. Got values of type"),
        (np.array([1.0, np.inf, 2.0]), "Quantile needs finite numbers. Got infinity in 1 labels"),
    ],
)
def test_wrong_labels_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        Quantile().fit(y, np.ones(y.shape), normalize=True)


@pytest.mark.parametrize(
    "quantiles",
    [0, 1.0, -0.1, (), [0.5, 0.5], [0.5, 1.5], [[0.1, 0.2]], "median", ["a"], [np.nan], None],
    ids=str,
)
def test_bad_quantiles_are_refused(quantiles):
    with pytest.raises(ValueError, match="quantiles"):
        Quantile(quantiles).check_params()


def test_good_parameters_pass_and_survive_a_clone():
    head = Quantile([0.2, 0.1], hidden_layer_sizes=[3], at="a", target="b")
    head.check_params()
    assert repr(clone(head)) == repr(head)
