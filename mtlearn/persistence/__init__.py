"""Model files: a fitted estimator in one file that runs no code when it is loaded."""

from mtlearn.persistence._load import load
from mtlearn.persistence._save import save

__all__ = ["load", "save"]
