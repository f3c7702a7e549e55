"""Without hidden layers the outputs are scikit-learn's linear models."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from mtlearn import MultiOutputNet
from mtlearn.heads import Classification
from mtlearn.trunks import MLP

N = 120
RIDGE_ALPHA, C = 7.0, 0.3


def make_data(n_classes=3):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 3))
    number = 2.0 + X @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=N)
    latent = X @ [1.0, 1.0, -1.0] + rng.normal(size=N)
    return X, number, np.digitize(latent, np.linspace(-1, 1, n_classes + 1)[1:-1])


def fit_linear(X, y, alpha, sample_weight=None, *, normalize_losses=False, **params):
    return MultiOutputNet(
        MLP(()),
        normalize_losses=normalize_losses,
        alpha=alpha,
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        learning_rate=0.1,
        batch_size=len(X),
        max_epochs=300,
        random_state=0,
        **params,
    ).fit(X, y, sample_weight)


def coefficients(net, name):
    layer = net.module_.heads[net.module_.names.index(name)][0]
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def test_regression_is_ridge():
    X, number, _ = make_data()
    ridge = Ridge(RIDGE_ALPHA).fit(X, number)
    coef, intercept = coefficients(fit_linear(X, {"a": number}, RIDGE_ALPHA / N), "a")
    np.testing.assert_allclose(coef[0], ridge.coef_, atol=1e-3)
    np.testing.assert_allclose(intercept[0], ridge.intercept_, atol=1e-3)


def test_weighted_regression_is_weighted_ridge():
    X, number, _ = make_data()
    weight = np.random.default_rng(2).uniform(0.1, 3.0, N)
    ridge = Ridge(RIDGE_ALPHA).fit(X, number, weight)
    net = fit_linear(X, {"a": number}, RIDGE_ALPHA / weight.sum(), weight)
    np.testing.assert_allclose(coefficients(net, "a")[0][0], ridge.coef_, atol=1e-3)


def test_regression_of_several_columns_is_ridge_of_several_columns():
    X, number, _ = make_data()
    number = np.column_stack([number, number**2, -number])
    ridge = Ridge(RIDGE_ALPHA).fit(X, number)
    net = fit_linear(X, {"a": number}, RIDGE_ALPHA / (3 * N))  # the loss is a mean over columns
    coef, intercept = coefficients(net, "a")
    np.testing.assert_allclose(coef, ridge.coef_, atol=1e-3)
    np.testing.assert_allclose(intercept, ridge.intercept_, atol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classification_is_logistic_regression(n_classes):
    X, _, label = make_data(n_classes)
    logistic = LogisticRegression(C=C, tol=1e-8).fit(X, label)
    net = fit_linear(X, {"a": label}, 1 / (2 * C * N))
    coef, intercept = coefficients(net, "a")
    np.testing.assert_allclose(coef, logistic.coef_, atol=1e-3)
    if n_classes > 2:  # softmax leaves a common shift of all intercepts open
        intercept = intercept - intercept.mean()
    np.testing.assert_allclose(intercept, logistic.intercept_, atol=1e-3)
    np.testing.assert_allclose(
        net.predict_proba(X)["a"], logistic.predict_proba(X), rtol=0, atol=1e-3
    )


def test_classification_with_class_weight_is_that_of_logistic_regression():
    X, _, label = make_data()
    class_weight = {0: 1.0, 1: 4.0, 2: 0.5}
    row_weight = np.array([class_weight[k] for k in label])
    logistic = LogisticRegression(C=C, tol=1e-8, class_weight=class_weight).fit(X, label)
    heads = {"a": Classification(class_weight=class_weight)}
    net = fit_linear(X, {"a": label}, 1 / (2 * C * row_weight.sum()), heads=heads)
    np.testing.assert_allclose(coefficients(net, "a")[0], logistic.coef_, atol=1e-3)


def test_outputs_without_a_common_layer_are_learned_as_if_alone():
    X, number, label = make_data()
    alpha = 1 / (2 * C * N)
    weight = 0.4
    net = fit_linear(X, {"n": number, "k": label}, alpha, loss_weights={"n": weight})
    ridge = Ridge(alpha * N / weight).fit(X, number)
    logistic = LogisticRegression(C=C, tol=1e-8).fit(X, label)
    np.testing.assert_allclose(coefficients(net, "n")[0][0], ridge.coef_, atol=1e-3)
    np.testing.assert_allclose(coefficients(net, "k")[0], logistic.coef_, atol=1e-3)


def test_standardised_regression_without_penalty_is_least_squares_at_any_scale():
    X, number, _ = make_data()
    least_squares = Ridge(0.0).fit(X, number)
    for scale in (1e-6, 1e6):
        net = fit_linear(X, {"a": scale * number}, 0.0, normalize_losses=True)
        np.testing.assert_allclose(
            net.predict(X)["a"] / scale, least_squares.predict(X), rtol=0, atol=1e-3
        )
