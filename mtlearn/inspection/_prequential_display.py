"""The errors on a stream, what of its features is available and the experts' weights, by time."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from mtlearn._typing import ArrayLike, Floats
from mtlearn._validation import check_known
from mtlearn.inspection._plots import as_text, colours_of_outputs, import_pyplot

__all__ = ["PrequentialDisplay"]

OWNER = "PrequentialDisplay"
WIDTH, PANEL, GAP = 8.0, 1.9, 0.12
GREY = "0.45"


class PrequentialDisplay:
    r"""The errors on a stream over time, its availability, and the weights of experts.

    For each output there is a panel with the mean error since the beginning and that of a window,
    and, where an estimator mixes experts, one with the weight of each; between them is one with the
    share of the features that is there. Make it with `from_result`.

    Parameters
    ----------
    rows : array-like of shape (n_records,)
        How many rows had come.
    cumulative_error : dict of str to array-like of shape (n_records,)
        The mean error of each output since the beginning.
    windowed_error : dict of str to array-like of shape (n_records,)
        The mean error of each output in a window.
    error_names : dict of str to str, default=None
        What the errors are; "error" where there is no name.
    availability : array-like of shape (n_records,), default=None
        The share of the features that is there; None for no panel.
    expert_weights : dict of str to array-like of shape (n_records, n_experts), default=None
        The weights of experts, by output; None for no panel.
    expert_names : sequence of str, default=()
        The experts.
    window : int, default=None
        How many rows a window has, for the legend.

    Attributes
    ----------
    rows, cumulative_error, windowed_error, error_names, availability, expert_weights
        As given; arrays instead of other array-likes.
    expert_names, window
        As given.
    cumulative_lines_ : dict of str to matplotlib.lines.Line2D
        The lines of errors since the beginning, by output.
    windowed_lines_ : dict of str to matplotlib.lines.Line2D
        The lines of errors in a window, by output.
    availability_line_ : matplotlib.lines.Line2D or None
        The line of the availability.
    expert_areas_ : dict of str to list of matplotlib.collections.PolyCollection
        The areas of the experts' weights, by output.
    axes_ : list of matplotlib.axes.Axes
        The panels, from the top down: errors, availability, weights.
    figure_ : matplotlib.figure.Figure
        The figure around them.

    Raises
    ------
    ValueError
        If curves differ in length, or have no output or no record.

    See Also
    --------
    mtlearn.model_selection.prequential : Makes the result.

    Examples
    --------
    >>> from mtlearn.inspection import PrequentialDisplay
    >>> display = PrequentialDisplay(
    ...     [100, 200, 300], {"kind": [0.4, 0.3, 0.25]}, {"kind": [0.4, 0.2, 0.15]},
    ...     availability=[0.5, 0.6, 0.5]).plot()
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['kind\nerror', 'features there']
    """

    cumulative_lines_: dict[str, Any]
    windowed_lines_: dict[str, Any]
    availability_line_: Any
    expert_areas_: dict[str, list[Any]]
    axes_: list[Any]
    figure_: Any

    def __init__(
        self,
        rows: ArrayLike,
        cumulative_error: Mapping[str, ArrayLike],
        windowed_error: Mapping[str, ArrayLike],
        *,
        error_names: Mapping[str, str] | None = None,
        availability: ArrayLike | None = None,
        expert_weights: Mapping[str, ArrayLike] | None = None,
        expert_names: Sequence[str] = (),
        window: int | None = None,
    ) -> None:
        self.rows = np.asarray(rows, dtype=np.float64)
        self.cumulative_error = _arrays(cumulative_error)
        self.windowed_error = _arrays(windowed_error)
        self.error_names = dict(error_names or {})
        self.availability = None if availability is None else np.asarray(availability, dtype=float)
        self.expert_weights = _arrays(expert_weights or {})
        self.expert_names = list(expert_names)
        self.window = window
        self._check()

    @classmethod
    def from_result(
        cls, result: Any, *, outputs: Sequence[str] | None = None, ax: Any = None
    ) -> Self:
        """Draw a result.

        Parameters
        ----------
        result : PrequentialResult
            What `mtlearn.model_selection.prequential` has found.
        outputs : sequence of str, default=None
            The outputs to show; None for all.
        ax : matplotlib.axes.Axes or sequence of them, default=None
            Where to draw, as `plot` has it.

        Returns
        -------
        PrequentialDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            For an unknown output.
        """
        names = list(result.cumulative_error) if outputs is None else list(outputs)
        check_known(names, result.cumulative_error, subject=f"{OWNER}: `outputs`")
        return cls(
            result.rows,
            {name: result.cumulative_error[name] for name in names},
            {name: result.windowed_error[name] for name in names},
            error_names=result.error_names,
            availability=result.availability,
            expert_weights={n: w for n, w in result.expert_weights.items() if n in names},
            expert_names=result.expert_names,
            window=result.window,
        ).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the panels, one below the other.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of them, default=None
            Where to draw: axes for each panel, or axes in whose place all are put; None for a new
            figure.

        Returns
        -------
        PrequentialDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` is a sequence of another number of axes than there are panels.
        """
        beside = ax is None
        axes = self.axes_ = self._make_axes(ax)
        left = iter(axes)
        self.cumulative_lines_, self.windowed_lines_ = {}, {}
        for name, colour in colours_of_outputs(self.cumulative_error).items():
            self._draw_errors(next(left), name, colour, beside=beside)
        self.availability_line_ = None
        if self.availability is not None:
            panel = next(left)
            [self.availability_line_] = panel.plot(self.rows, self.availability, color=GREY)
            panel.fill_between(self.rows, 0, self.availability, color=GREY, alpha=0.2, linewidth=0)
            panel.set(ylabel="features there", ylim=(0, 1.02))
        self.expert_areas_ = {
            name: self._draw_experts(next(left), name, beside=beside)
            for name in self.expert_weights
        }
        for panel in axes[:-1]:
            panel.tick_params(labelbottom=False)
        for panel in axes:
            panel.set_xlim(0, self.rows[-1])
        axes[-1].set_xlabel("rows")
        self.figure_ = axes[0].figure
        return self

    def _draw_errors(self, ax: Any, name: str, colour: str, *, beside: bool) -> None:
        marker = "o" if len(self.rows) == 1 else ""
        window = "window" if self.window is None else f"last {self.window} rows"
        windowed, cumulative = self.windowed_error[name], self.cumulative_error[name]
        [self.windowed_lines_[name]] = ax.plot(
            self.rows, windowed, color=colour, linewidth=1, alpha=0.75, marker=marker, label=window
        )
        [self.cumulative_lines_[name]] = ax.plot(
            self.rows, cumulative, color=colour, linewidth=2, marker=marker, label="all rows so far"
        )
        ax.set_ylabel(f"{as_text(name)}\n{self.error_names.get(name, 'error')}")
        ax.set_ylim(bottom=0)
        _add_legend(ax, ax.get_lines(), beside=beside)

    def _draw_experts(self, ax: Any, name: str, *, beside: bool) -> list[Any]:
        """Draw the weights on each other, the first expert at the bottom, darkest."""
        weights = self.expert_weights[name]
        n_experts = weights.shape[1]
        colours = import_pyplot(OWNER).get_cmap("viridis")(np.linspace(0.05, 0.95, n_experts))
        labels = [as_text(expert) for expert in self._experts(n_experts)]
        areas = ax.stackplot(self.rows, weights.T, labels=labels, colors=colours, linewidth=0)
        ax.set(ylabel=f"{as_text(name)}\nweights", ylim=(0, 1))
        _add_legend(ax, areas[::-1], beside=beside)
        return list(areas)

    def _experts(self, n_experts: int) -> list[str]:
        names = self.expert_names[:n_experts]
        return [*names, *(f"expert {i}" for i in range(len(names), n_experts))]

    def _make_axes(self, ax: Any) -> list[Any]:
        pyplot = import_pyplot(OWNER)
        n = len(self.cumulative_error) + len(self.expert_weights) + (self.availability is not None)
        if ax is None:
            size = (WIDTH, PANEL * n + 0.4)
            figure, axes = pyplot.subplots(n, 1, figsize=size, layout="constrained", squeeze=False)
            figure.align_ylabels(axes)
            return list(axes[:, 0])
        if hasattr(ax, "inset_axes"):
            ax.set_axis_off()
            height = 1 / n
            return [
                ax.inset_axes((0, 1 - (i + 1) * height, 1, height * (1 - GAP))) for i in range(n)
            ]
        axes = list(np.ravel(ax))
        if len(axes) != n:
            raise ValueError(
                f"{OWNER}: `ax` must be axes, or a sequence of one for each of {n} panels. Got "
                f"{len(axes)} axes."
            )
        return axes

    def _check(self) -> None:
        if not self.cumulative_error or self.rows.ndim != 1 or not len(self.rows):
            raise ValueError(
                f"{OWNER}: the curves must have an output and a record. Got the outputs "
                f"{list(self.cumulative_error)} and `rows` of the shape {self.rows.shape}."
            )
        if set(self.cumulative_error) != set(self.windowed_error):
            raise ValueError(
                f"{OWNER}: both errors must have the same outputs. Got "
                f"{list(self.cumulative_error)} and {list(self.windowed_error)}."
            )
        curves = [*self.cumulative_error.values(), *self.windowed_error.values()]
        curves += [] if self.availability is None else [self.availability]
        shapes = {curve.shape for curve in curves} - {self.rows.shape}
        tables = {table.shape for table in self.expert_weights.values()}
        shapes |= {shape for shape in tables if len(shape) != 2 or shape[:1] != self.rows.shape}
        if shapes:
            raise ValueError(
                f"{OWNER}: every curve must have an item for each of {len(self.rows)} rows. Got "
                f"the shapes {sorted(shapes)}."
            )


def _arrays(curves: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    return {name: np.asarray(curve, dtype=np.float64) for name, curve in curves.items()}


def _add_legend(ax: Any, handles: Sequence[Any], *, beside: bool) -> None:
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
    columns = 1 + (len(handles) - 1) // 8
    ax.legend(handles=handles, ncols=columns, fontsize="small", **(place if beside else {}))
