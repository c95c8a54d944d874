"""Where a control plane is, and a socket to it that never makes the loop wait for long, with TLS or not."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import NamedTuple

from controlplane.lab.fleet.tls import TlsSocket

Socket = socket.socket | TlsSocket

_PATIENCE = 5.0
"""Seconds that a Unix socket may take to be accepted: its queue is full when the server is busy."""


class Address(NamedTuple):
    """Where to connect: a path, or a host and port."""

    family: socket.AddressFamily
    target: str | tuple[str, int]
    authority: str
    """What the server is called in requests."""


def parse(address: str) -> Address:
    """ "unix:/path", "unix:///path", "host:port" or "[ip]:port"; ValueError if none of them."""
    if address.startswith("unix:"):
        return Address(socket.AF_UNIX, address.removeprefix("unix:").removeprefix("//"), "localhost")
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"the control plane's address is unix:/path or host:port, not {address!r}")
    host = host.removeprefix("[").removesuffix("]")
    family, _, _, _, found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    return Address(family, (str(found[0]), int(port)), address)


def connect(address: Address) -> socket.socket:
    """A non-blocking socket on its way to the address; OSError when there is nobody.

    A TCP connection is under way when this returns: writing fails until it is there, or has failed.
    """
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        if address.family == socket.AF_UNIX:
            # A non-blocking one would be refused as soon as the queue is full.
            sock.settimeout(_PATIENCE)
            sock.connect(address.target)
            sock.setblocking(False)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address.target)
    except OSError:
        sock.close()
        raise
    return sock


def secure(sock: socket.socket, context: ssl.SSLContext | None, name: str) -> Socket:
    """The same socket with TLS over it, as a client that wants a server of this name; None for none."""
    return sock if context is None else TlsSocket(sock, context, name)
