"""The effect of an auxiliary output on the main one, with its interval and verdict."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import stats
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn._engine._stacks import Stacks
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Classification, Regression
from mtlearn.inspection import AuxiliaryEffect, auxiliary_effect
from mtlearn.model_selection import StratifyOn, cross_val_score, make_output_scorer
from mtlearn.trunks import MLP, Graph
from mtlearn.weighting import RandomWeights

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = {
    "price": X[:, 0] + X[:, 1] ** 2 + 0.1 * RNG.normal(size=N),
    "area": X[:, 0] + 0.1 * RNG.normal(size=N),
    "kind": np.where(X[:, 2] > 0, "flat", "house"),
}
NET = MultiOutputNet(MLP((4,)), main_output="price", max_epochs=5, batch_size=20)
BASE = np.array([0.5, 0.6, 0.4, 0.55, 0.45, 0.52])
NOISE = np.array([0.01, -0.01, 0.02, -0.02, 0.015, -0.015])


def effect_of(*rows, weights=None, **options):
    weights = [0, 0.1, 0.3, 1][: len(rows)] if weights is None else weights
    given = {"test_ratio": 0.25, **options}
    return AuxiliaryEffect("price", {"aux": weights}, {"aux": rows}, **given)


def small(net=NET, X=X, y=Y, weights=None, **options):
    given = {"cv": 3, "n_repeats": 1, "random_state": 0, **options}
    return auxiliary_effect(net, X, y, weights or {"area": [0.3, 1]}, **given)


def scores_alone(effect, net, changes, X=X, y=Y, prefix="", **options):
    """The scores of fits one by one, with the splits and seeds of the effect."""
    return [
        cross_val_score(
            clone(net).set_params(**{f"{prefix}random_state": seed}, **changes),
            X,
            y,
            cv=[split],
            **options,
        )[0]
        for split, seed in zip(effect.splits, effect.seeds, strict=True)
    ]


@pytest.fixture
def stacked_sizes(monkeypatch):
    sizes = []
    train = Stacks.train

    def spy(self, epochs):
        found = train(self, epochs)
        sizes.extend(len(ids) for ids in self._steps)
        return found

    monkeypatch.setattr(Stacks, "train", spy)
    return sizes


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_intervals_are_the_corrected_ones_of_all_weights_at_once(level):
    rng = np.random.default_rng(1)
    scores = {"a": rng.normal(size=(3, 10)), "b": rng.normal(size=(2, 10))}
    weights = {"a": [0, 0.1, 1], "b": [0, 0.5]}
    effect = AuxiliaryEffect("price", weights, scores, 0.3, level)
    quantile = stats.t.ppf(1 - (1 - level) / 2 / 3, df=9)  # of three positive weights
    for name, rows in scores.items():
        assert effect.means[name][0] == effect.lower[name][0] == effect.upper[name][0] == 0
        for i, row in enumerate(rows[1:], start=1):
            differences = row - rows[0]
            half = quantile * np.sqrt((1 / 10 + 0.3) * differences.var(ddof=1))
            np.testing.assert_allclose(effect.differences[name][i], differences)
            np.testing.assert_allclose(effect.means[name][i], differences.mean())
            np.testing.assert_allclose(effect.lower[name][i], differences.mean() - half)
            np.testing.assert_allclose(effect.upper[name][i], differences.mean() + half)


@pytest.mark.parametrize(
    ("verdict", "rows"),
    [
        ("helps", [BASE + 0.1 + NOISE]),
        ("hurts", [BASE - 0.1 + NOISE]),
        ("no evidence", [BASE + 0.01 + NOISE]),
        ("no evidence", [BASE]),
        ("no evidence", [BASE + 1e-9, BASE - 1e-9]),
        ("helps", [BASE + 0.1]),
        ("hurts", [BASE - 0.1]),
        ("helps", [BASE + 0.1 + NOISE, BASE - 0.2 + NOISE]),
        ("hurts", [BASE + NOISE, BASE - 0.2 + NOISE]),
        ("no evidence", [BASE + 0.1 + np.array([1, -1, 1, -1, 1, -1])]),
    ],
    ids=[
        "higher",
        "lower",
        "little higher",
        "ties",
        "but for rounding",
        "always the same gain",
        "always the same loss",
        "a small weight helps",
        "a large weight hurts",
        "of large variance",
    ],
)
def test_a_verdict_follows_the_intervals(verdict, rows):
    assert effect_of(BASE, *rows).verdicts == {"aux": verdict}


def test_the_best_weight_of_an_output_that_helps_is_one_whose_interval_is_above_0():
    wild = BASE + 0.2 + np.array([1, -1, 1, -1, 1, -1])
    assert effect_of(BASE, BASE + 0.1 + NOISE, wild).best_weights == {"aux": 0.1}
    assert effect_of(BASE, BASE + NOISE, wild).best_weights == {"aux": 0.3}
    assert effect_of(BASE, BASE - 0.2, BASE - 0.1).best_weights == {"aux": 0.3}


def test_what_holds_for_one_weight_may_not_hold_for_many_at_once():
    better = BASE + 0.016 + NOISE
    weights = np.arange(21.0)
    assert effect_of(BASE, better, test_ratio=0.0).verdicts["aux"] == "no evidence"
    assert effect_of(BASE, better + 0.008, test_ratio=0.0).verdicts["aux"] == "helps"
    many = effect_of(BASE, better + 0.008, *[BASE] * 19, weights=weights, test_ratio=0.0)
    assert many.verdicts["aux"] == "no evidence"


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda net: net, ""),
        (lambda net: make_pipeline(StandardScaler(), net), "multioutputnet__"),
        (
            lambda net: make_pipeline(StandardScaler(), make_pipeline(PCA(2), net)),
            "pipeline__multioutputnet__",
        ),
    ],
    ids=["net", "pipeline", "pipeline in a pipeline"],
)
def test_scores_are_those_of_separate_fits_with_the_same_splits_and_seeds(
    wrap, prefix, stacked_sizes
):
    net = wrap(NET)
    effect = small(net)
    assert max(stacked_sizes) == 2 * 3
    np.testing.assert_array_equal(effect.weights["area"], [0, 0.3, 1])
    assert len(effect.splits) == len(set(effect.seeds)) == effect.n_splits == 3
    for weight, scores in zip(effect.weights["area"], effect.scores["area"], strict=True):
        changes = {f"{prefix}loss_weights__area": weight}
        alone = scores_alone(effect, net, changes, prefix=prefix)
        np.testing.assert_allclose(scores, alone, rtol=1e-9)


def test_the_others_keep_their_weights_while_one_varies():
    net = clone(NET).set_params(loss_weights={"kind": 0.5, "price": 2.0})
    effect = small(net, weights={"area": [0.3], "kind": [1.0]})
    for name, weight in (("area", 0.0), ("area", 0.3), ("kind", 0.0), ("kind", 1.0)):
        i = int(weight > 0)
        alone = scores_alone(effect, net, {f"loss_weights__{name}": weight})
        np.testing.assert_allclose(effect.scores[name][i], alone, rtol=1e-9)
    assert net.loss_weights == {"kind": 0.5, "price": 2.0}


def test_the_score_may_be_any_of_the_main_output():
    effect = small(scoring="neg_mean_absolute_error")
    scorer = make_output_scorer("price", "neg_mean_absolute_error")
    alone = scores_alone(effect, NET, {"loss_weights__area": 1.0}, scoring=scorer)
    np.testing.assert_allclose(effect.scores["area"][2], alone, rtol=1e-9)
    np.testing.assert_allclose(small(scoring=scorer).scores["area"], effect.scores["area"])


def test_the_estimators_of_arrays_take_auxiliary_targets_as_parameters_of_fit():
    kind = (X[:, 2] > 0).astype(int)
    for net, y in (
        (MultiOutputNetRegressor(MLP((4,)), max_epochs=5), Y["price"]),
        (MultiOutputNetClassifier(MLP((4,)), max_epochs=5), kind),
    ):
        params = {"aux": {"area": Y["area"]}}
        effect = small(net, y=y, weights={"area": [0.5]}, params=params)
        alone = scores_alone(effect, net, {"loss_weights__area": 0.5}, y=y, params=params)
        np.testing.assert_allclose(effect.scores["area"][1], alone, rtol=1e-9)
        assert effect.main == "y"


def test_a_pipeline_takes_auxiliary_targets_by_the_name_of_its_step():
    net = MultiOutputNetRegressor(MLP((4,)), max_epochs=5)
    params = {"multioutputnetregressor__aux": {"area": Y["area"]}}
    found = small(make_pipeline(StandardScaler(), net), y=Y["price"], params=params)
    assert list(found.weights) == ["area"]
    scaled = StandardScaler().fit_transform(X)
    alone = small(net, scaled, Y["price"], params={"aux": {"area": Y["area"]}})
    np.testing.assert_allclose(found.scores["area"], alone.scores["area"], atol=0.05)


def test_of_several_members_and_under_a_strategy_scores_are_those_of_separate_fits():
    for params in ({"n_members": 2}, {"weighting": "uncertainty"}, {"weighting": "pcgrad"}):
        net = clone(NET).set_params(**params)
        effect = small(net, weights={"area": [0.5]})
        alone = scores_alone(effect, net, {"loss_weights__area": 0.5})
        np.testing.assert_allclose(effect.scores["area"][1], alone, rtol=1e-6)


def test_rows_without_a_label_of_the_main_output_are_not_scored():
    price = np.where(np.arange(N) < 20, np.nan, Y["price"])
    net = clone(NET).set_params(missing_targets="ignore")
    own, named = (small(net, y={**Y, "price": price}, scoring=name) for name in (None, "r2"))
    np.testing.assert_allclose(own.scores["area"], named.scores["area"], rtol=1e-9)


def test_targets_may_be_a_frame_and_heads_may_share_a_target():
    net = clone(NET).set_params(heads={"copy": Classification(target="kind")}, main_output="kind")
    frame = pd.DataFrame(Y)
    effect = small(net, y=frame, weights={"copy": [0.5]})
    alone = scores_alone(effect, net, {"loss_weights__copy": 0.5}, y=frame)
    np.testing.assert_allclose(effect.scores["copy"][1], alone, rtol=1e-9)


def test_an_output_that_shares_nothing_with_the_main_one_has_no_effect():
    trunk = Graph([("one", MLP((4,)), "a"), ("other", MLP((4,)), "b")])
    heads = {"price": Regression(at="one"), "area": Regression(at="other")}
    net = clone(NET).set_params(trunk=trunk, heads=heads)
    y = {name: Y[name] for name in ("price", "area")}
    effect = small(net, {"a": X[:, :2], "b": X[:, 2:]}, y)
    assert not effect.differences["area"].any()
    assert effect.verdicts == {"area": "no evidence"}


def test_many_labels_of_a_related_output_help_where_the_main_one_has_few():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 10))
    function = np.tanh(2 * X[:, 0] * X[:, 1]) + np.tanh(X[:, 2] + X[:, 3])
    y = {"main": np.where(np.arange(600) < 150, function, np.nan), "aux": function}
    net = MultiOutputNet(
        MLP((16,)),
        main_output="main",
        missing_targets="ignore",
        learning_rate=0.03,
        max_epochs=20,
    )
    effect = auxiliary_effect(net, X, y, {"aux": [3]}, n_repeats=2, random_state=0)
    assert effect.verdicts == {"aux": "helps"}
    assert effect.n_splits == 10
    for _, test in effect.splits:
        assert np.sum(test < 150) == 30


def test_folds_have_equal_shares_of_the_classes_of_the_main_output():
    kind = np.where(np.arange(N) % 5 == 0, "house", "flat")
    net = clone(NET).set_params(main_output="kind", max_epochs=1)
    effect = small(net, y={"kind": kind, "area": Y["area"]})
    assert {np.sum(kind[test] == "house") for _, test in effect.splits} == {4}


def test_a_splitter_or_splits_are_taken_as_they_are():
    drawn = list(KFold(3).split(X))
    for cv in (KFold(3), drawn):
        effect = small(cv=cv)
        for (train, test), (own_train, own_test) in zip(drawn, effect.splits, strict=True):
            np.testing.assert_array_equal(train, own_train)
            np.testing.assert_array_equal(test, own_test)
    assert effect.test_ratio == 0.5


def test_groups_of_rows_are_kept_together_by_a_splitter_that_can():
    groups = np.arange(N) % 7
    effect = small(cv=GroupKFold(3), groups=groups)
    assert effect.n_splits == 3
    for train, test in effect.splits:
        assert not set(groups[train]) & set(groups[test])
    with pytest.raises(ValueError, match=r"^auxiliary_effect: `groups` are for a splitter.*cv=3"):
        small(groups=groups)


def test_a_splitter_may_stratify_on_any_target():
    effect = small(cv=StratifyOn("kind", StratifiedKFold(3)))
    shares = [np.mean(Y["kind"][test] == "flat") for _, test in effect.splits]
    assert np.ptp(shares) < 0.06


def test_five_folds_are_drawn_five_times_by_default():
    net = clone(NET).set_params(max_epochs=1)
    effect = auxiliary_effect(net, X, Y, {"area": 0.3})
    assert effect.n_splits == 25
    assert effect.test_ratio == 0.25
    assert len(set(effect.seeds)) == 25


def test_the_result_is_the_same_for_the_same_random_state():
    first, again = small(), small()
    np.testing.assert_array_equal(again.scores["area"], first.scores["area"])
    assert again.seeds == first.seeds
    assert small(random_state=1).seeds != first.seeds


@pytest.mark.slow
def test_the_result_is_the_same_in_any_number_of_processes():
    found = small(n_jobs=2).scores["area"]
    np.testing.assert_allclose(found, small().scores["area"], rtol=1e-9)


def test_the_control_has_random_weights_about_the_middle_one():
    effect = small(weights={"area": [0.1, 0.3, 1.0]}, random_control=True)
    changes = {"loss_weights__area": 0.3, "weighting": RandomWeights()}
    alone = scores_alone(effect, NET, changes)
    np.testing.assert_allclose(effect.random_scores["area"], alone, rtol=1e-9)
    text = effect.explain()
    assert "than random weights" in text


def test_a_control_is_compared_with_weight_0_and_with_the_best_weight():
    effect = effect_of(BASE, BASE + 0.3 + NOISE, random_scores={"aux": BASE + 0.1})
    np.testing.assert_allclose(effect.random_differences["aux"], [0.1, 0.1, 0.1])
    assert "The weight 0.1 is surely better than random weights" in effect.explain()
    effect = effect_of(BASE, BASE + 0.3 + NOISE, random_scores={"aux": BASE + 0.3})
    assert "neither surely better nor surely worse than random weights" in effect.explain()
    effect = effect_of(BASE, BASE + 0.3 + NOISE, random_scores={"aux": BASE + 0.5})
    assert "surely worse than random weights" in effect.explain()


def test_a_frame_has_the_figures_of_each_weight_and_of_the_control():
    effect = effect_of(BASE, BASE + 0.1, BASE - 0.1 + NOISE, random_scores={"aux": BASE + 0.2})
    frame = effect.to_frame()
    assert frame["output"].tolist() == ["aux"] * 4
    assert frame["weighting"].tolist() == ["static"] * 3 + ["random"]
    np.testing.assert_array_equal(frame["weight"], [0, 0.1, 0.3, np.nan])
    np.testing.assert_allclose(frame["score"], BASE.mean() + np.array([0, 0.1, -0.1, 0.2]))
    np.testing.assert_allclose(frame["difference"], [0, 0.1, -0.1, 0.2], atol=1e-12)
    np.testing.assert_array_equal(frame["lower"][:3], effect.lower["aux"])
    np.testing.assert_array_equal(frame["upper"][:3], effect.upper["aux"])


def test_an_effect_is_explained_with_its_figures():
    effect = effect_of(BASE, BASE + 0.1, BASE - 0.2)
    assert repr(effect) == "AuxiliaryEffect(main='price', verdicts={'aux': 'helps'})"
    assert effect.explain() == (
        "'aux' helps: with its best weight 0.1, the score of 'price' is 0.6033 instead of 0.5033, "
        "a difference of +0.1 (95 % interval 0.1 to 0.1). It hurts with 0.3. On 6 splits, the "
        "weight 0 was compared with 0.1 and 0.3; the intervals of all weights hold at once with a "
        "probability of 95 %."
    )
    hurts = effect_of(BASE, BASE - 0.1, BASE - 0.2).explain()
    assert hurts.startswith("'aux' hurts: with its worst weight 0.3, the score of 'price' is 0.30")
    assert effect_of(BASE, BASE).explain().startswith("'aux' shows no evidence of an effect: with")
    two = AuxiliaryEffect(
        "price", {"a": [0, 1], "b": [0, 2]}, {"a": [BASE, BASE], "b": [BASE, BASE + 1]}, 0.25
    )
    assert [line[:9] for line in two.explain().splitlines()] == ["'a' shows", "'b' helps"]


def test_settings_of_scikit_learn_reach_the_fits():
    params = {"sample_weight": np.ones(N)}
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(ValueError, match=r"sample_weight.* are passed .*not explicitly"):
            small(params=params)
        net = clone(NET).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = small(net, params=params)
    np.testing.assert_allclose(routed.scores["area"], small().scores["area"], rtol=1e-9)


def test_weights_of_rows_by_output_are_divided_with_the_rows():
    weight = np.where(X[:, 0] > 0, 1.0, 0.1)
    params = {"sample_weight": {"price": weight}}
    effect = small(params=params)
    alone = scores_alone(effect, NET, {"loss_weights__area": 1.0}, params=params)
    np.testing.assert_allclose(effect.scores["area"][2], alone, rtol=1e-9)


@pytest.mark.parametrize(
    ("net", "y", "match"),
    [
        (clone(NET).set_params(main_output=None), Y, "needs a main output.* main_output=None"),
        (
            clone(NET).set_params(main_output="prise"),
            Y,
            "`main_output` names the unknown.*'price'",
        ),
        (
            MultiOutputNetClassifier(),
            np.array([["a", "b", "c"], ["d", "e", "f"]] * 6).reshape(-1, 2),
            r"matrix of classes, \['y0', 'y1'\]",
        ),
        (MultiOutputNetRegressor(), Y["price"], "names the unknown auxiliary output 'area'"),
        (
            clone(NET).set_params(loss_weights={"price": 0}),
            Y,
            r"main output must be trained. Got loss_weights=\{'price': 0\}",
        ),
    ],
    ids=["no main output", "an unknown one", "one per column", "no auxiliary target", "weight 0"],
)
def test_it_needs_a_main_output_and_auxiliary_ones(net, y, match):
    rows = X[: len(y) if isinstance(y, np.ndarray) else N]
    with pytest.raises(ValueError, match=f"^auxiliary_effect: .*{match}"):
        small(net, rows, y)


@pytest.mark.parametrize("net", [LinearRegression(), make_pipeline(LinearRegression())])
def test_it_takes_no_other_estimator(net):
    with pytest.raises(TypeError, match=r"^auxiliary_effect: `net` must be an estimator of"):
        small(net)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({"price": [1]}, "'price', which is the main output"),
        ({"are": [1]}, r"unknown auxiliary output 'are'.*\(did you mean 'area'\?\)"),
        ({"area": [-1, 1]}, r"`weights\['area'\]` must hold finite numbers of at least 0"),
        ({"area": [np.nan]}, r"`weights\['area'\]` must hold finite"),
        ({"area": [np.inf]}, r"`weights\['area'\]` must hold finite"),
        ({"area": []}, r"one of them positive. Got \[\]"),
        ({}, r"must be a dict of weights by auxiliary output. Got \{\}"),
        ({"area": ["much"]}, r"`weights\['area'\]` must hold finite.*Got \['much'\]"),
        ({"area": [0.0]}, "one of them positive"),
        ([0.1], r"must be a dict of weights by auxiliary output. Got \[0.1\]"),
    ],
    ids=[
        "main",
        "unknown",
        "negative",
        "NaN",
        "inf",
        "empty",
        "none",
        "a text",
        "0 alone",
        "no dict",
    ],
)
def test_weights_are_positive_numbers_of_auxiliary_outputs(weights, match):
    with pytest.raises(ValueError, match=f"^auxiliary_effect: .*{match}"):
        auxiliary_effect(NET, X, Y, weights, cv=3, n_repeats=1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scoring": "r3"}, "'r3' is not a valid scoring value"),
        ({"scoring": ["r2"]}, r"`scoring` must be the name of one scorer.* Got \['r2'\]"),
        ({"level": 95}, "`level` must be between 0 and 1. Got 95"),
    ],
    ids=["unknown scorer", "several scorers", "level"],
)
def test_what_is_wrong_is_said_before_anything_is_fitted(options, match, stacked_sizes):
    with pytest.raises(ValueError, match=f"^auxiliary_effect: {match}"):
        small(**options)
    assert not stacked_sizes


def test_weights_of_losses_that_are_no_dict_are_refused():
    with pytest.raises(TypeError, match=r"^auxiliary_effect: .*must be a dict or None.*\[1, 1\]"):
        small(clone(NET).set_params(loss_weights=[1, 1]))


def test_a_fit_that_fails_is_named():
    net = clone(NET).set_params(optimizer="sgd", learning_rate=1e-3)
    match = r"^auxiliary_effect: output 'area' at the weight 1e\+09, split 0: .*diverge"
    with pytest.raises(DivergenceError, match=match):
        small(net, weights={"area": [1e9]})


def test_a_score_that_is_no_number_is_named():
    match = "^auxiliary_effect: output 'area' at the weight 0, split 0: the score must be a finite"
    with pytest.raises(ValueError, match=match):
        small(scoring=lambda *_: np.nan)


def test_one_split_is_not_enough():
    with pytest.raises(ValueError, match="`cv` must give two splits or more"):
        small(cv=[(np.arange(40), np.arange(40, 60))])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weights": [0.1, 0.3]}, "must be 0 and then positive ones"),
        ({"weights": [0, 0.1, 0.3]}, r"must have the shape \(3, n_splits\)"),
        ({"level": 1.0}, "`level` must be between 0 and 1"),
        ({"random_scores": {"au": BASE}}, "`random_scores` names the unknown output 'au'"),
    ],
    ids=["no 0", "other number", "level", "unknown output"],
)
def test_weights_and_scores_fit_together(options, match):
    with pytest.raises(ValueError, match=f"^AuxiliaryEffect: .*{match}"):
        effect_of(BASE, BASE, **options)


def test_targets_are_taken_as_targets_too():
    effect = small(y=Targets(Y))
    np.testing.assert_array_equal(effect.scores["area"], small().scores["area"])
