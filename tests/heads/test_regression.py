import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    StandardScaler,
)
from torch import nn
from torch.nn import functional as F

from mtlearn.heads import Regression
from mtlearn.heads._base import BASELINE_FLOOR

N = 40
LOG = FunctionTransformer(np.log, inverse_func=np.exp, check_inverse=False)


def make_y(n_columns=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = (N,) if n_columns is None else (N, n_columns)
    return np.exp(rng.normal(size=shape)) * 7 + 3


def make_weight(shape, seed=1):
    """Weights of which some are zero."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 4, size=shape) * (rng.random(shape) < 0.8)


def fit(y, weight=None, *, normalize=True, **params):
    y = np.asarray(y)
    weight = np.ones(y.shape) if weight is None else weight
    return Regression(**params).fit(y, weight, normalize=normalize)


def log_cosh(raw, target):
    return torch.log(torch.cosh(raw - target))


LOSSES = {
    "squared_error": (lambda f, t: (f - t) ** 2, {}),
    "absolute_error": (lambda f, t: np.abs(f - t), {}),
    "huber": (
        lambda f, t: np.where(np.abs(f - t) < 0.4, 0.5 * (f - t) ** 2, 0.4 * (np.abs(f - t) - 0.2)),
        {"delta": 0.4},
    ),
    log_cosh: (lambda f, t: np.log(np.cosh(f - t)), {}),
    F.mse_loss: (lambda f, t: (f - t) ** 2, {}),
    nn.SmoothL1Loss(beta=0.3): (
        lambda f, t: np.where(np.abs(f - t) < 0.3, (f - t) ** 2 / 0.6, np.abs(f - t) - 0.15),
        {},
    ),
}
loss_names = pytest.mark.parametrize(
    "loss", LOSSES, ids=lambda loss: getattr(loss, "__name__", str(loss))
)


# Scale


@pytest.mark.parametrize("n_columns", [None, 1, 3])
def test_the_scale_is_the_weighted_one_of_each_column(n_columns):
    y = make_y(n_columns)
    weight = make_weight(y.shape)
    head = fit(y, weight)
    columns, weights = y.reshape(N, -1), weight.reshape(N, -1)
    for j in range(columns.shape[1]):
        scaler = StandardScaler().fit(columns[:, [j]], sample_weight=weights[:, j])
        np.testing.assert_allclose(head.center_[j], scaler.mean_[0])
        np.testing.assert_allclose(head.scale_[j], scaler.scale_[0])
    assert head.raw_shape_ == y.shape[1:]


def test_integer_weights_are_repeated_rows():
    y, counts = make_y(), np.random.default_rng(0).integers(0, 4, N)
    weighted, repeated = fit(y, counts.astype(float)), fit(np.repeat(y, counts))
    np.testing.assert_allclose(weighted.center_, repeated.center_)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_)


@pytest.mark.parametrize("missing", [np.nan, None, np.inf, "text"])
def test_labels_without_weight_are_never_looked_at(missing):
    y, weight = make_y(), make_weight(N)
    spoilt = y.astype(object)
    spoilt[weight == 0] = missing
    head, expected = fit(spoilt, weight, loss="huber"), fit(y, weight, loss="huber")
    assert head.center_ == expected.center_
    assert head.scale_ == expected.scale_
    assert head.baseline_ == expected.baseline_
    target, encoded_weight = head.encode(spoilt, weight)
    assert np.isfinite(target).all()
    np.testing.assert_array_equal(encoded_weight, weight)


@pytest.mark.parametrize("n_columns", [None, 3])
@pytest.mark.parametrize(
    "transformer", [None, LOG, PowerTransformer()], ids=["none", "log", "power"]
)
@pytest.mark.parametrize("normalize", [True, False])
def test_decoding_inverts_encoding(n_columns, transformer, normalize):
    y = make_y(n_columns)
    head = fit(y, transformer=transformer, normalize=normalize)
    target, _ = head.encode(y, np.ones(y.shape))
    assert target.shape == y.shape
    np.testing.assert_allclose(head.decode(target), y, rtol=1e-9)


def test_encoded_targets_are_standardised():
    y, weight = make_y(2), make_weight((N, 2))
    target, _ = fit(y, weight).encode(y, weight)
    mean = np.average(target, axis=0, weights=weight)
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(np.average((target - mean) ** 2, axis=0, weights=weight), 1)


def test_without_normalisation_targets_stay_as_they_are():
    y = make_y()
    head = fit(y, normalize=False)
    target, _ = head.encode(y, np.ones(N))
    np.testing.assert_array_equal(target, y)
    assert head.baseline_ == 1.0
    np.testing.assert_allclose(head.constant_loss_, np.var(y))
    np.testing.assert_allclose(head.constant_raw_, y.mean())


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1e8, 1e200])
def test_the_encoding_does_not_depend_on_the_unit(scale):
    y = make_y()
    expected, _ = fit(y).encode(y, np.ones(N))
    head = fit(y * scale)
    target, _ = head.encode(y * scale, np.ones(N))
    np.testing.assert_allclose(target, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(head.decode(target), y * scale, rtol=1e-9)


@pytest.mark.parametrize("value", [0.1, -3.0, 0.0, 1e300, 1e-300])
def test_a_constant_target_is_constant_and_decoded_exactly(value):
    head = fit(np.full(N, value))
    assert head.is_constant_
    assert head.scale_.tolist() == [0.0]
    np.testing.assert_array_equal(head.decode(np.random.default_rng(0).normal(size=5)), value)


def test_a_single_row_is_constant():
    assert fit(np.array([2.5])).is_constant_


def test_a_constant_column_takes_no_part():
    y = make_y(2)
    y[:, 1] = 0.1
    head = fit(y)
    assert not head.is_constant_
    _, weight = head.encode(y, np.ones(y.shape))
    np.testing.assert_array_equal(weight, [[1.0, 0.0]] * N)
    np.testing.assert_array_equal(head.decode(np.ones((4, 2)))[:, 1], 0.1)
    np.testing.assert_allclose(head.baseline_, 1.0)


def test_a_constant_target_is_trained_on_without_normalisation():
    assert not fit(np.full(N, 2.0), normalize=False).is_constant_


# Losses


@loss_names
def test_the_loss_of_a_label_is_its_formula(loss):
    formula, params = LOSSES[loss]
    head = fit(make_y(), loss=loss, **params)
    rng = np.random.default_rng(0)
    raw, target = rng.normal(size=(2, 30))
    found = head.build_loss()(torch.tensor(raw), torch.tensor(target))
    np.testing.assert_allclose(found.numpy(), formula(raw, target), rtol=1e-6)


@pytest.mark.parametrize("normalize", [True, False])
@loss_names
def test_the_baseline_is_the_loss_of_the_best_constant(loss, normalize):
    formula, params = LOSSES[loss]
    y, weight = make_y(), make_weight(N)
    head = fit(y, weight, loss=loss, normalize=normalize, **params)
    target, _ = head.encode(y, weight)

    def mean_loss(constant):
        return np.average(formula(constant, target), weights=weight)

    grid = np.linspace(target.min(), target.max(), 50)
    near = grid[np.argmin([mean_loss(constant) for constant in grid])]
    step = grid[1] - grid[0]
    best = minimize_scalar(mean_loss, bounds=(near - step, near + step), method="bounded")
    constant_loss = head.constant_loss_ * head.baseline_
    np.testing.assert_allclose(constant_loss, best.fun, rtol=1e-4)
    np.testing.assert_allclose(mean_loss(float(head.constant_raw_)), constant_loss, rtol=1e-6)
    assert head.baseline_ == (constant_loss if normalize else 1.0)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_the_baseline_of_several_columns_is_the_mean_over_observed_labels(loss):
    y, weight = make_y(3), make_weight((N, 3))
    singles = [fit(y[:, j], weight[:, j], loss=loss).baseline_ for j in range(3)]
    expected = np.average(singles, weights=weight.sum(axis=0))
    np.testing.assert_allclose(fit(y, weight, loss=loss).baseline_, expected, rtol=1e-5)


def test_the_baseline_has_a_floor():
    head = fit(make_y(), loss=lambda raw, target: 1e-3 * (raw - target) ** 2)
    assert head.baseline_ == BASELINE_FLOOR
    np.testing.assert_allclose(head.constant_loss_, 1e-3 / BASELINE_FLOOR)


def test_a_loss_module_of_the_user_is_not_changed():
    loss = nn.L1Loss()
    head = fit(make_y(), loss=loss)
    assert head.build_loss()(torch.zeros(3), torch.ones(3)).shape == (3,)
    assert loss.reduction == "mean"
    assert loss.training


def test_a_loss_of_several_columns_sees_all_of_them():
    shapes = []

    def loss(raw, target):
        shapes.append((raw.shape, target.shape))
        return (raw - target) ** 2

    fit(make_y(2), loss=loss)
    assert set(shapes) == {((N, 2), (N, 2))}


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda raw, target: ((raw - target) ** 2).mean(), r"\(\)"),
        (lambda raw, target: ((raw - target) ** 2)[:, None], rf"\({N}, 1\)"),
    ],
    ids=["mean", "column"],
)
def test_a_loss_of_a_wrong_shape_is_refused(loss, found):
    with pytest.raises(
        ValueError, match=rf"`loss` must return one value per label.*returned {found}"
    ):
        fit(make_y(), loss=loss)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="`loss` must return finite values"):
        fit(make_y(), loss=lambda raw, target: (raw - target) * value)


def test_a_class_of_losses_instead_of_an_instance_is_refused():
    with pytest.raises((TypeError, ValueError), match="loss"):
        fit(make_y(), loss=nn.MSELoss)


# Transformers


def test_the_scale_is_that_of_transformed_targets():
    y = make_y()
    head = fit(y, transformer=LOG)
    np.testing.assert_allclose(head.center_, np.log(y).mean())
    np.testing.assert_allclose(head.scale_, np.log(y).std())
    np.testing.assert_allclose(head.decode(np.zeros(1)), np.exp(np.log(y).mean()))


def test_the_transformer_is_fitted_as_a_clone_on_fully_observed_rows():
    y, weight = make_y(2), make_weight((N, 2))
    transformer = StandardScaler()
    head = fit(y, weight, transformer=transformer)
    assert not hasattr(transformer, "mean_")
    rows = (weight > 0).all(axis=1)
    np.testing.assert_allclose(head.transformer_.mean_, y[rows].mean(axis=0))


def test_a_missing_label_never_reaches_the_transformer():
    y = make_y(2)
    weight = np.ones((N, 2))
    weight[3, 1] = 0
    spoilt = y.copy()
    spoilt[3, 1] = -1.0
    with np.errstate(all="raise"):
        head = fit(spoilt, weight, transformer=LOG)
    np.testing.assert_allclose(head.center_[0], np.log(y[:, 0]).mean())
    np.testing.assert_allclose(head.center_[1], np.log(np.delete(y[:, 1], 3)).mean())


@pytest.mark.filterwarnings("ignore:invalid value encountered in log:RuntimeWarning")
def test_a_transformer_that_gives_nan_is_refused():
    y = make_y()
    y[:2] = -1
    with pytest.raises(ValueError, match=r"(?s)`transformer` must give finite .* for 2 labels"):
        fit(y, transformer=LOG)


def test_a_transformer_that_adds_columns_is_refused():
    with pytest.raises(ValueError, match="`transformer` must keep the number of columns, 1"):
        fit(make_y(), transformer=PolynomialFeatures(2))


# Scores


def test_the_score_is_weighted_r2():
    y, weight = make_y(), make_weight(N)
    predicted = y + np.random.default_rng(2).normal(size=N)
    expected = r2_score(y, predicted, sample_weight=weight)
    np.testing.assert_allclose(fit(y).score(y, predicted, weight), expected)


def test_the_score_of_several_columns_is_their_mean_over_observed_labels():
    y, weight = make_y(3), make_weight((N, 3))
    predicted = y + np.random.default_rng(2).normal(size=y.shape)
    head = fit(y)
    full = head.score(y, predicted, np.ones(y.shape))
    np.testing.assert_allclose(full, r2_score(y, predicted))
    columns = [r2_score(y[:, j], predicted[:, j], sample_weight=weight[:, j]) for j in range(3)]
    spoilt = np.where(weight > 0, y, np.nan)
    np.testing.assert_allclose(head.score(spoilt, predicted, weight), np.mean(columns))


def test_the_best_constant_of_the_absolute_error_beats_the_mean():
    y = make_y()
    head = fit(y, loss="absolute_error")
    median = head.decode(np.full(N, head.constant_raw_))
    np.testing.assert_allclose(
        mean_absolute_error(y, median), mean_absolute_error(y, np.full(N, np.median(y)))
    )
    assert mean_absolute_error(y, median) < mean_absolute_error(y, np.full(N, y.mean()))


# Errors


@pytest.mark.parametrize("y", [["a", "b"], np.array([1.0, "b"], dtype=object)])
def test_targets_must_be_numbers(y):
    with pytest.raises(ValueError, match=r"needs numbers\. Got .* use a Classification head"):
        fit(y)


def test_infinite_targets_are_refused():
    with pytest.raises(ValueError, match=r"needs finite numbers\. Got infinity in 2 labels"):
        fit(np.array([1.0, np.inf, -np.inf]))


@pytest.mark.parametrize(
    "params",
    [
        {"loss": "mse"},
        {"loss": 3},
        {"delta": 0},
        {"delta": -1.0},
        {"transformer": "log"},
        {"hidden_layer_sizes": 3},
        {"hidden_layer_sizes": (0,)},
        {"hidden_layer_sizes": (2.5,)},
        {"at": 3},
        {"target": 3},
    ],
    ids=str,
)
def test_bad_parameters_are_refused_by_name(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        Regression(**params).check_params()


@loss_names
def test_good_parameters_pass_and_survive_a_clone(loss):
    head = Regression(
        loss, transformer=LOG, hidden_layer_sizes=[3, np.int64(2)], at="a", target="b"
    )
    head.check_params()
    assert repr(clone(head)) == repr(head)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda *_: 3.0, "float"),
        (lambda *_: None, "NoneType"),
        (lambda raw, target: (raw.detach() - target) ** 2, "Tensor"),
    ],
    ids=["float", "None", "detached"],
)
def test_a_loss_without_a_gradient_is_refused(loss, found):
    with pytest.raises(ValueError, match=f"`loss` must return a tensor made .* returned {found}"):
        Regression(loss=loss).fit(np.arange(5.0), np.ones(5), normalize=True)


def test_a_transformer_without_its_inverse_is_refused():
    head = Regression(transformer=FunctionTransformer(np.log))
    with pytest.raises(ValueError, match=r"`transformer` must have an inverse.*inverse_func"):
        head.fit(np.array([1.0, 20.0, 300.0]), np.ones(3), normalize=True)
    with pytest.raises(ValueError, match="'transformer' parameter of Regression must be"):
        Regression(transformer=Normalizer()).check_params()


def test_a_pipeline_transforms_the_target():
    log = FunctionTransformer(np.log, inverse_func=np.exp)
    head = Regression(transformer=make_pipeline(log, StandardScaler()))
    head.check_params()
    y = np.array([1.0, 20.0, 300.0])
    head.fit(y, np.ones(3), normalize=True)
    np.testing.assert_allclose(head.decode(head.encode(y, np.ones(3))[0]), y)
