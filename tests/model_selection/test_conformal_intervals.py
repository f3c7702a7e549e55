"""Intervals hold their share of the labels of new rows, by the scores of held-out rows."""

import pickle
from functools import partial
from itertools import pairwise
from math import ceil

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy.stats import norm
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OutputView,
    Targets,
)
from mtlearn.ensemble import Blend
from mtlearn.heads import Count, Gaussian, Head, Quantile, Regression
from mtlearn.model_selection import (
    ConformalIntervalsCV,
    GridSearchCV,
    TunedThresholdsCV,
    cross_val_predict,
)
from mtlearn.trunks import MLP

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
HEADS = {
    "range": Quantile(QUANTILES, target="price"),
    "spread": Gaussian(target="price"),
    "price": Regression(),
}


def draw(n_rows, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, 8))
    return rows, rows[:, 0] + np.exp(0.5 * rows[:, 1]) * rng.normal(size=n_rows)


N = 200
X, PRICE = draw(N, 0)
Y = Targets({"price": PRICE})
BOTH = np.column_stack([PRICE, 10 * X[:, 2] + PRICE])
KIND = np.where(X[:, 3] > 0.5, "villa", "flat")
X_NEW, PRICE_NEW = draw(1000, 1)


def net(**params):
    settings = {"trunk": MLP(()), "learning_rate": 0.03, "max_epochs": 15, "random_state": 0}
    return MultiOutputNet(**settings | params)


def regressor(**params):
    settings = {"trunk": MLP(()), "learning_rate": 0.03, "max_epochs": 15, "random_state": 0}
    return MultiOutputNetRegressor(**settings | params)


def share_inside(interval, labels):
    return np.mean((interval[..., 0] <= labels) & (labels <= interval[..., 1]), axis=0)


def ranked(scores, level):
    """The score of the rank that holds a new one too."""
    return np.sort(scores)[ceil((len(scores) + 1) * level - 1e-9) - 1]


def test_intervals_hold_their_share_of_new_labels_where_the_heads_alone_do_not():
    shares = {(name, level): [] for name in HEADS for level in (0.6, 0.8, 0.95)}
    for seed in range(3):
        (rows, price), (test_rows, test_price) = draw(600, 10 + seed), draw(5000, 20 + seed)
        overfitted = MultiOutputNet(heads=HEADS, max_epochs=100, random_state=0)
        intervals = ConformalIntervalsCV(overfitted, cv=5).fit(rows, {"price": price})
        for name, level in shares:
            found = intervals.predict_interval(test_rows, level, outputs=[name])[name]
            shares[name, level].append(share_inside(found, test_price))
        alone = intervals.predict(test_rows)
        assert share_inside(alone["range"][:, [1, 3]], test_price) < 0.7
        far = np.abs(test_price - alone["spread"]) / intervals.predict_std(test_rows)["spread"]
        assert np.mean(far <= norm.ppf(0.9)) < 0.7
    for (_, level), found in shares.items():
        assert np.mean(found) == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize("name", HEADS)
def test_the_chance_over_held_out_and_new_rows_is_that_of_the_rank(name):
    fitted = net(heads=HEADS).fit(X, Y)
    found = []
    for seed in range(300):
        rows, price = draw(119, 100 + seed)
        prefit = ConformalIntervalsCV(fitted, cv="prefit").fit(rows[:19], {"price": price[:19]})
        found.append(share_inside(prefit.predict_interval(rows[19:], 0.82)[name], price[19:]))
    assert np.mean(found) == pytest.approx(ceil(20 * 0.82) / 20, abs=0.015)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.97])
