"""What all estimators promise: losses, weights, names, scales, seeds and states."""

import copy
import multiprocessing
from functools import partial

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.nn import functional

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn.exceptions import DivergenceError
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N = 60
LEARNED = ("number", "kind", "tags")


def make_data(n=N):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    y = {
        "number": X[:, 0] + X[:, 1] ** 2,
        "kind": np.array(["a", "b", "c"])[np.digitize(X[:, 1] + X[:, 2], [-0.5, 0.5])],
        "tags": (X[:, 1:3] > 0).astype(int),
    }
    return X, y


def make_net(**params):
    return MultiOutputNet(
        MLP((8,), dropout=0.2), max_epochs=6, batch_size=16, random_state=0
    ).set_params(**params)


def full_batch(**params):
    """A net whose fit depends on the rows through sums over all of them only."""
    return make_net(trunk=MLP((8,)), batch_size=1000, learning_rate=0.01).set_params(**params)


def same_predictions(a, b, X, names):
    a, b = a.predict(X), b.predict(X)
    return all(np.array_equal(a[name], b[name]) for name in names)


def assert_close_predictions(a, b, X, rtol=1e-8):
    a, b = ({**net.predict(X), **net.predict_proba(X)} for net in (a, b))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=1e-12)


def weights_of(net):
    return [p.detach().numpy() for p in net.module_.parameters()]


def same_weights(a, b):
    return all(np.array_equal(p, q) for p, q in zip(weights_of(a), weights_of(b), strict=True))


# Losses and weights.


@pytest.mark.parametrize("normalize_losses", [True, False])
def test_total_is_the_weighted_sum_of_the_losses_and_the_penalty(normalize_losses):
    X, y = make_data()
    weights = {"number": 0.3, "kind": 0.0, "constant": 2.0}
    net = make_net(loss_weights=weights, normalize_losses=normalize_losses, max_epochs=3)
    net.fit(X, {**y, "constant": np.full(N, 3.0)})
    assert len(net.history_) == net.n_iter_ == 3
    for row in net.history_:
        terms = [row[f"{name}_weight"] * row[f"{name}_loss"] for name in net.output_names_]
        assert row["loss"] == pytest.approx(sum(terms) + row["penalty"], rel=1e-12)
        assert row["penalty"] > 0
        assert [row[f"{name}_weight"] for name in net.output_names_] == [0.3, 0.0, 1.0, 2.0]


def test_penalty_is_alpha_times_the_squared_weights_and_counts_once():
    X, y = make_data()
    net = full_batch(alpha=0.5, max_epochs=1, learning_rate=1e-30).fit(X, y)
    squares = sum(np.square(p).sum() for p in weights_of(net) if p.ndim == 2)
    assert net.history_[0]["penalty"] == pytest.approx(0.5 * squares, rel=1e-12)
    weighted = clone(net).set_params(loss_weights=dict.fromkeys(y, 7.0)).fit(X, y)
    assert weighted.history_[0]["penalty"] == net.history_[0]["penalty"]


def test_masked_fit_is_the_fit_of_the_observed_rows():
    X, y = make_data()
    observed = np.random.default_rng(1).random(N) < 0.6
    masked = np.where(observed, y["number"], np.nan)
    net = full_batch(missing_targets="ignore").fit(X, {"number": masked})
    alone = full_batch().fit(X[observed], {"number": y["number"][observed]})
    assert_close_predictions(net, alone, X)


def test_loss_of_a_partly_observed_output_is_that_on_its_observed_rows():
    X, y = make_data()
    rng = np.random.default_rng(1)
    masked, seen = {}, {}
    for name, labels in y.items():
        seen[name] = rng.random(N) < 0.7
        masked[name] = labels.astype(object)
        masked[name][~seen[name]] = None
    heads = {"number": Regression(), "kind": Classification(), "tags": MultiLabel()}
    row = full_batch(heads=heads, missing_targets="ignore").fit(X, masked).history_[0]
    for name, labels in y.items():
        alone = full_batch().fit(X[seen[name]], {name: labels[seen[name]]}).history_[0]
        assert row[f"{name}_loss"] == pytest.approx(alone[f"{name}_loss"], rel=1e-10)


