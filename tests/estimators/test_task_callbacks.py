"""scikit-learn's own callbacks, from 1.9 on."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.model_selection import make_output_scorer, output_scoring
from mtlearn.trunks import MLP

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has none")

X = np.random.default_rng(0).normal(size=(60, 3))
Y = Targets({"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")})


class Recorder:
    """Records all calls, and ends the training after an epoch if told so."""

    def __init__(self, last_epoch=None):
        self.last_epoch = last_epoch
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(f"end {context.task_name} {context.task_id}")
        self.seen = y, metadata
        self.fitted = fitted_estimator
        return context.task_name == "epoch" and context.task_id == self.last_epoch


def make_net(**params):
    return MultiOutputNet(MLP((4,), dropout=0.2), max_epochs=3, random_state=0).set_params(**params)


def test_fit_is_a_task_and_each_epoch_one_in_it():
    recorder = Recorder()
    make_net(max_epochs=2).set_callbacks(recorder).fit(X, Y)
    assert recorder.calls == [
        "setup",
        "begin fit 0",
        "begin epoch 0",
        "end epoch 0",
        "begin epoch 1",
        "end epoch 1",
        "end fit 0",
        "teardown",
    ]


def test_callback_can_end_the_training():
    net = make_net(max_epochs=9).set_callbacks(Recorder(last_epoch=1)).fit(X, Y)
    assert net.n_iter_ == 2
    assert net.predict(X) == make_net(max_epochs=2).fit(X, Y).predict(X)


def test_watching_changes_nothing():
    watched = make_net().set_callbacks(Recorder()).fit(X, Y)
    assert watched.predict(X) == make_net().fit(X, Y).predict(X)
    assert watched.history_ == make_net().fit(X, Y).history_


@pytest.mark.parametrize("epochs", [1, 3])
def test_callback_sees_the_estimator_as_if_the_fit_ended(epochs):
    recorder = Recorder(last_epoch=epochs - 1)
    weights = np.arange(60.0)
    make_net(max_epochs=5).set_callbacks(recorder).fit(X, Y, weights)
    ended = make_net(max_epochs=epochs).fit(X, Y, weights)
    assert recorder.fitted.predict(X) == ended.predict(X)
    assert recorder.fitted.scores(X, Y) == ended.scores(X, Y)
    assert recorder.seen[0] is Y
    assert recorder.seen[1]["sample_weight"] is weights


@pytest.mark.parametrize(
    ("estimator", "y"),
    [(MultiOutputNetRegressor, Y["price"]), (MultiOutputNetClassifier, Y["kind"])],
)
def test_array_estimators_are_watched_too(estimator, y):
    recorder = Recorder()
    net = estimator(max_epochs=2, random_state=0).set_callbacks(recorder)
    net.fit(X, y, aux=Y[["kind" if y is Y["price"] else "price"]])
    np.testing.assert_array_equal(recorder.fitted.predict(X), net.predict(X))


def test_scoring_monitor_logs_outputs_per_epoch():
    scoring = output_scoring(acc=("kind", "accuracy"), r2=("price", "r2"))
    monitor = callback.ScoringMonitor(scoring=scoring)
    make_net().set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data
    accuracies = [
        accuracy_score(Y["kind"], make_net(max_epochs=n).fit(X, Y).predict(X)["kind"])
        for n in (1, 2, 3)
    ]
    epochs = [entry for entry in _rows(log) if entry["acc"] is not None]
    assert [entry["acc"] for entry in epochs][:3] == accuracies


def _rows(log):
    return log.to_dict("records") if hasattr(log, "to_dict") else list(log)


def test_callbacks_work_in_a_pipeline_and_in_a_search():
    monitor = callback.ScoringMonitor(scoring={"acc": make_output_scorer("kind", "accuracy")})
    net = make_pipeline(StandardScaler(), make_net(max_epochs=2).set_callbacks(monitor))
    grid = {"multioutputnet__loss_weights__kind": [0.1, 1.0]}
    search = GridSearchCV(net, grid, cv=2, error_score="raise").fit(X, Y)
    alone = GridSearchCV(make_pipeline(StandardScaler(), make_net(max_epochs=2)), grid, cv=2)
    assert search.best_score_ == alone.fit(X, Y).best_score_


def test_failing_callback_leaves_the_estimator_as_it_was():
    class Broken(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("no space left")

    broken = Broken()
    net = make_net().set_callbacks(broken)
    with pytest.raises(RuntimeError, match="MultiOutputNet: no space left"):
        net.fit(X, Y)
    assert not hasattr(net, "module_")
    assert broken.calls[-1] == "teardown"


def test_clones_share_the_callbacks():
    recorder = Recorder()
    clone(make_net().set_callbacks(recorder)).fit(X, Y)
    assert recorder.calls[0] == "setup"
