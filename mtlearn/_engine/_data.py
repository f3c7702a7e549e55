"""Training data as tensors, and their batches."""

import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from skorch.dataset import Dataset
from torch import Tensor

from mtlearn._arrays import as_columns
from mtlearn._typing import Array, Floats
from mtlearn._validation import naming
from mtlearn.heads import Head
from mtlearn.inputs import Inputs

__all__ = [
    "Batch",
    "Batches",
    "Labels",
    "Rows",
    "TrainingData",
    "as_batch",
    "count_batches",
    "training_data",
]

Batch: TypeAlias = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """Rows, and the labels of each output with their weights, zero where one is missing.

    `index` says which rows of `X` these are; None for all of them. `X` itself is never copied, so
    that it may be larger than the memory.
    """

    X: Array | Inputs
    targets: Mapping[str, Array]
    weights: Mapping[str, Floats]
    index: Array | None = None

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.X) if self.index is None else len(self.index)

    def take(self, rows: Array) -> "Rows":
        """Return some of the rows."""
        return Rows(
            self.X,
            {name: labels[rows] for name, labels in self.targets.items()},
            {name: weight[rows] for name, weight in self.weights.items()},
            rows if self.index is None else self.index[rows],
        )


class Labels(NamedTuple):
    """One output's labels: what its loss compares with, and what each label counts for."""

    target: Tensor
    weight: Tensor


class TrainingData(Dataset):
    """Rows and the labels of every trained output, indexed a batch at a time.

    For skorch's scoring callbacks it also holds, as `X` and `y`, what the user gave.

    Parameters
    ----------
    inputs : Tensor or dict of Tensor
        The rows, in any floating point type.
    labels : dict of str to Labels
        The labels of each output, in the order of the names.
    dtype : torch.dtype, default=None
        The type of the rows in a batch; None for that of `inputs`.
    index : Tensor, default=None
        Which rows of `inputs` the labels belong to; None for all of them.
    totals : dict of str to (float, int), default=None
        The sum of each output's weights, and the number of rows it is over.
    rows : Rows, default=None
        What the data were made from.
    """

    def __init__(
        self,
        inputs: Batch,
        labels: dict[str, Labels],
        dtype: torch.dtype | None = None,
        index: Tensor | None = None,
        totals: Mapping[str, tuple[float, int]] | None = None,
        rows: Rows | None = None,
    ) -> None:
        self.inputs = inputs
        self.labels = labels
        self.dtype = dtype
        self.index = index
        self.totals = dict(totals or {})
        self.rows = rows

    @property
    def X(self) -> Array | Inputs:
        """The rows as the user gave them."""
        assert self.rows is not None
        return self.rows.X if self.rows.index is None else self.rows.X[self.rows.index]

    @property
    def y(self) -> dict[str, Array]:
        """The labels of each output as the user gave them."""
        assert self.rows is not None
        return dict(self.rows.targets)

    @property
    def n_numbers_per_row(self) -> int:
        """How many numbers the inputs of a row are."""
        parts = [self.inputs] if isinstance(self.inputs, Tensor) else self.inputs.values()
        return sum(part[:1].numel() for part in parts)

    def __len__(self) -> int:
        inputs = self.inputs
        if self.index is not None:
            return len(self.index)
        return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))

    def __getitem__(self, rows: Tensor | slice) -> tuple[Batch, dict[str, Labels]]:
        labels = {
            name: Labels(target[rows], weight[rows])
            for name, (target, weight) in self.labels.items()
        }
        return self.inputs_at(rows), labels

    def inputs_at(self, rows: Tensor | slice) -> Batch:
        """Return some of the rows without their labels."""
        if self.index is not None:
            rows = self.index[rows]
        inputs = self.inputs
        if isinstance(inputs, Tensor):
            return self._cast(_take(inputs, rows))
        return {name: self._cast(_take(part, rows)) for name, part in inputs.items()}

    def _cast(self, batch: Tensor) -> Tensor:
        as_it_is = self.dtype is None or not batch.is_floating_point()
        return batch if as_it_is else batch.to(self.dtype)


def _take(values: Tensor, rows: Tensor | slice) -> Tensor:
    """Return some rows; for their positions ``values[rows]`` would take three times as long."""
    return values.index_select(0, rows) if isinstance(rows, Tensor) else values[rows]


def count_batches(n_rows: int, batch_size: int, *, skip_single: bool) -> int:
    """Return how many batches an epoch has."""
    n_batches, left = divmod(n_rows, batch_size)
    return n_batches + (left > skip_single)


