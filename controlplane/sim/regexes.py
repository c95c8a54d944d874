"""RE2's regular expressions, played with Python's.

They agree on what Envoy's users write, once a few spellings are changed.  A character that both read
differently, or that only RE2 knows, raises CannotTell: a wrong answer would be worse than none.
"""

from __future__ import annotations

import re
from functools import lru_cache

from controlplane.sim.walk import CannotTell

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7f",
    "blank": "\\t ",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_NAMED_CLASS = re.compile(r"\[:(\w+):\]")
_ONLY_RE2 = frozenset("CpPuU")


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern for Python; CannotTell where it cannot be said."""
    try:
        return re.compile(_translated(pattern), re.ASCII)
    except re.error as error:
        raise CannotTell(f"the regular expression {pattern}: {error}") from error


def fully(pattern: str, text: str) -> bool:
    """Whether the whole text matches, which is what Envoy asks everywhere."""
    return compiled(pattern).fullmatch(text) is not None


def replaced(pattern: str, text: str, substitution: str) -> str:
    r"""As RE2::GlobalReplace: every match, left to right; \0 to \9 are its groups."""
    found: list[str] = []
    at = last = 0
    while at <= len(text):
        match = compiled(pattern).search(text, at)
        if match is None:
            break
        if match.end() == match.start() == last and found:
            # RE2 has no empty match where another one ended.
            if at >= len(text):
                break
            at += 1
            continue
        found += (text[last : match.start()], _filled(substitution, match))
        last = match.end()
        at = last if match.end() > match.start() else last + 1
    return "".join((*found, text[last:]))


def _filled(substitution: str, match: re.Match[str]) -> str:
    def group(found: re.Match[str]) -> str:
        char = found[1]
        if char == "\\":
            return "\\"
        number = int(char)
        return (match[number] or "") if number <= len(match.groups()) else ""

    return re.sub(r"\\([0-9\\])", group, substitution)


def _translated(pattern: str) -> str:
    out: list[str] = []
    at = 0
    within = False
    while at < len(pattern):
        char = pattern[at]
        text, step = char, 1
        if char == "\\":
            text, step = _escape(pattern, at)
        elif within:
            named = _NAMED_CLASS.match(pattern, at)
            if named:
                text, step = _named(pattern, named[1]), len(named[0])
            elif char == "]":
                within = False
            elif char == "[":
                text = "\\["
        elif char == "[":
            within = True
            head = re.match(r"\[\^?\]?", pattern[at:])
            step = len(head[0]) if head else 1
            text = pattern[at : at + step].replace("]", "\\]")
        elif char == "$":
            text = "\\Z"
        elif pattern.startswith("(?<", at):
            text, step = "(?P<", 3
        out.append(text)
        at += step
    return "".join(out)


def _named(pattern: str, name: str) -> str:
    if name not in _POSIX:
        raise CannotTell(f"the regular expression {pattern}: [:{name}:]")
    return _POSIX[name]


def _escape(pattern: str, at: int) -> tuple[str, int]:
    following = pattern[at + 1 : at + 2]
    if following == "z":
        return "\\Z", 2
    if following == "Q":
        end = pattern.find("\\E", at)
        stop = len(pattern) if end < 0 else end
        return re.escape(pattern[at + 2 : stop]), (len(pattern) if end < 0 else end + 2) - at
    if following in _ONLY_RE2:
        raise CannotTell(f"the regular expression {pattern}: \\{following}")
    return pattern[at : at + 2], 2
