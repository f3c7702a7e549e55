"""A page that says what a fitted estimator is, as Markdown."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.utils.validation import check_is_fitted

from mtlearn._atomic import write_atomically
from mtlearn._validation import naming
from mtlearn._version import VERSION
from mtlearn.estimators import OnlineMultiOutputNet
from mtlearn.estimators._architecture import find_architecture
from mtlearn.estimators._base import BaseMultiOutputNet
from mtlearn.estimators._view import find_net, transform
from mtlearn.heads import ClassHead, Head, MultiLabel

__all__ = ["model_card"]

MOST = 12


def model_card(
    fitted: Any,
    X: Any = None,
    y: Any = None,
    *,
    title: str | None = None,
    date: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> str:
    """Return a page that says what a fitted estimator is, for those who get it.

    It has the outputs with their heads, classes or scales and weights; the losses of the last
    epoch, and scores; the stages of the network; the features; how it was trained; the versions
    that it was made with, and how to load and use it. The same estimator gives the same page.

    Parameters
    ----------
    fitted : estimator
        A fitted MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier or
        OnlineMultiOutputNet, a Pipeline that ends in one, or a search over either.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like, default=None
        Rows to score it on, which no fit has seen.
    y : Targets, dict of array-like, DataFrame or array-like, default=None
        Their labels, as for ``score``.
    title : str, default=None
        The title; None for the name of the class.
    date : str, default=None
        A date for the page, as text; None for none.
    path : str or path-like, default=None
        A file to write the page to, besides.

    Returns
    -------
    str
        The page, as Markdown.

    Raises
    ------
    TypeError
        For anything else than such an estimator.
    ValueError
        If only one of `X` and `y` is given.
    OSError
        If the file cannot be written.

    See Also
    --------
    MultiOutputNet.summary : The stages of the network as a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.deployment import model_card
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> page = model_card(MultiOutputNet(random_state=0).fit(X, y), title="Flats")
    >>> print(page[:78])
    # Flats
    <BLANKLINE>
    A fitted `MultiOutputNet` of mtlearn. It predicts `price` and `kind`.
    """
    if (X is None) != (y is None):
        raise ValueError("model_card: give both `X` and `y`, or neither.")
    try:
        net, steps = find_net(fitted)
    except TypeError:
        net, steps = fitted, []
    if not isinstance(net, BaseMultiOutputNet | OnlineMultiOutputNet):
        raise TypeError(
            f"model_card: `fitted` must be an estimator of mtlearn with a network, a Pipeline that "
            f"ends in one, or a search over either. Got {type(net).__name__}; of an ensemble or a "
            f"wrapper, take the estimators inside."
        )
    check_is_fitted(net)
    name = type(net).__name__
    about = f"A fitted `{name}` of mtlearn. It predicts {_listed(net.output_names_)}."
    sections: dict[str, str] = {f"# {title or name}": about + (f"\n\n{date}" if date else "")}
    sections["## Outputs"] = _outputs(net)
    if X is not None:
        with naming("model_card"):
            sections["## Scores"] = _scores(net, steps, X, y)
    if isinstance(net, BaseMultiOutputNet):
        sections["## Losses of the last epoch"] = _losses(net)
        sections["## Network"] = _network(net)
    sections["## Data"] = _data(fitted, net, steps)
    sections["## Training"] = _training(net)
    sections["## Versions"] = _versions()
    sections["## Use"] = _use(net, alone=fitted is net)
    page = "\n\n".join(f"{head}\n\n{body}" for head, body in sections.items() if body) + "\n"
    if path is not None:
        write_atomically(Path(path), page.encode())
    return page


def _outputs(net: Any) -> str:
    weights: Mapping[str, Any] = {**net.loss_weights_, **_recipe(net, "schedules", {})}
    return _table(
        ["output", "predicts", "head", "loss weight"],
        [
            [f"`{name}`", _predicts(head), f"`{_one_line(head)}`", _number(weights[name])]
            for name, head in net.heads_.items()
        ],
    )


def _predicts(head: Head) -> str:
    """Return what is predicted: classes, or numbers of some scale."""
    if isinstance(head, MultiLabel):
        return f"{len(head.classes_)} labels of 0 and 1"
    if isinstance(head, ClassHead):
        labels = head.classes_.tolist()
        more = ", ..." if len(labels) > MOST else ""
        return f"{len(labels)} classes: " + ", ".join(map(str, labels[:MOST])) + more
    columns = head.constant_label().shape[1:]
    text = "numbers" if columns == () else f"{columns[0]} columns of numbers"
    center, scale = getattr(head, "center_", None), getattr(head, "scale_", None)
    if center is not None and scale is not None and np.size(center) == 1:
        text += f", centre {float(np.ravel(center)[0]):.4g}, scale {float(np.ravel(scale)[0]):.4g}"
    return text


def _scores(net: Any, steps: list[Any], X: Any, y: Any) -> str:
    rows = transform(X, steps)
    found = net.scores(rows, y) if hasattr(net, "scores") else {"y": net.score(rows, y)}
    n_rows = len(next(iter(y.values()))) if isinstance(y, Mapping) else len(y)
    text = f"On {n_rows:,} rows: R2 of numbers, D2 of counts and quantiles, accuracy of classes."
    rows = [[f"`{name}`", f"{score:.4f}"] for name, score in found.items()]
    return f"{text}\n\n{_table(['output', 'score'], rows)}"


def _losses(net: Any) -> str:
    if not net.history_:
        return ""
    last = net.history_[-1]
    rows = []
    for name in [*net.output_names_, None]:
        key = "loss" if name is None else f"{name}_loss"
        values = [last.get(key), last.get(f"val_{key}")]
        shown = ["" if value is None else f"{value:.4g}" for value in values]
        rows.append(["in all" if name is None else f"`{name}`", *shown])
    text = "A loss of 1 is that of the best constant." if net.normalize_losses else ""
    return f"{text}\n\n{_table(['output', 'training', 'validation'], rows)}".strip()


def _network(net: Any) -> str:
    stages = find_architecture(net)
    n_all = sum(stage.n_parameters for stage in stages)
    n_members = len(getattr(net, "members_", [net]))
    text = f"{n_all:,} parameters"
    text += f", in each of {n_members} members." if n_members > 1 else "."
    rows = [
        [
            f"`{stage.name}`",
            stage.kind,
            f"`{stage.part}`",
            ", ".join(f"`{one}`" for one in stage.takes),
            "" if stage.shape is None else " x ".join(map(str, stage.shape)) or "1",
            f"{stage.n_parameters:,}",
        ]
        for stage in stages
    ]
    columns = ["stage", "kind", "part", "takes", "shape of a row", "parameters"]
    return f"{text}\n\n{_table(columns, rows)}"


def _data(fitted: Any, net: Any, steps: list[Any]) -> str:
    lines = []
    spec = getattr(net, "_spec", None)
    if isinstance(spec, dict):
        for name, one in spec.items():
            kind = "integers" if one.is_integer else "numbers"
            shape = " x ".join(map(str, one.shape)) or "1"
            lines.append(f"- input `{name}`: {kind}, {shape} in a row")
    else:
        outer = fitted if hasattr(fitted, "n_features_in_") else net
        names = getattr(outer, "feature_names_in_", None)
        text = "" if names is None else f": {_listed(names)}"
        lines.append(f"- {outer.n_features_in_} features{text}")
    lines += [f"- transformed before by `{_one_line(step)}`" for step in steps]
    return "\n".join(lines)


def _training(net: Any) -> str:
    facts: list[tuple[str, Any]] = []
    if isinstance(net, OnlineMultiOutputNet):
        facts.append(("rows, each learned once", f"{net.n_rows_seen_:,}"))
        for name, weights in net.expert_weights_.items():
            pairs = zip(net.expert_names_, np.ravel(weights), strict=True)
            text = ", ".join(f"{expert} {weight:.3f}" for expert, weight in pairs)
            facts.append((f"weights of the experts of `{name}`", text))
    else:
        first = net.members_[0] if hasattr(net, "members_") else net
        n_rows = max((n for _, n in first._totals.values()), default=0)
        facts += [
            ("rows that the losses are means over", f"{n_rows:,}"),
            ("epochs", net.n_iter_),
            ("epoch whose weights are kept", net.best_epoch_),
            ("type of numbers", _recipe(net, "dtype", "")),
        ]
    trunk = getattr(net, "trunk_", None)
    params = net.get_params(deep=False) | ({} if trunk is None else {"trunk": trunk})
    wanted = (
        "trunk",
        "optimizer",
        "optimizer_params",
        "learning_rate",
        "learning_rate_schedule",
        "alpha",
        "batch_size",
        "early_stopping",
        "weighting",
        "missing_targets",
        "n_members",
        "random_state",
    )
    shown = [
        (f"`{name}`", f"`{_one_line(params[name])}`")
        for name in wanted
        if params.get(name) is not None
    ]
    return "\n".join(f"- {name}: {value}" for name, value in [*facts, *shown])


def _versions() -> str:
    found = {
        "mtlearn": VERSION,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "Python": platform.python_version(),
    }
    return "\n".join(f"- {name} {version}" for name, version in found.items())


def _use(net: Any, *, alone: bool) -> str:
    """Return how to load and predict; a Pipeline or a stream's estimator has no file of its own."""
    proba = any(isinstance(head, ClassHead) for head in net.heads_.values())
    is_ours = alone and isinstance(net, BaseMultiOutputNet)
    module, file = ("mtlearn.persistence", "model.mtl") if is_ours else ("joblib", "model.joblib")
    made = "`mtlearn.persistence.save(model, path)`"
    if not is_ours:
        made = "`joblib.dump(model, path)`, of a source that you trust and with the versions above,"
    lines = [f"from {module} import load", "", f'model = load("{file}")', "model.predict(X)"]
    if proba:
        lines.append("model.predict_proba(X)")
    code = "\n".join(lines)
    return f"With a file that {made} has written:\n\n```python\n{code}\n```"


def _recipe(net: Any, name: str, default: Any) -> Any:
    return getattr(net.__dict__.get("_recipe"), name, default)


def _listed(names: Iterable[Any]) -> str:
    """Return names as text: `a`, `b` and `c`."""
    texts = [f"`{name}`" for name in names]
    if len(texts) > MOST * 4:
        texts = [*texts[: MOST * 4], f"{len(texts) - MOST * 4} more"]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]


def _number(value: Any) -> str:
    return f"`{_one_line(value)}`" if callable(value) else f"{value:g}"


def _one_line(value: Any) -> str:
    """Return a text of an object, without addresses in memory, which no two runs share."""
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    text = " ".join(repr(value).split()).replace("`", "'")
    return type(value).__name__ if " at 0x" in text else text


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without the columns that are empty in all rows."""
    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[line[i].replace("|", r"\|") for i in kept] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
