"""The parameters of several networks of one shape, each beside its counterparts."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtlearn._engine._flat import Placed
from mtlearn._engine._layout import Layout
from mtlearn._engine._module import MultiOutputModule

__all__ = ["StackedParameters", "unstack"]


class StackedParameters:
    r"""Values, gradients and moments of all networks, in one tensor each.

    A parameter of every network is a block of shape (n_models, \*shape) in it; the layers of heads
    that are computed together share one. Weights, which have the L2 penalty, come first. From then
    on the networks' parameters and their optimizers' moments are views of these tensors.

    Parameters
    ----------
    modules : sequence of MultiOutputModule
        The networks.
    layout : Layout
        What of the first network is computed together.
    optimizers : sequence of torch.optim.Optimizer
        The Adam of each network, after the same number of steps.
    alphas : sequence of float
        The penalty of each network on the squared values of weights.

    Attributes
    ----------
    blocks : list of list of Tensor
        The values, gradients, means and mean squares of each block.
    step : Tensor of shape ()
        How many steps were made.
    places : dict of str to (slice, shape)
        Where a parameter is in what `rows` returns.
    """

    def __init__(
        self,
        modules: Sequence[MultiOutputModule],
        layout: Layout,
        optimizers: Sequence[torch.optim.Optimizer],
        alphas: Sequence[float],
    ) -> None:
        names = {p: name for name, p in modules[0].named_parameters()}
        peers = [dict(module.named_parameters()) for module in modules]
        groups = [[names[p] for p in group] for group in _joined(modules[0], layout)]
        groups.sort(key=lambda group: peers[0][group[0]].ndim < 2)
        shapes = [
            (
                len(modules),
                sum(len(peers[0][name]) for name in group),
                *peers[0][group[0]].shape[1:],
            )
            for group in groups
        ]
        sizes = [torch.Size(shape).numel() for shape in shapes]
        first = peers[0][groups[0][0]]
        self.all = [first.detach().new_zeros(sum(sizes)) for _ in range(4)]
        parts = [tensor.split(sizes) for tensor in self.all]
        self.blocks = [[part[i].view(shape) for part in parts] for i, shape in enumerate(shapes)]
        self.step = torch.zeros((), dtype=torch.float32, device=first.device)
        self.places: dict[str, tuple[slice, torch.Size]] = {}
        self._places: dict[Tensor, tuple[Tensor, Tensor]] = {}
        position = 0
        for group, block in zip(groups, self.blocks, strict=True):
            start = 0
            for name in group:
                end = start + len(peers[0][name])
                after = position + peers[0][name].numel()
                self.places[name] = slice(position, after), peers[0][name].shape
                position = after
                self._places[peers[0][name]] = block[0][:, start:end], block[1][:, start:end]
                for k, optimizer in enumerate(optimizers):
                    self._take(peers[k][name], optimizer, [part[k, start:end] for part in block])
                start = end
            self._places[peers[0][group[0]]] = block[0], block[1]
        self._set_penalty(alphas, groups, peers[0], sizes)
        self._layers = _counterparts(modules)

    def __call__(self, *parameters: Tensor) -> Placed:
        """Return the block of a parameter, or of those that are joined, by the first network's."""
        return self._places[parameters[0]]

    def layers(self, layer: nn.Module) -> Sequence[nn.Module]:
        """Return the layer of every network that corresponds to one of the first."""
        return self._layers[layer]

    def set_gradient(self, parameter: nn.Parameter, gradient: Tensor | None) -> None:
        """Refuse: what has no formula is not trained side by side."""
        raise NotImplementedError

    def rows(self) -> Tensor:
        """Return a copy of the values as a row of each network, as `places` tells."""
        return torch.cat([block[0].flatten(1) for block in self.blocks], 1)

    def add_penalty(self) -> Tensor:
        """Add the gradients of the penalties to those of the losses; return the penalties.

        Their shape is (n_models,).
        """
        if self._factors is not None:
            self._weight_gradients.addcmul_(self._weights, self._factors)
        return self.penalties()

    def penalties(self) -> Tensor:
        """Return the penalty of each network, of shape (n_models,)."""
        if not self._products:
            return self._zeros
        for row, column, out in self._products:
            torch.bmm(row, column, out=out)
        return self._squares.sum(0) * self._alphas

    def _take(
        self, parameter: nn.Parameter, optimizer: torch.optim.Optimizer, places: Sequence[Tensor]
    ) -> None:
        """Move a parameter and its moments to their places."""
        value, _, mean, square = places
        value.copy_(parameter.detach())
        state = optimizer.state[parameter]
        if state:
            mean.copy_(state["exp_avg"])
            square.copy_(state["exp_avg_sq"])
            self.step.copy_(state["step"])
        state["step"], state["exp_avg"], state["exp_avg_sq"] = self.step, mean, square
        parameter.data, parameter.grad = value, None

    def _set_penalty(
        self,
        alphas: Sequence[float],
        groups: Sequence[Sequence[str]],
        parameters: Mapping[str, Tensor],
        sizes: Sequence[int],
    ) -> None:
        values, gradients, *_ = self.all
        self._alphas = values.new_tensor(alphas)
        self._zeros = torch.zeros_like(self._alphas)
        self._factors: Tensor | None = None
        self._products: list[tuple[Tensor, Tensor, Tensor]] = []
        n_blocks = sum(parameters[group[0]].ndim >= 2 for group in groups)
        n_weights = sum(sizes[:n_blocks])
        if not any(alphas) or not n_blocks:
            return
        self._weights, self._weight_gradients = values[:n_weights], gradients[:n_weights]
        n_models = len(alphas)
        twice = 2 * self._alphas
        self._factors = torch.cat(
            [twice.repeat_interleave(size // n_models) for size in sizes[:n_blocks]]
        )
        self._squares = values.new_empty(n_blocks, n_models)
        self._products = [
            (
                block[0].view(n_models, 1, -1),
                block[0].view(n_models, -1, 1),
                self._squares[i].view(n_models, 1, 1),
            )
            for i, block in enumerate(self.blocks[:n_blocks])
        ]


def _joined(module: MultiOutputModule, layout: Layout) -> list[list[nn.Parameter]]:
    """Return the parameters that share a block, in the order in which they lie in it."""
    groups = [[p] for p in module.trunk.parameters()]
    for block in layout.blocks:
        of_heads = [list(head.parameters()) for head in block.heads]
        if block.joined:
            groups += [list(together) for together in zip(*of_heads, strict=True)]
        else:
            groups += [[p] for head in of_heads for p in head]
    return groups


def _counterparts(modules: Sequence[nn.Module]) -> dict[nn.Module, list[nn.Module]]:
    together = zip(*(module.modules() for module in modules), strict=True)
    return {layers[0]: list(layers) for layers in together}


def unstack(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give a network tensors of its own again, so that it keeps no others alive."""
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()
        state = optimizer.state.get(parameter, {})
        state.update({name: tensor.clone() for name, tensor in state.items()})
