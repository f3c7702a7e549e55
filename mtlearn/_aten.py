"""The names of torch that it does not promise to keep: derivatives of its operators, fused Adam.

`tests/test_aten.py` compares each with what torch's public functions compute.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

__all__ = [
    "ACTIVATION_GRADIENTS",
    "fused_adam",
    "has_hooks",
    "has_step_hooks",
    "layer_norm",
    "layer_norm_gradient",
]

_aten = torch.ops.aten

# From a layer, the gradient of its output, its input and its output to the gradient of its input.
ActivationGradient = Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor]

ACTIVATION_GRADIENTS: dict[type[nn.Module], ActivationGradient] = {
    nn.ELU: lambda layer, d, x, y, out: _aten.elu_backward.grad_input(
        d, layer.alpha, 1.0, 1.0, layer.alpha > 0, y if layer.alpha > 0 else x, grad_input=out
    ),
    nn.GELU: lambda layer, d, x, _y, out: _aten.gelu_backward.grad_input(
        d, x, approximate=layer.approximate, grad_input=out
    ),
    nn.ReLU: lambda _layer, d, _x, y, out: _aten.threshold_backward.grad_input(
        d, y, 0, grad_input=out
    ),
    nn.Sigmoid: lambda _layer, d, _x, y, out: _aten.sigmoid_backward.grad_input(
        d, y, grad_input=out
    ),
    nn.SiLU: lambda _layer, d, x, _y, out: _aten.silu_backward.grad_input(d, x, grad_input=out),
    nn.Tanh: lambda _layer, d, _x, y, out: _aten.tanh_backward.grad_input(d, y, grad_input=out),
}


def layer_norm(x: Tensor, shape: Sequence[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return `x` normalised over its last axes, its mean and the inverse of its deviation."""
    return _aten.native_layer_norm.default(x, list(shape), None, None, eps)


def layer_norm_gradient(
    d: Tensor, x: Tensor, shape: Sequence[int], mean: Tensor, inverse: Tensor
) -> Tensor:
    """Return the gradient of the input of `layer_norm`."""
    mask = [True, False, False]
    return _aten.native_layer_norm_backward.default(
        d, x, list(shape), mean, inverse, None, None, mask
    )[0]


def fused_adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    moments: tuple[list[Tensor], list[Tensor]],
    steps: list[Tensor],
    *,
    decoupled: bool,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """Do what a step of torch's fused Adam does, or of its AdamW if `decoupled`."""
    step = torch._fused_adamw_ if decoupled else torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage]
    step(
        parameters,
        gradients,
        *moments,
        [],
        steps,
        lr=lr,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=weight_decay,
        eps=eps,
        amsgrad=False,
        maximize=False,
    )


def has_hooks(module: nn.Module) -> bool:
    """Tell whether somebody listens to the passes through a module, or to its gradients."""
    if nn.modules.module._has_any_global_hook():
        return True
    for layer in module.modules():
        if (
            layer._forward_hooks
            or layer._forward_pre_hooks
            or layer._backward_hooks
            or layer._backward_pre_hooks
        ):
            return True
    return any(p._backward_hooks or p._post_accumulate_grad_hooks for p in module.parameters())


def has_step_hooks(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether somebody listens to the steps of an optimizer, or of all of them."""
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )
