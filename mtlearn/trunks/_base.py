"""What every trunk does: build the torch module that all outputs share."""

from abc import ABC, abstractmethod

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
    def build(self, n_features: int) -> nn.Module:
        """Return a new torch module for rows of `n_features`; torch's seed is already set."""
