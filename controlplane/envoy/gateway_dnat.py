"""AUTO_PASSTHROUGH: a gateway passes TLS on to the very cluster that its client names.

    client's sidecar ── SNI outbound_.9080_.v1_.reviews.prod.svc… ──► gateway ── the same bytes ──► v1's pods

Two sidecars of the mesh speak mutual TLS with each other through it, from other clusters or networks, and it
needs no rules: what it is asked for says the port, the subset and the host.  For each it has a chain and a
cluster without TLS of its own, whose endpoints are those that take mutual TLS, for nothing else will come.
Only gateways with such a server have any of this, for the hosts of these servers.
"""

from __future__ import annotations

from controlplane.envoy import pb
from controlplane.envoy.accesslog import access_log
from controlplane.envoy.alpn import MUTUAL, MUTUAL_HTTP
from controlplane.envoy.authorization_network import network_guards
from controlplane.envoy.cluster_places import at_edge
from controlplane.envoy.cluster_specs import Spec, cluster_specs
from controlplane.envoy.clusters import cluster
from controlplane.envoy.endpoints import localities
from controlplane.envoy.listeners_parts import chain, tcp_proxy
from controlplane.envoy.maps import Pairs
from controlplane.envoy.names import sni_cluster
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import CLUSTER, ENDPOINT
from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.authorization import TcpGuard
from controlplane.mesh.endpoints import endpoints, subset_endpoints
from controlplane.mesh.gateways import automatic
from controlplane.mesh.hosts import covers
from controlplane.mesh.locality import arrange
from controlplane.mesh.networks import in_network
from controlplane.mesh.projections import Edge, Scope
from controlplane.mesh.rules import rule_of
from controlplane.mesh.scope import visible
from controlplane.mesh.service import ServiceId, service
from controlplane.model.keys import Key

_OWN_WAYS = ("transport_socket", "transport_socket_matches", "typed_extension_protocol_options")
"""What a service's cluster says of connections of the proxy's own."""


@keyed
def sni_clusters(q: Q, edge: Edge, scope: Scope) -> Plan:
    """Cluster name -> Resource, for what the gateway's AUTO_PASSTHROUGH servers lead to."""
    return flat(q.map(_led_to, _hosts(q, edge), scope), _clusters_of, scope)


@keyed
def sni_assignments(q: Q, edge: Edge, scope: Scope, network: str) -> Plan:
    """Cluster name -> Resource: the endpoints of those that have them by EDS.

    A gateway in a `network` leads into it, and not on to the doors of others.
    """
    return flat(q.map(_led_to, _hosts(q, edge), scope), _assignments_of, scope, network)


@keyed
def sni_chains(q: Q, hosts: tuple[str, ...], scope: Scope, policies: TcpGuard) -> Plan:
    """Cluster name -> its FilterChain, serialized, for the services that these hosts cover."""
    return flat(q.map(_led_to, hosts, scope), _chains_of, scope, policies)


def _hosts(q: Q, edge: Edge) -> tuple[str, ...]:
    return q.keys(q.part(automatic, (edge,), True))


@keyed
def _led_to(q: Q, hosts: tuple[str, ...], scope: Scope) -> Plan:
    """ServiceId -> the same, for the services of the mesh that these hosts cover."""
    return each(q.map(visible, scope) if hosts else q.fixed(), _covered, hosts)


@query
def _covered(q: Q, hosts: tuple[str, ...], id: ServiceId) -> ServiceId | None:
    # Nobody can ask for a service without a name of its own, and Envoy refuses a star within a name.
    if id.host.startswith("*") or not any(covers(host, id.host) for host in hosts):
        return None
    found = q(service, id)
    return None if found is None or found.external else id


@query
def _clusters_of(q: Q, scope: Scope, id: ServiceId) -> Pairs:
    return q(_service_clusters, id, rule_of(q, scope, id))


@query
def _assignments_of(q: Q, scope: Scope, network: str, id: ServiceId) -> Pairs:
    return q(_service_assignments, id, rule_of(q, scope, id), network)


@query
def _chains_of(q: Q, scope: Scope, policies: TcpGuard, id: ServiceId) -> tuple[tuple[str, bytes], ...]:
    specs = q(_specs, id, rule_of(q, scope, id))
    return tuple((spec.name, q(_chain, spec.name, policies)) for spec in specs)


@query
def _specs(q: Q, id: ServiceId, rule: tuple[Key, ...]) -> tuple[Spec, ...]:
    """The clusters of a service under the names by which they are asked for; the gateway dials endpoints."""
    return tuple(
        at_edge(spec)._replace(name=sni_cluster(spec.port, spec.subset, id.host), preference=None)
        for spec in q(cluster_specs, id, rule, None)
    )


@query
def _service_clusters(q: Q, id: ServiceId, rule: tuple[Key, ...]) -> Pairs:
    specs = q(_specs, id, rule)
    found = ((spec, q(cluster, id, rule, spec, False)) for spec in specs)
    return tuple((spec.name, _opaque(spec, built)) for spec, built in found if built is not None)


def _opaque(spec: Spec, built: Resource) -> Resource:
    """The service's cluster with its limits and its balancing, for bytes that are somebody else's."""
    message = pb.cluster.Cluster.FromString(built.body)
    for field in _OWN_WAYS:
        message.ClearField(field)
    return resource(CLUSTER, spec.name, message, built.refs)


@query
def _service_assignments(q: Q, id: ServiceId, rule: tuple[Key, ...], network: str) -> Pairs:
    specs = (spec for spec in q(_specs, id, rule) if spec.discovery == "EDS")
    return tuple((spec.name, q(_assignment, id, spec, network)) for spec in specs)


@query
def _assignment(q: Q, id: ServiceId, spec: Spec, network: str) -> Resource:
    found = q(subset_endpoints, id, spec.port, spec.labels) if spec.labels else q(endpoints, id, spec.port)
    message = pb.endpoint.ClusterLoadAssignment(cluster_name=spec.name)
    here = (one for one in found if in_network(q, network, one))
    served = (one for one in here if one.mutual and (one.healthy or spec.send_unhealthy))
    message.endpoints.extend(localities(arrange(served)))
    return resource(ENDPOINT, spec.name, message)


@query
def _chain(q: Q, name: str, policies: TcpGuard) -> bytes:
    match = pb.listener_components.FilterChainMatch(
        server_names=(name,), application_protocols=(*MUTUAL, *MUTUAL_HTTP)
    )
    filters = [*network_guards(policies), tcp_proxy(name, name, q(access_log))]
    return pb.deterministic(chain(name, filters, match))
