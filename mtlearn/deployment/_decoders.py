"""Modules from the raw outputs of a network to predictions, one for each kind of head."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._typing import Array
from mtlearn.deployment._transforms import inverse_of
from mtlearn.heads import (
    ClassHead,
    Classification,
    Count,
    Gaussian,
    Head,
    MultiLabel,
    Ordinal,
    PairOrder,
    Quantile,
    Regression,
)
from mtlearn.heads._count import LARGEST
from mtlearn.heads._gaussian import ONE

__all__ = ["ClassDecoder", "Decoder", "NumberDecoder", "classes_of", "decoder_of"]


class Decoder(nn.Module):
    """From raw outputs to what several networks' means are taken of; see the subclasses."""

    def _keep(self, **arrays: Any) -> None:
        """Register arrays as buffers, which a ``state_dict`` holds, floats as float64."""
        for name, values in arrays.items():
            self.register_buffer(name, torch.tensor(np.asarray(values)))


class NumberDecoder(Decoder):
    r"""Numbers in float64. Shape: (n_samples, \*raw_shape) to (n_samples, \*columns)."""

    has_std = False

    def std(self, raw: Tensor) -> Tensor:
        """Return the standard deviations that the head predicts."""
        raise NotImplementedError


class ClassDecoder(Decoder):
    r"""Probabilities, in the network's type. Shape: (n_samples, \*raw_shape) to (..., n_classes).

    Parameters
    ----------
    n_classes : int
        The number of classes.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes

    def forward(self, raw: Tensor) -> Tensor:
        if self.n_classes == 1:
            return torch.ones_like(raw).unsqueeze(1)
        if self.n_classes == 2:
            return torch.stack([(-raw).sigmoid(), raw.sigmoid()], 1)
        return raw.softmax(1)

    def decide(self, proba: Tensor) -> Tensor:
        """Return the positions of the most probable classes, or the labels themselves."""
        return proba.argmax(1)


class OrdinalDecoder(ClassDecoder):
    """Probabilities of ordered classes, from the log-odds of a class above each but the last."""

    def forward(self, raw: Tensor) -> Tensor:
        if self.n_classes <= 2:
            return super().forward(raw)
        columns = list(raw.unbind(1))
        for i in range(1, len(columns)):
            columns[i] = torch.minimum(columns[i - 1], columns[i])
        ends = torch.ones_like(columns[0])
        chances = []
        for i in range(self.n_classes):
            chance = ends if i == 0 else columns[i - 1].sigmoid()
            if i < self.n_classes - 1:
                chance = chance * (-columns[i]).sigmoid()
            if 0 < i < self.n_classes - 1:  # the difference of two sigmoids, exact in the tails
                chance = chance * -torch.expm1(columns[i] - columns[i - 1])
            chances.append(chance)
        return torch.stack(chances, 1)


class MultiLabelDecoder(ClassDecoder):
    """Probabilities of each label, and the labels whose probability is above the threshold."""

    threshold: Tensor
    varies: Tensor
    constant: Tensor

    def __init__(self, head: MultiLabel) -> None:
        super().__init__(len(head.classes_))
        self._keep(threshold=head.threshold_, varies=head.varies_, constant=head.constant_)
        self.dtype = _torch_type(np.dtype(head.dtype_))

    def forward(self, raw: Tensor) -> Tensor:
        return torch.where(self.varies, raw.sigmoid(), self.constant.to(raw.dtype))

    def decide(self, proba: Tensor) -> Tensor:
        above = proba.double() > self.threshold
        return ((above & self.varies) | ((self.constant > 0) & ~self.varies)).to(self.dtype)


class RegressionDecoder(NumberDecoder):
    """Numbers on the target's scale."""

    center: Tensor
    scale: Tensor

    def __init__(self, head: Regression) -> None:
        super().__init__()
        self._keep(center=head.center_, scale=head.scale_)
        inverse = inverse_of(head.transformer_)
        if inverse is None:
            raise ValueError(
                f"the `transformer` {head.transformer_!r} of Regression has no counterpart in "
                f"torch. Give the head a StandardScaler, a MinMaxScaler, a FunctionTransformer "
                f"of numpy's exp, log, expm1, log1p, sqrt or square, or a Pipeline of these; or "
                f"fit the transformed target, and transform predictions back where they are used."
            )
        self.inverse = inverse

    def forward(self, raw: Tensor) -> Tensor:
        columns = raw if raw.ndim == 2 else raw[:, None]
        values = self.inverse(self.center + self.scale * columns.double())
        return values if raw.ndim == 2 else values[:, 0]


