import itertools
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mtlearn import MultiOutputNet, OutputView, Targets
from mtlearn.ensemble import Blend
from mtlearn.heads import Classification, Gaussian, MultiLabel, Quantile, Regression
from mtlearn.inspection import ArchitectureDisplay
from mtlearn.trunks import MLP

RNG = np.random.default_rng(0)
N = 120
X = RNG.normal(size=(N, 3))
Y = Targets(
    {
        "line": X[:, 0] - X[:, 1] + 0.1 * RNG.normal(size=N),
        "square": X[:, 2] ** 2,
        "kind": np.digitize(X[:, 0], [-0.5, 0.5]),
        "tags": (X[:, :2] > 0).astype(int),
    }
)


def net(**params):
    settings = {
        "trunk": MLP(()),
        "n_members": 4,
        "early_stopping": True,
        "validation_fraction": 0.25,
        "learning_rate": 0.03,
        "max_epochs": 40,
        "random_state": 0,
    }
    return MultiOutputNet(**settings | params)


def squares(**params):
    return make_pipeline(FunctionTransformer(np.square), StandardScaler(), net(**params))


def make(**params):
    return Blend([("plain", net(**params)), ("squares", squares(**params))])


def test_each_output_takes_the_estimator_that_can_predict_it():
    blend = make().fit(X, Y)
    assert blend.weights_["line"]["plain"] >= 0.9
    assert blend.weights_["square"]["squares"] >= 0.9
    assert blend.score(X, Y) > max(one.score(X, Y) for one in blend.estimators_)
    for weights in blend.weights_.values():
        assert list(weights) == ["plain", "squares"]
        assert sum(weights.values()) == pytest.approx(1)


def test_predictions_are_the_weighted_means():
    blend = make().fit(X, Y)
    predicted, chances = blend.predict(X), blend.predict_proba(X)
    for name in ("line", "square"):
        first, second = (one.predict(X)[name] for one in blend.estimators_)
        weights = blend.weights_[name]
        expected = weights["plain"] * first + weights["squares"] * second
        np.testing.assert_allclose(predicted[name], expected)
    for name in ("kind", "tags"):
        first, second = (one.predict_proba(X)[name] for one in blend.estimators_)
        weights = blend.weights_[name]
        expected = weights["plain"] * first + weights["squares"] * second
        np.testing.assert_allclose(chances[name], expected)
    np.testing.assert_array_equal(predicted["kind"], chances["kind"].argmax(1))
    np.testing.assert_array_equal(predicted["tags"], chances["tags"] > 0.5)
    assert list(blend.predict(X, outputs=["kind", "line"])) == ["kind", "line"]


def held_out(fitted, rows, name):
    """What each member predicts of the rows it held out, one row at a time."""
    found = np.full(N, np.nan)
    for member in fitted.members_[: fitted.n_members]:
        ((_, held),) = member.validation_fraction.split(rows, np.zeros(N))
        for row in held:
            found[row] = member.predict(rows[[row]])[name][0]
    return found


@pytest.mark.parametrize("refit", [False, True])
def test_weights_are_the_best_on_rows_that_members_held_out(refit):
    blend = make(refit=refit).fit(X, Y)
    plain, pipe = blend.estimators_
    parts = [held_out(plain, X, "line"), held_out(pipe[-1], pipe[:-1].transform(X), "line")]
    assert np.isfinite(parts).all()
    errors = {
        share: np.sum((Y["line"] - share * parts[0] - (1 - share) * parts[1]) ** 2)
        for share in np.arange(11) / 10
    }
    assert blend.weights_["line"]["plain"] == min(errors, key=errors.get)


def test_rows_without_label_or_weight_do_not_count_for_the_weights():
    y = Targets({"square": Y["square"].copy()})
    y["square"][:30] = np.nan
    nets = [net(missing_targets="ignore"), squares(missing_targets="ignore")]
    missing = Blend(list(zip("ab", nets, strict=True))).fit(X, y)
    wild = Targets({"square": np.where(np.arange(N) < 30, 1e3, Y["square"])})
    weight = (np.arange(N) >= 30).astype(float)
    weightless = Blend(list(zip("ab", [net(), squares()], strict=True))).fit(X, wild, weight)
    assert missing.weights_ == weightless.weights_
    assert missing.weights_["square"]["b"] > 0.5


