"""Scopes: what a proxy sees, as projections that many proxies share.

A builder never gets a proxy.  Outbound configuration depends on a `Scope`, inbound configuration on
an `Inbound`, routes on a `RouteScope`; a thousand replicas of one Deployment share one of each.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Plan, Q, each, group, keyed, query
from controlplane.mesh.imports import Scope, offer, rank, routed_services, visible_to, wanted_shelves
from controlplane.mesh.service import ServiceId, service_ports, services_of_host
from controlplane.mesh.settings import mesh_config
from controlplane.mesh.visibility import entry_shelves, kubernetes_shelves
from controlplane.model.keys import Key, Labels

__all__ = [
    "Binding",
    "Inbound",
    "ProxyView",
    "RouteScope",
    "Scope",
    "limited_ports",
    "mesh_config",
    "ports",
    "visible",
]


class Binding(NamedTuple):
    """A port on which a workload answers.

    `port` is the service's port, `target` the workload's, by which listeners and clusters are named.
    `endpoint` says where the application listens if not where the traffic was sent: "127.0.0.1:p",
    "unix:///path", or ":p" for another port of the same address (from Sidecar.ingress).
    """

    service: ServiceId
    port: int
    target: int
    protocol: str
    endpoint: str = ""


class Inbound(NamedTuple):
    """What inbound configuration depends on: the workload's ports, sorted by target, one per target.

    `sidecar` is set where the Sidecar in force has settings for inbound connections.
    """

    namespace: str
    bindings: tuple[Binding, ...]
    sidecar: Key | None = None


class RouteScope(NamedTuple):
    """A scope, and which of the mesh's `sourceLabels` selectors the client satisfies."""

    scope: Scope
    matched: tuple[Labels, ...] = ()


class ProxyView(NamedTuple):
    """Everything that one proxy's configuration depends on; `inbound` None: it has none (a gateway)."""

    scope: Scope
    inbound: Inbound | None
    matched: tuple[Labels, ...] = ()

    @property
    def routes(self) -> RouteScope:
        """The projection that outbound routes depend on."""
        return RouteScope(self.scope, self.matched)


@keyed
def visible(q: Q, scope: Scope) -> Plan:
    """ServiceId -> the same ServiceId, for each service of the scope: one per host."""
    sources = tuple(
        q.part(shelves, (), shelf)
        for shelf in q(wanted_shelves, scope)
        for shelves in (kubernetes_shelves, entry_shelves)
    )
    if scope.sidecar is None:
        return each(sources, _winner, scope)
    return each((*sources, q.map(routed_services, scope)), _imported_winner, scope)


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
    return group(q.map(visible, scope), _listed, scope)


@query
def _listed(q: Q, scope: Scope, id: ServiceId) -> tuple[tuple[int, ServiceId], ...]:
    if scope.sidecar is not None:
        return tuple((number, id) for number in q(offer, scope, id).listed)
    return tuple((port.number, id) for port in q(service_ports, id))


def limited_ports(q: Q, scope: Scope, id: ServiceId) -> tuple[int, ...] | None:
    """The ports of a visible service that the scope may route to; None, and so shared, for all of them."""
    if scope.sidecar is None:
        return None
    allowed = q(offer, scope, id).clusters
    return None if len(allowed) == len(q(service_ports, id)) else allowed
