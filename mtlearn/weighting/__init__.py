"""Weights of losses: strategies, and schedules from epoch to epoch."""

from mtlearn.weighting._base import Schedule
from mtlearn.weighting._cosine import Cosine
from mtlearn.weighting._dwa import DWA
from mtlearn.weighting._famo import FAMO
from mtlearn.weighting._grad_cosine import GradCosine
from mtlearn.weighting._linear import Linear
from mtlearn.weighting._log_sum import LogSum
from mtlearn.weighting._mgda import MGDA
from mtlearn.weighting._multiplicative_weights import MultiplicativeWeights
from mtlearn.weighting._nash import NashMTL
from mtlearn.weighting._pcgrad import PCGrad
from mtlearn.weighting._random_weights import RandomWeights
from mtlearn.weighting._step import Step
from mtlearn.weighting._uncertainty import Uncertainty
from mtlearn.weighting._weighting import Weigher, Weighting

__all__ = [
    "DWA",
    "FAMO",
    "MGDA",
    "Cosine",
    "GradCosine",
    "Linear",
    "LogSum",
    "MultiplicativeWeights",
    "NashMTL",
    "PCGrad",
    "RandomWeights",
    "Schedule",
    "Step",
    "Uncertainty",
    "Weigher",
    "Weighting",
]
