"""The network of one estimator: a trunk and a head for each output."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtlearn._engine._data import Batch
from mtlearn._engine._joined_taps import JoinedTaps, Tap
from mtlearn._random import part_seed, seeded
from mtlearn._typing import Spec
from mtlearn._validation import check_known, naming
from mtlearn.heads import Head
from mtlearn.trunks import Trunk

__all__ = [
    "MultiOutputModule",
    "add_heads",
    "all_tensors",
    "build_body",
    "build_module",
    "trunk_paths",
    "zero_rows",
]


class MultiOutputModule(nn.Module):
    r"""A trunk and the layers of every head, in the order of the outputs' names.

    Shape: (n_samples, n_features) to a dict of (n_samples, \*raw_shape), one per output.

    Parameters
    ----------
    trunk : torch.nn.Module
        From features to a tensor, or to a dict of named tensors.
    heads : mapping of str to torch.nn.Module
        From one tensor of the trunk to an output's raw values.
    taps : mapping of str to (str, tuple of str or None)
        The name of the trunk's tensor that each head takes; None for the only one.
    parts : collection of str, default=()
        The names of the trunk's parts before those were left out that no head needs.
    """

    def __init__(
        self,
        trunk: nn.Module,
        heads: Mapping[str, nn.Module],
        taps: Mapping[str, Tap],
        parts: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.parts = list(parts)
        self.names = sorted(heads)
        self.taps = [taps[name] for name in self.names]
        self.heads = nn.ModuleList(heads[name] for name in self.names)

    def forward(self, X: Batch, names: Collection[str] | None = None) -> dict[str, Tensor]:
        """Return the raw values of the outputs named, by default of all."""
        wanted = [
            (name, tap, head)
            for name, tap, head in zip(self.names, self.taps, self.heads, strict=True)
            if names is None or name in names
        ]
        if getattr(self.trunk, "takes_taps", False):
            features = self.trunk(X, {tap for _, tap, _ in wanted})
        else:
            features = self.trunk(X)
        return {
            name: head(features if tap is None else features[tap]) for name, tap, head in wanted
        }

    def embed(self, X: Batch, at: str | None = None) -> Tensor:
        """Return a tensor of the trunk: the one of that name, or that of heads without a name."""
        features = self.trunk(X)
        at = getattr(self.trunk, "default", None) if at is None else at
        tensors: dict[str | None, Tensor] = (
            {None: features}
            if isinstance(features, Tensor)
            else {name: tensor for name, tensor in features.items() if isinstance(name, str)}
        )
        return tensors[_find_tap("embed: `at`", at, dict.fromkeys(tensors, 0))]

    @property
    def normalizes_batches(self) -> bool:
        """Whether some layer needs the rows of a batch together."""
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
        return any(isinstance(layer, kinds) for layer in self.modules())

    def without(self, names: Collection[str]) -> "MultiOutputModule":
        """Return the network without some heads; the others and the trunk are shared."""
        kept = {
            name: (tap, head)
            for name, tap, head in zip(self.names, self.taps, self.heads, strict=True)
            if name not in names
        }
        heads = {name: head for name, (_, head) in kept.items()}
        taps = {name: tap for name, (tap, _) in kept.items()}
        trunk: Any = self.trunk
        if getattr(trunk, "takes_taps", False):
            trunk = trunk.without_others(taps.values())
        return MultiOutputModule(trunk, heads, taps, self.parts).train(self.training)


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers, those too that a state_dict leaves out."""
    return dict([*module.named_parameters(), *module.named_buffers()])


def build_module(
    trunk: Trunk,
    heads: Mapping[str, Head],
    spec: Spec,
    seed: int,
    dtype: torch.dtype,
    outputs: Collection[str] | None = None,
) -> MultiOutputModule:
    """Build the network, with each part's weights drawn from a seed of its own.

    Parameters
    ----------
    trunk : Trunk
        The specification of the trunk.
    heads : mapping of str to Head
        The fitted heads to build, by output.
    spec : int or dict of str to InputSpec
        The number of columns of X, or what is known of each input.
    seed : int
        The seed of the fit.
    dtype : torch.dtype
        The floating point type of the weights.
    outputs : collection of str, default=None
        The outputs to build the trunk for, of which some were dropped since; None for those of the
        heads.

    Returns
    -------
    MultiOutputModule
        The network, in training mode, on the CPU.

    Raises
    ------
    ValueError
        If the trunk does not return what the heads attach to.
    """
    with seeded(part_seed(seed, "trunk")):
        body = build_body(trunk, heads, spec, dtype, outputs)
        widths = _dry_run(body, spec, dtype)
    return add_heads(body, heads, widths, seed, dtype)


def build_body(
    trunk: Trunk,
    heads: Mapping[str, Head],
    spec: Spec,
    dtype: torch.dtype,
    outputs: Collection[str] | None = None,
) -> nn.Module:
    """Return the module of a trunk, for these heads to attach to; see `build_module`."""
    shapes = spec if isinstance(spec, int) else {n: one.shape for n, one in spec.items()}
    if trunk.differs_by_output:
        body = trunk.build_named(shapes, sorted(heads if outputs is None else outputs))
    elif any(head.at is not None for head in heads.values()):
        body = trunk.build_named(shapes)
    else:
        body = trunk.build(shapes)
    return body.to(dtype)


