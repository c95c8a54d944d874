"""Who wants which outbound listener: services' claims on addresses and ports, gathered by listener.

HTTP services share the wildcard address of their port and are told apart by Host; all of them make one
and the same claim there, so that the thousandth HTTP service on a port changes no listener.  Other
services claim their own address, or the wildcard for want of one.  Where several claims meet on a
listener, the older service goes first.

As with clusters there is one collection for the mesh, of services that look the same to everybody, and
per scope what is particular to it.
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.envoy.listeners_binds import HTTP, Bind, Claim, Claims, http_claim
from controlplane.graph import Plan, Q, Source, group, keyed, query
from controlplane.mesh.endpoints import endpoints
from controlplane.mesh.features import features
from controlplane.mesh.imports import Placed, offer
from controlplane.mesh.listening import WILDCARD
from controlplane.mesh.projections import RouteScope
from controlplane.mesh.protocols import AUTO, HTTP_LIKE
from controlplane.mesh.routing import l4_selectors
from controlplane.mesh.routing_hosts import ANYWHERE
from controlplane.mesh.routing_l4 import L4, is_l4_uniform, l4_rules
from controlplane.mesh.routing_match import ANYONE
from controlplane.mesh.routing_names import dialled_addresses
from controlplane.mesh.rules import common_rule, rule_of
from controlplane.mesh.scope import common_services, particular_services
from controlplane.mesh.service import Port, Service, ServiceId, service
from controlplane.mesh.tunnels import tunnels_of
from controlplane.model.keys import Key

_TLS_LIKE = frozenset({"TLS", "HTTPS"})
_READ = {"MONGO": "mongo_filter", "REDIS": "redis_filter"}
"""Protocols that Envoy reads if a switch says so, else passes on."""


def l4_scope(q: Q, scope: RouteScope) -> RouteScope:
    """The scope as listeners see it: without the selectors that only HTTP rules use."""
    if not scope.matched:
        return scope
    selectors = q(l4_selectors)
    return scope._replace(matched=tuple(labels for labels in scope.matched if labels in selectors))


def shared_claims(q: Q, scope: RouteScope, bind: Bind) -> tuple[Claim, ...]:
    """All claims that meet in a scope at a place that services share, oldest first."""
    found = set(q.keys(q.part(particular_shared, (scope,), bind)))
    if scope.scope.sidecar is None:
        found.update(q.keys(q.part(common_shared, (scope.dns,), bind)))
    return tuple(sorted(found))


def own_claims(q: Q, scope: RouteScope, bind: Bind) -> tuple[Claim, ...]:
    """The claims on another address that are a scope's own; () where the mesh has some already."""
    if scope.scope.sidecar is None and q.keys(q.part(common_own, (scope.dns,), bind)):
        return ()
    return q.keys(q.part(particular_own, (scope,), bind))


def shared_binds(q: Q, scope: RouteScope) -> tuple[Source, ...]:
    """The places shared by services at which a scope has a listener."""
    particular = q.map(particular_shared, scope)
    return (particular,) if scope.scope.sidecar else (q.map(common_shared, scope.dns), particular)


@keyed
def common_shared(q: Q, dns: bool) -> Plan:
    """Bind -> claims of common services on the wildcard address; `dns`: where proxies answer names."""
    return group(common_services(q), _common_shared, dns)


@keyed
def common_own(q: Q, dns: bool) -> Plan:
    """Bind -> claims of common services on addresses of their own; `dns` as in `common_shared`."""
    return group(common_services(q), _common_own, dns)


@keyed
def particular_shared(q: Q, scope: RouteScope) -> Plan:
    """Bind -> claims on the wildcard address that are particular to a scope."""
    return group(particular_sources(q, scope), _particular_shared, scope)


@keyed
def particular_own(q: Q, scope: RouteScope) -> Plan:
    """Bind -> claims on addresses of their own that are particular to a scope."""
    return group(particular_sources(q, scope), _particular_own, scope)


def particular_sources(q: Q, scope: RouteScope) -> tuple[Source, ...]:
    """The services whose claims a scope does not share with the mesh."""
    services = q.map(particular_services, scope.scope)
    return (services,) if scope.scope.sidecar else (services, q.part(_odd_services, (), True))


@keyed
def _odd_services(q: Q) -> Plan:
    """True -> common services whose connections go different ways for different clients."""
    return group(common_services(q), _odd)


@query
def _odd(q: Q, id: ServiceId) -> tuple[tuple[bool, ServiceId], ...]:
    return () if _is_common(q, id) else ((True, id),)


def _is_common(q: Q, id: ServiceId) -> bool:
    found = q(service, id)
    if found is None or all(port.protocol in HTTP_LIKE for port in found.ports):
        return True
    return q(is_l4_uniform, id.host)


@query
def common_claims(q: Q, dns: bool, id: ServiceId) -> Claims:
    """The claims of a common service; `dns` as in `common_shared`."""
    policy = q(common_rule, id) or ()
    found = q(service, id)
    if found is None:
        return Claims()
    ports = found.ports if _is_common(q, id) else [p for p in found.ports if p.protocol in HTTP_LIKE]
    return _claims(q, ANYWHERE._replace(dns=dns), found, tuple(ports), policy)


