"""The chains of a gateway's servers that read no HTTP: connections go on as they are, or decrypted."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.accesslog import access_log
from controlplane.envoy.authorization_network import network_guards
from controlplane.envoy.gateway_tls import Shown, transport_socket
from controlplane.envoy.listeners_parts import NOTHING_SAID, Tcp, chain, tcp_proxy, tcp_settings
from controlplane.envoy.routes_actions import cluster_of
from controlplane.graph import Q, query
from controlplane.mesh.authorization import TcpGuard
from controlplane.mesh.gateways import ServerId, server_names, server_of
from controlplane.mesh.gateways_l4 import gateway_ways
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.projections import RouteScope
from controlplane.mesh.routing_ir import TcpRoute
from controlplane.mesh.rules import merged_rule, policy_of, rule_of

_ANY = "*"


@query
def l4_chains(
    q: Q, scope: RouteScope, id: ServerId, policies: TcpGuard, secrets: Shown | None
) -> tuple[bytes, ...]:
    """The FilterChains of a server, serialized; `secrets` of one that ends TLS."""
    server = server_of(q, id)
    if server is None:
        return ()
    ways = q(gateway_ways, scope, id)
    name = ".".join((server.port.protocol.lower(), str(server.port.number), server.port.name, *id[2:0:-1]))
    log = q(access_log)
    found = []
    for number, way in enumerate(ways):
        names = way.sni if secrets is None else server_names(server)
        proxy = tcp_proxy(_prefix(way), way.destinations, log, _settings(q, scope, way))
        message = chain(f"{name}.{number}", [*network_guards(policies), proxy], _match(names))
        if secrets is not None and server.tls is not None:
            message.transport_socket.CopyFrom(transport_socket(q, server, secrets))
        found.append(pb.deterministic(message))
    return tuple(found)


def _match(names: tuple[str, ...]) -> Any:
    return pb.listener_components.FilterChainMatch(server_names=() if _ANY in names else names)


def _settings(q: Q, scope: RouteScope, way: TcpRoute) -> Tcp:
    """What DestinationRules say of connections to the only destination, as for sidecars."""
    target = way.destinations[0].target
    id = None if len(way.destinations) > 1 else q(nearest_service, scope.scope.namespace, target.host)
    rules = () if id is None else rule_of(q, scope.scope, id)
    if not rules:
        return NOTHING_SAID
    return tcp_settings(policy_of(q, q(merged_rule, rules), target.port, target.subset))


def _prefix(way: TcpRoute) -> str:
    """What statistics call it: its only destination, else its VirtualService, as for sidecars."""
    if len(way.destinations) == 1 or way.source is None:
        return cluster_of(way.destinations[0].target)
    return f"{way.source.name}.{way.source.namespace}"
