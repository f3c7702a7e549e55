"""Samplers of imbalanced-learn come before an estimator with one ``y``; Targets are refused."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, OutputView, Targets
from mtlearn.model_selection import make_output_scorer

pytestmark = pytest.mark.interop

N = 150
X = np.random.default_rng(0).normal(size=(N, 4))
KIND = np.where(X[:, 0] > 1, "rare", "common")
Y = Targets({"kind": KIND, "price": X[:, 1] - X[:, 2]})
CLASSIFIER = MultiOutputNetClassifier(max_epochs=3, random_state=0)
NET = MultiOutputNet(max_epochs=3, random_state=0)


@pytest.fixture(scope="module")
def imblearn():
    pytest.importorskip("imblearn", reason="imbalanced-learn is absent")
    import imblearn.ensemble
    import imblearn.pipeline
    import imblearn.under_sampling

    return imblearn


@pytest.fixture
def sampler(imblearn):
    return imblearn.under_sampling.RandomUnderSampler(random_state=0)


def test_the_classifier_learns_from_the_rows_that_a_sampler_keeps(imblearn, sampler):
    pipeline = imblearn.pipeline.make_pipeline(StandardScaler(), sampler, clone(CLASSIFIER))
    pipeline.fit(X, KIND)
    scaled = StandardScaler().fit_transform(X)
    rows, labels = clone(sampler).fit_resample(scaled, KIND)
    assert len(rows) < N
    alone = clone(CLASSIFIER).fit(rows, labels)
    np.testing.assert_array_equal(pipeline.predict_proba(X), alone.predict_proba(scaled))


def test_a_balanced_sample_finds_more_of_the_rare_class(imblearn, sampler):
    pipeline = imblearn.pipeline.make_pipeline(sampler, clone(CLASSIFIER)).fit(X, KIND)
    plain = clone(CLASSIFIER).fit(X, KIND)
    rare = KIND == "rare"
    column = list(plain.classes_).index("rare")
    found, before = (net.predict_proba(X)[rare, column].mean() for net in (pipeline, plain))
    assert found > before


def test_a_search_samples_the_training_rows_of_each_fold(imblearn, sampler):
    pipeline = imblearn.pipeline.Pipeline([("sample", sampler), ("net", clone(CLASSIFIER))])
    grid = {"net__alpha": [0.0, 0.1], "sample": [sampler, "passthrough"]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, KIND)
    scores = search.cv_results_["split0_test_score"]
    assert np.isfinite(scores).all()
    train, test = next(StratifiedKFold(3).split(X, KIND))
    rows, labels = clone(sampler).fit_resample(X[train], KIND[train])
    alone = clone(CLASSIFIER).set_params(alpha=0.0).fit(rows, labels)
    assert scores[0] == alone.score(X[test], KIND[test])


@pytest.mark.parametrize("before", [[], [StandardScaler()]])
def test_a_view_of_a_pipeline_passes_its_sampler_by(imblearn, sampler, before):
    pipeline = imblearn.pipeline.make_pipeline(*before, sampler, clone(CLASSIFIER)).fit(X, KIND)
    view = OutputView(pipeline, "y")
    np.testing.assert_array_equal(view.predict_proba(X), pipeline.predict_proba(X))
    score = make_output_scorer("y", "accuracy")(pipeline, X, KIND)
    assert score == pipeline.score(X, KIND)


def test_targets_before_a_sampler_are_refused_with_the_remedy(imblearn, sampler):
    pipeline = imblearn.pipeline.make_pipeline(sampler, clone(NET))
    with pytest.raises(TypeError, match=r"several targets \['kind', 'price'\].*y\['kind'\]"):
        pipeline.fit(X, Y)


def test_auxiliary_targets_of_more_rows_than_the_sample_are_refused(imblearn, sampler):
    pipeline = imblearn.pipeline.make_pipeline(sampler, clone(CLASSIFIER))
    kept = 2 * int((KIND == "rare").sum())
    with pytest.raises(ValueError, match=f"`aux` must have as many rows as `y`, {kept}. Got {N}"):
        pipeline.fit(X, KIND, multioutputnetclassifier__aux=Y[["price"]])


def test_targets_are_sampled_by_the_rows_that_the_sampler_names(imblearn, sampler):
    sampler.fit_resample(X, Y["kind"])
    kept = sampler.sample_indices_
    _, counts = np.unique(Y[kept]["kind"], return_counts=True)
    assert len(set(counts)) == 1
    net = clone(NET).fit(X[kept], Y[kept])
    alone = clone(CLASSIFIER).fit(X[kept], KIND[kept], aux=Y[kept][["price"]])
    assert net.output_names_ == ["kind", "price"]
    assert sorted(alone.output_names_) == ["price", "y"]


def test_a_balanced_bag_of_classifiers_votes(imblearn):
    bag = imblearn.ensemble.BalancedBaggingClassifier(
        clone(CLASSIFIER), n_estimators=3, random_state=0
    ).fit(X, KIND)
    votes = [member.predict_proba(X) for member in bag.estimators_]
    np.testing.assert_allclose(bag.predict_proba(X), np.mean(votes, axis=0))


def test_the_example_of_the_guide_runs(imblearn, run_example):
    names = run_example("imbalanced-learn")
    assert names["pipeline"].predict(names["X"]).shape == (len(names["X"]),)
    assert list(names["net"].predict(names["X"])) == ["price", "kind"]