class Batches:
    """Batches of whole rows: what a DataLoader gives, at a tenth of its time.

    Parameters
    ----------
    dataset : TrainingData
        What to draw from.
    batch_size : int
        Rows per batch; the last batch of an epoch has the rest.
    generator : torch.Generator, default=None
        Draws one permutation per epoch; None for the rows in their order.
    shuffle : bool, default=True
        Whether to draw one.
    skip_single_row : bool, default=False
        Whether to skip a last batch of a single row, which batch normalisation cannot take.

    Raises
    ------
    ValueError
        If single rows are to be skipped and every batch would be one.
    """

    def __init__(
        self,
        dataset: TrainingData,
        batch_size: int,
        generator: torch.Generator | None = None,
        shuffle: bool = True,
        skip_single_row: bool = False,
    ) -> None:
        if skip_single_row and min(len(dataset), batch_size) == 1:
            raise ValueError(
                f"batch normalisation needs at least 2 rows in a batch. Got n_samples = "
                f"{len(dataset)} and `batch_size` {batch_size}; use normalization='layer'."
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator if shuffle else None
        self.skip_single_row = skip_single_row

    def __len__(self) -> int:
        return count_batches(len(self.dataset), self.batch_size, skip_single=self.skip_single_row)

    def __iter__(self) -> Iterator[tuple[Batch, dict[str, Labels]]]:
        for rows, _ in self.in_chunks(1):
            yield self.dataset[rows]

    def in_chunks(self, n_batches: int) -> Iterator[tuple[Tensor | slice, list[int]]]:
        """Return the rows of several batches at a time, and the sizes of these batches."""
        n_rows = len(self.dataset)
        order = None
        if self.generator is not None:
            order = torch.randperm(n_rows, generator=self.generator)
        if self.skip_single_row and n_rows % self.batch_size == 1:
            n_rows -= 1
        step = n_batches * self.batch_size
        for start in range(0, n_rows, step):
            end = min(start + step, n_rows)
            full, rest = divmod(end - start, self.batch_size)
            sizes = [self.batch_size] * full + [rest] * (rest > 0)
            yield slice(start, end) if order is None else order[start:end], sizes


def training_data(
    rows: Rows,
    heads: Mapping[str, Head],
    dtype: torch.dtype,
    device: str | torch.device,
    totals: Mapping[str, tuple[float, int]] | None = None,
    counted: Collection[str] | None = None,
) -> TrainingData:
    r"""Return the rows that take part, with labels whose weights make each loss a batch mean.

    The loss of output :math:`k` on a batch :math:`B` is then the sum of ``weight * loss`` over
    the labels of the batch, divided by the number of its rows:

    .. math:: L_k = \frac{1}{|B|} \sum_{i \in B} \frac{1}{d_k} \sum_j
              \frac{s_{ik} m_{ijk}}{c_k b_k} \ell_{ijk}

    with the sample (and class) weights :math:`s`, the mask :math:`m` of observed labels, the mean
    :math:`c_k` of :math:`s m` over the rows that take part, the head's baseline :math:`b_k`, and
    the number :math:`d_k` of columns.

    Parameters
    ----------
    rows : Rows
        The rows and their labels.
    heads : mapping of str to Head
        The fitted heads of the outputs that are trained; one without a label in `rows` is left out.
    dtype : torch.dtype
        The floating point type.
    device : str or torch.device
        Where the tensors live. On the CPU the rows stay where they are.
    totals : mapping of str to (float, int), default=None
        The sums of weights and the numbers of rows of a stream so far: :math:`c_k` is the mean
        over these rows too.
    counted : collection of str, default=None
        The outputs for whose labels a row takes part; None for all.

    Returns
    -------
    TrainingData
        The rows on which some output has a label of positive weight.
    """
    encoded = {}
    for name in sorted(heads):
        if name in rows.targets:
            with naming(f"output {name!r}"):
                encoded[name] = heads[name].encode(rows.targets[name], rows.weights[name])
    used = np.zeros(rows.n_rows, dtype=bool)
    for name, (_, weight) in encoded.items():
        if counted is None or name in counted:
            used |= as_columns(weight).any(axis=1)
    seen: dict[str, tuple[float, int]] = {}
    labels: dict[str, Labels] = {}
    for name, (target, weight) in encoded.items():
        target, weight = target[used], weight[used]
        mass, count = (totals or {}).get(name, (0.0, 0))
        mass, count = seen[name] = (mass + float(weight.sum()), count + len(weight))
        if not weight.any():
            continue
        scale = mass / count * heads[name].baseline_
        floating = target.dtype.kind == "f"
        labels[name] = Labels(
            torch.tensor(target, dtype=dtype if floating else torch.int64, device=device),
            torch.tensor(weight / scale, dtype=dtype, device=device),
        )
    rows = rows if used.all() else rows.take(np.flatnonzero(used))
    inputs, index = _inputs(rows, dtype, torch.device(device))
    return TrainingData(inputs, labels, dtype, index, seen, rows)


def as_batch(X: Array | Inputs, dtype: torch.dtype, device: torch.device) -> Batch:
    """Return copies of rows as tensors; integers stay so."""
    if isinstance(X, Inputs):
        return {name: as_tensor(part, dtype, device) for name, part in X.items()}
    return torch.tensor(X, dtype=dtype, device=device)


def as_tensor(values: Array, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a copy of floats in the given type, of integers as they are."""
    return torch.tensor(values, dtype=dtype if values.dtype.kind == "f" else None, device=device)


def _inputs(rows: Rows, dtype: torch.dtype, device: torch.device) -> tuple[Batch, Tensor | None]:
    """Return the rows on the device: the user's own memory on the CPU, and which rows of it."""
    if device.type != "cpu":
        X = rows.X if rows.index is None else rows.X[rows.index]
        return as_batch(X, dtype, device), None
    X = rows.X
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # it is only read
        if isinstance(X, Inputs):
            inputs: Batch = {name: torch.as_tensor(part) for name, part in X.items()}
        else:
            inputs = torch.as_tensor(X)
    return inputs, None if rows.index is None else torch.as_tensor(rows.index)
