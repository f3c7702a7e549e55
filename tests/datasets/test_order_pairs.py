import numpy as np
import pytest
from scipy.stats import chisquare

from mtlearn.datasets import make_order_pairs

STATES = np.arange(3 * 5).reshape(3, 5)


def test_labels_say_whether_the_first_step_is_the_earlier():
    X, y = make_order_pairs(STATES, 20, random_state=0)
    first, second = X["pair_steps"].T
    assert np.array_equal(y["in_order"], first < second)
    assert (first != second).all()
    assert X["pair_steps"].min() == 0
    assert X["pair_steps"].max() == 4


def test_sequences_are_repeated_one_after_the_other():
    X, y = make_order_pairs(STATES, 2, random_state=0)
    assert np.array_equal(X["states"], np.repeat(STATES, 2, axis=0))
    assert len(X) == len(y) == 6


def test_all_pairs_are_equally_likely_in_both_orders():
    X, _ = make_order_pairs(np.zeros((1, 4)), 12_000, random_state=0)
    _, counts = np.unique(X["pair_steps"], axis=0, return_counts=True)
    assert len(counts) == 12
    assert chisquare(counts).pvalue > 1e-3


def test_padding_is_never_drawn():
    X, _ = make_order_pairs(STATES, 200, lengths=[2, 3, 5], random_state=0)
    steps = X["pair_steps"].reshape(3, 200, 2)
    assert steps.max(axis=(1, 2)).tolist() == [1, 2, 4]


def test_states_may_have_features():
    X, _ = make_order_pairs(np.zeros((2, 4, 3)), 3, random_state=0)
    assert X["states"].shape == (6, 4, 3)


@pytest.mark.parametrize(
    ("states", "lengths", "message"),
    [
        (np.zeros(3), None, r"sequences of one length, .* Got the shape \(3,\)"),
        (np.zeros((2, 1)), None, r"a pair needs sequences of 2 to 1 steps. Got 1 in row 0"),
        (STATES, [2, 1, 3], r"sequences of 2 to 5 steps. Got 1 in row 1; leave such rows out"),
        (STATES, [2, 6, 3], r"sequences of 2 to 5 steps. Got 6 in row 1"),
        (STATES, [2, 3], r"`lengths` must be an integer for each of 3 sequences. .* \(2,\)"),
        (STATES, [2.0, 3.0, 4.0], r"`lengths` must be an integer for each of 3 .* float64"),
    ],
)
def test_bad_sequences_are_refused(states, lengths, message):
    with pytest.raises(ValueError, match=f"make_order_pairs: .*{message}"):
        make_order_pairs(states, lengths=lengths)


@pytest.mark.parametrize("n_pairs", [0, -1, 1.5])
def test_a_bad_number_of_pairs_is_refused(n_pairs):
    with pytest.raises(ValueError, match=rf"make_order_pairs: `n_pairs` must .* Got {n_pairs}\."):
        make_order_pairs(STATES, n_pairs)
