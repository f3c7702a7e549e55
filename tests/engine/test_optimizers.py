"""Optimizers go by name, or are given as what makes them."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.nn import functional

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn._engine._module import build_module
from mtlearn._engine._optimizers import OPTIMIZERS, check_optimizer, find_groups, find_optimizer
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP, Graph

CLASSES = {
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


@pytest.fixture(autouse=True)
def one_thread():
    """What torch does by hand takes long with a second thread beside a busy core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_data(n=50):
    X = np.random.default_rng(0).normal(size=(n, 3))
    return X, {"number": X[:, 0], "kind": X[:, 1] > 0}


def test_names_are_those_documented():
    assert set(OPTIMIZERS) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_name_stands_for_torchs_optimizer(name):
    layer = nn.Linear(2, 1)
    optimizer = find_optimizer(name)(layer.parameters(), lr=0.1)
    reference = CLASSES[name](layer.parameters(), lr=0.1)
    assert type(optimizer) is CLASSES[name]
    ignored = ("fused", "foreach")
    ours, theirs = (
        {key: value for key, value in each.defaults.items() if key not in ignored}
        for each in (optimizer, reference)
    )
    assert ours == theirs


@pytest.mark.parametrize("given", [torch.optim.NAdam, partial(torch.optim.SGD, momentum=0.9)])
def test_what_makes_an_optimizer_is_taken_as_given(given):
    assert find_optimizer(given) is given


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_named_optimizer_trains_like_torchs_class(name):
    X, y = make_data()
    net = MultiOutputNet(MLP((8,)), optimizer=name, max_epochs=5, random_state=0)
    named = net.fit(X, y).predict_proba(X)["kind"]
    of_class = net.set_params(optimizer=CLASSES[name]).fit(X, y).predict_proba(X)["kind"]
    np.testing.assert_allclose(named, of_class, rtol=1e-10)
    assert net.history_[-1]["loss"] < net.history_[0]["loss"]


@pytest.mark.parametrize("optimizer", [None, 3])
def test_what_makes_no_optimizer_is_refused(optimizer):
    with pytest.raises(ValueError, match="'optimizer' parameter of MultiOutputNet must be"):
        MultiOutputNet(optimizer=optimizer).fit(*make_data())


def test_unknown_optimizer_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown optimizer 'adamx'.*did you mean 'adam"):
        MultiOutputNet(optimizer="adamx").fit(*make_data())


def test_every_parameter_is_in_the_optimizer_once():
    net = MultiOutputNet(MLP((8,)), max_epochs=1, random_state=0).fit(*make_data())
    (group,) = net.net_.optimizer_.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in net.module_.parameters()]


# Parameters of the optimizer, against training by torch alone.

X, Y = make_data()
Y = Targets(Y)
RATE = 0.03


def make_net(**params):
    return MultiOutputNet(
        MLP((5, 4), activation="tanh"),
        normalize_losses=False,
        alpha=0.0,
        learning_rate=RATE,
        max_epochs=4,
        shuffle=False,
        random_state=0,
    ).set_params(**params)


def initial_module(net):
    """The network of a fitted net as it was before the fit."""
    return build_module(net.trunk_, net.heads_, 3, net.random_state, torch.float64)


