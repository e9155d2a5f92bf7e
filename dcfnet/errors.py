"""The exceptions for what users can put right, and the sentence about a name that is not known."""

import difflib
from collections.abc import Iterable

MOST_NAMES = 16
"""A longer list is not printed: nobody reads it in an error message."""


class DataError(ValueError):
    """Input data cannot be used.

    The message says what was expected, what was found and what to do about it.
    """


class RunError(RuntimeError):
    """The folder of a run cannot be used as was asked. The message says what to do."""


def unknown(what: str, name: object, known: Iterable[object]) -> str:
    """What to say of a name that is not known: names like it, and all names unless they are many.

    Example:
        >>> unknown("network", "dcnet", ["pnn", "dcfnet"])
        "unknown network 'dcnet' (did you mean 'dcfnet'?): expected one of pnn, dcfnet"
    """
    names = [str(each) for each in known]
    like = {each.lower(): each for each in names}
    near = [repr(like[key]) for key in difflib.get_close_matches(str(name).lower(), like, n=3)]
    said = f"unknown {what} {name!r}" + (f" (did you mean {' or '.join(near)}?)" if near else "")
    if len(names) > MOST_NAMES:
        return f"{said}: there are {len(names)}"
    return f"{said}: expected one of {', '.join(names) or '(there are none)'}"
