"""Inspection: the network of a fitted estimator as a picture."""

from mtlearn.inspection._architecture_display import ArchitectureDisplay

__all__ = ["ArchitectureDisplay"]
