"""The one grammar of error messages: subject, rule, finding, remedy."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

__all__ = ["check_input_names", "check_known", "check_output_names", "naming", "suggest"]


def suggest(name: object, known: Iterable[str]) -> str:
    """Return `` (did you mean 'price'?)`` for a near miss of a known name, else nothing."""
    near = get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_known(
    names: Iterable[object], known: Iterable[str], *, subject: str, noun: str = "output"
) -> None:
    """Raise a ValueError for the first of `names` that is not among `known`.

    Parameters
    ----------
    names : iterable of object
        What the user wrote.
    known : iterable of str
        What it may be.
    subject : str
        The beginning of the message: who complains, and about which argument.
    noun : str, default="output"
        What the names are names of.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones and the nearest spelling.
    """
    known = sorted(set(known))
    for name in names:
        if name not in known:
            raise ValueError(
                f"{subject} names the unknown {noun} {name!r}; "
                f"the {noun}s are {known}{suggest(name, known)}."
            )


def check_output_names(names: Iterable[object], *, subject: str) -> None:
    """Raise unless every name can serve in parameter names and in the history's columns.

    Raises
    ------
    TypeError
        For a name that is no string.
    ValueError
        For an empty name, ``"val"``, a name with ``__`` in it, and for a pair such as ``"a"`` and
        ``"val_a"``, whose columns in the history would be the same.
    """
    names = list(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{subject}: output names must be strings. Got {name!r} of type "
                f"{type(name).__name__}; rename it, for example to {str(name)!r}."
            )
        if not name or name == "val" or "__" in name:
            raise ValueError(
                f"{subject}: an output name must not be empty, be 'val' or contain '__', which "
                f"separates nested parameters. Got {name!r}; rename this output."
            )
        if f"val_{name}" in names:
            raise ValueError(
                f"{subject}: the outputs {name!r} and {f'val_{name}'!r} would share columns of "
                f"the history; rename one of them."
            )


def check_input_names(names: Iterable[object], *, subject: str) -> None:
    """Raise unless every name can serve in parameter names.

    Raises
    ------
    TypeError
        For a name that is no string.
    ValueError
        For an empty name, and one with ``__`` in it.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{subject}: input names must be strings. Got {name!r} of type "
                f"{type(name).__name__}; rename it, for example to {str(name)!r}."
            )
        if not name or "__" in name:
            raise ValueError(
                f"{subject}: an input name must not be empty or contain '__', which separates "
                f"nested parameters. Got {name!r}; rename this input."
            )


@contextmanager
def naming(subject: str) -> Iterator[None]:
    """Put `subject` before the message of a RuntimeError, TypeError or ValueError inside."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        message = f"{subject}: {error}"
        try:
            named = type(error)(message)
        except TypeError:  # an error whose class takes more than a message
            named = ValueError(message)
        raise named from error