def train_by_hand(net, make_optimizer, alpha=0.0, penalized=""):
    """Train the network on all rows at once with torch alone."""
    module = initial_module(net)
    optimizer = make_optimizer(module)
    inputs, number, kind = (torch.tensor(a) for a in (X, Y["number"], 1.0 * Y["kind"]))
    for _ in range(net.max_epochs):
        raw = module(inputs)
        loss = functional.mse_loss(raw["number"], number)
        loss = loss + functional.binary_cross_entropy_with_logits(raw["kind"], kind)
        weights = [p for name, p in module.named_parameters() if name.startswith(penalized)]
        loss = loss + alpha * sum(w.square().sum() for w in weights if w.ndim > 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module


def assert_same_weights(net, module, rtol=1e-9):
    ours, theirs = net.module_.state_dict(), module.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        np.testing.assert_allclose(weight, theirs[name], rtol=rtol, atol=1e-13, err_msg=name)


def same(module, other, part):
    """Tell whether a part of two networks has the same state, bit for bit."""
    ours, theirs = module.get_submodule(part), other.get_submodule(part)
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


WITH_PARAMS = [
    ("adam", {"weight_decay": 0.1, "betas": (0.8, 0.9)}, torch.optim.Adam),
    ("adam", {"amsgrad": True}, torch.optim.Adam),
    ("adamw", {"weight_decay": 0.5}, torch.optim.AdamW),
    ("sgd", {"momentum": 0.9, "nesterov": True}, torch.optim.SGD),
    ("sgd", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}, torch.optim.SGD),
    ("rmsprop", {"alpha": 0.9, "centered": True}, torch.optim.RMSprop),
    (torch.optim.Adagrad, {"lr_decay": 0.1}, torch.optim.Adagrad),
    (torch.optim.NAdam, {}, torch.optim.NAdam),
]


@pytest.mark.parametrize(("given", "params", "reference"), WITH_PARAMS)
def test_parameters_of_the_optimizer_are_torchs(given, params, reference):
    net = make_net(optimizer=given, optimizer_params=params).fit(X, Y)
    by_hand = train_by_hand(net, lambda module: reference(module.parameters(), lr=RATE, **params))
    assert_same_weights(net, by_hand)
    if params:
        plain = make_net(optimizer=given).fit(X, Y)
        assert not same(plain.module_, net.module_, "trunk")


def test_parameters_are_added_to_those_of_a_partial():
    momentum = partial(torch.optim.SGD, momentum=0.9)
    net = make_net(optimizer=momentum, optimizer_params={"nesterov": True}).fit(X, Y)
    by_hand = train_by_hand(
        net, lambda module: momentum(module.parameters(), lr=RATE, nesterov=True)
    )
    assert_same_weights(net, by_hand)
    half = make_net(optimizer=momentum, optimizer_params={"momentum": 0.5}).fit(X, Y)
    assert half.net_.optimizer_.defaults["momentum"] == 0.5


def test_function_can_make_the_optimizer():
    def decayed(parameters, **settings):
        return torch.optim.SGD(parameters, **settings, weight_decay=0.2)

    net = make_net(optimizer=decayed, optimizer_params={"momentum": 0.5}).fit(X, Y)
    by_hand = train_by_hand(
        net,
        lambda module: torch.optim.SGD(
            module.parameters(), lr=RATE, momentum=0.5, weight_decay=0.2
        ),
    )
    assert_same_weights(net, by_hand)


def test_parameters_of_the_optimizer_have_nested_names_in_a_grid():
    given = {"betas": (0.8, 0.9)}
    net = make_net(optimizer_params=given, max_epochs=20)
    grid = {"optimizer_params__weight_decay": [0.0, 0.1, 50.0]}
    search = GridSearchCV(net, grid, cv=2, error_score="raise").fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) == 3
    best = [0.0, 0.1, 50.0][int(np.argmax(scores))]
    by_hand = clone(net).set_params(optimizer_params={**given, "weight_decay": best})
    assert search.best_estimator_.get_params()["optimizer_params__weight_decay"] == best
    assert search.predict(X) == by_hand.fit(X, Y).predict(X)
    assert net.optimizer_params == given == {"betas": (0.8, 0.9)}


@pytest.mark.parametrize(
    ("optimizer", "params", "message"),
    [
        ("adam", {"weight_deca": 0.1}, r"unknown parameter 'weight_deca'.*mean 'weight_decay'"),
        ("sgd", {"beta": 0.1}, r"`optimizer_params` names the unknown parameter 'beta'.*momentum"),
        (torch.optim.RMSprop, {"momentun": 0.1}, r"'momentun'.*did you mean 'momentum'"),
        (partial(torch.optim.SGD, momentum=0.9), {"nestrov": True}, r"did you mean 'nesterov'"),
        ("adam", {"lr": 0.1}, "`optimizer_params` must not hold 'lr'; set `learning_rate`"),
        ("adam", {"params": []}, "names the unknown parameter 'params'"),
        ("adam", {"weight_decay": -1.0}, "Invalid weight_decay value: -1.0"),
    ],
)
def test_bad_parameters_of_the_optimizer_are_refused(optimizer, params, message):
    net = make_net(optimizer=optimizer, optimizer_params=params)
    with pytest.raises(ValueError, match=f"^MultiOutputNet: .*{message}"):
        net.fit(X, Y)
    assert not hasattr(net, "module_")