def test_intervals_of_a_fitted_estimator_are_those_by_hand(level):
    fitted = net(heads=HEADS).fit(X, Y)
    held, new = X_NEW[:99], X_NEW[99:]
    labels = PRICE_NEW[:99]
    prefit = ConformalIntervalsCV(fitted, cv="prefit").fit(held, {"price": labels})
    assert prefit.estimator_ is fitted
    found = prefit.predict_interval(new, level)
    assert isinstance(found, Targets)
    assert set(found) == set(HEADS)
    of_held, of_new = fitted.predict(held), fitted.predict(new)

    far = ranked(np.abs(labels - of_held["price"]), level)
    expected = np.column_stack([of_new["price"] - far, of_new["price"] + far])
    np.testing.assert_allclose(found["price"], expected)

    std_held, std_new = fitted.predict_std(held)["spread"], fitted.predict_std(new)["spread"]
    half = ranked(np.abs(labels - of_held["spread"]) / std_held, level) * std_new
    expected = np.column_stack([of_new["spread"] - half, of_new["spread"] + half])
    np.testing.assert_allclose(found["spread"], expected)

    low, high = {0.5: (1, 3), 0.8: (1, 3), 0.9: (0, 4), 0.97: (0, 4)}[level]
    low_held, high_held = of_held["range"][:, low], of_held["range"][:, high]
    distance = ranked(np.maximum(low_held - labels, labels - high_held), level)
    ends = of_new["range"][:, low] - distance, of_new["range"][:, high] + distance
    crossed = ends[0] > ends[1]
    expected = np.column_stack(ends)
    expected[crossed] = expected[crossed].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found["range"], expected)


def test_the_pair_of_quantiles_is_the_nearest_to_the_level_and_of_two_the_outer():
    quantiles = [0.75, 0.05, 0.25, 0.5, 0.95]  # the order of columns, which is not the rising one
    fitted = net(heads={"price": Quantile(quantiles)}).fit(X, Y)
    prefit = ConformalIntervalsCV(fitted, cv="prefit").fit(X_NEW, {"price": PRICE_NEW})
    predicted = dict(zip(quantiles, fitted.predict(X)["price"].T, strict=True))
    pairs = {0.95: (0.05, 0.95), 0.71: (0.05, 0.95), 0.7: (0.05, 0.95), 0.69: (0.25, 0.75)}
    for level, (low, high) in {**pairs, 0.1: (0.5, 0.5)}.items():
        found = prefit.predict_interval(X, level)["price"]
        lower, upper = predicted[low] - found[:, 0], found[:, 1] - predicted[high]
        apart = found[:, 0] < found[:, 1]
        assert apart.any()
        np.testing.assert_allclose(lower[apart], lower[apart][0], atol=1e-12)
        np.testing.assert_allclose(upper[apart], lower[apart][0], atol=1e-12)
    np.testing.assert_array_equal(np.diff(prefit.errors_["price"], axis=1) <= 0, True)


def test_one_quantile_is_the_middle_of_its_intervals():
    fitted = net(heads={"price": Quantile(0.5)}).fit(X, Y)
    prefit = ConformalIntervalsCV(fitted, cv="prefit").fit(X_NEW, {"price": PRICE_NEW})
    found = prefit.predict_interval(X, 0.8)["price"]
    far = ranked(np.abs(PRICE_NEW - fitted.predict(X_NEW)["price"]), 0.8)
    middle = fitted.predict(X)["price"]
    np.testing.assert_allclose(found, np.column_stack([middle - far, middle + far]))


def test_ends_that_would_cross_meet_in_the_middle():
    heads = {"price": Quantile([0.01, 0.99])}
    fitted = net(heads=heads).fit(X, Y)
    price = fitted.predict(X_NEW)["price"].mean(axis=1)  # in the middle of each
    prefit = ConformalIntervalsCV(fitted, cv="prefit").fit(X_NEW, {"price": price})
    found = prefit.predict_interval(X, 0.9)["price"]
    assert (found[:, 0] <= found[:, 1]).all()
    met = found[:, 0] == found[:, 1]
    assert 0.05 < met.mean() < 1.0
    np.testing.assert_allclose(found[met, 0], fitted.predict(X)["price"][met].mean(axis=1))


