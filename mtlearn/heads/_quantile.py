"""The head for quantiles of a number."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.metrics import mean_pinball_loss
from torch import Tensor, nn
from torch.nn import functional as F

from mtlearn._arrays import as_columns
from mtlearn._sklearn import Interval
from mtlearn._typing import Array, ArrayLike, Floats
from mtlearn.heads._base import TINY, Head
from mtlearn.heads._scale import as_numbers, center_and_scale, check_one_column, share_explained

__all__ = ["Quantile"]

LEAST_GAP = 0.01
CLOSED = -40.0


class Quantile(Head):
    r"""Predict quantiles of one number: the median, or an interval that holds most of the labels.

    For quantiles :math:`q_1 < \dots < q_m` the raw outputs :math:`f_1, \dots, f_m` make the values

    .. math:: v_1 = a_1 + f_1, \qquad v_j = v_{j-1} + \log\left(1 + e^{a_j + f_j}\right)

    which never cross. The constants :math:`a_j` are such that raw outputs of 0 are the quantiles of
    all labels (with gaps of at least 0.01). The loss of a label :math:`y` is the pinball loss,
    averaged over the quantiles,

    .. math:: \frac{1}{m b} \sum_j \max\left(q_j (t - v_j), (q_j - 1) (t - v_j)\right),
              \qquad t = \frac{y - c}{s}

    with the weighted mean :math:`c` and standard deviation :math:`s` of the training labels, and
    the loss :math:`b` of the best constants, the quantiles of all labels. Predictions are mapped
    back: :math:`c + s v_j`. With ``normalize_losses=False`` of the estimator, :math:`c = 0` and
    :math:`s = b = 1`.

    Parameters
    ----------
    quantiles : float or array-like of float, default=(0.1, 0.5, 0.9)
        The quantiles, in (0, 1) and each once, in the order that the columns of predictions shall
        have.
    hidden_layer_sizes : array-like of int, default=()
        The sizes of this output's own hidden layers, between the trunk and the raw output.
    at : str or list of str, default=None
        The name of the trunk's layer to attach to, or of several, which are put side by side;
        None for the only one.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    quantiles_ : ndarray of shape (n_quantiles,)
        The quantiles, in the order of the columns of predictions.
    center_ : float
        What is subtracted from the labels.
    scale_ : float
        What the labels are divided by; 0 for a constant target, which is predicted as it is.
    start_ : ndarray of shape (n_quantiles,)
        The constants :math:`a_j`.
    raw_shape_ : tuple of int
        ``()`` for one quantile, else ``(n_quantiles,)``.
    constant_raw_ : ndarray of shape ``raw_shape_``
        The raw output of the best constants.
    baseline_ : float
        What each loss is divided by; there is no least value, as extreme quantiles have small
        losses.
    constant_loss_ : float
        The loss of the best constants, divided by `baseline_`.
    is_constant_ : bool
        Whether the target is constant.

    See Also
    --------
    mtlearn.heads.Gaussian : The mean and the standard deviation.
    mtlearn.heads.Regression : One number; the median with ``loss="absolute_error"``.

    Notes
    -----
    ``predict`` gives an array of shape (n_samples,) for one quantile, else of shape
    (n_samples, n_quantiles). The score is D2, the share of the best constants' pinball loss that
    predictions spare, averaged over the quantiles: each counts as much as any other, though their
    losses are of different size.

    References
    ----------
    Koenker and Bassett, "Regression Quantiles", 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import Quantile
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(1, 2, size=(400, 1))
    >>> y = {"price": 10 * X[:, 0] + rng.normal(size=400)}
    >>> net = MultiOutputNet(heads={"price": Quantile([0.1, 0.9])}, random_state=0).fit(X, y)
    >>> low, high = net.predict(X)["price"].T
    >>> bool(0.7 < np.mean((low < y["price"]) & (y["price"] < high)) < 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "quantiles": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        **Head._parameter_constraints,
    }

    def __init__(
        self,
        quantiles: float | ArrayLike = (0.1, 0.5, 0.9),
        *,
        hidden_layer_sizes: Sequence[int] = (),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.quantiles = quantiles
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def check_params(self) -> None:
        """Raise for a parameter outside its constraints, and for bad quantiles among several."""
        super().check_params()
        self._find_quantiles()

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the scale and the quantiles of all labels; see `Head.fit`."""
        check_one_column(y, "Quantile")
        values = as_numbers(y, weight, "Quantile")
        self.quantiles_ = self._find_quantiles()
        self.raw_shape_ = () if len(self.quantiles_) == 1 else (len(self.quantiles_),)
        center, scale, is_guessed = center_and_scale(
            values[:, None], weight[:, None], more_to_come=more_to_come
        )
        self.center_, self.scale_ = float(center[0]), float(scale[0])
        self.is_constant_ = self.scale_ == 0 and normalize
        if not normalize:
            self.center_, self.scale_ = 0.0, 1.0
        present = weight > 0
        target, share = self._standardize(values[present]), weight[present]
        levels = np.sort(self.quantiles_)
        best = np.quantile(target, levels, weights=share, method="inverted_cdf")
        gaps = np.diff(best)
        self.start_ = np.concatenate([best[:1], _inverse_softplus(np.maximum(gaps, LEAST_GAP))])
        raw = np.concatenate([best[:1], _inverse_softplus(gaps)]) - self.start_
        self.constant_raw_ = raw.reshape(self.raw_shape_)
        pairs = zip(levels, best, strict=True)
        losses = [_pinball(target, np.full(len(target), v), share, q) for q, v in pairs]
        baseline = 1.0 if is_guessed else float(np.mean(losses))
        self.set_baseline(baseline, normalize=normalize, floor=TINY)
        return self

    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return the standardised target; see `Head.encode`."""
        check_one_column(y, "Quantile")
        target = self._standardize(as_numbers(y, weight, "Quantile"))
        return np.where(weight > 0, target, 0.0), weight * (self.scale_ > 0)

    def build_loss(self) -> nn.Module:
        """Return the pinball loss of each label; see `Head.build_loss`."""
        return PinballLoss(np.sort(self.quantiles_), self.start_)

    def decode(self, raw: Array) -> Array:
        """Return the quantiles, of shape (n_samples,) or (n_samples, n_quantiles)."""
        values = as_columns(raw).astype(np.float64) + self.start_
        values[:, 1:] = np.logaddexp(0.0, values[:, 1:])
        values = self.center_ + self.scale_ * values.cumsum(axis=1)
        ranks = np.argsort(np.argsort(self.quantiles_))
        return values[:, ranks].reshape(raw.shape)

    def constant_label(self) -> Array:
        """Return the lowest of the best constants, of shape (1,); see `Head.constant_label`."""
        return as_columns(super().constant_label()).min(axis=1)

    def score(self, y: Array, predicted: Array, weight: Floats) -> float:
        """Return D2 of the pinball loss, averaged over the quantiles; see `Head.score`."""
        present = weight > 0
        labels, share = as_numbers(y, weight, "Quantile")[present], weight[present]
        scores = []
        for q, column in zip(self.quantiles_, as_columns(predicted)[present].T, strict=True):
            best = np.quantile(labels, q, weights=share, method="inverted_cdf")
            constant_loss = _pinball(labels, np.full(len(labels), best), share, q)
            scores.append(share_explained(_pinball(labels, column, share, q), constant_loss))
        return float(np.mean(scores))

    def _standardize(self, values: Floats) -> Floats:
        return (values - self.center_) / (self.scale_ or 1.0)

    def _find_quantiles(self) -> Floats:
        try:
            quantiles = np.atleast_1d(np.asarray(self.quantiles, dtype=np.float64))
            inside = bool(((quantiles > 0) & (quantiles < 1)).all())
        except (TypeError, ValueError):
            quantiles, inside = np.empty(0), False
        if not inside or quantiles.ndim != 1 or not 0 < len(np.unique(quantiles)) == quantiles.size:
            raise ValueError(
                f"`quantiles` must be a number in (0, 1) or several different ones. Got "
                f"{self.quantiles!r}."
            )
        return quantiles


class PinballLoss(nn.Module):
    """The mean pinball loss of each label.

    Shape: raw outputs (n_samples,) or (n_samples, n_quantiles), and targets (n_samples,), to
    (n_samples,).

    Parameters
    ----------
    quantiles : ndarray of shape (n_quantiles,)
        The quantiles, which rise.
    start : ndarray of shape (n_quantiles,)
        What is added to raw outputs.
    """

    quantiles: Tensor
    start: Tensor

    def __init__(self, quantiles: Floats, start: Floats) -> None:
        super().__init__()
        self.register_buffer("quantiles", torch.tensor(quantiles))
        self.register_buffer("start", torch.tensor(start))

    def forward(self, raw: Tensor, target: Tensor) -> Tensor:
        parts = raw.reshape(len(target), len(self.start)) + self.start
        values = torch.cat([parts[:, :1], F.softplus(parts[:, 1:])], 1).cumsum(1)
        error = target[:, None] - values
        return torch.maximum(self.quantiles * error, (self.quantiles - 1) * error).mean(1)


def _pinball(y: Floats, predicted: Floats, weight: Floats, quantile: float) -> float:
    return float(mean_pinball_loss(y, predicted, sample_weight=weight, alpha=quantile))


def _inverse_softplus(gaps: Floats) -> Floats:
    """Return what gives the gaps behind a softplus; for 0 what is near enough."""
    return np.maximum(gaps + np.log(-np.expm1(-np.maximum(gaps, TINY))), CLOSED)
