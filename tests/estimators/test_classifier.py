"""MultiOutputNetClassifier is a classifier of arrays, with auxiliary targets beside."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, Targets
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
TWO = np.where(X[:, 0] + RNG.normal(size=N) > 0.5, "yes", "no")
THREE = np.digitize(X[:, 1] + RNG.normal(size=N), [-0.5, 1.0])
TAGS = (X[:, :3] + RNG.normal(size=(N, 3)) > 0).astype(int)
COLUMNS = np.column_stack([THREE, TAGS[:, 0] + 5])
AUX = Targets({"price": 1000 * X[:, 0], "tags": TAGS})


def make_net(**params):
    return MultiOutputNetClassifier(MLP((8,)), max_epochs=10, random_state=0).set_params(**params)


def test_it_is_a_classifier():
    assert is_classifier(make_net())


@pytest.mark.parametrize("y", [TWO, THREE, TWO == "yes", TWO.astype(object)])
def test_labels_give_labels_and_probabilities_of_the_sorted_classes(y):
    net = make_net().fit(X, y)
    assert net.predict(X).shape == (N,)
    np.testing.assert_array_equal(net.classes_, np.unique(y))
    probabilities = net.predict_proba(X)
    assert probabilities.shape == (N, len(net.classes_))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(net.classes_[probabilities.argmax(axis=1)], net.predict(X))
    assert net.score(X, y) == accuracy_score(y, net.predict(X))


def test_two_classes_have_one_raw_output():
    assert make_net().fit(X, TWO).module_.heads[0][0].out_features == 1
    assert make_net().fit(X, THREE).module_.heads[0][0].out_features == 3


def test_indicator_matrix_is_one_multilabel_output():
    net = make_net().fit(X, TAGS)
    assert isinstance(net.heads_["y"], MultiLabel)
    assert net.predict(X).shape == net.predict_proba(X).shape == (N, 3)
    np.testing.assert_array_equal(net.classes_, [0, 1, 2])
    assert net.score(X, TAGS) == accuracy_score(TAGS, net.predict(X))


def test_several_classes_per_column_are_one_output_each():
    net = make_net().fit(X, COLUMNS)
    assert net.output_names_ == ["y0", "y1"]
    assert net.predict(X).shape == (N, 2)
    assert [p.shape for p in net.predict_proba(X)] == [(N, 3), (N, 2)]
    assert [classes.tolist() for classes in net.classes_] == [[0, 1, 2], [5, 6]]
    each = [accuracy_score(COLUMNS[:, j], net.predict(X)[:, j]) for j in range(2)]
    assert net.score(X, COLUMNS) == pytest.approx(np.mean(each))


def test_columns_are_learned_as_named_outputs():
    net = make_net().fit(X, COLUMNS)
    named = MultiOutputNet(MLP((8,)), max_epochs=10, random_state=0)
    named.fit(X, {"y0": COLUMNS[:, 0], "y1": COLUMNS[:, 1]})
    assert named.predict(X) == Targets({"y0": net.predict(X)[:, 0], "y1": net.predict(X)[:, 1]})


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0}])
def test_class_weight_is_that_of_the_head(class_weight):
    net = make_net(class_weight=class_weight).fit(X, THREE)
    head = {"y": Classification(class_weight=class_weight)}
    named = make_net(heads=head).fit(X, THREE)
    np.testing.assert_array_equal(net.predict_proba(X), named.predict_proba(X))
    assert not np.array_equal(net.predict_proba(X), make_net().fit(X, THREE).predict_proba(X))


def test_balanced_classes_weigh_the_same_in_every_output():
    net = make_net(class_weight="balanced").fit(X, COLUMNS)
    for j, name in enumerate(("y0", "y1")):
        counts = np.unique(COLUMNS[:, j], return_counts=True)[1]
        np.testing.assert_allclose(
            net.heads_[name].class_weight_, N / (len(counts) * counts), rtol=1e-12
        )


@pytest.mark.parametrize("form", [dict, Targets, pd.DataFrame])
def test_auxiliary_targets_shape_the_fit_and_nothing_else(form):
    aux = form({"price": AUX["price"]})
    net = make_net().fit(X, TWO, aux=aux)
    assert net.output_names_ == ["y", "price"]
    np.testing.assert_array_equal(net.classes_, ["no", "yes"])
    assert net.predict_proba(X).shape == (N, 2)
    assert not np.array_equal(net.predict_proba(X), make_net().fit(X, TWO).predict_proba(X))
    assert net.score(X, TWO) == accuracy_score(TWO, net.predict(X))


def test_auxiliary_target_of_weight_zero_is_as_if_absent():
    net = make_net(loss_weights={"price": 0, "tags": 0}, batch_size=8).fit(X, TWO, aux=AUX)
    alone = make_net(batch_size=8).fit(X, TWO)
    np.testing.assert_array_equal(net.predict_proba(X), alone.predict_proba(X))


def test_sample_weight_is_for_all_outputs_or_by_name():
    weight = np.linspace(0, 2, N)
    one = make_net().fit(X, TWO, weight, aux=AUX)
    each = make_net().fit(X, TWO, dict.fromkeys(["y", *AUX], weight), aux=AUX)
    np.testing.assert_array_equal(one.predict_proba(X), each.predict_proba(X))
    expected = accuracy_score(TWO, one.predict(X), sample_weight=weight)
    assert one.score(X, TWO, weight) == pytest.approx(expected)


def test_score_names_a_class_that_fit_has_not_seen():
    net = make_net().fit(X, TWO)
    with pytest.raises(ValueError, match=r"output 'y': Every label must be.*'perhaps'"):
        net.score(X, np.where(TWO == "yes", "perhaps", "no"))


def test_missing_labels_are_ignored_when_asked():
    holes = TWO.astype(object)
    holes[:10] = None
    net = make_net(missing_targets="ignore").fit(X, holes)
    fewer = make_net().fit(X[10:], TWO[10:].astype(object))
    np.testing.assert_array_equal(net.predict_proba(X), fewer.predict_proba(X))
    assert net.score(X, holes) == accuracy_score(TWO[10:], net.predict(X)[10:])


def test_missing_numbers_of_classes_are_ignored_when_asked():
    holes = THREE * 1.0
    holes[:10] = np.nan
    net = make_net(missing_targets="ignore").fit(X, holes)
    np.testing.assert_array_equal(net.classes_, [0, 1, 2])


def test_missing_cells_of_an_indicator_matrix_are_ignored_when_asked():
    holes = TAGS * 1.0
    holes[:10, 0] = np.nan
    net = make_net(missing_targets="ignore").fit(X, holes)
    assert isinstance(net.heads_["y"], MultiLabel)
    assert net.predict(X).shape == (N, 3)


def test_unfitted_classifier_has_no_classes():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make_net().predict_proba(X)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make_net().score(X, TWO)
    assert not hasattr(make_net(), "classes_")


def test_failed_refit_keeps_the_names_of_the_last_fit():
    net = make_net().fit(X, TWO)
    with pytest.raises(ValueError, match="as many rows as X"):
        net.fit(X[:5], COLUMNS)
    assert net.predict(X).shape == (N,)


@pytest.mark.parametrize(
    ("y", "aux", "params", "message"),
    [
        (TWO, X[:, 0], {}, "`aux` must hold targets by name. Got ndarray"),
        (TWO, {"y": TWO}, {}, r"`aux` must not use the names of `y`, \['y'\]"),
        (COLUMNS, {"y1": TWO}, {}, r"`aux` must not use the names of `y`, \['y1'\]"),
        (TWO, AUX[:7], {}, "`aux` must have as many rows as `y`, 60. Got 7"),
        (AUX, None, {}, "`y` must be one array. Got the targets"),
        (TWO, None, {"heads": {"y": Regression()}}, "the head of 'y' must predict classes"),
        (TAGS, None, {"class_weight": "balanced"}, "`class_weight` must be None for an indicator"),
        (TWO, None, {"class_weight": {"maybe": 2.0}}, "output 'y': `class_weight` names the unk"),
        (TWO, None, {"class_weight": "equal"}, "'class_weight' parameter"),
        (X[:, 0], None, {}, "Unknown label type: continuous"),
        (np.where(TWO == "no", None, TWO), None, {}, "output 'y'.*contains NaN, None or NaT"),
        (TWO[:7], None, {}, "`y` must have as many rows as X, 60. Got 7"),
        (None, None, {}, "requires y to be passed"),
        (TWO, AUX, {"loss_weights": {"prize": 1.0}}, "'prize'.*did you mean 'price'"),
    ],
)
def test_bad_input_is_refused(y, aux, params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make_net(**params).fit(X, y, aux=aux)


def test_columns_of_different_kinds_are_outputs_of_their_own():
    y = np.array([["a", 1], ["c", 2]] * 25, dtype=object)
    X = np.random.default_rng(0).normal(size=(50, 3))
    net = MultiOutputNetClassifier(max_epochs=1, random_state=0).fit(X, y)
    assert [classes.tolist() for classes in net.classes_] == [["a", "c"], [1, 2]]
    assert net.predict(X).shape == (50, 2)


def test_a_fold_without_some_classes_is_scored_by_the_columns_of_the_fit():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.column_stack([np.arange(60) % 3, np.arange(60) % 2])
    net = MultiOutputNetClassifier(max_epochs=1, random_state=0).fit(X, y)
    rows = y[:, 0] < 2
    expected = np.mean(net.predict(X[rows]) == y[rows])
    np.testing.assert_allclose(net.score(X[rows], y[rows]), expected)
    with pytest.raises(ValueError, match="`y` must have 2 columns, as in fit"):
        net.score(X, y[:, 0])


def test_class_weight_beside_a_head_is_refused():
    X = np.random.default_rng(0).normal(size=(20, 3))
    net = MultiOutputNetClassifier(
        heads={"y": Classification()}, class_weight={True: 2.0, False: 1.0}
    )
    with pytest.raises(ValueError, match="`class_weight` must be None where `heads` has 'y'"):
        net.fit(X, X[:, 0] > 0)


WORDS = np.column_stack([np.array(["low", "mid", "high"])[THREE], TWO])
MIXED = np.column_stack([WORDS[:, 0].astype(object), TAGS[:, 1].astype(object)])


@pytest.mark.parametrize("y", [COLUMNS, WORDS, MIXED], ids=["numbers", "words", "mixed"])
def test_columns_keep_the_type_of_their_labels(y):
    net, named = make_net().fit(X, y), MultiOutputNet(MLP((8,)), max_epochs=10, random_state=0)
    named.fit(X, {"y0": y[:, 0], "y1": y[:, 1]})
    predicted = net.predict(X)
    assert predicted.dtype.kind == y.dtype.kind
    for j in range(2):
        np.testing.assert_array_equal(predicted[:, j], named.predict(X)[f"y{j}"])
        np.testing.assert_array_equal(net.predict_proba(X)[j], named.predict_proba(X)[f"y{j}"])
        assert {type(label) for label in predicted[:, j].tolist()} == {type(y[:, j].tolist()[0])}


@pytest.mark.parametrize("y", [COLUMNS, WORDS, MIXED], ids=["numbers", "words", "mixed"])
def test_tools_of_scikit_learn_take_columns_of_classes(y):
    cv = KFold(2)  # of a number, scikit-learn sorts all labels, words and numbers alike
    assert np.isfinite(cross_val_score(make_net(), X, y, cv=cv)).all()
    chances = cross_val_predict(make_net(), X, y, cv=cv, method="predict_proba")
    assert [part.shape for part in chances] == [(N, 3), (N, 2)]
    search = GridSearchCV(make_net(), {"learning_rate": [1e-4, 0.1]}, cv=cv).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 2


def test_booleans_beside_numbers_stay_booleans():
    y = np.column_stack([THREE.astype(object), (TWO == "yes").astype(object)])
    predicted = make_net().fit(X, y).predict(X)
    assert {type(label) for label in predicted[:, 1]} <= {bool, np.bool_}


def test_lists_keep_numbers_and_missing_labels_beside_words():
    words = [None if i < 5 else label for i, label in enumerate(WORDS[:, 0].tolist())]
    net = make_net(missing_targets="ignore").fit(X, [word or np.nan for word in words])
    assert net.classes_.tolist() == ["high", "low", "mid"]
    rows = [[word, int(tag)] for word, tag in zip(words, TAGS[:, 1], strict=True)]
    columns = make_net(missing_targets="ignore").fit(X, rows)
    assert [classes.tolist() for classes in columns.classes_] == [["high", "low", "mid"], [0, 1]]


def test_heads_for_all_columns_make_classes_of_zeros_and_ones():
    heads = {f"y{j}": Classification() for j in range(3)}
    net = make_net(heads=heads).fit(X, TAGS)
    assert [part.shape for part in net.predict_proba(X)] == [(N, 2)] * 3
    two = np.column_stack([TWO, np.where(TAGS[:, 0] == 1, "x", "z")])
    heads.pop("y2")
    chances = cross_val_predict(make_net(heads=heads), X, two, cv=2, method="predict_proba")
    assert [part.shape for part in chances] == [(N, 2)] * 2
