"""The losses of an epoch: by batch, and on average."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["EpochLosses", "epoch_losses"]


@dataclass(frozen=True)
class EpochLosses:
    """The losses of the outputs, and the penalty, in one epoch of one network.

    Parameters
    ----------
    by_batch : Tensor of shape (n_batches, n_outputs + 1)
        The losses of each batch.
    means : list of float
        Their means over the rows.
    n_batches : int
        How many batches there were.
    """

    by_batch: Tensor
    means: list[float]
    n_batches: int


def epoch_losses(terms: Tensor, sizes: Sequence[int]) -> list[EpochLosses]:
    """Return the losses of an epoch of each network, read back from the device once.

    Parameters
    ----------
    terms : Tensor of shape (n_models, n_batches, n_outputs + 1)
        The losses of the outputs and the penalty.
    sizes : sequence of int
        The numbers of rows of the batches.
    """
    terms = terms.to("cpu", torch.float64)
    shares = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    means = (shares @ terms).tolist()
    pairs = zip(terms, means, strict=True)
    return [EpochLosses(by_batch, of_model, len(sizes)) for by_batch, of_model in pairs]
