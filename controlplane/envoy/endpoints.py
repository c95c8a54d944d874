"""EDS: one ClusterLoadAssignment per EDS cluster, shared by all scopes that see the cluster.

Clusters that prefer near endpoints have one per place instead (`controlplane.envoy.cluster_places`), and are
in none of the maps here.

An endpoint change ends here: clusters by EDS, listeners and routes do not read endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.cluster_specs import Spec, cluster_specs
from controlplane.envoy.maps import Pairs
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import ENDPOINT
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.endpoints import Endpoint, endpoints, subset_endpoints
from controlplane.mesh.locality import Group, arrange
from controlplane.mesh.networks import reached_from
from controlplane.mesh.projections import Scope
from controlplane.mesh.rules import common_rule, rule_of
from controlplane.mesh.scope import common_services, limited_ports, particular_services
from controlplane.mesh.service import ServiceId
from controlplane.model.checks import UNIX
from controlplane.model.keys import Key

SOCKET_MATCH = "envoy.transport_socket_match"
TLS_MODE = "tlsMode"
MUTUAL = "istio"
"""What an endpoint's metadata says if it takes mutual TLS."""


@keyed
def common_assignments(q: Q) -> Plan:
    """Cluster name -> Resource, for the EDS clusters of services that look the same to everybody."""
    return flat(common_services(q), _common_assignments)


@query
def _common_assignments(q: Q, id: ServiceId) -> Pairs:
    rule = q(common_rule, id)
    return q(service_assignments, id, rule or (), None)


@keyed
def particular_assignments(q: Q, scope: Scope) -> Plan:
    """Cluster name -> Resource, for the EDS clusters of the other services that the scope sees."""
    return flat(q.map(particular_services, scope), _assignments_in_scope, scope)


@query
def _assignments_in_scope(q: Q, scope: Scope, id: ServiceId) -> Pairs:
    return q(service_assignments, id, rule_of(q, scope, id), limited_ports(q, scope, id))


@query
def service_assignments(q: Q, id: ServiceId, rule: tuple[Key, ...], ports: tuple[int, ...] | None) -> Pairs:
    """The (cluster name, endpoints) pairs of a service under these DestinationRules, for whoever calls."""
    specs = q(cluster_specs, id, rule, ports)
    common = (spec for spec in specs if spec.discovery == "EDS" and not spec.placed)
    return tuple((spec.name, q(load_assignment, id, spec)) for spec in common)


@query
def load_assignment(q: Q, id: ServiceId, spec: Spec) -> Resource:
    """The endpoints of one cluster; present, though empty, for a cluster without any."""
    found = q(subset_endpoints, id, spec.port, spec.labels) if spec.labels else q(endpoints, id, spec.port)
    if not spec.send_unhealthy:
        found = tuple(endpoint for endpoint in found if endpoint.healthy)
    if spec.preference is not None and spec.preference.networks:
        found = reached_from(q, spec.place.network, found)
    message = pb.endpoint.ClusterLoadAssignment(cluster_name=spec.name)
    message.endpoints.extend(localities(arrange(found, spec.preference, spec.place)))
    return resource(ENDPOINT, spec.name, message)


def localities(groups: Iterable[Group]) -> Iterator[Any]:
    """Groups of endpoints as Envoy's LocalityLbEndpoints."""
    for group in groups:
        message = pb.endpoint_components.LocalityLbEndpoints(priority=group.priority)
        if any(group.locality):
            message.locality.region, message.locality.zone, message.locality.sub_zone = group.locality
        message.load_balancing_weight.value = group.weight
        for endpoint in group.endpoints:
            _write(message.lb_endpoints.add(), endpoint)
        yield message


def _write(message: Any, endpoint: Endpoint) -> None:
    address = message.endpoint.address
    if endpoint.address.startswith(UNIX):
        address.pipe.path = endpoint.address.removeprefix(UNIX)
    else:
        address.socket_address.address = endpoint.address
        address.socket_address.port_value = endpoint.port
    message.load_balancing_weight.value = endpoint.weight
    if endpoint.mutual:
        # Chooses the transport socket of clusters that have one for it; to others it means nothing.
        message.metadata.filter_metadata[SOCKET_MATCH][TLS_MODE] = MUTUAL
    if not endpoint.healthy:
        message.health_status = pb.health_check.UNHEALTHY
