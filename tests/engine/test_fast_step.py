"""The step by formulas is the step by autograd, but for rounding."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor
from mtlearn.heads import (
    Classification,
    Gaussian,
    MultiLabel,
    Quantile,
    Regression,
    infer_head,
)
from mtlearn.trunks import MLP

N = 83
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5))
PRICE = 100 + 30 * X[:, 0] * X[:, 1]
PRICE[::4] = np.nan
Y = {
    "price": PRICE,
    "pair": np.column_stack([X[:, 1], 1e3 * X[:, 2] ** 2]),
    "kind": np.digitize(X[:, 3], [-0.5, 0.5]),
    "other": np.digitize(X[:, 4] - X[:, 0], [-0.5, 0.5]),
    "flag": np.where(X[:, 0] > X[:, 1], "yes", "no"),
    "tags": (X[:, :3] + 0.5 * RNG.normal(size=(N, 3)) > 0).astype(int),
}
WEIGHT = {"price": RNG.uniform(0, 2, N), "kind": RNG.uniform(0.5, 2, N)}


class TwoTaps(nn.Module):
    """A trunk without a formula that returns two tensors."""

    def __init__(self, n_features):
        super().__init__()
        self.low, self.high = nn.Linear(n_features, 6), nn.Linear(6, 4)

    def forward(self, x):
        low = self.low(x).tanh()
        return {"low": low, "high": self.high(low).relu()}


def infer_heads(y):
    return {name: infer_head(np.asarray(target), name) for name, target in y.items()}


class Quartic(nn.Module):
    def forward(self, raw, target):
        return (raw - target) ** 4 / 4


def make(**params):
    settings = {
        "trunk": MLP((8, 6)),
        "loss_weights": {"price": 0.5, "kind": 2.0, "tags": 0.3},
        "missing_targets": "ignore",
        "batch_size": 20,
        "max_epochs": 20,  # of 5 steps
        "early_stopping": False,
        "random_state": 0,
    }
    return MultiOutputNet(**settings | params)


def check_equal(fast, slow, dtype):
    """Compare what 100 steps left."""
    assert fast.fast_step_
    assert not slow.fast_step_
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    assert [row.keys() for row in fast.history_] == [row.keys() for row in slow.history_]
    found = np.array([list(row.values()) for row in fast.history_])
    expected = np.array([list(row.values()) for row in slow.history_])
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(fast.module_.parameters(), slow.module_.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=10 * tolerance, atol=10 * tolerance)


SETTINGS = {
    "plain": {},
    "no penalty": {"alpha": 0.0},
    "much penalty": {"alpha": 0.1},
    "raw losses": {"normalize_losses": False, "learning_rate": 1e-5},
    "dropout": {"trunk": MLP((8, 6), dropout=0.3)},
    "layer norm": {"trunk": MLP((8, 6), normalization="layer")},
    # Adam would make steps of the rounding in the gradient of a bias, which has none here.
    "batch norm": {"trunk": MLP((8, 6), normalization="batch"), "optimizer": "sgd"},
    "no layers": {"trunk": MLP(())},
    "one step an epoch": {"batch_size": 200, "max_epochs": 100},
    "single rows": {"batch_size": 1, "max_epochs": 1},
    "last batch of one row": {"batch_size": 41, "max_epochs": 33},
    "in order": {"shuffle": False},
    "adamw": {"optimizer": "adamw", "optimizer_params": {"weight_decay": 0.1}},
    "sgd": {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9}, "learning_rate": 0.01},
    "rmsprop": {"optimizer": "rmsprop"},
    "slow Adam": {"optimizer": torch.optim.Adam},
    "groups": {"param_groups": {"trunk": {"lr": 1e-4}, "kind": {"lr": 0.0}}},
    "frozen trunk": {"param_groups": {"trunk": {"lr": 0.0}}},
    "part of it frozen": {"param_groups": {"trunk.0": {"lr": 0.0}, "price": {"lr": 0.01}}},
    "cosine": {"learning_rate_schedule": "cosine"},
    "onecycle": {"learning_rate_schedule": "onecycle"},
    "plateau": {"learning_rate_schedule": "plateau", "n_iter_no_change": 1},
    "early stopping": {"early_stopping": True},
    "heads": {
        "heads": {
            "price": Regression("huber", hidden_layer_sizes=(4,)),
            "pair": Regression("absolute_error"),
            "kind": Classification(label_smoothing=0.1, class_weight="balanced"),
            "tags": MultiLabel(pos_weight=2.0),
        }
    },
    "quantiles": {"heads": {"price": Quantile([0.1, 0.5, 0.9])}},
    "normal distribution": {"heads": {"price": Gaussian()}},
    "own loss": {"heads": {"price": Regression(Quartic()), "pair": Regression(Quartic())}},
    "own trunk": {
        "trunk": TwoTaps,
        "heads": {
            name: Regression(at="low") if name in ("price", "pair") else head(at="high")
            for name, head in {
                "price": Regression,
                "pair": Regression,
                "kind": Classification,
                "other": Classification,
                "flag": Classification,
                "tags": MultiLabel,
            }.items()
        },
    },
    "heads at inner layers": {
        "trunk": MLP((8, 6), dropout=0.2, normalization="layer"),
        "heads": {
            "price": Regression(at="hidden_1"),
            "kind": Classification(at="hidden_1", hidden_layer_sizes=(4,)),
            "tags": MultiLabel(at=["hidden_2", "hidden_1"]),
        },
    },
    "heads at inner layers only": {
        "trunk": MLP((8, 6, 4)),
        "heads": {
            name: type(head)(at=f"hidden_{1 + i % 2}")
            for i, (name, head) in enumerate(infer_heads(Y).items())
        },
    },
    "frozen below a head": {
        "trunk": MLP((8, 6)),
        "heads": {"price": Regression(at="hidden_1")},
        "param_groups": {"trunk.0": {"lr": 0.0}},
    },
    **{name: {"trunk": MLP((8,), activation=name)} for name in ("elu", "gelu", "silu", "tanh")},
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_hundred_steps_agree_with_autograd(name, dtype):
    fits = [
        make(dtype=dtype, fast_step=fast, **SETTINGS[name]).fit(X, Y, WEIGHT)
        for fast in ("auto", False)
    ]
    check_equal(*fits, dtype)


def test_many_outputs_agree_with_autograd():
    y = {f"number {i}": X @ RNG.normal(size=5) for i in range(10)}
    y |= {f"kind {i}": np.digitize(X @ RNG.normal(size=5), [-1, 1]) for i in range(10)}
    weights = {name: 0.1 * i for i, name in enumerate(y)}
    fits = [make(loss_weights=weights, fast_step=fast).fit(X, y) for fast in (True, False)]
    check_equal(*fits, "float64")


def test_streams_agree_with_autograd():
    fits = [make(fast_step=fast) for fast in (True, False)]
    for net in fits:
        for rows in np.array_split(np.arange(N), [10, 11, 40]):
            y = {name: labels[rows] for name, labels in Y.items()}
            net.partial_fit(X[rows], y, classes={"kind": [0, 1, 2], "other": [0, 1, 2]})
    check_equal(*fits, "float64")


def test_warm_fits_agree_with_autograd_and_may_change_the_step():
    fits = [make(warm_start=True, max_epochs=5, fast_step=fast) for fast in (True, False)]
    for net in fits:
        net.fit(X, Y).fit(X, Y)
    check_equal(*fits, "float64")
    changed = make(warm_start=True, max_epochs=5, fast_step=False).fit(X, Y)
    check_equal(changed.set_params(fast_step=True).fit(X, Y), fits[1], "float64")


class Watcher(Callback):
    """Notes all that a callback is told of batches."""

    def __init__(self, seen):
        self.seen = seen

    def __sklearn_clone__(self):
        return self

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training:
            self.seen.append((batch[0], {name: labels.target for name, labels in batch[1].items()}))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.seen.append({name: p.grad.clone() for name, p in named_parameters})

    def on_batch_end(self, net, training=None, loss=None, y_pred=None, **kwargs):
        if training:
            raw = {name: values.detach() for name, values in y_pred.items()}
            self.seen.append((loss.detach(), raw))


def test_callbacks_see_batches_gradients_and_losses_as_with_autograd():
    seen = {True: [], False: []}
    for fast in seen:
        net = make(fast_step=fast, max_epochs=2, callbacks=[Watcher(seen[fast])]).fit(X, Y, WEIGHT)
        assert net.fast_step_ == fast
    assert len(seen[True]) == 2 * 5 * 3
    for ours, theirs in zip(seen[True], seen[False], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_clipped_gradients_are_what_the_optimizer_takes():
    fits = [
        make(fast_step=fast, callbacks=[GradientNormClipping(0.05)]).fit(X, Y)
        for fast in (True, False)
    ]
    check_equal(*fits, "float64")
    free = make(fast_step=True).fit(X, Y)
    assert abs(free.history_[-1]["loss"] - fits[0].history_[-1]["loss"]) > 1e-3


def test_a_stop_between_batches_keeps_the_steps_until_then():
    class Stop(Callback):
        def on_batch_end(self, net, training=None, **kwargs):
            if training and len(net.history) == 2:
                raise KeyboardInterrupt

    fits = [make(fast_step=fast, callbacks=[Stop]).fit(X, Y) for fast in (True, False)]
    check_equal(*fits, "float64")
    assert fits[0].n_iter_ == 1


def test_a_network_without_a_formula_is_refused_if_they_are_asked_for():
    with pytest.raises(ValueError, match=r"`fast_step` True needs a formula.*\['BatchNorm1d'\]"):
        make(trunk=MLP(normalization="batch"), fast_step=True).fit(X, Y)
    heads = {"price": Regression(Quartic())}
    with pytest.raises(ValueError, match=r"none for \['CustomLoss'\].*fast_step='auto'"):
        make(heads=heads, fast_step=True).fit(X, Y)


def test_hooks_are_called_because_autograd_takes_over():
    calls = []

    def build(n_features):
        trunk = nn.Sequential(nn.Linear(n_features, 4), nn.ReLU())
        trunk[0].register_forward_hook(lambda *_: calls.append(1))
        return trunk

    net = make(trunk=build, max_epochs=2).fit(X, Y)
    assert not net.fast_step_
    assert len(calls) >= 2 * 5


def test_an_optimizer_of_ones_own_may_compute_the_loss_itself():
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            assert closure is not None
            return super().step(closure)

    net = make(optimizer=Own).fit(X, Y)
    assert not net.fast_step_


@pytest.mark.parametrize("fast", ["auto", True, False])
def test_arrays_take_the_parameter_too(fast):
    assert MultiOutputNetRegressor(fast_step=fast, max_epochs=1).fit(X, X[:, 0]).fast_step_ == bool(
        fast
    )
    net = MultiOutputNetClassifier(fast_step=fast, max_epochs=1).fit(X, Y["kind"])
    assert net.fast_step_ == bool(fast)


def test_the_users_rows_are_not_changed_by_a_layer_that_works_in_place():
    rows = X.copy()
    net = make(trunk=nn.Sequential(nn.SiLU(inplace=True), nn.Linear(5, 4)), shuffle=False)
    net.fit(rows, Y)
    np.testing.assert_array_equal(rows, X)


def test_callbacks_may_freeze_a_layer_for_some_epochs():
    class Freeze(Callback):
        def on_epoch_begin(self, net, **kwargs):
            net.module_.trunk[0].requires_grad_(len(net.history) % 2 == 0)

    fits = [make(fast_step=fast, callbacks=[Freeze]).fit(X, Y) for fast in (True, False)]
    check_equal(*fits, "float64")


def test_constant_and_dropped_outputs_need_no_step():
    net = make(loss_weights={"kind": 0.0}).fit(X, Y | {"pair": np.ones(N)})
    reference = make(fast_step=False, loss_weights={"kind": 0.0}).fit(X, Y | {"pair": np.ones(N)})
    check_equal(net, reference, "float64")


class Change(Callback):
    """Does something to a net when its epoch 5, or a batch, begins."""

    def __init__(self, at_epoch=None, at_batch=None):
        self.at_epoch, self.at_batch = at_epoch, at_batch

    def on_epoch_begin(self, net, **_):
        if self.at_epoch is not None and len(net.history) == 5:
            self.at_epoch(net)

    def on_batch_begin(self, net, batch=None, training=None, **_):
        if self.at_batch is not None and training:
            self.at_batch(batch)


def replace_optimizer(net):
    net.optimizer_ = torch.optim.SGD(net.module_.parameters(), lr=0.05)


def add_group(net):
    group = net.optimizer_.param_groups[0]
    group["params"], rest = group["params"][:-2], group["params"][-2:]
    net.optimizer_.add_param_group({"params": rest, "lr": 0.05})


def maximize(net):
    net.optimizer_.param_groups[0]["maximize"] = True


def replace_weights(net):
    net.criterion_.weights = net.criterion_.weights * torch.tensor(3.0, dtype=torch.float64)


def smooth(net):
    for loss in net.criterion_.losses:
        if isinstance(loss, nn.CrossEntropyLoss):
            loss.label_smoothing = 0.3


def penalise(net):
    net.alpha = 0.5


def replace_activation(net):
    net.module_.trunk[1] = nn.Tanh()


CHANGES = [
    {"at_epoch": change}
    for change in (
        replace_optimizer,
        add_group,
        maximize,
        replace_weights,
        smooth,
        penalise,
        replace_activation,
    )
] + [
    {"at_batch": lambda batch: batch[0].add_(1.0)},
    {"at_batch": lambda batch: batch[1]["pair"].target.mul_(-1.0)},
    {"at_batch": lambda batch: batch[1]["kind"].weight.zero_()},
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_callbacks_change_is_heeded(change):
    fits = [
        make(callbacks=[lambda: Change(**change)], fast_step=fast).fit(X, Y)
        for fast in ("auto", False)
    ]
    check_equal(*fits, "float64")
    plain = make().fit(X, Y)
    assert plain.history_[-1]["loss"] != fits[0].history_[-1]["loss"]


def test_a_branch_of_the_trunk_rests_while_its_outputs_have_no_labels():
    heads = {"price": Regression(at="low"), "pair": Regression(at="high")}
    y = {name: Y[name] for name in heads}
    net = make(trunk=TwoTaps, heads=heads, alpha=0.0, loss_weights=None).partial_fit(X, y)
    before = net.module_.trunk.high.weight.detach().clone()
    for _ in range(3):
        net.partial_fit(X, y | {"pair": np.full((N, 2), np.nan)})
    assert net.fast_step_
    assert torch.equal(net.module_.trunk.high.weight, before)


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_upper_layers_rest_while_their_outputs_have_no_labels(alpha):
    heads = {"price": Regression(at="hidden_1"), "pair": Regression(at="hidden_2")}
    y = {name: Y[name] for name in heads}
    params = {"trunk": MLP((8, 6)), "heads": heads, "alpha": alpha, "loss_weights": None}
    fits = [make(fast_step=fast, **params).partial_fit(X, y) for fast in (True, False)]
    before = [p.detach().clone() for p in fits[0].module_.trunk[2].parameters()]
    for net in fits:
        for _ in range(3):
            net.partial_fit(X, y | {"pair": np.full((N, 2), np.nan)})
    for ours, theirs in zip(*(net.module_.parameters() for net in fits), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    after = list(fits[0].module_.trunk[2].parameters())
    assert all(map(torch.equal, before, after)) == (alpha == 0)
