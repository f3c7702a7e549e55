"""What mixtures of experts share: parts of one form, and gates that weigh them for each output."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._random import part_seed, seeded
from mtlearn.trunks._around import Around

__all__ = ["Experts", "Gate", "build_gate"]


class Experts(Around):
    """A part that is there several times, and a mixture of them for each output.

    Parameters
    ----------
    part : Trunk, torch.nn.Module or callable, default=None
        The form of each expert, which makes rows of one axis; None for ``MLP()``. A module is a
        template whose weights are the first ones of all experts; a callable makes other ones for
        each.
    """

    @property
    def differs_by_output(self) -> bool:
        """Whether outputs get tensors of their own: always."""
        return True

    def build(self, n_features: Any) -> nn.Module:
        """Return a module for one output without a name; it gives a lone tensor."""
        return self.build_named(n_features)

    def _build_experts(
        self, n_features: int, n_experts: int, name: str, root: int
    ) -> tuple[nn.ModuleList, int]:
        """Return experts with first weights of their own, and how many units each makes."""
        experts, n_units = [], 0
        for i in range(n_experts):
            with seeded(part_seed(root, f"{name}/{i}")):
                expert, _, found = self._build_inner(n_features)
            if len(found) != 1:
                raise ValueError(
                    f"{self._subject} must make rows of one axis. It makes rows of the shape "
                    f"{found}."
                )
            experts.append(expert)
            n_units = found[0]
        return nn.ModuleList(experts), n_units

    def _width(self, n_features: Any) -> int:
        """Return the number of columns of a table; nothing else has gates."""
        if isinstance(n_features, int):
            return n_features
        found = f"rows of the shape {n_features}; make rows of one axis first, as Pool does"
        if isinstance(n_features, Mapping):
            found = f"the inputs {list(n_features)}; make it a stage of a Graph"
        raise ValueError(f"{type(self).__name__} takes a table, for its gates. Got {found}.")


class Gate(nn.Module):
    """A mixture of experts whose weights depend on the row.

    Shape: (n_samples, n_features) and (n_samples, n_experts, n_units) to (n_samples, n_units).

    Parameters
    ----------
    n_features : int
        The width of what the weights are found from.
    n_experts : int
        The number of experts.
    """

    def __init__(self, n_features: int, n_experts: int) -> None:
        super().__init__()
        self.logits = nn.Linear(n_features, n_experts)

    def forward(self, x: Tensor, experts: Tensor) -> Tensor:
        """Return the mean of what the experts made, by weights that sum to 1."""
        weights = torch.softmax(self.logits(x), 1)
        return torch.bmm(weights.unsqueeze(1), experts).squeeze(1)


def build_gate(n_features: int, n_experts: int, name: str, root: int) -> Gate:
    """Return a gate with first weights of its own."""
    with seeded(part_seed(root, name)):
        return Gate(n_features, n_experts)
