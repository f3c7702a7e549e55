"""What the user says of each output is checked and completed by name."""

import numpy as np
import pandas as pd
import pytest

from mtlearn import Targets
from mtlearn.estimators._outputs import (
    as_targets,
    find_heads,
    labels_of,
    refuse_names,
    with_aux,
)
from mtlearn.heads import Classification, MultiLabel, Regression

Y = Targets({"price": [1.0, 2.5, 4.0], "kind": ["a", "b", "a"]})
ONES = np.ones(3)


@pytest.mark.parametrize(
    ("y", "names", "is_array"),
    [
        (Y, ["price", "kind"], False),
        (dict(Y.items()), ["price", "kind"], False),
        (pd.DataFrame(dict(Y.items())), ["price", "kind"], False),
        ([1.0, 2.0], ["y"], True),
        (pd.Series([1.0, 2.0], name="price"), ["y"], True),
        (np.zeros((3, 2)), ["y"], True),
    ],
)
def test_any_form_becomes_targets(y, names, is_array):
    targets, array = as_targets(y, "Net")
    assert type(targets) is Targets
    assert (list(targets), array) == (names, is_array)


@pytest.mark.parametrize(
    ("y", "message"),
    [(None, "This Net estimator requires y"), ({}, "Net: `y` must hold at least one target")],
)
def test_no_target_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        as_targets(y, "Net")


@pytest.mark.parametrize("y", [Y, dict(Y.items())])
def test_names_are_refused_where_an_array_is_wanted(y):
    with pytest.raises(TypeError, match=r"Net: `y` must be one array.*\['price', 'kind'\]"):
        refuse_names(y, "Net")


def test_auxiliary_targets_follow_the_own_ones():
    own = Targets({"y": ONES})
    assert with_aux(own, None, "Net") is own
    assert list(with_aux(own, Y, "Net")) == ["y", "price", "kind"]


def test_heads_are_the_users_clones_or_inferred():
    given = {"kind": Classification(label_smoothing=0.1)}
    heads = find_heads(Y, given, "Net")
    assert list(heads) == ["price", "kind"]
    assert isinstance(heads["price"], Regression)
    assert heads["kind"].label_smoothing == 0.1
    assert heads["kind"] is not given["kind"]


def test_head_with_a_target_is_an_output_more():
    heads = find_heads(Y, {"early": Classification(target="kind")}, "Net")
    assert list(heads) == ["price", "kind", "early"]
    labels = labels_of(Y, heads)
    np.testing.assert_array_equal(labels["early"], Y["kind"])
    np.testing.assert_array_equal(labels["price"], Y["price"])


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        ({"prise": Regression()}, ValueError, r"Net: `heads` names the unknown output 'prise'"),
        ({"e": Regression(target="prise")}, ValueError, r"`target` of the head 'e'.*'prise'"),
        ({"price": Regression}, TypeError, r"output 'price'.*write Regression\(\)"),
        ({"price": "mse"}, TypeError, r"output 'price'.*Got 'mse'"),
        ({"price": Regression(delta=-1)}, ValueError, r"output 'price'.*'delta' parameter"),
        ({"a__b": Regression(target="price")}, ValueError, r"contain '__'.*'a__b'"),
        ({"val_price": Regression(target="price")}, ValueError, "would share columns"),
        ({"val": Regression(target="price")}, ValueError, "be 'val'"),
        ({1: Regression(target="price")}, TypeError, "output names must be strings. Got 1"),
    ],
)
def test_bad_heads_are_refused(heads, error, message):
    with pytest.raises(error, match=message):
        find_heads(Y, heads, "Net")


def test_heads_of_all_kinds_are_inferred_in_the_order_of_the_targets():
    y = Targets({"tags": np.eye(3, dtype=int), "flag": [True, False, True], "n": [1.5, 2.0, 0.0]})
    heads = find_heads(y, None, "Net")
    assert [type(head) for head in heads.values()] == [MultiLabel, Classification, Regression]
