"""The TLS and TCP rules of VirtualServices: where opaque connections go.

Unlike HTTP rules they end up in listeners, so they are asked only for ports that are not HTTP.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Literal

from controlplane.graph import Q, query
from controlplane.mesh.hosts import is_partial
from controlplane.mesh.projections import RouteScope, Scope
from controlplane.mesh.routing import attachment, candidates, routed_alike, selectors_of, virtual_service
from controlplane.mesh.routing_http import Place, target_of
from controlplane.mesh.routing_ir import Destination, TcpRoute
from controlplane.mesh.routing_match import ANYONE, Client, admits
from controlplane.mesh.tunnels import tunnelled_hosts
from controlplane.model.hosts import canonical
from controlplane.model.keys import Key, Labels, Ref
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.virtual_service import (
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualService,
)

L4 = Literal["tls", "tcp"]
_ANYWHERE = Scope("")
_NOTHING: tuple[bool, tuple[Labels, ...]] = (False, ())
_ANY_CONNECTION = (L4MatchAttributes(),)


def l4_rules(q: Q, scope: RouteScope, host: str, layer: L4) -> tuple[Key, Client] | None:
    """The VirtualService in force for connections to a host, and the client as its rules see it."""
    key = virtual_service(q, scope.scope, host, layer)
    if key is None:
        return None
    namespace, selectors = q(_needs, key, layer)
    matched = tuple(labels for labels in scope.matched if labels in selectors)
    return key, Client(scope.scope.namespace if namespace else "", matched)


@query
def is_l4_uniform(q: Q, host: str) -> bool:
    """Whether connections to a host go the same way for all clients without a Sidecar."""
    if not q(candidates, host):
        return True
    layers: tuple[L4, ...] = ("tls", "tcp")
    keys = [(virtual_service(q, _ANYWHERE, host, layer), layer) for layer in layers]
    return q(routed_alike, host) and all(
        key is None or (q(_needs, key, layer) == _NOTHING and not q(tunnelled_hosts, key, layer))
        for key, layer in keys
    )


@query
def _needs(q: Q, key: Key, layer: L4) -> tuple[bool, tuple[Labels, ...]]:
    """Whether the rules ask for the client's namespace, and which of its labels."""
    if q(attachment, key) is None:
        return _NOTHING
    found: VirtualService = q.get(virtual_services, key)
    matches = [match for rule in getattr(found, layer) for match in rule.match]
    return any(match.source_namespace for match in matches), selectors_of(getattr(found, layer))


@query
def l4_routes(q: Q, key: Key, layer: L4, port: int, client: Client = ANYONE) -> tuple[TcpRoute, ...]:
    """The rules of a VirtualService for a port; nothing follows a rule that takes every connection."""
    found: VirtualService | None = q.get(virtual_services, key)
    if found is None:
        return ()
    place = Place(key.namespace, port, client)
    source = Ref("VirtualService", key.namespace, key.name)
    out: list[TcpRoute] = []
    rules: tuple[TLSRoute | TCPRoute, ...] = found.tls if layer == "tls" else found.tcp
    for rule in rules:
        destinations = tuple(_destinations(q, place, rule.route))
        for match in rule.match or _ANY_CONNECTION:
            if not destinations or not admits(match, client, port, key.namespace):
                continue
            sni = _server_names(match.sni_hosts) if isinstance(match, TLSMatchAttributes) else ()
            if sni is None:
                continue
            out.append(TcpRoute(destinations, sni, _subnets(match.destination_subnets), source))
            if not sni and not match.destination_subnets:
                return tuple(out)
    return tuple(out)


def _server_names(hosts: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names that a connection may ask for: () = any; None where none of them can be matched."""
    if not hosts or "*" in hosts:
        return ()
    # Proxies know wildcards of whole labels only.
    names = dict.fromkeys(canonical(host) for host in hosts if not is_partial(host))
    return tuple(names) or None


def _subnets(subnets: tuple[str, ...]) -> tuple[str, ...]:
    """Networks in their one spelling: "10.1.2.3/8" is "10.0.0.0/8", an address a network of one."""
    networks = (ipaddress.ip_network(subnet, strict=False) for subnet in subnets)
    return tuple(sorted({str(network) for network in networks}))


def _destinations(q: Q, place: Place, shares: tuple[RouteDestination, ...]) -> Iterator[Destination]:
    for share in shares:
        weight = 1 if len(shares) == 1 else share.weight
        if weight > 0:
            yield Destination(target_of(q, place, share.destination), weight)
