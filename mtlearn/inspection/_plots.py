"""What the displays of outputs share: axes, a colour for each output, the net of an estimator."""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mtlearn._optional import import_optional
from mtlearn.estimators._drawing import COLOURS
from mtlearn.estimators._predictions import Predictions
from mtlearn.estimators._view import find_net

__all__ = [
    "add_legend",
    "as_text",
    "colours_of_outputs",
    "fitted_net",
    "import_pyplot",
    "make_axes",
    "outputs_in",
    "two_axes",
    "whole_epochs",
]

SIZE = (8, 4)
WIDE = (9, 3.6)


def make_axes(ax: Any, owner: str) -> Any:
    """Return the axes given, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    pyplot = import_pyplot(owner)
    return pyplot.subplots(figsize=SIZE, layout="constrained")[1] if ax is None else ax


def two_axes(ax: Any, owner: str) -> list[Any]:
    """Return the two axes given, two in the place of those given, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        For a sequence of another number of axes.
    """
    pyplot = import_pyplot(owner)
    if ax is None:
        return list(pyplot.subplots(1, 2, figsize=WIDE, layout="constrained")[1])
    if hasattr(ax, "inset_axes"):
        ax.set_axis_off()
        return [ax.inset_axes((left, 0, 0.42, 1)) for left in (0, 0.58)]
    axes = list(np.ravel(ax))
    if len(axes) != 2:
        raise ValueError(f"{owner}: `ax` must be axes, or a pair of them. Got {len(axes)} axes.")
    return axes


def add_legend(ax: Any, handles: Sequence[Any], *, beside: bool) -> Any:
    """Return a legend: beside axes of our own, where it hides nothing; inside those of a user."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
    return ax.legend(handles=handles, **(place if beside else {}))


def whole_epochs(ax: Any) -> None:
    """Let the ticks of the horizontal axis be whole numbers."""
    ticker = import_optional("matplotlib.ticker", needed_by="", install="")
    ax.xaxis.set_major_locator(ticker.MaxNLocator(nbins="auto", integer=True, min_n_ticks=1))


def as_text(name: str) -> str:
    """Return a name such that a legend shows it as it is: no formula, and nothing to hide."""
    text = name.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def import_pyplot(owner: str) -> Any:
    """Return matplotlib's pyplot, or raise an ImportError that says what to install."""
    return import_optional("matplotlib.pyplot", needed_by=owner, install='"scikit-mtlearn[plot]"')


def colours_of_outputs(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each output, those of ArchitectureDisplay for outputs in this order."""
    colours = {}
    for i, name in enumerate(names):
        rgb = colorsys.hls_to_rgb((0.08 + i * 0.618034) % 1, 0.55 - 0.1 * (i % 2), 0.5)
        more = "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
        colours[name] = COLOURS[i] if i < len(COLOURS) else more
    return colours


def fitted_net(estimator: Any, owner: str) -> Any:
    """Return the net that a fitted estimator ends in.

    Raises
    ------
    TypeError
        If it ends in none.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    check_is_fitted(estimator)
    try:
        net, _ = find_net(estimator)
        if not isinstance(net, Predictions):
            raise TypeError("a Blend has several networks")
    except TypeError as error:
        raise TypeError(
            f"{owner}: `estimator` must be a fitted estimator of mtlearn, a Pipeline that ends in "
            f"one, or a search over either. Got {estimator!r}."
        ) from error
    return net


def outputs_in(history: Sequence[Mapping[str, float]], owner: str) -> list[str]:
    """Return the outputs of a history: what has a loss and a weight.

    Raises
    ------
    ValueError
        If there is no epoch, or no output.
    """
    columns = dict.fromkeys(column for row in history for column in row)
    names = [column.removesuffix("_weight") for column in columns if column.endswith("_weight")]
    outputs = [name for name in names if f"{name}_loss" in columns]
    if not outputs:
        raise ValueError(
            f"{owner}: the history must have an epoch, and of each output the columns "
            f"'<output>_loss' and '<output>_weight'. Got {list(columns)}; pass `history_` of a "
            f"fitted net."
        )
    return outputs
