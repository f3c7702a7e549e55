"""The torch layers that trunks and heads share."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "NORMALIZATIONS", "Dropout", "NamedLayers", "Squeeze", "dense"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}

NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}


class Dropout(nn.Module):
    """Dropout with a generator of its own, so that fits in several threads stay reproducible.

    Shape: any, the same out as in.

    Parameters
    ----------
    p : float
        The share of activations set to zero in training; the others are divided by ``1 - p``.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._seed = int(torch.randint(2**63 - 1, ()))
        self._generator: torch.Generator | None = None
        self._state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` in evaluation, and with a share of zeros in training."""
        return x * self.draw(x) if self.training and self.p else x

    def draw(self, x: Tensor) -> Tensor:
        """Return the factors of the next batch, of the shape of `x`: 0 or ``1 / (1 - p)``."""
        if self._generator is None or self._generator.device != x.device:
            self._generator = torch.Generator(x.device).manual_seed(self._seed)
            state = self._state
            if state is not None and len(state) == len(self._generator.get_state()):
                self._generator.set_state(state)  # unless it comes from another kind of device
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self._generator)
        return keep.div_(1 - self.p)

    def generator_state(self) -> Tensor | None:
        """Return the state of the generator; None before its first draw."""
        return self._state if self._generator is None else self._generator.get_state()

    def set_generator_state(self, state: Tensor | None) -> None:
        """Set what the generator draws next; None for its beginning."""
        self._generator, self._state = None, state


class Squeeze(nn.Module):
    """Drop the last dimension. Shape: (n_samples, 1) to (n_samples,)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze(-1)


class NamedLayers(nn.Sequential):
    r"""Layers one after the other, with names for the outputs of some.

    Its parameters have the names that they have in a plain Sequential.

    Shape: (n_samples, \*shape) to a dict of (n_samples, n_units).

    Parameters
    ----------
    layers : sequence of torch.nn.Module
        The layers in their order.
    ends : mapping of str to int
        How many layers come before each output, in their order.

    Attributes
    ----------
    takes_taps : bool
        That `forward` can be asked for some outputs only.
    default : str
        The output for heads that name none: the last.
    """

    takes_taps = True

    def __init__(self, layers: Sequence[nn.Module], ends: Mapping[str, int]) -> None:
        super().__init__(*layers)
        self.ends = dict(ends)
        self.default = list(ends)[-1]

    def __getitem__(self, idx: Any) -> Any:
        """Return a layer; of a slice, the layers without names."""
        return (
            nn.Sequential(*list(self)[idx]) if isinstance(idx, slice) else super().__getitem__(idx)
        )

    @property
    def blocks(self) -> dict[str, nn.Sequential]:
        """The layers between one output and the next, by the name of the latter."""
        starts = [0, *self.ends.values()]
        pairs = zip(self.ends.items(), starts, strict=False)
        return {name: nn.Sequential(*list(self)[start:end]) for (name, end), start in pairs}

    def forward(
        self, input: Tensor, taps: Collection[str | None] | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs named, by default all."""
        found, start = {}, 0
        layers = list(self)
        for name, end in list(self.ends.items())[: self._n_needed(taps)]:
            for layer in layers[start:end]:
                input = layer(input)
            found[name], start = input, end
        return {name: x for name, x in found.items() if taps is None or name in taps}

    def without_others(self, taps: Collection[str | None] | None) -> "NamedLayers":
        """Return the layers up to the last output that is named; they are shared."""
        names, n_kept = list(self.ends), self._n_needed(taps)
        if n_kept == len(names):
            return self
        ends = {name: self.ends[name] for name in names[:n_kept]}
        kept = list(self)[: ends[names[n_kept - 1]]]
        return NamedLayers(kept, ends).train(self.training)

    def _n_needed(self, taps: Collection[str | None] | None) -> int:
        """Return the position of the last output that is named, from 1 on."""
        places = enumerate(self.ends, 1)
        return max((i for i, name in places if taps is None or name in taps), default=1)


def dense(
    n_features: int,
    hidden_layer_sizes: Sequence[int],
    activation: str = "relu",
    dropout: float = 0.0,
    normalization: str | None = None,
) -> list[nn.Module]:
    """Return the layers of a stack of linear maps, each normalised, activated and dropped out.

    Shape: (n_samples, n_features) to (n_samples, hidden_layer_sizes[-1]); no layer at all, hence
    the input itself, for an empty `hidden_layer_sizes`.
    """
    layers: list[nn.Module] = []
    for size in hidden_layer_sizes:
        layers.append(nn.Linear(n_features, size))
        if normalization is not None:
            layers.append(NORMALIZATIONS[normalization](size))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
        n_features = size
    return layers
