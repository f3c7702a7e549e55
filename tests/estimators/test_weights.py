"""Weights of losses and of labels are checked and completed by name."""

import numpy as np
import pandas as pd
import pytest

from mtlearn import Targets
from mtlearn.estimators._weights import find_label_weights, find_loss_weights
from mtlearn.weighting import Linear

Y = Targets({"price": [1.0, 2.5, 4.0], "kind": ["a", "b", "a"]})


def test_loss_weights_are_completed_in_the_order_of_the_outputs():
    weights, schedules = find_loss_weights({"kind": np.float32(0.5)}, ["price", "kind"], "Net")
    assert list(weights.items()) == [("price", 1.0), ("kind", 0.5)]
    assert not schedules
    assert find_loss_weights(None, ["a"], "Net") == ({"a": 1.0}, {})
    assert {type(weight) for weight in weights.values()} == {float}


def test_the_weight_of_a_schedule_is_its_first():
    schedule = Linear(0.5)
    weights, schedules = find_loss_weights({"kind": schedule}, ["price", "kind"], "Net")
    assert weights == {"price": 1.0, "kind": 0.5}
    assert schedules == {"kind": schedule}


@pytest.mark.parametrize("weight", [-1e-9, np.nan, np.inf, "1", None, [1.0]])
def test_bad_loss_weight_is_refused(weight):
    with pytest.raises(ValueError, match=r"Net: `loss_weights\['a'\]` must be a finite number"):
        find_loss_weights({"a": weight}, ["a", "b"], "Net")


def test_some_output_must_have_weight():
    with pytest.raises(ValueError, match=r"leave an output to learn. All of \['a', 'b'\]"):
        find_loss_weights({"a": 0, "b": 0.0}, ["a", "b"], "Net")


def test_label_weights_have_the_shape_of_the_labels_and_are_zero_where_missing():
    labels = {
        "pair": np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, np.nan]]),
        "kind": np.array(["a", None, "b"], dtype=object),
    }
    weights, _ = find_label_weights(labels, [1.0, 2.0, 3.0], "ignore", "Net")
    assert weights["pair"].tolist() == [[0.5, 0.0], [1.0, 1.0], [0.0, 0.0]]
    assert weights["kind"].tolist() == [0.5, 0.0, 1.5]


def test_output_without_sample_weight_has_ones():
    weights, _ = find_label_weights(dict(Y.items()), {"kind": [0, 1, 2]}, "raise", "Net")
    assert weights["price"].tolist() == [1.0, 1.0, 1.0]
    assert weights["kind"].tolist() == [0.0, 0.5, 1.0]


def test_a_frame_of_weights_is_taken_by_column():
    weights, _ = find_label_weights(
        dict(Y.items()), pd.DataFrame({"kind": [0, 1, 1]}), "raise", "Net"
    )
    assert weights["kind"].tolist() == [0.0, 1.0, 1.0]


def test_huge_weights_count_by_their_ratios():
    labels = dict(Y.items())
    huge, _ = find_label_weights(labels, np.array([1.0, 2.0, 3.0]) * 2.0**1020, "raise", "Net")
    small, _ = find_label_weights(labels, [1.0, 2.0, 3.0], "raise", "Net")
    assert huge["price"].tolist() == small["price"].tolist()
    assert np.isfinite(huge["price"].sum())


@pytest.mark.parametrize(
    "missing",
    [
        np.array([1.0, np.nan, 2.0]),
        np.array(["a", None, "b"], dtype=object),
        np.array([1, pd.NA, 2], dtype=object),
        np.array(["2020-01-01", "NaT", "2020-01-01"], dtype="datetime64[D]"),
    ],
    ids=["NaN", "None", "NA", "NaT"],
)
def test_missing_labels_are_counted_by_default(missing):
    with pytest.raises(ValueError, match=r"output 'a': .* in 1 of 3 labels"):
        find_label_weights({"a": missing}, None, "raise", "Net")
    weights, _ = find_label_weights({"a": missing}, None, "ignore", "Net")
    assert weights["a"].tolist() == [1, 0, 1]


def test_labels_that_are_missing_or_without_weight_leave_nothing():
    labels = {"a": np.array([np.nan, 1.0, np.nan])}
    with pytest.raises(ValueError, match=r"output 'a': some label must be observed.*All 3 are"):
        find_label_weights(labels, [1.0, 0.0, 1.0], "ignore", "Net")