def test_cells_of_a_matrix_can_be_missing_one_by_one():
    X, _ = make_data()
    pair = np.column_stack([X[:, 0], X[:, 1] * 100])
    holes = pair.copy()
    holes[:20, 0], holes[20:40, 1] = np.nan, np.nan
    heads = {"left": Regression(), "right": Regression()}
    joint = full_batch(missing_targets="ignore").fit(X, {"pair": holes})
    assert np.isfinite(joint.predict(X)["pair"]).all()
    split = full_batch(missing_targets="ignore", heads=heads).fit(
        X, {"left": holes[:, 0], "right": holes[:, 1]}
    )
    np.testing.assert_allclose(joint.heads_["pair"].scale_[0], split.heads_["left"].scale_[0])
    np.testing.assert_allclose(joint.heads_["pair"].center_[1], split.heads_["right"].center_[0])


def test_integer_weights_are_repeated_rows():
    X, y = make_data()
    times = np.random.default_rng(2).integers(0, 4, N)
    repeated = {name: np.repeat(labels, times, axis=0) for name, labels in y.items()}
    weighted = full_batch().fit(X, y, times)
    assert_close_predictions(weighted, full_batch().fit(np.repeat(X, times, axis=0), repeated), X)
    assert not np.allclose(
        weighted.predict(X)["number"], full_batch().fit(X, y).predict(X)["number"]
    )


def test_integer_weights_by_output_are_repeated_labels():
    X, y = make_data()
    rng = np.random.default_rng(3)
    times = {name: rng.integers(0, 3, N) for name in y}
    copies = [{name: t > k for name, t in times.items()} for k in range(2)]
    repeated = {}
    for name, labels in y.items():
        parts = [labels.astype(object) for _ in copies]
        for part, counts in zip(parts, copies, strict=True):
            part[~counts[name]] = None
        repeated[name] = np.concatenate(parts)
    heads = {"number": Regression(), "kind": Classification(), "tags": MultiLabel()}
    weighted = full_batch(heads=heads).fit(X, y, times)
    masked = full_batch(heads=heads, missing_targets="ignore").fit(np.tile(X, (2, 1)), repeated)
    assert_close_predictions(weighted, masked, X)


def test_factor_on_all_sample_weights_changes_nothing():
    X, y = make_data()
    weight = np.random.default_rng(4).uniform(0.1, 2.0, N)
    a = full_batch().fit(X, y, weight)
    assert_close_predictions(a, full_batch().fit(X, y, 1e5 * weight), X)


# Names, never positions.


def test_order_of_names_changes_not_one_bit():
    X, y = make_data()
    settings = {
        "heads": {"number": Regression("huber"), "kind": Classification(label_smoothing=0.1)},
        "loss_weights": {"kind": 0.3, "number": 2.0, "tags": 0.7},
    }
    sample_weight = {"tags": np.linspace(0, 1, N), "number": np.linspace(1, 0, N)}
    a = make_net(**settings).fit(X, y, sample_weight)

    def turned(mapping):
        return dict(reversed(mapping.items()))

    settings = {name: turned(value) for name, value in settings.items()}
    b = make_net(**settings).fit(X, turned(y), turned(sample_weight))
    assert same_weights(a, b)
    assert a.predict(X) == b.predict(X)
    assert a.history_ == b.history_
    assert a.output_names_ == b.output_names_[::-1]


@pytest.mark.parametrize("left_out", LEARNED)
def test_output_of_weight_zero_is_as_if_left_out(left_out):
    X, y = make_data()
    others = {name: labels for name, labels in y.items() if name != left_out}
    zero = make_net(loss_weights={left_out: 0.0}).fit(X, y)
    without = make_net().fit(X, others)
    assert same_weights(zero, without)
    assert same_predictions(zero, without, X, others)
    assert left_out not in zero.module_.names


def test_labels_of_an_output_of_weight_zero_bring_no_rows_in():
    X, y = make_data()
    number = y["number"].copy()
    number[:25] = np.nan
    y = {"number": number, "kind": y["kind"]}
    zero = make_net(loss_weights={"kind": 0}, missing_targets="ignore").fit(X, y)
    alone = make_net(missing_targets="ignore").fit(X, {"number": number})
    fewer = make_net().fit(X[25:], {"number": number[25:]})
    assert same_weights(zero, alone)
    assert same_weights(zero, fewer)


