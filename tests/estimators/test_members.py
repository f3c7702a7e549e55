"""Ensembles: ``n_members`` networks of one estimator, trained side by side."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mtlearn import (
    Inputs,
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Classification, Gaussian, MultiLabel, Regression
from mtlearn.model_selection import StackedGridSearchCV
from mtlearn.trunks import MLP, CategoryEmbedding, Graph
from mtlearn.weighting import Linear

RNG = np.random.default_rng(0)
N = 90
X = RNG.normal(size=(N, 4))
Y = Targets(
    {
        "number": X[:, 0] * X[:, 1],
        "kind": np.digitize(X[:, 2], [-0.5, 0.5]),
        "tags": (X[:, :2] + RNG.normal(size=(N, 2)) > 0).astype(int),
    }
)


def make(n_members=3, **params):
    settings = {
        "trunk": MLP((8, 6)),
        "n_members": n_members,
        "max_epochs": 4,
        "batch_size": 30,
        "random_state": 0,
    }
    return MultiOutputNet(**settings | params)


def weights_of(net):
    return [p.detach().numpy() for m in net.members_ for p in m.module_.parameters()]


def test_predictions_are_the_means_of_the_members():
    net = make().fit(X, Y)
    predicted, chances = net.predict(X), net.predict_proba(X)
    each = [member.predict(X) for member in net.members_]
    of_each = [member.predict_proba(X) for member in net.members_]
    np.testing.assert_array_equal(predicted["number"], np.mean([p["number"] for p in each], 0))
    for name in ("kind", "tags"):
        np.testing.assert_array_equal(chances[name], np.mean([p[name] for p in of_each], 0))
    np.testing.assert_array_equal(predicted["kind"], chances["kind"].argmax(1))
    np.testing.assert_array_equal(predicted["tags"], chances["tags"] > 0.5)
    assert any((p["kind"] != predicted["kind"]).any() for p in each)


def test_members_differ_and_their_number_does_not_change_the_first():
    few, many = make(2).fit(X, Y), make(4).fit(X, Y)
    first, second = few.members_
    assert not np.allclose(first.predict(X)["number"], second.predict(X)["number"])
    for ours, theirs in zip(weights_of(few), weights_of(many), strict=False):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_a_member_is_what_its_seed_makes_of_a_single_network():
    net = make().fit(X, Y)
    for member in net.members_:
        alone = clone(member).fit(X, Y)
        assert alone.n_members == 1
        np.testing.assert_allclose(
            alone.predict(X)["number"], member.predict(X)["number"], atol=1e-9
        )


class Draws(nn.Module):
    """A module of the user's, which draws from torch's generator."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.4), nn.Tanh())

    def forward(self, X):
        return self.layers(X)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_member_draws_what_it_would_draw_alone(early_stopping):
    net = make(trunk=Draws(), early_stopping=early_stopping).fit(X, Y)
    for member in net.members_:
        assert clone(member).fit(X, Y).history_ == member.history_


@pytest.mark.parametrize("fast", ["auto", False])
def test_the_same_seed_makes_the_same_members(fast):
    first, again = (make(fast_step=fast).fit(X, Y) for _ in range(2))
    assert all(map(np.array_equal, weights_of(first), weights_of(again)))
    assert not np.array_equal(
        make(fast_step=fast, random_state=1).fit(X, Y).predict(X)["number"],
        first.predict(X)["number"],
    )


