"""The losses of an epoch: by batch, on average, and in the history."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mtlearn._engine._objective import Objective
from mtlearn._engine._stopping import Diverged

__all__ = ["EpochLosses", "LossRecorder", "epoch_losses"]


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


@dataclass
class LossRecorder:
    """Checks the mean losses of each epoch, and writes them to skorch's history.

    Parameters
    ----------
    limit : float
        The training loss of an output above which training counts as diverged.
    """

    limit: float
    best: dict[str, float] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget the best losses of an earlier training."""
        self.best = {}

    def record(
        self,
        row: dict[str, Any],
        prefix: str,
        losses: EpochLosses,
        objective: Objective,
        observed: Collection[str],
        epoch: int,
    ) -> None:
        """Record the losses of the outputs that have labels, their weighted sum and the penalty.

        Parameters
        ----------
        row : dict
            The epoch in the history.
        prefix : str
            "train" or "valid".
        losses : EpochLosses
            The losses.
        objective : Objective
            Names and weights of the outputs.
        observed : collection of str
            The outputs that have labels.
        epoch : int
            The number of the epoch, for messages.

        Raises
        ------
        Diverged
            If a mean loss is not finite, or above the limit.
        """
        *means, penalty = losses.means
        self._check(prefix, losses, objective.names, epoch)
        is_training = prefix == "train"
        weights = objective.weights.tolist() if is_training else objective.measure
        total = _total(weights, means, penalty)
        by_name = zip(objective.names, means, strict=True)
        found = {"loss": total} | {f"{n}_loss": mean for n, mean in by_name if n in observed}
        row[f"{prefix}_batch_count"] = losses.n_batches
        for key, loss in found.items():
            best = self.best.get(f"{prefix}_{key}", math.inf)
            self.best[f"{prefix}_{key}"] = min(loss, best)
            row[f"{prefix}_{key}"], row[f"{prefix}_{key}_best"] = loss, loss < best
        row[f"{prefix}_penalty"] = penalty
        if is_training and objective.changes:
            row["train_measure"] = _total(objective.measure, means, penalty)

    def _check(self, prefix: str, losses: EpochLosses, names: Sequence[str], epoch: int) -> None:
        """Raise if a mean is bad; name the output whose loss was bad first."""
        limit = self.limit if prefix == "train" else math.inf
        *means, penalty = losses.means
        if all(math.isfinite(mean) and mean <= limit for mean in means):
            if math.isfinite(penalty):
                return
            raise Diverged(
                f"training diverged in epoch {epoch}: the penalty is not finite. Lower "
                f"`learning_rate`, or scale X.",
                at_start=not bool(losses.by_batch[0, -1].isfinite()),
            )
        by_batch = losses.by_batch[:, :-1]
        bad = ~(by_batch.isfinite() & (by_batch <= limit))
        first = torch.where(bad.any(dim=0), bad.int().argmax(dim=0), len(bad))
        output = int(first.argmin())
        where = "" if prefix == "train" else " validation"
        raise Diverged(
            f"output {names[output]!r}: training diverged in epoch {epoch}, with a mean{where} "
            f"loss of {means[output]:.3g}. Lower `learning_rate`, or scale X.",
            at_start=prefix == "train" and bool(bad[0].any()),
        )


def _total(weights: Sequence[float], means: Sequence[float], penalty: float) -> float:
    return math.fsum(w * mean for w, mean in zip(weights, means, strict=True)) + penalty
