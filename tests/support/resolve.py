"""Resolve names, or say a line to a port of them, with what the C library does; the answer is JSON.

Usage: resolve.py ask NAME... | resolve.py say PORT NAME...
"""

from __future__ import annotations

import json
import socket
import sys


def ask(name: str) -> object:
    """The addresses of a name, or the error."""
    try:
        return sorted({str(one[4][0]) for one in socket.getaddrinfo(name, 1, type=socket.SOCK_STREAM)})
    except OSError as error:
        return f"error {error.errno}"


def say(name: str, port: int) -> str:
    """What a server of lines answers, at the first address of the name that takes connections."""
    try:
        with socket.create_connection((name, port), 5) as connection:
            connection.sendall(b"hello\n")
            return connection.makefile("rb").readline().decode().rstrip()
    except OSError as error:
        return f"error {error.errno}"


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        print(json.dumps({name: ask(name) for name in sys.argv[2:]}))
    else:
        print(json.dumps({name: say(name, int(sys.argv[2])) for name in sys.argv[3:]}))
