"""RDS: the route configurations of a gateway.

    http.<port>                                     the plaintext servers of a port together
    https.<port>.<port name>.<gateway>.<namespace>  each server that ends TLS

As for sidecars a configuration is joined from virtual hosts that were serialized one by one.  Its last
virtual host takes the names that nobody answers for: a request that finds no route would find no policy
either, and be refused where it should be answered with 404.
"""

from __future__ import annotations

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.authorization_routes import route_guard
from controlplane.envoy.resource import Resource
from controlplane.envoy.routes import route_tail
from controlplane.envoy.routes_hosts import virtual_host_message
from controlplane.envoy.types import ROUTE
from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.gateways import ServerId, Socket, manner_of, served, server_of, sockets
from controlplane.mesh.gateways_hosts import (
    NOT_FOUND,
    GatewayHost,
    Site,
    alike,
    gateway_virtual_host,
    is_answered,
    site_port,
)
from controlplane.mesh.projections import Edge, GatewayScope, RouteScope, Security
from controlplane.mesh.routing_ir import VirtualHost
from controlplane.mesh.settings import route_headers
from controlplane.model.kinds.gateway import Server

_ANY = "*"
_VIRTUAL_HOSTS = 2
_TAIL = pb.deterministic(route_tail())


def plain_route_name(socket: Socket) -> str:
    """The route configuration of the plaintext servers of a socket."""
    return f"http.{socket.port}" + (f".{socket.bind}" if socket.bind else "")


def secure_route_name(id: ServerId, server: Server) -> str:
    """The route configuration of one server that ends TLS."""
    parts = ("https", str(server.port.number), server.port.name, id.name, id.namespace, server.bind)
    return ".".join(part for part in parts if part)


@keyed
def gateway_routes(q: Q, gateway: GatewayScope) -> Plan:
    """Route configuration name -> Resource, for each socket of a gateway."""
    return each(q.map(_sites, gateway.edge, gateway.namespace), site_routes, gateway)


@keyed
def _sites(q: Q, edge: Edge, namespace: str) -> Plan:
    """Route configuration name -> Site."""
    return flat(q.map(sockets, edge), _sites_of, edge, namespace)


@query
def _sites_of(q: Q, edge: Edge, namespace: str, socket: Socket) -> tuple[tuple[str, Site], ...]:
    found = q(served, edge, socket)
    site = Site(edge, namespace, socket)
    if found.family == "http":
        return ((plain_route_name(socket), site),)
    servers = [(id, server_of(q, id)) for id in found.servers]
    reading = [(id, server) for id, server in servers if server is not None and manner_of(server) == "https"]
    return tuple((secure_route_name(id, server), site._replace(server=id)) for id, server in reading)


@query
def site_routes(q: Q, gateway: GatewayScope, name: str) -> Resource:
    """One route configuration."""
    site: Site = q.at(_sites, (gateway.edge, gateway.namespace), name)
    frames = q.values(_frames, site, gateway.routes)
    if not is_answered(q, site, gateway.routes, _ANY):
        frames.append(q(_blackhole, q(site_port, site)))
    # Of all that guards a gateway the routes hold what authorizes its requests.
    guard = q(route_guard, gateway.namespace, Security(authorization=gateway.security.authorization))
    return Resource(ROUTE, name, b"".join((wire.string(1, name), *frames, _TAIL, guard)))


@keyed
def _frames(q: Q, site: Site, scope: RouteScope) -> Plan:
    """GatewayHost -> its virtual host."""
    return each(q.map(alike, site, scope), _frame, site, scope)


@query
def _frame(q: Q, site: Site, scope: RouteScope, spec: GatewayHost) -> bytes:
    return q(gateway_host_frame, spec, q.keys(q.part(alike, (site, scope), spec)))


@query
def gateway_host_frame(q: Q, spec: GatewayHost, domains: tuple[str, ...]) -> bytes:
    """The bytes of a virtual host, shared by all gateways with this projection."""
    return _frame_of(q, q(gateway_virtual_host, spec, domains))


@query
def _blackhole(q: Q, port: int) -> bytes:
    return _frame_of(q, VirtualHost(f"blackhole:{port}", (_ANY,), (NOT_FOUND,)))


def _frame_of(q: Q, host: VirtualHost) -> bytes:
    message = virtual_host_message(host, q(route_headers))
    return wire.length_delimited(_VIRTUAL_HOSTS, pb.deterministic(message))
