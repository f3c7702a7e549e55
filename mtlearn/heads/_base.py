"""What every head does: learn one target's encoding, and turn raw outputs into predictions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from torch import nn

from mtlearn._layers import Squeeze, dense
from mtlearn._params import Part
from mtlearn._typing import Array, Floats

__all__ = ["BASELINE_FLOOR", "TINY", "ClassHead", "Head", "check_columns"]

BASELINE_FLOOR = 0.05
TINY = np.finfo(np.float64).tiny


class Head(Part, ABC):
    r"""One output: what it predicts, by which loss, from which layer of the trunk.

    A head is a specification. An estimator clones it, lets the clone learn the encoding of its
    target with `fit`, and lets it build the torch modules of the output's layers (`build`) and
    of its loss (`build_loss`). Weights live in those modules, never in the head.

    The raw output of one row has the shape ``raw_shape_``: ``()`` for one number, else
    ``(n_raw,)``. A label of weight zero counts as not there: that is how missing labels and rows
    without weight are kept out of all that a head learns.

    Subclasses store their parameters, declare ``_parameter_constraints`` for them beside the
    shared ones, and implement the abstract methods; heads for classes derive from `ClassHead`.

    Attributes
    ----------
    raw_shape_ : tuple of int
        The shape of one row's raw output.
    constant_raw_ : ndarray of shape ``raw_shape_``
        The raw output of the best constant prediction.
    baseline_ : float
        What each loss is divided by: the mean loss of the best constant under the same weights,
        so that 1.0 means no better than a constant; at least 0.05, unless the head says otherwise.
        1.0 if losses are not normalised.
    constant_loss_ : float
        The loss of the best constant, divided by `baseline_`.
    is_constant_ : bool
        Whether there is nothing to learn, because the target is constant.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like"],
        "at": [str, list, tuple, None],
        "target": [str, None],
    }

    hidden_layer_sizes: Sequence[int]
    at: str | Sequence[str] | None
    target: str | None

    raw_shape_: tuple[int, ...]
    constant_raw_: Floats
    baseline_: float
    constant_loss_: float
    is_constant_: bool

    def note(self, y: Array, weight: Floats) -> None:
        """Take note of all labels of a fit, before some rows are held out of the training.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns)
            The labels.
        weight : ndarray of the shape of `y`
            Their weights, zero where a label is missing.
        """

    @abstractmethod
    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the encoding of a target from its labels of positive weight.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns)
            The labels.
        weight : ndarray of the shape of `y`
            Their weights, zero where a label is missing; some are positive.
        normalize : bool
            Whether to standardise numbers and to divide the loss by `baseline_`.
        more_to_come : bool, default=False
            Whether these are the first labels of a stream, so that none counts as constant.

        Returns
        -------
        Self
            The head with its fitted attributes.
        """

    @abstractmethod
    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return what the loss compares raw outputs with, and the weight of each label.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns)
            The labels.
        weight : ndarray of the shape of `y`
            Their weights, zero where a label is missing.

        Returns
        -------
        target : ndarray of the shape of `y`
            Floats, or class indices of type int64; some harmless value where the weight is zero.
        weight : ndarray of the shape of `y`
            `weight` times the weights of the classes, where the head has any.
        """

    @abstractmethod
    def build_loss(self) -> nn.Module:
        """Return a module from (raw, target) to the loss of each label, of the target's shape."""

    @abstractmethod
    def decode(self, raw: Array) -> Array:
        """Return the predictions for raw outputs of shape ``(n_samples, *raw_shape_)``."""

    @abstractmethod
    def score(self, y: Array, predicted: Array, weight: Floats) -> float:
        """Return the default score of predictions on the labels of positive weight.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns)
            The labels.
        predicted : ndarray of the shape of `y`
            The predictions.
        weight : ndarray of the shape of `y`
            The weights of the labels, zero where one is missing; some are positive.

        Returns
        -------
        float
            1.0 for perfect predictions.
        """

    def build(self, n_features: int | Sequence[int]) -> nn.Module:
        """Return the layers from one layer of the trunk, or several, to the raw output.

        Shape: ``(n_samples, n_features)`` to ``(n_samples, *raw_shape_)``.

        Parameters
        ----------
        n_features : int or sequence of int
            The width of the layer that `at` names; of several layers, which come side by side,
            the width of each.

        Returns
        -------
        torch.nn.Module
            The layers.
        """
        n_features = n_features if isinstance(n_features, int) else sum(n_features)
        sizes = [int(size) for size in self.hidden_layer_sizes]
        layers = dense(n_features, sizes)
        layers.append(nn.Linear([n_features, *sizes][-1], int(np.prod(self.raw_shape_))))
        if self.raw_shape_ == ():
            layers.append(Squeeze())
        return nn.Sequential(*layers)

    def constant_label(self) -> Array:
        """Return what the best constant predicts, as one label of shape ``(1, *columns)``.

        Its shape tells the columns of the labels. Heads that predict several numbers for a label
        override it.
        """
        return self.decode(np.asarray(self.constant_raw_, dtype=np.float64)[None])

    def set_baseline(
        self, constant_loss: float, *, normalize: bool, floor: float = BASELINE_FLOOR
    ) -> None:
        """Set `baseline_` and `constant_loss_`; part of every head's `fit`.

        Parameters
        ----------
        constant_loss : float
            The mean loss of the best constant over the labels, by their weights.
        normalize : bool
            Whether losses are normalised.
        floor : float, default=0.05
            The smallest number to divide losses by.
        """
        self.baseline_ = max(float(constant_loss), floor) if normalize else 1.0
        self.constant_loss_ = float(constant_loss) / self.baseline_


def check_columns(weight: Floats) -> None:
    """Raise a ValueError if a column of a target has no label of positive weight."""
    empty = np.flatnonzero(~weight.any(axis=0)).tolist()
    if empty:
        raise ValueError(
            f"every column needs an observed label of positive weight. The columns {empty} have "
            f"none; leave them out."
        )


class ClassHead(Head):
    """A head whose output has classes, and therefore probabilities.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    """

    classes_: Array

    def decide(self, proba: Array) -> Array:
        """Return the predictions for class probabilities; here the most probable classes.

        Parameters
        ----------
        proba : ndarray of shape (n_samples, n_classes)
            The probabilities, such as the means of several networks'.

        Returns
        -------
        ndarray of shape (n_samples,)
            The classes.
        """
        return self.classes_[proba.argmax(axis=1)]

    @abstractmethod
    def decode_proba(self, raw: Array) -> Array:
        """Return the probabilities for raw outputs of shape ``(n_samples, *raw_shape_)``.

        The shape is (n_samples, n_classes).
        """