def test_without_held_out_rows_all_have_equal_weights():
    blend = Blend([(name, net(early_stopping=False, max_epochs=2)) for name in "abcd"]).fit(X, Y)
    assert set(blend.weights_["kind"].values()) == {0.25}


def test_three_estimators_share_the_weight():
    parts = [("a", net(max_epochs=2)), ("b", squares(max_epochs=2)), ("c", net(random_state=1))]
    blend = Blend(parts).fit(X, Y)
    for weights in blend.weights_.values():
        shares = list(weights.values())
        assert any(
            np.allclose(shares, [a / 10, b / 10, (10 - a - b) / 10])
            for a, b in itertools.product(range(11), repeat=2)
            if a + b <= 10
        )


def test_it_is_cloned_pickled_and_searched_by_nested_names():
    blend = make(max_epochs=2)
    assert blend.get_params()["squares__multioutputnet__max_epochs"] == 2
    copy = clone(blend).set_params(plain__max_epochs=3, squares__multioutputnet__alpha=0.0)
    assert blend.estimators[0][1].max_epochs == 2
    fitted = copy.fit(X, Y)
    assert pickle.loads(pickle.dumps(fitted)).predict(X) == fitted.predict(X)
    search = GridSearchCV(blend, {"plain__learning_rate": [0.01, 0.1]}, cv=2).fit(X, Y)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    assert np.isfinite(cross_val_predict(blend, X, Y, cv=2)["line"]).all()


def test_the_same_seed_makes_the_same_blend():
    assert make(max_epochs=3).fit(X, Y).predict(X) == make(max_epochs=3).fit(X, Y).predict(X)


def test_an_array_has_arrays():
    heads = {"y": Regression()}
    blend = Blend([("a", net(heads=heads)), ("b", squares(heads=heads))]).fit(X, Y["square"])
    assert blend.predict(X).shape == (N,)
    with pytest.raises(AttributeError, match="Blend: no output has classes"):
        blend.predict_proba(X)
    classes = Blend([("a", net(max_epochs=2))]).fit(X, Y["kind"])
    assert classes.predict_proba(X).shape == (N, 3)
    assert classes.classes_.tolist() == [0, 1, 2]


def test_scores_are_those_of_the_heads_and_of_the_main_output():
    blend = make(main_output="kind").fit(X, Y)
    predicted = blend.predict(X)
    assert blend.score(X, Y) == np.mean(predicted["kind"] == Y["kind"])
    assert set(blend.scores(X, Y)) == set(Y)


def test_thresholds_of_heads_decide():
    heads = {"tags": MultiLabel(threshold=0.9), "kind": Classification(classes=[2, 1, 0])}
    blend = make(heads=heads, max_epochs=3).fit(X, Y)
    np.testing.assert_array_equal(blend.predict(X)["tags"], blend.predict_proba(X)["tags"] > 0.9)
    assert blend.classes_["kind"].tolist() == [2, 1, 0]


@pytest.mark.parametrize("bad", [[], [("a", net()), ("a", net())], [net()], [("a", net(), 3)]])
def test_estimators_must_have_names_of_their_own(bad):
    with pytest.raises(ValueError, match=r"Blend: `estimators` must be a list of \(name, estim"):
        Blend(bad).fit(X, Y)


def test_errors_name_the_estimator_and_the_output():
    blend = Blend([("a", net()), ("b", net(loss_weights={"lin": 1}))])
    with pytest.raises(ValueError, match=r"estimator 'b': .*unknown output 'lin'.*'line'"):
        blend.fit(X, Y)
    with pytest.raises(ValueError, match=r"unknown output 'lin'.*did you mean 'line'"):
        make(max_epochs=1).fit(X, Y).predict(X, outputs=["lin"])


