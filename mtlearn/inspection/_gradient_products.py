"""The gradients of outputs at each stage of a network, compared with each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._engine._data import Batch, Labels
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._objective import Objective, l2_penalty
from mtlearn._typing import Array, Floats, Mask
from mtlearn.inspection._stage_parameters import StageParameters

__all__ = ["GradientProducts", "gradient_products"]


@dataclass(frozen=True)
class GradientProducts:
    """Scalar products of gradients at each stage, in the mean over batches by their rows.

    `with_total` are those of each output's weighted gradient, and last of the penalty's, with their
    sum, whose squares are `total`. `n_conflicts` of `n_compared` batches have a negative product.
    """

    reaches: Mask
    between: Floats
    with_total: Floats
    total: Floats
    n_conflicts: Array
    n_compared: Array
    n_batches: int
    total_error: float

    def norms(self) -> Floats:
        """Return the norms of the unweighted gradients, (n_stages, n_outputs)."""
        return np.sqrt(np.diagonal(self.between, axis1=1, axis2=2))

    def shares(self) -> Floats:
        """Return the parts of the update, (n_stages, n_outputs + 1); the penalty's is the last."""
        total = self.total[:, None]
        return np.divide(
            self.with_total, total, out=np.zeros_like(self.with_total), where=total > 0
        )

    def cosines(self, main: int) -> Floats:
        """Return the cosines with an output's gradient, (n_stages, n_outputs)."""
        return _cosines(self.between[:, :, main], self.norms(), self.norms()[:, [main]])

    def conflict_rates(self, main: int) -> Floats:
        """Return the share of batches with a negative cosine, (n_stages, n_outputs)."""
        n_compared = self.n_compared[:, :, main]
        rates = np.full(n_compared.shape, np.nan)
        return np.divide(self.n_conflicts[:, :, main], n_compared, out=rates, where=n_compared > 0)

    def trunk_cosines(self, main: int, in_trunk: Mask) -> Floats:
        """Return the cosines on all the parameters of the trunk that both reach, (n_outputs,)."""
        shared = (self.reaches & self.reaches[:, [main]] & in_trunk[:, None]).astype(float)
        squares = np.diagonal(self.between, axis1=1, axis2=2)
        products = (self.between[:, :, main] * shared).sum(axis=0)
        own, others = (squares * shared).sum(axis=0), (squares[:, [main]] * shared).sum(axis=0)
        return _cosines(products, np.sqrt(own), np.sqrt(others))


def gradient_products(
    module: MultiOutputModule,
    objective: Objective,
    stages: Sequence[StageParameters],
    batches: Iterable[tuple[Batch, Mapping[str, Labels]]],
    alpha: float,
    *,
    checks_total: bool = True,
) -> GradientProducts:
    """Take the gradient of each output's loss on batches, and compare them stage by stage.

    Parameters
    ----------
    module : MultiOutputModule
        The network, which is left as it is; outputs are in the order of its names.
    objective : Objective
        The losses and their weights.
    stages : sequence of StageParameters
        The stages.
    batches : iterable of (Batch, mapping of str to Labels)
        The rows, and their labels.
    alpha : float
        The penalty on squared weights.
    checks_total : bool, default=True
        Whether to compare the sum with the gradient of the total, at the cost of one more pass.
    """
    learned = [p for stage in stages for p in stage.learned]
    sums = _Sums(stages, len(module.names))
    weights = torch.cat([objective.weights.double(), torch.ones(1, dtype=torch.float64)])
    if not learned:
        return sums.mean()
    penalty = torch.as_tensor(l2_penalty(learned, alpha))
    of_penalty = _gradient(penalty, learned)  # the same for each batch
    for X, labels in batches:
        raw = module(X)
        losses = objective(raw, labels)
        if sums.n_batches == 0:
            sums.reaches = _reached([raw[name] for name in module.names], stages, learned)
        flat = torch.stack([*(_gradient(loss, learned) for loss in losses), of_penalty])
        if checks_total:
            whole = _gradient(losses @ objective.weights + penalty, learned)
            largest = float(whole.abs().max())
            difference = float((whole - weights @ flat).abs().max())
            sums.total_error = max(sums.total_error, difference / largest if largest else 0.0)
        sums.add(flat, weights, len(next(iter(labels.values())).target))
    return sums.mean()


class _Sums:
    """Sums of scalar products over batches."""

    def __init__(self, stages: Sequence[StageParameters], n_outputs: int) -> None:
        sizes = [sum(p.numel() for p in stage.learned) for stage in stages]
        self._parts = list(pairwise(np.cumsum([0, *sizes]).tolist()))
        n = len(stages)
        self.reaches = np.zeros((n, n_outputs), dtype=bool)
        self._between = np.zeros((n, n_outputs, n_outputs))
        self._with_total, self._total = np.zeros((n, n_outputs + 1)), np.zeros(n)
        self._n_conflicts = np.zeros((n, n_outputs, n_outputs), dtype=np.int64)
        self._n_compared = self._n_conflicts.copy()
        self._n_rows, self.n_batches, self.total_error = 0, 0, 0.0

    def add(self, flat: Tensor, weights: Tensor, n_rows: int) -> None:
        """Add the gradients of a batch, (n_outputs + 1, n_parameters), by their weights."""
        added = weights @ flat
        for i, (start, end) in enumerate(self._parts):
            part, whole = flat[:, start:end], added[start:end]
            products = (part[:-1] @ part[:-1].T).numpy()
            self._between[i] += n_rows * products
            self._with_total[i] += n_rows * (weights * (part @ whole)).numpy()
            self._total[i] += n_rows * float(whole @ whole)
            is_there = np.diagonal(products) > 0
            both = is_there[:, None] & is_there
            self._n_compared[i] += both
            self._n_conflicts[i] += both & (products < 0)
        self._n_rows, self.n_batches = self._n_rows + n_rows, self.n_batches + 1

    def mean(self) -> GradientProducts:
        """Return the means over the rows."""
        n = max(self._n_rows, 1)
        means = self._between / n, self._with_total / n, self._total / n
        counts = self._n_conflicts, self._n_compared, self.n_batches
        return GradientProducts(self.reaches, *means, *counts, self.total_error)


def _gradient(value: Tensor, learned: Sequence[nn.Parameter]) -> Tensor:
    """Return the gradient as one row in float64; zeros where there is none."""
    found: Sequence[Tensor | None] = [None] * len(learned)
    if value.requires_grad:
        found = torch.autograd.grad(value, learned, retain_graph=True, allow_unused=True)
    parts = [
        torch.zeros_like(p).flatten() if d is None else d.flatten()
        for p, d in zip(learned, found, strict=True)
    ]
    return torch.cat(parts).double()


def _reached(
    raw: Sequence[Tensor], stages: Sequence[StageParameters], learned: Sequence[nn.Parameter]
) -> Mask:
    """Return which outputs autograd finds a way from to which stages, (n_stages, n_outputs)."""
    reaches = np.zeros((len(stages), len(raw)), dtype=bool)
    for k, tensor in enumerate(raw):
        if not tensor.requires_grad:
            continue
        found = torch.autograd.grad(tensor.sum(), learned, retain_graph=True, allow_unused=True)
        met = {id(p) for p, d in zip(learned, found, strict=True) if d is not None}
        reaches[:, k] = [any(id(p) in met for p in stage.learned) for stage in stages]
    return reaches


def _cosines(products: Floats, norms: Floats, others: Floats) -> Floats:
    both = norms * others
    cosines = np.divide(products, both, out=np.full(both.shape, np.nan), where=both > 0)
    return np.clip(cosines, -1, 1)
