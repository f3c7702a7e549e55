"""What a notebook shows of an estimator: scikit-learn's diagram with docs, outputs, network."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from html import escape, unescape
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from mtlearn._engine._recipe import Recipe
from mtlearn.estimators._architecture import find_architecture
from mtlearn.estimators._diagram import as_svg, note
from mtlearn.heads import ClassHead, Head
from mtlearn.weighting import Schedule

__all__ = ["ShowsOutputs"]

MAX_CLASSES = 6
# Of a parameter, or of a fitted attribute, which scikit-learn writes as a link.
NAME_CELL = re.compile(r'<td class="param"(>(?:<a [^>]*>)?([^<]+)<)')


class ShowsOutputs(BaseEstimator):
    """Adds the docs of parameters to the HTML, and once fitted the outputs and the network.

    scikit-learn shows docs only together with a link to their page, and for no nested parameter.
    """

    _default_parts: ClassVar[dict[str, Callable[[], Any]]]

    heads_: dict[str, Head]
    loss_weights_: dict[str, float]
    history_: list[dict[str, float]]
    _recipe: Recipe

    @property
    def _repr_html_(self) -> Callable[[], str]:
        diagram = super()._repr_html_
        return lambda: self._completed(diagram())

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] = self._completed(bundle["text/html"])
        return bundle

    def _completed(self, diagram: str) -> str:
        params = self.get_params()

        def with_docs(cell: re.Match[str]) -> str:
            docs = self._docs_of(unescape(cell[2]).strip(), params)
            return f'<td class="param" title="{escape(docs)}"{cell[1]}' if docs else cell[0]

        return NAME_CELL.sub(with_docs, diagram) + self._outputs_html()

    def _docs_of(self, name: str, params: Mapping[str, Any]) -> str:
        """Return the docs of a parameter or attribute; of a dict's entry, those of the dict."""
        owner, _, last = name.rpartition("__")
        part = params.get(owner) if owner else self
        if isinstance(part, Mapping):
            return self._docs_of(owner, params)
        made_by = type(part) if part is not None else self._default_parts.get(owner)
        return _docs(made_by).get(last, "")

    def _outputs_html(self) -> str:
        """Return the table and the picture of the network; nothing before the fit."""
        if not self.__sklearn_is_fitted__():
            return ""
        last = self.history_[-1] if self.history_ else {}
        weights: dict[str, Any] = {**self.loss_weights_, **self._recipe.schedules}
        rows = [_row(name, head, weights[name], last) for name, head in self.heads_.items()]
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
            + self._network_html()
        )

    def _network_html(self) -> str:
        title = f"The network of {type(self).__name__}"
        try:
            return as_svg(find_architecture(self), title)
        except Exception as error:  # noqa: BLE001 (a module of a user's own may; a repr never does)
            return note(f"{title} could not be drawn. {type(error).__name__}: {error}")


@cache
def _docs(cls: Any) -> dict[str, str]:
    """Return the docs of a class's parameters and attributes: type and text by name."""
    sections = re.split(r"\n\n(?=[^\n]+\n-{3,}\n)", (inspect.getdoc(cls) if cls else None) or "")
    docs: dict[str, str] = {}
    for section in sections:
        title, _, body = section.partition("\n")
        if title in ("Parameters", "Attributes"):
            entries = re.split(r"\n(?=\S)", body)[1:]
            docs |= {entry.partition(" : ")[0]: " ".join(entry.split()) for entry in entries}
    return docs


def _row(name: str, head: Head, weight: Any, last: Mapping[str, float]) -> dict[str, str]:
    losses = {
        "last loss": last.get(f"{name}_loss"),
        "last validation loss": last.get(f"val_{name}_loss"),
    }
    return {
        "output": name,
        "head": repr(head),
        "predicts": _predicts(head),
        "loss weight": _weight_text(weight),
        **{title: "" if loss is None else f"{loss:.3g}" for title, loss in losses.items()},
    }


def _weight_text(weight: Any) -> str:
    if isinstance(weight, Schedule):
        return repr(weight)
    return getattr(weight, "__name__", type(weight).__name__) if callable(weight) else f"{weight:g}"


def _predicts(head: Head) -> str:
    if not isinstance(head, ClassHead):
        columns = head.constant_label().shape[1:]
        return "numbers" if columns == () else f"{columns[0]} columns of numbers"
    classes = [str(label) for label in head.classes_[:MAX_CLASSES].tolist()]
    more = len(head.classes_) - len(classes)
    return f"{len(head.classes_)} classes: " + ", ".join(classes) + (", ..." if more else "")
