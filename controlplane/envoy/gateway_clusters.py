"""CDS and EDS of a gateway: the clusters of everything that it may reach, as sidecars have them.

Nothing is redirected to a gateway, so no connection of its own says where it wanted to go.  Clusters that
would ask that of a connection (of headless services, of ServiceEntries without resolution, of destinations
that pass through) have their endpoints by EDS instead.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from controlplane.envoy.cluster_specs import Spec, cluster_specs
from controlplane.envoy.clusters import cluster, key_cluster_maps, service_clusters
from controlplane.envoy.endpoints import load_assignment, service_assignments
from controlplane.envoy.inbound_clusters import edge_clusters
from controlplane.envoy.resource import Resource
from controlplane.graph import Keyed, Plan, Q, flat, keyed, query
from controlplane.mesh.projections import ProxyView, Scope
from controlplane.mesh.rules import common_rule, rule_of
from controlplane.mesh.scope import common_services, particular_services
from controlplane.mesh.service import ServiceId
from controlplane.model.keys import Key

Maps: TypeAlias = tuple[tuple[Keyed[...], tuple[Any, ...]], ...]
Pairs: TypeAlias = tuple[tuple[str, Resource], ...]


def gateway_cluster_maps(view: ProxyView) -> Maps:
    """The maps that hold a gateway's clusters between them."""
    return (
        (common_gateway_clusters, (view.mutual,)),
        (particular_gateway_clusters, (view.scope, view.mutual)),
        *key_cluster_maps(view),
        (edge_clusters, ()),
    )


def gateway_assignment_maps(view: ProxyView) -> Maps:
    """The maps that hold a gateway's endpoints between them."""
    return (common_gateway_assignments, ()), (particular_gateway_assignments, (view.scope,))


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


@query
def gateway_clusters(q: Q, id: ServiceId, rule: tuple[Key, ...], mutual: bool) -> Pairs:
    """The (name, cluster) pairs of a service under these DestinationRules; those of sidecars, if possible."""
    specs = q(_found_by_eds, id, rule)
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
def _found_by_eds(q: Q, id: ServiceId, rule: tuple[Key, ...]) -> tuple[Spec, ...]:
    """What a gateway has by EDS and a sidecar has not; () for nearly all services."""
    specs = q(cluster_specs, id, rule, None)
    return tuple(spec._replace(discovery="EDS") for spec in specs if spec.discovery == "ORIGINAL_DST")


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


@query
def gateway_assignments(q: Q, id: ServiceId, rule: tuple[Key, ...]) -> Pairs:
    """The (cluster name, endpoints) pairs of a service under these DestinationRules."""
    more = ((spec.name, q(load_assignment, id, spec)) for spec in q(_found_by_eds, id, rule))
    return (*q(service_assignments, id, rule, None), *more)