def test_output_of_weight_zero_is_predicted_by_its_best_constant():
    X, y = make_data()
    net = make_net(loss_weights={"number": 0.0, "kind": 0.0}).fit(X, y)
    kinds, counts = np.unique(y["kind"], return_counts=True)
    np.testing.assert_allclose(net.predict(X)["number"], y["number"].mean(), rtol=1e-12)
    assert set(net.predict(X)["kind"]) == {kinds[counts.argmax()]}
    np.testing.assert_allclose(net.predict_proba(X)["kind"][0], counts / N, rtol=1e-12)


# Scale.


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e3, 1e8])
def test_scale_of_one_target_leaves_the_other_outputs_as_they_are(scale):
    X, y = make_data()
    a = make_net().fit(X, y)
    b = make_net().fit(X, {**y, "number": scale * y["number"]})
    for name in ("kind", "tags"):
        p, q = a.predict_proba(X)[name], b.predict_proba(X)[name]
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-4)
    np.testing.assert_allclose(b.predict(X)["number"] / scale, a.predict(X)["number"], atol=1e-4)


def test_shift_of_a_target_shifts_its_predictions():
    X, y = make_data()
    a = make_net().fit(X, y)
    b = make_net().fit(X, {**y, "number": y["number"] + 1e4})
    np.testing.assert_allclose(b.predict(X)["number"] - 1e4, a.predict(X)["number"], atol=1e-4)


def test_unnormalized_losses_are_the_raw_ones():
    X, y = make_data()
    y = {"number": 1000 * y["number"]}
    net = full_batch(normalize_losses=False, max_epochs=1, learning_rate=1e-30).fit(X, y)
    raw = np.mean((net.predict(X)["number"] - y["number"]) ** 2)
    assert net.history_[0]["number_loss"] == pytest.approx(raw, rel=1e-9)


@pytest.mark.parametrize("value", [3.3, 0.1, -1e-12, 0.0, 1e300])
def test_constant_number_is_predicted_exactly_and_disturbs_nothing(value):
    X, y = make_data()
    net = make_net().fit(X, {**y, "constant": np.full(N, value)})
    assert (net.predict(X)["constant"] == value).all()
    assert same_weights(net, make_net().fit(X, y))


def test_constant_column_is_predicted_exactly():
    X, y = make_data()
    pair = np.column_stack([y["number"], np.full(N, 0.7)])
    predicted = make_net().fit(X, {"pair": pair}).predict(X)["pair"]
    assert (predicted[:, 1] == 0.7).all()
    assert np.ptp(predicted[:, 0]) > 0


def test_constant_column_trains_nothing():
    X, y = make_data()
    pair = np.column_stack([y["number"], np.full(N, 0.7)])
    net = make_net(alpha=0.0).fit(X, {"pair": pair})
    start = make_net(alpha=0.0, learning_rate=1e-30).fit(X, {"pair": pair})
    after, before = (n.module_.heads[0][0].weight.detach().numpy() for n in (net, start))
    np.testing.assert_array_equal(after[1], before[1])
    assert not np.allclose(after[0], before[0])


def test_only_class_and_constant_labels_are_predicted():
    X, _ = make_data()
    tags = np.column_stack([X[:, 0] > 0, np.ones(N), np.zeros(N)]).astype(int)
    net = make_net().fit(X, {"kind": np.full(N, "only"), "tags": tags})
    assert set(net.predict(X)["kind"]) == {"only"}
    assert (net.predict_proba(X)["kind"] == 1.0).all()
    np.testing.assert_array_equal(net.predict(X)["tags"][:, 1:], tags[:, 1:])


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_one_row_fits_and_predicts_itself(normalization):
    X, y = make_data()
    row = {name: labels[:1] for name, labels in y.items()}
    net = MultiOutputNet(MLP((8,), normalization=normalization), random_state=0)
    assert net.fit(X[:1], row).predict(X[:1]) == Targets(row)
    assert net.history_ == []


@pytest.mark.parametrize(("n", "batch_size"), [(1, 8), (5, 1)])
def test_batch_normalisation_of_single_rows_is_refused(n, batch_size):
    X, y = make_data()
    net = make_net(trunk__normalization="batch", batch_size=batch_size, normalize_losses=False)
    with pytest.raises(ValueError, match=r"MultiOutputNet: batch normalisation needs at least 2"):
        net.fit(X[:n], {"number": y["number"][:n]})


