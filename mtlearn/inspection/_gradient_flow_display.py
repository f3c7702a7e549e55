"""What each output contributes to the update of each stage, as a table of colours."""

from typing import Any, Self

import numpy as np

from mtlearn._optional import import_optional
from mtlearn._typing import RandomState, SampleWeight
from mtlearn.inspection._gradient_report import GradientReport, gradient_report

__all__ = ["GradientFlowDisplay"]

CELL, ROW, LETTER, AROUND = 0.95, 0.36, 0.085, 0.9  # inches
MARK = "\u2013"


class GradientFlowDisplay:
    """Which output makes how much of the update of each stage: a table with colours.

    The rows are the stages with parameters, in the order of computing, the columns are the outputs
    and the penalty. A cell is the part in the gradient that the optimizer gets, in percent: those
    of a row add up to 100, and one below 0 works against the sum. A dash marks where an output does
    not reach. Make it with `from_estimator` or `from_report`.

    Parameters
    ----------
    report : GradientReport
        The numbers.

    Attributes
    ----------
    report : GradientReport
        The numbers.
    image_ : matplotlib.image.AxesImage
        The colours.
    texts_ : ndarray of matplotlib.text.Text of shape (n_rows, n_columns)
        The numbers in the cells, and the dashes.
    ax_ : matplotlib.axes.Axes
        Where it was last drawn.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    See Also
    --------
    gradient_report : The numbers.
    ArchitectureDisplay : The stages as a picture.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import GradientFlowDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = MultiOutputNet(max_epochs=2, random_state=0).fit(X, y)
    >>> display = GradientFlowDisplay.from_estimator(net, X, y)
    >>> display.texts_.shape
    (4, 3)
    """

    report: GradientReport
    image_: Any
    texts_: Any
    ax_: Any
    figure_: Any

    def __init__(self, report: GradientReport) -> None:
        self.report = report

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
        """Measure the gradients of a fitted estimator, and draw them.

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
            The output that the others are compared with.
        batch_size : int, default=None
            Rows per batch; None for that of the fit.
        random_state : int, RandomState instance or None, default=None
            The order of rows in batches; None for the order that they have.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size.

        Returns
        -------
        GradientFlowDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
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
        """Draw a report.

        Parameters
        ----------
        report : GradientReport
            The numbers.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size.

        Returns
        -------
        GradientFlowDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(report).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the table.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size.

        Returns
        -------
        GradientFlowDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        report, pyplot = self.report, _import_matplotlib("pyplot")
        rows = [i for i, stage in enumerate(report.architecture) if stage.n_parameters]
        shares = np.column_stack([report.shares, report.penalty_shares])[rows]
        learns = report.reaches.any(axis=1)
        reaches = np.column_stack([report.reaches, learns & (report.penalty_shares != 0)])[rows]
        columns = [f"{n}\nweight {w:.3g}" for n, w in self._weights()] + ["penalty"]
        if ax is None:
            cell = max(CELL, LETTER * (1 + max(map(len, report.outputs))))
            names = LETTER * max(len(report.stages[i]) for i in rows)
            size = 0.3 + names + cell * len(columns), AROUND + ROW * len(rows)
            ax = pyplot.figure(figsize=size, layout="constrained").add_subplot()
        limit = max(1.0, float(np.abs(shares).max(initial=0)))
        self.image_ = ax.imshow(
            np.ma.masked_array(shares, ~reaches),
            cmap=pyplot.get_cmap("RdBu"),
            vmin=-limit,
            vmax=limit,
            aspect="auto",
        )
        self.texts_ = np.empty(shares.shape, dtype=object)
        for (i, j), share in np.ndenumerate(shares):
            is_dark = reaches[i, j] and abs(share) > 0.6 * limit
            self.texts_[i, j] = ax.text(
                j,
                i,
                _percent(share) if reaches[i, j] else MARK,
                ha="center",
                va="center",
                color="white" if is_dark else "black" if reaches[i, j] else "grey",
            )
        ax.set_xticks(range(len(columns)), columns, parse_math=False)
        ax.set_yticks(range(len(rows)), [report.stages[i] for i in rows], parse_math=False)
        ax.tick_params(length=0, labeltop=True, labelbottom=False)
        ax.spines[:].set_visible(False)
        ax.set_title("Share of the update in %", fontsize="medium")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _weights(self) -> list[tuple[str, float]]:
        return list(zip(self.report.outputs, self.report.loss_weights.tolist(), strict=True))


def _percent(share: float) -> str:
    """Return a share in percent, with a decimal where it is small."""
    percent = 100 * share
    return f"{round(percent, 1) + 0:.1f}" if abs(percent) < 0.95 else f"{percent:.0f}"


def _import_matplotlib(module: str) -> Any:
    return import_optional(
        f"matplotlib.{module}",
        needed_by="GradientFlowDisplay",
        install='"scikit-mtlearn[plot]"',
    )
