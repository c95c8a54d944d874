"""What a scope sees: the services that its clients may call, one per host, and on which ports.

Most services look the same to everybody: exported to all, alone with their host, under rules that
hold for every client.  These are the *common* services; whatever is built for them is built once for
the mesh, and a scope adds what is particular to it.  A scope with a Sidecar shares nothing: it is
there to see little.
"""

from __future__ import annotations

from controlplane.graph import Plan, Q, Source, each, group, keyed, query
from controlplane.mesh.imports import offer, rank, routed_services, visible_to, wanted_shelves
from controlplane.mesh.projections import Binding, Inbound, ProxyView, RouteScope, Scope
from controlplane.mesh.service import ServiceId, service_ports, services_of_host
from controlplane.mesh.settings import mesh_config
from controlplane.mesh.visibility import COMMON, PLACED, entry_shelves, kubernetes_shelves

__all__ = [
    "Binding",
    "Inbound",
    "ProxyView",
    "RouteScope",
    "Scope",
    "common_services",
    "limited_ports",
    "mesh_config",
    "particular_services",
    "placed_services",
    "ports",
    "visible",
]


def common_services(q: Q) -> tuple[Source, ...]:
    """The collections that hold the ServiceIds of all common services."""
    return tuple(q.part(shelves, (), COMMON) for shelves in (kubernetes_shelves, entry_shelves))


def placed_services(q: Q) -> tuple[Source, ...]:
    """The collections that hold those of them with clusters that depend on where the client stands."""
    return tuple(q.part(shelves, (), PLACED) for shelves in (kubernetes_shelves, entry_shelves))


@keyed
def particular_services(q: Q, scope: Scope) -> Plan:
    """ServiceId -> the same, for the services of the scope that it does not share with the mesh."""
    sources = tuple(
        q.part(shelves, (), shelf)
        for shelf in q(wanted_shelves, scope)
        for shelves in (kubernetes_shelves, entry_shelves)
    )
    if scope.sidecar is None:
        return each(sources, _winner, scope)
    return each((*sources, q.map(routed_services, scope)), _imported_winner, scope)


@keyed
def visible(q: Q, scope: Scope) -> Plan:
    """ServiceId -> the same ServiceId, for each service of the scope: one per host."""
    particular = q.map(particular_services, scope)
    # The child has no argument but the service, so that all scopes share its memos.
    return each(particular if scope.sidecar else (*common_services(q), particular), _itself)


@query
def _itself(q: Q, id: ServiceId) -> ServiceId:
    return id


@query
def _winner(q: Q, scope: Scope, id: ServiceId) -> ServiceId | None:
    rivals = q(services_of_host, id.host)
    if len(rivals) < 2:
        return id
    seen = (rival for rival in rivals if visible_to(q, scope.namespace, rival))
    best = min(seen, key=lambda rival: rank(q, scope.namespace, rival))
    return id if best == id else None


@query
def _imported_winner(q: Q, scope: Scope, id: ServiceId) -> ServiceId | None:
    # A rival counts only if the Sidecar imports it, or none of the two would be served.
    rivals = (
        rival
        for rival in q(services_of_host, id.host)
        if visible_to(q, scope.namespace, rival) and q(offer, scope, rival).clusters
    )
    best = min(rivals, key=lambda rival: rank(q, scope.namespace, rival), default=None)
    return id if best == id else None


@keyed
def ports(q: Q, scope: Scope) -> Plan:
    """Service port number -> ServiceIds of the scope that are listed on it."""
    if scope.sidecar is None:
        return group(q.map(visible, scope), _all_ports)
    return group(q.map(visible, scope), _listed, scope)


@query
def _all_ports(q: Q, id: ServiceId) -> tuple[tuple[int, ServiceId], ...]:
    return tuple((port.number, id) for port in q(service_ports, id))


@query
def _listed(q: Q, scope: Scope, id: ServiceId) -> tuple[tuple[int, ServiceId], ...]:
    return tuple((number, id) for number in q(offer, scope, id).listed)


def limited_ports(q: Q, scope: Scope, id: ServiceId) -> tuple[int, ...] | None:
    """The ports of a visible service that the scope may route to; None, and so shared, for all of them."""
    if scope.sidecar is None:
        return None
    allowed = q(offer, scope, id).clusters
    return None if len(allowed) == len(q(service_ports, id)) else allowed
