import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn._params import NamedParts
from mtlearn.heads import Classification, Regression
from mtlearn.preprocessing import ColumnInputs
from mtlearn.trunks import MLP


def test_parameters_are_shallow_without_deep():
    net = MultiOutputNet(heads={"kind": Classification()}, loss_weights={"kind": 2.0})
    assert not [name for name in net.get_params(deep=False) if "__" in name]


def test_dict_entries_and_their_parts_have_nested_names():
    heads = {"kind": Classification(label_smoothing=0.1), "price": Regression()}
    params = MultiOutputNet(heads=heads, loss_weights={"kind": 2.0}).get_params()
    assert params["heads"] is heads
    assert params["heads__kind"] is heads["kind"]
    assert params["heads__kind__label_smoothing"] == 0.1
    assert params["heads__price__loss"] == "squared_error"
    assert params["loss_weights__kind"] == 2.0


def test_the_default_trunk_has_nested_names_but_stays_none():
    net = MultiOutputNet()
    params = net.get_params()
    assert params["trunk"] is None
    assert {f"trunk__{name}": value for name, value in MLP().get_params().items()}.items() <= (
        params.items()
    )
    assert net.trunk is None


def test_every_nested_parameter_can_be_set_to_what_it_is():
    net = MultiOutputNet(
        trunk=MLP((8,)), heads={"kind": Classification()}, loss_weights={"kind": 2.0}
    )
    params = net.get_params()
    again = clone(net).set_params(**params).get_params()
    assert set(again) == set(params)
    parts = {"heads", "heads__kind", "trunk"}
    assert {name: again[name] for name in set(params) - parts} == {
        name: params[name] for name in set(params) - parts
    }


def test_a_loss_weight_is_set_in_a_new_dict():
    mine = {"kind": 2.0}
    net = MultiOutputNet(loss_weights=mine).set_params(loss_weights__kind=0.5, loss_weights__a=3)
    assert net.loss_weights == {"kind": 0.5, "a": 3}
    assert mine == {"kind": 2.0}


def test_a_loss_weight_can_be_set_where_there_was_no_dict():
    assert MultiOutputNet().set_params(loss_weights__a=3).loss_weights == {"a": 3}


def test_a_head_of_the_user_is_never_changed():
    mine = {"kind": Classification(), "price": Regression()}
    kind, price = mine["kind"], mine["price"]
    net = MultiOutputNet(heads=mine).set_params(heads__kind__label_smoothing=0.2)
    assert net.heads["kind"].label_smoothing == 0.2
    assert net.heads["price"] is price
    assert mine == {"kind": kind, "price": price}
    assert kind.label_smoothing == 0.0


def test_a_whole_head_is_set_before_its_parameters():
    net = MultiOutputNet()
    net.set_params(heads__price__delta=3.0, heads__price=Regression("huber"))
    assert (net.heads["price"].loss, net.heads["price"].delta) == ("huber", 3.0)


def test_a_whole_dict_is_set_before_its_entries():
    whole = {"a": 1.0, "b": 1.0}
    net = MultiOutputNet(loss_weights={"old": 1}).set_params(loss_weights__a=5, loss_weights=whole)
    assert net.loss_weights == {"a": 5, "b": 1.0}
    assert whole == {"a": 1.0, "b": 1.0}


def test_parameters_of_the_default_trunk_can_be_set():
    net = MultiOutputNet().set_params(trunk__hidden_layer_sizes=(3,), trunk__dropout=0.1)
    assert net.trunk.get_params() == {**MLP((3,)).get_params(), "dropout": 0.1}


def test_nested_names_reach_through_a_pipeline_and_a_grid():
    pipe = Pipeline([("net", MultiOutputNet(heads={"kind": Classification()}))])
    grid = ParameterGrid(
        {"net__loss_weights__kind": [0.5], "net__heads__kind__hidden_layer_sizes": [(2,)]}
    )
    net = clone(pipe).set_params(**grid[0]).named_steps["net"]
    assert net.loss_weights == {"kind": 0.5}
    assert net.heads["kind"].hidden_layer_sizes == (2,)


def test_a_clone_has_equal_parameters_and_parts_of_its_own():
    net = MultiOutputNet(trunk=MLP((3,)), heads={"kind": Classification()}, random_state=3)
    other = clone(net)
    assert repr(other) == repr(net)
    assert other.heads is not net.heads
    assert other.heads["kind"] is not net.heads["kind"]
    assert other.trunk is not net.trunk


