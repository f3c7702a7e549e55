"""Training data as tensors, and their batches."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlearn._arrays import as_columns
from mtlearn._typing import Array, Floats
from mtlearn.heads import Head

__all__ = ["Batch", "Batches", "Labels", "Rows", "TrainingData", "training_data"]

Batch: TypeAlias = Tensor | dict[str, Tensor]


class Rows(NamedTuple):
    """Rows, and the labels of each output with their weights, zero where one is missing."""

    X: Array
    targets: Mapping[str, Array]
    weights: Mapping[str, Floats]

    def take(self, rows: Array) -> "Rows":
        """Return some of the rows."""
        return Rows(
            self.X[rows],
            {name: labels[rows] for name, labels in self.targets.items()},
            {name: weight[rows] for name, weight in self.weights.items()},
        )


class Labels(NamedTuple):
    """One output's labels: what its loss compares with, and what each label counts for."""

    target: Tensor
    weight: Tensor


class TrainingData(Dataset[Any]):
    """Rows and the labels of every trained output, indexed a batch at a time.

    Parameters
    ----------
    X : Tensor or dict of Tensor
        The rows.
    labels : dict of str to Labels
        The labels of each output, in the order of the names.
    """

    def __init__(self, X: Batch, labels: dict[str, Labels]) -> None:
        self.X = X
        self.labels = labels

    def __len__(self) -> int:
        X = self.X
        return len(X if isinstance(X, Tensor) else next(iter(X.values())))

    def __getitem__(self, rows: Tensor) -> tuple[Batch, dict[str, Labels]]:
        X = self.X
        return (
            X[rows] if isinstance(X, Tensor) else {name: part[rows] for name, part in X.items()},
            {
                name: Labels(target[rows], weight[rows])
                for name, (target, weight) in self.labels.items()
            },
        )


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
        skip_single_row: bool = False,
    ) -> None:
        if skip_single_row and min(len(dataset), batch_size) == 1:
            raise ValueError(
                f"batch normalisation needs at least 2 rows in a batch. Got n_samples = "
                f"{len(dataset)} and `batch_size` {batch_size}; use normalization='layer'."
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator
        self.skip_single_row = skip_single_row

    def __iter__(self) -> Iterator[tuple[Batch, dict[str, Labels]]]:
        n_rows = len(self.dataset)
        order = torch.arange(n_rows)
        if self.generator is not None:
            order = torch.randperm(n_rows, generator=self.generator)
        for rows in order.split(self.batch_size):
            if not (self.skip_single_row and len(rows) == 1):
                yield self.dataset[rows]


def training_data(
    rows: Rows,
    heads: Mapping[str, Head],
    dtype: torch.dtype,
    device: str | torch.device,
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
        Where the tensors live.

    Returns
    -------
    TrainingData
        The rows on which some output has a label of positive weight.
    """
    X, targets, weights = rows
    encoded = {
        name: heads[name].encode(targets[name], weights[name])
        for name in sorted(heads)
        if name in targets
    }
    encoded = {name: (target, weight) for name, (target, weight) in encoded.items() if weight.any()}
    used = np.zeros(len(X), dtype=bool)
    for _, weight in encoded.values():
        used |= as_columns(weight).any(axis=1)
    labels: dict[str, Labels] = {}
    for name, (target, weight) in encoded.items():
        target, weight = target[used], weight[used]
        scale = weight.sum() / len(weight) * heads[name].baseline_
        floating = target.dtype.kind == "f"
        labels[name] = Labels(
            torch.tensor(target, dtype=dtype if floating else torch.int64, device=device),
            torch.tensor(weight / scale, dtype=dtype, device=device),
        )
    return TrainingData(torch.tensor(X[used], dtype=dtype, device=device), labels)
