"""The trunk with experts that outputs share, and experts of their own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._sklearn import Interval
from mtlearn.trunks._around import Around
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._experts import Experts, Gate, build_gate

__all__ = ["PLE"]

Name = str | None


class PLE(Experts):
    r"""Progressive layered extraction: shared experts, and experts of each output, in levels.

    Heads take the mixture of their output; with ``at=`` the name of an output, that of another.
    An output trains its own experts and the shared ones; through the shared ones of a further
    level, the own ones of all others in the levels before. One level is customised gate control
    (CGC): nothing of an output's own is trained by another.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units), one per output.

    Parameters
    ----------
    part : Trunk, torch.nn.Module or callable, default=None
        The form of each expert, which makes rows of one axis; None for ``MLP()``. A module is a
        template whose weights are the first ones of all experts; a callable makes other ones for
        each.
    n_shared_experts : int, default=2
        The number of experts in a level that all outputs share.
    n_own_experts : int, default=1
        The number of experts in a level that each output has for itself.
    n_levels : int, default=1
        The number of levels.

    See Also
    --------
    mtlearn.trunks.MMoE : Has shared experts only.

    Notes
    -----
    In level j, output k has the state :math:`s^j_k = \sum_i g_{ki}(s^{j-1}_k) e_i`, where
    :math:`e_i` are what its own experts make of :math:`s^{j-1}_k` and the shared ones of
    :math:`s^{j-1}`, and :math:`g_k` is the softmax of an affine map. The shared state
    :math:`s^j` is a mixture of all experts of the level, by a gate of its own on :math:`s^{j-1}`;
    the last level has none. All states begin as the row x. The paper's gates have no bias.

    References
    ----------
    Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for
    Personalized Recommendations", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.trunks import MLP, PLE
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = {"sum": X.sum(axis=1), "product": X.prod(axis=1)}
    >>> net = MultiOutputNet(PLE(MLP((16,)), n_levels=2), random_state=0).fit(X, y)
    >>> net.embed(X, at="sum").shape
    (200, 16)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Around._parameter_constraints,
        "n_shared_experts": [Interval(Integral, 1, None, closed="left")],
        "n_own_experts": [Interval(Integral, 1, None, closed="left")],
        "n_levels": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        part: Trunk | nn.Module | Callable[..., nn.Module] | None = None,
        *,
        n_shared_experts: int = 2,
        n_own_experts: int = 1,
        n_levels: int = 1,
    ) -> None:
        self.part = part
        self.n_shared_experts = n_shared_experts
        self.n_own_experts = n_own_experts
        self.n_levels = n_levels

    def build_named(self, n_features: Any, outputs: Collection[str] = ()) -> nn.Module:
        """Return the levels for the outputs; for one without a name if there are none."""
        width, root = self._width(n_features), torch.initial_seed()
        names: list[Name] = [*sorted(outputs)] or [None]
        levels = []
        for j in range(self.n_levels):
            level, width = self._build_level(
                width, names, f"level {j}", root, is_last=j == self.n_levels - 1
            )
            levels.append(level)
        return PLEModule(levels)

    def _build_level(
        self, width: int, names: Sequence[Name], prefix: str, root: int, *, is_last: bool
    ) -> tuple["Level", int]:
        n_shared, n_own = self.n_shared_experts, self.n_own_experts
        shared, n_units = self._build_experts(width, n_shared, f"{prefix}/shared", root)
        own = {
            name: self._build_experts(width, n_own, f"{prefix}/own/{name}", root)[0]
            for name in names
        }
        gates = {
            name: build_gate(width, n_own + n_shared, f"{prefix}/gate/{name}", root)
            for name in names
        }
        shared_gate = None
        if not is_last:
            n_all = len(names) * n_own + n_shared
            shared_gate = build_gate(width, n_all, f"{prefix}/shared gate", root)
        return Level(shared, own, gates, shared_gate), n_units


