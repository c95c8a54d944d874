"""Values in the words of a message: short, printable, and safe for whatever a peer or a user sent."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

LONGEST = 80
"""Characters of a value that a message repeats."""


def shorten(text: str) -> str:
    """A quoted string, cut when long; never holds a line break or an unprintable character."""
    return repr(text if len(text) <= LONGEST else text[: LONGEST - 3] + "...")


def printable(text: str, longest: int = LONGEST) -> str:
    """A name as it is where it can stand in a path or a line of a log, else quoted and cut."""
    return text if len(text) <= longest and text.isprintable() else shorten(text)


def describe(value: object) -> str:
    """What a value is, to be read after "expected a string, got"."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the string {shorten(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        # Python refuses to print integers of more than 4300 digits, which hexadecimal YAML can write.
        return f"the number {value}" if value.bit_length() <= 128 else "a number of absurd size"
    if isinstance(value, float):
        return f"the number {value:.15g}"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a value of type {type(value).__name__}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: one that differs in case only comes first."""
    by_case = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name[:64].lower(), by_case, n=1)
    return by_case[found[0]] if found else None
