"""The trunk with experts that all outputs share, each by a mixture of its own."""

from collections.abc import Callable, Collection, Mapping
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlearn._sklearn import Interval
from mtlearn.trunks._around import Around
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._experts import Experts, Gate, build_gate

__all__ = ["MMoE"]


class MMoE(Experts):
    r"""Multi-gate mixture of experts: shared parts, which each output weighs for each row.

    Heads take the mixture of their output; with ``at=`` the name of an output, that of another.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units), one per output.

    Parameters
    ----------
    part : Trunk, torch.nn.Module or callable, default=None
        The form of each expert, which makes rows of one axis; None for ``MLP()``. A module is a
        template whose weights are the first ones of all experts; a callable makes other ones for
        each.
    n_experts : int, default=4
        The number of experts.

    See Also
    --------
    mtlearn.trunks.PLE : Has experts for each output besides.
    mtlearn.trunks.MLP : What outputs share there is the same for all ("shared bottom").

    Notes
    -----
    Output k gets :math:`f_k(x) = \sum_i g_{ki}(x) e_i(x)` with
    :math:`g_k(x) = \mathrm{softmax}(W_k x + b_k)`, where :math:`e_i` is expert i, and
    :math:`W_k, b_k` are the weights of the gate of output k. The paper has no :math:`b_k`.

    References
    ----------
    Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.trunks import MLP, MMoE
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = {"sum": X.sum(axis=1), "product": X.prod(axis=1)}
    >>> net = MultiOutputNet(MMoE(MLP((16,)), n_experts=3), random_state=0).fit(X, y)
    >>> net.embed(X, at="sum").shape
    (200, 16)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Around._parameter_constraints,
        "n_experts": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        part: Trunk | nn.Module | Callable[..., nn.Module] | None = None,
        *,
        n_experts: int = 4,
    ) -> None:
        self.part = part
        self.n_experts = n_experts

    def build_named(self, n_features: Any, outputs: Collection[str] = ()) -> nn.Module:
        """Return the experts with a gate for each output; one if there are none."""
        width, root = self._width(n_features), torch.initial_seed()
        experts, _ = self._build_experts(width, self.n_experts, "expert", root)
        gates = {
            name: build_gate(width, self.n_experts, f"gate/{name}", root)
            for name in sorted(outputs) or [None]
        }
        return MMoEModule(experts, gates)


class MMoEModule(nn.Module):
    """Experts with a gate for each output; that of no output gives a lone tensor.

    Shape: (n_samples, n_features) to a dict of (n_samples, n_units), or to one tensor.

    Parameters
    ----------
    experts : torch.nn.ModuleList
        The experts.
    gates : dict of (str or None) to Gate
        The gates by output.

    Attributes
    ----------
    takes_taps : bool
        That `forward` can be asked for some outputs only.
    groups : dict of None to dict of str to str
        The tensor of each output, for heads without a name.
    """

    takes_taps = True

    def __init__(self, experts: nn.ModuleList, gates: Mapping[str | None, Gate]) -> None:
        super().__init__()
        self.experts, self.names = experts, list(gates)
        self.gates = nn.ModuleList(gates.values())
        self.groups = {None: {name: name for name in self.names if name is not None}}

    def forward(self, x: Tensor, taps: Collection[str | None] | None = None) -> Any:
        """Return the mixtures named, by default all."""
        made = torch.stack([expert(x) for expert in self.experts], 1)
        mixed = {
            name: gate(x, made)
            for name, gate in zip(self.names, self.gates, strict=True)
            if taps is None or name in taps
        }
        return mixed if self.groups[None] else mixed[None]

    def without_others(self, taps: Collection[str | None]) -> "MMoEModule":
        """Return the module with some gates; they and the experts are shared."""
        gates: Any = zip(self.names, self.gates, strict=True)
        kept = {name: gate for name, gate in gates if name in taps}
        return MMoEModule(self.experts, kept).train(self.training)

    @property
    def part_paths(self) -> dict[str, str]:
        """Where the experts and gates are."""
        experts = {f"experts.{i}": f"experts.{i}" for i in range(len(self.experts))}
        return experts | {
            "gate" if name is None else f"gates.{name}": f"gates.{i}"
            for i, name in enumerate(self.names)
        }