@query
def _common_shared(q: Q, dns: bool, id: ServiceId) -> tuple[tuple[Bind, Claim], ...]:
    return q(common_claims, dns, id).shared


@query
def _common_own(q: Q, dns: bool, id: ServiceId) -> tuple[tuple[Bind, Claim], ...]:
    return q(common_claims, dns, id).own


@query
def claims_in_scope(q: Q, scope: RouteScope, id: ServiceId) -> Claims:
    """The claims of a service in a scope."""
    found = q(service, id)
    if found is None:
        return Claims()
    policy = rule_of(q, scope.scope, id)
    if scope.scope.sidecar is None:
        return _claims(q, scope, found, found.ports, policy)
    offered = q(offer, scope.scope, id)
    placed = {one.number for one in offered.placed if not one.proxy}
    listed = tuple(p for p in found.ports if p.number in offered.listed and p.number not in placed)
    claims = _claims(q, scope, found, listed, policy)
    shared, own = [*claims.shared], [*claims.own]
    for one in offered.placed:
        port = found.port(one.number)
        if port is not None:
            claims = _placed_claims(q, scope, found, (port, one), policy)
            shared += claims.shared
            own += claims.own
    return Claims(tuple(shared), tuple(own))


def _placed_claims(
    q: Q, scope: RouteScope, found: Service, place: tuple[Port, Placed], policy: tuple[Key, ...]
) -> Claims:
    """The claim of a service's port at the listener of a Sidecar, whose protocol counts."""
    port, placed = place
    port = replace(port, protocol=placed.protocol or port.protocol)
    if not placed.address:
        return _claims(q, scope, found, (port,), policy)
    bind = Bind(placed.address, placed.port, chosen=True, bound=placed.bound, proxy=placed.proxy)
    if not bind.free:
        return Claims()
    if port.protocol in HTTP_LIKE:
        return Claims(((bind, http_claim(port.protocol, dynamic=_is_dynamic(found))),))
    if placed.proxy and port.number != found.ports[0].number:
        # Connections to a socket name no port.
        return Claims()
    claim = _connections(q, scope, found, port, policy)
    return Claims(((bind, claim._replace(port=0 if port.number == placed.port else port.number)),))


@query
def _particular_shared(q: Q, scope: RouteScope, id: ServiceId) -> tuple[tuple[Bind, Claim], ...]:
    return q(claims_in_scope, scope, id).shared


@query
def _particular_own(q: Q, scope: RouteScope, id: ServiceId) -> tuple[tuple[Bind, Claim], ...]:
    return q(claims_in_scope, scope, id).own


def _claims(
    q: Q, scope: RouteScope, found: Service, ports: tuple[Port, ...], policy: tuple[Key, ...]
) -> Claims:
    shared: list[tuple[Bind, Claim]] = []
    own: list[tuple[Bind, Claim]] = []
    for port in ports:
        wildcard = Bind(WILDCARD, port.number)
        if port.protocol in HTTP_LIKE:
            shared.append((wildcard, http_claim(port.protocol, dynamic=_is_dynamic(found))))
            continue
        if found.direct and port.protocol == AUTO:
            # HTTP to an address that is not known yet finds its way by Host.
            shared.append((wildcard, HTTP))
        claim = _connections(q, scope, found, port, policy)
        dialled = dialled_addresses(found, dns=scope.dns)
        addresses = _instances(q, found, port) if found.headless else dialled
        own += ((Bind(address, port.number), claim) for address in addresses)
        subnets = tuple(address for address in found.addresses if "/" in address)
        if subnets or not (dialled or found.headless):
            shared.append((wildcard, claim._replace(subnets=subnets)))
    return Claims(tuple(one for one in shared if one[0].free), tuple(own))


def _instances(q: Q, found: Service, port: Port) -> list[str]:
    """What is dialled for a headless service: the addresses of its pods."""
    return sorted({one.address for one in q(endpoints, found.id, port.number) if one.healthy})


def _connections(q: Q, scope: RouteScope, found: Service, port: Port, policy: tuple[Key, ...]) -> Claim:
    tls = port.protocol in _TLS_LIKE
    layer: L4 = "tls" if tls else "tcp"
    rules = l4_rules(q, scope, found.id.host, layer)
    if rules is None and tls:
        layer = "tcp"
        rules = l4_rules(q, scope, found.id.host, layer)
    protocol = "TLS" if tls else AUTO if port.protocol == AUTO else _read_as(q, port.protocol)
    key, client = rules or ((), ANYONE)
    tunnels = tunnels_of(q, scope.scope, key, layer) if key else ()
    dynamic = _is_dynamic(found)
    return Claim(
        found.created, *found.id, protocol, key, layer, client, policy, tunnels=tunnels, dynamic=dynamic
    )


def _is_dynamic(found: Service) -> bool:
    return found.resolution == "DYNAMIC_DNS"


def _read_as(q: Q, protocol: str) -> str:
    """As what connections of an opaque protocol are served."""
    switch = _READ.get(protocol)
    return protocol if switch is not None and getattr(q(features), switch) else "TCP"
