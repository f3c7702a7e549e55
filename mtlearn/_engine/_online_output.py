"""One output of a stream: a head for each expert of the trunk, and the mixture of them."""

from dataclasses import dataclass

import numpy as np

from mtlearn._engine._expert_heads import ExpertHeads, Sources
from mtlearn._engine._label_terms import LabelTerms, label_terms
from mtlearn._engine._online_labels import follow_labels
from mtlearn._typing import Array, Floats, Mask
from mtlearn.heads import ClassHead, Head, MultiLabel
from mtlearn.weighting import MultiplicativeWeights

__all__ = ["LabelSlopes", "OnlineOutput"]


@dataclass(frozen=True)
class LabelSlopes:
    """The losses of a batch, and their derivatives by the raw outputs.

    Parameters
    ----------
    losses : ndarray of shape (n_experts, n_rows)
        The mean loss of a row's labels.
    slopes, curvatures : ndarray of shape (n_experts, n_rows, n_raw)
        The derivatives of the loss of each label.
    weight : ndarray of shape (n_rows, n_raw)
        The weight of each label, 0 where there is none.
    """

    losses: Floats
    slopes: Floats
    curvatures: Floats
    weight: Floats


class OnlineOutput:
    """The heads of one output, which begin once it is known what to predict.

    Parameters
    ----------
    head : Head
        Its specification.
    weighting : MultiplicativeWeights
        How the experts are mixed.
    is_trained : bool
        Whether it has weight in the loss; else it has no experts.
    normalize_losses : bool
        Whether numbers are standardised, and losses divided by the best constant's.
    second_order : bool
        Whether its heads make second-order steps.
    forgetting : float
        What they multiply the past by before each row.
    """

    def __init__(
        self,
        head: Head,
        weighting: MultiplicativeWeights,
        *,
        is_trained: bool,
        normalize_losses: bool,
        second_order: bool,
        forgetting: float,
    ) -> None:
        self.labels = follow_labels(head, normalize=normalize_losses, forgetting=forgetting)
        self.is_trained, self.second_order, self.forgetting = is_trained, second_order, forgetting
        self.experts: ExpertHeads | None = None
        self.weigher = weighting.begin(np.zeros(0), None, 0)
        self._widths: list[int] = []
        self._variances: list[float] = []
        self._terms: LabelTerms | None = None

    @property
    def head(self) -> Head:
        """The head, fitted to the labels so far."""
        return self.labels.head

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_terms": None}

    def widen(self, widths: list[int], variances: list[float]) -> None:
        """Take the experts of the trunk, which may have become more, or wider.

        Parameters
        ----------
        widths : list of int
            The number of features of each.
        variances : list of float
            The variance that the weights of its heads begin with.
        """
        if widths == self._widths:
            return
        self._widths, self._variances = widths, variances
        if len(widths) > self.weigher.n_outputs:
            self.weigher.widen(len(widths))
        if self.experts is None:
            self._begin()
        else:
            self.experts.widen(widths, variances)

    def note(self, y: Array, weight: Floats) -> Sources | None:
        """Take note of labels; return of what the raw outputs are made now, if they are others."""
        before = self.head
        known = self.labels.is_known and self.experts is not None
        if not self.labels.learn(y, weight):
            return self._begin() if not known else None
        if self.experts is None:
            return self._begin()
        return self._follow(before)

    def _begin(self) -> Sources | None:
        """Make heads if it is known what to predict; return that all of them are new."""
        is_open = (
            not self.is_trained
            or not self.labels.is_known
            or (
                isinstance(self.head, ClassHead)
                and not isinstance(self.head, MultiLabel)
                and len(self.head.classes_) < 2
            )
        )
        if is_open or self.experts is not None or not self._widths:
            return None
        n_raw = int(np.prod(self.head.raw_shape_))
        self.experts = ExpertHeads(
            self._widths,
            self._variances,
            n_raw,
            second_order=self.second_order,
            forgetting=self.forgetting,
        )
        self._terms = None
        return [None for _ in range(n_raw)]

    def _follow(self, before: Head) -> Sources | None:
        """Let the heads say the same in a new encoding; return what they are made of, if others."""
        assert self.experts is not None
        self._terms = None
        now = self.head
        if hasattr(now, "center_") and hasattr(before, "center_"):
            old, new = vars(before), vars(now)
            scale = np.where(new["scale_"] > 0, new["scale_"], 1.0)
            factor = old["scale_"] / scale
            self.experts.rescale(factor, (old["center_"] - new["center_"]) / scale)
            return None
        if not isinstance(now, ClassHead) or not isinstance(before, ClassHead):
            return None
        old_classes, classes = before.classes_.tolist(), now.classes_.tolist()
        if old_classes == classes:
            return None
        sources: Sources
        if len(old_classes) == 2:
            halves = {old_classes[0]: (0, -0.5), old_classes[1]: (0, 0.5)}
            sources = [halves.get(label) for label in classes]
        else:
            places = {label: (i, 1.0) for i, label in enumerate(old_classes)}
            sources = [places.get(label) for label in classes]
        self.experts.reshape(sources, -float(np.log(self.labels.n_labels)))
        return sources

    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return encoded labels, and their weights."""
        return self.head.encode(y, weight)

    def slopes(self, raw: Floats, target: Array, weight: Floats) -> LabelSlopes:
        """Return the losses and their derivatives for each expert's raw outputs.

        Parameters
        ----------
        raw : ndarray of shape (n_experts, n_rows, n_raw)
            The raw outputs.
        target : ndarray of shape (n_rows,) or (n_rows, n_columns)
            The encoded labels.
        weight : ndarray of the shape of `target`
            Their weights.
        """
        if self._terms is None:
            self._terms = label_terms(self.head.build_loss())
        n_experts, n_rows, n_raw = raw.shape
        flat = raw.reshape(n_experts * n_rows, *self.head.raw_shape_)
        repeated = np.concatenate([target] * n_experts)
        losses, slopes, curvatures = self._terms(flat, repeated)
        by_label = losses.reshape(n_experts, n_rows, -1)
        weights = weight.reshape(n_rows, -1)
        total = weights.sum(axis=1)
        of_rows = (by_label * weights).sum(axis=2) / np.where(total > 0, total, 1.0)
        if weights.shape[1] != n_raw:
            weights = np.broadcast_to(weights.mean(axis=1, keepdims=True), (n_rows, n_raw))
        shape = (n_experts, n_rows, n_raw)
        return LabelSlopes(of_rows, slopes.reshape(shape), curvatures.reshape(shape), weights)

    def mixture(self, present: Mask | None, n_rows: int) -> Floats:
        """Return the weights of the experts in each row, of shape (n_rows, n_experts)."""
        weights = np.broadcast_to(self.weigher.weights, (n_rows, self.weigher.n_outputs))
        if present is None:
            return weights
        weights = np.where(present, weights, 0.0)
        total = weights.sum(axis=1, keepdims=True)
        return weights / np.where(total > 0, total, 1.0)

    def mix(self, raw: Floats, mixture: Floats) -> tuple[Array, Array | None]:
        """Return the mixed raw outputs, and the mixed probabilities if there are classes.

        Parameters
        ----------
        raw : ndarray of shape (n_experts, n_rows, n_raw)
            The raw outputs.
        mixture : ndarray of shape (n_rows, n_experts)
            The weights of the experts.
        """
        n_experts, n_rows, _ = raw.shape
        mixed = np.einsum("lnr,nl->nr", raw, mixture).reshape(n_rows, *self.head.raw_shape_)
        if not isinstance(self.head, ClassHead):
            return mixed, None
        each = self.head.decode_proba(raw.reshape(n_experts * n_rows, *self.head.raw_shape_))
        each = each.reshape(n_experts, n_rows, *each.shape[1:])
        return mixed, np.einsum("lnk,nl->nk", each, mixture)
