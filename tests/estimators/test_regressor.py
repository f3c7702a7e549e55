"""MultiOutputNetRegressor is a regressor of arrays, with auxiliary targets beside."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_regressor
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import r2_score

from mtlearn import MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

N = 50
X = np.random.default_rng(0).normal(size=(N, 4))
Y = 5.0 + X[:, 0] - 2 * X[:, 1]
AUX = Targets({"kind": np.where(X[:, 1] > 0, "a", "b"), "other": X[:, 2]})


def make_net(**params):
    return MultiOutputNetRegressor(MLP((8,)), max_epochs=10, random_state=0).set_params(**params)


def test_it_is_a_regressor():
    assert is_regressor(make_net())
    assert not hasattr(make_net().fit(X, Y), "predict_proba")


def test_array_gives_an_array_of_its_shape():
    assert make_net().fit(X, Y).predict(X).shape == (N,)
    pair = np.column_stack([Y, 100 * Y])
    net = make_net().fit(X, pair)
    assert net.predict(X).shape == (N, 2)
    assert net.output_names_ == ["y"]


def test_column_is_flattened_with_scikit_learns_warning():
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        net = make_net().fit(X, Y[:, None])
    np.testing.assert_array_equal(net.predict(X), make_net().fit(X, Y).predict(X))


@pytest.mark.parametrize("form", [list, pd.Series])
def test_any_form_of_numbers_is_learned_alike(form):
    expected = make_net().fit(X, Y).predict(X)
    np.testing.assert_array_equal(make_net().fit(X, form(Y)).predict(X), expected)


def test_integers_are_numbers():
    counts = np.arange(N) % 5
    net = make_net().fit(X, counts)
    assert isinstance(net.heads_["y"], Regression)
    np.testing.assert_array_equal(net.predict(X), make_net().fit(X, 1.0 * counts).predict(X))


def test_score_is_r2():
    pair = np.column_stack([Y, X[:, 3]])
    weight = np.linspace(0, 1, N)
    for y in (Y, pair):
        net = make_net().fit(X, y)
        expected = r2_score(y, net.predict(X), sample_weight=weight)
        assert net.score(X, y, weight) == pytest.approx(expected)


@pytest.mark.parametrize("form", [dict, Targets, pd.DataFrame])
def test_auxiliary_targets_shape_the_fit_and_nothing_else(form):
    net = make_net().fit(X, Y, aux=form(AUX))
    assert net.output_names_ == ["y", "kind", "other"]
    assert net.predict(X).shape == (N,)
    assert not np.array_equal(net.predict(X), make_net().fit(X, Y).predict(X))
    both = MultiOutputNet(**make_net().get_params(deep=False)).fit(X, {"y": Y, **AUX})
    np.testing.assert_array_equal(net.predict(X), both.predict(X)["y"])
    assert net.score(X, Y) == r2_score(Y, net.predict(X))


def test_auxiliary_target_of_weight_zero_is_as_if_absent():
    net = make_net(loss_weights={"kind": 0.0, "other": 0.0}, batch_size=8).fit(X, Y, aux=AUX)
    alone = make_net(batch_size=8).fit(X, Y)
    np.testing.assert_array_equal(net.predict(X), alone.predict(X))


def test_sample_weight_is_for_all_outputs_or_by_name():
    weight = np.linspace(0, 2, N)
    one = make_net().fit(X, Y, weight, aux=AUX)
    each = make_net().fit(X, Y, dict.fromkeys(["y", *AUX], weight), aux=AUX)
    own = make_net().fit(X, Y, {"y": weight}, aux=AUX)
    np.testing.assert_array_equal(one.predict(X), each.predict(X))
    assert not np.array_equal(one.predict(X), own.predict(X))


def test_heads_can_be_given_for_y_and_the_auxiliary_targets():
    heads = {"y": Regression("huber"), "kind": Classification(label_smoothing=0.1)}
    net = make_net(heads=heads).fit(X, Y, aux=AUX)
    assert net.heads_["y"].loss == "huber"
    assert net.heads_["kind"].label_smoothing == 0.1
    copied = make_net(heads={"copy": Regression(target="y")}).fit(X, Y)
    assert copied.output_names_ == ["y", "copy"]
    assert copied.score(X, Y) == r2_score(Y, copied.predict(X))


def test_missing_numbers_are_ignored_when_asked():
    holes = np.where(np.arange(N) < 10, np.nan, Y)
    net = make_net(missing_targets="ignore").fit(X, holes)
    np.testing.assert_array_equal(net.predict(X), make_net().fit(X[10:], Y[10:]).predict(X))
    assert net.score(X, holes) == pytest.approx(r2_score(Y[10:], net.predict(X)[10:]))


@pytest.mark.parametrize(
    ("y", "aux", "params", "message"),
    [
        (Y, AUX["other"], {}, r"`aux` must hold targets by name. Got ndarray"),
        (Y, {"y": Y}, {}, r"`aux` must not use the names of `y`, \['y'\]"),
        (Y, AUX[:7], {}, "`aux` must have as many rows as `y`, 50. Got 7"),
        (Y, {"other": X[:7, 2]}, {}, "scikit-learn does not split a plain dict"),
        (AUX, None, {}, "`y` must be one array. Got the targets .*or use MultiOutputNet"),
        ({"a": Y}, None, {}, "`y` must be one array. Got the targets"),
        (Y, None, {"heads": {"y": Classification()}}, "the head of 'y' must predict numbers"),
        (Y, AUX, {"loss_weights": {"knd": 1.0}}, "'knd'.*did you mean 'kind'"),
        (Y, None, {"loss_weights": {"kind": 1.0}}, "unknown output 'kind'"),
        (np.where(Y > 5, np.nan, Y), None, {}, "Input y contains NaN"),
        (np.where(Y > 5, np.inf, Y), None, {}, "Input y contains infinity"),
        (AUX["kind"], None, {}, "could not convert string to float"),
        (Y[:7], None, {}, "`y` must have as many rows as X, 50. Got 7"),
        (None, None, {}, "requires y to be passed"),
        (Y, {"holes": np.where(X[:, 0] > 0, np.nan, X[:, 1])}, {}, "output 'holes'.*NaN"),
    ],
)
def test_bad_input_is_refused(y, aux, params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make_net(**params).fit(X, y, aux=aux)
