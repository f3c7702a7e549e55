"""Which of two states came first: a question that only a memory can answer.

The walks are stationary and reversible, so that without the memory no classifier is right more
often than one time in two. One that has the whole walk can be right in .818 of all pairs, since the
rest are pairs of the same cell and cells that were visited again.
"""

import pytest

from mtlearn import MultiOutputNet
from mtlearn.datasets import make_grid_walks, make_order_pairs
from mtlearn.heads import PairOrder
from mtlearn.trunks import Embedding, Graph, Recurrent

pytestmark = pytest.mark.slow

N_WALKS = 4000
EMBED = ("embed", Embedding(25, 16, padding_id=None, scale=1.0), "states")
PAIR = ("pair", "take", ["embed", "pair_steps"])
MEMORY = ("memory", Recurrent(64, "gru"), "embed")


def accuracy(stages, at, max_epochs):
    walks = make_grid_walks(N_WALKS + 2000, random_state=0)
    train = make_order_pairs(walks[:N_WALKS], 5, random_state=1)
    test = make_order_pairs(walks[N_WALKS:], 5, random_state=2)
    net = MultiOutputNet(
        Graph(stages),
        {"in_order": PairOrder(at=at)},
        max_epochs=max_epochs,
        learning_rate=3e-3,
        alpha=0.0,
        random_state=0,
    )
    return net.fit(*train).score(*test)


def test_without_a_memory_the_order_cannot_be_told():
    assert abs(accuracy([EMBED, PAIR], "pair", max_epochs=5) - 0.5) < 0.02


def test_a_memory_tells_the_order_of_most_pairs():
    stages = [EMBED, MEMORY, PAIR]
    assert 0.70 <= accuracy(stages, ["pair", "memory"], max_epochs=25) <= 0.83