class Subclass(torch.optim.LBFGS):
    """The user's own."""


def make_lbfgs(parameters, lr):
    return torch.optim.LBFGS(parameters[0]["params"], lr=lr)


@pytest.mark.parametrize(
    "optimizer",
    [
        "lbfgs",
        "LBFGS",
        torch.optim.LBFGS,
        partial(torch.optim.LBFGS, max_iter=5),
        Subclass,
        make_lbfgs,
    ],
)
def test_lbfgs_is_refused_with_the_reason(optimizer):
    with pytest.raises(ValueError, match="LBFGS evaluates the loss several times within a step"):
        make_net(optimizer=optimizer).fit(X, Y)


def test_known_optimizers_are_accepted_without_making_one():
    check_optimizer("adamw", {"weight_decay": 0.1})
    check_optimizer(lambda _parameters, **_settings: 1 / 0, {"anything": 1})


# Parameter groups, against torch's own.


def groups_of(module, named, **others):
    """Parameter groups for torch: by prefix of the parameters' names, and all others."""
    left = dict(module.named_parameters())
    groups = []
    for prefix, settings in named.items():
        inside = [left.pop(name) for name in list(left) if name.startswith(f"{prefix}.")]
        groups.append({"params": inside, **settings})
    return [*groups, {"params": list(left.values()), **others}]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("given", "by_path"),
    [
        ({"trunk": {"lr": 1e-3}}, {"trunk": {"lr": 1e-3}}),
        ({"number": {"lr": 0.2}}, {"heads.1": {"lr": 0.2}}),
        (
            {"kind": {"weight_decay": 0.3}, "number": {"lr": 0.2}},
            {"heads.0": {"weight_decay": 0.3}, "heads.1": {"lr": 0.2}},
        ),
        (
            {"trunk": {"lr": 1e-3}, "trunk.0": {"lr": 1e-2, "weight_decay": 0.5}},
            {"trunk.0": {"lr": 1e-2, "weight_decay": 0.5}, "trunk": {"lr": 1e-3}},
        ),
        ({"trunk.2": {"lr": 1e-3}}, {"trunk.2": {"lr": 1e-3}}),
        (
            {"trunk": {"lr": 1e-3}, "kind": {"lr": 0.1}, "number": {"lr": 0.2}},
            {"trunk": {"lr": 1e-3}, "heads.0": {"lr": 0.1}, "heads.1": {"lr": 0.2}},
        ),
    ],
    ids=lambda groups: "+".join(groups),
)
def test_groups_train_like_torchs(optimizer, given, by_path):
    net = make_net(optimizer=optimizer, param_groups=given).fit(X, Y)

    def make_optimizer(module):
        groups = [group for group in groups_of(module, by_path) if group["params"]]
        return CLASSES[optimizer](groups, lr=RATE)

    assert_same_weights(net, train_by_hand(net, make_optimizer))
    reversed_groups = dict(reversed(given.items()))
    twin = make_net(optimizer=optimizer, param_groups=reversed_groups).fit(X, Y)
    assert twin.predict(X) == net.predict(X)


def test_group_of_the_rate_of_all_changes_nothing():
    grouped = make_net(param_groups={"trunk": {"lr": RATE}}).fit(X, Y)
    assert grouped.predict(X) == make_net().fit(X, Y).predict(X)


def test_group_names_the_network_and_not_patterns_of_names():
    class Bracketed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict({"a[0]": nn.Linear(3, 2), "a0": nn.Linear(2, 2)})

        def forward(self, x):
            return self.layers["a0"](self.layers["a[0]"](x))

    net = make_net(trunk=Bracketed, param_groups={"trunk.layers.a[0]": {"lr": 0.0}}).fit(X, Y)
    assert same(net.module_, initial_module(net), "trunk.layers.a[0]")
    assert not same(net.module_, initial_module(net), "trunk.layers.a0")


