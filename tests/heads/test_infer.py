import warnings

import numpy as np
import pandas as pd
import pytest

from mtlearn.exceptions import HeadInferenceWarning
from mtlearn.heads import Classification, MultiLabel, Regression, infer_head
from mtlearn.targets import Targets


def infer(values):
    return infer_head(Targets({"y": values})["y"])


@pytest.mark.parametrize(
    ("values", "head"),
    [
        ([0.5, 1.5], Regression),
        ([10.0, 20.0, 30.0], Regression),
        ([0.0, 1.0], Regression),
        (np.array([1, 2], dtype=np.float32), Regression),
        ([0.5, np.nan, 1.5], Regression),
        (np.r_[np.nan, np.arange(21.0)], Regression),
        ([1, 2, 3], Classification),
        (np.array([1, 2], dtype=np.uint8), Classification),
        ([True, False], Classification),
        (["a", "b"], Classification),
        (["a", None], Classification),
        ([True, None, False], Classification),
        (pd.Series(["a", "b", None], dtype="category"), Classification),
        (np.ones((3, 2)) / 3, Regression),
        ([[0.5, np.nan], [1.5, 2.0]], Regression),
        ([[True, False], [False, True]], MultiLabel),
        ([[0, 1], [1, 1]], MultiLabel),
        (np.zeros((3, 1), dtype=np.int8), MultiLabel),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:30],
)
def test_a_target_gets_its_head(values, head):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(infer(values)) == repr(head())


def test_numbers_in_a_list_with_none_are_not_taken_for_classes():
    try:
        head = infer([1.25, None, 2.5, 3.75])
    except ValueError as error:
        assert "cannot be told" in str(error)  # noqa: PT017 (either answer is right)
    else:
        assert isinstance(head, Regression)


@pytest.mark.parametrize(
    "values", [[0.0, 1.0, np.nan], [3, np.nan], np.r_[np.nan, np.arange(20.0)]]
)
def test_few_whole_numbers_with_missing_values_cannot_be_told(values):
    with pytest.raises(ValueError, match=r"floats with missing .* Pass heads=\{'name': Regr"):
        infer(values)


def test_nullable_integers_are_classes_with_and_without_missing_values():
    assert isinstance(infer(pd.Series([0, 1, 1], dtype="Int64")), Classification)
    assert isinstance(infer(pd.Series([0, 1, None], dtype="Int64")), Classification)


def test_a_matrix_of_whole_floats_with_missing_values_cannot_be_told():
    with pytest.raises(ValueError, match=r"Regression\(\)} or heads={'name': MultiLabel\(\)}"):
        infer_head(np.array([[0.0, 1.0], [np.nan, 0.0]]))


def test_nearly_as_many_labels_as_rows_warn():
    with pytest.warns(HeadInferenceWarning, match="output 'price': .* 30 of them"):
        infer_head(np.arange(30).astype(str), "price")


@pytest.mark.parametrize("values", [np.array([1 + 2j]), np.zeros(2, dtype=[("a", float)])])
def test_complex_numbers_and_records_have_no_head(values):
    with pytest.raises(ValueError, match="have no head"):
        infer_head(values)


@pytest.mark.parametrize(
    ("n_classes", "n_rows", "warns"),
    [(20, 20, False), (21, 21, True), (21, 440, True), (21, 441, False), (40, 1599, True)],
)
def test_many_integer_classes_warn(n_classes, n_rows, warns):
    y = np.arange(n_rows) % n_classes
    if warns:
        with pytest.warns(HeadInferenceWarning, match=f"taken for classes, {n_classes} of them"):
            assert isinstance(infer(y), Classification)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert isinstance(infer(y), Classification)


@pytest.mark.parametrize("values", [[[1, 2], [3, 4]], [["a", "b"], ["c", "d"]], [[0, 1], [1, -1]]])
def test_other_matrices_cannot_be_told(values):
    with pytest.raises(
        ValueError, match=r"a matrix of type .* neither one of floats nor of 0 and 1"
    ):
        infer(values)


@pytest.mark.parametrize("unit", ["M8[D]", "m8[s]"])
def test_dates_have_no_head(unit):
    with pytest.raises(ValueError, match="have no head; turn them into numbers or classes"):
        infer(np.arange(3).astype(unit))