def test_set_params_returns_the_estimator_also_for_nothing():
    net = MultiOutputNet()
    assert net.set_params() is net
    assert net.set_params(alpha=0.5, trunk__dropout=0.1) is net


@pytest.mark.parametrize("name", ["bad", "bad__x", "alpha__x__y"])
def test_a_bad_name_is_refused(name):
    with pytest.raises((AttributeError, ValueError), match=r"(?i)invalid parameter|no attribute"):
        MultiOutputNet().set_params(**{name: 1})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trunk__bad", "Invalid parameter 'bad' for estimator MLP"),
        ("heads__kind__bad", r"Invalid parameter 'bad' for estimator Classification"),
        ("heads__knd__loss", r"needs `heads` to hold a part named 'knd'; .*did you mean 'kind'"),
        ("loss_weights__kind__x", "needs `loss_weights` to hold a part named 'kind'"),
    ],
)
def test_a_bad_nested_name_is_refused_by_name(name, message):
    net = MultiOutputNet(heads={"kind": Classification()}, loss_weights={"kind": 1.0})
    with pytest.raises(ValueError, match=message):
        net.set_params(**{name: 1})


def test_fit_leaves_the_dicts_and_parts_of_the_user_alone():
    X = np.random.default_rng(0).normal(size=(12, 2))
    heads, weights = {"kind": Classification()}, {"kind": 2.0}
    before = repr(heads), dict(vars(heads["kind"]))
    net = MultiOutputNet(trunk=MLP((2,)), heads=heads, loss_weights=weights, max_epochs=1)
    net.fit(X, {"kind": X[:, 0] > 0, "price": X[:, 1]})
    assert (repr(heads), vars(heads["kind"])) == before
    assert weights == {"kind": 2.0}
    assert net.heads is heads
    assert net.loss_weights is weights


def test_entries_that_are_dicts_have_nested_names():
    net = MultiOutputNet(param_groups={"trunk": {"lr": 1e-4, "weight_decay": 0.1}})
    before = net.param_groups
    net.set_params(param_groups__trunk__lr=1e-3, param_groups__kind__lr=0.0)
    assert net.param_groups == {"trunk": {"lr": 1e-3, "weight_decay": 0.1}, "kind": {"lr": 0.0}}
    assert before == {"trunk": {"lr": 1e-4, "weight_decay": 0.1}}
    assert net.get_params()["param_groups__trunk__weight_decay"] == 0.1
    assert MultiOutputNet().set_params(param_groups__trunk__lr=0.0).param_groups == {
        "trunk": {"lr": 0.0}
    }


class Machine(NamedParts):
    """Something with a list of parts, and with another parameter and part."""

    _named_parts = "wheels"
    _part_noun = "wheel"

    def __init__(self, wheels, speed=1, engine=None):
        self.wheels = wheels
        self.speed = speed
        self.engine = engine


class Loose(BaseEstimator):
    def __init__(self, part=None, size=1):
        self.part = part
        self.size = size


def test_parts_of_a_list_have_nested_names():
    wheels = [("front", MLP((3,)), ["a"]), ("back", "passthrough", "b")]
    machine = Machine(wheels, engine=StandardScaler())
    assert set(machine.get_params(deep=False)) == {"wheels", "speed", "engine"}
    params = machine.get_params()
    assert params["wheels"] is wheels
    assert params["front"] is wheels[0][1]
    assert params["back"] == "passthrough"
    assert params["engine__with_mean"] is True
    nested = {f"front__{name}": value for name, value in MLP((3,)).get_params().items()}
    assert nested.items() <= params.items()
    assert not [name for name in params if name.startswith("back__")]


def test_a_part_and_its_parameters_are_set_in_a_new_list():
    mine = [("front", Loose(), 0), ["back", Loose(), 1]]
    before = list(mine)
    machine = Machine(mine)
    new = Loose(size=5)
    assert machine.set_params(back__size=7, back=new, speed=3) is machine
    assert machine.wheels == [("front", before[0][1], 0), ("back", new, 1)]
    assert (machine.speed, new.size) == (3, 7)
    assert all(entry is old for entry, old in zip(mine, before, strict=True))
    assert before[1][1].size == 1


