import numpy as np
import pandas as pd
import pytest

from mtlearn import Targets
from mtlearn.model_selection._rows import as_rows, by_name, rows_in

DATA = {"price": np.arange(3.0), "kind": np.array(["a", "b", "a"])}


def test_a_plain_dict_becomes_targets():
    assert type(as_rows(DATA)) is Targets
    assert as_rows(DATA) == Targets(DATA)


@pytest.mark.parametrize(
    "value", [None, np.arange(3), [1, 2], "text", pd.DataFrame(DATA), Targets(DATA)], ids=repr
)
def test_all_else_stays_as_it_is(value):
    assert as_rows(value) is value
    assert rows_in({"aux": value})["aux"] is value


def test_dicts_among_parameters_become_targets_and_the_parameters_are_not_changed():
    params = {"aux": DATA, "sample_weight": np.ones(3)}
    found = rows_in(params)
    assert type(found["aux"]) is Targets
    assert found["sample_weight"] is params["sample_weight"]
    assert params["aux"] is DATA
    assert rows_in(None) == {}


@pytest.mark.parametrize("as_y", [dict, Targets, pd.DataFrame])
def test_targets_of_any_form_are_found_by_name(as_y):
    assert by_name(as_y(DATA)) == Targets(DATA)


def test_an_array_is_the_target_y():
    assert by_name(DATA["kind"]) == Targets({"y": DATA["kind"]})
    assert by_name(pd.Series(DATA["price"])) == Targets({"y": DATA["price"]})
