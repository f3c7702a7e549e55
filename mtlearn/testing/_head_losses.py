"""Checks of a head's layers, its loss, and the best constant."""

import numpy as np
import torch
from torch import Tensor

from mtlearn.heads._base import BASELINE_FLOOR
from mtlearn.testing._case import require
from mtlearn.testing._head_case import HeadCase

__all__ = [
    "check_baseline",
    "check_constant_is_best",
    "check_gradients",
    "check_layers",
    "check_loss_is_finite",
    "check_loss_per_label",
    "check_units",
]

EXTREME = 1e4
TYPES = (torch.float32, torch.float64)


def check_layers(case: HeadCase) -> None:
    """Require layers from features to raw outputs, of the type of their weights, that learn."""
    shape = (case.n, *case.fitted.raw_shape_)
    values = torch.tensor(case.rng("features").normal(size=(case.n, case.n_features)))
    for dtype in TYPES:
        module = case.build(dtype).train()
        out = module(values.to(dtype))
        require(
            isinstance(out, Tensor) and tuple(out.shape) == shape and out.dtype == dtype,
            "`build` must return layers from features to raw outputs, of the type of the weights",
            f"In {dtype} they gave {_kind(out)}, for the shape {shape}",
            "make as many raw values as `raw_shape_` has, and tensors as buffers or parameters",
        )
        alone = torch.cat([module(row[None]) for row in values.to(dtype)])
        require(
            torch.allclose(alone, out, rtol=1e-3, atol=1e-4),
            "a row's raw output must not depend on other rows",
            f"Rows alone differ by {float((alone - out).detach().abs().max()):.2g}",
            "use no operation across the first axis",
        )
        out.square().sum().backward()
        idle = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
        require(
            not idle,
            "every parameter must learn",
            f"There is no gradient for {idle}",
            "use each parameter in `forward`, and leave out detach()",
        )


def check_loss_per_label(case: HeadCase) -> None:
    """Require one loss for each label, which depends on this label and its raw output alone."""
    head, rule = case.fitted, "the loss must return one value per label, in the shape of the target"
    for dtype in TYPES:
        target, _ = case.encoded(dtype=dtype)
        raw = torch.tensor(case.raw(), dtype=dtype)
        loss = head.build_loss().to(dtype)
        found = loss(raw, target)
        require(
            isinstance(found, Tensor) and found.shape == target.shape and found.dtype == dtype,
            rule,
            f"In {dtype} it gave {_kind(found)}, for the shape {tuple(target.shape)}",
            "leave out the last mean or sum, and hold tensors in buffers",
        )
        again = loss(raw, target)
        alone = torch.cat([loss(raw[i : i + 1], target[i : i + 1]) for i in range(case.n)])
        require(
            torch.equal(found, again) and torch.allclose(alone, found, rtol=1e-3, atol=1e-5),
            "the loss of a label must depend on this label and its raw output alone",
            "In a second call, or with one label at a time, other losses came out",
            "use no operation across the first axis, draw nothing, and keep no state",
        )


def check_loss_is_finite(case: HeadCase) -> None:
    """Require finite losses and gradients for raw outputs up to 10,000."""
    head = case.fitted
    constant = np.asarray(head.constant_raw_, dtype=np.float64)
    signs = case.rng("signs").choice([-1.0, 0.0, 1.0], size=(case.n, *head.raw_shape_))
    cases = {
        "0": np.zeros_like(signs),
        "the best constant": signs * 0 + constant,
        f"{EXTREME:g}": EXTREME + 0 * signs,
        f"-{EXTREME:g}": -EXTREME + 0 * signs,
        f"a mixture of 0, {EXTREME:g} and -{EXTREME:g}": EXTREME * signs,
    }
    for dtype in TYPES:
        target, _ = case.encoded(dtype=dtype)
        loss = head.build_loss().to(dtype)
        for what, values in cases.items():
            raw = torch.tensor(values, dtype=dtype, requires_grad=True)
            found = loss(raw, target)
            found.sum().backward()
            for name, tensor in {"losses": found, "gradients": raw.grad}.items():
                assert tensor is not None
                require(
                    bool(tensor.isfinite().all()),
                    "losses and their gradients must be finite for any raw output",
                    f"In {dtype}, {int((~tensor.isfinite()).sum())} {name} are not for {what}",
                    "bound exponentials, and let the loss go on as a line where it would overflow",
                )


