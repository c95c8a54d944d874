"""Where a gateway sends connections that it does not read: the TLS and TCP rules of VirtualServices.

Connections that are passed on by the name that they ask for follow `tls` rules; all others follow the first
`tcp` rule that there is, for nothing tells them apart.
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.graph import Q, query
from controlplane.mesh.gateways import ServerId, manner_of, server_of
from controlplane.mesh.gateways_hosts import attached, common_names, rank_of
from controlplane.mesh.hosts import covers
from controlplane.mesh.projections import RouteScope
from controlplane.mesh.routing_ir import TcpRoute
from controlplane.mesh.routing_l4 import L4, l4_routes
from controlplane.mesh.routing_match import Client
from controlplane.mesh.settings import exported
from controlplane.model.keys import Key
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.gateway import Server


@query
def gateway_ways(q: Q, scope: RouteScope, id: ServerId) -> tuple[TcpRoute, ...]:
    """The ways of a server that reads no HTTP, each name only once; () sends connections nowhere."""
    server = server_of(q, id)
    if server is None:
        return ()
    layer: L4 = "tls" if manner_of(server) == "passed" else "tcp"
    client = Client(scope.scope.namespace, scope.matched, gateway=id.gateway)
    ways: list[TcpRoute] = []
    for key, names in _bound(q, scope.scope.namespace, id, server, layer):
        for way in q(l4_routes, key, layer, server.port.number, client):
            if layer == "tcp":
                return (replace(way, subnets=()),)
            taken = {name for earlier in ways for name in earlier.sni}
            free = tuple(name for name in _asked(way, names) if name not in taken)
            if free:
                ways.append(replace(way, sni=free, subnets=()))
    return tuple(ways)


def _asked(way: TcpRoute, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a rule that the server and its VirtualService both serve; ("*",) is any."""
    return tuple(sni for sni in way.sni or names if any(covers(name, sni) for name in names))


def _bound(
    q: Q, namespace: str, id: ServerId, server: Server, layer: L4
) -> list[tuple[Key, tuple[str, ...]]]:
    """The VirtualServices with such rules that are bound to a server, and the names that they share."""
    found = []
    for key in q.index(virtual_services, "gateway", id.gateway):
        one = q(attached, key)
        if one is None or layer not in one.layers or not exported(one.export_to, namespace):
            continue
        names = common_names(server.hosts, one.hosts, key.namespace)
        if names:
            found.append((rank_of(namespace, key, one), key, names))
    return [(key, names) for _, key, names in sorted(found)]