def test_eleventh_output_is_not_the_first():
    names = [f"t{i:02}" for i in range(12)]
    y = {name: X[:, 0] + i for i, name in enumerate(names)}
    net = make_net(param_groups={"t01": {"lr": 0.0}}).fit(X, y)
    before = initial_module(net)
    stayed = [name for i, name in enumerate(names) if same(net.module_, before, f"heads.{i}")]
    assert stayed == ["t01"]


@pytest.mark.parametrize("Estimator", [MultiOutputNetRegressor, MultiOutputNetClassifier])
def test_own_output_of_an_array_is_a_part(Estimator):
    net = Estimator(MLP((4,)), param_groups={"y": {"lr": 0.0}}, max_epochs=2, random_state=0)
    net.fit(X, Y["kind"] * 1, aux=Targets({"number": Y["number"]}))
    before = initial_module(net)
    assert net.module_.names == ["number", "y"]
    assert same(net.module_, before, "heads.1")
    assert not same(net.module_, before, "heads.0")


# Frozen parts.


def template():
    """A trunk whose every layer notices when it is trained."""
    torch.manual_seed(3)
    layers = [nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 4)]
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_frozen_trunk_stays_as_it_is_bit_for_bit(optimizer):
    trunk = template()
    net = make_net(
        trunk=trunk,
        optimizer=optimizer,
        optimizer_params={"weight_decay": 0.1},
        param_groups={"trunk": {"lr": 0}},
        alpha=0.1,
    ).fit(X, Y)
    with torch.no_grad():
        expected = trunk.eval()(torch.tensor(X)).numpy()
    np.testing.assert_array_equal(net.embed(X), expected)
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(net.module_.trunk.state_dict()[name], tensor), name
    assert not same(net.module_, initial_module(net), "heads.0")
    assert not same(net.module_, initial_module(net), "heads.1")
    assert all(p.grad is None for p in net.module_.trunk.parameters())


@pytest.mark.parametrize("dropout", [lambda: nn.Dropout(0.9), None], ids=["torch", "mtlearn"])
def test_frozen_part_has_no_dropout(dropout):
    trunk, plain = MLP((4,), dropout=0.9), MLP((4,))
    if dropout is not None:
        layer = nn.Linear(3, 4).double()
        trunk, plain = nn.Sequential(layer, dropout()), nn.Sequential(layer)
    frozen = {"trunk": {"lr": 0}}
    net, without = (make_net(trunk=part, param_groups=frozen).fit(X, Y) for part in (trunk, plain))
    assert net.predict(X) == without.predict(X)
    assert make_net(trunk=trunk).fit(X, Y).predict(X) != make_net(trunk=plain).fit(X, Y).predict(X)


@pytest.mark.parametrize("batch_size", [50, 20])
def test_heads_on_a_frozen_trunk_train_like_models_of_their_own(batch_size):
    net = make_net(param_groups={"trunk": {"lr": 0}}, batch_size=batch_size, max_epochs=5)
    net.fit(X, Y)
    before = initial_module(net)
    with torch.no_grad():
        features = before.trunk(torch.tensor(X))
    for i, (name, loss) in enumerate(
        [("kind", functional.binary_cross_entropy_with_logits), ("number", functional.mse_loss)]
    ):
        head, labels = before.heads[i], torch.tensor(1.0 * Y[name])
        optimizer = torch.optim.Adam(head.parameters(), lr=RATE)
        for rows in [*torch.arange(len(X)).split(batch_size)] * 5:
            optimizer.zero_grad()
            loss(head(features[rows]), labels[rows]).backward()
            optimizer.step()
    assert_same_weights(net, before, rtol=1e-7)


def test_submodule_can_be_frozen_and_its_surroundings_not():
    net = make_net(param_groups={"trunk.0": {"lr": 0}}).fit(X, Y)
    before = initial_module(net)
    assert same(net.module_, before, "trunk.0")
    assert not same(net.module_, before, "trunk.2")


