"""The head for one label out of several classes."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from mtlearn._arrays import homogeneous
from mtlearn._sklearn import Interval, StrOptions
from mtlearn._typing import Array, ArrayLike, Floats
from mtlearn.heads._base import TINY, ClassHead, Head

__all__ = ["Classification"]


class Classification(ClassHead):
    r"""Predict one of two or more classes.

    Two classes have one raw output :math:`f`, the log-odds of the second class; :math:`K > 2`
    classes have :math:`K`, whose softmax is :math:`p`. The loss of a label of class :math:`k` is
    the cross-entropy

    .. math:: -\sum_j q_j \log p_j / b, \qquad q_j = (1 - \epsilon) [j = k] + \epsilon / K

    with `label_smoothing` :math:`\epsilon` and the loss :math:`b` of the best constant: the
    entropy of the (weighted, smoothed) class frequencies, at least 0.05.

    Parameters
    ----------
    class_weight : dict or "balanced", default=None
        Weights of the classes, multiplied into the sample weights; a class that the dict leaves
        out has 1. "balanced" makes the total weights of all classes equal.
    label_smoothing : float, default=0.0
        The share of each label that is spread over all classes, in [0, 1).
    classes : array-like of shape (n_classes,), default=None
        All classes, in the order that ``predict_proba`` shall have; for data where some have no
        label, as in a fold of a cross-validation. None for the sorted classes of the labels.
    hidden_layer_sizes : array-like of int, default=()
        The sizes of this output's own hidden layers, between the trunk and the raw output.
    at : str or list of str, default=None
        The name of the trunk's layer to attach to, or of several, which are put side by side;
        None for the only one.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, in the order of ``predict_proba``.
    class_weight_ : ndarray of shape (n_classes,)
        Their weights.
    raw_shape_ : tuple of int
        ``()`` for one or two classes, else ``(n_classes,)``.
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
    mtlearn.heads.MultiLabel : Several labels at once.

    References
    ----------
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016 (label
    smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import Classification
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> y = {"kind": np.where(X[:, 0] > 0, "high", "low")}
    >>> net = MultiOutputNet(heads={"kind": Classification(class_weight="balanced")},
    ...                      random_state=0).fit(X, y)
    >>> net.predict(X[[0, -1]])["kind"]
    array(['low', 'high'], dtype='<U4')
    >>> net.predict_proba(X[:1])["kind"].round(1)
    array([[0., 1.]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "classes": ["array-like", None],
        **Head._parameter_constraints,
    }

    def __init__(
        self,
        *,
        class_weight: Mapping[Any, float] | str | None = None,
        label_smoothing: float = 0.0,
        classes: ArrayLike | None = None,
        hidden_layer_sizes: Sequence[int] = (),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.classes = classes
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def note(self, y: Array, weight: Floats) -> None:
        """Take note of the classes, so that held-out rows may have all of them."""
        self._noted = homogeneous(y[weight > 0]) if y.ndim == 1 else None

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the classes, their weights and their frequencies; see `Head.fit`."""
        mass = self._learn_classes(y, weight, normalize=normalize, more_to_come=more_to_come)
        n_classes = len(mass)
        self.raw_shape_ = (n_classes,) if n_classes > 2 else ()
        epsilon = float(self.label_smoothing)
        best = (1 - epsilon) * mass / mass.sum() + epsilon / n_classes
        log_best = np.log(np.maximum(best, TINY))
        self.constant_raw_ = log_best if n_classes > 2 else log_best[-1] - log_best[0]
        self.set_baseline(-(best * log_best).sum(), normalize=normalize)
        return self

    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return class indices, or for two classes the smoothed 0 or 1; see `Head.encode`."""
        present = weight > 0
        codes = np.zeros(len(y), dtype=np.int64)
        codes[present] = self._codes(homogeneous(y[present]))
        weight = weight * self.class_weight_[codes]
        if len(self.classes_) > 2:
            return codes, weight
        return codes * (1 - self.label_smoothing) + self.label_smoothing / 2, weight

    def build_loss(self) -> nn.Module:
        """Return the cross-entropy of each label; see `Head.build_loss`."""
        if len(self.classes_) > 2:
            return nn.CrossEntropyLoss(
                reduction="none", label_smoothing=float(self.label_smoothing)
            )
        return nn.BCEWithLogitsLoss(reduction="none")

    def decode(self, raw: Array) -> Array:
        """Return the most probable classes; see `Head.decode`."""
        return self.decide(self.decode_proba(raw))

    def decode_proba(self, raw: Array) -> Array:
        """Return the probabilities of the classes, of shape (n_samples, n_classes)."""
        if len(self.classes_) == 1:
            return np.ones((len(raw), 1), dtype=raw.dtype)
        logits = torch.tensor(raw)
        if len(self.classes_) > 2:
            return logits.softmax(dim=1).numpy()
        return torch.stack([(-logits).sigmoid(), logits.sigmoid()], dim=1).numpy()

    def score(self, y: Array, predicted: Array, weight: Floats) -> float:
        """Return the accuracy; see `Head.score`."""
        present = weight > 0
        labels = self.classes_[self._codes(homogeneous(y[present]))]
        return float(accuracy_score(labels, predicted[present], sample_weight=weight[present]))

    def _learn_classes(
        self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool
    ) -> Floats:
        """Set `classes_`, `class_weight_` and `is_constant_`; return the weight of each class."""
        owner = type(self).__name__
        if y.ndim != 1:
            raise ValueError(
                f"{owner} needs one label per row. Got the shape {y.shape}; use MultiLabel for a "
                f"0/1 matrix, and one output per column for several classes each."
            )
        labels = homogeneous(y[weight > 0])
        self.classes_ = self._find_classes(labels)
        self._noted = None
        n_classes = len(self.classes_)
        mass = np.zeros(n_classes)
        np.add.at(mass, self._codes(labels), weight[weight > 0])
        self.class_weight_ = self._find_class_weight(mass)
        if more_to_come:
            mass += weight[weight > 0].mean()  # as if each class came once more
        mass = mass * self.class_weight_
        if mass.sum() <= 0:
            raise ValueError("`class_weight` leaves no label any weight; give one class more.")
        self.is_constant_ = bool((mass > 0).sum() == 1) and (normalize or n_classes == 1)
        return mass

    def _find_classes(self, labels: Array) -> Array:
        noted = getattr(self, "_noted", None)
        try:
            found = np.unique(labels if noted is None else noted)
        except TypeError as error:
            raise ValueError(
                f"{type(self).__name__} needs labels of one kind that can be sorted: {error}."
            ) from error
        if self.classes is None:
            return found
        classes = homogeneous(np.asarray(self.classes))
        if classes.ndim != 1 or not classes.size or len(np.unique(classes)) != len(classes):
            raise ValueError(f"`classes` must hold different classes. Got {self.classes!r}.")
        return classes

    def _codes(self, labels: Array) -> Array:
        """Return the positions of labels in `classes_`."""
        order = np.argsort(self.classes_)
        try:
            found = np.searchsorted(self.classes_, labels, sorter=order)
            codes = order[np.minimum(found, len(order) - 1)]
            unknown = self.classes_[codes] != labels
        except TypeError:  # labels that cannot be compared with the classes
            codes, unknown = np.zeros(len(labels), dtype=np.intp), np.ones(len(labels), dtype=bool)
        if np.any(unknown):
            new = list(dict.fromkeys(np.broadcast_to(labels, len(codes))[unknown].tolist()))
            raise ValueError(
                f"Every label must be one of the classes {self.classes_.tolist()}. Got {new[:5]}; "
                f"declare all classes with {type(self).__name__}(classes=[...])."
            )
        return codes

    def _find_class_weight(self, mass: Floats) -> Floats:
        n_classes = len(self.classes_)
        if self.class_weight is None:
            return np.ones(n_classes)
        if isinstance(self.class_weight, str):
            n_present = int((mass > 0).sum())
            return np.divide(mass.sum(), n_present * mass, out=np.ones(n_classes), where=mass > 0)
        names = self.classes_.tolist()
        unknown = [name for name in self.class_weight if name not in names]
        if unknown:
            raise ValueError(
                f"`class_weight` names the unknown classes {unknown}; the classes are {names}."
            )
        weights = np.array([self.class_weight.get(name, 1.0) for name in names], dtype=np.float64)
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError(
                f"`class_weight` must hold finite numbers of at least 0. Got {self.class_weight}."
            )
        return weights
