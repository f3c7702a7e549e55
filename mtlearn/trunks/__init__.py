"""Trunks: the part of the network that all outputs share."""

from mtlearn.trunks._base import Trunk
from mtlearn.trunks._mlp import MLP
from mtlearn.trunks._module import ModuleTrunk, as_trunk

__all__ = ["MLP", "ModuleTrunk", "Trunk", "as_trunk"]