def test_a_list_is_set_before_its_parts():
    machine = Machine([("old", Loose(), 0)])
    wheels = [("front", Loose(), 0), ("back", Loose(), 1)]
    machine.set_params(front__size=4, back="none", wheels=wheels)
    assert [(name, takes) for name, _, takes in machine.wheels] == [("front", 0), ("back", 1)]
    assert machine.wheels[0][1].size == 4
    assert machine.wheels[1][1] == "none"
    assert isinstance(wheels[1][1], Loose)


def test_a_part_of_a_part_is_set_before_its_parameters():
    machine = Machine([("front", Loose(), 0)])
    machine.set_params(front__part__size=9, front__part=Loose())
    assert machine.wheels[0][1].part.size == 9


def test_a_list_stays_the_same_object_where_no_part_is_set():
    wheels = [("front", Loose(), 0)]
    machine = Machine(wheels, engine=Loose())
    machine.set_params(front__size=2, speed=4, engine__size=6).set_params()
    assert machine.wheels is wheels
    assert (wheels[0][1].size, machine.speed, machine.engine.size) == (2, 4, 6)


def test_every_parameter_of_parts_can_be_set_to_what_it_is():
    machine = Machine([("front", Loose(MLP()), 0), ("back", "none", 1)], engine=Loose())
    params = machine.get_params()
    again = Machine([("other", "none", 0)]).set_params(**params)
    assert again.get_params() == params


def test_set_parameters_of_a_clone_change_nothing_of_the_original():
    machine = Machine([("front", Loose(MLP((3,))), 0), ("back", nn.Linear(2, 3), 1)])
    twin = clone(machine)
    assert repr(twin) == repr(machine)
    twin.set_params(front__part__hidden_layer_sizes=(7,), front__size=2, back="none")
    assert machine.get_params()["front__part__hidden_layer_sizes"] == (3,)
    assert machine.wheels[0][1].size == 1
    assert isinstance(machine.wheels[1][1], nn.Linear)


@pytest.mark.parametrize("part", ["add", nn.Linear(2, 3), nn.Linear, MLP, abs, None], ids=str)
def test_parts_without_parameters_are_set_as_a_whole(part):
    machine = Machine([("front", part, 0)])
    assert machine.get_params() == {
        "front": part,
        "wheels": machine.wheels,
        "speed": 1,
        "engine": None,
    }
    with pytest.raises(ValueError, match=r"Machine: wheel 'front' is no part.*Got 'front__size'"):
        machine.set_params(front__size=3)
    assert machine.set_params(front=part).wheels[0][1] is part
    assert isinstance(clone(machine).wheels[0][1], type(part))
    machine.set_params(front=Loose(), front__size=3)
    assert machine.wheels[0][1].size == 3


@pytest.mark.parametrize("name", ["frnt", "frnt__size"])
def test_an_unknown_part_is_refused_with_the_nearest_name(name):
    machine = Machine([("front", Loose(), 0), ("back", "none", 1)])
    message = (
        r"Machine names the unknown wheel 'frnt'; the wheels are \['back', 'front'\] "
        r"\(did you mean 'front'\?\)"
    )
    with pytest.raises(ValueError, match=message):
        machine.set_params(**{"speed": 8, "back": "new", name: 3})
    assert (machine.speed, machine.wheels[1][1]) == (1, "none")
    with pytest.raises(ValueError, match="Invalid parameter 'bad' for estimator Loose"):
        machine.set_params(front__bad=3)


@pytest.mark.parametrize("wheels", [None, "abc", 3, [("front",)], [None], [(3, Loose(), 0)]])
def test_what_is_no_list_of_parts_has_none(wheels):
    machine = clone(Machine(wheels))
    assert repr(machine) == f"Machine(wheels={wheels!r})"
    assert set(machine.get_params()) == {"wheels", "speed", "engine"}
    with pytest.raises(ValueError, match=r"unknown wheel 'front'; the wheels are \[\]"):
        machine.set_params(front=1)
    assert (
        machine.set_params(wheels=[("front", Loose(), 0)], front__size=2).get_params()[
            "front__size"
        ]
        == 2
    )


def test_named_parts_are_reached_through_a_pipeline_and_a_grid():
    step = ColumnInputs([("numbers", StandardScaler(), [0])])
    pipe = Pipeline([("columns", step), ("net", MultiOutputNet())])
    grid = ParameterGrid({"columns__numbers__with_mean": [False]})
    twin = clone(pipe).set_params(**grid[0])
    assert twin.get_params()["columns__numbers"].with_mean is False
    assert step.inputs[0][1].with_mean is True
