"""The filter chains of virtualInbound: for each port, and for ports that no service names, one per way in.

    mode         HTTP                      TCP                           found out
    DISABLE      plaintext                 plaintext                     plaintext HTTP, anything
    PERMISSIVE   mutual TLS, plaintext     mutual TLS, other TLS,        mutual TLS with HTTP, mutual TLS,
                                           plaintext                     other TLS, plaintext HTTP, anything
    STRICT       mutual TLS                mutual TLS                    mutual TLS with HTTP, mutual TLS
    CLOSED       nothing                   nothing                       nothing

Sidecars tell mutual TLS from an application's own by ALPN; under PERMISSIVE the latter is passed on as it
comes, and under STRICT clients with a certificate need not know of ALPN.  Envoy looks for a chain by port
first, then by transport, then by ALPN, and never comes back from a port or a transport that some chain names:
what matches no chain of its port is refused, as long as the listener has no `default_filter_chain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.alpn import MUTUAL, MUTUAL_HTTP
from controlplane.envoy.inbound_tls import CLOSED, DISABLE, STRICT
from controlplane.envoy.listeners_parts import HTTP_PROTOCOLS, chain, port_match

TLS = "tls"
PLAINTEXT = "raw_buffer"


class Ends(NamedTuple):
    """What a connection is handed to: network filters for HTTP, for anything else, or for both.

    Both: which of them it is, the first bytes or ALPN tell.
    """

    http: tuple[Any, ...] = ()
    tcp: tuple[Any, ...] = ()


class Door(NamedTuple):
    """A port of the workload (0 = any that has no door of its own), and the name of its chains.

    `plaintext` is what the HTTP inspector calls the HTTP that is understood.
    """

    name: str
    port: int
    mode: str
    plaintext: tuple[str, ...] = HTTP_PROTOCOLS


def chains(door: Door, ends: Ends, tls: Any | None, closed: Iterable[Any]) -> list[Any]:
    """The chains of one door; `tls` is the transport socket of mutual TLS, `closed` filters that hang up."""
    if door.mode == CLOSED:
        # It must have a chain: the port would be taken for one that has no door of its own.
        return [chain(door.name, closed, _match(door.port))]
    found: list[Any] = []
    if door.mode != DISABLE:
        found += _mutual(door, ends, tls)
    if door.mode != STRICT:
        found += _plaintext(door, ends)
    return found


def _mutual(door: Door, ends: Ends, tls: Any) -> Iterator[Any]:
    # The same under PERMISSIVE and STRICT, so that a flip leaves these connections alone.
    if ends.http and ends.tcp:
        yield _secured(f"{door.name}-mtls-http", ends.http, _match(door.port, TLS, MUTUAL_HTTP), tls)
        yield _secured(f"{door.name}-mtls-tcp", ends.tcp, _match(door.port, TLS, MUTUAL), tls)
    else:
        match = _match(door.port, TLS, (*MUTUAL_HTTP, *MUTUAL))
        yield _secured(f"{door.name}-mtls", ends.http or ends.tcp, match, tls)
    if door.mode == STRICT:
        # Whoever else comes with TLS means mutual TLS too, or is refused in the handshake.
        yield _secured(f"{door.name}-tls", ends.tcp or ends.http, _match(door.port, TLS), tls)


def _secured(name: str, filters: Iterable[Any], match: Any, tls: Any) -> Any:
    message = chain(name, filters, match)
    message.transport_socket.CopyFrom(tls)
    return message


def _plaintext(door: Door, ends: Ends) -> Iterator[Any]:
    # Where TLS is looked for, plaintext is matched by what it is.
    mixed = door.mode != DISABLE or not door.port
    if ends.tcp and mixed:
        yield chain(f"{door.name}-tls", ends.tcp, _match(door.port, TLS))
    if ends.http and ends.tcp:
        # Both name the transport: Envoy, once it followed one that does, would not come back for the other.
        yield chain(f"{door.name}-http", ends.http, _match(door.port, PLAINTEXT, door.plaintext))
        yield chain(f"{door.name}-tcp", ends.tcp, _match(door.port, PLAINTEXT))
    else:
        yield chain(door.name, ends.http or ends.tcp, _match(door.port, PLAINTEXT if mixed else ""))


def _match(port: int, transport: str = "", alpn: Iterable[str] = ()) -> Any:
    match = port_match(port) if port else pb.listener_components.FilterChainMatch()
    match.transport_protocol = transport
    match.application_protocols.extend(alpn)
    return match
