"""The classes that a model file can name. Nothing else is ever looked up by a name from a file."""

from typing import Any

from mtlearn import heads, trunks, weighting
from mtlearn._engine._expert_heads import ExpertHeads, Stack
from mtlearn._engine._online_labels import ClassStream, FirstLabels, NumberStream
from mtlearn._engine._online_network import OnlineNetwork, OnlineRecipe
from mtlearn._engine._online_output import OnlineOutput
from mtlearn._engine._online_stepper import OnlineStepper
from mtlearn._engine._recipe import Recipe
from mtlearn._params import Part
from mtlearn._running import RunningFeatures
from mtlearn._typing import InputSpec
from mtlearn.estimators import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OnlineMultiOutputNet,
)
from mtlearn.estimators._member_fold import MemberFold
from mtlearn.estimators._state import FittedState
from mtlearn.weighting import Weigher
from mtlearn.weighting._dwa import DWAWeigher
from mtlearn.weighting._famo import FAMOWeigher
from mtlearn.weighting._grad_cosine import GradCosineWeigher
from mtlearn.weighting._log_sum import LogSumWeigher
from mtlearn.weighting._mgda import MGDAWeigher
from mtlearn.weighting._multiplicative_weights import MultiplicativeWeigher
from mtlearn.weighting._nash import NashWeigher
from mtlearn.weighting._pcgrad import PCGradWeigher
from mtlearn.weighting._random_weights import RandomWeigher
from mtlearn.weighting._uncertainty import UncertaintyWeigher

__all__ = ["NETS", "PARTS", "RECORDS", "STATES", "WEIGHERS", "can_be_named", "find_class"]


def _by_name(*classes: type) -> dict[str, type]:
    return {cls.__name__: cls for cls in classes}


NETS = _by_name(
    MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier, OnlineMultiOutputNet
)

PARTS = _by_name(
    heads.Classification,
    heads.Count,
    heads.Gaussian,
    heads.MultiLabel,
    heads.Ordinal,
    heads.PairOrder,
    heads.Quantile,
    heads.Regression,
    trunks.AuxDrop,
    trunks.AuxNet,
    trunks.CategoryEmbedding,
    trunks.Convolution,
    trunks.Embedding,
    trunks.Graph,
    trunks.Hedge,
    trunks.Inception,
    trunks.LinearSkip,
    trunks.MLP,
    trunks.MMoE,
    trunks.ModuleTrunk,
    trunks.Periodic,
    trunks.PLE,
    trunks.Pool,
    trunks.Recurrent,
    trunks.Residual,
    trunks.Transformer,
    weighting.Cosine,
    weighting.DWA,
    weighting.FAMO,
    weighting.GradCosine,
    weighting.Linear,
    weighting.LogSum,
    weighting.MGDA,
    weighting.MultiplicativeWeights,
    weighting.NashMTL,
    weighting.PCGrad,
    weighting.RandomWeights,
    weighting.Step,
    weighting.Uncertainty,
)

WEIGHERS = _by_name(
    DWAWeigher,
    FAMOWeigher,
    GradCosineWeigher,
    LogSumWeigher,
    MGDAWeigher,
    MultiplicativeWeigher,
    NashWeigher,
    PCGradWeigher,
    RandomWeigher,
    UncertaintyWeigher,
)

RECORDS = _by_name(InputSpec, MemberFold, OnlineRecipe, Recipe, Stack)

# What a stream's learner consists of: objects whose state is their attributes.
STATES = _by_name(
    ClassStream,
    ExpertHeads,
    FirstLabels,
    NumberStream,
    OnlineNetwork,
    OnlineOutput,
    OnlineStepper,
    RunningFeatures,
)

# The kinds of objects that a file can hold, the classes of mtlearn for each, and what a class of a
# user's own must derive from.
_KINDS: dict[str, tuple[dict[str, type], tuple[type, ...]]] = {
    "net": (NETS, (FittedState, OnlineMultiOutputNet)),
    "part": (PARTS, (Part,)),
    "weigher": (WEIGHERS, (Weigher,)),
    "record": (RECORDS, ()),
    "state": (STATES, ()),
}


def can_be_named(kind: str, cls: type) -> bool:
    """Tell whether a class is one of mtlearn's that a file can name."""
    return _KINDS[kind][0].get(cls.__name__) is cls


def find_class(kind: str, name: str, own: Any = None) -> type[Any] | None:
    """Return a class of mtlearn, or one that the user gave; None if it is of another kind.

    Parameters
    ----------
    kind : {"net", "part", "weigher", "record", "state"}
        What sort of object it makes.
    name : str
        Its name in the file.
    own : Any, default=None
        What the user gave under this name.
    """
    classes, bases = _KINDS[kind]
    if own is None:
        return classes.get(name)
    return own if isinstance(own, type) and issubclass(own, bases) else None
