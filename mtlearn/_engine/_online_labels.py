"""What a stream tells of one output's labels: classes, frequencies, mean and scale so far."""

from abc import ABC, abstractmethod

import numpy as np
from sklearn.base import clone

from mtlearn._arrays import as_columns, homogeneous
from mtlearn._typing import Array, Floats
from mtlearn.heads import Classification, Head, Regression
from mtlearn.heads._scale import as_numbers

__all__ = ["LabelStream", "follow_labels"]

GROWTH = 1.1


class LabelStream(ABC):
    """Keeps the encoding of a head up to date with the labels that came.

    Parameters
    ----------
    head : Head
        The head, which it fits.
    normalize : bool
        Whether numbers are standardised, and losses divided by the best constant's.
    forgetting : float, default=1.0
        What the frequencies, means and scales so far are multiplied by before each label.

    Attributes
    ----------
    mean_weight : float
        The mean weight of labels that have some.
    share : float
        The mean weight of all rows, those without a label counting 0.
    """

    def __init__(self, head: Head, *, normalize: bool, forgetting: float = 1.0) -> None:
        self.head, self.normalize, self.forgetting = head, normalize, forgetting
        self.n_rows, self.n_labels, self.weight = 0, 0, 0.0
        self.shape: tuple[int, ...] = ()
        self._next = 0.0

    @property
    def mean_weight(self) -> float:
        return self.weight / max(self.n_labels, 1)

    @property
    def share(self) -> float:
        return self.weight / max(self.n_rows, 1)

    @property
    def is_known(self) -> bool:
        """Whether the head can encode and decode."""
        return self._next > 0

    def begin(self, y: Array, weight: Floats) -> None:  # noqa: B027 (most need not)
        """Look at all labels of a call, before they are learned step by step; here in vain."""

    @abstractmethod
    def check(self, y: Array, weight: Floats) -> None:
        """Raise a ValueError for labels that `learn` could not take; change nothing."""

    def learn(self, y: Array, weight: Floats) -> bool:
        """Take note of labels; return whether the encoding has changed."""
        self.n_rows += len(y)
        rows = as_columns(weight).max(axis=1, initial=0.0)
        self.n_labels += int((rows > 0).sum())
        self.weight += float(rows.sum())
        if not rows.any():
            return False
        self._forget(self.forgetting ** int((rows > 0).sum()))
        must_fit = self._note(y, weight)
        if not must_fit and self.n_labels < self._next:
            return False
        lasting = (GROWTH - 1) / max(1 - self.forgetting, 1e-12)  # a tenth of what is remembered
        self._next = max(self.n_labels + min((GROWTH - 1) * self.n_labels, lasting), self._next)
        self.refit()
        return True

    def _forget(self, kept: float) -> None:  # noqa: B027 (most have nothing to forget)
        """Multiply what the labels so far count; here nothing."""

    @abstractmethod
    def _note(self, y: Array, weight: Floats) -> bool:
        """Take note of labels, some of which have a weight; return whether to fit at once."""

    @abstractmethod
    def refit(self) -> None:
        """Fit the head to all that came."""


class ClassStream(LabelStream):
    """The weight of each class."""

    def __init__(self, head: Classification, *, normalize: bool, forgetting: float) -> None:
        super().__init__(head, normalize=normalize, forgetting=forgetting)
        self.is_declared = head.classes is not None
        self.classes: Array = np.empty(0)
        self.mass = np.zeros(0)
        if self.is_declared:
            self.classes = homogeneous(np.asarray(head.classes))
            self.mass = np.zeros(len(self.classes))
            self._next = 1.0
            self.refit()

    def check(self, y: Array, weight: Floats) -> None:
        labels = homogeneous(y[weight > 0])
        if self.is_declared:
            self.head.encode(y, weight)
        elif len(labels):
            self._join(labels)

    def _forget(self, kept: float) -> None:
        self.mass *= kept

    def _join(self, labels: Array) -> Array:
        """Return the classes there are and those of the labels, sorted."""
        try:
            found = np.concatenate([self.classes, labels]) if len(self.classes) else labels
            kinds = {isinstance(label, str): label for label in [*self.classes, *labels]}
            if len(kinds) > 1:
                raise TypeError(f"got {kinds[True]!r} beside {kinds[False]!r}")
            return np.unique(found)
        except TypeError as error:
            raise ValueError(f"classes must be of one kind that can be sorted: {error}.") from error

    def _note(self, y: Array, weight: Floats) -> bool:
        labels = homogeneous(y[weight > 0])
        is_new = not self.is_declared and not np.isin(labels, self.classes).all()
        if is_new:
            classes = self._join(labels)
            mass = np.zeros(len(classes))
            mass[np.isin(classes, self.classes)] = self.mass
            kinds = [labels.dtype, *([self.classes.dtype] if len(self.classes) else [])]
            self.classes, self.mass = classes.astype(np.result_type(*kinds), copy=False), mass
        order = np.argsort(self.classes)
        codes = order[np.searchsorted(self.classes, labels, sorter=order)]
        np.add.at(self.mass, codes, weight[weight > 0])
        return is_new

    def refit(self) -> None:
        one = self.mean_weight or 1.0  # as if each class had come once more
        head = clone(self.head).set_params(classes=self.classes)
        head.fit(self.classes, self.mass + one, normalize=self.normalize)
        self.head = head