def test_submodule_of_a_frozen_trunk_can_learn():
    net = make_net(
        trunk=template(), param_groups={"trunk": {"lr": 0}, "trunk.4": {"lr": 0.01}}
    ).fit(X, Y)
    before = initial_module(net)
    assert same(net.module_, before, "trunk.0")
    assert same(net.module_, before, "trunk.1")
    assert not same(net.module_, before, "trunk.4")


def test_frozen_submodule_keeps_its_statistics_while_its_neighbours_learn():
    net = make_net(trunk=template(), param_groups={"trunk.1": {"lr": 0}}).fit(X, Y)
    before = initial_module(net)
    assert same(net.module_, before, "trunk.1")
    assert not same(net.module_, before, "trunk.0")


def test_head_can_be_frozen():
    net = make_net(param_groups={"kind": {"lr": 0}}).fit(X, Y)
    before = initial_module(net)
    assert same(net.module_, before, "heads.0")
    assert not same(net.module_, before, "heads.1")
    assert not same(net.module_, before, "trunk")


@pytest.mark.parametrize(
    ("frozen", "penalized"), [("trunk", "heads."), ("kind", ("trunk.", "heads.1"))]
)
def test_penalty_is_on_what_learns(frozen, penalized):
    alpha = 0.05
    net = make_net(param_groups={frozen: {"lr": 0}}, alpha=alpha, optimizer="sgd").fit(X, Y)

    def make_optimizer(module):
        inside = [p for name, p in module.named_parameters() if name.startswith(penalized)]
        return torch.optim.SGD(inside, lr=RATE)

    assert_same_weights(net, train_by_hand(net, make_optimizer, alpha, penalized))
    weights = initial_module(net).named_parameters()
    squares = [w.square().sum() for name, w in weights if name.startswith(penalized) and w.ndim > 1]
    assert net.history_[0]["penalty"] == pytest.approx(alpha * sum(squares).item(), rel=1e-12)


def test_part_can_be_frozen_and_thawed_between_fits():
    net = make_net(warm_start=True).fit(X, Y)
    for groups in ({"trunk": {"lr": 0}}, None, {"trunk.0": {"lr": 0}}):
        before = copy.deepcopy(net.module_)
        net.set_params(param_groups=groups).fit(X, Y)
        assert same(net.module_, before, "trunk.0") == (groups is not None)
        assert not same(net.module_, before, "heads.0")
        assert all(p.requires_grad for p in net.module_.parameters())


