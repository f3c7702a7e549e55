"""An unrelated distribution on the package index installs an import package of the same name."""

from importlib.metadata import PackageNotFoundError, distribution

__all__ = ["refuse_namesake"]


def refuse_namesake() -> None:
    """Raise an ImportError where the unrelated distribution ``mtlearn`` is installed too.

    Both write into the same folder, so that whichever came last has overwritten files of the
    other; nothing that is then imported can be trusted.
    """
    try:
        namesake = distribution("mtlearn")
    except PackageNotFoundError:
        return
    raise ImportError(
        f"scikit-mtlearn: the unrelated distribution 'mtlearn' {namesake.version} is installed "
        "in this environment too, and both use the import name 'mtlearn'. Run "
        "`pip uninstall mtlearn`, then `pip install --force-reinstall --no-deps scikit-mtlearn`."
    )