# Trunks.


def make_template():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())


def test_module_is_a_template_that_keeps_its_weights():
    X, y = make_data()
    template = make_template()
    before = copy.deepcopy(template.state_dict())
    net = make_net(trunk=template).fit(X, y)
    assert net.trunk is template
    assert template.training
    for name, tensor in template.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not torch.equal(net.module_.trunk[0].weight.float(), before["0.weight"])
    assert same_weights(net, make_net(trunk=template).fit(X, y))


def test_module_is_trained_from_its_weights_whatever_the_seed():
    X, y = make_data()
    template = make_template()
    for seed in (0, 1):
        net = make_net(trunk=template, learning_rate=1e-30, random_state=seed).fit(X, y)
        assert torch.equal(net.module_.trunk[0].weight.float(), template[0].weight)


@pytest.mark.parametrize("builder", [lambda n: nn.Linear(n, 5), lambda: nn.LazyLinear(5)])
def test_callable_makes_the_trunk_under_the_seed(builder):
    X, y = make_data()
    first, again, other = (make_net(trunk=builder, random_state=s).fit(X, y) for s in (0, 0, 1))
    assert same_weights(first, again)
    assert not np.array_equal(weights_of(first)[0], weights_of(other)[0])


class Tower(nn.Module):
    """A trunk with two named tensors."""

    def __init__(self, n_features):
        super().__init__()
        self.early, self.late = nn.Linear(n_features, 5), nn.Linear(5, 3)

    def forward(self, X):
        early = self.early(X).relu()
        return {"early": early, "late": self.late(early).relu()}


def test_heads_attach_to_named_tensors_of_the_trunk():
    X, y = make_data()
    y = {name: y[name] for name in ("number", "kind")}
    heads = {"number": Regression(at="early"), "kind": Classification(at="late")}
    net = make_net(trunk=Tower, heads=heads, loss_weights={"kind": 0.0}).fit(X, y)
    untouched = make_net(trunk=Tower, heads=heads, loss_weights={"kind": 0.0}, max_epochs=1)
    untouched.set_params(alpha=0.0, learning_rate=1e-30).fit(X, y)
    assert not torch.equal(net.module_.trunk.early.weight, untouched.module_.trunk.early.weight)
    both = make_net(trunk=Tower, heads=heads, alpha=0.0).fit(X, y).module_
    assert [head[0].in_features for head in both.heads] == [3, 5]


@pytest.mark.parametrize(
    ("trunk", "at", "message"),
    [
        (Tower, "lat", r"output 'number': `at`.*unknown trunk tensor 'lat'.*did you mean 'late'"),
        (Tower, None, r"output 'number'.*must name one of \['early', 'late'\]"),
        (None, "late", r"output 'number': .* tensor 'late'; the trunk tensors are \['hidden_1', "),
        (
            nn.Linear(4, 4),
            "late",
            r"output 'number': .* because `trunk` returns one tensor without a name",
        ),
        (nn.Linear(7, 2), None, "`trunk` failed on two rows of zeros: it must take rows of 4"),
        (nn.Unflatten(1, (2, 2)), None, r"shape \(n_samples, n_units\)"),
        (lambda: "net", None, "`trunk` must make a torch.nn.Module"),
    ],
)
def test_trunk_that_does_not_fit_the_heads_is_refused(trunk, at, message):
    X, y = make_data()
    net = MultiOutputNet(trunk, {"number": Regression(at=at)})
    with pytest.raises((TypeError, ValueError), match=message):
        net.fit(X, {"number": y["number"]})


def test_head_can_learn_another_outputs_target():
    X, y = make_data()
    heads = {
        "early_kind": Classification(at="early", target="kind"),
        "kind": Classification(at="late"),
    }
    net = make_net(trunk=Tower, heads=heads).fit(X, {"kind": y["kind"]})
    copied = make_net(
        trunk=Tower,
        heads={"early_kind": Classification(at="early"), "kind": Classification(at="late")},
    ).fit(X, {"kind": y["kind"], "early_kind": y["kind"]})
    assert net.output_names_ == ["kind", "early_kind"]
    assert same_weights(net, copied)
    assert net.scores(X, {"kind": y["kind"]}) == copied.scores(
        X, {"kind": y["kind"], "early_kind": y["kind"]}
    )