def test_folds_give_the_scores_of_their_own_networks():
    cv = KFold(3, shuffle=True, random_state=0)
    heads = {"range": Quantile([0.1, 0.9], target="price"), "price": Regression()}
    estimator = net(heads=heads)
    intervals = ConformalIntervalsCV(estimator, cv=cv).fit(X, Y)
    of_folds, fitted = cross_val_predict(estimator, X, Y, cv=cv), estimator.fit(X, Y)
    found, of_new = intervals.predict_interval(X_NEW, 0.85), fitted.predict(X_NEW)
    far = ranked(np.abs(PRICE - of_folds["price"]), 0.85)
    np.testing.assert_allclose(found["price"][:, 1], of_new["price"] + far)
    low, high = of_folds["range"].T
    distance = ranked(np.maximum(low - PRICE, PRICE - high), 0.85)
    np.testing.assert_allclose(found["range"][:, 0], of_new["range"][:, 0] - distance)
    order = np.concatenate([test for _, test in cv.split(X)])
    np.testing.assert_allclose(
        intervals.errors_["price"][:, 0], np.abs(PRICE - of_folds["price"])[order]
    )


@pytest.mark.parametrize(("level", "n_needed"), [(0.9, 9), (0.95, 19), (0.8, 4), (0.5, 1)])
def test_a_level_needs_its_number_of_held_out_labels(level, n_needed):
    fitted = net().fit(X, Y)
    errors = np.abs(PRICE_NEW - fitted.predict(X_NEW)["price"])
    rows = {"price": PRICE_NEW[:n_needed]}
    enough = ConformalIntervalsCV(fitted, cv="prefit").fit(X_NEW[:n_needed], rows)
    widths = np.diff(enough.predict_interval(X, level)["price"])
    np.testing.assert_allclose(widths, 2 * errors[:n_needed].max())
    message = rf"output 'price': `level` 0\.97 needs at least 33 labels.*Got {n_needed}"
    with pytest.raises(ValueError, match=message) as raised:
        enough.predict_interval(X, 0.97)
    highest = float(str(raised.value).split("the level can be ")[1].split()[0])
    assert highest == pytest.approx(level, abs=1e-4)
    assert np.isfinite(enough.predict_interval(X, highest)["price"]).all()


def test_columns_have_intervals_of_their_own():
    missing = BOTH.copy()
    missing[:60, 0] = np.nan
    estimator = net(missing_targets="ignore")
    fitted = estimator.fit(X, {"both": BOTH})
    prefit = ConformalIntervalsCV(fitted, cv="prefit").fit(X, {"both": missing})
    found = prefit.predict_interval(X_NEW, 0.8)
    assert found["both"].shape == (1000, 2, 2)
    predicted, errors = fitted.predict(X_NEW)["both"], np.abs(BOTH - fitted.predict(X)["both"])
    for j, rows in enumerate([slice(60, None), slice(None)]):
        far = ranked(errors[rows, j], 0.8)
        np.testing.assert_allclose(found["both"][:, j, 0], predicted[:, j] - far)
        np.testing.assert_allclose(found["both"][:, j, 1], predicted[:, j] + far)
    assert np.isnan(prefit.errors_["both"]).sum() == 60
    assert found[:3]["both"].shape == (3, 2, 2)
    assert pickle.loads(pickle.dumps(found)) == found
    assert "float64 (1000, 4)" in repr(found)
    with pytest.raises(ValueError, match=r"held-out rows with a label, in each column.*'prefit'"):
        ConformalIntervalsCV(fitted, cv="prefit").fit(X[:60], {"both": missing[:60]})


