"""A name server for a world of a few names: UDP, addresses of version 4 only.

A name that is not there does not exist; "*.example.com" stands for every name below; several addresses
are given in turns.  The other types of records are empty.

Usage: names.py PORT '{"edition.cnn.com": ["203.0.113.10"]}'
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import sys

_A = 1
_LIFETIME = 1  # seconds; who follows a name is to notice soon that it has moved
_NO_SUCH_NAME = 3


def question(message: bytes) -> tuple[str, int, int]:
    """The name that is asked for, the type, and where the question ends."""
    labels, at = [], 12
    while size := message[at]:
        labels.append(message[at + 1 : at + 1 + size].decode("ascii").lower())
        at += 1 + size
    return ".".join(labels), struct.unpack_from("!H", message, at + 1)[0], at + 5


def find(names: dict[str, list[str]], name: str) -> list[str] | None:
    """The addresses of a name, None for one that is not there."""
    if name in names:
        return names[name]
    parents = itertools.accumulate(reversed(name.split(".")[1:]), lambda below, label: f"{label}.{below}")
    return next((names[f"*.{one}"] for one in reversed([*parents]) if f"*.{one}" in names), None)


def answer(names: dict[str, list[str]], message: bytes, turn: int) -> bytes:
    """The answer to one question."""
    name, kind, end = question(message)
    found = find(names, name)
    listed = found if found and kind == _A else []
    start = turn % len(listed) if listed else 0
    code = _NO_SUCH_NAME if found is None else 0
    head = struct.pack("!2sHHHHH", message[:2], 0x8580 | code, 1, len(listed), 0, 0)
    records = b"".join(
        # 0xC00C: the name that was asked for.
        struct.pack("!HHHIH4s", 0xC00C, _A, 1, _LIFETIME, 4, socket.inet_aton(one))
        for one in listed[start:] + listed[:start]
    )
    return head + message[12:end] + records


def main() -> None:
    """Serve until killed."""
    names = json.loads(sys.argv[2])
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", int(sys.argv[1])))
    for turn in itertools.count():
        message, client = server.recvfrom(1500)
        try:
            server.sendto(answer(names, message, turn), client)
        except (IndexError, struct.error, UnicodeDecodeError):
            continue  # not a question


if __name__ == "__main__":
    main()
