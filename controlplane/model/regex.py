"""Regular expressions that Envoy would refuse, found before it has to.

Envoy uses RE2 (https://github.com/google/re2/wiki/Syntax), and for one bad expression rejects the whole
resource, with what belongs to others.  There is no RE2 here, so its syntax is read: groups, repetitions and
what stands beside them by this module, escapes and classes by `regex_class`.  On the way the size of the
program is estimated that RE2 makes of it, which Envoy limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.model.regex_class import Unreadable, read_class, read_escape

LONGEST = 1024
"""Characters, as in Istio."""
LARGEST_PROGRAM = 32768
"""Instructions of RE2 that a proxy's bootstrap allows, as Istio's does."""

_COUNT = re.compile(r"\{(0|[1-9][0-9]{0,8})(?:(,)(0|[1-9][0-9]{0,8})?)?\}", re.ASCII)
_FLAGS = re.compile(r"\(\?[imsU]*(?:-[imsU]+)?([:)])")
_NAMED = re.compile(r"\(\?P?<[A-Za-z0-9_]+>")
_REFERENCE = re.compile(r"\\([0-9]|[^0-9]|$)", re.ASCII | re.DOTALL)
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_MOST_REPEATS = 1000


@dataclass(slots=True)
class _Group:
    """What was read of one group: sizes in instructions, repeats as products along the deepest path."""

    size: int = 0
    repeats: int = 1
    operand: int = 0
    operand_repeats: int = 1
    captures: int = 0
    """Of the outermost: how many groups so far can be referred to by their number."""
    before: str = "nothing"
    """What a repetition would apply to: nothing yet, an operand, or a repetition already."""

    def add(self, size: int, repeats: int = 1) -> None:
        self.close_operand()
        self.operand, self.operand_repeats, self.before = size, repeats, "operand"

    def close_operand(self) -> None:
        self.size += self.operand
        self.repeats = max(self.repeats, self.operand_repeats)
        self.operand, self.operand_repeats = 0, 1


def regex_fault(pattern: str) -> str | None:
    """Why Envoy refuses this pattern, or None where it takes it."""
    if len(pattern) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    try:
        whole = _read(pattern)
    except Unreadable as fault:
        return str(fault)
    return "it is too large for Envoy" if whole.size > LARGEST_PROGRAM else None


def rewrite_fault(pattern: str, rewrite: str) -> str | None:
    r"""Why a substitution (with \1 for the first group) changes nothing, None where it does or may.

    RE2 leaves the text as it is over what it cannot fill in.
    """
    try:
        captures = _read(pattern).captures
    except Unreadable:
        return None
    for found in _REFERENCE.finditer(rewrite):
        said = found.group(1)
        if not said.isdigit() and said != "\\":
            return f"\\{said} stands for nothing"
        if said.isdigit() and int(said) > captures:
            return f"\\{said} means group {said}, and the expression has {captures or 'none'}"
    return None


def _read(pattern: str) -> _Group:
    """The whole expression as one group."""
    pattern = pattern.encode().decode("latin-1")
    groups = [_Group()]
    at = 0
    while at < len(pattern):
        at = _step(pattern, at, groups)
    if len(groups) > 1:
        raise Unreadable("a ( is not closed")
    groups[0].close_operand()
    return groups[0]


def _step(pattern: str, at: int, groups: list[_Group]) -> int:
    """Read what stands here; returns where the rest begins."""
    char, group = pattern[at], groups[-1]
    if char == "\\":
        end, size = read_escape(pattern, at)
        if end > at:
            group.add(size)
        return end
    if char == "[":
        end, size = read_class(pattern, at)
        group.add(size)
        return end
    if char == "(":
        return _open(pattern, at, groups)
    if char == ")":
        if len(groups) == 1:
            raise Unreadable("a ) has no (")
        inner = groups.pop()
        inner.close_operand()
        groups[-1].add(inner.size + 2, inner.repeats)
        return at + 1
    if char == "|":
        group.close_operand()
        group.size += 1
        group.before = "nothing"
        return at + 1
    count = _COUNT.match(pattern, at) if char == "{" else None
    if char in "*+?" or count is not None:
        return _repeat(pattern, at, group, count)
    group.add(16 if char == "." else 1)
    return at + 1


def _open(pattern: str, at: int, groups: list[_Group]) -> int:
    if not pattern.startswith("(?", at):
        groups[0].captures += 1
        groups.append(_Group())
        return at + 1
    if _LOOKAROUND.match(pattern, at):
        raise Unreadable("RE2 has no lookahead or lookbehind")
    if pattern.startswith("(?P=", at):
        raise Unreadable("RE2 has no backreferences")
    found = _FLAGS.match(pattern, at)
    if found is not None and found.group(1) == ")":
        return found.end()
    if found is None:
        found = _NAMED.match(pattern, at)
        groups[0].captures += 1
    if found is None:
        raise Unreadable("RE2 does not know what follows (? here")
    groups.append(_Group())
    return found.end()


def _repeat(pattern: str, at: int, group: _Group, count: re.Match[str] | None) -> int:
    char = pattern[at]
    if group.before == "nothing":
        raise Unreadable(f"{char} repeats nothing")
    if group.before == "repeat":
        raise Unreadable("a repetition is repeated")
    end = at + 1
    if count is not None:
        end = count.end()
        low = int(count.group(1))
        high = int(count.group(3)) if count.group(3) else low
        if count.group(3) and low > high:
            raise Unreadable("the bounds of a repetition are in the wrong order")
        times = max(1, high)
        if max(low, high) > _MOST_REPEATS or times * group.operand_repeats > _MOST_REPEATS:
            raise Unreadable(f"RE2 repeats at most {_MOST_REPEATS} times")
        group.operand, group.operand_repeats = (group.operand + 1) * times, group.operand_repeats * times
    group.operand += 1
    group.before = "repeat"
    return end + 1 if pattern.startswith("?", end) else end
