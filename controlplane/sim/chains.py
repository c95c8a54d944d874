"""Which filter chain of a listener takes a connection: level by level, and never back.

    destination port > destination address > server name > transport > application protocols >
    the direct source address > source type > source address > source port

At each level the most specific value that any chain still in question names wins, and the others are out
for good, even if nothing is left in the end.  Then the default chain takes it, or nobody
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

UNIX = "unix:"
"""What the addresses of sockets in the file system begin with."""
_NOWHERE = "255.255.255.255"
"""What Envoy takes such an address for where it is asked for a network."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of a connection once the listener filters have looked at it.

    `source` is the client's address, `direct` that of who has connected, where they differ.
    """

    address: str
    port: int
    source: str
    transport: str = "raw_buffer"
    sni: str = ""
    alpn: tuple[str, ...] = ()
    direct: str = ""


def find_chain(listener: Any, connection: Connection) -> tuple[Any | None, str]:
    """The chain, None for nobody, and why."""
    left = list(listener.filter_chains)
    for name, choose in _LEVELS:
        left = choose(left, connection)
        if not left:
            why = f"no chain for its {name}"
            if listener.HasField("default_filter_chain"):
                return listener.default_filter_chain, f"{why}: the default chain"
            return None, why
    return left[0], _because(left[0].filter_chain_match)


def _because(match: Any) -> str:
    """What the conditions of the chain are that the connection met."""
    said = []
    if match.HasField("destination_port"):
        said.append(f"port {match.destination_port.value}")
    said += [f"{one.address_prefix}/{one.prefix_len.value}" for one in match.prefix_ranges]
    said += [f"server name {name}" for name in match.server_names]
    said += [match.transport_protocol] if match.transport_protocol else []
    said += match.application_protocols
    return "matches " + ", ".join(said) if said else "has no conditions"


def _first(
    chains: list[Any], keys: Iterable[str], values: Callable[[Any], Iterable[str]], rest: str = ""
) -> list[Any]:
    """The chains that name the first of these keys that any names; chains that name none have `rest`."""
    for key in (*keys, rest):
        found = [chain for chain in chains if key in (tuple(values(chain)) or (rest,))]
        if found:
            return found
    return []


def _port(chains: list[Any], connection: Connection) -> list[Any]:
    def values(chain: Any) -> tuple[str, ...]:
        match = chain.filter_chain_match
        return (str(match.destination_port.value),) if match.HasField("destination_port") else ()

    return _first(chains, (str(connection.port),), values)


def _server_name(chains: list[Any], connection: Connection) -> list[Any]:
    def values(chain: Any) -> Iterator[str]:
        return (name.lower() for name in chain.filter_chain_match.server_names)

    return _first(chains, _names(connection.sni.lower()), values)


def _names(sni: str) -> Iterator[str]:
    """The name, then wildcards for more and more of its labels."""
    if sni:
        yield sni
    at = sni.find(".", 1)
    while 0 <= at < len(sni) - 1:
        yield "*" + sni[at:]
        at = sni.find(".", at + 1)


def _transport(chains: list[Any], connection: Connection) -> list[Any]:
    def values(chain: Any) -> tuple[str, ...]:
        name = chain.filter_chain_match.transport_protocol
        return (name,) if name else ()

    return _first(chains, (connection.transport,), values)


def _application(chains: list[Any], connection: Connection) -> list[Any]:
    return _first(chains, connection.alpn, lambda chain: chain.filter_chain_match.application_protocols)


def _narrowest(chains: list[Any], address: str, ranges: Callable[[Any], Iterable[Any]]) -> list[Any]:
    """The chains with the longest prefix that holds the address; no prefix is the shortest one."""
    found: dict[int, list[Any]] = {}
    here = ip_address(_NOWHERE if address.startswith(UNIX) else address)
    for chain in chains:
        said = list(ranges(chain.filter_chain_match))
        if not said:
            found.setdefault(0, []).append(chain)
        for one in said:
            network = ip_network(f"{one.address_prefix}/{one.prefix_len.value}", strict=False)
            if network.version == here.version and here in network:
                found.setdefault(network.prefixlen, []).append(chain)
    return found[max(found)] if found else []


def _destination(chains: list[Any], connection: Connection) -> list[Any]:
    return _narrowest(chains, connection.address, lambda match: match.prefix_ranges)


def _direct_source(chains: list[Any], connection: Connection) -> list[Any]:
    address = connection.direct or connection.source
    return _narrowest(chains, address, lambda match: match.direct_source_prefix_ranges)


def _source(chains: list[Any], connection: Connection) -> list[Any]:
    return _narrowest(chains, connection.source, lambda match: match.source_prefix_ranges)


def _source_type(chains: list[Any], connection: Connection) -> list[Any]:
    # Of the loopback Envoy knows one address.
    local = connection.source in ("127.0.0.1", "::1", connection.address)
    wanted = 1 if local else 2  # SAME_IP_OR_LOOPBACK, EXTERNAL
    return _first(
        chains, (str(wanted),), lambda chain: (str(chain.filter_chain_match.source_type),), rest="0"
    )


_LEVELS: tuple[tuple[str, Callable[[list[Any], Connection], list[Any]]], ...] = (
    ("port", _port),
    ("address", _destination),
    ("server name", _server_name),
    ("transport", _transport),
    ("application protocol", _application),
    ("direct source", _direct_source),
    ("source type", _source_type),
    ("source", _source),
)
