import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn import Inputs, MultiOutputNet
from mtlearn.trunks import Embedding, Graph, Pool


def test_each_id_has_its_vector():
    module = Embedding(7, 3).build((4,))
    ids = torch.tensor([[1, 2, 6, 0], [5, 5, 3, 1]])
    found = module(ids)
    assert found.shape == (2, 4, 3)
    for i in range(2):
        for j in range(4):
            assert torch.equal(found[i, j], module.weight[ids[i, j]])


def test_single_ids_become_rows():
    assert Embedding(7, 3).build(())(torch.tensor([1, 2])).shape == (2, 3)


def test_padding_is_zero_and_learns_nothing():
    module = Embedding(5, 2).build((3,))
    module(torch.tensor([[0, 1, 0]])).sum().backward()
    assert not module.weight[0].any()
    assert not module.weight.grad[0].any()
    assert module.weight.grad[1].all()
    unpadded = Embedding(5, 2, padding_id=None).build((3,))
    unpadded(torch.tensor([[0, 1, 0]])).sum().backward()
    assert unpadded.weight.grad[0].all()


@pytest.mark.parametrize("unknown", [1, 4])
def test_ids_outside_the_range_are_the_unknown_one(unknown):
    module = Embedding(5, 2, unknown_id=unknown).build((3,))
    found = module(torch.tensor([[-1, 5, 10**9]]))
    assert torch.equal(found, module.weight[unknown].expand(1, 3, 2))


def test_parameters_are_checked_and_cloned():
    part = Embedding(5, 2, padding_id=None)
    assert clone(part).get_params() == part.get_params()
    with pytest.raises(ValueError, match="'n_ids' parameter of Embedding"):
        Embedding(0, 2).check_params()
    with pytest.raises(ValueError, match="`padding_id` of Embedding must be below `n_ids`, 5"):
        Embedding(5, 2, padding_id=5).build((3,))


def test_the_number_of_ids_may_come_from_the_training_rows():
    X = Inputs({"ids": np.array([[2, 3], [7, 0], [4, 4], [5, 2]])})
    graph = Graph([("embed", Embedding(None, 3), "ids"), ("bag", Pool("mean"), "embed")])
    y = {"a": np.arange(4.0)}
    net = MultiOutputNet(graph, max_epochs=2, random_state=0).fit(X, y)
    assert net.trunk_.get_params()["embed"].n_ids_ == 8
    assert graph.get_params()["embed"].n_ids is None
    assert not hasattr(graph.get_params()["embed"], "n_ids_")
    unseen = net.predict({"ids": np.array([[100, 100]])})["a"]
    assert np.array_equal(unseen, net.predict({"ids": np.array([[1, 1]])})["a"])
    copy = pickle.loads(pickle.dumps(net))
    assert np.array_equal(copy.predict(X)["a"], net.predict(X)["a"])


def test_held_out_rows_do_not_count_for_the_ids():
    ids = np.array([[2], [3], [4], [9]])
    part = Embedding(None, 3).note(ids, rows=np.array([0, 2]))
    assert part.n_ids_ == 5


def test_a_number_of_ids_is_needed_where_they_are_no_input():
    graph = Graph([("codes", nn.Identity(), "X"), ("embed", Embedding(None, 3), "codes")])
    with pytest.raises(ValueError, match=r"stage 'embed' .* `n_ids` of Embedding must be given"):
        MultiOutputNet(graph).fit(np.ones((4, 2)), {"a": np.arange(4.0)})


def test_it_takes_one_input():
    X = {"ids": np.arange(4)[:, None], "numbers": np.ones((4, 2))}
    message = r"^MultiOutputNet: Embedding must take one input of ids. Got .* \['ids', 'numbers'\]"
    with pytest.raises(ValueError, match=message):
        MultiOutputNet(Embedding(None, 4)).fit(X, {"a": np.arange(4.0)})


@pytest.mark.parametrize("id_", [2**31, np.iinfo(np.int64).max])
def test_ids_that_are_no_positions_in_a_table_are_refused(id_):
    with pytest.raises(ValueError, match=rf"Got the id {id_:,}; number the ids from 0, or use Cat"):
        Embedding(None, 4).note(np.array([[3], [id_]]))
