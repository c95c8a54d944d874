"""The listener that answers names: Envoy's UDP dns_filter, for proxies with DNS capture.

What an application asks port 53 for is redirected to it.  Services with a virtual IP it answers from a table;
everything else it asks the resolvers of the machine or pod that it runs in (its /etc/resolv.conf).

The table may have a thousand names and a mesh a hundred scopes, so it is joined of parts that are serialized
once (https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/udp_filters/dns_filter).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from controlplane.base import wire
from controlplane.envoy import names, pb
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Plan, Q, each, keyed, query
from controlplane.mesh.dns import Answer, common_answers, particular_answers
from controlplane.mesh.projections import Scope
from controlplane.model.duration import SECOND

_LOCAL = "127.0.0.1"
_TTL = 30 * SECOND
_RESOLVER_TIMEOUT = 5 * SECOND
_RETRIES = 3
_PENDING = 4096
_QUERIES_PER_SOCKET = 100
_LARGEST_QUERY = 4096
# Field numbers of DnsTable, ServerContextConfig and DnsFilterConfig.
_TABLE_RETRIES, _TABLE_DOMAINS, _SERVER_TABLE = 1, 2, 1
_STAT_PREFIX, _SERVER, _CLIENT = 1, 2, 3


@keyed
def dns_listeners(q: Q, scope: Scope) -> Plan:
    """Listener name -> Resource: the one listener that answers the names of this scope."""
    return each(q.fixed(names.DNS), _dns_listener, scope)


@query
def _dns_listener(q: Q, scope: Scope, name: str) -> Resource:
    frames = list(q.values(particular_domains, scope))
    if scope.sidecar is None:
        # Envoy adds up the addresses of a name that comes twice.
        clashes = tuple(name for name in q.keys(q.map(particular_domains, scope)) if _clashes(q, scope, name))
        tables = q(_tables_without, clashes) if clashes else q(_tables)
        frames += (frame for homes, frame in tables if scope.namespace not in homes)
    message = pb.listener.Listener(name=name, traffic_direction=pb.base.TrafficDirection.OUTBOUND)
    where = message.address.socket_address
    where.protocol, where.address, where.port_value = pb.address.SocketAddress.UDP, _LOCAL, names.DNS_PORT
    message.udp_listener_config.downstream_socket_config.max_rx_datagram_size.value = _LARGEST_QUERY
    config = pb.any_pb2.Any(
        type_url=pb.TYPE_PREFIX + pb.dns_filter.DnsFilterConfig.DESCRIPTOR.full_name,
        value=_config(b"".join(frames)),
    )
    message.listener_filters.add(name="envoy.filters.udp.dns_filter").typed_config.CopyFrom(config)
    return resource(LISTENER, name, message)


def _clashes(q: Q, scope: Scope, name: str) -> bool:
    other: Answer | None = q.at(common_answers, (), name)
    return other is not None and scope.namespace not in other.homes


@keyed
def particular_domains(q: Q, scope: Scope) -> Plan:
    """Name -> the bytes of its part of the table, for what is particular to a scope."""
    return each(q.map(particular_answers, scope), _particular_domain, scope)


@query
def _particular_domain(q: Q, scope: Scope, name: str) -> bytes:
    return q(_domain, q.at(particular_answers, (scope,), name))


@keyed
def common_domains(q: Q) -> Plan:
    """Name -> (its home namespaces, the bytes of its part of the table), for the mesh."""
    return each(q.map(common_answers), _common_domain)


@query
def _common_domain(q: Q, name: str) -> tuple[str, tuple[str, ...], bytes]:
    answer: Answer = q.at(common_answers, (), name)
    return (name, answer.homes, q(_domain, answer._replace(homes=())))


@query
def _tables(q: Q) -> tuple[tuple[tuple[str, ...], bytes], ...]:
    """The mesh's names joined by home, so that a scope joins tens of parts and not thousands."""
    return q(_tables_without, ())


@query
def _tables_without(q: Q, clashes: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], bytes], ...]:
    """The same without some names, which a scope has for others."""
    joined: dict[tuple[str, ...], list[bytes]] = {}
    for name, homes, frame in q.values(common_domains):
        if name not in clashes:
            joined.setdefault(homes, []).append(frame)
    return tuple((homes, b"".join(joined[homes])) for homes in sorted(joined))


@query
def _domain(_q: Q, answer: Answer) -> bytes:
    """One name of the table."""
    message = pb.dns_table.DnsTable.DnsVirtualDomain(name=answer.name)
    message.endpoint.address_list.address.extend(_both_families(answer.addresses))
    message.answer_ttl.CopyFrom(pb.duration(_TTL))
    return wire.length_delimited(_TABLE_DOMAINS, pb.deterministic(message))


def _both_families(addresses: tuple[str, ...]) -> list[str]:
    """The addresses; IPv4 ones as mapped to IPv6 besides, where there is none of that family.

    Who asks for IPv6 would else be told that there is no such name, by which some libraries (musl's) believe
    that there is none at all.  A connection to a mapped address is one by IPv4.
    """
    found = [ipaddress.ip_address(one) for one in addresses]
    if any(one.version == 6 for one in found):
        return list(addresses)
    return [*addresses, *(f"::ffff:{one}" for one in addresses)]


def _config(domains: bytes) -> bytes:
    """The filter's configuration around a joined table, as serializing it whole would give it."""
    table = wire.uint(_TABLE_RETRIES, _RETRIES) + domains
    return b"".join(
        (
            wire.string(_STAT_PREFIX, names.DNS),
            wire.length_delimited(_SERVER, wire.length_delimited(_SERVER_TABLE, table)),
            wire.length_delimited(_CLIENT, _CLIENT_BYTES),
        )
    )


def _client() -> Any:
    """How names are asked for that are not in the table; no resolvers: those of the machine."""
    message = pb.dns_filter.DnsFilterConfig.ClientContextConfig(max_pending_lookups=_PENDING)
    message.resolver_timeout.CopyFrom(pb.duration(_RESOLVER_TIMEOUT))
    # A socket that gets no answers, whyever, is not kept: Envoy would ask on it for ever.
    cares = pb.cares.CaresDnsResolverConfig(reinit_channel_on_timeout=True)
    cares.udp_max_queries.value = _QUERIES_PER_SOCKET
    message.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    message.typed_dns_resolver_config.typed_config.CopyFrom(pb.pack(cares))
    return message


_CLIENT_BYTES = pb.deterministic(_client())
