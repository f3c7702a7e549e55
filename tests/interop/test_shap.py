"""SHAP explains one output: its values add up to that output's prediction."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, OutputView, Targets
from mtlearn.heads import Regression

pytestmark = pytest.mark.interop

N, N_EXPLAINED = 80, 6
X = np.random.default_rng(0).normal(size=(N, 4))
BACKGROUND, ROWS = X[:20], X[-N_EXPLAINED:]
Y = Targets({"price": 10 + 3 * X[:, 0] - X[:, 1], "kind": np.where(X[:, 2] > 0, "flat", "house")})
NET = MultiOutputNet(max_epochs=60, learning_rate=0.01, random_state=0)
ALGORITHMS = ["auto", "permutation", "exact"]


@pytest.fixture(scope="module")
def shap():
    return pytest.importorskip("shap", reason="shap is absent")


@pytest.fixture(scope="module")
def fitted():
    return NET.fit(X, Y)


def explain(shap, predict, background=BACKGROUND, rows=ROWS, algorithm="auto"):
    return shap.Explainer(predict, background, algorithm=algorithm, seed=0)(rows)


def check_sum(found, predicted, background):
    base = np.broadcast_to(found.base_values, predicted.shape)
    np.testing.assert_allclose(base[0], background.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(base + found.values.sum(axis=1), predicted, rtol=1e-9)
    assert np.ptp(found.values) > 0.1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_of_a_number_add_up_to_its_prediction(shap, fitted, algorithm):
    predict = fitted.output("price").predict
    found = explain(shap, predict, algorithm=algorithm)
    assert found.values.shape == ROWS.shape
    check_sum(found, predict(ROWS), predict(BACKGROUND))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_of_a_class_add_up_to_its_probabilities(shap, fitted, algorithm):
    predict = fitted.output("kind").predict_proba
    found = explain(shap, predict, algorithm=algorithm)
    assert found.values.shape == (*ROWS.shape, 2)
    check_sum(found, predict(ROWS), predict(BACKGROUND))
    np.testing.assert_allclose(found.values.sum(axis=2), 0, atol=1e-9)


def test_values_of_several_columns_add_up(shap):
    net = MultiOutputNetRegressor(max_epochs=20, random_state=0).fit(X, X[:, :2])
    check_sum(explain(shap, net.predict), net.predict(ROWS), net.predict(BACKGROUND))


def test_each_output_has_its_own_most_important_column(shap, fitted):
    price = explain(shap, fitted.output("price").predict)
    kind = explain(shap, fitted.output("kind").predict_proba)
    assert np.abs(price.values).mean(axis=0).argmax() == 0
    assert np.abs(kind.values[..., 0]).mean(axis=0).argmax() == 2


def test_the_kernel_explainer_agrees_with_the_exact_one(shap, fitted):
    predict = fitted.output("price").predict
    exact = explain(shap, predict, algorithm="exact")
    kernel = shap.KernelExplainer(predict, BACKGROUND)
    np.testing.assert_allclose(kernel.shap_values(ROWS, silent=True), exact.values, atol=1e-8)
    np.testing.assert_allclose(kernel.expected_value, exact.base_values[0], rtol=1e-9)


def test_a_frame_is_explained_by_the_names_of_its_columns_through_a_pipeline(shap):
    frame = pd.DataFrame(X, columns=["area", "age", "rooms", "noise"])
    heads = {"price": Regression()}
    pipeline = make_pipeline(StandardScaler(), NET.__class__(heads=heads, random_state=0))
    pipeline.fit(frame, Y)
    predict = OutputView(pipeline, "price").predict
    background, rows = frame[:20], frame[-N_EXPLAINED:]
    found = explain(shap, predict, background, rows)
    assert found.feature_names == list(frame.columns)
    check_sum(found, predict(rows), predict(background))


def test_all_outputs_at_once_are_refused_with_the_remedy(shap, fitted):
    with pytest.raises(TypeError, match=r"several targets \['price', 'kind'\].*y\['price'\]"):
        explain(shap, fitted.predict)


def test_the_example_of_the_guide_runs(shap, run_example):
    names = run_example("SHAP")
    total = names["found"].base_values + names["found"].values.sum(axis=1)
    np.testing.assert_allclose(total, names["price"].predict(names["X"][:5]))
