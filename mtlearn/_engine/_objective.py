"""What one step minimises: the weighted sum of the outputs' losses, and the penalty."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mtlearn._engine._data import Labels
from mtlearn.heads import Head

__all__ = ["Objective", "l2_penalty"]


class Objective(nn.Module):
    """The losses of all outputs on a batch, and their weights.

    Parameters
    ----------
    heads : mapping of str to Head
        The fitted heads of the outputs that are trained.
    loss_weights : mapping of str to float
        The weight of each output's loss.
    dtype : torch.dtype
        The floating point type.
    measure : mapping of str to float, default=None
        The weights by which epochs are compared, where the others change; None if they stay.

    Attributes
    ----------
    measure : list of float
        The weights by which epochs are compared, in the order of the names.
    changes : bool
        Whether these are not the weights that are minimised.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        loss_weights: Mapping[str, float],
        dtype: torch.dtype,
        measure: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.names = sorted(heads)
        self.losses = nn.ModuleList(heads[name].build_loss() for name in self.names)
        self.weights: Tensor
        weights = torch.tensor([loss_weights[name] for name in self.names], dtype=dtype)
        self.register_buffer("weights", weights)
        self.changes = measure is not None
        self.measure = weights.tolist()
        if measure is not None:
            self.measure = torch.tensor([measure[n] for n in self.names], dtype=dtype).tolist()
        self.to(dtype)

    def set_weights(self, loss_weights: Mapping[str, float]) -> None:
        """Set the weights, in place; the measure stays."""
        weights = [loss_weights[name] for name in self.names]
        self.weights.copy_(torch.tensor(weights, dtype=self.dtype))

    def forward(self, raw: Mapping[str, Tensor], labels: Mapping[str, Labels]) -> Tensor:
        """Return the losses, of shape (n_outputs,), in the order of the names; 0 without labels."""
        zero = self.weights.new_zeros(())
        return torch.stack(
            [
                (loss(raw[name], labels[name].target) * labels[name].weight).sum()
                / len(labels[name].target)
                if name in labels
                else zero
                for name, loss in zip(self.names, self.losses, strict=True)
            ]
        )


def l2_penalty(parameters: Iterable[Tensor], alpha: float) -> Tensor | float:
    """Return `alpha` times the sum of squares of all weights: parameters of two or more axes."""
    if alpha == 0:
        return 0.0
    return alpha * sum(p.square().sum() for p in parameters if p.ndim >= 2 and p.requires_grad)
