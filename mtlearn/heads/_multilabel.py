"""The head for several yes/no labels at once."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from mtlearn._sklearn import Interval
from mtlearn._typing import Array, ArrayLike, Floats
from mtlearn.heads._base import TINY, ClassHead, Head, check_columns

__all__ = ["MultiLabel"]


class MultiLabel(ClassHead):
    r"""Predict the columns of an indicator matrix: any number of labels for each row.

    Every column :math:`j` has one raw output :math:`f_j`, the log-odds of its label. The loss of
    a cell :math:`y_j \in \{0, 1\}` is

    .. math:: -\left(w_j y_j \log p_j + (1 - y_j) \log (1 - p_j)\right) / b,
              \qquad p_j = 1 / (1 + e^{-f_j})

    with `pos_weight` :math:`w_j` and the mean loss :math:`b` of the best constants, at least 0.05.

    Parameters
    ----------
    threshold : float or array-like of shape (n_labels,), default=0.5
        The probability above which a label is predicted, in [0, 1].
    pos_weight : float or array-like of shape (n_labels,), default=None
        The weight of a present label against an absent one; None for 1.
    hidden_layer_sizes : array-like of int, default=()
        The sizes of this output's own hidden layers, between the trunk and the raw output.
    at : str or list of str, default=None
        The name of the trunk's layer to attach to, or of several, which are put side by side;
        None for the only one.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        The numbers of the columns, as in scikit-learn's multilabel classifiers.
    varies_ : ndarray of shape (n_labels,), dtype=bool
        Which columns have both values; the others take no part and are predicted as they are.
    raw_shape_ : tuple of int
        ``(n_labels,)``.
    constant_raw_ : ndarray of shape ``raw_shape_``
        The raw outputs of the label frequencies.
    baseline_ : float
        What each loss is divided by.
    constant_loss_ : float
        The loss of the best constant, divided by `baseline_`.
    is_constant_ : bool
        Whether every column is constant.

    See Also
    --------
    mtlearn.heads.Classification : One label out of several classes.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import MultiLabel
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> y = {"tags": np.column_stack([X[:, 0] > 0, X[:, 0] < 0.5]).astype(int)}
    >>> net = MultiOutputNet(heads={"tags": MultiLabel()}, random_state=0).fit(X, y)
    >>> net.predict(X[[0, -1]])["tags"]
    array([[0, 1],
           [1, 0]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "threshold": [Interval(Real, 0, 1, closed="both"), "array-like"],
        "pos_weight": [Interval(Real, 0, None, closed="left"), "array-like", None],
        **Head._parameter_constraints,
    }

    def __init__(
        self,
        *,
        threshold: float | ArrayLike = 0.5,
        pos_weight: float | ArrayLike | None = None,
        hidden_layer_sizes: Sequence[int] = (),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.threshold = threshold
        self.pos_weight = pos_weight
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn how frequent each label is; see `Head.fit`."""
        cells = _indicators(y, weight)
        check_columns(weight)
        n_labels = y.shape[1]
        self.classes_ = np.arange(n_labels)
        self.threshold_ = _per_label("threshold", self.threshold, n_labels, upper=1.0)
        one = 1.0 if self.pos_weight is None else self.pos_weight
        self.pos_weight_ = _per_label("pos_weight", one, n_labels, upper=np.inf)
        kinds = [np.unique(column[w > 0]) for column, w in zip(cells.T, weight.T, strict=True)]
        self.dtype_ = (y.dtype if y.dtype.kind in "biu" else np.dtype(np.int64)).str
        self.varies_ = np.array([more_to_come or len(kind) == 2 for kind in kinds])
        self.constant_ = np.array([kind[0] for kind in kinds])
        self.is_constant_ = not self.varies_.any()
        self.raw_shape_ = (n_labels,)
        present, absent = (weight * cells).sum(axis=0), (weight * (1 - cells)).sum(axis=0)
        if more_to_come:
            once = weight[weight > 0].mean()  # as if each label came and missed once more
            present, absent = present + once, absent + once
        total = np.maximum(present + absent, TINY)
        present = self.pos_weight_ * present
        best = np.clip(present / np.maximum(present + absent, TINY), TINY, 1 - 2**-53)
        self.constant_raw_ = np.log(best) - np.log1p(-best)
        column_loss = -(present * np.log(best) + absent * np.log1p(-best))
        shared = np.where(self.varies_, total, 0.0).sum()
        baseline = column_loss[self.varies_].sum() / shared if shared else 0.0
        self.set_baseline(baseline, normalize=normalize)
        return self

    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return zeros and ones as floats; see `Head.encode`."""
        return _indicators(y, weight), weight * self.varies_

    def build_loss(self) -> nn.Module:
        """Return the binary cross-entropy of each cell; see `Head.build_loss`."""
        return nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor(self.pos_weight_))

    def decode(self, raw: Array) -> Array:
        """Return the indicator matrix; see `Head.decode`."""
        return self.decide(self.decode_proba(raw))

    def decide(self, proba: Array) -> Array:
        """Return the labels whose probability is above the threshold; see `ClassHead.decide`."""
        above = proba > self.threshold_
        return np.where(self.varies_, above, self.constant_ > 0).astype(self.dtype_)

    def decode_proba(self, raw: Array) -> Array:
        """Return the probability of each label, of shape (n_samples, n_labels)."""
        return np.where(
            self.varies_, torch.tensor(raw).sigmoid().numpy(), self.constant_.astype(raw.dtype)
        )

    def score(self, y: Array, predicted: Array, weight: Floats) -> float:
        """Return the share of rows whose observed labels are all right; see `Head.score`."""
        present = weight > 0
        right = ((_indicators(y, weight) == predicted) | ~present).all(axis=1)
        rows = present.any(axis=1)
        return float(np.average(right[rows], weights=weight.max(axis=1)[rows]))


def _indicators(y: Array, weight: Floats) -> Floats:
    """Return zeros and ones as floats, zero where a label has no weight."""
    if y.ndim != 2:
        raise ValueError(
            f"MultiLabel needs a matrix with one column per label. Got the shape {y.shape}; use "
            f"Classification for one label per row."
        )
    present = weight > 0
    cells = np.zeros(y.shape)
    try:
        cells[present] = y[present].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"MultiLabel needs labels of 0 and 1: {error}.") from error
    if not np.isin(cells, (0.0, 1.0)).all():
        other = np.unique(cells[~np.isin(cells, (0.0, 1.0))])[:5].tolist()
        raise ValueError(f"MultiLabel needs labels of 0 and 1. Got {other} too.")
    return cells


def _per_label(param: str, value: float | ArrayLike, n_labels: int, *, upper: float) -> Floats:
    values = np.asarray(value, dtype=np.float64)
    if values.shape not in ((), (n_labels,)):
        raise ValueError(
            f"`{param}` must be a number or have one number for each of the {n_labels} labels. "
            f"Got the shape {values.shape}."
        )
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= upper).all()):
        raise ValueError(f"`{param}` must hold finite numbers in [0, {upper}]. Got {value!r}.")
    return np.broadcast_to(values, (n_labels,)).copy()
