"""What skorch's net is made of, where worker processes can import it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Network(nn.Module):
    """A trunk with a number and three classes."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        hidden = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
        self.trunk = nn.Sequential(*[layer for pair in hidden for layer in pair])
        self.number, self.classes = nn.Linear(sizes[-1], 1), nn.Linear(sizes[-1], 3)

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(X)
        return self.number(h)[:, 0], self.classes(h)


class WeightedLoss(nn.Module):
    """The squared error and the weighted cross-entropy."""

    def __init__(self, class_weight: float = 1.0) -> None:
        super().__init__()
        self.class_weight = class_weight

    def forward(self, raw: tuple[Tensor, Tensor], y: Mapping[str, Tensor]) -> Tensor:
        number = functional.mse_loss(raw[0], y["number"])
        return number + self.class_weight * functional.cross_entropy(raw[1], y["classes"])


class Batches:
    """Whole batches instead of rows put together."""

    def __init__(self, dataset: Any, batch_size: int) -> None:
        X, y = dataset.X, dataset.y
        self.batch_size = batch_size
        self.X = torch.as_tensor(X)
        self.y = {name: torch.as_tensor(part) for name, part in y.items()}

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        for rows in torch.randperm(len(self.X)).split(self.batch_size):
            yield self.X[rows], {name: part[rows] for name, part in self.y.items()}
