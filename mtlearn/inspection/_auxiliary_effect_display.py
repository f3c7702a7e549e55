"""The effect of auxiliary outputs by the weight of their loss, as a figure."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from mtlearn._typing import ArrayLike
from mtlearn.inspection._auxiliary_effect import AuxiliaryEffect, auxiliary_effect
from mtlearn.inspection._plots import (
    add_legend,
    as_text,
    colours_of_outputs,
    import_pyplot,
    make_axes,
)

__all__ = ["AuxiliaryEffectDisplay"]

SPREAD = 0.4


class AuxiliaryEffectDisplay:
    """How the main output's score changes with the weight of each auxiliary output.

    Each weight has the mean difference to the score at weight 0, with its interval; a filled point
    is one whose interval does not hold 0. The weights are in equal distances, not to scale; with a
    random control, its difference is the last. Make it with `from_effect` or `from_estimator`.

    Parameters
    ----------
    effect : AuxiliaryEffect
        What `auxiliary_effect` returns.

    Attributes
    ----------
    effect : AuxiliaryEffect
        As given.
    points_ : dict of str to matplotlib.collections.PathCollection
        The points of each auxiliary output, in the order of its weights; last the random control.
    intervals_ : dict of str to matplotlib.collections.LineCollection
        Their intervals.
    zero_line_ : matplotlib.lines.Line2D
        The line of no difference.
    legend_ : matplotlib.legend.Legend
        The legend, with the verdicts.
    ax_ : matplotlib.axes.Axes
        Where it was last drawn.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    See Also
    --------
    auxiliary_effect : Finds the effect, and says it in words.

    Examples
    --------
    >>> from mtlearn.inspection import AuxiliaryEffect, AuxiliaryEffectDisplay
    >>> scores = [[0.50, 0.52, 0.48, 0.51], [0.60, 0.61, 0.59, 0.60]]
    >>> effect = AuxiliaryEffect("price", {"kind": [0, 0.3]}, {"kind": scores}, test_ratio=1 / 3)
    >>> display = AuxiliaryEffectDisplay.from_effect(effect)
    >>> [text.get_text() for text in display.legend_.get_texts()]
    ['kind: helps']
    """

    points_: dict[str, Any]
    intervals_: dict[str, Any]
    zero_line_: Any
    legend_: Any
    ax_: Any
    figure_: Any

    def __init__(self, effect: AuxiliaryEffect) -> None:
        self.effect = effect

    @classmethod
    def from_effect(cls, effect: AuxiliaryEffect, *, ax: Any = None) -> Self:
        """Draw an effect that is known.

        Parameters
        ----------
        effect : AuxiliaryEffect
            What `auxiliary_effect` returns.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        AuxiliaryEffectDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(effect).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        weights: Mapping[str, ArrayLike],
        *,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Find the effect by fits of an estimator, and draw it.

        Parameters
        ----------
        estimator : estimator
            A net with a main output, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : dict of array-like, Targets, DataFrame or array-like
            The targets.
        weights : mapping of str to array-like of shape (n_weights,)
            The weights to try of each auxiliary output.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure.
        **options : Any
            What `auxiliary_effect` takes besides.

        Returns
        -------
        AuxiliaryEffectDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed; before any fit.
        """
        import_pyplot("AuxiliaryEffectDisplay")
        return cls(auxiliary_effect(estimator, X, y, weights, **options)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the effect.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        AuxiliaryEffectDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        is_new, ax = ax is None, make_axes(ax, "AuxiliaryEffectDisplay")
        effect = self.effect
        colours = colours_of_outputs([effect.main, *effect.weights])
        grid = np.unique(np.concatenate(list(effect.weights.values())))
        self.zero_line_ = ax.axhline(0, color="0.5", linewidth=1, zorder=0)
        self.points_, self.intervals_ = {}, {}
        n_outputs = len(effect.weights)
        for i, (name, weights) in enumerate(effect.weights.items()):
            places = np.searchsorted(grid, weights).astype(np.float64)
            rows = np.stack([effect.means[name], effect.lower[name], effect.upper[name]])
            if name in effect.random_differences:
                places = np.append(places, len(grid))
                rows = np.column_stack([rows, effect.random_differences[name]])
            places += SPREAD * ((i + 0.5) / n_outputs - 0.5)
            means, lower, upper = rows
            is_sure = (lower > 0) | (upper < 0)
            colour = colours[name]
            self.intervals_[name] = ax.vlines(places, lower, upper, color=colour, linewidth=2)
            self.points_[name] = ax.scatter(
                places,
                means,
                s=40,
                facecolor=[colour if sure else ax.get_facecolor() for sure in is_sure],
                edgecolor=colour,
                linewidth=1.5,
                zorder=3,
                label=f"{as_text(name)}: {effect.verdicts[name]}",
            )
        labels = [f"{weight:g}" for weight in grid]
        if effect.random_differences:
            labels.append("random")
        ax.set_xticks(range(len(labels)), labels)
        ax.set(xlabel="weight of the loss", ylabel=f"change of the score of {as_text(effect.main)}")
        self.legend_ = add_legend(ax, list(self.points_.values()), beside=is_new)
        self.ax_, self.figure_ = ax, ax.figure
        return self
