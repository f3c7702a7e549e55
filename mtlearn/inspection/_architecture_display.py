"""A network as a figure of matplotlib."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from mtlearn._optional import import_optional
from mtlearn._validation import naming
from mtlearn.estimators._architecture import Stage, find_architecture
from mtlearn.estimators._drawing import (
    FONT_SIZE,
    LINE,
    PAD,
    STRIP,
    Box,
    Drawing,
    Point,
    bars_of,
    colours_of,
    draw,
)
from mtlearn.estimators._predictions import Predictions
from mtlearn.estimators._view import find_net

__all__ = ["ArchitectureDisplay"]

UNITS_PER_INCH = 90


class ArchitectureDisplay:
    """The network of a fitted estimator: its stages, and which outputs train which.

    Each output has a colour. A stage of the trunk has a bar in the colours of the outputs whose
    losses train it; one that no loss trains is dashed. Make it with `from_estimator`.

    Parameters
    ----------
    stages : sequence of Stage
        The stages, as `from_estimator` finds them: the rows of `MultiOutputNet.summary`.

    Attributes
    ----------
    stages : sequence of Stage
        The stages. Each has the attributes ``name``, ``part``, ``takes``, ``shape``,
        ``n_parameters``, ``trained_by`` and ``kind``.
    ax_ : matplotlib.axes.Axes
        Where it was last drawn.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    See Also
    --------
    MultiOutputNet.summary : The same as a table.

    References
    ----------
    The stages are placed in layers with few crossings (Sugiyama, Tagawa and Toda, "Methods for
    Visual Understanding of Hierarchical System Structures", 1981).

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import ArchitectureDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = MultiOutputNet(max_epochs=2, random_state=0).fit(X, y)
    >>> display = ArchitectureDisplay.from_estimator(net)
    >>> [stage.name for stage in display.stages]
    ['X', 'hidden_1', 'hidden_2', 'price', 'kind']
    """

    stages: Sequence[Stage]
    ax_: Any
    figure_: Any

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the network of an estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator of mtlearn, a Pipeline that ends in one, or a search over either.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size.

        Returns
        -------
        ArchitectureDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `estimator` is none of these.
        ValueError
            If the network is too large for a picture.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        _import_matplotlib("pyplot")
        check_is_fitted(estimator)
        try:
            net, _ = find_net(estimator)
            if not isinstance(net, Predictions):
                raise TypeError("a Blend has several networks")
        except TypeError as error:
            raise TypeError(
                f"ArchitectureDisplay: `estimator` must be a fitted estimator of mtlearn, a "
                f"Pipeline that ends in one, or a search over either. Got {estimator!r}."
            ) from error
        return cls(find_architecture(net)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the network.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None for a new figure of the right size. The size of letters is made to
            fit the axes as they are.

        Returns
        -------
        ArchitectureDisplay
            The display itself.

        Raises
        ------
        ValueError
            If the network is too large for a picture.
        """
        with naming("ArchitectureDisplay"):
            drawing = draw(self.stages)
        if ax is None:
            size = drawing.width / UNITS_PER_INCH, drawing.height / UNITS_PER_INCH
            figure = _import_matplotlib("pyplot").figure(figsize=size)
            ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, drawing.width), ylim=(drawing.height, 0), aspect="equal")
        ax.set_axis_off()
        painter = _Painter(ax, drawing, colours_of(self.stages))
        for points in drawing.lines:
            painter.add_line(points)
        for box in drawing.boxes:
            painter.add_box(box)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class _Painter:
    """Draws boxes and lines on axes, whose units are those of the drawing."""

    def __init__(self, ax: Any, drawing: Drawing, colours: Mapping[str, str]) -> None:
        self._ax, self._drawing, self._colours = ax, drawing, colours
        self._patches, self._path = _import_matplotlib("patches"), _import_matplotlib("path").Path
        self._ink = _import_matplotlib("pyplot").rcParams["text.color"]
        box = ax.get_window_extent()
        scale = min(box.width / drawing.width, box.height / drawing.height)
        self._font_size = FONT_SIZE * scale * 72 / ax.figure.dpi

    def add_line(self, points: Sequence[Point]) -> None:
        path = self._path
        places, codes = [*points[:2]], [path.MOVETO, path.LINETO]
        for start, to, end in zip(points[1::2], points[2::2], points[3::2], strict=False):
            middle = (start[0] + to[0]) / 2, (start[1] + to[1]) / 2
            if self._drawing.is_down:
                places += [(start[0], middle[1]), (to[0], middle[1]), to, end]
            else:
                places += [(middle[0], start[1]), (middle[0], to[1]), to, end]
            codes += [*[path.CURVE4] * 3, path.LINETO]
        line = self._patches.PathPatch(
            path(places, codes), fill=False, edgecolor=self._ink, alpha=0.5, linewidth=1
        )
        self._ax.add_patch(line)

    def add_box(self, box: Box) -> None:
        stage = box.stage
        paint = self._colours.get(stage.name) if stage.kind in ("output", "constant") else None
        is_idle = stage.kind == "constant" or (stage.n_parameters and not stage.trained_by)
        rounding = 12 if stage.kind == "input" else 4
        shape = {"boxstyle": f"round,pad=0,rounding_size={rounding}", "mutation_aspect": 1}
        corner, line = (box.x, box.y), "--" if is_idle else "-"
        for settings in (
            {"facecolor": paint or self._ink, "alpha": 0.18 if paint else 0.05, "linewidth": 0},
            {"fill": False, "edgecolor": paint or self._ink, "alpha": 1 if paint else 0.5},
        ):
            patch = self._patches.FancyBboxPatch(
                corner, box.width, box.height, linestyle=line, **shape, **settings
            )
            self._ax.add_patch(patch)
        for i, text in enumerate(box.texts):
            self._ax.text(
                box.x + box.width / 2,
                box.y + PAD + LINE * (i + 0.5),
                text,
                ha="center",
                va="center",
                fontsize=self._font_size,
                fontweight="normal" if i else "bold",
                alpha=0.8 if i else 1,
                parse_math=False,
            )
        for name, x, width in bars_of(box, self._colours):
            bar = self._patches.Rectangle(
                (x, box.y + box.height - STRIP - 4), width, STRIP, color=self._colours[name], lw=0
            )
            self._ax.add_patch(bar)


def _import_matplotlib(module: str) -> Any:
    return import_optional(
        f"matplotlib.{module}",
        needed_by="ArchitectureDisplay",
        install='"scikit-mtlearn[plot]"',
    )