def test_missing_labels_are_left_out_of_the_folds_too():
    price, cv = PRICE.copy(), KFold(3, shuffle=True, random_state=0)
    price[::4] = np.nan
    known = np.isfinite(price)
    estimator = net(missing_targets="ignore", heads={"price": Gaussian()})
    intervals = ConformalIntervalsCV(estimator, cv=cv).fit(X, {"price": price})
    of_folds = [clone(estimator).fit(X[a], {"price": price[a]}) for a, _ in cv.split(X)]
    scores = np.concatenate(
        [
            np.abs(price[b] - fold.predict(X[b])["price"]) / fold.predict_std(X[b])["price"]
            for fold, (_, b) in zip(of_folds, cv.split(X), strict=True)
        ]
    )
    np.testing.assert_allclose(intervals.errors_["price"][:, 0], scores)
    widths = np.diff(intervals.predict_interval(X_NEW, 0.9)["price"])[:, 0]
    expected = ranked(scores[np.isfinite(scores)], 0.9) * intervals.predict_std(X_NEW)["price"]
    np.testing.assert_allclose(widths, 2 * expected)
    assert np.isfinite(scores).sum() == known.sum()
    with pytest.raises(ValueError, match="set missing_targets='ignore'"):
        ConformalIntervalsCV(net(), cv=3).fit(X, {"price": price})


def test_weights_count_as_the_definition_says():
    fitted = net().fit(X, Y)
    weight = np.random.default_rng(0).uniform(0, 3, N)
    weight[:20] = 0.0
    make = partial(ConformalIntervalsCV, fitted, cv="prefit")
    found = make().fit(X, Y, weight)
    scores = np.abs(PRICE - fitted.predict(X)["price"])
    new = (weight**2).sum() / weight.sum()
    for level in (0.2, 0.8, 0.95):
        far = min(s for s in scores if weight[scores <= s].sum() >= level * (weight.sum() + new))
        expected = fitted.predict(X_NEW)["price"] + far
        np.testing.assert_allclose(found.predict_interval(X_NEW, level)["price"][:, 1], expected)
    by_name = make().fit(X, Y, {"price": 1000 * weight})
    assert by_name.predict_interval(X, 0.8) == found.predict_interval(X, 0.8)
    some = make().fit(X, Y, np.where(np.arange(N) < 50, 2.0, 0.0))
    assert some.predict_interval(X, 0.8) == make().fit(X[:50], Y[:50]).predict_interval(X, 0.8)
    few = make().fit(X, Y, np.where(np.arange(N) < 30, 1.0, 1e-6))
    with pytest.raises(ValueError, match=r"needs at least 99 labels.*Got 30, by their weights"):
        few.predict_interval(X, 0.99)
    with pytest.raises(ValueError, match=r"`sample_weight` names the unknown output 'prise'"):
        make().fit(X, Y, {"prise": weight})


def test_weights_and_fit_parameters_are_divided_with_the_rows():
    weight, cv = np.where(np.arange(N) < 150, 1.0, 0.0), KFold(3, shuffle=True, random_state=0)
    named = make_pipeline(StandardScaler(with_mean=False, with_std=False), net())
    weighted = ConformalIntervalsCV(named, cv=cv).fit(X, Y, weight)
    kept = [(train[train < 150], test[test < 150]) for train, test in cv.split(X)]
    fewer = ConformalIntervalsCV(net(), cv=kept).fit(X[:150], Y[:150])
    found, expected = weighted.predict_interval(X_NEW), fewer.predict_interval(X_NEW)
    np.testing.assert_allclose(found["price"], expected["price"], rtol=1e-6)
    by_step = make_pipeline(StandardScaler(), regressor())
    aux = {"multioutputnetregressor__aux": {"kind": KIND}}
    with_aux = ConformalIntervalsCV(by_step, cv=3).fit(X, PRICE, **aux)
    assert with_aux.output_names_ == ["y", "kind"]
    assert with_aux.predict_interval(X).shape == (N, 2)


