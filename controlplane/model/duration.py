"""Durations as Istio's objects write them ("10s", "1h30m", "1.5ms"), exactly, in nanoseconds.

The grammar is that of Go's time.ParseDuration, which both Istio and the rules in its CRDs use.
"""

from __future__ import annotations

import re

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
"""All in nanoseconds."""

_UNITS = {
    "ns": 1,
    "us": MICROSECOND,
    "\u00b5s": MICROSECOND,
    "\u03bcs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
LONGEST = 2**63 - 1
"""Some 292 years."""
_MOST_CHARACTERS = 64
_PART = re.compile(r"(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")


def parse_duration(text: str) -> int | None:
    """Nanoseconds (rounded towards zero), or None where the text is not a duration of at most LONGEST."""
    length = written_duration(text)
    return None if length is None or abs(length) > LONGEST else length


def written_duration(text: str) -> int | None:
    """Nanoseconds of a duration however long, or None where the text is none."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not rest or len(rest) > _MOST_CHARACTERS:
        return None
    total = 0
    at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            return None
        whole, after, alone, unit = part.groups()
        fraction = after or alone or ""
        total += int(whole or "0") * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        at = part.end()
    return sign * total
