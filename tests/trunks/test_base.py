import inspect
from numbers import Integral

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import mtlearn.trunks
from mtlearn import MultiOutputNet
from mtlearn._sklearn import Interval
from mtlearn.heads import Classification
from mtlearn.trunks import MLP, CategoryEmbedding, Trunk


class Wide(Trunk):
    """The smallest trunk with a parameter."""

    _parameter_constraints = {"width": [Interval(Integral, 1, None, closed="left")]}  # noqa: RUF012

    def __init__(self, width=4):
        self.width = width

    def build(self, n_features):
        return nn.Linear(n_features, self.width)


def test_the_base_is_abstract():
    with pytest.raises(TypeError, match="Can't instantiate abstract class Trunk"):
        Trunk()


def test_parameters_are_checked_by_their_constraints():
    Wide().check_params()
    with pytest.raises(ValueError, match=r"'width' parameter of Wide must be an int in the range"):
        Wide(width=0).check_params()


def test_a_trunk_of_ones_own_trains_and_is_searched_by_nested_names():
    X = np.random.default_rng(0).normal(size=(30, 3))
    net = MultiOutputNet(trunk=Wide(), max_epochs=2).set_params(trunk__width=6)
    net.fit(X, {"a": X[:, 0]})
    assert net.module_.trunk.out_features == 6
    assert isinstance(net.trunk_, Wide)
    assert net.trunk_ is not net.trunk
    assert repr(clone(net)) == repr(net)


def test_a_bad_parameter_is_refused_at_fit():
    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(ValueError, match="'width' parameter of Wide"):
        MultiOutputNet(trunk=Wide(width=-1)).fit(X, {"a": X[:, 0]})


@pytest.mark.parametrize(
    ("forward", "found"),
    [
        (lambda x: x.sum(), r"\(\)"),
        (lambda x: x[:1], r"\(1, 3\)"),
        (lambda x: x[:, :, None], r"\(2, 3, 1\)"),
        (lambda x: (x, x), "tuple"),
        (lambda x: {"a": x[:, 0]}, r"\(2,\) .* as 'a'"),
    ],
)
def test_a_trunk_must_return_rows_of_units(forward, found):
    class Bad(nn.Module):
        def forward(self, x):
            return forward(x)

    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(ValueError, match=f"`trunk` must return .* For 2 rows it returned {found}"):
        MultiOutputNet(trunk=Bad()).fit(X, {"a": X[:, 0]})


def test_a_trunk_of_another_width_is_refused_with_the_number_of_features():
    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(ValueError, match="it must take rows of 3 features"):
        MultiOutputNet(trunk=nn.Linear(5, 2)).fit(X, {"a": X[:, 0]})


def test_the_dry_run_leaves_the_statistics_of_a_template_alone():
    norm = nn.BatchNorm1d(3)
    X = np.random.default_rng(0).normal(size=(30, 3)) + 5
    net = MultiOutputNet(trunk=norm, max_epochs=1, batch_size=30).fit(X, {"a": X[:, 0]})
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert int(net.module_.trunk.num_batches_tracked) == 1


@pytest.mark.parametrize("name", ["MLP"])
def test_every_parameter_of_a_trunk_has_a_constraint(name):
    cls = getattr(mtlearn.trunks, name)
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


class Noting(MLP):
    """Keeps the rows that it is told of."""

    def note(self, X, rows=None):
        self.noted_ = X if rows is None else X[rows]
        return self


ROWS = np.random.default_rng(0).normal(size=(8, 3))


@pytest.mark.parametrize("goes_in_pieces", [False, True])
def test_a_trunk_learns_of_the_rows_that_take_part_and_of_no_others(goes_in_pieces):
    y = {"a": ROWS[:, 0].copy(), "left_out": ROWS[:, 1]}
    y["a"][2] = np.nan
    weight = {"a": np.r_[0.0, np.ones(7)]}
    net = MultiOutputNet(
        Noting((4,)),
        loss_weights={"left_out": 0},
        missing_targets="ignore",
        max_epochs=1,
        random_state=0,
    )
    (net.partial_fit if goes_in_pieces else net.fit)(ROWS, y, weight)
    assert np.array_equal(net.trunk_.noted_, ROWS[[1, 3, 4, 5, 6, 7]])


def test_rows_of_a_class_that_does_not_count_take_no_part():
    heads = {"a": Classification(class_weight={"x": 0.0, "y": 1.0, "z": 2.0})}
    kinds = np.array(["x", "y", "z", "y"] * 2)
    net = MultiOutputNet(Noting((4,)), heads, max_epochs=1, random_state=0)
    net.fit(ROWS, {"a": kinds})
    assert np.array_equal(net.trunk_.noted_, ROWS[kinds != "x"])


def test_a_row_without_weight_is_as_if_it_were_not_there():
    codes = np.array([0, 1, 2, 3, 9, 4, 1, 0])[:, None]
    weight = np.where(codes[:, 0] == 9, 0.0, 1.0)
    net = MultiOutputNet(CategoryEmbedding(3), max_epochs=3, random_state=0)
    without = clone(net).fit(codes[weight > 0], {"a": ROWS[weight > 0, 0]})
    net.fit(codes, {"a": ROWS[:, 0]}, weight)
    assert np.array_equal(net.predict(codes)["a"], without.predict(codes)["a"])