class Level(nn.Module):
    """One level of experts and gates, on a state of each output and a shared one.

    Parameters
    ----------
    shared : torch.nn.ModuleList
        The shared experts.
    own : mapping of (str or None) to torch.nn.ModuleList
        The experts of each output.
    gates : mapping of (str or None) to Gate
        The gates of the outputs whose state is wanted.
    shared_gate : Gate or None
        That of the shared state; None if no level follows.
    """

    def __init__(
        self,
        shared: nn.ModuleList,
        own: Mapping[Name, nn.ModuleList],
        gates: Mapping[Name, Gate],
        shared_gate: Gate | None,
    ) -> None:
        super().__init__()
        self.shared, self.shared_gate = shared, shared_gate
        self.own_names, self.own = list(own), nn.ModuleList(own.values())
        self.gated, self.gates = list(gates), nn.ModuleList(gates.values())

    def forward(
        self, states: Mapping[Name, Tensor], shared_state: Tensor, wanted: Collection[Name]
    ) -> tuple[dict[Name, Tensor], Tensor]:
        """Return the next states of the outputs wanted, and the shared one."""
        shared = [expert(shared_state) for expert in self.shared]
        own = {
            name: [expert(states[name]) for expert in experts]
            for name, experts in self._own_experts().items()
            if name in wanted or self.shared_gate is not None
        }
        found = {
            name: gate(states[name], torch.stack([*own[name], *shared], 1))
            for name, gate in zip(self.gated, self.gates, strict=True)
            if name in wanted
        }
        if self.shared_gate is None:
            return found, shared_state
        made = [one for of_output in own.values() for one in of_output]
        return found, self.shared_gate(shared_state, torch.stack([*made, *shared], 1))

    def without_others(self, wanted: Collection[Name], *, is_last: bool) -> "Level":
        """Return the level with some gates, and with the experts that these need."""
        gates: Any = zip(self.gated, self.gates, strict=True)
        kept = {name: gate for name, gate in gates if name in wanted}
        own = {n: experts for n, experts in self._own_experts().items() if n in kept or not is_last}
        return Level(self.shared, own, kept, self.shared_gate).train(self.training)

    @property
    def part_paths(self) -> dict[str, str]:
        """Where the experts and gates are."""
        paths = {f"shared.{i}": f"shared.{i}" for i in range(len(self.shared))}
        for k, (name, experts) in enumerate(self._own_experts().items()):
            of = "own" if name is None else f"own.{name}"
            paths |= {f"{of}.{i}": f"own.{k}.{i}" for i in range(len(experts))}
        for k, name in enumerate(self.gated):
            paths["gate" if name is None else f"gates.{name}"] = f"gates.{k}"
        return paths | ({} if self.shared_gate is None else {"shared_gate": "shared_gate"})

    def _own_experts(self) -> dict[Name, Any]:
        return dict(zip(self.own_names, self.own, strict=True))


class PLEModule(nn.Module):
    """Levels of experts; built for no output, they give a lone tensor.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units), or to one tensor.

    Parameters
    ----------
    levels : sequence of Level
        The levels.

    Attributes
    ----------
    takes_taps : bool
        That `forward` can be asked for some outputs only.
    groups : dict of None to dict of str to str
        The tensor of each output, for heads without a name.
    """

    takes_taps = True

    def __init__(self, levels: Sequence[Level]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.groups = {None: {name: name for name in levels[-1].gated if name is not None}}

    def forward(self, x: Tensor, taps: Collection[Name] | None = None) -> Any:
        """Return the last states of the outputs named, by default of all."""
        levels: Any = list(self.levels)
        states, shared = dict.fromkeys(levels[0].own_names, x), x
        for level, wanted in zip(levels, self._wanted(taps), strict=True):
            states, shared = level(states, shared, wanted)
        return states if self.groups[None] else states[None]

    def without_others(self, taps: Collection[Name]) -> "PLEModule":
        """Return the levels with what some outputs need; they are shared."""
        levels: Any = list(self.levels)
        kept = [
            level.without_others(wanted, is_last=level is levels[-1])
            for level, wanted in zip(levels, self._wanted(taps), strict=True)
        ]
        return PLEModule(kept).train(self.training)

    @property
    def part_paths(self) -> dict[str, str]:
        """Where the experts and gates are."""
        levels: Any = self.levels
        return {
            f"levels.{j}.{name}": f"levels.{j}.{path}"
            for j, level in enumerate(levels)
            for name, path in level.part_paths.items()
        }

    def _wanted(self, taps: Collection[Name] | None) -> list[list[Name]]:
        """Return the outputs whose state is needed after each level.

        The shared state before the last level needs what all outputs made up to two levels before
        the end.
        """
        levels: Any = list(self.levels)
        last = [name for name in levels[-1].gated if taps is None or name in taps]
        return [last if j >= len(levels) - 2 else level.gated for j, level in enumerate(levels)]
