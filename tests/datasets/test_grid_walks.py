import numpy as np
import pytest
from scipy.stats import chisquare

from mtlearn.datasets import make_grid_walks

SIZE = 4


def degrees(size):
    """The number of neighbours of each cell, counted one by one."""
    cells = {(row, column) for row in range(size) for column in range(size)}
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    return np.array([sum((r + i, c + j) in cells for i, j in steps) for r, c in sorted(cells)])


def test_steps_lead_to_neighbours():
    rows, columns = np.divmod(make_grid_walks(200, size=SIZE, n_steps=9, random_state=0), SIZE)
    moved = abs(np.diff(rows, axis=1)) + abs(np.diff(columns, axis=1))
    assert (moved == 1).all()
    assert rows.min() == columns.min() == 0
    assert rows.max() == columns.max() == SIZE - 1


@pytest.mark.parametrize("step", [0, 5])
def test_cells_are_visited_in_proportion_to_their_neighbours_at_every_step(step):
    n_walks = 20_000
    walks = make_grid_walks(n_walks, size=SIZE, n_steps=6, random_state=0)
    counts = np.bincount(walks[:, step], minlength=SIZE * SIZE)
    expected = n_walks * degrees(SIZE) / degrees(SIZE).sum()
    assert chisquare(counts, expected).pvalue > 1e-3


def test_all_neighbours_are_equally_likely():
    walks = make_grid_walks(20_000, size=SIZE, n_steps=2, random_state=0)
    inner = walks[walks[:, 0] == SIZE + 1, 1]
    cells, counts = np.unique(inner, return_counts=True)
    assert cells.tolist() == [1, SIZE, SIZE + 2, 2 * SIZE + 1]
    assert chisquare(counts).pvalue > 1e-3


def test_both_orders_of_two_cells_are_equally_frequent():
    walks = make_grid_walks(50_000, size=3, n_steps=5, random_state=0)
    pairs = np.zeros((9, 9))
    np.add.at(pairs, (walks[:, 1], walks[:, 4]), 1)
    upper = np.triu_indices(9, 1)
    forth, back = pairs[upper], pairs.T[upper]
    seen = forth + back > 50
    z = (forth - back)[seen] / np.sqrt((forth + back)[seen])
    assert abs(z).max() < 4


def test_a_seed_makes_the_same_walks_and_another_one_others():
    first, again, other = (make_grid_walks(50, random_state=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("params", [{"size": 1}, {"n_walks": 0}, {"n_steps": 0}])
def test_empty_grids_and_walks_are_refused(params):
    with pytest.raises(ValueError, match=r"make_grid_walks: `size` must be at least 2"):
        make_grid_walks(**{"n_walks": 5} | params)
