"""LDS: the listeners of a gateway.

    plaintext HTTP   one chain, whose routes are those of all servers of the port
    HTTPS            one chain per server, chosen by the name that the client asks for
    other TLS        the same, or a chain per rule where the gateway passes on what it cannot read, or one per
                     cluster that clients may ask for by name
    TCP              one chain

Unlike a sidecar's these listeners bind: clients dial them.  A server whose credential is missing has no
chain, so that its clients are turned away and those of its neighbours are not.  The chains are serialized
one by one and joined: an edit of one server among hundreds makes one chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.accesslog import access_log, refusal_logs
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.gateway_dnat import sni_chains
from controlplane.envoy.gateway_l4 import l4_chains
from controlplane.envoy.gateway_routes import plain_route_name, secure_route_name
from controlplane.envoy.gateway_tls import Shown, shown, transport_socket
from controlplane.envoy.guard import guard
from controlplane.envoy.listeners_binds import Bind
from controlplane.envoy.listeners_parts import (
    chain,
    http_manager,
    limit_buffer,
    place,
    proxy_protocol,
    tls_inspector,
)
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.authorization import ExtAuthz, TcpGuard
from controlplane.mesh.dynamic_dns import resolves_hosts
from controlplane.mesh.features import features
from controlplane.mesh.gateways import (
    Manner,
    ServerId,
    Socket,
    manner_of,
    served,
    server_names,
    server_of,
    sockets,
)
from controlplane.mesh.listening import WILDCARD
from controlplane.mesh.projections import GatewayScope, Security
from controlplane.mesh.request_authentication import JwtRules
from controlplane.mesh.settings import gateway_topology, http_manners, path_normalization
from controlplane.model.kinds.gateway_topology import GatewayTopology
from controlplane.model.kinds.proxy_manners import Manners

_FILTER_CHAINS = 3


class EdgeGuard(NamedTuple):
    """What policies, and what stands in front of it, make of a gateway's filters, by content."""

    jwt: JwtRules = JwtRules()
    providers: tuple[ExtAuthz, ...] = ()
    tcp: TcpGuard = TcpGuard()
    topology: GatewayTopology = GatewayTopology()
    manners: Manners = Manners()


@query
def edge_guard(q: Q, namespace: str, security: Security) -> EdgeGuard:
    """The guard of a gateway that these policies hold for."""
    found = q(guard, namespace, security)
    return EdgeGuard(found.jwt, found.providers, found.tcp)


def listener_name(socket: Socket, wildcard: str = WILDCARD) -> str:
    """ "0.0.0.0_8080"; `wildcard` is what any address is called."""
    return f"{socket.bind or wildcard}_{socket.port}"


@keyed
def gateway_listeners(q: Q, gateway: GatewayScope) -> Plan:
    """Listener name -> Resource, for each socket of a gateway."""
    return flat(q.map(sockets, gateway.edge), _socket_listener, gateway)


@query
def _socket_listener(q: Q, gateway: GatewayScope, socket: Socket) -> tuple[tuple[str, Resource], ...]:
    found = q(served, gateway.edge, socket)
    own = gateway.surroundings
    topology = own.topology or q(gateway_topology)
    manners = q(http_manners) if own.connections is None else q(http_manners, own.connections)
    policies = q(edge_guard, gateway.namespace, gateway.security)._replace(topology=topology, manners=manners)
    name = listener_name(socket, gateway.wildcards[0])
    if found.family == "http":
        route = plain_route_name(socket)
        chains = [_framed([q(_plain_chain, name, route, policies)], route)]
    else:
        chains = [q(_chains, gateway, name, id, policies) for id in found.servers]
    if found.automatic:
        scope = gateway.routes.scope
        chains.append(_framed(q.values(sni_chains, found.automatic, scope, policies.tcp)))
    rest = pb.listener.Listener(
        traffic_direction=pb.base.TrafficDirection.OUTBOUND, access_log=refusal_logs(q(access_log))
    )
    limit_buffer(rest, manners)
    if topology.proxy_protocol:
        rest.listener_filters.append(proxy_protocol())
    if found.family == "tls":
        rest.listener_filters.append(tls_inspector())
    addresses = [place(Bind(socket.bind or wildcard, socket.port)) for wildcard in gateway.wildcards]
    return ((name, _join(name, addresses, chains, rest)),) if any(one.frames for one in chains) else ()


class _Chains(NamedTuple):
    """FilterChains as they stand in a listener, and the route configuration that they fetch ("" = none).

    A listener of a thousand servers is sent whole when one of them changes: then it only joins these.
    """

    frames: bytes
    route: str


def _framed(bodies: Iterable[bytes], route: str = "") -> _Chains:
    return _Chains(b"".join(wire.length_delimited(_FILTER_CHAINS, body) for body in bodies), route)


@query
def _chains(q: Q, gateway: GatewayScope, name: str, id: ServerId, policies: EdgeGuard) -> _Chains:
    """The chains of one server; none for one that has nothing to show, or nowhere to send anything."""
    manner = q(_manner, id)
    ends = manner in ("https", "tls")
    secrets = shown(q, gateway, id) if ends else None
    if manner == "https" and secrets is not None:
        return q(_secure_chain, name, id, policies, secrets)
    if manner in ("tls", "passed", "tcp") and (secrets is not None or not ends):
        bodies = q(l4_chains, gateway.routes, id, policies.tcp, secrets)
        return _framed(bodies)
    return _framed(())


@query
def _manner(q: Q, id: ServerId) -> Manner | None:
    server = server_of(q, id)
    return None if server is None else manner_of(server)


@query
def _plain_chain(q: Q, name: str, route: str, policies: EdgeGuard) -> bytes:
    return pb.deterministic(chain(route, [_manager(q, name, route, policies)]))


@query
def _secure_chain(q: Q, name: str, id: ServerId, policies: EdgeGuard, secrets: Shown) -> _Chains:
    """The chain of a server that ends TLS around HTTP."""
    server = server_of(q, id)
    if server is None or server.tls is None:
        return _framed(())
    route = secure_route_name(id, server)
    names = server_names(server)
    match = pb.listener_components.FilterChainMatch(server_names=() if names == ("*",) else names)
    message = chain(route, [_manager(q, name, route, policies)], match)
    message.transport_socket.CopyFrom(transport_socket(q, server, secrets))
    return _framed([pb.deterministic(message)], route)


def _manager(q: Q, name: str, route: str, policies: EdgeGuard) -> Any:
    jwt, providers, paths = policies.jwt, policies.providers, q(path_normalization)
    where = Chain("gateway", guarded=True, jwt=jwt, providers=providers, paths=paths)
    where = where._replace(
        topology=policies.topology,
        manners=policies.manners,
        http10=q(features).http10,
        dynamic=q(resolves_hosts),
    )
    return http_manager(f"outbound_{name}", route, where, q(access_log))


def _join(name: str, addresses: list[Any], chains: list[_Chains], rest: Any) -> Resource:
    """The listener: its name and address, the chains, and `rest`, the fields that come after them."""
    first, *others = addresses
    head = pb.listener.Listener(name=name, address=first)
    for one in others:
        # Of a socket with an address of its own every family has the same, and one is enough.
        if one != first:
            rest.additional_addresses.add().address.CopyFrom(one)
    body = b"".join((pb.deterministic(head), *(one.frames for one in chains), pb.deterministic(rest)))
    return Resource(LISTENER, name, body, tuple(one.route for one in chains if one.route))
