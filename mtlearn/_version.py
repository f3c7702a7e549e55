"""The version, for what writes it into files and compares it."""

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("scikit-mtlearn")
