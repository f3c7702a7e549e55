"""Heads that attach to several tensors of a trunk."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mtlearn._engine._data import Batch

__all__ = ["JoinedTaps", "Tap"]

# What of a trunk a head takes: a tensor by name, several side by side, or the only one.
Tap: TypeAlias = str | tuple[str, ...] | None


class JoinedTaps(nn.Module):
    r"""A trunk that also gives some of its tensors side by side, by a tuple of their names.

    Shape: as the trunk, with tuples as further keys: (n_samples, sum of n_units).

    Parameters
    ----------
    trunk : torch.nn.Module
        The trunk, which returns named tensors.
    joined : sequence of tuple of str
        Which tensors to put side by side.

    Attributes
    ----------
    takes_taps : bool
        That `forward` can be asked for some tensors only.
    default : str or None
        The tensor for heads that name none.
    groups : mapping
        The names of the tensors that differ by output; see `Trunk.differs_by_output`.
    """

    takes_taps = True

    def __init__(self, trunk: nn.Module, joined: Sequence[tuple[str, ...]]) -> None:
        super().__init__()
        self.trunk, self.joined = trunk, list(dict.fromkeys(joined))
        self.default: str | None = getattr(trunk, "default", None)
        self.groups: Mapping[Any, Mapping[str, str]] = getattr(trunk, "groups", {})

    def forward(self, X: Batch, taps: Collection[Tap] | None = None) -> dict[Any, Tensor]:
        """Return the tensors named, by default all."""
        joined = [tap for tap in self.joined if taps is None or tap in taps]
        if not getattr(self.trunk, "takes_taps", False):
            found: Mapping[Any, Tensor] = self.trunk(X)
        else:
            found = self.trunk(X, None if taps is None else _single(taps))
        return {**found, **{tap: torch.cat([found[name] for name in tap], 1) for tap in joined}}

    @property
    def part_paths(self) -> dict[str, str]:
        """Where the parts are that have names in the trunk itself."""
        paths: dict[str, str] = getattr(self.trunk, "part_paths", {})
        paths = paths or {name: name for name, _ in self.trunk.named_children()}
        return {name: f"trunk.{path}" for name, path in paths.items()}

    def without_others(self, taps: Collection[Tap]) -> nn.Module:
        """Return the trunk with what some need; the parts are shared."""
        joined = [tap for tap in self.joined if tap in taps]
        trunk: Any = self.trunk
        if getattr(trunk, "takes_taps", False):
            trunk = trunk.without_others(_single(taps))
        return JoinedTaps(trunk, joined).train(self.training) if joined else trunk


def _single(taps: Collection[Tap]) -> set[str | None]:
    """Return the names of the tensors that some need."""
    singles: set[str | None] = set()
    for tap in taps:
        singles.update(tap if isinstance(tap, tuple) else [tap])
    return singles
