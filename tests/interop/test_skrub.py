"""skrub turns a table into columns of numbers for the estimators, whatever form ``y`` has."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OutputView,
    Targets,
)
from mtlearn.model_selection import output_scoring

pytestmark = pytest.mark.interop

N = 120
RNG = np.random.default_rng(0)
AREA = RNG.uniform(20, 200, N)
TOWN = RNG.choice(["Bonn", "Kiel", "Ulm"], N)
FRAME = pd.DataFrame({"area": AREA, "town": TOWN, "day": pd.date_range("2024-01-01", periods=N)})
FRAME.loc[3, "area"] = np.nan
FRAME.loc[5::20, "town"] = None
Y = Targets(
    {"price": 3 * AREA + 100 * (TOWN == "Bonn"), "kind": np.where(TOWN == "Ulm", "house", "flat")}
)
NET = MultiOutputNet(max_epochs=3, main_output="price", random_state=0)
ESTIMATORS = {
    "net": (NET, Y),
    "regressor": (MultiOutputNetRegressor(max_epochs=3, random_state=0), Y["price"]),
    "classifier": (MultiOutputNetClassifier(max_epochs=3, random_state=0), Y["kind"]),
}


@pytest.fixture(scope="module")
def skrub():
    return pytest.importorskip("skrub", reason="skrub is absent")


@pytest.mark.parametrize(("estimator", "y"), ESTIMATORS.values(), ids=ESTIMATORS)
def test_a_tabular_pipeline_imputes_and_scales_for_the_estimator_at_its_end(skrub, estimator, y):
    pipeline = skrub.tabular_pipeline(clone(estimator)).fit(FRAME, y)
    assert {"tablevectorizer", "simpleimputer", "squashingscaler"} < set(pipeline.named_steps)
    rows = pipeline[:-1].transform(FRAME)
    alone = clone(estimator).fit(rows, y)
    assert np.all(pipeline.predict(FRAME) == alone.predict(rows))
    assert pipeline.score(FRAME, y) == alone.score(rows, y)


def test_a_tabular_pipeline_learns_every_output(skrub):
    net = clone(NET).set_params(max_epochs=60, learning_rate=0.01)
    pipeline = skrub.tabular_pipeline(net).fit(FRAME[:80], Y[:80])
    assert OutputView(pipeline, "price").score(FRAME[80:], Y["price"][80:]) > 0.8
    assert OutputView(pipeline, "kind").score(FRAME[80:], Y["kind"][80:]) > 0.9


def test_auxiliary_targets_pass_a_tabular_pipeline(skrub):
    net, y = ESTIMATORS["regressor"]
    aux = {"multioutputnetregressor__aux": Y[["kind"]]}
    pipeline = skrub.tabular_pipeline(clone(net)).fit(FRAME, y, **aux)
    assert pipeline[-1].output_names_ == ["y", "kind"]
    scores = cross_validate(pipeline, FRAME, y, params=aux, cv=3, error_score="raise")
    assert np.isfinite(scores["test_score"]).all()


def test_the_columns_of_a_table_vectorizer_are_the_names_of_the_features(skrub):
    vectorizer = skrub.TableVectorizer()
    steps = [SimpleImputer(), StandardScaler()]
    pipeline = make_pipeline(vectorizer, *steps, clone(NET)).set_output(transform="pandas")
    pipeline.fit(FRAME, Y)
    names = vectorizer.get_feature_names_out().tolist()
    assert len(names) > FRAME.shape[1]
    assert pipeline[-1].feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="feature names"):
        pipeline[-1].predict(pipeline[:-1].transform(FRAME)[names[::-1]])


def test_frames_of_polars_and_pandas_predict_the_same(skrub):
    frame = FRAME[["area", "town"]]
    missing = frame.isna().to_numpy()
    columns = {
        name: [None if gap else v for v, gap in zip(frame[name], gaps, strict=True)]
        for name, gaps in zip(frame, missing.T, strict=True)
    }
    one, other = (
        skrub.tabular_pipeline(clone(NET)).fit(table, Y).predict(table)
        for table in (pl.DataFrame(columns), frame)
    )
    np.testing.assert_allclose(one["price"], other["price"], rtol=1e-6)  # skrub has float32
    np.testing.assert_array_equal(one["kind"], other["kind"])


def test_a_search_in_a_tabular_pipeline_finds_the_weight_by_the_scores_of_outputs(skrub):
    net = clone(NET).set_params(max_epochs=40, learning_rate=0.01)
    pipeline = skrub.tabular_pipeline(net)
    scoring = output_scoring(price=("price", "r2"), kind=("kind", "neg_log_loss"))
    grid = {"multioutputnet__loss_weights__kind": [0.0, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3, scoring=scoring, refit="kind", error_score="raise")
    search.fit(FRAME, Y)
    without, with_it = search.cv_results_["mean_test_kind"]
    assert with_it > without
    assert search.best_params_ == {"multioutputnet__loss_weights__kind": 1.0}
    view = OutputView(search, "kind")
    np.testing.assert_array_equal(view.predict(FRAME), search.predict(FRAME)["kind"])


def test_a_plan_of_data_ops_splits_targets(skrub):
    steps = [skrub.TableVectorizer(), SimpleImputer(), StandardScaler()]
    plan, y = skrub.X(FRAME), skrub.y(Y)
    for step in steps:
        plan = plan.skb.apply(clone(step))
    learner = plan.skb.apply(clone(NET), y=y).skb.make_learner()
    found = skrub.cross_validate(learner, {"X": FRAME, "y": Y}, cv=3, error_score="raise")
    expected = cross_validate(make_pipeline(*steps, clone(NET)), FRAME, Y, cv=3)
    np.testing.assert_allclose(found["test_score"], expected["test_score"], rtol=1e-9)
    assert list(learner.fit({"X": FRAME, "y": Y}).predict({"X": FRAME})) == ["price", "kind"]


def test_the_example_of_the_guide_runs(skrub, run_example):
    names = run_example("skrub")
    assert list(names["search"].predict(names["flats"])) == ["price", "kind"]
