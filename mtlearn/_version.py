"""The version, for what writes it into files and pickles, and compares it."""

import warnings
from importlib.metadata import version
from typing import Any

from mtlearn.exceptions import VersionWarning

__all__ = ["VERSION", "take_version", "with_version"]

VERSION = version("scikit-mtlearn")
_KEY = "_mtlearn_version"


def with_version(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an estimator for a pickle, with the version that writes it."""
    return {**state, _KEY: VERSION}


def take_version(state: dict[str, Any], name: str) -> None:
    """Take the version out of a pickled state, for `__setstate__`; warn if it is another.

    Parameters
    ----------
    state : dict of str to Any
        What `with_version` returned.
    name : str
        The class of the estimator.
    """
    found = state.pop(_KEY, "older than 0.1")
    if found != VERSION:
        warnings.warn(
            f"{name}: the pickle was written by mtlearn {found}, and this is {VERSION}. It may "
            f"fail or predict something else; fit anew, or use mtlearn.persistence.save, whose "
            f"files later versions load.",
            VersionWarning,
            stacklevel=3,
        )
