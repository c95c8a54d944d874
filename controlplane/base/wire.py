"""The protobuf wire format: the only place that knows tag bytes.

Responses and route configurations are joined from parts that are serialized already.  That is
sound for repeated fields: a parser appends every occurrence, wherever it stands
(https://protobuf.dev/programming-guides/encoding/#optional).  Joined in field order, the bytes are
those that a deterministic serializer would write.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT = 0
_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}
"""Wire types of numbers of fixed size -> bytes."""


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


def spans(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message as (number, begin of the whole field, begin of its payload, end).

    Raises ValueError where the bytes are no message.
    """
    at = 0
    while at < len(message):
        begin = at
        key, at = read_varint(message, at)
        payload = at
        kind = key & 7
        if kind == _LENGTH_DELIMITED:
            size, payload = read_varint(message, at)
            at = payload + size
        elif kind == _VARINT:
            _, at = read_varint(message, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind} at byte {begin}")
        if at > len(message):
            raise ValueError(f"the field at byte {begin} ends behind the message")
        yield key >> 3, begin, payload, at


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    """The varint that begins there, and where it ends.  Raises ValueError where it does not end."""
    number = shift = 0
    for index in range(at, min(at + 10, len(message))):
        byte = message[index]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, index + 1
        shift += 7
    raise ValueError(f"no varint at byte {at}")
