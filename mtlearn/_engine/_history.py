"""The history of a run in Keras's names."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

from mtlearn._engine._net import Net
from mtlearn.heads import Head

__all__ = ["history_rows"]


def history_rows(
    net: Net, heads: Mapping[str, Head], loss_weights: Mapping[str, float]
) -> list[dict[str, float]]:
    """Return one row per epoch, in Keras's names, with the constant outputs' losses too.

    Every row obeys ``loss == sum_k weight_k * loss_k + penalty``, and the same with ``val_`` over
    the outputs that are watched. An output without a label in the run has no loss. What the
    user's callbacks recorded keeps its name.
    """
    layers = net.criterion_.names
    constant = {name: head.constant_loss_ for name, head in heads.items() if name not in layers}
    extra = sum(loss_weights[name] * loss for name, loss in constant.items())
    rows = []
    for epoch in net.history:
        row = {"loss": epoch["train_loss"] + extra}
        losses = {name: epoch.get(f"train_{name}_loss") for name in layers} | constant
        row |= {f"{name}_loss": losses[name] for name in heads if losses[name] is not None}
        row |= {f"{name}_weight": loss_weights[name] for name in heads}
        row["penalty"] = epoch["train_penalty"]
        if "valid_loss" in epoch:
            row["val_loss"] = epoch["valid_loss"]
            names = [name for name in heads if f"valid_{name}_loss" in epoch]
            row |= {f"val_{name}_loss": epoch[f"valid_{name}_loss"] for name in names}
            row["val_penalty"] = epoch["valid_penalty"]
        row |= {key: float(value) for key, value in epoch.items() if _is_the_users(key, value)}
        rows.append(row)
    return rows


def _is_the_users(key: str, value: Any) -> bool:
    ours = key.startswith(("train_", "valid_", "event_")) or key.endswith("_best")
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and not ours and key not in ("epoch", "dur")
