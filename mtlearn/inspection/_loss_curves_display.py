"""The losses of each output by epoch, as a figure."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from mtlearn._validation import check_known
from mtlearn.inspection._plots import (
    add_legend,
    as_text,
    colours_of_outputs,
    fitted_net,
    make_axes,
    outputs_in,
    whole_epochs,
)

__all__ = ["LossCurvesDisplay"]


class LossCurvesDisplay:
    """The loss of each output by epoch, on the rows trained on and on those held out.

    Losses are as in ``history_``: without their weights, and such that 1 is the loss of the best
    constant, unless ``normalize_losses=False``. Those of the training rows are solid lines, those
    of held-out rows dashed ones. Make it with `from_estimator` or `from_history`.

    Parameters
    ----------
    history : sequence of dict of str to float
        ``history_`` of a fitted net.
    best_epoch : int, default=None
        The epoch, from 1 on, that the net's weights are of; it is marked. None for none.
    names : sequence of str, default=None
        The outputs to show; None for all.

    Attributes
    ----------
    history, best_epoch
        As given.
    names : list of str
        The outputs that are shown.
    lines_ : dict of str to matplotlib.lines.Line2D
        The lines, by column of the history: ``"price_loss"``, ``"val_price_loss"``.
    best_line_ : matplotlib.lines.Line2D or None
        The line at the best epoch.
    legend_ : matplotlib.legend.Legend
        The legend.
    ax_ : matplotlib.axes.Axes
        Where it was last drawn.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ValueError
        If `history` has no epoch or no output, or `names` names another one.

    See Also
    --------
    LossWeightsDisplay : Shows the weights, and the shares in the total loss.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import LossCurvesDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = MultiOutputNet(max_epochs=2, early_stopping=True, random_state=0).fit(X, y)
    >>> display = LossCurvesDisplay.from_estimator(net)
    >>> list(display.lines_)
    ['price_loss', 'val_price_loss', 'kind_loss', 'val_kind_loss']
    """

    lines_: dict[str, Any]
    best_line_: Any
    legend_: Any
    ax_: Any
    figure_: Any

    def __init__(
        self,
        history: Sequence[Mapping[str, float]],
        best_epoch: int | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.history, self.best_epoch = history, best_epoch
        self._outputs = outputs_in(history, "LossCurvesDisplay")
        self.names = self._outputs if names is None else list(names)
        check_known(self.names, self._outputs, subject="LossCurvesDisplay: `names`")

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, names: Sequence[str] | None = None, ax: Any = None
    ) -> Self:
        """Draw the losses of a fit.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator of mtlearn, a Pipeline that ends in one, or a search over either.
        names : sequence of str, default=None
            The outputs to show; None for all.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        LossCurvesDisplay
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
        net = fitted_net(estimator, "LossCurvesDisplay")
        return cls(net.history_, net.best_epoch_, names).plot(ax)

    @classmethod
    def from_history(
        cls,
        history: Sequence[Mapping[str, float]],
        *,
        best_epoch: int | None = None,
        names: Sequence[str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the losses of a history.

        Parameters
        ----------
        history : sequence of dict of str to float
            ``history_`` of a fitted net.
        best_epoch : int, default=None
            The epoch, from 1 on, that is marked; None for none.
        names : sequence of str, default=None
            The outputs to show; None for all.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        LossCurvesDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(history, best_epoch, names).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        LossCurvesDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        is_new, ax = ax is None, make_axes(ax, "LossCurvesDisplay")
        colours = colours_of_outputs(self._outputs)
        epochs = np.arange(1, len(self.history) + 1)
        marker = "o" if len(epochs) == 1 else ""
        self.lines_ = {}
        for name in self.names:
            for prefix, style in (("", "-"), ("val_", "--")):
                column = f"{prefix}{name}_loss"
                losses = [row.get(column, np.nan) for row in self.history]
                if not np.isnan(losses).all():
                    look = {"color": colours[name], "linestyle": style, "marker": marker}
                    self.lines_[column] = ax.plot(epochs, losses, label=as_text(name), **look)[0]
        self.best_line_ = None
        if self.best_epoch is not None:
            said = f"best epoch, {self.best_epoch}"
            look = {"color": "0.5", "linestyle": ":", "label": said, "zorder": 0}
            self.best_line_ = ax.axvline(self.best_epoch, **look)
        ax.set(xlabel="epoch", ylabel="loss")
        whole_epochs(ax)
        self.legend_ = add_legend(ax, self._handles(ax), beside=is_new)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _handles(self, ax: Any) -> list[Any]:
        """Return what the legend shows: colours, styles of lines, and the best epoch."""
        columns = [f"{name}_loss" for name in self.names]
        handles = [self.lines_[column] for column in columns if column in self.lines_]
        if len(self.lines_) > len(handles):
            for style, said in (("-", "training rows"), ("--", "held-out rows")):
                handles += ax.plot([], [], color="0.5", linestyle=style, label=said)
        return handles + ([self.best_line_] if self.best_line_ is not None else [])