def test_head_of_an_unknown_target_is_refused():
    X, y = make_data()
    net = make_net(heads={"early": Classification(target="kin")})
    message = r"`target` of the head 'early' names the unknown target 'kin'.*did you mean 'kind'"
    with pytest.raises(ValueError, match=message):
        net.fit(X, y)


# Parameters.


def test_nested_names_reach_heads_weights_and_the_default_trunk():
    X, y = make_data()
    heads, weights = {"kind": Classification()}, {"number": 1.0}
    net = MultiOutputNet(heads=heads, loss_weights=weights, max_epochs=1)
    net.set_params(
        heads__kind__label_smoothing=0.2,
        heads__number=Regression(),
        heads__number__loss="huber",
        loss_weights__kind=0.5,
        trunk__hidden_layer_sizes=(3,),
    )
    assert heads["kind"].label_smoothing == 0.0
    assert list(heads) == ["kind"]
    assert weights == {"number": 1.0}
    net = clone(net).fit(X, y)
    assert net.heads_["kind"].label_smoothing == 0.2
    assert net.heads_["number"].loss == "huber"
    assert net.loss_weights_ == {"number": 1.0, "kind": 0.5, "tags": 1.0}
    assert net.module_.trunk[0].out_features == 3


def test_nested_names_are_listed():
    net = MultiOutputNet(heads={"kind": Classification()}, loss_weights={"kind": 0.5})
    params = net.get_params()
    assert params["heads__kind__label_smoothing"] == 0.0
    assert params["loss_weights__kind"] == 0.5
    assert params["trunk__hidden_layer_sizes"] == (128, 64)
    assert net.get_params(deep=False)["trunk"] is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"trnk": 1}, "Invalid parameter 'trnk'"),
        ({"trunk__width": 1}, "Invalid parameter 'width'"),
        ({"heads__kind__label_smoothing": 0.1}, "needs `heads` to hold a part named 'kind'"),
        ({"alpha__x": 0.1}, "has no attribute 'set_params'"),
    ],
)
def test_unknown_parameter_is_refused(params, message):
    with pytest.raises((AttributeError, ValueError), match=message):
        MultiOutputNet().set_params(**params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learning_rate": 0.0}, "'learning_rate' parameter"),
        ({"alpha": -1.0}, "'alpha' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"max_epochs": "many"}, "'max_epochs' parameter"),
        ({"missing_targets": "drop"}, "'missing_targets' parameter"),
        ({"dtype": "float16"}, "'dtype' parameter"),
        ({"trunk": 3}, "'trunk' parameter"),
        ({"trunk": MLP(activation="foo")}, "'activation' parameter of MLP"),
        ({"trunk": MLP}, r"write MLP\(\)"),
        ({"heads": {"kind": Classification}}, r"output 'kind'.*write Classification\(\)"),
        ({"heads": {"kind": "ce"}}, "output 'kind': `heads` must hold heads. Got 'ce'"),
        ({"heads": {"number": Regression(loss="foo")}}, "output 'number'.*'loss' parameter"),
        ({"heads": {"kind": Regression()}}, "output 'kind': Regression needs numbers"),
        ({"heads": {"number": Classification(classes=[1])}}, "output 'number': Every label must"),
    ],
)
def test_bad_parameter_is_refused_by_fit(params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        MultiOutputNet(**params).fit(*make_data())


def test_parts_given_are_not_fitted_themselves():
    X, y = make_data()
    heads, trunk = {"kind": Classification()}, MLP((4,))
    net = MultiOutputNet(trunk, heads, max_epochs=1).fit(X, y)
    assert not hasattr(heads["kind"], "classes_")
    assert net.heads_["kind"] is not heads["kind"]
    assert net.trunk_ is not trunk
    assert net.heads is heads


@pytest.mark.parametrize(
    ("X_dtype", "dtype", "expected"),
    [
        (np.float32, "auto", torch.float32),
        (np.float64, "auto", torch.float64),
        (np.int32, "auto", torch.float64),
        (np.float64, "float32", torch.float32),
        (np.float32, "float64", torch.float64),
    ],
)
def test_weights_have_the_type_of_X_or_the_one_asked_for(X_dtype, dtype, expected):
    X, y = make_data()
    X = (10 * X).astype(X_dtype)
    net = make_net(dtype=dtype).fit(X, y)
    assert {p.dtype for p in net.module_.parameters()} == {expected}
    assert torch.tensor(net.predict_proba(X)["kind"]).dtype == expected


# What can go wrong in training.


@pytest.mark.parametrize("normalize_losses", [True, False])
def test_diverging_fit_names_output_and_epoch(normalize_losses):
    X, y = make_data()
    net = MultiOutputNet(
        optimizer="sgd", learning_rate=1e6, normalize_losses=normalize_losses, random_state=0
    )
    message = r"MultiOutputNet: output '(kind|number|tags)': training diverged in epoch \d+"
    with pytest.raises(DivergenceError, match=message) as info:
        net.fit(X, y)
    assert isinstance(info.value, ValueError)
    assert hasattr(net, "module_") == ("The estimator keeps the weights" in str(info.value))


def flat_mean(raw, target):
    return ((raw - target) ** 2).mean()


def column(raw, target):
    return ((raw - target) ** 2)[:, None]


def always_nan(raw, target):
    return (raw - target) * torch.nan


def nan_once_trained(raw, target):
    return torch.where(raw == raw[0], (raw - target) ** 2, torch.nan)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (flat_mean, r"output 'number': `loss` must return one value per label.*returned \(\)"),
        (column, r"output 'number': `loss` must return one value per label.*\(60, 1\)"),
        (always_nan, r"output 'number': `loss` must return finite values"),
        (nan_once_trained, r"output 'number': training diverged in epoch 1, .* nan"),
    ],
)
def test_bad_loss_of_the_users_is_named_by_its_output(loss, message):
    X, y = make_data()
    with pytest.raises(ValueError, match=message):
        make_net(heads={"number": Regression(loss)}).fit(X, {"number": y["number"]})


