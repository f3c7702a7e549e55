"""How the gradients of outputs agree with the main one's, by stage or over epochs."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from mtlearn._optional import import_optional
from mtlearn._typing import ArrayLike, RandomState, SampleWeight
from mtlearn.estimators._architecture import find_architecture
from mtlearn.estimators._drawing import COLOURS, colours_of
from mtlearn.inspection._fitted_rows import find_fitted
from mtlearn.inspection._gradient_history import trunk_cosines
from mtlearn.inspection._gradient_report import GradientReport, gradient_report

__all__ = ["GradientConflictDisplay"]

WIDTH, ROW, AROUND, HIGH = 6.4, 0.24, 1.1, 8.0  # inches
AGAINST = "#c33"


class GradientConflictDisplay:
    """The cosines of outputs' gradients with the main output's, by stage or over epochs.

    At 1 an output pulls the parameters where the main one does, at 0 it does what the main one does
    not mind, and below 0, where the ground is red, each undoes some of the other's work. Make it
    with `from_estimator`, `from_report` or `from_history`.

    Parameters
    ----------
    cosines : dict of str to array-like of shape (n_places,)
        The cosines of each output but the main one; NaN for none.
    places : sequence of str or of int
        What the cosines are of: names of stages, or numbers of epochs.
    main_output : str or None
        The output that the others are compared with; None if it is not known.
    colours : dict of str to str, default=None
        The colours of outputs; None for some.

    Attributes
    ----------
    cosines : dict of str to array-like of shape (n_places,)
        The cosines of each output.
    places : sequence of str or of int
        The stages or epochs.
    main_output : str or None
        The output that the others are compared with.
    colours : dict of str to str or None
        The colours of outputs.
    artists_ : dict of str to matplotlib artist
        What was drawn of each output: bars for stages, a line for epochs.
    legend_ : matplotlib.legend.Legend
        The legend.
    ax_ : matplotlib.axes.Axes
        Where it was last drawn.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    See Also
    --------
    gradient_report : The numbers by stage.
    GradientMonitor : The numbers over epochs.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import GradientConflictDisplay, GradientMonitor
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "rent": X[:, 0] + 0.1 * X[:, 1]}
    >>> net = MultiOutputNet(callbacks=[GradientMonitor()], max_epochs=2, random_state=0).fit(X, y)
    >>> display = GradientConflictDisplay.from_estimator(net, X, y)
    >>> display.places
    ['hidden_1', 'hidden_2']
    >>> GradientConflictDisplay.from_history(net).places
    [1, 2]
    """

    cosines: Mapping[str, ArrayLike]
    places: Sequence[str] | Sequence[int]
    main_output: str | None
    colours: Mapping[str, str] | None
    artists_: dict[str, Any]
    legend_: Any
    ax_: Any
    figure_: Any

    def __init__(
        self,
        cosines: Mapping[str, ArrayLike],
        places: Sequence[str] | Sequence[int],
        main_output: str | None,
        colours: Mapping[str, str] | None = None,
    ) -> None:
        self.cosines = cosines
        self.places = places
        self.main_output = main_output
        self.colours = colours

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: SampleWeight = None,
        *,
        aux: Any = None,
        main_output: str | None = None,
        batch_size: int | None = None,
        random_state: RandomState = None,
        ax: Any = None,
    ) -> Self:
        """Measure the gradients of a fitted estimator, and draw their cosines by stage.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator of mtlearn, a Pipeline that ends in one, or a search over either.
        X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
            The rows.
        y : Targets, dict of array-like, DataFrame or array-like
            Their targets, as ``fit`` takes them.
        sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
            Weights of the rows, as ``fit`` takes them.
        aux : Targets, dict of array-like or DataFrame, default=None
            Auxiliary targets, where ``fit`` takes them.
        main_output : str, default=None
            The output that the others are compared with; None for the estimator's main output, or
            the first one if it has none.
        batch_size : int, default=None
            Rows per batch; None for that of the fit.
        random_state : int, RandomState instance or None, default=None
            The order of rows in batches; None for the order that they have.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size.

        Returns
        -------
        GradientConflictDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no output shares a stage with the main one.
        """
        _import_matplotlib("pyplot")
        report = gradient_report(
            estimator,
            X,
            y,
            sample_weight,
            aux=aux,
            main_output=main_output,
            batch_size=batch_size,
            random_state=random_state,
        )
        return cls.from_report(report, ax=ax)

    @classmethod
    def from_report(cls, report: GradientReport, *, ax: Any = None) -> Self:
        """Draw the cosines of a report by stage.

        Parameters
        ----------
        report : GradientReport
            The numbers.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size.

        Returns
        -------
        GradientConflictDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no output shares a stage with the main one.
        """
        others = [k for k, name in enumerate(report.outputs) if name != report.main_output]
        known = ~np.isnan(report.cosines[:, others])
        stages = np.flatnonzero(np.any(known, axis=1))
        outputs = np.flatnonzero(np.any(known, axis=0))
        if not len(stages):
            raise ValueError(
                f"GradientConflictDisplay: some output must share a stage with the main one. None "
                f"of {report.outputs} does with {report.main_output!r}."
            )
        cosines = {report.outputs[others[k]]: report.cosines[stages, others[k]] for k in outputs}
        places = [report.stages[i] for i in stages]
        colours = colours_of(report.architecture)
        return cls(cosines, places, report.main_output, colours).plot(ax)

    @classmethod
    def from_history(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the cosines on the shared trunk that a GradientMonitor recorded, over the epochs.

        Parameters
        ----------
        estimator : estimator
            An estimator fitted with a `GradientMonitor` among its `callbacks`, a Pipeline that ends
            in one, or a search over either. Of ``n_members``, the first is shown.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        GradientConflictDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If nothing was recorded.
        """
        net, _, _ = find_fitted(estimator, "GradientConflictDisplay: `estimator`")
        epochs, cosines = trunk_cosines(net.history_)
        if not epochs:
            raise ValueError(
                "GradientConflictDisplay: the history has no gradients of outputs that share a "
                "stage. Fit the estimator with callbacks=[GradientMonitor()]."
            )
        colours = colours_of(find_architecture(net))
        others = [name for name in colours if name not in cosines]
        cosines = {name: cosines[name] for name in colours if name in cosines}
        return cls(cosines, epochs, others[0] if len(others) == 1 else None, colours).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the cosines.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size.

        Returns
        -------
        GradientConflictDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = _import_matplotlib("pyplot")
        by_stage = isinstance(self.places[0], str)
        if ax is None:
            bars = len(self.places) * (len(self.cosines) + 0.8)
            height = AROUND + min(ROW * bars, HIGH) if by_stage else 0.55 * WIDTH
            ax = pyplot.figure(figsize=(WIDTH, height), layout="constrained").add_subplot()
        colours = {
            name: (self.colours or {}).get(name, COLOURS[i % len(COLOURS)])
            for i, name in enumerate(self.cosines)
        }
        self.artists_ = self._bars(ax, colours) if by_stage else self._lines(ax, colours)
        main = "the main output's" if self.main_output is None else f"that of {self.main_output}"
        label = f"cosine of the gradient{' ' if by_stage else chr(10)}with {main}"
        along, across = (ax.xaxis, ax.yaxis) if by_stage else (ax.yaxis, ax.xaxis)
        span, line = (ax.axvspan, ax.axvline) if by_stage else (ax.axhspan, ax.axhline)
        span(-1.05, 0, color=AGAINST, alpha=0.1, linewidth=0, zorder=0)
        line(0, color=pyplot.rcParams["text.color"], linewidth=1)
        (ax.set_xlim if by_stage else ax.set_ylim)(-1.05, 1.05)
        along.set_label_text(label, parse_math=False)
        across.set_label_text("" if by_stage else "epoch")
        ax.spines[["top", "right"]].set_visible(False)
        self.legend_ = ax.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1), ncols=min(4, len(colours)), frameon=False
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _bars(self, ax: Any, colours: Mapping[str, str]) -> dict[str, Any]:
        """Draw a group of bars for each stage, the first one on top."""
        n, found = len(colours), {}
        places = np.arange(len(self.places))
        height = 0.8 / n
        has_room = ROW * len(places) * (n + 0.8) <= HIGH
        for k, (name, colour) in enumerate(colours.items()):
            where = places + height * (k - (n - 1) / 2)
            found[name] = ax.barh(where, self.cosines[name], height, color=colour, label=name)
            if has_room:
                ax.bar_label(found[name], fmt=_label, padding=3, fontsize="small")
        ax.set_yticks(places, self.places, parse_math=False)
        ax.set_ylim(len(places) - 0.5, -0.5)
        return found

    def _lines(self, ax: Any, colours: Mapping[str, str]) -> dict[str, Any]:
        """Draw a line for each output."""
        marker = "o" if len(self.places) < 30 else None
        ax.xaxis.get_major_locator().set_params(integer=True)
        return {
            name: ax.plot(
                self.places, self.cosines[name], color=colour, label=name, marker=marker, ms=4
            )[0]
            for name, colour in colours.items()
        }


def _label(cosine: float) -> str:
    return "" if np.isnan(cosine) else f"{round(cosine, 2) + 0:.2f}"


def _import_matplotlib(module: str) -> Any:
    return import_optional(
        f"matplotlib.{module}",
        needed_by="GradientConflictDisplay",
        install='"scikit-mtlearn[plot]"',
    )
