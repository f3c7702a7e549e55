"""The part that reads sequences."""

from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mtlearn._sklearn import Interval, StrOptions
from mtlearn.trunks._base import Trunk

__all__ = ["Recurrent"]

CELLS: dict[str, type[nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(Trunk):
    """A recurrent network on sequences: its last state, or its state at each step.

    Shape: (n_samples, n_steps, n_features) to (n_samples, n_units), or for `sequence`
    (n_samples, n_steps, n_units); twice as many units if it is bidirectional.

    Parameters
    ----------
    n_units : int, default=32
        The number of units of a state.
    cell : {"gru", "lstm"}, default="lstm"
        The kind of unit.
    n_layers : int, default=1
        The number of layers, each on the states of the one before.
    bidirectional : bool, default=False
        Whether a second network reads from the end; its states are put beside the first's.
    sequence : bool, default=False
        Whether to return the state at each step, which is 0 at padding.
    mask_zeros : bool, default=True
        Whether steps at the end whose features are all 0 are padding, and not read. The state of a
        sequence of nothing but padding is 0.

    References
    ----------
    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997; Cho et al., "Learning Phrase
    Representations using RNN Encoder-Decoder", 2014. Zeros as padding are those of Keras's
    Masking layer.

    Examples
    --------
    >>> from mtlearn.trunks import Recurrent
    >>> module = Recurrent(32).build((100, 512))
    >>> sum(p.numel() for p in module.parameters())  # torch's LSTM has two biases
    69888
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "cell": [StrOptions(set(CELLS))],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "bidirectional": ["boolean"],
        "sequence": ["boolean"],
        "mask_zeros": ["boolean"],
    }

    def __init__(
        self,
        n_units: int = 32,
        cell: str = "lstm",
        *,
        n_layers: int = 1,
        bidirectional: bool = False,
        sequence: bool = False,
        mask_zeros: bool = True,
    ) -> None:
        self.n_units = n_units
        self.cell = cell
        self.n_layers = n_layers
        self.bidirectional = bidirectional
        self.sequence = sequence
        self.mask_zeros = mask_zeros

    def build(self, n_features: Any) -> nn.Module:
        """Return the network; shape (n_samples, n_steps, n_features) to (n_samples, n_units)."""
        if isinstance(n_features, int) or len(n_features) != 2:
            raise ValueError(
                f"Recurrent takes sequences, rows of the shape (n_steps, n_features). Got rows of "
                f"the shape {n_features}."
            )
        cell = CELLS[self.cell](
            n_features[1],
            self.n_units,
            self.n_layers,
            batch_first=True,
            bidirectional=self.bidirectional,
        )
        return RecurrentModule(cell, self.sequence, self.mask_zeros)


class RecurrentModule(nn.Module):
    """A cell of torch on sequences of different lengths."""

    def __init__(self, cell: nn.RNNBase, sequence: bool, mask_zeros: bool) -> None:
        super().__init__()
        self.cell, self.sequence, self.mask_zeros = cell, sequence, mask_zeros

    def forward(self, x: Tensor) -> Tensor:
        lengths = self._lengths(x)
        if lengths is None:
            states, last = self.cell(x)
        else:
            at_least_one = lengths.clamp(min=1).cpu()
            packed = pack_padded_sequence(x, at_least_one, batch_first=True, enforce_sorted=False)
            states, last = self.cell(packed)
        if self.sequence:
            if lengths is None:
                return states
            states, _ = pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])
            return states * (lengths > 0)[:, None, None]
        last = last[0] if isinstance(last, tuple) else last
        state = last[-1] if not self.cell.bidirectional else torch.cat([last[-2], last[-1]], 1)
        return state if lengths is None else state * (lengths > 0)[:, None]

    def _lengths(self, x: Tensor) -> Tensor | None:
        """Return the number of steps of each sequence without padding; None if none has any."""
        if not self.mask_zeros:
            return None
        is_read = (x != 0).any(-1)
        steps = torch.arange(1, x.shape[1] + 1, device=x.device)
        lengths = (is_read * steps).amax(1)
        return None if bool((lengths == x.shape[1]).all()) else lengths
