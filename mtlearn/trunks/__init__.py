"""Trunks: the part of the network that all outputs share."""

from mtlearn.trunks._aux_drop import AuxDrop
from mtlearn.trunks._aux_net import AuxNet
from mtlearn.trunks._base import Trunk
from mtlearn.trunks._category_embedding import CategoryEmbedding
from mtlearn.trunks._convolution import Convolution
from mtlearn.trunks._embedding import Embedding
from mtlearn.trunks._graph import Graph
from mtlearn.trunks._hedge import Hedge
from mtlearn.trunks._inception import Inception
from mtlearn.trunks._linear_skip import LinearSkip
from mtlearn.trunks._mlp import MLP
from mtlearn.trunks._mmoe import MMoE
from mtlearn.trunks._module import ModuleTrunk, as_trunk
from mtlearn.trunks._periodic import Periodic
from mtlearn.trunks._ple import PLE
from mtlearn.trunks._pool import Pool
from mtlearn.trunks._recurrent import Recurrent
from mtlearn.trunks._residual import Residual
from mtlearn.trunks._transformer import Transformer

__all__ = [
    "MLP",
    "PLE",
    "AuxDrop",
    "AuxNet",
    "CategoryEmbedding",
    "Convolution",
    "Embedding",
    "Graph",
    "Hedge",
    "Inception",
    "LinearSkip",
    "MMoE",
    "ModuleTrunk",
    "Periodic",
    "Pool",
    "Recurrent",
    "Residual",
    "Transformer",
    "Trunk",
    "as_trunk",
]
