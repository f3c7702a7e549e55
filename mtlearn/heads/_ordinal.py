"""The head for one label out of several ordered classes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlearn._layers import dense
from mtlearn._sklearn import StrOptions
from mtlearn._typing import Array, ArrayLike, Floats
from mtlearn.heads._base import TINY, Head
from mtlearn.heads._classification import Classification

__all__ = ["Ordinal"]

LEAST_GAP = 1e-6
LEAST_SHARE = 1e-3


class Ordinal(Classification):
    r"""Predict one of several ordered classes, such as grades or stages.

    The proportional odds model: a single number, the score :math:`f` of a row, is compared with
    thresholds :math:`\theta_1 < \dots < \theta_{K-1}` between the :math:`K` classes. The raw
    outputs are the log-odds of a class above the :math:`k`-th,

    .. math:: r_k = f - \theta_k, \qquad P(y > k) = \sigma(r_k), \qquad
              \theta_k = \theta_1 + \sum_{j=2}^{k} \log(1 + e^{d_j})

    with :math:`\sigma(r) = 1 / (1 + e^{-r})`. The score is that of the output's layers; the first
    threshold :math:`\theta_1` and the numbers :math:`d_j` behind the gaps are learned, from the
    class frequencies on. Gaps are positive, so the probabilities of "above" always fall with
    :math:`k`. The loss of a label of class :math:`k` is

    .. math:: -\log\left(P(y > k - 1) - P(y > k)\right) / b, \qquad P(y > 0) = 1, \; P(y > K) = 0

    with the classes counted from 1 and the loss :math:`b` of the best constant: the entropy of the
    weighted class frequencies, at least 0.05. With two classes it is `Classification`.

    Parameters
    ----------
    classes : array-like of shape (n_classes,), default=None
        All classes, from the lowest to the highest. None for the sorted classes of the labels,
        where these are numbers or only two: the alphabet is seldom the order of words.
    class_weight : dict or "balanced", default=None
        Weights of the classes, multiplied into the sample weights; a class that the dict leaves
        out has 1. "balanced" makes the total weights of all classes equal.
    hidden_layer_sizes : array-like of int, default=()
        The sizes of this output's own hidden layers, between the trunk and the score.
    at : str or list of str, default=None
        The name of the trunk's layer to attach to, or of several, which are put side by side;
        None for the only one.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, from the lowest to the highest, in the order of ``predict_proba``.
    class_weight_ : ndarray of shape (n_classes,)
        Their weights.
    frequencies_ : ndarray of shape (n_classes,)
        The weighted frequencies of the classes, which thresholds begin at.
    raw_shape_ : tuple of int
        ``()`` for one or two classes, else ``(n_classes - 1,)``.
    constant_raw_ : ndarray of shape ``raw_shape_``
        The raw output of the class frequencies.
    baseline_ : float
        What each loss is divided by.
    constant_loss_ : float
        The loss of the best constant, divided by `baseline_`.
    is_constant_ : bool
        Whether there is only one class.

    See Also
    --------
    mtlearn.heads.Classification : One label out of classes without an order.

    Notes
    -----
    ``predict`` gives the most probable class, and the score is the accuracy, as of every classifier
    of scikit-learn: both agree with what ``predict_proba`` and ``classes_`` tell its tools, and the
    accuracy is defined for any rows. Measures that know of the order, such as
    ``cohen_kappa_score(weights="quadratic")`` or the mean absolute error of the positions, are a
    matter of `mtlearn.model_selection.make_output_scorer`; the median class has the lowest mean
    absolute error, ``net.classes_["grade"][(proba.cumsum(1) < 0.5).sum(1)]``.

    References
    ----------
    McCullagh, "Regression Models for Ordinal Data", 1980; Cao, Mirjalili and Raschka, "Rank
    consistent ordinal regression for neural networks", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import Ordinal
    >>> X = np.linspace(-1, 1, 90)[:, None]
    >>> y = {"grade": np.array(["bad", "fair", "good"])[np.digitize(X[:, 0], [-0.3, 0.3])]}
    >>> heads = {"grade": Ordinal(classes=["bad", "fair", "good"])}
    >>> net = MultiOutputNet(heads=heads, max_epochs=500, random_state=0).fit(X, y)
    >>> net.predict(X[[0, 45, -1]])["grade"]
    array(['bad', 'fair', 'good'], dtype='<U4')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "classes": ["array-like", None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        **Head._parameter_constraints,
    }

    label_smoothing = 0.0

    def __init__(
        self,
        classes: ArrayLike | None = None,
        *,
        class_weight: Mapping[Any, float] | str | None = None,
        hidden_layer_sizes: Sequence[int] = (),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.classes = classes
        self.class_weight = class_weight
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the classes, their weights and their frequencies; see `Head.fit`."""
        mass = self._learn_classes(y, weight, normalize=normalize, more_to_come=more_to_come)
        n_classes = len(mass)
        if self.classes is None and n_classes > 2 and self.classes_.dtype.kind not in "biuf":
            raise ValueError(
                f"Ordinal needs the order of classes that are no numbers. Got the classes "
                f"{self.classes_[:5].tolist()}; name them from the lowest to the highest with "
                f"Ordinal(classes=[...])."
            )
        self.raw_shape_ = (n_classes - 1,) if n_classes > 2 else ()
        self.frequencies_ = best = mass / mass.sum()
        above = _log_odds_above(np.maximum(best, TINY))
        self.constant_raw_ = above if n_classes > 2 else above.sum()  # of one class, 0
        self.set_baseline(-(best * np.log(np.maximum(best, TINY))).sum(), normalize=normalize)
        return self

    def build(self, n_features: int | Sequence[int]) -> nn.Module:
        """Return the layers; shape (n_samples, n_features) to ``(n_samples, *raw_shape_)``."""
        if self.raw_shape_ == ():
            return super().build(n_features)
        n_features = n_features if isinstance(n_features, int) else sum(n_features)
        sizes = [int(size) for size in self.hidden_layer_sizes]
        score = nn.Linear([n_features, *sizes][-1], 1, bias=False)  # the thresholds have it
        return nn.Sequential(*dense(n_features, sizes), score, Thresholds(self.frequencies_))

    def build_loss(self) -> nn.Module:
        """Return the negative log-likelihood of each label; see `Head.build_loss`."""
        return OrdinalLoss() if len(self.classes_) > 2 else super().build_loss()

    def decode_proba(self, raw: Array) -> Array:
        """Return the probabilities of the classes, of shape (n_samples, n_classes)."""
        if len(self.classes_) <= 2:
            return super().decode_proba(raw)
        return _log_probabilities(torch.tensor(raw), 0.0).exp().numpy()


class Thresholds(nn.Module):
    """The log-odds of a class above each but the last, from a score.

    Shape: (n_samples, 1) to (n_samples, n_classes - 1).

    Parameters
    ----------
    frequencies : ndarray of shape (n_classes,)
        What the thresholds give a score of 0. Rare classes count as one in a thousand, for a
        threshold that can be learned.
    """

    def __init__(self, frequencies: Floats) -> None:
        super().__init__()
        shares = np.maximum(frequencies, LEAST_SHARE)
        thresholds = -_log_odds_above(shares / shares.sum())
        self.first = nn.Parameter(torch.tensor(thresholds[:1], dtype=torch.get_default_dtype()))
        gaps = torch.tensor(np.log(np.expm1(np.diff(thresholds))), dtype=self.first.dtype)
        self.gaps = nn.Parameter(gaps)  # positive ones behind a softplus

    def forward(self, score: Tensor) -> Tensor:
        return score - torch.cat([self.first, F.softplus(self.gaps)]).cumsum(0)


class OrdinalLoss(nn.Module):
    """The negative log-probability of each label; log-odds (n, n_classes - 1), classes (n,)."""

    def forward(self, raw: Tensor, target: Tensor) -> Tensor:
        return -_log_probabilities(raw, LEAST_GAP).gather(1, target[:, None]).squeeze(1)


def _log_probabilities(raw: Tensor, least_gap: float) -> Tensor:
    """Return the log-probability of each class, from log-odds of a class above each but the last.

    What rises is cut off, so that there are probabilities for any raw values. The difference of two
    sigmoids is taken as a product, which is exact in the tails.
    """
    falling = raw.cummin(1).values
    ends = torch.zeros_like(raw[:, :1])
    gaps = (falling[:, :-1] - falling[:, 1:]).clamp(min=least_gap)
    between = torch.cat([ends, torch.log(-torch.expm1(-gaps)), ends], 1)
    not_below = torch.cat([ends, F.logsigmoid(falling)], 1)
    not_above = torch.cat([F.logsigmoid(-falling), ends], 1)
    return not_below + not_above + between


def _log_odds_above(shares: Floats) -> Floats:
    """Return the log-odds of a class above each but the last, from the shares of the classes."""
    return np.log(shares[::-1].cumsum()[-2::-1]) - np.log(shares.cumsum()[:-1])