def test_an_output_is_an_estimator_of_its_own():
    blend = make(max_epochs=3).fit(X, Y)
    kind, line = blend.output("kind"), OutputView(blend, "line")
    np.testing.assert_array_equal(kind.predict(X), blend.predict(X)["kind"])
    np.testing.assert_array_equal(kind.predict_proba(X), blend.predict_proba(X)["kind"])
    assert line.score(X, Y["line"]) == blend.scores(X, Y)["line"]
    assert not hasattr(line, "predict_std")
    importance = permutation_importance(line, X, Y["line"], n_repeats=2, random_state=0)
    assert importance.importances_mean[0] > importance.importances_mean[2]
    frozen = CalibratedClassifierCV(FrozenEstimator(kind), cv=2).fit(X, Y["kind"])
    assert frozen.predict_proba(X).shape == (N, 3)


def test_a_blend_of_blends_and_the_picture_of_one_are_refused():
    inner = make(max_epochs=1)
    with pytest.raises(TypeError, match=r"must be nets of mtlearn\. Got a Blend"):
        Blend([("a", inner)]).fit(X, Y)
    with pytest.raises(TypeError, match="ArchitectureDisplay: `estimator` must be a fitted"):
        ArchitectureDisplay.from_estimator(inner.fit(X, Y))