def test_a_row_that_several_splits_hold_out_has_one_share():
    split = np.arange(100), np.arange(100, N)
    once, twice = (ConformalIntervalsCV(net(), cv=[split] * n).fit(X, Y) for n in (1, 2))
    assert once.predict_interval(X, 0.9) == twice.predict_interval(X, 0.9)
    with pytest.raises(ValueError, match=r"needs at least 199 labels.*Got 100"):
        twice.predict_interval(X, 0.995)
    shuffled = ConformalIntervalsCV(net(), cv=ShuffleSplit(6, test_size=0.5, random_state=0))
    assert shuffled.fit(X, Y).errors_["price"].shape == (600, 1)
    found = shuffled.predict_interval(X_NEW, 0.8)["price"]
    assert 0.7 < share_inside(found, PRICE_NEW) < 0.9
    in_time = ConformalIntervalsCV(net(), cv=TimeSeriesSplit(3)).fit(X, Y)
    assert in_time.errors_["price"].shape == (150, 1)


def test_groups_stay_whole_and_reach_the_estimator():
    groups = np.arange(N) // 5
    found = ConformalIntervalsCV(net(), cv=4).fit(X, Y, groups=groups)
    expected = ConformalIntervalsCV(net(), cv=list(GroupKFold(4).split(X, None, groups))).fit(X, Y)
    np.testing.assert_array_equal(found.errors_["price"], expected.errors_["price"])
    without = ConformalIntervalsCV(net(), cv=4).fit(X, Y)
    assert not np.array_equal(np.sort(found.errors_["price"]), np.sort(without.errors_["price"]))
    stopping = net(early_stopping=True, validation_fraction=GroupKFold(4))
    inner = ConformalIntervalsCV(make_pipeline(StandardScaler(), stopping), cv=2)
    assert inner.fit(X, Y, groups=groups).predict_interval(X)["price"].shape == (N, 2)


def test_arrays_give_arrays():
    one = ConformalIntervalsCV(regressor(), cv=3).fit(X, PRICE)
    found = one.predict_interval(X_NEW, 0.8)
    by_name = ConformalIntervalsCV(net(), cv=3).fit(X, {"y": PRICE})
    np.testing.assert_allclose(found, by_name.predict_interval(X_NEW, 0.8)["y"])
    np.testing.assert_array_equal(one.predict_interval(X_NEW, 0.8, outputs=["y"]), found)
    of_net = ConformalIntervalsCV(net(), cv=3).fit(X, PRICE)
    np.testing.assert_array_equal(of_net.predict_interval(X_NEW, 0.8), found)
    several = ConformalIntervalsCV(regressor(), cv=3).fit(X, BOTH)
    assert several.predict_interval(X).shape == (N, 2, 2)
    assert is_regressor(one)
    with pytest.warns(match="column-vector y"):
        column = ConformalIntervalsCV(regressor(), cv=3).fit(X, PRICE[:, None])
    np.testing.assert_array_equal(column.predict_interval(X_NEW, 0.8), found)
    frame = ConformalIntervalsCV(regressor(), cv=KFold(3)).fit(X, pd.DataFrame(BOTH))
    expected = ConformalIntervalsCV(regressor(), cv=KFold(3)).fit(X, BOTH).predict_interval(X)
    np.testing.assert_array_equal(frame.predict_interval(X), expected)
    gaussian = ConformalIntervalsCV(regressor(heads={"y": Gaussian()}), cv=3).fit(X, PRICE)
    assert np.ptp(np.diff(gaussian.predict_interval(X))) > 0.1
    with pytest.raises(ValueError, match=r"must name outputs with intervals, \['y'\]"):
        ConformalIntervalsCV(regressor(), cv=2).fit(X, PRICE, aux={"kind": KIND}).predict_interval(
            X, outputs=["kind"]
        )


