"""Who may see the debug paths: this machine, and who shows a token to somebody that can judge it.

"This machine" is more than an address.  A web page whose name was made to lead to 127.0.0.1 asks from here
with its own name in `Host`; a proxy on this machine asks for others and says so in a header, or comes
from the address that an Envoy passes traffic on from.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeAlias

_log = logging.getLogger(__name__)

PASSTHROUGH = ipaddress.ip_address("127.0.0.6")
"""Where an Envoy's inbound side connects from for whoever connected to it."""

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Envoy-External-Address", "X-Real-Ip", "Via")


class Request(NamedTuple):
    """What a visitor asks for, and from where; `authorization` is that header's value, "" without one."""

    path: str
    query: Mapping[str, str]
    authorization: str
    peer: str = ""


class Refusal(NamedTuple):
    """Why not, and with which HTTP status."""

    status: int
    reason: str


Judge: TypeAlias = Callable[[Request], Awaitable[Refusal | None]]
"""Judges a visitor from elsewhere; None lets it in."""


def turned_away(cause: str, reason: str, request: Request, identity: str = "") -> None:
    """Say in the log who was refused what; never the token."""
    where = {"cause": cause, "reason": reason, "path": request.path, "peer": request.peer}
    _log.warning("a visitor was turned away", extra={**where, "identity": identity})


async def closed(request: Request) -> Refusal | None:
    """A Judge that lets nobody in."""
    reason = "debug paths answer only clients on this machine"
    turned_away("missing", reason, request)
    return Refusal(403, reason)


def is_here(peer: str | None, headers: Mapping[str, str]) -> bool:
    """Whether somebody on this machine asks, for himself."""
    if not is_loopback(peer) or any(name in headers for name in _FORWARDED):
        return False
    host = _host(headers.get("Host", ""))
    return host == "localhost" or is_loopback(host)


def is_loopback(peer: str | None) -> bool:
    """Whether an address is this machine's; an IPv4 one may come dressed as IPv6."""
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback and address != PASSTHROUGH


def _host(header: str) -> str:
    """A Host header without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()
