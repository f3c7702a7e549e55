"""What every trunk does: build the torch module that all outputs share."""

from abc import ABC, abstractmethod
from typing import Any

from torch import nn

from mtlearn._params import Part

__all__ = ["Trunk"]


class Trunk(Part, ABC):
    """The shared part of the network, from the features to the layers that heads attach to.

    A trunk is a specification: `build` returns a torch module that maps a batch of features to
    one tensor, or to a dict of named tensors, of shape (n_samples, n_units) each. Heads choose
    among named tensors with ``at=``. Their widths are found by a dry run.

    Subclasses store their parameters, declare ``_parameter_constraints`` and implement `build`.
    """

    @abstractmethod
    def build(self, n_features: Any) -> nn.Module:
        """Return a new torch module; torch's seed is already set.

        Parameters
        ----------
        n_features : int or dict of str to tuple of int
            The number of columns of X, or the shape of a row of each of its inputs. The module
            then takes a dict of tensors.

        Returns
        -------
        torch.nn.Module
            The module.
        """
