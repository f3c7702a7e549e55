"""A user's own torch module as a trunk."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from mtlearn.trunks._base import Trunk
from mtlearn.trunks._mlp import MLP

__all__ = ["ModuleTrunk", "as_trunk"]


class ModuleTrunk(Trunk):
    """A torch module, or what builds one, as a trunk.

    Parameters
    ----------
    module : torch.nn.Module or callable
        An instance is a template: it is copied and trained from the weights it holds. A callable
        (a class of modules, a function) makes the module, and is the way to fresh weights for
        every ``random_state``. It is called with the number of features if its first argument
        has no default or is called ``n_features``, else without arguments. Of a dict X it gets
        the shape of a row of each input, as a dict, and the module gets a dict of tensors.

    See Also
    --------
    mtlearn.trunks.MLP : The built-in trunk for tables.

    Examples
    --------
    >>> from torch import nn
    >>> from mtlearn.trunks import ModuleTrunk
    >>> ModuleTrunk(lambda n_features: nn.Linear(n_features, 8)).build(n_features=3)
    Linear(in_features=3, out_features=8, bias=True)
    """

    def __init__(self, module: nn.Module | Callable[..., nn.Module]) -> None:
        self.module = module

    def build(self, n_features: Any) -> nn.Module:
        """Return a copy of the template, or what the callable makes."""
        if isinstance(self.module, nn.Module):
            return copy.deepcopy(self.module)
        built = self.module(n_features) if _takes_argument(self.module) else self.module()
        if not isinstance(built, nn.Module):
            raise TypeError(
                f"`trunk` must make a torch.nn.Module. {self.module!r} returned {built!r}."
            )
        return built


def as_trunk(trunk: Trunk | nn.Module | Callable[..., nn.Module] | None) -> Trunk:
    """Return the trunk that the parameter of an estimator stands for.

    Parameters
    ----------
    trunk : Trunk, torch.nn.Module, callable or None
        None stands for ``MLP()``.

    Returns
    -------
    Trunk
        A trunk as it is, anything else wrapped.

    Raises
    ------
    TypeError
        For anything that makes no module.
    """
    if trunk is None:
        return MLP()
    if isinstance(trunk, Trunk):
        return trunk
    if isinstance(trunk, type) and issubclass(trunk, Trunk):
        raise TypeError(f"`trunk` must be an instance. Got the class; write {trunk.__name__}().")
    if callable(trunk):
        return ModuleTrunk(trunk)
    raise TypeError(
        f"`trunk` must be a trunk, a torch.nn.Module, or a callable that makes one. Got {trunk!r}."
    )


def _takes_argument(builder: Callable[..., nn.Module]) -> bool:
    """Tell whether a builder wants the number of features."""
    if isinstance(builder, type) and builder.__init__ is nn.Module.__init__:
        return False  # its signature takes anything, only to refuse it
    try:
        parameters = inspect.signature(builder).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return False
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in plain if p.default is p.empty]
    if len(required) > 1:
        raise TypeError(
            f"`trunk` must make its module from the number of features alone. {builder!r} needs "
            f"{required}; give the others defaults, or pass functools.partial."
        )
    takes_any = not plain and any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return bool(required) or takes_any or bool(plain and plain[0].name == "n_features")