def check_gradients(case: HeadCase) -> None:
    """Require that the gradient of the loss is what small changes of raw outputs show."""
    target, _ = case.encoded()
    loss, step = case.fitted.build_loss().double(), 1e-6
    raw = torch.tensor(case.raw(), requires_grad=True)
    losses = loss(raw, target)
    rule = "the loss must have the gradient that small changes of raw outputs show"
    require(losses.requires_grad, rule, "There is none", "use torch's functions, without detach()")
    (gradient,) = torch.autograd.grad(losses.sum(), raw)
    flat = raw.detach().reshape(case.n, -1)
    found = torch.zeros_like(flat)
    for j in range(flat.shape[1]):
        change = torch.zeros_like(flat)
        change[:, j] = step
        up, down = (
            loss((flat + sign * change).reshape(raw.shape), target).reshape(case.n, -1).sum(1)
            for sign in (1, -1)
        )
        found[:, j] = ((up - down) / (2 * step)).detach()
    far = (gradient.reshape(case.n, -1) - found).abs() > 1e-3 * (1 + found.abs())
    # A label may be at a kink.
    require(
        int(far.sum()) <= far.numel() // 10,
        rule,
        f"{int(far.sum())} of {far.numel()} gradients differ",
        "let the gradient through all that the loss depends on",
    )


def check_constant_is_best(case: HeadCase) -> None:
    """Require that no other constant has a lower mean loss."""
    for normalize in (True, False):
        head = case.fit(normalize=normalize)
        constant = np.asarray(head.constant_raw_, dtype=np.float64)
        here = case.mean_loss(case.constant(head), head)
        rng = case.rng("constants")
        best, where = here, constant
        for spread in (3.0, 1.0, 0.3, 0.1, 0.03):
            for _ in range(40):
                other = where + spread * rng.normal(size=constant.shape)
                loss = case.mean_loss(np.broadcast_to(other, (case.n, *other.shape)).copy(), head)
                if loss < best:
                    best, where = loss, other
        require(
            best >= here - 1e-3 * max(abs(here), abs(head.baseline_), BASELINE_FLOOR),
            "`constant_raw_` must be the constant of the lowest mean loss, by the labels' weights",
            f"With normalize={normalize}, {_round(constant)} has {here:.6g} and {_round(where)} "
            f"has {best:.6g}",
            "minimise the weighted mean of the loss",
        )


def check_baseline(case: HeadCase) -> None:
    """Require that losses are divided by the mean loss of the best constant."""
    for normalize in (True, False):
        head = case.fit(normalize=normalize)
        loss = case.mean_loss(case.constant(head), head) / head.baseline_
        text = f"With normalize={normalize}, `baseline_` is {head.baseline_:.6g}"
        require(
            bool(np.isclose(loss, head.constant_loss_, rtol=1e-3, atol=1e-4)),
            "`constant_loss_` must be the mean loss of `constant_raw_`, divided by `baseline_`",
            f"{text}, `constant_loss_` {head.constant_loss_:.6g}, and that loss {loss:.6g}",
            "give the weighted mean of the constant's losses to `set_baseline`",
        )
        right = head.baseline_ == 1.0 if not normalize else _is_baseline(head)
        require(
            right,
            "`baseline_` must be that mean loss, at least 0.05, with normalize=True, and else 1",
            f"{text} and `constant_loss_` {head.constant_loss_:.6g}",
            "set it by `set_baseline`",
        )


def check_units(case: HeadCase) -> None:
    """Require that the unit of numbers does not matter to the loss."""
    if case.y.dtype.kind != "f":
        return
    for unit in (2.0**-27, 2.0**27):
        try:
            head = case.fit(case.y * unit)
        except ValueError:
            continue  # numbers that the head is not meant for
        require(
            bool(np.isclose(head.constant_loss_, case.fitted.constant_loss_, rtol=1e-2)),
            "with normalize=True, the unit of numbers must not matter to the loss",
            f"For labels times {unit:.2g}, `constant_loss_` is {head.constant_loss_:.6g} in place "
            f"of {case.fitted.constant_loss_:.6g}",
            "divide the labels by their own size in `encode`",
        )


def _is_baseline(head: object) -> bool:
    loss, baseline = getattr(head, "constant_loss_"), getattr(head, "baseline_")  # noqa: B009
    return baseline > 0 and (bool(np.isclose(loss, 1)) or (baseline == BASELINE_FLOOR and loss < 1))


def _kind(out: object) -> str:
    if isinstance(out, Tensor):
        return f"the shape {tuple(out.shape)} of {out.dtype}"
    return type(out).__name__


def _round(values: np.ndarray) -> object:
    return np.round(values, 3).tolist()
