"""The head for the order of two states."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from mtlearn._layers import dense
from mtlearn._typing import Array, ArrayLike, Floats
from mtlearn.heads._base import Head
from mtlearn.heads._classification import Classification

__all__ = ["PairOrder"]


class PairOrder(Classification):
    r"""Predict which of two states came first, given a memory of what was seen.

    Learned beside another output, it makes a recurrent memory keep the order of events. With the
    states :math:`a` and :math:`b`, the memory :math:`m` and a network :math:`g` of dense layers,
    the log-odds that :math:`a` came before :math:`b` are

    .. math:: f(a, b, m) = g(a, b, m) - g(b, a, m)

    and the loss of a label is the cross-entropy, divided by that of the best constant. The
    reference has :math:`g(a, b, m)` alone; the difference makes the probabilities of both orders
    sum to 1.

    Parameters
    ----------
    classes : array-like of shape (2,), default=None
        Both classes, that of the second state first before that of the first state first; None for
        the sorted labels, so that booleans and 0/1 say whether the first state came first.
    hidden_layer_sizes : array-like of int, default=(64,)
        The sizes of the layers of :math:`g`.
    at : str or list of str, default=None
        The trunk's layer that holds both states side by side, such as ``"take"`` of a Graph
        makes it; or that layer and those of the memory, ``["pair", "memory"]``.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    class_weight_ : ndarray of shape (n_classes,)
        Their weights, 1.
    raw_shape_ : tuple of int
        ``()``.
    constant_raw_ : ndarray of shape ``()``
        The log-odds of the class frequencies.
    baseline_ : float
        What each loss is divided by.
    constant_loss_ : float
        The loss of the best constant, divided by `baseline_`.
    is_constant_ : bool
        Whether there is only one class.

    See Also
    --------
    mtlearn.datasets.make_order_pairs : Draws pairs of steps from sequences.
    mtlearn.trunks.Graph : Takes the steps of a pair, and reads sequences into a memory.

    References
    ----------
    Ahmed, Zintgraf, Schroeder de Witt and Usunier, "A Self-Supervised Auxiliary Loss for Deep RL in
    Partially Observable Settings", 2021; Misra, Zitnick and Hebert, "Shuffle and Learn", 2016.

    Examples
    --------
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.datasets import make_grid_walks, make_order_pairs
    >>> from mtlearn.heads import PairOrder
    >>> from mtlearn.trunks import Embedding, Graph, Recurrent
    >>> X, y = make_order_pairs(make_grid_walks(50, random_state=0), random_state=0)
    >>> trunk = Graph([
    ...     ("embed", Embedding(25, 8, padding_id=None, scale=1.0), "states"),
    ...     ("memory", Recurrent(8), "embed"),
    ...     ("pair", "take", ["embed", "pair_steps"])])
    >>> heads = {"in_order": PairOrder(at=["pair", "memory"])}
    >>> net = MultiOutputNet(trunk, heads, max_epochs=2, random_state=0).fit(X, y)
    >>> net.predict_proba(X)["in_order"].shape
    (50, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "classes": ["array-like", None],
        **Head._parameter_constraints,
    }

    class_weight = None
    label_smoothing = 0.0

    def __init__(
        self,
        *,
        classes: ArrayLike | None = None,
        hidden_layer_sizes: Sequence[int] = (64,),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.classes = classes
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the two classes and their frequencies; see `Head.fit`."""
        super().fit(y, weight, normalize=normalize, more_to_come=more_to_come)
        if len(self.classes_) > 2:
            raise ValueError(
                f"PairOrder needs two classes, one for each order. Got {self.classes_.tolist()}."
            )
        return self

    def build(self, n_features: int | Sequence[int]) -> nn.Module:
        """Return the layers; shape (n_samples, sum of n_features) to (n_samples,)."""
        n_pair, *others = [n_features] if isinstance(n_features, int) else n_features
        if n_pair % 2:
            raise ValueError(
                f"PairOrder: the first layer of `at` must hold two states side by side. "
                f"{self.at!r} has {n_pair} units, which is odd."
            )
        sizes = [int(size) for size in self.hidden_layer_sizes]
        n_in = n_pair + sum(others)
        last = nn.Linear([n_in, *sizes][-1], 1, bias=False)  # a bias would cancel
        return OrderOfTwo(nn.Sequential(*dense(n_in, sizes), last), n_pair // 2)


class OrderOfTwo(nn.Module):
    """The log-odds that the first of two states came first."""

    def __init__(self, layers: nn.Module, n_units: int) -> None:
        super().__init__()
        self.layers, self.n_units = layers, n_units

    def forward(self, x: Tensor) -> Tensor:
        n = self.n_units
        swapped = torch.cat([x[:, n : 2 * n], x[:, :n], x[:, 2 * n :]], 1)
        return (self.layers(x) - self.layers(swapped)).squeeze(-1)