def test_all_else_is_the_estimators_own():
    y = Targets({"price": PRICE, "kind": KIND})
    heads = {"price": Gaussian()}
    intervals = ConformalIntervalsCV(net(heads=heads, main_output="price"), cv=3).fit(X, y)
    fitted = net(heads=heads, main_output="price").fit(X, y)
    weight = np.linspace(0, 1, N)
    assert intervals.predict(X) == fitted.predict(X)
    assert intervals.predict(X, outputs=["kind"]) == fitted.predict(X, outputs=["kind"])
    assert intervals.predict_proba(X) == fitted.predict_proba(X)
    assert intervals.predict_std(X) == fitted.predict_std(X)
    assert intervals.score(X, y, weight) == pytest.approx(fitted.score(X, y, weight))
    by_name = {"kind": weight, "price": weight}
    assert intervals.score(X, y, by_name) == pytest.approx(fitted.score(X, y, by_name))
    assert intervals.scores(X, y) == pytest.approx(fitted.scores(X, y))
    np.testing.assert_array_equal(intervals.output("kind").predict(X), fitted.predict(X)["kind"])
    np.testing.assert_array_equal(
        intervals.output("price").predict_std(X), fitted.predict_std(X)["price"]
    )
    assert intervals.classes_["kind"].tolist() == ["flat", "villa"]
    assert (intervals.n_features_in_, intervals.output_names_) == (8, ["price", "kind"])
    assert list(intervals.predict_interval(X)) == ["price"]
    array = ConformalIntervalsCV(regressor(), cv=3).fit(X, PRICE)
    np.testing.assert_array_equal(array.predict(X), regressor().fit(X, PRICE).predict(X))
    assert array.score(X, PRICE) == pytest.approx(regressor().fit(X, PRICE).score(X, PRICE))
    assert not hasattr(array, "predict_proba")
    with pytest.raises(ValueError, match="`outputs` names the unknown output 'kind'"):
        array.predict(X, outputs=["kind"])


def test_outputs_are_chosen_by_name():
    y = Targets({"price": PRICE, "kind": KIND})
    heads = {"range": Quantile(target="price"), "price": Regression()}
    intervals = ConformalIntervalsCV(net(heads=heads), cv=2).fit(X, y)
    chosen = intervals.predict_interval(X, outputs=["price", "range"])
    assert list(chosen) == ["price", "range"]
    every = intervals.predict_interval(X)
    np.testing.assert_array_equal(every["price"], chosen["price"])
    with pytest.raises(ValueError, match=r"unknown output 'prise'.*did you mean 'price'"):
        intervals.predict_interval(X, outputs=["prise"])
    with pytest.raises(
        ValueError, match=r"outputs with intervals, \['price', 'range'\]|Got \['kin"
    ):
        intervals.predict_interval(X, outputs=["kind"])
    with pytest.raises(TypeError, match="`outputs` must be a list of names"):
        intervals.predict_interval(X, outputs="price")


@pytest.mark.parametrize("level", [0, 1, -0.1, 90, "0.9", None, True, [0.8, 0.9], np.nan])
def test_a_level_outside_its_range_is_refused(level):
    intervals = ConformalIntervalsCV(net(max_epochs=1), cv=2).fit(X, Y)
    with pytest.raises(ValueError, match=r"`level` must be a number in \(0, 1\)\. Got"):
        intervals.predict_interval(X, level)


def test_levels_nest():
    intervals = ConformalIntervalsCV(net(heads=HEADS), cv=3).fit(X, Y)
    for name in ("spread", "price"):
        found = [intervals.predict_interval(X, level)[name] for level in np.arange(0.1, 1, 0.1)]
        for inner, outer in pairwise(found):
            assert (inner[:, 0] >= outer[:, 0]).all()
            assert (inner[:, 1] <= outer[:, 1]).all()


