"""The command line of `mini-istiod healthy`: whether a server of ours answers, for a health check.

It runs every few seconds as long as the container does, in an image that has no curl.  So it asks over a bare
socket and imports next to nothing: a check takes some 30 ms of a processor.
"""

from __future__ import annotations

import argparse
import socket
import sys

from controlplane.base import parse

_ADDRESS = "127.0.0.1:15014"
_MOST = 4096
"""Bytes of an answer that are looked at: its status, and the reason that is told with it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `healthy`."""
    parser.add_argument(
        "address",
        nargs="?",
        default=_ADDRESS,
        type=parse.argument(parse.address),
        metavar="ADDRESS",
        help=f"HOST:PORT or unix:/PATH (default {_ADDRESS}, where the control plane is monitored)",
    )
    parser.add_argument("--path", default="/ready", help="what is asked for (default /ready)")
    parser.add_argument(
        "--timeout",
        default="3s",
        type=parse.argument(parse.positive_duration),
        metavar="DURATION",
        help="how long an answer may take (default 3s)",
    )


def run(args: argparse.Namespace) -> int:
    """Ask; 0 when the answer is 200, else 1 and one line that says why."""
    try:
        status, reason = ask(args.address, args.path, args.timeout)
    except OSError as error:
        print(f"mini-istiod: {args.address} does not answer: {error.strerror or error}", file=sys.stderr)
        return 1
    if not status:
        print(f"mini-istiod: {args.address} answers with what is no HTTP", file=sys.stderr)
        return 1
    if status != 200:
        print(f"mini-istiod: {args.address}{args.path} answers {status}: {reason}", file=sys.stderr)
        return 1
    print(reason)
    return 0


def ask(address: parse.Address, path: str, timeout: float) -> tuple[int, str]:
    """The status of `GET path` (0 when it is no HTTP), and the first line of the body; OSError."""
    with _connected(address, timeout) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("ascii", "replace"))
        answer = bytearray()
        while len(answer) < _MOST and (piece := connection.recv(_MOST)):
            answer += piece
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    words = head.split(None, 2)
    speaks = len(words) > 1 and words[0].startswith("HTTP/") and words[1].isascii() and words[1].isdigit()
    lines = body.splitlines() or [""]
    return int(words[1]) if speaks else 0, lines[0]


def _connected(address: parse.Address, timeout: float) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host or "127.0.0.1", address.port), timeout)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(address.path)
    except OSError:
        connection.close()
        raise
    return connection