def test_members_are_trained_by_formulas_side_by_side_as_by_autograd():
    fast, slow = make().fit(X, Y), make(fast_step=False).fit(X, Y)
    assert fast.fast_step_
    for ours, theirs in zip(weights_of(fast), weights_of(slow), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_an_average_is_better_than_its_members():
    features, target = make_friedman1(400, noise=1.0, random_state=0)
    features = StandardScaler().fit_transform(features)
    train, test = slice(0, 200), slice(200, None)
    net = MultiOutputNetRegressor(n_members=8, random_state=0).fit(features[train], target[train])
    scores = [member.score(features[test], target[test]) for member in net.members_]
    assert net.score(features[test], target[test]) > max(scores)


@pytest.mark.parametrize("fast", ["auto", False])
@pytest.mark.parametrize("main", [None, "number", "kind"])
def test_members_stop_together_at_the_least_mean_loss_on_their_folds(main, fast):
    params = {"early_stopping": True, "n_iter_no_change": 3, "max_epochs": 60, "fast_step": fast}
    net = make(4, main_output=main, learning_rate=0.02, **params).fit(X, Y)
    name = "val_loss" if main is None else f"val_{main}_loss"
    losses = np.array([[row[name] for row in member.history_] for member in net.members_])
    held = [len(fold) for fold in np.array_split(np.arange(N), 10)][:4]
    pooled = np.average(losses, axis=0, weights=held)
    assert {member.best_epoch_ for member in net.members_} == {net.best_epoch_}
    assert net.best_epoch_ == pooled.argmin() + 1
    assert net.n_iter_ == min(net.best_epoch_ + 3, 60)


def test_each_member_holds_out_a_fold_of_its_own():
    seen = []
    splitter = ShuffleSplit(3, random_state=0)
    net = make(3, early_stopping=True, validation_fraction=splitter).fit(X, Y)
    for member in net.members_:
        ((_, held),) = member.validation_fraction.split(X, np.zeros(N))
        seen.append(tuple(held))
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("n_members", "share", "n_folds"), [(3, 0.1, 10), (12, 0.1, 12), (2, 0.5, 2)]
)
def test_folds_are_as_many_as_the_share_and_the_members_ask_for(n_members, share, n_folds):
    net = make(n_members, early_stopping=True, validation_fraction=share, max_epochs=1).fit(X, Y)
    folds = [next(m.validation_fraction.split(X, Y["number"]))[1] for m in net.members_]
    assert {len(held) for held in folds} <= {N // n_folds, N // n_folds + 1}
    assert len(np.unique(np.concatenate(folds))) == sum(map(len, folds))


def test_groups_are_not_divided():
    groups = np.arange(N) // 10
    net = make(3, early_stopping=True, validation_fraction=GroupKFold(3), max_epochs=2)
    net.fit(X, Y, groups=groups)
    for member in net.members_:
        ((train, held),) = member.validation_fraction.split(X, Y["kind"], groups)
        assert not set(groups[train]) & set(groups[held])


def test_rows_without_the_main_label_are_trained_on_and_not_held_out():
    y = Targets({"number": np.where(np.arange(N) < 20, Y["number"], np.nan), "kind": Y["kind"]})
    heads = {"number": Regression()}
    params = {"main_output": "number", "missing_targets": "ignore", "early_stopping": True}
    net = make(3, heads=heads, **params).fit(X, y)
    for member in net.members_:
        ((train, held),) = member.validation_fraction.split(X, y["number"])
        assert held.max() < 20
        assert len(train) + len(held) == N


def test_rows_of_ones_own_are_watched_by_all():
    net = make(3, early_stopping=True, max_epochs=30, n_iter_no_change=2)
    net.fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    assert len({member.best_epoch_ for member in net.members_}) == 1
    assert "val_loss" in net.history_[-1]


def test_history_is_the_mean_of_the_members():
    net = make(loss_weights={"kind": Linear(0.5, epochs=3)}).fit(X, Y)
    for epoch, row in enumerate(net.history_):
        for name, value in row.items():
            if name != "dur":
                of_members = [member.history_[epoch][name] for member in net.members_]
                assert value == pytest.approx(np.mean(of_members))
        total = sum(row[f"{name}_weight"] * row[f"{name}_loss"] for name in Y) + row["penalty"]
        assert row["loss"] == pytest.approx(total)


@pytest.mark.parametrize("copied", [pickle.dumps, None], ids=["pickle", "joblib"])
def test_a_copy_predicts_the_same(copied, tmp_path):
    net = make().fit(X, Y)
    if copied is None:
        joblib.dump(net, tmp_path / "net.joblib")
        copy = joblib.load(tmp_path / "net.joblib")
    else:
        copy = pickle.loads(copied(net))
    assert copy.predict(X) == net.predict(X)
    assert copy.history_ == net.history_


def test_a_stream_is_learned_by_all_and_goes_on_after_pickling():
    whole, parts = make(), make()
    for start in (0, 30, 60):
        piece = slice(start, start + 30)
        whole.partial_fit(X[piece], Y[piece], classes={"kind": [0, 1, 2]})
        parts = pickle.loads(pickle.dumps(parts))
        parts.partial_fit(X[piece], Y[piece], classes={"kind": [0, 1, 2]})
    assert len(whole.history_) == 3
    assert all(map(np.array_equal, weights_of(whole), weights_of(parts)))


def test_fits_that_go_on_are_one_longer_fit():
    params = {"warm_start": True, "batch_size": 20}
    whole = make(max_epochs=6, **params).fit(X, Y)
    parts = make(max_epochs=2, **params).fit(X, Y)
    parts = pickle.loads(pickle.dumps(parts)).set_params(max_epochs=4).fit(X, Y)
    assert parts.n_iter_ == 6
    for ours, theirs in zip(weights_of(parts), weights_of(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_going_on_with_another_number_of_members_is_refused():
    net = make(warm_start=True).fit(X, Y)
    for n_members in (1, 2, 4):
        with pytest.raises(ValueError, match=f"`n_members` is {n_members} now; clone"):
            net.set_params(n_members=n_members).fit(X, Y)
    single = make(1, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="`n_members` is 2 now; clone"):
        single.set_params(n_members=2).partial_fit(X, Y)


def test_fitting_anew_changes_between_one_and_several():
    net = make(2).fit(X, Y)
    net.set_params(n_members=1).fit(X, Y)
    assert not hasattr(net, "members_")
    assert net.predict(X) == make(1).fit(X, Y).predict(X)
    net.set_params(n_members=2).fit(X, Y)
    assert not hasattr(net, "module_")
    assert net.predict(X) == make(2).fit(X, Y).predict(X)


def test_outputs_are_dropped_from_all():
    net = make().fit(X, Y)
    smaller = net.drop_outputs(["kind", "tags"])
    assert list(smaller.predict(X)) == ["number"]
    assert np.array_equal(smaller.predict(X)["number"], net.predict(X)["number"])
    assert list(net.predict(X, outputs=["tags", "number"])) == ["tags", "number"]
    assert smaller.loss_weights_ == {"number": 1.0}


def test_an_output_is_a_classifier_of_its_own():
    view = make().fit(X, Y).output("kind")
    assert view.predict_proba(X).shape == (N, 3)
    assert view.score(X, Y["kind"]) == np.mean(view.predict(X) == Y["kind"])


def test_embeddings_are_side_by_side():
    net = make().fit(X, Y)
    parts = [member.embed(X) for member in net.members_]
    np.testing.assert_array_equal(net.embed(X), np.concatenate(parts, axis=1))


def test_searches_and_pipelines_take_it():
    pipe = make_pipeline(StandardScaler(), make(2))
    grid = {"multioutputnet__n_members": [1, 2], "multioutputnet__loss_weights__kind": [0, 1]}
    found = [search(pipe, grid, cv=2).fit(X, Y) for search in (GridSearchCV, StackedGridSearchCV)]
    scores = [search.cv_results_["mean_test_score"] for search in found]
    np.testing.assert_allclose(*scores, atol=1e-9)
    assert len(set(scores[0])) == 4
    predicted = cross_val_predict(pipe, X, Y, cv=2)
    assert np.isfinite(predicted["number"]).all()


def test_arrays_and_auxiliary_targets():
    aux = Targets({"kind": Y["kind"]})
    regressor = MultiOutputNetRegressor(n_members=2, max_epochs=3, random_state=0)
    assert regressor.fit(X, Y["number"], aux=aux).predict(X).shape == (N,)
    classifier = MultiOutputNetClassifier(n_members=2, max_epochs=3, random_state=0)
    classifier.fit(X, Y["kind"], aux=Targets({"number": Y["number"]}))
    assert classifier.predict_proba(X).shape == (N, 3)
    assert classifier.classes_.tolist() == [0, 1, 2]
    classifier.partial_fit(X, Y["kind"], aux=Targets({"number": Y["number"]}))


def test_several_inputs_and_parts_that_learn_from_rows():
    inputs = Inputs({"codes": np.arange(N)[:, None] % 7, "table": X})
    graph = Graph(
        [("vectors", CategoryEmbedding(3), "codes"), ("end", MLP((6,)), ["vectors", "table"])]
    )
    net = make(trunk=graph, early_stopping=True).fit(inputs, Y)
    assert pickle.loads(pickle.dumps(net)).predict(inputs) == net.predict(inputs)


def test_constant_and_unweighted_outputs():
    y = Targets({"number": Y["number"], "constant": np.full(N, 3.0), "kind": Y["kind"]})
    net = make(loss_weights={"kind": 0}).fit(X, y)
    assert np.array_equal(net.predict(X)["constant"], y["constant"])
    assert len(np.unique(net.predict(X)["kind"])) == 1


def test_a_failure_leaves_all_members_as_they_were():
    net = make(warm_start=True, learning_rate=1e-3).fit(X, Y)
    before = weights_of(net)
    with pytest.raises(DivergenceError, match=r"MultiOutputNet: .*diverged"):
        net.set_params(learning_rate=1e30, optimizer="sgd").fit(X, Y)
    assert all(map(np.array_equal, before, weights_of(net)))
    assert net.n_iter_ == 4
    with pytest.raises(ValueError, match="output 'kind'"):
        make().fit(X, Targets({**Y, "kind": [None] * N}))


def test_it_is_seen_as_its_first_member_and_shows_its_outputs():
    net = make().fit(X, Y)
    assert net.summary()["n_parameters"].sum() == net.members_[0].summary()["n_parameters"].sum()
    assert "<caption>Outputs</caption>" in net._repr_html_()


def test_frames_keep_their_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    net = make(2).fit(frame, Y)
    assert net.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        net.predict(frame.rename(columns={"a": "z"}))


@pytest.mark.parametrize("n_members", [0, -1, 1.5, "3"])
def test_the_number_must_be_positive(n_members):
    with pytest.raises(ValueError, match="'n_members' parameter of MultiOutputNet must be an int"):
        make(n_members).fit(X, Y)


def test_heads_that_decide_take_their_thresholds():
    heads = {"tags": MultiLabel(threshold=[0.2, 0.8]), "kind": Classification(classes=[2, 1, 0])}
    net = make(heads=heads).fit(X, Y)
    chances = net.predict_proba(X)
    np.testing.assert_array_equal(net.predict(X)["tags"], chances["tags"] > [0.2, 0.8])
    np.testing.assert_array_equal(
        net.predict(X)["kind"], np.array([2, 1, 0])[chances["kind"].argmax(1)]
    )


@pytest.mark.parametrize("n_members", [1, 3])
def test_refitted_members_learn_all_rows_for_the_best_number_of_epochs(n_members):
    params = {"early_stopping": True, "max_epochs": 60, "n_iter_no_change": 3}
    params |= {"learning_rate": 0.05, "learning_rate_schedule": "cosine"}
    once = make(n_members, **params).fit(X, Y)
    net = make(n_members, refit=True, **params).fit(X, Y)
    assert len(net.members_) == 2 * n_members
    if n_members > 1:
        assert net.best_epoch_ == once.best_epoch_
        for ours, theirs in zip(weights_of(once), weights_of(net), strict=False):
            assert np.array_equal(ours, theirs)
    again = net.members_[n_members:]
    for member in again:
        assert member.n_iter_ == net.best_epoch_ < net.n_iter_
        assert "val_loss" not in member.history_[-1]
        assert member.history_[0]["learning_rate"] == 0.05
    assert len({member.random_state for member in net.members_}) == 2 * n_members
    each = [member.predict(X)["number"] for member in net.members_]
    np.testing.assert_allclose(net.predict(X)["number"], np.mean(each, axis=0))


def test_without_early_stopping_there_is_nothing_to_refit():
    plain, refitted = make(1).fit(X, Y), make(1, refit=True).fit(X, Y)
    assert plain.predict(X) == refitted.predict(X)
    assert len(make(2, refit=True).fit(X, Y).members_) == 2


def test_refitted_members_do_not_go_on():
    net = make(2, refit=True, early_stopping=True, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="`n_members` is 2 now; clone the estimator"):
        net.fit(X, Y)


def test_the_spread_of_members_is_a_standard_deviation():
    heads = {"gauss": Gaussian(target="number")}
    net = make(heads=heads).fit(X, Y)
    stds = net.predict_std(X)
    assert list(stds) == ["number", "gauss"]
    each = np.array([member.predict(X)["number"] for member in net.members_])
    np.testing.assert_allclose(stds["number"], each.std(axis=0))
    means = np.array([member.predict(X)["gauss"] for member in net.members_])
    own = np.array([member.predict_std(X)["gauss"] for member in net.members_])
    np.testing.assert_allclose(stds["gauss"] ** 2, (own**2).mean(0) + means.var(0))
    with pytest.raises(AttributeError, match="classes have no standard deviation"):
        net.predict_std(X, outputs=["kind"])


def test_the_spread_is_larger_where_there_are_no_rows():
    features = np.linspace(-1, 1, 100)[:, None]
    net = MultiOutputNetRegressor(n_members=8, random_state=0).fit(features, features[:, 0] ** 2)
    near, far = net.predict_std([[0.0], [5.0]])
    assert far > 3 * near
