"""Training data hold the rows that take part, with weights that make each loss a batch mean."""

import warnings

import numpy as np
import pytest
import torch

from mtlearn._engine._data import Batches, Labels, Rows, TrainingData, training_data
from mtlearn.heads import Classification, MultiLabel, Regression

N = 10
X = np.arange(3.0 * N).reshape(N, 3)
NUMBER = np.linspace(-1.0, 3.0, N)
KIND = np.array(list("abcabcabca"))


def prepare(targets, weights, dtype=torch.float64, **heads):
    fitted = {
        name: head.fit(targets[name], weights[name], normalize=True) for name, head in heads.items()
    }
    return training_data(Rows(X, targets, weights), fitted, dtype, "cpu"), fitted


def rows_data(n=N):
    labels = Labels(torch.arange(n), torch.ones(n))
    return TrainingData(torch.arange(n).view(n, 1), {"a": labels})


def all_rows(data):
    return data[torch.arange(len(data))][0].numpy()


def seeded_batches(data, batch_size, seed=0, **params):
    return Batches(data, batch_size, torch.Generator().manual_seed(seed), **params)


def test_rows_without_a_label_of_positive_weight_are_left_out():
    number, kind = np.ones(N), np.ones(N)
    number[[0, 4]], kind[[4, 5]] = 0.0, 0.0
    data, _ = prepare(
        {"number": NUMBER, "kind": KIND},
        {"number": number, "kind": kind},
        number=Regression(),
        kind=Classification(),
    )
    np.testing.assert_array_equal(all_rows(data), np.delete(X, 4, axis=0))
    assert len(data) == N - 1
    assert {len(label) for labels in data.labels.values() for label in labels} == {N - 1}


def test_row_stays_while_one_of_its_cells_is_observed():
    pair, weight = np.column_stack([NUMBER, NUMBER**2]), np.ones((N, 2))
    weight[2, 0] = 0.0
    weight[3] = 0.0
    data, _ = prepare({"pair": pair}, {"pair": weight}, pair=Regression())
    np.testing.assert_array_equal(all_rows(data), np.delete(X, 3, axis=0))
    assert data.labels["pair"].weight[2].tolist() == [0.0, pytest.approx(9 / 17)]


def test_constant_raw_has_the_loss_one_on_all_rows_whatever_the_weights():
    rng = np.random.default_rng(0)
    targets = {"number": NUMBER, "kind": KIND, "tags": rng.integers(0, 2, (N, 2))}
    weights = {name: rng.uniform(0.1, 2.0, y.shape) for name, y in targets.items()}
    weights["number"][:7] = 0.0
    heads = {"number": Regression("huber"), "kind": Classification(), "tags": MultiLabel()}
    data, fitted = prepare(targets, weights, **heads)
    for name, (target, weight) in data.labels.items():
        constant = torch.tensor(fitted[name].constant_raw_).expand(N, *fitted[name].raw_shape_)
        losses = fitted[name].build_loss().double()(constant, target) * weight
        assert losses.sum().item() / N == pytest.approx(1.0, rel=1e-9)


