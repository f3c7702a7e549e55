"""The weights of the outputs' losses by epoch, and their shares in the total, as a figure."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from mtlearn._typing import Floats
from mtlearn.inspection._plots import (
    add_legend,
    as_text,
    colours_of_outputs,
    fitted_net,
    outputs_in,
    two_axes,
    whole_epochs,
)

__all__ = ["LossWeightsDisplay"]

DASH = 4


class LossWeightsDisplay:
    """The weight of each output's loss by epoch, and its share in the total loss.

    On the left are the weights as they were in each epoch, by ``loss_weights``, its schedules and
    ``weighting``. On the right is what they make of the total
    ``sum(weight * loss) + penalty``: an output with a small weight and a large loss may have the
    larger share. Of losses below 0 (such as those of ``Gaussian``) the shares are those of their
    size. Make it with `from_estimator` or `from_history`.

    Parameters
    ----------
    history : sequence of dict of str to float
        ``history_`` of a fitted net.

    Attributes
    ----------
    history
        As given.
    names : list of str
        The outputs.
    weights : dict of str to ndarray of shape (n_epochs,)
        The weight of each output.
    shares : dict of str to ndarray of shape (n_epochs,)
        The share of each output in the total loss.
    penalty_share : ndarray of shape (n_epochs,)
        The share of the penalty. The sum of all shares is 1.
    lines_ : dict of str to matplotlib.lines.Line2D
        The lines of the weights, by output.
    areas_ : dict of str to matplotlib.collections.PolyCollection
        The areas of the shares, by output.
    penalty_area_ : matplotlib.collections.PolyCollection
        The area of the penalty's share, grey.
    legend_ : matplotlib.legend.Legend
        The legend.
    axes_ : list of matplotlib.axes.Axes
        Where it was last drawn, weights and shares.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ValueError
        If `history` has no epoch or no output.

    See Also
    --------
    LossCurvesDisplay : Shows the losses.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import LossWeightsDisplay
    >>> from mtlearn.weighting import Linear
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = MultiOutputNet(loss_weights={"kind": Linear(0.4, 0.0, 2)}, max_epochs=3,
    ...                      random_state=0)
    >>> display = LossWeightsDisplay.from_estimator(net.fit(X, y))
    >>> display.weights["kind"]
    array([0.4, 0.2, 0. ])
    """

    lines_: dict[str, Any]
    areas_: dict[str, Any]
    penalty_area_: Any
    legend_: Any
    axes_: list[Any]
    figure_: Any

    def __init__(self, history: Sequence[Mapping[str, float]]) -> None:
        self.history = history
        self.names = outputs_in(history, "LossWeightsDisplay")
        self.weights = {name: self._column(f"{name}_weight") for name in self.names}
        self.shares, self.penalty_share = self._find_shares()

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the weights of a fit.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator of mtlearn, a Pipeline that ends in one, or a search over either.
        ax : matplotlib.axes.Axes or pair of them, default=None
            Where to draw, as `plot` has it.

        Returns
        -------
        LossWeightsDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `estimator` is none of these.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        return cls(fitted_net(estimator, "LossWeightsDisplay").history_).plot(ax)

    @classmethod
    def from_history(cls, history: Sequence[Mapping[str, float]], *, ax: Any = None) -> Self:
        """Draw the weights of a history.

        Parameters
        ----------
        history : sequence of dict of str to float
            ``history_`` of a fitted net.
        ax : matplotlib.axes.Axes or pair of them, default=None
            Where to draw, as `plot` has it.

        Returns
        -------
        LossWeightsDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(history).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the weights and the shares.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or pair of them, default=None
            Where to draw: axes for the weights and the shares, or axes in whose place both are
            put; None for a new figure.

        Returns
        -------
        LossWeightsDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` is a sequence of another number of axes.
        """
        is_new = ax is None
        left, right = self.axes_ = two_axes(ax, "LossWeightsDisplay")
        colours = colours_of_outputs(self.names)
        epochs = np.arange(1, len(self.history) + 1)
        marker = "o" if len(epochs) == 1 else ""
        self.lines_ = {
            name: left.plot(
                epochs,
                weights,
                linestyle=self._line_style(name),
                color=colours[name],
                marker=marker,
                label=as_text(name),
            )[0]
            for name, weights in self.weights.items()
        }
        edges = np.arange(len(epochs) + 1) + 0.5  # so that a single epoch has an area too
        shares = [*self.shares.values(), self.penalty_share]
        *areas, self.penalty_area_ = right.stackplot(
            edges,
            [np.append(share, share[-1]) for share in shares],
            labels=[*map(as_text, self.names), "penalty"],
            step="post",
            colors=[*colours.values(), "0.6"],
            alpha=0.85,
            linewidth=0,
        )
        self.areas_ = dict(zip(self.names, areas, strict=True))
        left.set(xlabel="epoch", ylabel="weight of the loss")
        top = max(np.nanmax(weights) for weights in self.weights.values()) or 1.0
        left.set_ylim(-0.02 * top, 1.05 * top)
        right.set(xlabel="epoch", ylabel="share of the total loss", ylim=(0, 1))
        for axes in self.axes_:
            axes.set_xlim(edges[0], edges[-1])
            whole_epochs(axes)
        handles = [self.penalty_area_] if self.penalty_share.any() else []
        handles += reversed(areas)  # in the order of the picture
        self.legend_ = add_legend(right, handles, beside=is_new)
        self.figure_ = left.figure
        return self

    def _line_style(self, name: str) -> Any:
        """Return a solid line; for outputs with the same weights dashes side by side."""
        same = [n for n in self.names if np.array_equal(self.weights[n], self.weights[name])]
        k = len(same)
        if k == 1:
            return "-"
        return (k - same.index(name)) * DASH, (DASH, DASH * (k - 1))

    def _column(self, name: str) -> Floats:
        return np.array([row.get(name, np.nan) for row in self.history], dtype=np.float64)

    def _find_shares(self) -> tuple[dict[str, Floats], Floats]:
        parts = {
            name: np.abs(np.nan_to_num(weights * self._column(f"{name}_loss")))
            for name, weights in self.weights.items()
        }
        penalty = np.abs(np.nan_to_num(self._column("penalty")))
        total = np.maximum(np.sum([*parts.values(), penalty], axis=0), np.finfo(float).tiny)
        return {name: part / total for name, part in parts.items()}, penalty / total
