"""Keras 3 trains the same network, and what goes wrong there goes right here."""

import os
from functools import partial

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import pytest
import torch
from torch import nn

from mtlearn import MultiOutputNet, Targets
from mtlearn._engine._module import build_module
from mtlearn._random import part_seed, root_seed
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

N_FEATURES, N_HIDDEN, N_EPOCHS, BATCH = 4, 6, 5, 32
WEIGHTS = {"kind": 1.0, "size": 0.2}


def make_data(n=101):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, N_FEATURES))
    kind = np.digitize(X[:, 0] + 0.5 * rng.normal(size=n), [-0.5, 0.5])
    return X, {"kind": kind, "size": 2.0 + 3.0 * X[:, 1] + X[:, 2] ** 2}


def keras_model(dtype):
    inputs = keras.Input((N_FEATURES,), dtype=dtype)
    hidden = keras.layers.Dense(N_HIDDEN, "tanh", dtype=dtype)(inputs)
    kind = keras.layers.Dense(3, dtype=dtype, name="kind")(hidden)
    size = keras.layers.Dense(1, dtype=dtype, name="size")(hidden)
    return keras.Model(inputs, {"kind": kind, "size": size})


def linear_layers(module):
    """The hidden layer and the layers of the heads in the order of their names."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def as_keras(module):
    arrays = []
    for layer in linear_layers(module):
        arrays += [layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()]
    return arrays


def train_both(dtype, optimizer, keras_optimizer, learning_rate):
    X, y = make_data()
    X = X.astype(dtype)
    net = MultiOutputNet(
        nn.Sequential(nn.Linear(N_FEATURES, N_HIDDEN), nn.Tanh()),
        loss_weights=WEIGHTS,
        normalize_losses=False,
        optimizer=optimizer,
        learning_rate=learning_rate,
        alpha=0.0,
        batch_size=BATCH,
        max_epochs=N_EPOCHS,
        random_state=3,
    ).fit(X, y)
    seed = root_seed(3)
    start = build_module(net.trunk_, net.heads_, N_FEATURES, seed, getattr(torch, dtype))
    model = keras_model(dtype)
    model.set_weights(as_keras(start))
    model.compile(
        optimizer=keras_optimizer,
        loss={
            "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype),
            "size": keras.losses.MeanSquaredError(dtype=dtype),
        },
        loss_weights=WEIGHTS,
    )
    generator = torch.Generator().manual_seed(part_seed(seed, "batches"))
    history = []
    for _ in range(N_EPOCHS):
        order = torch.randperm(len(X), generator=generator).numpy()
        labels = {"kind": y["kind"][order], "size": y["size"][order, None].astype(dtype)}
        run = model.fit(X[order], labels, batch_size=BATCH, shuffle=False, verbose=0)
        history.append({name: values[0] for name, values in run.history.items()})
    return net, history, as_keras(start), model.get_weights()


@pytest.mark.parametrize(
    ("dtype", "optimizer", "keras_optimizer", "learning_rate"),
    [
        ("float32", "sgd", lambda: keras.optimizers.SGD(0.05), 0.05),
        (
            "float64",
            partial(torch.optim.Adam, eps=1e-16),
            lambda: keras.optimizers.Adam(0.01, epsilon=1e-16),
            0.01,
        ),
    ],
    ids=["sgd-float32", "adam-float64"],
)
def test_losses_and_weights_are_those_of_keras(dtype, optimizer, keras_optimizer, learning_rate):
    net, history, start, weights = train_both(dtype, optimizer, keras_optimizer(), learning_rate)
    for ours, theirs in zip(net.history_, history, strict=True):
        for name in ("loss", "kind_loss", "size_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-5)
    for ours, theirs, first in zip(as_keras(net.module_), weights, start, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
        assert np.abs(ours - first).max() > 1e-3


# Each test below is a case where Keras goes wrong, silently or with an obscure error.


def small_net(**params):
    return MultiOutputNet(MLP((4,)), max_epochs=3, random_state=0, **params)


def unequal_data():
    """Two outputs whose losses differ much, declared against the order of the alphabet."""
    X, y = make_data(40)
    return X, {"zeta": y["size"], "alpha": y["kind"]}


def total_of(row, weights):
    return sum(weight * row[f"{name}_loss"] for name, weight in weights.items()) + row["penalty"]


def test_misspelt_weight_is_an_error_and_swaps_nothing():
    X, y = unequal_data()
    with pytest.raises(ValueError, match=r"unknown output 'zetta'.*did you mean 'zeta'"):
        small_net(loss_weights={"zetta": 0.2, "alpha": 1.0}).fit(X, y)


def test_weights_go_by_name_in_any_order():
    X, y = unequal_data()
    weights = {"zeta": 1.0, "alpha": 0.2}
    backwards = dict(reversed(weights.items()))
    net = small_net(loss_weights=weights, normalize_losses=False).fit(X, y)
    other = small_net(loss_weights=backwards, normalize_losses=False).fit(X, y)
    assert net.history_ == other.history_
    for row in net.history_:
        assert row["zeta_loss"] > 3 * row["alpha_loss"]
        assert row["loss"] == pytest.approx(total_of(row, weights), rel=1e-12)


@pytest.mark.parametrize("weights", [[1.0, 0.2], (1.0, 0.2), 2, 2.0, "balanced"])
def test_weights_without_names_are_refused(weights):
    with pytest.raises(ValueError, match="'loss_weights' parameter of MultiOutputNet must be"):
        small_net(loss_weights=weights).fit(*unequal_data())


def test_one_head_for_all_goes_with_weights_by_name():
    X, y = unequal_data()
    y["alpha"] = y["alpha"].astype(float)
    weights = {"zeta": 1.0, "alpha": 0.2}
    heads = dict.fromkeys(y, Regression(loss="absolute_error"))
    row = small_net(heads=heads, loss_weights=weights).fit(X, y).history_[0]
    assert row["loss"] == pytest.approx(total_of(row, weights), rel=1e-12)


def test_missing_weight_is_one():
    X, y = unequal_data()
    some = small_net(loss_weights={"alpha": 0.2}).fit(X, y)
    assert some.loss_weights_ == {"zeta": 1.0, "alpha": 0.2}
    assert some.history_ == small_net(loss_weights={"alpha": 0.2, "zeta": 1.0}).fit(X, y).history_


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.5, "1.0", None])
def test_weight_that_is_no_finite_number_of_at_least_zero_is_refused(weight):
    with pytest.raises(ValueError, match=r"loss_weights\['zeta'\]` must be a finite number"):
        small_net(loss_weights={"zeta": weight}).fit(*unequal_data())


def test_head_of_an_unknown_output_is_a_value_error_that_lists_the_outputs():
    X, y = unequal_data()
    with pytest.raises(ValueError, match=r"unknown output 'foo'; .*'alpha', 'zeta'"):
        small_net(heads={"foo": Regression()}).fit(X, y)


def test_unknown_and_missing_targets_are_named_when_scoring():
    X, y = unequal_data()
    net = small_net().fit(X, y)
    with pytest.raises(ValueError, match=r"`y` names the unknown target 'more'"):
        net.score(X, {**y, "more": y["zeta"]})
    with pytest.raises(ValueError, match=r"must hold the targets of all outputs.*\['alpha'\]"):
        net.score(X, {"zeta": y["zeta"]})


def test_output_without_sample_weight_counts_all_rows():
    X, y = unequal_data()
    weight = np.linspace(0.5, 2.0, len(X))
    some = small_net().fit(X, y, {"zeta": weight})
    both = small_net().fit(X, y, {"zeta": weight, "alpha": np.ones(len(X))})
    assert some.predict(X) == both.predict(X)
    assert some.predict(X) != small_net().fit(X, y).predict(X)


def test_zero_weights_do_not_shrink_the_loss():
    X, y = unequal_data()
    y = {"zeta": y["zeta"]}
    weight = np.repeat([1.0, 0.0], len(X) // 2)
    half = {"zeta": y["zeta"][weight > 0]}
    weighted = small_net().fit(X, y, weight)
    np.testing.assert_allclose(
        [row["loss"] for row in weighted.history_],
        [row["loss"] for row in small_net().fit(X[weight > 0], half).history_],
        rtol=1e-12,
    )


def test_class_weight_of_one_output_among_several_equals_its_sample_weight():
    X, y = unequal_data()
    class_weight = {0: 1.0, 1: 3.0, 2: 0.5}
    by_class = small_net(heads={"alpha": Classification(class_weight=class_weight)}).fit(X, y)
    by_row = small_net().fit(X, y, {"alpha": np.array([class_weight[k] for k in y["alpha"]])})
    for ours, theirs in zip(by_class.history_, by_row.history_, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-10)


def test_nan_target_is_an_error_that_names_output_and_count():
    X, y = unequal_data()
    y["zeta"] = y["zeta"].copy()
    y["zeta"][[3, 7]] = np.nan
    with pytest.raises(ValueError, match=r"output 'zeta'.*NaN.* 2 of 40 labels"):
        small_net().fit(X, y)


@pytest.mark.parametrize("weights", [None, {"zeta": 1.0}])
def test_loss_of_the_only_output_has_its_name(weights):
    X, y = unequal_data()
    for row in small_net(loss_weights=weights).fit(X, {"zeta": y["zeta"]}).history_:
        assert row["zeta_loss"] + row["penalty"] == pytest.approx(row["loss"], rel=1e-12)


def test_loss_of_an_output_of_weight_zero_is_still_reported():
    X, y = unequal_data()
    row = small_net(loss_weights={"alpha": 0.0}).fit(X, y).history_[-1]
    assert row["alpha_weight"] == 0.0
    assert row["alpha_loss"] == pytest.approx(1.0, rel=1e-12)


def test_history_is_in_the_order_of_the_targets():
    X, y = unequal_data()
    assert list(small_net().fit(X, Targets(y)).history_[0]) == [
        "loss",
        "zeta_loss",
        "alpha_loss",
        "zeta_weight",
        "alpha_weight",
        "penalty",
    ]