def test_names_are_sorted():
    ones = np.ones(N)
    data, _ = prepare(
        {"number": NUMBER, "kind": KIND},
        {"number": ones, "kind": ones},
        number=Regression(),
        kind=Classification(),
    )
    assert list(data.labels) == ["kind", "number"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_have_the_asked_type_and_classes_are_indices(dtype):
    ones = np.ones(N)
    data, _ = prepare(
        {"number": NUMBER, "kind": KIND},
        {"number": ones, "kind": ones},
        dtype,
        number=Regression(),
        kind=Classification(),
    )
    assert data[torch.arange(2)][0].dtype == data.labels["number"].target.dtype == dtype
    assert data.labels["kind"].target.dtype == torch.int64
    assert {labels.weight.dtype for labels in data.labels.values()} == {dtype}


def test_rows_are_read_where_they_are_and_batches_are_copies():
    rows = X.copy()
    ones = np.ones(N)
    ones[2] = 0.0
    head = Regression().fit(NUMBER, ones, normalize=True)
    data = training_data(
        Rows(rows, {"a": NUMBER}, {"a": ones}), {"a": head}, torch.float64, torch.device("cpu")
    )
    assert np.shares_memory(data.inputs.numpy(), rows)
    batch, labels = data[torch.arange(3)]
    batch.zero_()
    labels["a"].target.zero_()
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(all_rows(data), np.delete(X, 2, axis=0))


def test_read_only_rows_give_no_warning():
    rows, ones = X.copy(), np.ones(N)
    rows.flags.writeable = False
    head = Regression().fit(NUMBER, ones, normalize=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training_data(Rows(rows, {"a": NUMBER}, {"a": ones}), {"a": head}, torch.float64, "cpu")


def test_rows_that_are_taken_twice_are_rows_of_the_same_array():
    rows = Rows(X, {"a": NUMBER}, {"a": np.ones(N)})
    taken = rows.take(np.array([8, 5, 1])).take(np.array([2, 0]))
    assert taken.X is X
    assert taken.index.tolist() == [1, 8]
    assert taken.n_rows == 2
    assert taken.targets["a"].tolist() == NUMBER[[1, 8]].tolist()


def test_weights_are_scaled_by_the_mean_over_the_stream():
    head = Regression().fit(NUMBER, np.ones(N), normalize=True)
    rows = Rows(X, {"a": NUMBER}, {"a": np.full(N, 2.0)})
    data = training_data(rows, {"a": head}, torch.float64, "cpu", {"a": (5.0 * N, N)})
    assert data.totals == {"a": (7.0 * N, 2 * N)}
    assert data.labels["a"].weight[0].item() == pytest.approx(2 / 3.5 / head.baseline_)


def test_output_without_a_label_counts_its_rows():
    head = Regression().fit(NUMBER, np.ones(N), normalize=True)
    rows = Rows(X, {"a": NUMBER, "b": NUMBER}, {"a": np.ones(N), "b": np.zeros(N)})
    data = training_data(rows, {"a": head, "b": head}, torch.float64, "cpu", {"b": (3.0, 3)})
    assert list(data.labels) == ["a"]
    assert data.totals == {"a": (N, N), "b": (3.0, 3 + N)}


def test_indexing_takes_whole_batches():
    data = TrainingData(
        {"left": torch.arange(6.0).view(3, 2), "right": torch.arange(3)},
        {"a": Labels(torch.arange(3), torch.ones(3))},
    )
    assert len(data) == 3
    rows, labels = data[torch.tensor([2, 0])]
    assert rows["left"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert rows["right"].tolist() == labels["a"].target.tolist() == [2, 0]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 99])
def test_batches_hold_every_row_once(batch_size):
    batches = list(seeded_batches(rows_data(), batch_size))
    seen = torch.cat([rows[:, 0] for rows, _ in batches])
    assert sorted(seen.tolist()) == list(range(N))
    assert [len(rows) for rows, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    for rows, labels in batches:
        assert torch.equal(rows[:, 0], labels["a"].target)


def test_order_comes_from_the_generator_and_changes_each_epoch():
    def epochs(seed):
        batches = seeded_batches(rows_data(), 4, seed)
        return [[row for rows, _ in batches for row in rows[:, 0].tolist()] for _ in range(2)]

    assert epochs(0) == epochs(0)
    assert epochs(0)[0] != epochs(0)[1]
    assert epochs(0) != epochs(1)


def test_single_row_at_the_end_can_be_skipped():
    sizes = [len(rows) for rows, _ in seeded_batches(rows_data(), 3, skip_single_row=True)]
    assert sizes == [3, 3, 3]


@pytest.mark.parametrize(("n", "batch_size"), [(1, 3), (5, 1)])
def test_nothing_but_single_rows_cannot_be_skipped(n, batch_size):
    message = rf"at least 2 rows in a batch. Got n_samples = {n} and `batch_size` {batch_size}"
    with pytest.raises(ValueError, match=message):
        seeded_batches(rows_data(n), batch_size, skip_single_row=True)
    assert len(list(seeded_batches(rows_data(n), batch_size))) == n