def add_heads(
    body: nn.Module,
    heads: Mapping[str, Head],
    widths: Mapping[str | None, int],
    seed: int,
    dtype: torch.dtype,
) -> MultiOutputModule:
    """Return a network of a trunk's module and new layers of the heads.

    Parameters
    ----------
    body : torch.nn.Module
        The trunk's module.
    heads : mapping of str to Head
        The fitted heads, by output.
    widths : mapping of str or None to int
        The width of every tensor that it returns; None names a lone one.
    seed : int
        The seed of the fit.
    dtype : torch.dtype
        The floating point type of the weights.

    Returns
    -------
    MultiOutputModule
        The network, in training mode.

    Raises
    ------
    ValueError
        If the trunk does not return what the heads attach to.
    """
    taps: dict[str, Tap] = {}
    built = {}
    for name, head in sorted(heads.items()):
        subject = f"output {name!r}: `at` of the head"
        if head.at is None or isinstance(head.at, str):
            tap = _find_tap(subject, _own_tap(body, head.at, name), widths)
            width: int | tuple[int, ...] = widths[tap]
        else:
            ats = [_own_tap(body, at, name) for at in head.at]
            tap = tuple(str(_find_tap(subject, at, widths)) for at in ats)
            if not tap:
                raise ValueError(
                    f"{subject} must name a tensor of the trunk. Got {head.at!r}; leave it out for "
                    f"the last one."
                )
            width = tuple(widths[part] for part in tap)
        taps[name] = tap
        with seeded(part_seed(seed, f"head/{name}")):
            built[name] = head.build(width).to(dtype)
    joined = [tap for tap in taps.values() if isinstance(tap, tuple)]
    if joined:
        body = JoinedTaps(body, joined)
    parts = list(trunk_paths(body))
    if getattr(body, "takes_taps", False):
        body = body.without_others(taps.values())  # pyright: ignore[reportCallIssue]
    return MultiOutputModule(body, built, taps, parts).train()


def trunk_paths(trunk: nn.Module) -> dict[str, str]:
    """Return the path inside the network of each part of the trunk that a user can name."""
    named: dict[str, str] = getattr(trunk, "part_paths", {})
    inside = [path for path, _ in trunk.named_modules() if path]
    paths = {path: path for path in inside}
    if named:
        paths = {
            name + path.removeprefix(start): path
            for name, start in named.items()
            for path in inside
            if f"{path}.".startswith(f"{start}.")
        }
    return {"trunk": "trunk"} | {f"trunk.{name}": f"trunk.{path}" for name, path in paths.items()}


def _dry_run(body: nn.Module, spec: Spec, dtype: torch.dtype) -> dict[str | None, int]:
    """Return the width of every tensor that the trunk returns; None names a lone one."""
    body.eval()
    with naming("`trunk` failed on two rows of zeros"), torch.no_grad():
        try:
            out = body(zero_rows(spec, dtype))
        except (RuntimeError, IndexError) as error:
            wanted = f"rows of {spec} features"
            if not isinstance(spec, int):
                wanted = f"a dict of {[(name, one.shape) for name, one in spec.items()]}"
            raise ValueError(f"it must take {wanted}. {type(error).__name__}: {error}") from error
    tensors = dict(out) if isinstance(out, Mapping) else {None: out}
    others = [name for name in tensors if not isinstance(name, str)]
    if isinstance(out, Mapping) and (others or not tensors):
        raise ValueError(
            f"the tensors of `trunk` must have strings as names, by which heads find them. Got "
            f"{list(tensors)}."
        )
    for name, tensor in tensors.items():
        is_floats = isinstance(tensor, Tensor) and tensor.is_floating_point()
        if not is_floats or tensor.ndim != 2 or len(tensor) != 2:
            found = type(tensor).__name__
            if isinstance(tensor, Tensor):
                found = f"{tuple(tensor.shape)} of type {tensor.dtype}"
            which = "" if name is None else f" as {name!r}"
            raise ValueError(
                f"`trunk` must return floats of shape (n_samples, n_units), or a dict of such "
                f"tensors. For 2 rows it returned {found}{which}."
            )
    return {name: tensor.shape[1] for name, tensor in tensors.items()}


def zero_rows(spec: Spec, dtype: torch.dtype, device: str = "cpu") -> Batch:
    """Return two rows of zeros."""
    if isinstance(spec, int):
        return torch.zeros(2, spec, dtype=dtype, device=device)
    kinds = {True: torch.int64, False: dtype}
    return {
        name: torch.zeros(2, *one.shape, dtype=kinds[one.is_integer], device=device)
        for name, one in spec.items()
    }


def _own_tap(body: nn.Module, at: str | None, output: str) -> str | None:
    """Return the name of what the trunk gives an output at a place; None for the default one."""
    at = getattr(body, "default", None) if at is None else at
    groups: Mapping[str | None, Mapping[str, str]] = getattr(body, "groups", {})
    return groups.get(at, {}).get(output, at)


def _find_tap(subject: str, at: str | None, widths: Mapping[str | None, int]) -> str | None:
    names = [name for name in widths if name is not None]
    if at is None:
        if len(widths) == 1:
            return next(iter(widths))
        raise ValueError(
            f"{subject} must name one of {sorted(names)}, because `trunk` returns several tensors."
        )
    if not names:
        raise ValueError(
            f"{subject} must be None, because `trunk` returns one tensor without a name. Got "
            f"{at!r}; give an MLP hidden layers, or let a module of your own return a dict of "
            f"named tensors."
        )
    check_known([at], names, subject=subject, noun="trunk tensor")
    return at