class NumberStream(LabelStream):
    """The mean and the scale of each column."""

    def __init__(self, head: Regression, *, normalize: bool, forgetting: float) -> None:
        super().__init__(head, normalize=normalize, forgetting=forgetting)
        self.sums = np.zeros(0)
        self.mean, self.squares = np.zeros(0), np.zeros(0)

    def check(self, y: Array, weight: Floats) -> None:
        as_numbers(y, weight, "Regression")
        if self.is_known:
            _check_columns(y, self.shape)

    def _note(self, y: Array, weight: Floats) -> bool:
        values, weight = as_columns(as_numbers(y, weight, "Regression")), as_columns(weight)
        if not self.is_known:
            self.shape = y.shape[1:]
            self.sums = np.zeros(values.shape[1])
            self.mean, self.squares = np.zeros_like(self.sums), np.zeros_like(self.sums)
        total = weight.sum(axis=0)
        mean = (weight * values).sum(axis=0) / np.where(total > 0, total, 1.0)
        squares = (weight * (values - mean) ** 2).sum(axis=0)
        sums = self.sums + total
        ratio = total / np.where(sums > 0, sums, 1.0)
        off = mean - self.mean
        self.squares = self.squares + squares + off**2 * self.sums * ratio
        self.mean = self.mean + off * ratio
        self.sums = sums
        return not self.is_known

    def _forget(self, kept: float) -> None:
        self.sums, self.squares = kept * self.sums, kept * self.squares

    def refit(self) -> None:
        deviation = np.sqrt(self.squares / np.where(self.sums > 0, self.sums, 1.0))
        known = np.where(self.sums > 0, self.sums, 1.0)  # a column without labels counts as 0
        two = np.stack([self.mean - deviation, self.mean + deviation])
        head = clone(self.head)
        head.fit(
            two.reshape(2, *self.shape),
            np.stack([known, known]).reshape(2, *self.shape) / 2,
            normalize=self.normalize,
            more_to_come=True,
        )
        self.head = head


class FirstLabels(LabelStream):
    """The labels of the first call that has some: heads of other kinds are fitted to them, once."""

    def check(self, y: Array, weight: Floats) -> None:
        if not weight.any():
            return
        if self.is_known:
            _check_columns(y, self.shape)
            self.head.encode(y, weight)
        else:
            clone(self.head).fit(y, weight, normalize=self.normalize, more_to_come=True)

    def begin(self, y: Array, weight: Floats) -> None:
        """Fit the head to the first labels that come."""
        if not self.is_known and weight.any():
            self.head.fit(y, weight, normalize=self.normalize, more_to_come=True)
            self.shape, self._next = y.shape[1:], float("inf")

    def _note(self, y: Array, weight: Floats) -> bool:
        self.begin(y, weight)
        return False

    def refit(self) -> None:
        """Keep the head as it is."""


def follow_labels(head: Head, *, normalize: bool, forgetting: float = 1.0) -> LabelStream:
    """Return what follows the labels of a head; see `LabelStream`."""
    if type(head) is Classification:
        return ClassStream(head, normalize=normalize, forgetting=forgetting)
    if type(head) is Regression and head.transformer is None:
        return NumberStream(head, normalize=normalize, forgetting=forgetting)
    return FirstLabels(head, normalize=normalize)


def _check_columns(y: Array, shape: tuple[int, ...]) -> None:
    if y.shape[1:] != shape:
        raise ValueError(
            f"the labels must have the columns of the first ones, shape {shape} per row. Got "
            f"{y.shape[1:]}."
        )
