"""The torch module that predicts what a fitted estimator predicts."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._engine._joined_taps import JoinedTaps
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._recipe import DTYPES
from mtlearn._typing import Spec
from mtlearn._validation import naming
from mtlearn.deployment._decoders import (
    ClassDecoder,
    Decoder,
    NumberDecoder,
    classes_of,
    decoder_of,
)
from mtlearn.deployment._exportable import with_one_path
from mtlearn.estimators import MultiOutputNet
from mtlearn.heads import Head
from mtlearn.trunks._graph_module import GraphModule

__all__ = ["DeployedNet", "Inputs", "deployed"]

Inputs = Tensor | dict[str, Tensor]


class DeployedNet(nn.Module):
    r"""From X to the predictions of each output; see `mtlearn.deployment.to_torch`.

    Shape: (n_samples, n_features), or a dict of (n_samples, \*shape), to a dict of tensors.

    Parameters
    ----------
    networks : sequence of OneNetwork
        The members, or the only network.
    heads : mapping of str to Head
        The fitted heads of the outputs.
    spec : int or dict of str to InputSpec
        What is known of X.
    steps : torch.nn.Module
        What transforms the rows of a table before.

    Attributes
    ----------
    inputs : dict of str to bool or None
        The inputs that are read, and whether they are integers; None for a table.
    output_names : list of str
        The names of what is returned.
    classes : dict of str to ndarray
        The classes that the predictions of an output are positions in, by output.
    """

    def __init__(
        self,
        networks: Sequence["OneNetwork"],
        heads: Mapping[str, Head],
        spec: Spec,
        steps: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.names = list(heads)
        self.networks = nn.ModuleList(networks)
        self.spec = spec
        self.inputs: dict[str, bool] | None = None
        if not isinstance(spec, int):
            read = {name for one in networks for name in one.inputs_of(spec)} or set(list(spec)[:1])
            self.spec = {name: one for name, one in spec.items() if name in read}
            self.inputs = {name: one.is_integer for name, one in self.spec.items()}
        self.classes = classes_of(dict(heads))
        self.deciders = nn.ModuleList(decoder_of(head) for head in heads.values())
        self.raw_shapes = [head.raw_shape_ for head in heads.values()]
        self.output_names = [key for name in heads for key in self._keys(name)]

    def forward(self, X: Inputs) -> dict[str, Tensor]:
        r"""Return the predictions by name.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features) or dict of Tensor
            The rows. Of several inputs those that `inputs` names, by name; others are not read.

        Returns
        -------
        dict of str to Tensor of shape (n_samples, \*shape)
            What `output_names` names.

        Raises
        ------
        TypeError
            For a dict in place of a table, or the other way round.
        ValueError
            If an input is missing.
        """
        X = self._checked(X)
        each: list[dict[str, dict[str, Tensor]]] = [network(X) for network in self.networks]
        found: dict[str, Tensor] = {}
        for name, decider in zip(self.names, self.deciders, strict=True):
            of_all = [one[name] for one in each]
            mean = _mean([one["mean"] for one in of_all])
            keys = self._keys(name)
            if isinstance(decider, ClassDecoder):
                found |= dict(zip(keys, (decider.decide(mean), mean), strict=True))
            else:
                values = [mean, *self._std(of_all, mean)]
                found |= dict(zip(keys, values, strict=True))
        return found

    def _checked(self, X: Inputs) -> Inputs:
        if isinstance(X, Tensor) != (self.inputs is None):
            wanted = "a tensor" if self.inputs is None else f"a dict of {list(self.inputs)}"
            raise TypeError(f"X must be {wanted}. Got {type(X).__name__}.")
        if isinstance(X, Tensor):
            return X if self.steps is None else self.steps(X.double())
        assert self.inputs is not None
        missing = [name for name in self.inputs if name not in X]
        if missing:
            raise ValueError(f"X must have the inputs {list(self.inputs)}. Missing are {missing}.")
        return {name: X[name].long() if whole else X[name] for name, whole in self.inputs.items()}

    def units(self) -> dict[str, Tensor]:
        """Return what one of the network's own units is worth in numbers that are predicted.

        Shape: a dict of () or (n_columns,), by the names of what is returned.
        """
        found = {}
        for name, decider, shape in zip(self.names, self.deciders, self.raw_shapes, strict=True):
            if isinstance(decider, NumberDecoder):
                raw = torch.ones(1, *shape, dtype=torch.float64)
                unit = (decider(raw) - decider(-raw))[0].abs() / 2
                found |= dict.fromkeys(self._keys(name), unit)
        return found

    def _keys(self, name: str) -> list[str]:
        """Return the names of what is returned of an output."""
        decider = self.deciders[self.names.index(name)]
        if isinstance(decider, ClassDecoder):
            return [name, f"{name}__proba"]
        has_std = len(self.networks) > 1 or (isinstance(decider, NumberDecoder) and decider.has_std)
        return [name, f"{name}__std"] if has_std else [name]

    def _std(self, of_all: list[dict[str, Tensor]], mean: Tensor) -> list[Tensor]:
        """Return the standard deviation, if there is one: that of the networks, and theirs."""
        stds = [one["std"] for one in of_all if "std" in one]
        if len(of_all) == 1:
            return stds
        spread = _mean([(one["mean"] - mean).square() for one in of_all])
        own = _mean([std.square() for std in stds]) if stds else torch.zeros_like(spread)
        return [(spread + own).sqrt()]


class OneNetwork(nn.Module):
    """A network with the decoders of its outputs, of which some may be constants.

    Parameters
    ----------
    network : MultiOutputModule or None
        The trunk and the heads of those outputs that have layers.
    dtype : torch.dtype
        The floating point type of the network; ``to`` changes it.
    decoders : mapping of str to Decoder
        Those of all outputs.
    constants : mapping of str to ndarray
        The raw values of the other outputs.
    """

    like: Tensor

    def __init__(
        self,
        network: MultiOutputModule | None,
        dtype: torch.dtype,
        decoders: Mapping[str, Decoder],
        constants: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("like", torch.empty(0, dtype=dtype), persistent=False)
        self.names = list(decoders)
        self.decoders = nn.ModuleList(decoders.values())
        self.constants = nn.ModuleList(
            Constant(constants[name]) if name in constants else nn.Identity() for name in decoders
        )

    def forward(self, X: Inputs) -> dict[str, dict[str, Tensor]]:
        """Return, by output, the means and, where there are some, the standard deviations."""
        dtype = self.like.dtype
        if isinstance(X, Tensor):
            first = X = X.to(dtype)
        else:
            X = {n: x.to(dtype) if x.is_floating_point() else x for n, x in X.items()}
            first = next(iter(X.values()))
        raw: dict[str, Tensor] = {} if self.network is None else self.network(X)
        found = {}
        for name, decoder, constant in zip(self.names, self.decoders, self.constants, strict=True):
            values = raw[name] if name in raw else constant(first)
            found[name] = {"mean": decoder(values)}
            if isinstance(decoder, NumberDecoder) and decoder.has_std:
                found[name]["std"] = decoder.std(values)
        return found

    def inputs_of(self, names: Collection[str]) -> set[str]:
        """Return which of several inputs are read."""
        if self.network is None:
            return set()
        trunk: Any = self.network.trunk
        if isinstance(trunk, JoinedTaps):
            trunk = trunk.trunk
        if not isinstance(trunk, GraphModule):
            return set(names)
        return {name for takes in trunk.inputs for name in takes if name not in trunk.names}


class Constant(nn.Module):
    """The same raw values for every row."""

    values: Tensor

    def __init__(self, values: Any) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.values.expand(x.shape[0], *self.values.shape)


@torch.inference_mode(mode=False)
def deployed(
    net: Any,
    outputs: Collection[str] | None,
    steps: nn.Module | None = None,
    *,
    n_columns: int | None = None,
    for_onnx: bool = False,
    dtype: torch.dtype | None = None,
) -> DeployedNet:
    """Return the module of a fitted estimator, for some outputs.

    Parameters
    ----------
    net : BaseMultiOutputNet
        The estimator.
    outputs : list of str or None
        The outputs; None for all that ``predict`` returns.
    steps : torch.nn.Module, default=None
        What transforms the rows before.
    n_columns : int, default=None
        The number of columns that `steps` take.
    for_onnx : bool, default=False
        Whether to leave out what no ONNX graph can do.
    dtype : torch.dtype, default=None
        The floating point type of the networks; None for the one that they have.
    """
    if outputs is None and not isinstance(net, MultiOutputNet):
        outputs = net._needed_outputs()  # auxiliary targets are not predicted
    heads = net._heads(outputs)
    members = net.members_ if hasattr(net, "members_") else [net]
    networks = []
    for member in members:
        own = {name: member.heads_[name] for name in heads}
        decoders = {}
        for name, head in own.items():
            with naming(f"output {name!r}"):
                decoders[name] = decoder_of(head)
        network = _kept(member, heads)
        if network is not None:
            network = with_one_path(network, for_onnx=for_onnx)
        kept = [] if network is None else network.names
        own_type = dtype or DTYPES[member._recipe.dtype]
        constants = {name: h.constant_raw_ for name, h in own.items() if name not in kept}
        one = OneNetwork(network, own_type, decoders, constants)
        if network is not None:
            network.to(own_type)
        networks.append(one)
    spec = net._spec if steps is None or n_columns is None else n_columns
    return DeployedNet(networks, heads, spec, steps).eval().requires_grad_(False)


def _kept(net: Any, names: Collection[str]) -> MultiOutputModule | None:
    """Return a copy, on the CPU, of what some outputs need of a network; None if it is nothing."""
    with torch.no_grad():
        module: MultiOutputModule = net.module_
        others = [name for name in module.names if name not in names]
        if len(others) == len(module.names):
            return None
        try:
            return copy.deepcopy(module.without(others)).cpu().eval()
        except (RuntimeError, TypeError):  # it keeps what cannot be copied, such as its last pass
            return copy.copy(net).module_.without(others).cpu().eval()


def _mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).mean(0)
