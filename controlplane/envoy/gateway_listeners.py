"""LDS: the listeners of a gateway.

    plaintext HTTP   one chain, whose routes are those of all servers of the port
    HTTPS            one chain per server, chosen by the name that the client asks for

Unlike a sidecar's these listeners bind: clients dial them.  A server whose credential is missing has no
chain, so that its clients are turned away and those of its neighbours are not.  The chains are serialized
one by one and joined: an edit of one server among hundreds makes one chain.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.accesslog import AccessLog, access_log, refusal_logs
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.gateway_routes import plain_route_name, secure_route_name
from controlplane.envoy.gateway_tls import Shown, downstream_socket, shown
from controlplane.envoy.guard import guard
from controlplane.envoy.listeners_parts import (
    chain,
    http_manager,
    tls_inspector,
)
from controlplane.envoy.listeners_parts import (
    socket as address_of,
)
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.authorization import ExtAuthz
from controlplane.mesh.gateways import ServerId, Socket, served, server_names, server_of, sockets
from controlplane.mesh.projections import GatewayScope, Security
from controlplane.mesh.request_authentication import JwtRules

_FILTER_CHAINS = 3
_WILDCARD = "0.0.0.0"


class EdgeGuard(NamedTuple):
    """What policies make of a gateway's HTTP managers, by content."""

    jwt: JwtRules = JwtRules()
    providers: tuple[ExtAuthz, ...] = ()


@query
def edge_guard(q: Q, namespace: str, security: Security) -> EdgeGuard:
    """The guard of a gateway that these policies hold for."""
    found = q(guard, namespace, security)
    return EdgeGuard(found.jwt, found.providers)


def listener_name(socket: Socket) -> str:
    """ "0.0.0.0_8080"."""
    return f"{socket.bind or _WILDCARD}_{socket.port}"


@keyed
def gateway_listeners(q: Q, gateway: GatewayScope) -> Plan:
    """Listener name -> Resource, for each socket of a gateway."""
    return flat(q.map(sockets, gateway.edge), _socket_listener, gateway)


@query
def _socket_listener(q: Q, gateway: GatewayScope, socket: Socket) -> tuple[tuple[str, Resource], ...]:
    found = q(served, gateway.edge, socket)
    policies = q(edge_guard, gateway.namespace, gateway.security)
    name = listener_name(socket)
    if found.family == "http":
        route = plain_route_name(socket)
        frames = [q(_plain_chain, name, route, policies)]
        return ((name, _join(q, socket, frames, (route,), secure=False)),)
    secrets = ((id, shown(q, gateway, id)) for id in found.servers)
    chains = [q(_secure_chain, name, id, policies, own) for id, own in secrets if own is not None]
    kept = [one for one in chains if one is not None]
    if not kept:
        return ()
    routes = tuple(one.route for one in kept)
    return ((name, _join(q, socket, [one.frame for one in kept], routes, secure=True)),)


class _Secure(NamedTuple):
    route: str
    frame: bytes


@query
def _plain_chain(q: Q, name: str, route: str, policies: EdgeGuard) -> bytes:
    return _frame(chain(route, [_manager(q(access_log), name, route, policies)]))


@query
def _secure_chain(q: Q, name: str, id: ServerId, policies: EdgeGuard, secrets: Shown) -> _Secure | None:
    """The chain of a server that ends TLS."""
    server = server_of(q, id)
    if server is None or server.tls is None:
        return None
    route = secure_route_name(id, server)
    names = server_names(server)
    match = pb.listener_components.FilterChainMatch(server_names=() if names == ("*",) else names)
    message = chain(route, [_manager(q(access_log), name, route, policies)], match)
    message.transport_socket.CopyFrom(downstream_socket(server.tls, secrets))
    return _Secure(route, _frame(message))


def _manager(log: AccessLog | None, name: str, route: str, policies: EdgeGuard) -> Any:
    where = Chain("gateway", guarded=True, jwt=policies.jwt, providers=policies.providers)
    return http_manager(f"outbound_{name}", route, where, log)


def _frame(message: Any) -> bytes:
    return wire.length_delimited(_FILTER_CHAINS, pb.deterministic(message))


def _join(q: Q, socket: Socket, frames: list[bytes], routes: tuple[str, ...], *, secure: bool) -> Resource:
    """The listener: its name and address, the chains, and the fields that come after them."""
    name = listener_name(socket)
    head = pb.listener.Listener(name=name, address=address_of(socket.bind or _WILDCARD, socket.port))
    tail = pb.listener.Listener(
        traffic_direction=pb.base.TrafficDirection.OUTBOUND,
        access_log=refusal_logs(q(access_log)),
    )
    if secure:
        tail.listener_filters.append(tls_inspector())
    body = b"".join((pb.deterministic(head), *frames, pb.deterministic(tail)))
    return Resource(LISTENER, name, body, routes)