def test_parameters_that_the_users_trunk_holds_fixed_stay_fixed():
    trunk = template()
    trunk[0].requires_grad_(False)
    net = make_net(trunk=trunk, param_groups={"trunk": {"lr": 0}}).fit(X, Y)
    assert [p.requires_grad for p in net.module_.trunk[0].parameters()] == [False, False]
    assert [p.requires_grad for p in net.module_.trunk[4].parameters()] == [True, True]
    assert [p.requires_grad for p in trunk[0].parameters()] == [False, False]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_all_parameters_can_learn_again_after_a_failure(method):
    class Failing(nn.Module):
        """Fails in training when told to."""

        fails = False

        def forward(self, x):
            if self.training and Failing.fails:
                raise RuntimeError("no more")
            return x

    trunk = nn.Sequential(nn.Linear(3, 4).double(), Failing())
    net = make_net(trunk=trunk, warm_start=True).fit(X, Y)
    expected = net.predict(X)
    net.set_params(param_groups={"trunk.0": {"lr": 0}})
    Failing.fails = True
    with pytest.raises(RuntimeError, match="no more"):
        getattr(net, method)(X, Y)
    Failing.fails = False
    assert all(p.requires_grad for p in net.module_.parameters())
    assert not any(part.training for part in net.module_.modules())
    assert net.predict(X) == expected
    assert not same(
        net.set_params(param_groups=None).fit(X, Y).module_, initial_module(net), "trunk"
    )


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"trunk": {"lr": 0}, "kind": {"lr": 0}, "number": {"lr": 0}},
            "must leave a part to learn",
        ),
        ({"trunc": {"lr": 0.1}}, r"unknown part 'trunc'.*did you mean 'trunk'"),
        ({"nummber": {"lr": 0.1}}, r"unknown part 'nummber'.*did you mean 'number'"),
        ({"trunk.00": {"lr": 0.1}}, r"unknown part 'trunk.00'.*did you mean 'trunk.0'"),
        ({"heads.0": {"lr": 0.1}}, r"unknown part 'heads.0'; the parts are \['kind', 'number', 't"),
        ({"trunk": {"weight_deca": 0.1}}, r"\['trunk'\]` names the unknown.*mean 'weight_decay'"),
        ({"trunk": {"momentum": 0.1}}, r"\['trunk'\]` names the unknown setting 'momentum'"),
        ({"trunk": {"lr": -0.1}}, r"'lr' of 'trunk' must be a finite number.*Got -0.1"),
        ({"trunk": {"lr": float("nan")}}, r"'lr' of 'trunk' must be a finite number.*Got nan"),
        ({"trunk": {"lr": float("inf")}}, r"'lr' of 'trunk' must be a finite number.*Got inf"),
        ({"kind": {"lr": "0.1"}}, r"'lr' of 'kind' must be a finite number.*Got '0.1'"),
        ({"kind": {"lr": None}}, r"'lr' of 'kind' must be a finite number.*Got None"),
        ({"trunk": {"params": []}}, r"names the unknown setting 'params'"),
        ({"trunk": 1e-4}, "`param_groups"),
        ({"trunk": None}, "`param_groups"),
    ],
)
def test_bad_groups_are_refused(groups, message):
    net = make_net(param_groups=groups)
    with pytest.raises((TypeError, ValueError), match=f"^MultiOutputNet: .*{message}"):
        net.fit(X, Y)
    assert not hasattr(net, "module_")


@pytest.mark.parametrize("name", ["trunk", "trunk.0"])
def test_output_called_like_the_trunk_is_ambiguous(name):
    y = {name: X[:, 0], "other": X[:, 1]}
    net = make_net(param_groups={name: {"lr": 0.1}})
    with pytest.raises(ValueError, match=rf"\['{name}'\] are parts of the trunk and outputs; ren"):
        net.fit(X, y)
    assert net.set_params(param_groups={"other": {"lr": 0.1}}).fit(X, y).n_iter_ == 4


@pytest.mark.parametrize("left_out", [{"loss_weights": {"aux": 0.0}}, {}], ids=["zero", "constant"])
def test_group_of_an_output_without_layers_does_nothing(left_out):
    aux = X[:, 1] if left_out else np.ones(len(X))
    y = Targets({**Y, "aux": aux})
    groups = {"aux": {"lr": 0.1}, "trunk": {"lr": 0.01}}
    net = make_net(normalize_losses=True, **left_out)
    twin = clone(net).set_params(param_groups={"trunk": {"lr": 0.01}}).fit(X, y)
    net.set_params(param_groups=groups).fit(X, y)
    assert net.predict(X) == twin.predict(X)


def test_most_specific_group_comes_first():
    net = make_net().fit(X, Y)
    groups = {"kind": {"lr": 1.0}, "trunk": {"lr": 2.0}, "trunk.0": {"lr": 3.0}}
    found = find_groups(net.module_, groups)
    assert [(pattern, settings["lr"]) for pattern, settings in found] == [
        ("trunk.0.*", 3.0),
        ("heads.0.*", 1.0),
        ("trunk.*", 2.0),
    ]
    assert groups == {"kind": {"lr": 1.0}, "trunk": {"lr": 2.0}, "trunk.0": {"lr": 3.0}}


def test_groups_can_be_searched_over():
    given = {"kind": {"lr": 0.01}}
    net = make_net(param_groups=given, max_epochs=20)
    grid = {"param_groups__trunk": [{"lr": 0}, {"lr": 1e-3}, {"lr": 0.1, "weight_decay": 0.1}]}
    search = GridSearchCV(net, grid, cv=2, error_score="raise").fit(X, Y)
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    best = search.best_params_["param_groups__trunk"]
    by_hand = clone(net).set_params(param_groups={**given, "trunk": best}).fit(X, Y)
    assert search.predict(X) == by_hand.predict(X)
    assert given == {"kind": {"lr": 0.01}}