def test_it_is_cloned_pickled_searched_and_put_into_pipelines():
    intervals = ConformalIntervalsCV(make_pipeline(StandardScaler(), net(heads=HEADS)), cv=2)
    copy = clone(intervals).set_params(estimator__multioutputnet__max_epochs=3).fit(X, Y)
    assert intervals.estimator.steps[-1][1].max_epochs == 15
    found = copy.predict_interval(X_NEW, 0.8)
    assert pickle.loads(pickle.dumps(copy)).predict_interval(X_NEW, 0.8) == found
    fitted = make_pipeline(StandardScaler(), net(heads=HEADS, max_epochs=3)).fit(X, Y)
    assert copy.predict(X_NEW) == fitted.predict(X_NEW)
    grid = {"estimator__multioutputnet__learning_rate": [0.003, 0.03]}
    search = GridSearchCV(intervals, grid, cv=2).fit(X, dict(Y.items()))
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    assert search.best_estimator_.predict_interval(X)["price"].shape == (N, 2)
    np.testing.assert_array_equal(
        OutputView(search, "price").predict(X), search.predict(X)["price"]
    )
    outer = make_pipeline(StandardScaler(), ConformalIntervalsCV(net(), cv=2)).fit(X, Y)
    rows = outer[:-1].transform(X)
    assert outer[-1].predict_interval(rows)["price"].shape == (N, 2)
    array = GridSearchCV(
        ConformalIntervalsCV(regressor(), cv=2), {"estimator__max_epochs": [1, 15]}, cv=2
    ).fit(X, PRICE)
    assert array.best_params_ == {"estimator__max_epochs": 15}


def test_scales_are_learned_anew_in_each_fold():
    seen = []

    def note(rows):
        seen.append(len(rows))
        return rows

    estimator = make_pipeline(FunctionTransformer(note), net(max_epochs=1))
    ConformalIntervalsCV(estimator, cv=KFold(4)).fit(X, Y)
    assert seen == [N, *[150, 50] * 4]


def test_members_and_blends_have_intervals():
    members = net(heads=HEADS, n_members=2)
    blend = Blend([("a", net(heads=HEADS)), ("b", make_pipeline(StandardScaler(), members))])
    test_rows, test_price = draw(4000, 5)
    for estimator in (members, blend):
        found = ConformalIntervalsCV(estimator, cv=3).fit(X, Y).predict_interval(test_rows, 0.8)
        assert set(found) == set(HEADS)
        for name in found:
            assert share_inside(found[name], test_price) == pytest.approx(0.8, abs=0.08)
        assert np.ptp(np.diff(found["spread"])) > 1e-6  # by the standard deviation
    array = ConformalIntervalsCV(Blend([("a", net()), ("b", net(alpha=0.1))]), cv=2).fit(X, PRICE)
    assert array.predict_interval(X).shape == (N, 2)


def test_thresholds_and_intervals_of_one_estimator():
    y = Targets({"price": PRICE, "kind": KIND})
    tuned = TunedThresholdsCV(net(heads={"price": Gaussian()}), cv=2)
    both = ConformalIntervalsCV(tuned, cv=2).fit(X, y)
    alone = clone(tuned).fit(X, y)
    assert both.predict(X) == alone.predict(X)
    assert both.scores(X, y) == alone.scores(X, y)
    assert both.score(X, y) == pytest.approx(alone.score(X, y))
    assert both.predict_interval(X)["price"].shape == (N, 2)


def test_constant_targets_have_intervals_of_no_width():
    heads = {"a": Quantile(), "b": Gaussian(), "c": Regression()}
    y = {**dict.fromkeys("abc", np.full(N, 3.0)), "price": PRICE}
    found = ConformalIntervalsCV(net(heads=heads), cv=2).fit(X, y).predict_interval(X_NEW)
    for name in heads:
        np.testing.assert_allclose(found[name], 3.0)
    spread = net(heads={"b": Gaussian()}).fit(X, {"b": y["b"], "price": PRICE})
    prefit = ConformalIntervalsCV(spread, cv="prefit").fit(X, {"b": PRICE, "price": PRICE})
    with pytest.raises(ValueError, match=r"output 'b': the standard deviations predicted.*are 0"):
        prefit.predict_interval(X)


