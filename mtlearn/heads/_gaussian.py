"""The head for a number and its spread."""

from collections.abc import Sequence
from math import log, pi
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from mtlearn._sklearn import Interval
from mtlearn._typing import Array, Floats
from mtlearn.heads._base import Head
from mtlearn.heads._scale import as_numbers, center_and_scale, check_one_column, weighted_r2

__all__ = ["Gaussian"]

ONE = float(np.log(np.expm1(1.0)))  # whose softplus is 1


class Gaussian(Head):
    r"""Predict the mean and the standard deviation of one number.

    The raw outputs :math:`f` and :math:`g` of a row are its mean and, behind a softplus, its
    standard deviation, in units of the target's own:

    .. math:: \sigma = \epsilon + \log\left(1 + e^{g + a}\right), \qquad a = \log(e - 1)

    with the least standard deviation :math:`\epsilon` of `min_std`; :math:`a` makes :math:`g = 0`
    a standard deviation of about 1. The loss of a label :math:`y` is its negative log-likelihood

    .. math:: \left(\frac{1}{2} \log(2 \pi) + \log \sigma + \frac{(t - f)^2}{2 \sigma^2}\right) / b,
              \qquad t = \frac{y - c}{s}

    with the weighted mean :math:`c` and standard deviation :math:`s` of the training labels, and
    the loss :math:`b` of the best constants, :math:`\frac{1}{2} \log(2 \pi e) \approx 1.42`.
    Predictions are :math:`c + s f`, their standard deviation :math:`s \sigma`. With
    ``normalize_losses=False`` of the estimator, :math:`c = 0` and :math:`s = b = 1`.

    Parameters
    ----------
    min_std : float, default=1e-3
        The least standard deviation, in those of the target: what keeps the likelihood of labels
        that are met exactly finite.
    hidden_layer_sizes : array-like of int, default=()
        The sizes of this output's own hidden layers, between the trunk and the raw output.
    at : str or list of str, default=None
        The name of the trunk's layer to attach to, or of several, which are put side by side;
        None for the only one.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    center_ : float
        What is subtracted from the labels.
    scale_ : float
        What the labels are divided by; 0 for a constant target, which is predicted as it is.
    raw_shape_ : tuple of int
        ``(2,)``.
    constant_raw_ : ndarray of shape (2,)
        The raw outputs of the best constants, the mean and standard deviation of all labels.
    baseline_ : float
        What each loss is divided by.
    constant_loss_ : float
        The loss of the best constants, divided by `baseline_`.
    is_constant_ : bool
        Whether the target is constant.

    See Also
    --------
    mtlearn.MultiOutputNet.predict_std : Gives the standard deviation.
    mtlearn.heads.Quantile : Quantiles, for what is not normal.

    Notes
    -----
    A log-density has no bound: the loss falls below 0 where labels are predicted to about a quarter
    of their standard deviation. 1.0 still means no better than a constant, and lower is better.

    ``predict`` gives the mean, and the score is R2 of it. Both numbers come from the same layers;
    the mean is learned more from rows with a small standard deviation, in proportion to
    :math:`1 / \sigma^2`, as in weighted least squares.

    References
    ----------
    Nix and Weigend, "Estimating the mean and variance of the target probability distribution",
    1994.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import Gaussian
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(500, 1))
    >>> y = {"price": 5 * X[:, 0] + np.where(X[:, 0] > 0, 2, 0.5) * rng.normal(size=500)}
    >>> net = MultiOutputNet(heads={"price": Gaussian()}, random_state=0).fit(X, y)
    >>> low, high = net.predict_std([[-0.9], [0.9]])["price"]
    >>> bool(low < 1 < high)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "min_std": [Interval(Real, 0, None, closed="neither")],
        **Head._parameter_constraints,
    }

    def __init__(
        self,
        min_std: float = 1e-3,
        *,
        hidden_layer_sizes: Sequence[int] = (),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.min_std = min_std
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the scale of the target; see `Head.fit`."""
        check_one_column(y, "Gaussian")
        values = as_numbers(y, weight, "Gaussian")
        center, scale, _ = center_and_scale(
            values[:, None], weight[:, None], more_to_come=more_to_come
        )
        self.raw_shape_ = (2,)
        self.center_, self.scale_ = float(center[0]), float(scale[0])
        self.is_constant_ = self.scale_ == 0 and normalize
        mean, std = (0.0, 1.0) if normalize else (self.center_, self.scale_)
        if not normalize:
            self.center_, self.scale_ = 0.0, 1.0
        least = float(self.min_std)
        best = max(std - least, least * 1e-3)
        self.constant_raw_ = np.array([mean, best + np.log(-np.expm1(-best)) - ONE])
        found = least + best
        loss = 0.5 * log(2 * pi) + np.log(found) + 0.5 * (std / found) ** 2
        self.set_baseline(loss, normalize=normalize)
        return self

    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return the standardised target; see `Head.encode`."""
        check_one_column(y, "Gaussian")
        target = (as_numbers(y, weight, "Gaussian") - self.center_) / (self.scale_ or 1.0)
        return np.where(weight > 0, target, 0.0), weight * (self.scale_ > 0)

    def build_loss(self) -> nn.Module:
        """Return the negative log-likelihood of each label; see `Head.build_loss`."""
        return GaussianLoss(float(self.min_std))

    def decode(self, raw: Array) -> Array:
        """Return the means; see `Head.decode`."""
        return self.center_ + self.scale_ * raw[:, 0].astype(np.float64)

    def decode_std(self, raw: Array) -> Array:
        """Return the standard deviations for raw outputs, of the shape of the predictions."""
        softplus = np.logaddexp(0.0, raw[:, 1].astype(np.float64) + ONE)
        return self.scale_ * (float(self.min_std) + softplus)

    def score(self, y: Array, predicted: Array, weight: Floats) -> float:
        """Return R2 of the means; see `Head.score`."""
        return weighted_r2(as_numbers(y, weight, "Gaussian"), predicted, weight)


class GaussianLoss(nn.Module):
    """The negative log-likelihood of each label; raw outputs (n_samples, 2), targets (n_samples,).

    Parameters
    ----------
    min_std : float
        The least standard deviation.
    """

    def __init__(self, min_std: float) -> None:
        super().__init__()
        self.min_std = min_std

    def forward(self, raw: Tensor, target: Tensor) -> Tensor:
        std = self.min_std + F.softplus(raw[:, 1] + ONE)
        return 0.5 * log(2 * pi) + std.log() + 0.5 * ((target - raw[:, 0]) / std).square()
