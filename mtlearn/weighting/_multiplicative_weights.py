"""Weights that fall with the losses: the Hedge algorithm."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from mtlearn._sklearn import Interval
from mtlearn._typing import Floats, Mask
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = ["MultiplicativeWeigher", "MultiplicativeWeights"]


class MultiplicativeWeights(Weighting):
    r"""Hedge: the weight of each loss falls by a factor of it in every step.

    Each step multiplies the weight of loss k by :math:`\exp(-\eta \min(L_k, c))`, divides all by
    their sum, raises those below :math:`s / K` to it, and divides again. The factors are K times
    these weights, which begin as 1 / K each.

    It is made for several predictions of one target, such as those of the layers of a
    `mtlearn.trunks.Hedge`: the best one gets the weight. Of different targets it leaves the one
    with the largest loss unlearned.

    Parameters
    ----------
    rate : float, default=0.2
        The learning rate :math:`\eta`; :math:`-\log \beta` in the terms of the papers.
    floor : float, default=0.001
        The least weight s, as a share of the mean weight, in [0, 1].
    clip : float, default=5.0
        The largest loss c that counts.
    sleeping : bool, default=True
        Whether experts that are absent from a row, as those of a `mtlearn.trunks.AuxNet` whose
        feature is, keep their weight, and the others fall within what they have together. False
        counts an absence as no loss, as Agarwal et al. do, so that who is rarely there gains.

    Notes
    -----
    Of K experts and T steps the total loss is at most :math:`\sqrt{T \log K / 2}` times `clip`
    above that of the best one, with the best fixed rate. Sahoo et al. have ``rate=0.01`` (a factor
    of 0.99 for a loss of 1), ``floor=0.2`` and losses in [0, 1]; the defaults here follow changes
    faster and measured better on eight streams.

    References
    ----------
    Freund and Schapire, "A Decision-Theoretic Generalization of On-Line Learning and an Application
    to Boosting", 1997; Freund, Schapire, Singer and Warmuth, "Using and combining predictors that
    specialize", 1997 (`sleeping`); Sahoo et al., "Online Deep Learning: Learning Deep Neural
    Networks on the Fly", 2018 (the floor); Agarwal et al., "Auxiliary Network: Scalable and Agile
    Online Learning for Dynamic System with Inconsistently Available Inputs", 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn.weighting import MultiplicativeWeights
    >>> weigher = MultiplicativeWeights(rate=0.5).begin(np.ones(2), main=None, seed=0)
    >>> for _ in range(4):
    ...     factors = weigher.factors(np.array([1.0, 2.0]), None)
    >>> weigher.weights.round(2)
    array([0.88, 0.12])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "rate": [Interval(Real, 0, None, closed="left")],
        "floor": [Interval(Real, 0, 1, closed="both")],
        "clip": [Interval(Real, 0, None, closed="neither")],
        "sleeping": ["boolean"],
    }

    def __init__(
        self,
        rate: float = 0.2,
        *,
        floor: float = 0.001,
        clip: float = 5.0,
        sleeping: bool = True,
    ) -> None:
        self.rate = rate
        self.floor = floor
        self.clip = clip
        self.sleeping = sleeping

    def begin(
        self,
        weights: Floats,
        main: int | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> "MultiplicativeWeigher":
        """Return equal weights."""
        return MultiplicativeWeigher(
            len(weights), self.rate, self.floor, self.clip, sleeping=self.sleeping
        )


class MultiplicativeWeigher(Weigher):
    """The weights after some steps.

    Attributes
    ----------
    weights : ndarray of shape (n_outputs,)
        The weights, whose sum is 1.
    """

    def __init__(
        self, n_outputs: int, rate: float, floor: float, clip: float, *, sleeping: bool
    ) -> None:
        super().__init__(n_outputs)
        self.sleeping = bool(sleeping)
        self.rate, self.floor, self.clip = float(rate), float(floor), float(clip)
        self.weights = np.full(n_outputs, 1.0 / max(n_outputs, 1))

    def factors(self, losses: Floats, products: Floats | None) -> Floats:  # noqa: ARG002
        """Return the weights before the step, times their number; then let them fall."""
        found = self.n_outputs * self.weights
        self._learn_some(losses, losses > 0)  # the others have no labels
        return found

    def learn(self, losses: Floats, present: Mask | None = None) -> None:
        """Let the weights fall with the losses of several rows, of those present in each.

        Parameters
        ----------
        losses : ndarray of shape (n_samples, n_outputs)
            The losses.
        present : ndarray of shape (n_samples, n_outputs), default=None
            Which of them took part; None for all.
        """
        if present is None:
            total = np.minimum(losses, self.clip).sum(axis=0)
            self.weights = self._fallen(self.weights, total)
        elif self.sleeping:
            for of_row, there in zip(losses, present, strict=True):
                self._learn_some(of_row, there)
        else:
            total = np.where(present, np.minimum(losses, self.clip), 0.0).sum(axis=0)
            self.weights = self._fallen(self.weights, total)

    def _learn_some(self, losses: Floats, there: Mask) -> None:
        """Let some weights fall, within what they have together."""
        if not self.weights[there].any():  # nobody is there, or weights that fell to 0
            return
        before = self.weights[there]
        weights = self.weights.copy()
        weights[there] = before.sum() * self._fallen(
            before / before.sum(), np.minimum(losses[there], self.clip)
        )
        self.weights = weights

    def _fallen(self, weights: Floats, losses: Floats) -> Floats:
        """Return weights after losses: their sum is 1 before and after."""
        shrunk = weights * np.exp(-self.rate * (losses - losses[weights > 0].min()).clip(0.0))
        shrunk = np.maximum(shrunk / shrunk.sum(), self.floor / len(weights))
        return shrunk / shrunk.sum()

    def widen(self, n_outputs: int) -> None:
        """Add experts, each with an equal share of the whole."""
        new = np.full(n_outputs - self.n_outputs, 1.0 / n_outputs)
        self.weights = np.concatenate([self.weights * (1 - new.sum()), new])
        self.n_outputs = n_outputs