def test_counts_have_intervals_and_heads_of_several_numbers_have_none():
    class Halves(Regression):
        """A head whose predictions are not in the shape of its labels."""

        def decode(self, raw):
            return np.column_stack([super().decode(raw) / 2] * 2)

        def constant_label(self):
            return Head.constant_label(self)[:, 0]

        def score(self, y, predicted, weight):
            return super().score(y, predicted.sum(axis=1), weight)

    y = {"visits": np.random.default_rng(0).poisson(np.exp(X[:, 0])), "price": PRICE}
    estimator = net(heads={"visits": Count(), "price": Halves()})
    intervals = ConformalIntervalsCV(estimator, cv=2).fit(X, y)
    assert list(intervals.predict_interval(X)) == ["visits"]
    assert 0.85 < share_inside(intervals.predict_interval(X)["visits"], y["visits"]) < 0.97


def test_frames_and_plain_dicts_are_divided_by_rows():
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    y = {"price": PRICE, "kind": KIND}
    found = ConformalIntervalsCV(net(), cv=3).fit(frame, y)
    same = ConformalIntervalsCV(net(), cv=3).fit(frame, pd.DataFrame(y))
    assert found.predict_interval(frame) == same.predict_interval(frame)
    assert found.feature_names_in_.tolist() == list("abcdefgh")


def test_the_same_seed_gives_the_same_intervals_at_any_number_of_jobs():
    with parallel_config("threading"):
        one, two = (ConformalIntervalsCV(net(), cv=3, n_jobs=n).fit(X, Y) for n in (1, 2))
    assert one.predict_interval(X) == two.predict_interval(X)


@pytest.mark.parametrize(
    ("params", "y", "message"),
    [
        ({"cv": "held_out"}, Y, r"cannot be 'held_out'.*less exactly.*Pass cv=5"),
        ({"cv": "held"}, Y, r"`cv` must be an int, a splitter, splits or 'prefit'\. Got 'held'"),
        ({"cv": 1}, Y, "n_splits"),
        ({"n_jobs": "two"}, Y, "The 'n_jobs' parameter of ConformalIntervalsCV"),
        ({"estimator": LinearRegression()}, Y, "must be an estimator of mtlearn, or a Pipeline"),
        (
            {},
            {"kind": KIND},
            r"must have an output that predicts numbers.*\{'kind': 'Classification'\}",
        ),
        (
            {"estimator": MultiOutputNetClassifier(max_epochs=1)},
            KIND,
            "must have an output that predicts numbers",
        ),
    ],
)
def test_bad_parameters_are_refused(params, y, message):
    intervals = ConformalIntervalsCV(net(max_epochs=1)).set_params(**params)
    with pytest.raises((TypeError, ValueError), match=message):
        intervals.fit(X, y)


def test_what_a_fitted_estimator_was_not_fitted_for_is_refused():
    prefit = ConformalIntervalsCV(net(max_epochs=1), cv="prefit")
    with pytest.raises(NotFittedError, match="This MultiOutputNet instance is not fitted yet"):
        prefit.fit(X, Y)
    with pytest.raises(NotFittedError, match="This ConformalIntervalsCV instance is not fitted"):
        prefit.predict_interval(X)
    prefit.set_params(estimator=net(max_epochs=1).fit(X, Y))
    with pytest.raises(ValueError, match=r"must have the shape \(200,\).*Got \(200, 2\)"):
        prefit.fit(X, {"price": BOTH})
    with pytest.raises(ValueError, match=r"as many rows as X, 100\. Got 200"):
        prefit.fit(X[:100], Y)
    with pytest.raises(ValueError, match="output 'price': an interval needs numbers"):
        prefit.fit(X, {"price": KIND})
