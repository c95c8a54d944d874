"""Regular expressions that Envoy would refuse, found before it has to.

Envoy uses RE2 (https://github.com/google/re2/wiki/Syntax) and rejects the whole resource for one bad
expression.  There is no RE2 here; a scan finds the faults that are certain: what does not balance,
repeats nothing, or needs a feature that RE2 leaves out on purpose.
"""

from __future__ import annotations

import re

_CLASS = re.compile(r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_COUNT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_BRACED_ESCAPE = re.compile(r"\\[pPx]\{[^}]*\}")
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_NAMED_REFERENCE = re.compile(r"\(\?P=")
_MOST_REPEATS = 1000


def regex_fault(pattern: str) -> str | None:
    """Why RE2 refuses this pattern, or None where no fault is certain."""
    depth = 0
    # What a repetition operator would apply to: nothing yet, an operand, or a repetition already.
    before = "nothing"
    at = 0
    while at < len(pattern):
        char = pattern[at]
        step = 1
        if char == "\\":
            fault, step = _escape(pattern, at)
            if fault:
                return fault
            before = "operand"
        elif char == "[":
            found = _CLASS.match(pattern, at)
            if found is None:
                return "a character class [ is not closed"
            step = found.end() - at
            before = "operand"
        elif char == "(":
            fault, step = _open(pattern, at)
            if fault:
                return fault
            depth += 1
            before = "nothing"
        elif char == ")":
            depth -= 1
            if depth < 0:
                return "a ) has no ("
            before = "operand"
        elif char == "|":
            before = "nothing"
        else:
            fault, step, before = _literal_or_repeat(pattern, at, before)
            if fault:
                return fault
        at += step
    return "a ( is not closed" if depth else None


def _escape(pattern: str, at: int) -> tuple[str | None, int]:
    following = pattern[at + 1 : at + 2]
    if not following:
        return "it ends with a lone backslash", 0
    if following in "123456789":
        return "RE2 has no backreferences", 0
    if following == "Q":
        end = pattern.find("\\E", at + 2)
        return None, (len(pattern) if end < 0 else end + 2) - at
    braced = _BRACED_ESCAPE.match(pattern, at)
    return None, 2 if braced is None else braced.end() - at


def _open(pattern: str, at: int) -> tuple[str | None, int]:
    if _LOOKAROUND.match(pattern, at):
        return "RE2 has no lookahead or lookbehind", 0
    if _NAMED_REFERENCE.match(pattern, at):
        return "RE2 has no backreferences", 0
    # The ? of (?:…), (?i) and (?P<name>…) is not a repetition.
    return None, 2 if pattern.startswith("(?", at) else 1


def _literal_or_repeat(pattern: str, at: int, before: str) -> tuple[str | None, int, str]:
    char = pattern[at]
    count = _COUNT.match(pattern, at) if char == "{" else None
    if char not in "*+?" and count is None:
        return None, 1, "operand"
    if before == "nothing":
        return f"{char} repeats nothing", 0, before
    if before == "repeat":
        return "a repetition is repeated", 0, before
    step = 1
    if count is not None:
        step = count.end() - at
        low, comma, high = count.groups()
        most = low if not comma or not high else high
        if len(low) > 4 or len(most) > 4 or max(int(low), int(most)) > _MOST_REPEATS:
            return f"RE2 repeats at most {_MOST_REPEATS} times", 0, before
        if int(low) > int(most):
            return "the bounds of a repetition are in the wrong order", 0, before
    if pattern[at + step : at + step + 1] == "?":
        step += 1
    return None, step, "repeat"
