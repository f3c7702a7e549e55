"""A weighting at work: from the losses of a step to the weights that it is made with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._typing import Floats
from mtlearn.weighting import Weigher, Weighting

__all__ = ["Weighing", "as_floats", "backward_each", "shared_parameters"]


class Weighing:
    """Weights that change: by schedules, and by a strategy.

    Parameters
    ----------
    weights_at : callable
        Takes an epoch, counted from 0, to the weight of each output by ``loss_weights``.
    names : sequence of str
        The outputs that are trained.
    weighting : Weighting or None
        The strategy, if there is one.
    weigher : Weigher or None
        Its state.

    Attributes
    ----------
    weigher : Weigher or None
        The state, which goes on from fit to fit.
    sees_steps, sees_gradients, sees_step_results : bool
        What the strategy depends on; see `Weighting`.
    """

    def __init__(
        self,
        weights_at: Callable[[int], Mapping[str, float]],
        names: Sequence[str],
        weighting: Weighting | None = None,
        weigher: Weigher | None = None,
    ) -> None:
        self.weigher, self._names, self._weights_at = weigher, list(names), weights_at
        self.sees_steps = weighting is not None and weighting.sees_steps
        self.sees_gradients = weighting is not None and weighting.sees_gradients
        self.sees_step_results = weighting is not None and weighting.sees_step_results
        self._base = np.ones(len(self._names))
        self._given: list[tuple[int, Floats, Floats]] = []
        self._shared: tuple[list[int], set[nn.Parameter]] = [], set()

    def begin_epoch(self, epoch: int) -> dict[str, float]:
        """Return the weights to begin an epoch with, counted from 0."""
        base = dict(self._weights_at(epoch))
        self._base = np.array([base[name] for name in self._names])
        self._given = []
        if self.weigher is None or self.sees_steps:
            return base
        factors = self.weigher.factors(self._base, None)
        return base | dict(zip(self._names, (factors * self._base).tolist(), strict=True))

    def factors(self, losses: Floats, n_rows: int, products: Tensor | None = None) -> Floats:
        """Return what to multiply the weights by in a step, and take note of it.

        Parameters
        ----------
        losses : ndarray of shape (n_outputs,)
            The losses of the batch.
        n_rows : int
            The number of its rows.
        products : Tensor of shape (n_outputs, n_outputs), default=None
            The scalar products of the gradients of the weighted losses.
        """
        between = None if products is None else products.double().cpu().numpy()
        assert self.weigher is not None
        factors = self.weigher.factors(losses, between)
        self._given.append((n_rows, losses, factors * self._base))
        return factors

    def factors_of(self, losses: Tensor, n_rows: int, products: Tensor | None = None) -> Tensor:
        """Return the factors for losses of autograd as a tensor of their type."""
        return torch.as_tensor(self.factors(as_floats(losses), n_rows, products)).to(losses)

    def shared(self, module: Any, X: Any, learned: Sequence[nn.Parameter]) -> set[nn.Parameter]:
        """Return what outputs share of what learns; it is found once, as it stays the same."""
        ids = [*map(id, learned)]
        if self._shared[0] != ids:
            self._shared = ids, shared_parameters(module, X)
        return self._shared[1]

    def end_step(self, after: Callable[[], Floats]) -> None:
        """Tell of a step, whose losses after it are computed if they are asked for."""
        assert self.weigher is not None
        self.weigher.end_step(self._given[-1][1], after)

    def end_epoch(self, losses: Sequence[float]) -> dict[str, float]:
        """Tell of an epoch; return the weights that its losses had, if they changed meanwhile.

        Of weights that change, it is the mean by what they weighed: the sum of weight times loss
        over the sum of losses.
        """
        if self.weigher is not None:
            self.weigher.end_epoch(np.array(losses))
        if not self._given:
            return {}
        shares = np.array([n_rows for n_rows, _, _ in self._given], dtype=np.float64)
        shares /= shares.sum()
        of_steps, weights = (np.stack([given[i] for given in self._given]) for i in (1, 2))
        means, sums = shares @ weights, shares @ of_steps
        weighed = np.divide(shares @ (of_steps * weights), sums, out=means, where=sums != 0)
        return dict(zip(self._names, weighed.tolist(), strict=True))


def as_floats(losses: Tensor) -> Floats:
    """Return losses as numpy's floats."""
    return losses.detach().double().cpu().numpy()


def shared_parameters(module: Any, X: Any) -> set[nn.Parameter]:
    """Return the parameters of a network's trunk that several outputs train.

    Parameters
    ----------
    module : MultiOutputModule
        The network.
    X : Tensor or dict of str to Tensor
        Some rows.
    """
    learned = [p for p in module.trunk.parameters() if p.requires_grad]
    if not learned:
        return set()
    training = {part: part.training for part in module.modules()}
    module.eval()
    with torch.enable_grad():
        raw = module(X)
        n_reached = np.zeros(len(learned), dtype=int)
        for tensor in raw.values():
            if tensor.requires_grad:
                found = torch.autograd.grad(
                    tensor.sum(), learned, retain_graph=True, allow_unused=True
                )
                n_reached += [gradient is not None for gradient in found]
    for part, was in training.items():
        part.training = was
    return {p for p, n in zip(learned, n_reached, strict=True) if n > 1}


def backward_each(
    weighing: Weighing,
    module: Any,
    X: Any,
    losses: Tensor,
    weights: Tensor,
    penalty: Tensor | float,
    parameters: Sequence[nn.Parameter],
) -> Tensor:
    """Write the gradients of a step that a weighting combines; return its factors.

    Parameters
    ----------
    weighing : Weighing
        What combines the gradients of the outputs' losses for what they share.
    module : MultiOutputModule
        The network.
    X : Tensor or dict of str to Tensor
        The rows of the batch.
    losses : Tensor of shape (n_outputs,)
        Their losses, with the graph of autograd.
    weights : Tensor of shape (n_outputs,)
        The weights.
    penalty : Tensor or float
        The penalty, whose gradient is added.
    parameters : sequence of torch.nn.Parameter
        All that learn.
    """
    shared = weighing.shared(module, X, parameters)
    of_outputs = [
        torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        if loss.requires_grad
        else [None] * len(parameters)
        for loss in losses * weights
    ]
    gradients = torch.stack(
        [
            torch.cat(
                [
                    losses.new_zeros(1),
                    *(
                        (torch.zeros_like(p) if d is None else d).flatten()
                        for p, d in zip(parameters, of_output, strict=True)
                        if p in shared
                    ),
                ]
            )
            for of_output in of_outputs
        ]
    )
    n_rows = len(X if isinstance(X, Tensor) else next(iter(X.values())))
    factors = weighing.factors_of(losses, n_rows, gradients @ gradients.mT)
    for parameter, of_parameter in zip(parameters, zip(*of_outputs, strict=True), strict=True):
        parts = [
            d * factors[k] if parameter in shared else d
            for k, d in enumerate(of_parameter)
            if d is not None
        ]
        parameter.grad = torch.stack(parts).sum(0) if parts else None
    if isinstance(penalty, Tensor):
        penalty.backward()
    return factors
