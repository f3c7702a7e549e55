"""The weighting that the parameter of an estimator stands for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mtlearn._validation import check_known
from mtlearn.weighting._dwa import DWA
from mtlearn.weighting._famo import FAMO
from mtlearn.weighting._grad_cosine import GradCosine
from mtlearn.weighting._log_sum import LogSum
from mtlearn.weighting._mgda import MGDA
from mtlearn.weighting._multiplicative_weights import MultiplicativeWeights
from mtlearn.weighting._nash import NashMTL
from mtlearn.weighting._pcgrad import PCGrad
from mtlearn.weighting._random_weights import RandomWeights
from mtlearn.weighting._torchjd import is_torchjd, of_torchjd
from mtlearn.weighting._uncertainty import Uncertainty
from mtlearn.weighting._weighting import Weighting

__all__ = ["NAMES", "find_weighting"]

NAMES: Mapping[str, type[Weighting]] = MappingProxyType(
    {
        "uncertainty": Uncertainty,
        "log": LogSum,
        "dwa": DWA,
        "random": RandomWeights,
        "famo": FAMO,
        "hedge": MultiplicativeWeights,
        "gradcosine": GradCosine,
        "pcgrad": PCGrad,
        "mgda": MGDA,
        "nash": NashMTL,
    }
)


def find_weighting(value: Any) -> Weighting | None:
    """Return the weighting that the parameter `weighting` of an estimator stands for.

    Parameters
    ----------
    value : None, str, Weighting or object of torchjd
        No strategy, the name of one, a strategy, or one of torchjd's.

    Returns
    -------
    Weighting or None
        The strategy, with valid parameters.

    Raises
    ------
    ImportError
        If it needs a package that is not installed.
    TypeError
        For anything else, and for a strategy of torchjd that gives no weights.
    ValueError
        For an unknown name, a class in place of an instance, and parameters of a strategy outside
        their constraints.
    """
    if value is None:
        return None
    if isinstance(value, str):
        check_known([value], NAMES, subject="`weighting`", noun="weighting")
        return NAMES[value]()
    if isinstance(value, type):
        raise ValueError(
            f"`weighting` must be an instance, not the class {value.__name__}; "
            f"write {value.__name__}(...)."
        )
    if is_torchjd(value):
        value = of_torchjd(value)
    if not isinstance(value, Weighting):
        raise TypeError(
            f"`weighting` must be None, one of {sorted(NAMES)}, a Weighting or a strategy of "
            f"torchjd. Got {value!r} of type {type(value).__name__}."
        )
    value.check_params()
    return value
