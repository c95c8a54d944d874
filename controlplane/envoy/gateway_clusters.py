"""CDS and EDS of a gateway: the clusters of everything that it may reach, as sidecars have them.

Nothing is redirected to a gateway, so no connection of its own says where it wanted to go.  Clusters that
would ask that of a connection (of headless services, of ServiceEntries without resolution, of destinations
that pass through) have their endpoints by EDS instead.
"""

from __future__ import annotations

from controlplane.envoy.cluster_maps import key_cluster_maps
from controlplane.envoy.cluster_places import (
    Caller,
    assignments_of,
    at_edge,
    caller_of,
    clusters_of,
    placed_assignment_maps,
    placed_cluster_maps,
)
from controlplane.envoy.cluster_specs import Spec, cluster_specs
from controlplane.envoy.clusters import cluster, service_clusters
from controlplane.envoy.endpoints import load_assignment, service_assignments
from controlplane.envoy.gateway_dnat import sni_assignments, sni_clusters
from controlplane.envoy.inbound_clusters import edge_clusters
from controlplane.envoy.maps import Maps, Pairs
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.gateways_wanted import wanted_services
from controlplane.mesh.projections import Edge, GatewayScope, ProxyView, Scope
from controlplane.mesh.rules import common_rule, rule_of
from controlplane.mesh.scope import common_services, particular_services
from controlplane.mesh.service import ServiceId
from controlplane.model.keys import Key


def gateway_cluster_maps(view: ProxyView, gateway: GatewayScope) -> Maps:
    """The maps that hold a gateway's clusters between them."""
    own = (*key_cluster_maps(view), (edge_clusters, ()), (sni_clusters, (gateway.edge, view.scope)))
    if gateway.frugal:
        near = (wanted_placed_clusters, (gateway.edge, view.scope, caller_of(view)))
        return ((wanted_gateway_clusters, (gateway.edge, view.scope, view.mutual)), near, *own)
    return (
        (common_gateway_clusters, (view.mutual,)),
        (particular_gateway_clusters, (view.scope, view.mutual)),
        *placed_cluster_maps(view),
        *own,
    )


def gateway_assignment_maps(view: ProxyView, gateway: GatewayScope) -> Maps:
    """The maps that hold a gateway's endpoints between them."""
    own: Maps = ((sni_assignments, (gateway.edge, view.scope, view.place.network)),)
    if gateway.frugal:
        near = (wanted_placed_assignments, (gateway.edge, view.scope, caller_of(view)))
        return ((wanted_gateway_assignments, (gateway.edge, view.scope)), near, *own)
    own = (*placed_assignment_maps(view), *own)
    return ((common_gateway_assignments, ()), (particular_gateway_assignments, (view.scope,)), *own)


@keyed
def common_gateway_clusters(q: Q, mutual: bool) -> Plan:
    """Cluster name -> Resource, for the services that look the same to everybody."""
    return flat(common_services(q), _common_clusters, mutual)


@query
def _common_clusters(q: Q, mutual: bool, id: ServiceId) -> Pairs:
    rule = q(common_rule, id)
    return q(gateway_clusters, id, rule or (), mutual)


@keyed
def particular_gateway_clusters(q: Q, scope: Scope, mutual: bool) -> Plan:
    """Cluster name -> Resource, for the other services that the gateway sees."""
    return flat(q.map(particular_services, scope), _clusters_in_scope, scope, mutual)


@query
def _clusters_in_scope(q: Q, scope: Scope, mutual: bool, id: ServiceId) -> Pairs:
    return q(gateway_clusters, id, rule_of(q, scope, id), mutual)


@keyed
def wanted_gateway_clusters(q: Q, edge: Edge, scope: Scope, mutual: bool) -> Plan:
    """Cluster name -> Resource, for the services that the routes of a frugal gateway lead to."""
    return flat(q.map(wanted_services, edge, scope.namespace), _clusters_in_scope, scope, mutual)


@keyed
def wanted_placed_clusters(q: Q, edge: Edge, scope: Scope, caller: Caller) -> Plan:
    """Cluster name -> Resource, for those of them that hold their endpoints, and prefer near ones."""
    return flat(q.map(wanted_services, edge, scope.namespace), clusters_of, scope, caller)


@query
def gateway_clusters(q: Q, id: ServiceId, rule: tuple[Key, ...], mutual: bool) -> Pairs:
    """The (name, cluster) pairs of a service under these DestinationRules; those of sidecars, if possible."""
    specs = q(_other_than_sidecars, id, rule)
    if not specs:
        return q(service_clusters, id, rule, None, mutual)
    theirs = q(service_clusters, id, rule, None, mutual)
    found = dict(theirs)
    for spec in specs:
        built = q(cluster, id, rule, spec, mutual)
        if built is not None:
            found[spec.name] = built
    return tuple(found.items())


@query
def _other_than_sidecars(q: Q, id: ServiceId, rule: tuple[Key, ...]) -> tuple[Spec, ...]:
    """The clusters that a gateway has in another way than a sidecar; () for nearly all services."""
    specs = [(spec, at_edge(spec)) for spec in q(cluster_specs, id, rule, None)]
    # What holds its endpoints, and prefers near ones, is in the maps of places.
    return tuple(own for spec, own in specs if own != spec and not (own.placed and own.discovery != "EDS"))


@keyed
def common_gateway_assignments(q: Q) -> Plan:
    """Cluster name -> Resource, for the EDS clusters of services that look the same to everybody."""
    return flat(common_services(q), _common_assignments)


@query
def _common_assignments(q: Q, id: ServiceId) -> Pairs:
    rule = q(common_rule, id)
    return q(gateway_assignments, id, rule or ())


@keyed
def particular_gateway_assignments(q: Q, scope: Scope) -> Plan:
    """Cluster name -> Resource, for the EDS clusters of the other services that the gateway sees."""
    return flat(q.map(particular_services, scope), _assignments_in_scope, scope)


@query
def _assignments_in_scope(q: Q, scope: Scope, id: ServiceId) -> Pairs:
    return q(gateway_assignments, id, rule_of(q, scope, id))


@keyed
def wanted_gateway_assignments(q: Q, edge: Edge, scope: Scope) -> Plan:
    """Cluster name -> Resource, for the EDS clusters of the services that its routes lead to."""
    return flat(q.map(wanted_services, edge, scope.namespace), _assignments_in_scope, scope)


@keyed
def wanted_placed_assignments(q: Q, edge: Edge, scope: Scope, caller: Caller) -> Plan:
    """Cluster name -> Resource, for those of them that prefer near endpoints."""
    return flat(q.map(wanted_services, edge, scope.namespace), assignments_of, scope, caller)


@query
def gateway_assignments(q: Q, id: ServiceId, rule: tuple[Key, ...]) -> Pairs:
    """The (cluster name, endpoints) pairs of a service under these DestinationRules."""
    specs = (at_edge(spec) for spec in q(cluster_specs, id, rule, None) if spec.discovery == "ORIGINAL_DST")
    more = ((spec.name, q(load_assignment, id, spec)) for spec in specs if not spec.placed)
    return (*q(service_assignments, id, rule, None), *more)
