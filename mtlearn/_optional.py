"""Packages that a few functions need and mtlearn does not."""

import importlib
from typing import Any

__all__ = ["import_optional"]


def import_optional(module: str, *, needed_by: str, install: str) -> Any:
    """Return a module.

    Parameters
    ----------
    module : str
        Its name, such as "matplotlib.pyplot".
    needed_by : str
        What the user called.
    install : str
        What pip has to install.

    Raises
    ------
    ImportError
        If it cannot be imported; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"{needed_by} needs {package}: pip install {install}") from error
