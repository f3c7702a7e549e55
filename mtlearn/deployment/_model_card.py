"""A page that says what a fitted estimator is, as Markdown."""

import os
import platform
import re
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
from mtlearn.estimators import MultiOutputNet, OnlineMultiOutputNet
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

    It has the outputs with their heads, classes or scales and weights; scores, and the losses of
    the epoch whose weights are kept; the stages of the network; the features; how it was trained;
    the versions that it was made with, and how to load and use it. The same estimator gives the
    same page.

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
    heading = " ".join((title or name).split())
    sections: dict[str, str] = {f"# {heading}": _about(net) + (f"\n\n{date}" if date else "")}
    sections["## Outputs"] = _outputs(net)
    if X is not None:
        with naming("model_card"):
            sections["## Scores"] = _scores(net, steps, X, y)
    if isinstance(net, BaseMultiOutputNet):
        sections["## Losses"] = _losses(net)
        sections["## Network"] = _network(net)
    sections["## Data"] = _data(fitted, net, steps)
    sections["## Training"] = _training(net)
    sections["## Versions"] = _versions()
    sections["## Use"] = _use(net, alone=fitted is net)
    page = "\n\n".join(f"{head}\n\n{body}" for head, body in sections.items() if body) + "\n"
    if path is not None:
        write_atomically(Path(path), page.encode())
    return page


def _about(net: Any) -> str:
    """Return what it is, and what it predicts: of a regressor that is not all that it learned."""
    main = [] if isinstance(net, MultiOutputNet) else getattr(net, "_needed_outputs", list)()
    beside = [name for name in net.output_names_ if main and name not in main]
    text = f"A fitted `{type(net).__name__}` of mtlearn. "
    text += f"It predicts {_listed(main or net.output_names_)}."
    return text + (f" It learned {_listed(beside)} beside." if beside else "")


def _outputs(net: Any) -> str:
    weights: Mapping[str, Any] = {**net.loss_weights_, **_recipe(net, "schedules", {})}
    return _table(
        ["output", "predicts", "head", "loss weight"],
        [
            [_code(name), _predicts(head), f"`{_one_line(head)}`", _number(weights[name])]
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
        return f"{len(labels)} classes: " + ", ".join(map(_plain, labels[:MOST])) + more
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
    rows = [[_code(name), f"{score:.4f}"] for name, score in found.items()]
    return f"{text}\n\n{_table(['output', 'score'], rows)}"


def _losses(net: Any) -> str:
    """Return the losses of the epoch whose weights are kept, of members their means."""
    members = getattr(net, "members_", [net])
    kept = [one.history_[one.best_epoch_ - 1] for one in members if one.history_]
    if not kept:
        return ""
    varies = net.weighting is not None or bool(_recipe(net, "schedules", {}))
    rows = []
    for name in [*net.output_names_, None]:
        key = "loss" if name is None else f"{name}_loss"
        columns = [key, f"val_{key}", f"{name}_weight" if varies else ""]
        found = [[row[column] for row in kept if column in row] for column in columns]
        shown = [f"{np.mean(values):.4g}" if values else "" for values in found]
        rows.append(["in all" if name is None else _code(name), *shown])
    text = "Of the epoch whose weights are kept."
    if len(kept) > 1:
        text = "Means over the members, each of the epoch whose weights are kept."
    text += " A loss of 1 is that of the best constant." if net.normalize_losses else ""
    return f"{text}\n\n{_table(['output', 'training', 'validation', 'weight'], rows)}"


def _network(net: Any) -> str:
    stages = find_architecture(net)
    n_all = sum(stage.n_parameters for stage in stages)
    n_members = len(getattr(net, "members_", [net]))
    text = f"{n_all:,} parameters"
    text += f", in each of {n_members} members." if n_members > 1 else "."
    rows = [
        [
            _code(stage.name),
            stage.kind,
            _code(stage.part),
            ", ".join(map(_code, stage.takes)),
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
            lines.append(f"- input {_code(name)}: {kind}, {shape} in a row")
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
            text = ", ".join(f"{_plain(expert)} {weight:.3f}" for expert, weight in pairs)
            facts.append((f"weights of the experts of {_code(name)}", text))
    else:
        first = net.members_[0] if hasattr(net, "members_") else net
        n_rows = max((n for _, n in first._totals.values()), default=0)
        facts += [("rows that the losses are means over", f"{n_rows:,}")] if n_rows else []
        facts += [
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
    """Return how to load and predict; a Pipeline or a search has no file of its own."""
    proba = hasattr(net, "predict_proba") and any(
        isinstance(head, ClassHead) for head in net.heads_.values()
    )
    module, file = "mtlearn.persistence", "model.safetensors"
    made = "`mtlearn.persistence.save(model, path)`"
    if not alone:
        module, file = "joblib", "model.joblib"
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
    texts = [_code(name) for name in names]
    if len(texts) > MOST * 4:
        texts = [*texts[: MOST * 4], f"{len(texts) - MOST * 4} more"]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]


def _code(text: Any) -> str:
    """Return a text as a span of code in one line, whatever is in it."""
    text = str(text).replace("\n", "\\n").replace("\r", "\\r")
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"


def _plain(text: Any) -> str:
    """Return a text in one line, in which nothing is Markdown."""
    text = str(text).replace("\\", r"\\").replace("\n", r"\\n").replace("\r", r"\\r")
    return re.sub(r"([`*\[\]<>&~$]|(?<!\w)_|_(?!\w))", r"\\\1", text)


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
