"""The head for counts."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._arrays import as_columns
from mtlearn._typing import Array, Floats
from mtlearn.heads._base import TINY, Head, check_columns
from mtlearn.heads._scale import as_numbers, share_explained

__all__ = ["Count"]

LARGEST = 30.0


class Count(Head):
    r"""Predict how often something happens: one count, or several columns of counts.

    The raw output :math:`f` makes the rate :math:`\mu` in units of the mean count :math:`m`, and
    the loss of a count :math:`y` is half the Poisson deviance

    .. math:: \left(t \log \frac{t}{\mu} - t + \mu\right) / d, \qquad t = y / m, \; \mu = e^{s f}

    divided by the mean :math:`d` of that for the best constant, which is :math:`\mu = 1`. With
    :math:`s = \min(1, \sqrt{2 d})`, the loss is as steep for large counts, whose logarithms differ
    little, as for small ones. Each column has its own :math:`m`, :math:`d` and :math:`s`.
    Predictions are the rates :math:`m \mu`, which are positive. With ``normalize_losses=False`` of
    the estimator, :math:`m = d = s = 1`.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=()
        The sizes of this output's own hidden layers, between the trunk and the raw output.
    at : str or list of str, default=None
        The name of the trunk's layer to attach to, or of several, which are put side by side;
        None for the only one.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    unit_ : ndarray of shape (n_columns,)
        What each column is divided by, its weighted mean.
    varies_ : ndarray of shape (n_columns,), dtype=bool
        Which columns are not constant; the others take no part and are predicted as they are.
    deviance_ : ndarray of shape (n_columns,)
        The mean of half the deviance from the best constant, in each column.
    spread_ : ndarray of shape (n_columns,)
        What a raw output is multiplied by to be the logarithm of a rate.
    raw_shape_ : tuple of int
        ``()`` for a one-dimensional target, else ``(n_columns,)``.
    constant_raw_ : ndarray of shape ``raw_shape_``
        The raw output of the best constant prediction.
    baseline_ : float
        What each loss is divided by: 1, since the loss is divided by `deviance_` already.
    constant_loss_ : float
        The loss of the best constant.
    is_constant_ : bool
        Whether every column is constant.

    See Also
    --------
    mtlearn.heads.Regression : Numbers with a spread that does not grow with their mean.

    Notes
    -----
    Counts over times (or areas, or groups) of different size are learned as scikit-learn's
    `PoissonRegressor` does it: ``y = counts / exposure`` with ``sample_weight=exposure`` has the
    same optimum as a term for the exposure in the model. Hence labels may be any numbers of at
    least 0.

    Rates are at most :math:`e^{30}` times the mean, and at least :math:`e^{-30}` times it. Above
    :math:`s f = 30` the exponential in the loss goes on as a straight line, so that nothing
    overflows. The score is D2, the share of the best constant's deviance that predictions spare,
    averaged over the columns.

    References
    ----------
    Nelder and Wedderburn, "Generalized Linear Models", 1972.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import Count
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1))
    >>> hours = rng.integers(1, 10, 500)
    >>> visits = rng.poisson(hours * np.exp(1 + 0.5 * X[:, 0]))
    >>> net = MultiOutputNet(heads={"per_hour": Count()}, random_state=0)
    >>> net = net.fit(X, {"per_hour": visits / hours}, sample_weight=hours)
    >>> net.predict([[0.0]])["per_hour"].round()
    array([3.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {**Head._parameter_constraints}

    def __init__(
        self,
        *,
        hidden_layer_sizes: Sequence[int] = (),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the mean count and its deviance; see `Head.fit`."""
        counts, weight = as_columns(_counts(y, weight)), as_columns(weight)
        check_columns(weight)
        self.raw_shape_ = y.shape[1:]
        present = weight > 0
        lowest = np.where(present, counts, np.inf).min(axis=0)
        highest = np.where(present, counts, 0.0).max(axis=0)
        peak = np.where(highest > 0, highest, 1.0)  # sums of 1e308 overflow
        mean = np.average(counts / peak, axis=0, weights=weight) * peak
        alike = highest - lowest <= 10 * np.finfo(np.float64).eps * highest
        self.constant_ = np.where(alike, highest, mean)
        self.varies_ = ~alike | more_to_come
        self.is_constant_ = normalize and not self.varies_.any()
        if normalize:
            self.unit_ = np.where(mean > 0, mean, 1.0)
        else:
            self.unit_, self.varies_ = np.ones(len(mean)), np.ones(len(mean), dtype=bool)
        # Zeros so far may be followed by counts: as if one of a unit came next.
        expected = np.where(mean > 0, mean, self.unit_ / (1 + present.sum(axis=0)))
        deviance = np.average(
            _half_deviance(counts / self.unit_, mean / self.unit_), axis=0, weights=weight
        )
        is_scaled = normalize & ~alike & (deviance > 0)
        self.deviance_ = np.where(is_scaled, deviance, 1.0)
        self.spread_ = np.where(is_scaled, np.minimum(1.0, np.sqrt(2 * deviance)), 1.0)
        log_rate = np.clip(np.log(expected) - np.log(self.unit_), -LARGEST, LARGEST)
        self.constant_raw_ = (log_rate / self.spread_).reshape(self.raw_shape_)
        mass = weight.sum(axis=0) * self.varies_
        shares = mass / max(mass.sum(), TINY)
        loss = 1.0 if normalize and mass.any() else float(shares @ deviance)
        self.set_baseline(loss, normalize=normalize)
        return self

    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return the counts in units of their mean; see `Head.encode`."""
        counts = as_columns(_counts(y, weight)) / self.unit_
        return counts.reshape(y.shape), (as_columns(weight) * self.varies_).reshape(y.shape)

    def build_loss(self) -> nn.Module:
        """Return the deviance of each label; see `Head.build_loss`."""
        shape = self.raw_shape_
        return HalfDeviance(1 / self.deviance_.reshape(shape), self.spread_.reshape(shape))

    def decode(self, raw: Array) -> Array:
        """Return rates on the target's own scale; see `Head.decode`."""
        log_rate = np.clip(self.spread_ * as_columns(raw), -LARGEST, LARGEST).astype(np.float64)
        rates = np.where(self.varies_, self.unit_ * np.exp(log_rate), self.constant_)
        return rates.reshape(raw.shape)

    def score(self, y: Array, predicted: Array, weight: Floats) -> float:
        """Return D2 of the Poisson deviance, averaged over columns; see `Head.score`."""
        counts, rates = as_columns(_counts(y, weight)), as_columns(predicted)
        weight, scores = as_columns(weight), []
        for j in range(counts.shape[1]):
            rows = weight[:, j] > 0
            if not rows.any():
                continue
            labels, share = counts[rows, j], weight[rows, j]
            unit = labels.max() or 1.0
            labels, rate = labels / unit, rates[rows, j] / unit
            constant = labels[0] if np.ptp(labels) == 0 else np.average(labels, weights=share)
            losses = [
                float(np.average(_half_deviance(labels, of), weights=share))
                for of in (rate, np.full(len(labels), constant))
            ]
            scores.append(share_explained(*losses))
        return float(np.mean(scores))


class HalfDeviance(nn.Module):
    """Half the Poisson deviance of each label from the rate that its raw output makes.

    Shape: raw outputs and targets of shape (n_samples,) or (n_samples, n_columns), to that shape.

    Parameters
    ----------
    factor : ndarray of shape () or (n_columns,)
        What it is multiplied by.
    spread : ndarray of shape () or (n_columns,)
        What raw outputs are multiplied by.
    """

    factor: Tensor
    spread: Tensor

    def __init__(self, factor: Floats, spread: Floats) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))
        self.register_buffer("spread", torch.tensor(spread))

    def forward(self, raw: Tensor, target: Tensor) -> Tensor:
        log_rate = raw * self.spread
        beyond = (log_rate - LARGEST).clamp(min=0.0)
        log_rate = log_rate.clamp(max=LARGEST)
        ratio = log_rate - target.clamp(min=torch.finfo(target.dtype).tiny).log()
        # Close to the target a difference of its logarithms keeps the digits that count.
        near = target * (torch.expm1(ratio.clamp(max=1.0)) - ratio)
        far = log_rate.exp() - target * (1 + ratio)
        line = beyond * (torch.full_like(raw, LARGEST).exp() - target)
        return (torch.where(ratio < 1, near, far) + line) * self.factor


def _half_deviance(counts: Floats, rates: Floats) -> Floats:
    """Return half the Poisson deviance of each count; a rate of 0 is as good as the smallest."""
    ratio = np.log(np.maximum(counts, TINY)) - np.log(np.maximum(rates, TINY))
    return counts * ratio - counts + rates


def _counts(y: Array, weight: Floats) -> Floats:
    """Return floats, zero where a label has no weight."""
    counts = as_numbers(y, weight, "Count")
    if (counts < 0).any():
        raise ValueError(
            f"Count needs numbers of at least 0. Got {int((counts < 0).sum())} negative labels, "
            f"such as {counts.min():g}; use Regression for numbers of both signs."
        )
    return counts