def test_groups_hold_in_a_stream():
    net = make_net(param_groups={"trunk": {"lr": 0}}, batch_size=10)
    for rows in np.split(np.arange(50), 5):
        net.partial_fit(X[rows], Y[rows], classes={"kind": [False, True]})
    before = initial_module(net)
    assert same(net.module_, before, "trunk")
    assert not same(net.module_, before, "heads.0")


def test_part_inside_another_has_its_settings_but_for_its_own():
    groups = {"trunk": {"lr": 0.1, "momentum": 0.5}, "trunk.0": {"momentum": 0.9}}
    net = make_net(optimizer="sgd", param_groups=groups).fit(X, Y)
    found = [(g["lr"], g["momentum"], len(g["params"])) for g in net.net_.optimizer_.param_groups]
    assert found[0] == (0.1, 0.9, 2)
    assert {group[:2] for group in found[1:-1]} <= {(0.1, 0.5)}
    assert found[-1][:2] == (net.learning_rate, 0)


GRAPH = Graph([("base", MLP((6,)), "X"), ("branch", MLP((5,)), "base"), ("top", MLP((4,)), "base")])


@pytest.mark.parametrize(
    ("trunk", "at", "part"),
    [
        (GRAPH, {"number": "branch", "kind": "top"}, "trunk.branch"),
        (GRAPH, {"number": ["base", "branch"], "kind": "top"}, "trunk.branch.0"),
        (MLP((5, 4)), {"number": "hidden_2", "kind": "hidden_1"}, "trunk.2"),
        (MLP((5, 4)), {"number": ["hidden_1", "hidden_2"], "kind": "hidden_1"}, "trunk.2"),
    ],
)
def test_group_of_a_part_that_no_head_needs_does_nothing(trunk, at, part):
    heads = {"number": Regression(at=at["number"]), "kind": Classification(at=at["kind"])}
    net = make_net(trunk=trunk, heads=heads, loss_weights={"number": 0.0})
    twin = clone(net).fit(X, Y)
    net.set_params(param_groups={part: {"lr": 0.7}}).fit(X, Y)
    assert net.predict(X) == twin.predict(X)
    learned = clone(net).set_params(loss_weights=None, warm_start=True).fit(X, Y)
    smaller = learned.drop_outputs(["number"])
    assert len(smaller.fit(X, Y[["kind"]]).history_) == 2 * learned.n_iter_


def test_an_unknown_part_is_refused_also_where_parts_were_left_out():
    net = make_net(heads={"number": Regression(at="hidden_1")}, loss_weights={"kind": 0})
    with pytest.raises(ValueError, match=r"names the unknown part 'trunk.8'"):
        net.set_params(param_groups={"trunk.8": {"lr": 0.1}}).fit(X, Y)


@pytest.mark.parametrize("at", ["low", ["low", "high"]])
def test_parts_of_a_module_have_its_names_whatever_heads_attach_to(at):
    heads = {"number": Regression(at=at), "kind": Classification(at="high")}
    groups = {"trunk.first": {"lr": 0}}
    net = make_net(trunk=TwoTensors, heads=heads, param_groups=groups).fit(X, Y)
    before = clone(net).set_params(max_epochs=1, learning_rate=1e-30).fit(X, Y).module_
    pairs = zip(net.module_.trunk.named_parameters(), before.trunk.parameters(), strict=True)
    kept = {name.rpartition("first")[1] for (name, now), then in pairs if torch.equal(now, then)}
    assert kept == {"first"}
    with pytest.raises(ValueError, match=r"names the unknown part 'trunk.trunk.first'"):
        net.set_params(param_groups={"trunk.trunk.first": {"lr": 0}}).fit(X, Y)


class TwoTensors(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.first, self.second = nn.Linear(n_features, 4), nn.Linear(4, 3)

    def forward(self, x):
        low = self.first(x)
        return {"low": low, "high": self.second(low.tanh())}