@pytest.mark.parametrize("loss", [functional.mse_loss, nn.MSELoss(), nn.MSELoss(reduction="sum")])
def test_torchs_loss_is_asked_for_one_value_per_label(loss):
    X, y = make_data()
    named = make_net().fit(X, y)
    given = make_net(heads={"number": Regression(loss)}).fit(X, y)
    assert_close_predictions(given, named, X, rtol=1e-6)


# States.


def state_of(net):
    return {**net.__dict__, "history_": list(net.history_)}


@pytest.mark.parametrize(
    "broken",
    [
        {"loss_weights": {"numbr": 1.0}},
        {"heads": {"kind": Regression()}},
        {"trunk": nn.Linear(9, 2)},
        {"main_output": "kindd"},
        {"optimizer": "sgd", "learning_rate": 1e9, "max_epochs": 30},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_failed_refit_leaves_the_fitted_net_as_it_was(broken):
    X, y = make_data()
    net = make_net().fit(X, y)
    expected = net.predict(X)
    net.set_params(**broken)
    before = state_of(net)
    with pytest.raises(ValueError, match="MultiOutputNet"):
        net.fit(X[:, ::-1], {name: labels[::-1] for name, labels in y.items()})
    assert state_of(net) == before
    assert net.predict(X) == expected


def test_failed_first_fit_leaves_nothing_behind():
    X, y = make_data()
    net = make_net(loss_weights={"numbr": 1.0})
    before = set(net.__dict__)
    with pytest.raises(ValueError, match="numbr"):
        net.fit(X, y)
    assert set(net.__dict__) == before
    with pytest.raises(NotFittedError, match="not fitted"):
        net.predict(X)


def test_refit_starts_anew():
    X, y = make_data()
    net = make_net().fit(X, y).fit(X, y)
    assert same_weights(net, make_net().fit(X, y))
    net.fit(X[:, :2], {"number": y["number"]})
    assert net.output_names_ == ["number"]
    assert net.n_features_in_ == 2


def test_predict_changes_nothing():
    X, y = make_data()
    net = make_net().fit(X, y)
    weights, rng = [p.copy() for p in weights_of(net)], torch.get_rng_state()
    threads, rows = torch.get_num_threads(), X.copy()
    numbers = np.random.get_state()[1].copy()  # noqa: NPY002
    first = net.predict(X)
    net.predict_proba(X)
    net.scores(X, y)
    assert net.predict(X) == first
    assert all(np.array_equal(p, q) for p, q in zip(weights, weights_of(net), strict=True))
    assert torch.equal(torch.get_rng_state(), rng)
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(X, rows)
    assert not any(part.training for part in net.module_.modules())


def test_fit_leaves_its_arguments_as_they_are():
    X, y = make_data()
    weight = np.linspace(0.5, 1.5, N)
    copies = X.copy(), copy.deepcopy(y), weight.copy()
    make_net().fit(X, y, weight)
    np.testing.assert_array_equal(X, copies[0])
    assert Targets(y) == Targets(copies[1])
    np.testing.assert_array_equal(weight, copies[2])


def test_rows_are_predicted_alike_alone_and_together():
    X, y = make_data()
    net = make_net().fit(X, y)
    together = net.predict(X)["number"]
    alone = np.concatenate([net.predict(X[[i]])["number"] for i in range(N)])
    np.testing.assert_allclose(alone, together, rtol=1e-12)


def test_fitted_net_is_skorchs_and_its_module_the_estimators():
    X, y = make_data()
    net = make_net().fit(X, y)
    assert net.net_.module_ is net.module_
    assert len(net.net_.history) == net.n_iter_


# Seeds.


def test_random_state_decides_everything():
    X, y = make_data()
    a, b, c = (make_net(random_state=seed).fit(X, y) for seed in (3, 3, 4))
    assert same_weights(a, b)
    assert a.history_ == b.history_
    assert not any(np.array_equal(p, q) for p, q in zip(weights_of(a), weights_of(c), strict=True))


def test_random_state_none_differs_and_leaves_the_global_generator_alone():
    X, y = make_data()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = (make_net(random_state=None).fit(X, y) for _ in range(2))
    assert not np.array_equal(weights_of(a)[0], weights_of(b)[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_random_state_instance_is_advanced():
    X, y = make_data()
    state = np.random.RandomState(0)
    a, b = (make_net(random_state=state).fit(X, y) for _ in range(2))
    again = make_net(random_state=np.random.RandomState(0)).fit(X, y)
    assert not np.array_equal(weights_of(a)[0], weights_of(b)[0])
    assert same_weights(a, again)


def test_module_that_draws_from_torchs_generator_is_reproducible():
    X, y = make_data()
    trunk = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5))
    torch.manual_seed(1)
    a = make_net(trunk=trunk).fit(X, y)
    torch.manual_seed(2)
    assert same_weights(a, make_net(trunk=trunk).fit(X, y))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fits_in_parallel_give_the_same_bytes(backend):
    X, y = make_data()
    seeds = range(6)
    alone = [make_net(random_state=seed).fit(X, y) for seed in seeds]
    jobs = (delayed(make_net(random_state=seed).fit)(X, y) for seed in seeds)
    together = Parallel(n_jobs=2, backend=backend)(jobs)
    for a, b in zip(alone, together, strict=True):
        assert same_weights(a, b)
        assert a.predict(X) == b.predict(X)
        assert a.history_ == b.history_


def test_forked_child_does_not_hang():
    X, y = make_data()
    net = make_net(n_threads=2).fit(X, y)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        child = pool.apply_async(make_net(n_threads=1).fit, (X, y)).get(timeout=60)
    assert child.predict(X)["number"].shape == net.predict(X)["number"].shape


@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_thread_count_is_put_back(n_threads):
    X, y = make_data()
    before = torch.get_num_threads()
    make_net(n_threads=n_threads).fit(X, y)
    assert torch.get_num_threads() == before


def test_three_estimators_train_the_same_network():
    X, y = make_data()
    settings = {"trunk": MLP((8,)), "max_epochs": 3, "random_state": 0}
    aux = {"other": y["tags"]}
    for cls, name in ((MultiOutputNetRegressor, "number"), (MultiOutputNetClassifier, "kind")):
        typed = cls(**settings).fit(X, y[name], aux=aux)
        mixed = MultiOutputNet(**settings).fit(X, {"y": y[name], **aux})
        assert same_weights(typed, mixed)
        assert typed.history_ == mixed.history_
        np.testing.assert_array_equal(typed.predict(X), mixed.predict(X)["y"])


def test_optimizer_can_be_a_partial():
    X, y = make_data()
    optimizer = partial(torch.optim.SGD, momentum=0.9)
    net = make_net(optimizer=optimizer, learning_rate=0.1, max_epochs=30).fit(X, y)
    assert net.history_[-1]["loss"] < 0.8 * net.history_[0]["loss"]
