"""Optuna searches the parameters of the estimators, and stops the trials that fall behind."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, OutputView, Targets
from mtlearn.model_selection import make_output_scorer

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:`optuna.terminator` module:FutureWarning"),
    pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental"),
    pytest.mark.filterwarnings("ignore:Choices for a categorical distribution"),
]

N = 90
X = np.random.default_rng(0).normal(size=(N, 4))
Y = Targets({"price": X[:, 0] - X[:, 1], "kind": np.where(X[:, 1] > 0, "flat", "house")})
NET = MultiOutputNet(max_epochs=3, main_output="price", random_state=0)
NAME = "loss_weights__kind"


@pytest.fixture(scope="module")
def optuna():
    optuna = pytest.importorskip("optuna", reason="optuna is absent")
    pytest.importorskip("optuna_integration", reason="optuna-integration is absent")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield optuna
    optuna.logging.set_verbosity(before)


@pytest.fixture
def search(optuna):
    """Makes a search over the weight of the auxiliary output, or what is named."""
    from optuna_integration import OptunaSearchCV

    def make(estimator, space=None, **options):
        space = space or {NAME: optuna.distributions.FloatDistribution(0.01, 1, log=True)}
        options = {"n_trials": 3, "cv": 3, "random_state": 0} | options
        return OptunaSearchCV(clone(estimator), space, **options)

    return make


@pytest.fixture
def two_rates(optuna):
    """Makes a study that tries a good learning rate and then one that learns nothing."""

    def make(direction):
        pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
        study = optuna.create_study(direction=direction, pruner=pruner)
        for rate in (1e-2, 1e-6):
            study.enqueue_trial({"learning_rate": rate})
        return study

    return make


def states(study):
    return [trial.state.name for trial in study.trials]


def by_hand(estimator, trial, y=Y, **options):
    net = clone(estimator).set_params(**trial.params)
    return cross_val_score(net, X, y, cv=3, error_score="raise", **options).mean()


def test_a_search_tries_weights_and_refits_the_best(search):
    found = search(NET).fit(X, Y)
    assert len({trial.params[NAME] for trial in found.trials_}) == 3
    for trial in found.trials_:
        np.testing.assert_allclose(trial.value, by_hand(NET, trial), rtol=1e-12)
    assert found.best_score_ == max(trial.value for trial in found.trials_)
    assert found.predict(X) == clone(NET).set_params(**found.best_params_).fit(X, Y).predict(X)


def test_a_search_in_a_pipeline_scores_one_output_and_has_views(optuna, search):
    pipeline = make_pipeline(StandardScaler(), clone(NET))
    scoring = make_output_scorer("kind", "neg_log_loss")
    space = {f"multioutputnet__{NAME}": optuna.distributions.FloatDistribution(0, 1)}
    found = search(pipeline, space, scoring=scoring).fit(X, Y)
    for trial in found.trials_:
        expected = by_hand(pipeline, trial, scoring=scoring)
        np.testing.assert_allclose(trial.value, expected, rtol=1e-12)
    view = OutputView(found, "kind")
    np.testing.assert_array_equal(view.predict(X), found.predict(X)["kind"])


def test_a_search_passes_auxiliary_targets_and_weights_on(search):
    net = MultiOutputNetRegressor(max_epochs=3, random_state=0)
    params = {"aux": Y[["kind"]], "sample_weight": np.linspace(0.1, 2, N)}
    found = search(net).fit(X, Y["price"], **params)
    for trial in found.trials_:
        expected = by_hand(net, trial, Y["price"], params=params)
        np.testing.assert_allclose(trial.value, expected, rtol=1e-12)
    assert found.best_estimator_.output_names_ == ["y", "kind"]


def test_trials_in_threads_score_the_same(search):
    found = search(NET, n_jobs=2, n_trials=6).fit(X, Y)
    for trial in found.trials_:
        np.testing.assert_allclose(trial.value, by_hand(NET, trial), rtol=1e-12)


def test_the_layers_of_the_trunk_are_searched(optuna, search):
    layers = optuna.distributions.CategoricalDistribution([(4,), (8, 4)])
    found = search(NET, {"trunk__hidden_layer_sizes": layers}).fit(X, Y)
    assert {trial.params["trunk__hidden_layer_sizes"] for trial in found.trials_} == {(4,), (8, 4)}
    best = found.best_params_["trunk__hidden_layer_sizes"]
    assert found.best_estimator_.trunk_.hidden_layer_sizes == best


def test_a_search_that_prunes_continues_each_fold_by_partial_fit(optuna, search, two_rates):
    space = {"learning_rate": optuna.distributions.FloatDistribution(1e-6, 1e-1, log=True)}
    study = two_rates("maximize")
    options = {"study": study, "enable_pruning": True, "max_iter": 4, "n_trials": 2}
    search(NET, space, **options).fit(X, Y)
    assert states(study) == ["COMPLETE", "PRUNED"]
    folds = np.array_split(np.arange(N), 3)
    nets = [clone(NET).set_params(learning_rate=1e-2) for _ in folds]
    for epoch in range(4):
        scores = []
        for net, test in zip(nets, folds, strict=True):
            train = np.setdiff1d(np.arange(N), test)
            scores.append(net.partial_fit(X[train], Y[train]).score(X[test], Y[test]))
        found = study.trials[0].intermediate_values[epoch]
        np.testing.assert_allclose(found, np.mean(scores), rtol=1e-12)


def test_a_trial_is_pruned_within_a_fit_by_the_callback_for_skorch(optuna, two_rates):
    from optuna_integration import SkorchPruningCallback

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-6, 1e-1, log=True)
        net = clone(NET).set_params(max_epochs=6, learning_rate=rate, early_stopping=True)
        net.set_params(callbacks=[lambda: SkorchPruningCallback(trial, "valid_loss")])
        net.fit(X, Y)
        losses = [row["val_loss"] for row in net.history_]
        trial.set_user_attr("losses", losses)
        return losses[-1]

    study = two_rates("minimize")
    study.optimize(objective, n_trials=2)
    assert states(study) == ["COMPLETE", "PRUNED"]
    complete, pruned = study.trials
    assert len(pruned.intermediate_values) < 6
    reported = list(complete.intermediate_values.values())
    np.testing.assert_allclose(reported, complete.user_attrs["losses"])


def test_a_callback_that_cannot_be_copied_is_refused_with_the_remedy(optuna):
    from optuna_integration import SkorchPruningCallback

    trial = optuna.create_study().ask()
    net = clone(NET)
    net.callbacks = [SkorchPruningCallback(trial, "valid_loss")]
    with pytest.raises(TypeError, match=r"lambda: SkorchPruningCallback\(\.\.\.\)"):
        net.fit(X, Y)


def test_the_example_of_the_guide_runs(optuna, run_example):
    names = run_example("Optuna")
    assert 0.01 <= names["search"].best_params_["loss_weights__kind"] <= 1
