"""The linear heads of one output, one for each expert of the trunk, and their steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.linalg import blas, lapack

from mtlearn._typing import Array, Floats

__all__ = ["ExpertHeads", "Sources"]

# Of what raw outputs are made: the position of one there was and a factor; None for a new one.
Sources: TypeAlias = list[tuple[int, float] | None]

BIAS_VARIANCE = 5.0


@dataclass
class Stack:
    """Heads of experts that are equally wide, as one array each.

    Parameters
    ----------
    experts : ndarray of shape (n_here,)
        Their positions among all.
    weights : ndarray of shape (n_here, n_raw, 1 + width)
        The weights of the bias and of the features.
    covariance : ndarray of shape (n_here, n_raw, 1 + width, 1 + width) or None
        What second-order steps multiply gradients by; None for first-order ones.
    prior : ndarray of shape (n_here, 1 + width)
        The variances that the weights of a head begin with.
    gradient : ndarray of the shape of `weights` or None
        For the next first-order step.
    """

    experts: Array
    weights: Floats
    covariance: Floats | None
    prior: Floats
    gradient: Floats | None = None


class ExpertHeads:
    r"""A linear map from each expert's features to the raw outputs.

    They begin as zeros. A second-order step is that of a Gaussian posterior with the mean w and the
    covariance P, at a label with the slope g and the curvature c of its loss:

    .. math:: P' = P - \frac{c P x x^\top P}{1 + c x^\top P x}, \qquad w' = w - g P' x

    which is recursive least squares where the loss is a squared error. Several
    rows make one step. P begins as the identity times the variance of the expert, and 5 for the
    bias.

    Parameters
    ----------
    widths : sequence of int
        The number of features of each expert.
    variances : sequence of float
        The variance that the weights of each expert begin with.
    n_raw : int
        The number of raw outputs.
    second_order : bool
        Whether the heads make second-order steps; else an optimizer makes theirs.
    forgetting : float
        What the information is multiplied by before each row: 1 for none lost.
    """

    def __init__(
        self,
        widths: Sequence[int],
        variances: Sequence[float],
        n_raw: int,
        *,
        second_order: bool,
        forgetting: float,
    ) -> None:
        self.second_order, self.forgetting, self.n_raw = second_order, forgetting, n_raw
        self.widths: list[int] = []
        self.variances: list[float] = []
        self.stacks: list[Stack] = []
        self._arrange(list(widths), list(variances), {})

    def inputs(self, features: Sequence[Floats]) -> list[Floats]:
        """Return the features of each stack, of shape (n_here, n_rows, 1 + width), a 1 first."""
        found = []
        for stack in self.stacks:
            rows = np.ones((len(stack.experts), len(features[0]), stack.weights.shape[2]))
            for i, expert in enumerate(stack.experts):
                rows[i, :, 1:] = features[expert]
            found.append(rows)
        return found

    def raw(self, inputs: Sequence[Floats]) -> Floats:
        """Return the raw outputs, of shape (n_experts, n_rows, n_raw)."""
        found = np.empty((len(self.widths), inputs[0].shape[1], self.n_raw))
        for stack, rows in zip(self.stacks, inputs, strict=True):
            found[stack.experts] = rows @ stack.weights.transpose(0, 2, 1)
        return found

    def feature_gradients(self, slopes: Floats) -> list[Floats]:
        """Return the derivatives by the features of each expert, given those by the raw outputs.

        Shape: (n_experts, n_rows, n_raw) to (n_rows, width) for each expert.
        """
        found: list[Floats] = [np.empty(0)] * len(self.widths)
        for stack in self.stacks:
            products = slopes[stack.experts] @ stack.weights[:, :, 1:]
            for i, expert in enumerate(stack.experts):
                found[expert] = products[i]
        return found

    def set_gradients(self, inputs: Sequence[Floats], slopes: Floats) -> None:
        """Set the derivatives by the weights of each stack, for an optimizer."""
        for stack, rows in zip(self.stacks, inputs, strict=True):
            stack.gradient = slopes[stack.experts].transpose(0, 2, 1) @ rows

    def learn(self, inputs: Sequence[Floats], slopes: Floats, curvatures: Floats) -> None:
        """Make a second-order step; a label without weight has the slope and the curvature 0."""
        for stack, rows in zip(self.stacks, inputs, strict=True):
            assert stack.covariance is not None
            g, c = slopes[stack.experts], curvatures[stack.experts]
            if self.forgetting < 1.0:
                self._forget(stack, rows.shape[1])
            if rows.shape[1] == 1:
                _one_row(stack.weights, stack.covariance, rows[:, 0], g[:, 0], c[:, 0])
            else:
                _many_rows(stack.weights, stack.covariance, rows, g, c)

    def widen(self, widths: Sequence[int], variances: Sequence[float]) -> None:
        """Take more features and more experts, each behind those there are."""
        self._arrange(list(widths), list(variances), self._by_expert())

    def rescale(self, factor: Floats, shift: Floats) -> None:
        """Map the raw outputs to ``factor * raw + shift``."""
        for stack in self.stacks:
            stack.weights *= factor[:, None]
            stack.weights[:, :, 0] += shift

    def reshape(self, sources: Sources, bias: float) -> None:
        """Make the raw outputs out of multiples of those there are, and of new ones.

        Parameters
        ----------
        sources : list of (int, float) or None
            For each, the position to take and what to multiply it by; None for a new one.
        bias : float
            What a new one is, before it learns.
        """
        kept = self._by_expert()
        self.n_raw = len(sources)
        fresh = ExpertHeads(
            self.widths,
            self.variances,
            self.n_raw,
            second_order=self.second_order,
            forgetting=self.forgetting,
        )
        for stack in fresh.stacks:
            for i, expert in enumerate(stack.experts):
                weights, covariance = kept[int(expert)]
                for j, source in enumerate(sources):
                    if source is None:
                        stack.weights[i, j, 0] = bias
                        continue
                    stack.weights[i, j] = source[1] * weights[source[0]]
                    if stack.covariance is not None and covariance is not None:
                        stack.covariance[i, j] = covariance[source[0]]
        self.stacks = fresh.stacks

    def _arrange(
        self,
        widths: list[int],
        variances: list[float],
        kept: dict[int, tuple[Floats, Floats | None]],
    ) -> None:
        """Put heads of the same width side by side, those kept with what they have learned."""
        self.widths, self.variances, self.stacks = widths, variances, []
        for width in sorted(set(widths)):
            experts = np.flatnonzero(np.array(widths) == width)
            shape = (len(experts), self.n_raw, 1 + width)
            prior = np.full((len(experts), 1 + width), BIAS_VARIANCE)
            prior[:, 1:] = np.array(variances)[experts, None]
            stack = Stack(experts, np.zeros(shape), None, prior)
            if self.second_order:
                stack.covariance = np.zeros((*shape, 1 + width))
                here = np.arange(1 + width)
                stack.covariance[..., here, here] = prior[:, None]
            for i, expert in enumerate(experts):
                if int(expert) in kept:
                    weights, covariance = kept[int(expert)]
                    n = weights.shape[1]
                    stack.weights[i, :, :n] = weights
                    if stack.covariance is not None:
                        stack.covariance[i, :, :n, :n] = covariance
            self.stacks.append(stack)

    def _by_expert(self) -> dict[int, tuple[Floats, Floats | None]]:
        return {
            int(expert): (
                stack.weights[i],
                None if stack.covariance is None else stack.covariance[i],
            )
            for stack in self.stacks
            for i, expert in enumerate(stack.experts)
        }

    def _forget(self, stack: Stack, n_rows: int) -> None:
        """Let the covariance grow, up to the one it began with.

        What rounding makes of it that is not symmetric would grow too, row by row.
        """
        assert stack.covariance is not None
        stack.covariance += stack.covariance.transpose(0, 1, 3, 2).copy()
        stack.covariance *= 0.5 / self.forgetting**n_rows
        variances = np.diagonal(stack.covariance, axis1=2, axis2=3)
        shrink = np.sqrt(np.minimum(1.0, stack.prior[:, None] / variances))
        stack.covariance *= shrink[..., None] * shrink[..., None, :]


def _one_row(w: Floats, p: Floats, x: Floats, g: Floats, c: Floats) -> None:
    """Make the step of one row, in place."""
    px = np.matmul(p, x[:, None, :, None])[..., 0]
    f = 1.0 / (1.0 + c * (px * x[:, None]).sum(-1))
    w -= (g * f)[..., None] * px
    for place, factor in np.ndenumerate(c * f):
        p[place] = blas.dger(-factor, px[place], px[place], a=p[place].T, overwrite_a=1).T


def _many_rows(w: Floats, p: Floats, x: Floats, g: Floats, c: Floats) -> None:
    """Make one step of several rows, in place.

    With A the rows times the roots of c, and L the Cholesky factor of I + A P A', the covariance
    falls by U'U, where U = L^-1 A P.
    """
    roots = np.sqrt(c).transpose(0, 2, 1)[..., None]
    rows = roots * x[:, None]
    u = rows @ p
    inner = u @ rows.transpose(0, 1, 3, 2)
    n = np.arange(x.shape[1])
    inner[..., n, n] += 1.0
    for place in np.ndindex(c.shape[0], c.shape[2]):
        factor = lapack.dpotrf(inner[place].T, lower=1, overwrite_a=1)[0]
        u[place] = blas.dtrsm(1.0, factor, u[place].T, side=1, lower=1, trans_a=1, overwrite_b=1).T
    p -= u.transpose(0, 1, 3, 2) @ u
    w -= (p @ (g.transpose(0, 2, 1) @ x)[..., None])[..., 0]