class CountDecoder(NumberDecoder):
    """Rates on the target's scale."""

    spread: Tensor
    varies: Tensor
    unit: Tensor
    constant: Tensor

    def __init__(self, head: Count) -> None:
        super().__init__()
        self._keep(
            spread=head.spread_, varies=head.varies_, unit=head.unit_, constant=head.constant_
        )

    def forward(self, raw: Tensor) -> Tensor:
        columns = raw if raw.ndim == 2 else raw[:, None]
        log_rate = (self.spread * columns.double()).clamp(-LARGEST, LARGEST)
        rates = torch.where(self.varies, self.unit * log_rate.exp(), self.constant)
        return rates if raw.ndim == 2 else rates[:, 0]


class GaussianDecoder(NumberDecoder):
    """Means and standard deviations on the target's scale."""

    has_std = True
    center: Tensor
    scale: Tensor

    def __init__(self, head: Gaussian) -> None:
        super().__init__()
        self._keep(center=head.center_, scale=head.scale_)
        self.min_std = float(head.min_std)

    def forward(self, raw: Tensor) -> Tensor:
        return self.center + self.scale * raw[:, 0].double()

    def std(self, raw: Tensor) -> Tensor:
        """Return the standard deviations that the head predicts."""
        return self.scale * (self.min_std + _softplus(raw[:, 1].double() + ONE))


class QuantileDecoder(NumberDecoder):
    """Quantiles on the target's scale, in the order in which they were asked for."""

    center: Tensor
    scale: Tensor
    start: Tensor
    ranks: Tensor

    def __init__(self, head: Quantile) -> None:
        super().__init__()
        ranks = np.argsort(np.argsort(head.quantiles_))
        self._keep(center=head.center_, scale=head.scale_, start=head.start_, ranks=ranks)

    def forward(self, raw: Tensor) -> Tensor:
        columns = raw if raw.ndim == 2 else raw[:, None]
        values = columns.double() + self.start
        values = torch.cat([values[:, :1], _softplus(values[:, 1:])], 1).cumsum(1)
        values = self.center + self.scale * values
        return values.index_select(1, self.ranks) if raw.ndim == 2 else values[:, 0]


def decoder_of(head: Head) -> Decoder:
    """Return the module that decodes the raw outputs of a fitted head.

    Raises
    ------
    ValueError
        For a head that is none of mtlearn's, and for a transformer that torch does not have.
    """
    make = DECODERS.get(type(head))
    if make is None:
        raise ValueError(
            f"the head {type(head).__name__} is none of mtlearn's, so that its `decode` is not "
            f"known to torch. Leave the output out with `outputs`."
        )
    return make(head)


def _classes(kind: type[ClassDecoder]) -> Callable[[Any], ClassDecoder]:
    return lambda head: kind(len(head.classes_))


DECODERS: dict[type[Head], Callable[[Any], Decoder]] = {
    Classification: _classes(ClassDecoder),
    Count: CountDecoder,
    Gaussian: GaussianDecoder,
    MultiLabel: MultiLabelDecoder,
    Ordinal: _classes(OrdinalDecoder),
    PairOrder: _classes(ClassDecoder),
    Quantile: QuantileDecoder,
    Regression: RegressionDecoder,
}


def classes_of(heads: dict[str, Head]) -> dict[str, Array]:
    """Return the classes of the outputs that have one of several, by name."""
    return {
        name: head.classes_.copy()
        for name, head in heads.items()
        if isinstance(head, ClassHead) and not isinstance(head, MultiLabel)
    }


def _softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp(x)); torch's own is a straight line above 20."""
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


def _torch_type(dtype: np.dtype[Any]) -> torch.dtype:
    """Return the type of labels; of unsigned ones, of which torch knows little, int64."""
    return torch.int64 if dtype.kind == "u" else torch.from_numpy(np.empty(0, dtype)).dtype
