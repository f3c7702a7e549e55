import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mtlearn import Inputs, MultiOutputNet
from mtlearn.trunks import MLP, CategoryEmbedding, Graph

CODES = np.array([[0, 2, 0], [1, 0, 0], [2, 1, 0], [0, 1, 0]])


def test_each_category_of_each_column_has_a_vector_of_its_own():
    module = CategoryEmbedding(4).note(CODES).build(3)
    found = module(torch.tensor(CODES)).unflatten(1, (3, 4))
    vectors = {}
    for row, codes in zip(found, CODES, strict=True):
        for column, (vector, code) in enumerate(zip(row, codes, strict=True)):
            vectors.setdefault((column, int(code)), []).append(tuple(vector.tolist()))
    assert all(len(set(same)) == 1 for same in vectors.values())
    assert len({same[0] for same in vectors.values()}) == len(vectors) == 7


def test_unseen_categories_have_one_vector_for_each_column_which_begins_as_zero():
    module = CategoryEmbedding(2).note(CODES).build(3)
    unseen = torch.tensor([[-1, 3, 9], [7, -5, 1]])
    assert not module(unseen).any()
    with torch.no_grad():
        module.table.weight[module.starts] = torch.tensor([[1.0, 1], [2, 2], [3, 3]])
    assert module(unseen).tolist() == [[1.0, 1, 2, 2, 3, 3]] * 2


def test_rare_categories_can_be_learned_as_the_unseen_one():
    codes = CODES.copy()
    codes[0, 0] = -1
    module = CategoryEmbedding(2).note(codes).build(3)
    module(torch.tensor(codes)).sum().backward()
    assert module.table.weight.grad[module.starts].any(1).tolist() == [True, False, False]


def test_a_code_between_others_that_no_row_has_is_unseen():
    module = CategoryEmbedding(2).note(np.array([[0], [1], [3]])).build(1)
    assert len(module.table.weight) == 4
    assert module(torch.tensor([[0], [1], [2], [3]])).any(1).tolist() == [True, True, False, True]


@pytest.mark.parametrize("large", [10**10, np.iinfo(np.int64).max])
def test_large_codes_need_no_more_room_than_small_ones(large):
    codes = np.array([[0, large], [large, 5], [3, 6]])
    module = CategoryEmbedding(2).note(codes).build(2)
    assert len(module.table.weight) == 8
    assert module(torch.tensor(codes)).unflatten(1, (2, 2)).any(2).all()
    unseen = np.array([[1, 4], [5, large - 1], [large - 1, -1]])
    assert not module(torch.tensor(unseen)).any()


def test_the_largest_code_is_unseen_in_a_column_of_fewer_categories():
    module = CategoryEmbedding(2).note(CODES).build(3)
    largest = torch.full((1, 3), torch.iinfo(torch.int64).max)
    assert not module(largest).any()


def test_only_training_rows_are_counted():
    part = CategoryEmbedding().note(CODES, rows=np.array([1, 3]))
    assert [codes.tolist() for codes in part.categories_] == [[0, 1], [0, 1], [0]]


def test_a_column_of_nothing_but_unseen_categories_has_one_vector():
    part = CategoryEmbedding(2).note(np.array([[-1], [-1]]))
    assert [codes.tolist() for codes in part.categories_] == [[]]
    assert part.build(1)(torch.tensor([[-1], [0]])).shape == (2, 2)


def test_codes_may_come_as_floats_as_those_of_a_frame_do():
    module = CategoryEmbedding(2).note(CODES.astype(float)).build(3)
    x = torch.tensor(CODES)
    assert torch.equal(module(x), module(x.double()))


def test_fractions_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"takes codes, whole numbers. Got fractions"):
        CategoryEmbedding().note(np.array([[0.5]]))
    with pytest.raises(
        ValueError, match=r"rows of the shape \(n_columns,\). Got ndarray of the sh"
    ):
        CategoryEmbedding().note(np.zeros((2, 2, 2), int))
    with pytest.raises(ValueError, match=r"takes columns of codes.* of the shape \(2, 0\)"):
        CategoryEmbedding().note(np.zeros((2, 0), int))


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_another_number_of_columns_than_in_fit_is_refused(columns):
    graph = Graph([("embed", CategoryEmbedding(2), "codes")])
    net = MultiOutputNet(graph, max_epochs=1).fit({"codes": CODES}, {"a": np.arange(4.0)})
    message = (
        rf"the columns of fit, rows of the shape \(3,\)\. Got rows of the shape \({columns},\)"
    )
    with pytest.raises(ValueError, match=message):
        net.predict({"codes": np.zeros((4, columns), int)})


def test_it_must_take_an_input_by_itself():
    numbers = np.ones((4, 2))
    X, y = Inputs({"codes": CODES, "numbers": numbers}), {"a": np.arange(4.0)}
    both = Graph([("embed", CategoryEmbedding(), ["codes", "numbers"])])
    with pytest.raises(ValueError, match=r"'embed' on .* CategoryEmbedding must take an input of"):
        MultiOutputNet(both).fit(X, y)
    late = Graph(
        [("dense", MLP((4,)), ["codes", "numbers"]), ("embed", CategoryEmbedding(), "dense")]
    )
    with pytest.raises(ValueError, match=r"CategoryEmbedding must take an input of X by itself"):
        MultiOutputNet(late).fit(X, y)


def test_it_learns_what_categories_mean():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, (300, 2))
    y = {"a": np.array([3.0, -1, 0, 5, 2])[codes[:, 0]] + (codes[:, 1] == 3)}
    graph = Graph([("embed", CategoryEmbedding(4), "codes")])
    net = MultiOutputNet(graph, random_state=0, alpha=0.0, learning_rate=0.03).fit(
        {"codes": codes}, y
    )
    assert net.score({"codes": codes}, y) > 0.99


def test_a_table_of_codes_alone_may_be_all_there_is():
    net = MultiOutputNet(CategoryEmbedding(4), max_epochs=2, random_state=0)
    net.fit(CODES, {"a": np.arange(4.0)})
    copy = pickle.loads(pickle.dumps(net))
    assert np.array_equal(copy.predict(CODES)["a"], net.predict(CODES)["a"])
    assert net.predict(np.array([[9, 9, 9]]))["a"].shape == (1,)
    assert not hasattr(clone(net).trunk, "categories_")


def test_a_stream_keeps_the_categories_of_its_first_piece():
    net = MultiOutputNet(CategoryEmbedding(4), random_state=0)
    net.partial_fit(CODES, {"a": np.arange(4.0)})
    net.partial_fit(CODES + 5, {"a": np.arange(4.0)})
    assert [len(codes) for codes in net.trunk_.categories_] == [3, 3, 1]