WORDS = np.array(["low", "mid", "high"])[Y["kind"]]
NUMBERS = np.digitize(X[:, 1], [0.0]) + 4
COLUMNS = {
    "numbers": np.column_stack([Y["kind"], NUMBERS]),
    "words": np.column_stack([WORDS, np.where(NUMBERS > 4, "yes", "no")]),
    "mixed": np.column_stack([WORDS.astype(object), NUMBERS.astype(object)]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_matrix_of_classes_is_learned_as_the_same_columns_by_name(kind):
    y = COLUMNS[kind]
    blend, named = make(max_epochs=5).fit(X, y), make(max_epochs=5)
    named.fit(X, {"y0": y[:, 0], "y1": y[:, 1]})
    assert blend.output_names_ == ["y0", "y1"]
    predicted, chances = blend.predict(X), blend.predict_proba(X)
    assert predicted.dtype.kind == y.dtype.kind
    assert predicted.shape == y.shape
    for j, name in enumerate(("y0", "y1")):
        assert set(predicted[:, j].tolist()) <= set(y[:, j].tolist())
        np.testing.assert_array_equal(predicted[:, j], named.predict(X)[name])
        np.testing.assert_array_equal(chances[j], named.predict_proba(X)[name])
        np.testing.assert_array_equal(blend.classes_[j], np.unique(y[:, j]))
    each = (predicted == y).mean(axis=0)
    assert blend.score(X, y) == pytest.approx(each.mean())
    assert blend.scores(X, y) == pytest.approx({"y0": each[0], "y1": each[1]})
    assert blend.predict(X, outputs=["y1"]).shape == (N, 1)
    np.testing.assert_array_equal(blend.output("y1").predict(X), predicted[:, 1])


@pytest.mark.parametrize("kind", COLUMNS)
def test_tools_of_scikit_learn_take_a_matrix_of_classes(kind):
    y, blend = COLUMNS[kind], make(max_epochs=5)
    assert np.isfinite(cross_val_score(blend, X, y, cv=2)).all()
    chances = cross_val_predict(blend, X, y, cv=2, method="predict_proba")
    assert [part.shape for part in chances] == [(N, 3), (N, 2)]
    np.testing.assert_allclose([part.sum(axis=1) for part in chances], 1.0)
    assert cross_val_predict(blend, X, y, cv=2).shape == (N, 2)
    grid = {"plain__learning_rate": [1e-4, 0.1], "squares__multioutputnet__max_epochs": [1]}
    search = GridSearchCV(blend, grid, cv=2).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    assert pickle.loads(pickle.dumps(search)).predict(X).tolist() == search.predict(X).tolist()


def test_missing_labels_of_a_matrix_of_classes_are_ignored_when_asked():
    y = COLUMNS["mixed"].copy()
    y[:30, 0], y[20:40, 1] = None, np.nan
    with pytest.raises(ValueError, match=r"output 'y0'.*missing_targets='ignore'"):
        make(max_epochs=2).fit(X, y)
    blend = make(max_epochs=5, missing_targets="ignore").fit(X, y)
    assert [classes.tolist() for classes in blend.classes_] == [["high", "low", "mid"], [4, 5]]
    predicted = blend.predict(X)
    each = [np.mean(predicted[30:, 0] == y[30:, 0])]
    known = np.r_[0:20, 40:N]
    each.append(np.mean(predicted[known, 1] == y[known, 1]))
    assert blend.score(X, y) == pytest.approx(np.mean(each))


def test_heads_for_all_columns_make_classes_of_zeros_and_ones_and_of_floats_with_gaps():
    heads = {"y0": Classification(), "y1": Classification()}
    tags = Blend([("a", net(heads=heads, max_epochs=2))]).fit(X, Y["tags"])
    assert tags.output_names_ == ["y0", "y1"]
    assert [part.shape for part in tags.predict_proba(X)] == [(N, 2), (N, 2)]
    gaps = COLUMNS["numbers"].astype(float)
    gaps[:5, 0] = np.nan
    blend = Blend([("a", net(heads=heads, max_epochs=2, missing_targets="ignore"))]).fit(X, gaps)
    assert [classes.tolist() for classes in blend.classes_] == [[0.0, 1.0, 2.0], [4.0, 5.0]]
    assert np.isfinite(blend.score(X, gaps))


def test_one_column_of_classes_is_a_vector():
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        blend = Blend([("a", net(max_epochs=2))]).fit(X, WORDS[:, None])
    assert blend.predict(X).shape == (N,)
    assert blend.predict_proba(X).shape == (N, 3)
    assert blend.score(X, WORDS) == np.mean(blend.predict(X) == WORDS)
    assert Blend([("a", net(max_epochs=2))]).fit(X, Y["tags"][:, :1]).predict(X).shape == (N, 1)


def test_the_main_output_may_be_a_column():
    y = COLUMNS["words"]
    blend = make(max_epochs=5, main_output="y1").fit(X, y)
    assert blend.score(X, y) == np.mean(blend.predict(X)[:, 1] == y[:, 1])


def test_a_matrix_must_have_the_columns_of_fit():
    blend = make(max_epochs=1).fit(X, COLUMNS["words"])
    with pytest.raises(
        ValueError, match=r"Blend: `y` must have 2 columns, as in fit\. Got the shape"
    ):
        blend.score(X, np.column_stack([WORDS, WORDS, WORDS]))


def test_an_array_with_several_heads_has_predictions_by_name():
    heads = {"y": Regression(), "range": Quantile([0.1, 0.9], target="y")}
    blend = Blend([("a", net(heads=heads, max_epochs=2))]).fit(X, Y["line"])
    assert list(blend.predict(X)) == ["y", "range"]
    assert set(blend.scores(X, Y["line"])) == {"y", "range"}


def test_the_standard_deviation_is_that_of_the_mixture():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = Targets({"price": X[:, 0] + rng.normal(size=120), "size": X[:, 1], "kind": X[:, 0] > 0})
    net = MultiOutputNet(
        heads={"price": Gaussian(), "kind": Classification()},
        n_members=2,
        early_stopping=True,
        validation_fraction=0.5,
        max_epochs=10,
        random_state=0,
    )
    blend = Blend([("a", net), ("b", clone(net).set_params(random_state=1))]).fit(X, y)
    found = blend.predict_std(X)
    assert list(found) == ["price", "size"]
    for name in found:
        share = np.array(list(blend.weights_[name].values()))[:, None]
        means = np.array([one.predict(X)[name] for one in blend.estimators_])
        stds = np.array([one.predict_std(X)[name] for one in blend.estimators_])
        second = (share * (means**2 + stds**2)).sum(axis=0)
        variance = second - (share * means).sum(axis=0) ** 2
        np.testing.assert_allclose(found[name] ** 2, variance, rtol=1e-6)
    np.testing.assert_array_equal(blend.output("price").predict_std(X), found["price"])
    with pytest.raises(AttributeError, match="classes have no standard deviation"):
        blend.predict_std(X, ["kind"])
