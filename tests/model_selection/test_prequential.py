"""Test, then train: against loops by hand, and what each row sees."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    max_error,
    mean_absolute_error,
    r2_score,
)
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

from mtlearn import Inputs, MultiOutputNet, MultiOutputNetClassifier, Targets
from mtlearn.heads import Classification, Count
from mtlearn.model_selection import prequential
from mtlearn.trunks import MLP

RNG = np.random.default_rng(0)
X = RNG.normal(size=(130, 4))
KIND = np.where(X[:, 0] + 0.3 * RNG.normal(size=130) > 0, "up", "down")
PRICE = X[:, 1] * 3 + 10
Y = {"price": PRICE, "kind": KIND}


class Spy(BaseEstimator):
    """Predicts the last labels that it has learned, 0 for NaN, and notes all calls."""

    def partial_fit(self, X, y, sample_weight=None):
        self.calls_ = [*getattr(self, "calls_", []), ("learn", X, y, sample_weight)]
        return self

    def predict(self, X):
        if not hasattr(self, "calls_"):
            raise NotFittedError("not yet")
        self.calls_.append(("predict", X))
        y = next(call[2] for call in self.calls_[::-1] if call[0] == "learn")
        if isinstance(y, dict):
            return {name: self._repeat(labels, len(X)) for name, labels in y.items()}
        return self._repeat(y, len(X))

    def _repeat(self, y, n_rows):
        last = np.nan_to_num(y[-1:]) if y.dtype.kind == "f" else y[-1:]
        return np.repeat(last, n_rows, axis=0)


class Experts(Spy):
    """Two experts, and a third one from the third batch on."""

    def partial_fit(self, X, y, sample_weight=None):
        super().partial_fit(X, y)
        k = sum(call[0] == "learn" for call in self.calls_)
        self.expert_names_ = ["linear", "deep", "deeper"][: 2 + (k > 2)]
        self.expert_weights_ = {"y": np.arange(len(self.expert_names_)) / k}
        return self


def make_net(**params):
    return MultiOutputNet(MLP((4,)), random_state=0).set_params(**params)


@pytest.mark.parametrize("estimator", [SGDClassifier(random_state=0), Perceptron()])
def test_it_does_what_a_loop_over_rows_does(estimator):
    result = prequential(estimator, X, KIND, window=20, record_every=10)
    fitted = type(estimator)(**estimator.get_params())
    fitted.partial_fit(X[:1], KIND[:1], classes=["down", "up"])
    predicted = [None]
    for i in range(1, 130):
        predicted.append(fitted.predict(X[i : i + 1])[0])
        fitted.partial_fit(X[i : i + 1], KIND[i : i + 1])
    assert result.predictions["y"].tolist() == predicted
    assert result.n_before_fit == 1
    wrong = np.array(predicted[1:]) != KIND[1:]
    assert result.metrics["y"]["accuracy"] == pytest.approx(1 - wrong.mean())
    expected = balanced_accuracy_score(KIND[1:], np.array(predicted[1:]))
    assert result.metrics["y"]["balanced_accuracy"] == pytest.approx(expected)
    assert result.rows.tolist() == list(range(10, 131, 10))
    for rows, so_far, last in zip(
        result.rows, result.cumulative_error["y"], result.windowed_error["y"], strict=True
    ):
        assert so_far == pytest.approx(wrong[: rows - 1].mean())
        assert last == pytest.approx(wrong[max(rows - 21, 0) : rows - 1].mean())
    assert np.array_equal(result.estimator.predict(X), fitted.predict(X))
    assert not hasattr(estimator, "classes_")


def test_it_does_what_a_loop_over_batches_of_mixed_targets_does():
    result = prequential(make_net(), X, Y, batch_size=20)
    net, y = make_net(), Targets(Y)
    net.partial_fit(X[:20], y[:20], classes={"kind": ["down", "up"]})
    parts = []
    for start in range(20, 130, 20):
        rows = slice(start, start + 20)  # the last batch has 10 rows
        parts.append(net.predict(X[rows]))
        net.partial_fit(X[rows], y[rows])
    expected = np.concatenate(parts)
    assert result.n_before_fit == 20
    assert np.array_equal(result.predictions["price"][20:], expected["price"])
    assert np.array_equal(result.predictions["kind"][20:], expected["kind"])
    assert np.isnan(result.predictions["price"][:20]).all()
    assert result.predictions["kind"][:20].tolist() == [None] * 20
    metrics = result.metrics
    assert metrics["price"] == {
        "mae": pytest.approx(mean_absolute_error(PRICE[20:], expected["price"])),
        "r2": pytest.approx(r2_score(PRICE[20:], expected["price"])),
    }
    assert metrics["kind"]["accuracy"] == pytest.approx(np.mean(KIND[20:] == expected["kind"]))
    for name in ("price", "kind"):
        assert result.rows[-1] == 130
        assert np.array_equal(np.flatnonzero(result.scored[name]), np.arange(20, 130))
    errors = np.abs(PRICE[20:] - expected["price"])
    assert result.cumulative_error["price"][-1] == pytest.approx(errors.mean())
    assert result.error_names == {"price": "mean absolute error", "kind": "error rate"}
    assert np.array_equal(result.estimator.predict(X)["price"], net.predict(X)["price"])


@pytest.mark.parametrize("batch_size", [1, 7, 13, 1000])
def test_each_row_is_predicted_before_it_is_learned_and_once(batch_size):
    numbers = np.arange(30.0)
    result = prequential(Spy(), numbers[:, None], numbers, batch_size=batch_size)
    calls = result.estimator.calls_
    assert [call[0] for call in calls] == ["learn", "predict"] * (len(calls) // 2) + ["learn"]
    n_first = min(batch_size, 30)
    for i, call in enumerate(calls):
        rows = np.arange(30)[(i + 1) // 2 * batch_size :][:batch_size]
        assert call[1][:, 0].tolist() == rows.tolist()
    learned = np.concatenate([call[2] for call in calls if call[0] == "learn"])
    assert np.array_equal(learned, numbers)
    assert result.n_before_fit == n_first
    if batch_size == 1:  # the last label is the prediction: it is always the row before
        assert result.predictions["y"][1:].tolist() == numbers[:-1].tolist()
        assert result.metrics["y"]["mae"] == 1


def test_missing_labels_are_passed_on_and_not_scored():
    price, kind = PRICE.copy(), KIND.astype(object)
    price[::3], kind[1::3] = np.nan, None
    y = {"price": price, "kind": kind}
    result = prequential(make_net(missing_targets="ignore"), X, y, batch_size=10)
    rows = np.arange(130)
    assert np.array_equal(result.scored["price"], (rows >= 10) & (rows % 3 != 0))
    assert np.array_equal(result.scored["kind"], (rows >= 10) & (rows % 3 != 1))
    there = result.scored["price"]
    expected = mean_absolute_error(PRICE[there], result.predictions["price"][there])
    assert result.metrics["price"]["mae"] == pytest.approx(expected)
    there = result.scored["kind"]
    right = result.predictions["kind"][there] == KIND[there]
    assert result.metrics["kind"]["accuracy"] == pytest.approx(right.mean())
    spied = prequential(Spy(), X, y, batch_size=10).estimator.calls_[0][2]
    assert np.array_equal(spied["price"], price[:10], equal_nan=True)


def test_a_class_predicted_before_it_comes_is_wrong_and_none_of_the_balanced():
    y = np.array(["a", "b", "a", "a", "c"])
    result = prequential(Spy(), X[:5], y, sample_weight=[1, 1, 1, 2, 1])
    predicted = ["a", "b", "a", "a"]
    assert result.predictions["y"][1:].tolist() == predicted
    expected = balanced_accuracy_score(y[1:], predicted, sample_weight=[1, 1, 2, 1])
    assert result.metrics["y"]["balanced_accuracy"] == pytest.approx(expected)


def test_an_output_never_observed_has_no_score():
    kind = np.full(30, None, dtype=object)
    kind[0] = "up"
    result = prequential(Spy(), X[:30], {"kind": kind, "price": PRICE[:30]}, window=5)
    assert np.isnan(list(result.metrics["kind"].values())).all()
    assert np.isnan(result.cumulative_error["kind"]).all()
    assert np.isnan(result.windowed_error["kind"]).all()
    assert result.metrics["price"]["mae"] > 0


def test_a_window_without_labels_has_no_error():
    price = np.arange(40.0)
    price[10:30] = np.nan
    result = prequential(Spy(), X[:40], price, window=5, record_every=1)
    assert np.isnan(result.windowed_error["y"][15:29]).all()
    assert not np.isnan(result.windowed_error["y"][[5, 12]]).any()
    assert np.isfinite(result.cumulative_error["y"][1:]).all()


def test_weights_reach_the_estimator_the_errors_and_the_metrics():
    weight = np.tile([0.0, 1.0, 3.0], 10)
    price = np.arange(30.0) ** 2
    metrics = {"mae": mean_absolute_error, "largest": max_error}
    result = prequential(Spy(), X[:30], price, sample_weight=weight, metrics=metrics)
    learned = [call[3] for call in result.estimator.calls_ if call[0] == "learn"]
    assert np.array_equal(np.concatenate(learned), weight)
    errors = np.diff(price)
    mean = np.average(errors, weights=weight[1:])
    assert result.metrics["y"]["mae"] == pytest.approx(mean)
    assert result.cumulative_error["y"][-1] == pytest.approx(mean)
    assert result.metrics["y"]["largest"] == errors[weight[1:] > 0].max()
    assert np.array_equal(result.scored["y"], (weight > 0) & (np.arange(30) > 0))


def test_weights_may_be_by_output():
    weight = np.tile([0.0, 1.0], 15)
    y = {name: labels[:30] for name, labels in Y.items()}
    result = prequential(Spy(), X[:30], y, batch_size=5, sample_weight={"kind": weight})
    assert result.estimator.calls_[0][3]["kind"].tolist() == [0, 1, 0, 1, 0]
    assert result.scored["kind"].sum() == 13
    assert result.scored["price"].sum() == 25


def test_a_stream_goes_on_from_a_fitted_estimator():
    estimator = SGDClassifier(random_state=0)
    whole = prequential(estimator, X, KIND)
    first = prequential(estimator, X[:70], KIND[:70])
    second = prequential(first.estimator, X[70:], KIND[70:], warm_start=True)
    assert second.n_before_fit == 0
    parts = [*first.predictions["y"], *second.predictions["y"]]
    assert parts == whole.predictions["y"].tolist()
    assert first.estimator.t_ == 71  # a copy went on
    assert second.estimator.t_ == 131
    assert prequential(first.estimator, X[70:], KIND[70:]).n_before_fit == 1


def test_a_net_goes_on_in_a_copy():
    first = prequential(make_net(), X[:60], Targets(Y)[:60], batch_size=20)
    before = first.estimator.predict(X)
    second = prequential(first.estimator, X[60:], Targets(Y)[60:], batch_size=20, warm_start=True)
    whole = prequential(make_net(), X, Y, batch_size=20)
    assert np.array_equal(second.predictions["price"], whole.predictions["price"][60:])
    assert first.estimator.predict(X) == before


def test_classes_need_not_be_declared():
    y = np.array(["down", "up"] * 65)
    y[100:] = "side"
    result = prequential(make_net(), X, {"kind": y}, batch_size=10)
    assert result.estimator.classes_["kind"].tolist() == ["down", "side", "up"]
    with pytest.raises(ValueError, match="side") as caught:
        prequential(make_net(), X, {"kind": y}, batch_size=10, declare_classes=False)
    assert caught.value.__notes__ == ["prequential: this was at the rows 100 to 109."]
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        prequential(SGDClassifier(), X, KIND, declare_classes=False)


def test_metrics_are_the_users_functions():
    metrics = {"f1": lambda true, pred: f1_score(true, pred, pos_label="up")}
    result = prequential(SGDClassifier(random_state=0), X, KIND, metrics=metrics)
    predicted = result.predictions["y"][1:].astype(str)
    assert result.metrics == {"y": {"f1": f1_score(KIND[1:], predicted, pos_label="up")}}
    metrics = {"kind": {"f1": lambda true, pred: f1_score(true, pred, average="macro")}}
    result = prequential(make_net(), X, Y, batch_size=10, metrics=metrics)
    assert list(result.metrics["kind"]) == ["f1"]
    assert list(result.metrics["price"]) == ["mae", "r2"]


def test_the_type_of_an_estimator_says_what_its_labels_are():
    codes = (X[:, 0] > 0).astype(float)
    assert "accuracy" in prequential(SGDClassifier(), X, codes).metrics["y"]
    counts = np.round(np.exp(X[:, 0])).astype(int)
    assert "mae" in prequential(SGDRegressor(random_state=0), X, counts).metrics["y"]
    heads = {"y": Count()}
    assert "mae" in prequential(make_net(heads=heads), X, counts, batch_size=20).metrics["y"]
    heads = {"y": Classification()}
    assert "accuracy" in prequential(make_net(heads=heads), X, codes, batch_size=20).metrics["y"]


def test_a_matrix_of_numbers_is_one_output_and_a_frame_has_several():
    numbers = np.column_stack([PRICE, -2 * PRICE])
    estimator = MultiOutputRegressor(SGDRegressor(random_state=0))
    matrix = prequential(estimator, X, numbers)
    frame = prequential(estimator, X, pd.DataFrame(numbers, columns=["a", "b"]))
    assert matrix.predictions["y"].shape == (130, 2)
    assert np.array_equal(matrix.predictions["y"][1:, 1], frame.predictions["b"][1:])
    both = [frame.metrics[name]["mae"] for name in ("a", "b")]
    assert matrix.metrics["y"]["mae"] == pytest.approx(np.mean(both))
    ends = [frame.cumulative_error[name][-1] for name in ("a", "b")]
    assert matrix.cumulative_error["y"][-1] == pytest.approx(np.mean(ends))


def test_a_matrix_of_classes_is_scored_by_column():
    labels = np.column_stack([KIND, np.where(X[:, 1] > 0, "left", "right")])
    for estimator, batch_size in (
        (MultiOutputClassifier(SGDClassifier(random_state=0)), 1),
        (MultiOutputNetClassifier(MLP((4,)), random_state=0), 10),
    ):
        result = prequential(estimator, X, labels, batch_size=batch_size)
        n = result.n_before_fit
        predicted = result.predictions["y"][n:]
        shares = np.mean(predicted == labels[n:], axis=0)
        assert result.metrics["y"]["accuracy"] == pytest.approx(shares.mean())
        balanced = [
            balanced_accuracy_score(labels[n:, j], predicted[:, j].astype(str)) for j in (0, 1)
        ]
        assert result.metrics["y"]["balanced_accuracy"] == pytest.approx(np.mean(balanced))


def test_multilabel_outputs_are_learned():
    tags = (X[:, :2] > 0).astype(int)
    result = prequential(make_net(), X, {"tags": tags, "price": PRICE}, batch_size=10)
    right = np.mean(result.predictions["tags"][10:] == tags[10:])
    assert result.metrics["tags"]["accuracy"] == pytest.approx(right)


def test_rows_come_as_they_are():
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(130) * 2)
    batch = prequential(Spy(), frame, PRICE, batch_size=50).estimator.calls_[-1][1]
    pd.testing.assert_frame_equal(batch, frame.iloc[100:])
    inputs = {"left": X[:, :2], "right": frame}
    batch = prequential(Spy(), inputs, PRICE, batch_size=50).estimator.calls_[-1][1]
    assert batch == Inputs({"left": X[100:, :2], "right": frame.iloc[100:]})
    dicts = [{"a": 1.0}, {"b": 2.0}, {"a": 3.0, "b": 1.0}]
    calls = prequential(Spy(), dicts, PRICE[:3]).estimator.calls_
    assert [call[1] for call in calls if call[0] == "learn"] == [[row] for row in dicts]
    lists = prequential(Spy(), X.tolist(), PRICE.tolist(), batch_size=50).estimator.calls_
    assert np.array_equal(lists[-1][1], X[100:])


def test_availability_is_the_share_of_finite_values_in_a_window():
    rows = np.ones((8, 4))
    rows[1, 0], rows[2, 1], rows[5] = np.nan, np.inf, np.nan
    expected = [1, 0.875, 0.75, 0.875, 1, 0.5, 0.5, 1]
    frame = pd.DataFrame(rows, columns=list("abcd"))
    halves = {"left": rows[:, :2], "right": frame[["c", "d"]]}
    for given in (rows, frame, halves):
        result = prequential(Spy(), given, PRICE[:8], window=2)
        np.testing.assert_allclose(result.availability, expected)
    dicts = [{"a": 1.0, "b": 2.0}, {"a": 1.0}, {"b": None}, {"c": np.nan, "d": 1}]
    result = prequential(Spy(), dicts, PRICE[:4], window=1)
    np.testing.assert_allclose(result.availability, [0.5, 0.25, 0, 0.25])
    words = {"words": np.array(["a", None, "b"], dtype=object)}
    result = prequential(Spy(), words, PRICE[:3], window=1)
    np.testing.assert_allclose(result.availability, [1, 0, 1])


def test_weights_of_experts_are_recorded():
    result = prequential(Experts(), X[:12], PRICE[:12], batch_size=2, record_every=2)
    assert result.rows.tolist() == [4, 8, 12]
    assert result.expert_names == ["linear", "deep", "deeper"]
    expected = [[0, 1 / 2, np.nan], [0, 1 / 4, 2 / 4], [0, 1 / 6, 2 / 6]]
    np.testing.assert_allclose(result.expert_weights["y"], expected)
    assert prequential(Spy(), X, PRICE).expert_weights == {}


def test_the_last_record_is_that_of_the_last_row():
    result = prequential(Spy(), X[:11], np.arange(11.0), batch_size=2, record_every=4)
    assert result.rows.tolist() == [8, 11]
    assert len(result.availability) == len(result.windowed_error["y"]) == 2
    errors = [1, 2] * 4 + [1]  # the last label of a batch is one or two rows before
    assert result.cumulative_error["y"].tolist() == [np.mean(errors[:6]), np.mean(errors)]


def test_records_are_few_by_default():
    result = prequential(Spy(), np.zeros((3000, 1)), np.zeros(3000))
    assert 500 <= len(result.rows) <= 1000
    assert result.window == 150
    assert prequential(Spy(), X, PRICE).window == 50


def test_rows_are_not_copied_as_a_whole():
    class Constant(RegressorMixin, BaseEstimator):
        def partial_fit(self, X, y):
            return self

        def predict(self, X):
            return np.zeros(len(X))

    rows, labels = np.zeros((20_000, 100)), np.zeros(20_000)
    tracemalloc.start()
    prequential(Constant(), rows, labels, batch_size=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes / 3


def test_times_are_those_of_predicting_and_learning():
    result = prequential(SGDClassifier(), X, KIND)
    assert 0 < result.seconds < 60
    assert result.rows_per_second == pytest.approx(130 / result.seconds)
    assert repr(result).startswith("<PrequentialResult of 130 rows, y: accuracy 0.")


def test_a_bar_is_shown_where_it_is_wanted(capsys):
    prequential(Spy(), X, PRICE)
    assert capsys.readouterr() == ("", "")
    prequential(Spy(), X, PRICE, verbose="progress")
    assert "130/130" in capsys.readouterr().err


def test_predictions_that_are_not_finite_are_refused():
    class Lost(Spy):
        def predict(self, X):
            super().predict(X)
            return np.full(len(X), np.inf)

    message = r"^prequential: output 'y': predictions must be finite. Got inf: the"
    with pytest.raises(ValueError, match=message) as caught:
        prequential(Lost(), X, PRICE)
    assert caught.value.__notes__ == ["prequential: this was at the rows 1 to 1."]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, r"`batch_size` must be an integer of at least 1. Got 0"),
        ({"batch_size": "auto"}, ValueError, r"`batch_size` must be an integer of .* Got 'auto'"),
        ({"window": 0}, ValueError, r"`window` must be an integer of at least 1, or 'auto'. Got 0"),
        ({"record_every": 0.5}, ValueError, r"`record_every` must be .* Got 0.5"),
        ({"verbose": "bar"}, ValueError, r"`verbose` must be an integer or 'progress'. Got 'bar'"),
        ({"y": KIND[:5]}, ValueError, r"`X` and `y` must have the same number .* 130 and 5"),
        ({"y": None}, ValueError, r"`y` must be given"),
        ({"y": {}}, ValueError, r"a stream must have a row and a target"),
        ({"X": X[:0], "y": KIND[:0]}, ValueError, r"a stream must have a row and a target"),
        ({"metrics": {"f1": "f1"}}, TypeError, r"the metric 'f1' must be a function .* Got 'f1'"),
        ({"metrics": "accuracy"}, TypeError, r"`metrics` must be a dict of functions"),
        (
            {"metrics": {"z": {"f1": f1_score}}},
            ValueError,
            r"`metrics` names the unknown output 'z'; the outputs are \['y'\]",
        ),
        ({"metrics": {"y": {}, "z": f1_score}}, ValueError, r".* unknown output 'z'"),
        (
            {"y": Y, "metrics": {"f1": f1_score}},
            ValueError,
            r"`metrics` must be by output, since `y` has the outputs \['price', 'kind'\]",
        ),
        ({"sample_weight": [1, 2]}, ValueError, r"`sample_weight` must be .* 130 rows. .* \(2,\)"),
        ({"sample_weight": -np.ones(130)}, ValueError, r"`sample_weight` must be a finite number"),
        ({"sample_weight": {"z": np.ones(130)}}, ValueError, r"`sample_weight` names .* 'z'"),
    ],
)
def test_bad_input_is_named(params, error, message):
    given = {"X": X, "y": KIND, **params}
    with pytest.raises(error, match=f"^prequential: {message}"):
        prequential(Spy(), **given)


def test_an_estimator_must_learn_and_predict():
    with pytest.raises(TypeError, match=r"must have the method 'partial_fit'.* DummyClassifier"):
        prequential(DummyClassifier(), X, KIND)

    class Mute(ClassifierMixin, BaseEstimator):
        def partial_fit(self, X, y):
            return self

    with pytest.raises(TypeError, match=r"must have the method 'predict', to learn .* Mute"):
        prequential(Mute(), X, KIND)

    class Unweighted(Mute):
        def predict(self, X):
            return np.repeat("up", len(X))

    with pytest.raises(TypeError, match=r"`sample_weight` must be None for .* Unweighted"):
        prequential(Unweighted(), X, KIND, sample_weight=np.ones(130))
    assert prequential(Unweighted(), X, KIND).n_before_fit == 0


def test_predictions_of_another_shape_are_refused():
    class Wide(Spy):
        def predict(self, X):
            super().predict(X)
            return np.zeros((len(X), 3))

    message = r"output 'y': `predict` must return the shape of the labels, \(1,\). Got \(1, 3\)"
    with pytest.raises(ValueError, match=message):
        prequential(Wide(), X, PRICE)
    with pytest.raises(ValueError, match=r"must return a column for each .* the shape \(1, 3\)"):
        prequential(Wide(), X, Y)

    class Partial(Spy):
        def predict(self, X):
            return {"price": super().predict(X)["price"]}

    with pytest.raises(ValueError, match=r"must return all outputs of `y`. Missing are \['kind'\]"):
        prequential(Partial(), X, Y)
