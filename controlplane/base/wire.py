"""The protobuf wire format: the only place that knows tag bytes.

Responses and route configurations are joined from parts that are serialized already.  That is
sound for repeated fields: a parser appends every occurrence, wherever it stands
(https://protobuf.dev/programming-guides/encoding/#optional).  Joined in field order, the bytes are
those that a deterministic serializer would write.
"""

from __future__ import annotations

_VARINT = 0
_LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """A base-128 varint of a number that is not negative."""
    if number < 0x80:
        return _ONE_BYTE[number]
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_ONE_BYTE = tuple(bytes((n,)) for n in range(0x80))


def tag(number: int, wire_type: int) -> bytes:
    """The key that stands before a field."""
    return varint(number << 3 | wire_type)


def header(number: int, size: int) -> bytes:
    """What stands before the payload of a string, bytes or message field of so many bytes."""
    return tag(number, _LENGTH_DELIMITED) + varint(size)


def length_delimited(number: int, payload: bytes) -> bytes:
    """A string, bytes or message field; empty payloads are written too (a present, empty message)."""
    return b"".join((tag(number, _LENGTH_DELIMITED), varint(len(payload)), payload))


def string(number: int, text: str) -> bytes:
    """A string field as proto3 writes it: left out when empty."""
    return length_delimited(number, text.encode()) if text else b""


def uint(number: int, value: int) -> bytes:
    """An unsigned integer or bool field as proto3 writes it: left out when zero."""
    return tag(number, _VARINT) + varint(value) if value else b""
