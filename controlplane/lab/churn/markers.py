"""Every change has a number, and the number is written into the object, so that any client sees it.

A proxy that is sent the change is sent the number: in an endpoint's address (11.a.b.c is the number's
24 bits) or as a word (`change-00000042`) in a header, a host name or a hash policy.  So the one who
holds a response knows what is in it, whichever server sent it.  Nothing else may use 11.0.0.0/8.

`found` looks at serialised responses.  An address counts only as a whole string of a SocketAddress
(core/v3/address.proto, field 2): its tag and its length stand before it, and the length must be right.
"""

from __future__ import annotations

import re

from controlplane.base.errors import MiniIstiodError

LAST = 2**24 - 1
"""The greatest number that fits into three octets."""

_PREFIX = "change-"
# Tag and length of a string, then the first octet.  The length ends it: what follows may be a digit.
_ADDRESS = re.compile(rb"11\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})")
_WORD = re.compile(rb"change-([0-9]{8})(?![0-9])")
_TAG = 0x12


class NumberError(MiniIstiodError):
    """A change number that cannot be written into an object."""


def address(number: int) -> str:
    """The endpoint address that says `number`: 1 is 11.0.0.1."""
    _check(number)
    return f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def word(number: int) -> str:
    """The word that says `number`; a DNS label, too."""
    _check(number)
    return f"{_PREFIX}{number:08d}"


def found(body: bytes) -> frozenset[int]:
    """All numbers in a serialised response; other addresses and words are not taken for numbers."""
    numbers = {int(one) for one in _WORD.findall(body)} if b"change-" in body else set()
    at = body.find(b"11.")
    while at >= 0:
        # Most hits are the inside of another address (20.0.11.5): the two bytes before it tell.
        if at >= 2 and body[at - 2] == _TAG and 8 <= (length := body[at - 1]) <= 14:
            octets = _ADDRESS.fullmatch(body, at, at + length)
            if octets is not None:
                first, second, third = map(int, octets.groups())
                if first < 256 and second < 256 and third < 256:
                    numbers.add(first << 16 | second << 8 | third)
        at = body.find(b"11.", at + 1)
    numbers.discard(0)
    return frozenset(number for number in numbers if number <= LAST)


def _check(number: int) -> None:
    if not 1 <= number <= LAST:
        raise NumberError(f"a change number is 1 to {LAST}, not {number}")
