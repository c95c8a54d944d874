"""Escapes and character classes as RE2 reads them; see `regex`."""

from __future__ import annotations

import re

_PERL = "dDsSwW"
_PLAIN = {"n": 10, "r": 13, "t": 9, "a": 7, "f": 12, "v": 11}
_HEX = re.compile(r"\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})")
_OCTAL = re.compile(r"\\(?:0[0-7]{0,2}|[1-7][0-7]{1,2})")
_GROUP = re.compile(r"\\[pP](?:\{\^?([^}]*)\}|(.))", re.DOTALL)
_POSIX = re.compile(r"\[:(\^?[^]]*?):\]")
_LARGEST = 0xFF  # Envoy looks at bytes, not at characters
_GROUP_SIZE, _NEGATED_SIZE = 64, 24
_POSIX_NAMES = """
alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit
""".split()  # noqa: SIM905
_UNICODE_NAMES = """
Any C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs
Arabic Armenian Bengali Bopomofo Braille Cherokee Common Coptic Cyrillic Devanagari Ethiopic Georgian Gothic
Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana Inherited Kannada Katakana Khmer Lao Latin Malayalam
Mongolian Myanmar Ogham Oriya Runic Sinhala Syriac Tamil Telugu Thaana Thai Tibetan Tifinagh Yi
""".split()  # noqa: SIM905


class Unreadable(ValueError):
    """RE2 refuses the expression; the text says why."""


def read_escape(pattern: str, at: int) -> tuple[int, int]:
    """What begins with a backslash, outside of a class: (where it ends, size in instructions)."""
    following = pattern[at + 1 : at + 2]
    if not following:
        raise Unreadable("it ends with a lone backslash")
    if following == "Q":
        end = pattern.find("\\E", at + 2)
        text = pattern[at + 2 : len(pattern) if end < 0 else end]
        return (len(pattern) if end < 0 else end + 2), max(1, len(text))
    if following in "pP":
        return _unicode(pattern, at)
    if following in _PERL:
        return at + 2, _NEGATED_SIZE
    if following in "bBAzC":
        return at + 2, 1
    return _character(pattern, at)[0], 4


def read_class(pattern: str, at: int) -> tuple[int, int]:
    """A class in brackets: (where it ends, size in instructions)."""
    size = 2
    at += 1
    if pattern.startswith("^", at):
        at += 1
        size += _NEGATED_SIZE
    first = True
    while first or not pattern.startswith("]", at):
        if at >= len(pattern):
            raise Unreadable("a character class [ is not closed")
        end, more = _member(pattern, at)
        at, size, first = end, size + more, False
    return at + 1, size


def _member(pattern: str, at: int) -> tuple[int, int]:
    if pattern.startswith("[:", at):
        named = _POSIX.match(pattern, at)
        if named is not None:
            if named.group(1).removeprefix("^") not in _POSIX_NAMES:
                raise Unreadable(f"RE2 knows no class {named.group()}")
            return named.end(), 8
    following = pattern[at + 1 : at + 2] if pattern.startswith("\\", at) else ""
    if following and following in "pP":
        return _unicode(pattern, at)
    if following and following in _PERL:
        return at + 2, 8
    end, low = _character(pattern, at)
    if not pattern.startswith("-", end) or pattern.startswith("]", end + 1) or end + 1 >= len(pattern):
        return end, 4
    last, high = _character(pattern, end + 1)
    if high < low:
        raise Unreadable(f"the range {pattern[at:last]} runs backwards")
    return last, 4 if high < 128 else _NEGATED_SIZE


def _character(pattern: str, at: int) -> tuple[int, int]:
    """One character, plain or escaped: (where it ends, its number)."""
    if pattern[at] != "\\":
        return at + 1, ord(pattern[at])
    following = pattern[at + 1 : at + 2]
    if following in _PLAIN:
        return at + 2, _PLAIN[following]
    if following == "x":
        found = _HEX.match(pattern, at)
        value = int(found.group(1) or found.group(2), 16) if found else _LARGEST + 1
        if found is None or value > _LARGEST:
            raise Unreadable("\\x does not name a byte here: Envoy compares UTF-8 byte by byte")
        return found.end(), value
    octal = _OCTAL.match(pattern, at)
    if octal is not None:
        value = int(octal.group()[1:], 8)
        if value > _LARGEST:
            raise Unreadable(f"{octal.group()} is more than a byte")
        return octal.end(), value
    if following.isdigit():
        raise Unreadable("RE2 has no backreferences")
    if not following or not following.isascii() or following.isalpha():
        raise Unreadable(f"RE2 knows no \\{following} here")
    return at + 2, ord(following)


def _unicode(pattern: str, at: int) -> tuple[int, int]:
    found = _GROUP.match(pattern, at)
    name = "" if found is None else found.group(1) or found.group(2) or ""
    if found is None or name not in _UNICODE_NAMES:
        raise Unreadable(f"RE2 knows no group of characters {pattern[at : at + 20]}")
    return found.end(), _GROUP_SIZE
