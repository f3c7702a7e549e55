"""The history of a run in Keras's names."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from mtlearn._engine._net import Net
from mtlearn.heads import Head

__all__ = ["history_rows"]


def history_rows(
    net: Net, heads: Mapping[str, Head], weights_of_epochs: Sequence[Mapping[str, float]]
) -> list[dict[str, float]]:
    """Return one row per epoch, in Keras's names, with the constant outputs' losses too.

    Every row obeys ``loss == sum_k weight_k * loss_k + penalty``, and the same with ``val_`` over
    the outputs that are watched, at the weights of the objective's measure. An output without a
    label in the run has no loss. What the user's callbacks recorded keeps its name, unless that is
    one of ours.
    """
    layers = net.criterion_.names
    constant = {name: head.constant_loss_ for name, head in heads.items() if name not in layers}
    ours = {"epoch", "dur", "train_measure"}
    for prefix in ("train", "valid"):
        parts = ["loss", "penalty", "batch_count", *(f"{name}_loss" for name in layers)]
        ours |= {f"{prefix}_{part}" for part in parts}
    rows = []
    for epoch, weights in zip(net.history, weights_of_epochs, strict=False):
        extra = sum(weights[n] * loss for n, loss in constant.items() if weights[n])
        row = {"loss": epoch["train_loss"] + extra}
        losses = {name: epoch.get(f"train_{name}_loss") for name in layers} | constant
        row |= {f"{name}_loss": losses[name] for name in heads if losses[name] is not None}
        row |= {f"{name}_weight": weights[name] for name in heads}
        row["penalty"] = epoch["train_penalty"]
        if "valid_loss" in epoch:
            row["val_loss"] = epoch["valid_loss"]
            names = [name for name in heads if f"valid_{name}_loss" in epoch]
            row |= {f"val_{name}_loss": epoch[f"valid_{name}_loss"] for name in names}
            row["val_penalty"] = epoch["valid_penalty"]
        recorded = {key: float(value) for key, value in epoch.items() if _is_number(value)}
        rows.append(row | {key: recorded[key] for key in recorded if key not in {*ours, *row}})
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
