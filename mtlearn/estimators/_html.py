"""What a notebook shows of an estimator beside scikit-learn's diagram: a table of its outputs."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from sklearn.base import BaseEstimator

from mtlearn.heads import ClassHead, Head

__all__ = ["ShowsOutputs"]

MAX_CLASSES = 6


class ShowsOutputs(BaseEstimator):
    """Adds a table of the outputs to the HTML of a fitted estimator."""

    heads_: dict[str, Head]
    loss_weights_: dict[str, float]
    history_: list[dict[str, float]]

    @property
    def _repr_html_(self) -> Callable[[], str]:
        diagram = super()._repr_html_
        return lambda: diagram() + self._outputs_html()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += self._outputs_html()
        return bundle

    def _outputs_html(self) -> str:
        """Return the table; nothing before the fit."""
        if not hasattr(self, "module_"):
            return ""
        last = self.history_[-1] if self.history_ else {}
        rows = [
            _row(name, head, self.loss_weights_[name], last) for name, head in self.heads_.items()
        ]
        columns = [column for column in rows[0] if any(row[column] for row in rows)]
        return (
            "<table><caption>Outputs</caption><thead><tr>"
            + "".join(f"<th>{column}</th>" for column in columns)
            + "</tr></thead><tbody>"
            + "".join(
                "<tr>" + "".join(f"<td>{escape(row[c])}</td>" for c in columns) + "</tr>"
                for row in rows
            )
            + "</tbody></table>"
        )


def _row(name: str, head: Head, weight: float, last: Mapping[str, float]) -> dict[str, str]:
    losses = {
        "last loss": last.get(f"{name}_loss"),
        "last validation loss": last.get(f"val_{name}_loss"),
    }
    return {
        "output": name,
        "head": repr(head),
        "predicts": _predicts(head),
        "loss weight": f"{weight:g}",
        **{title: "" if loss is None else f"{loss:.3g}" for title, loss in losses.items()},
    }


def _predicts(head: Head) -> str:
    if not isinstance(head, ClassHead):
        return "numbers" if head.raw_shape_ == () else f"{head.raw_shape_[0]} columns of numbers"
    classes = [str(label) for label in head.classes_[:MAX_CLASSES].tolist()]
    more = len(head.classes_) - len(classes)
    return f"{len(head.classes_)} classes: " + ", ".join(classes) + (", ..." if more else "")
