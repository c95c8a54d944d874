"""CDS: the clusters of a sidecar.

Outbound, each service port has a cluster, and one more per subset of the DestinationRule in force.
A scope's map only chooses: clusters are built per service and rules, and shared by all scopes.  The
clusters of common services are in one map for the whole mesh; in two, for clients with and without a
certificate of their own (`mutual`).
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.alpn import offered
from controlplane.envoy.cluster_metadata import describe_outbound, stat_name
from controlplane.envoy.cluster_mutual import mutual_tls
from controlplane.envoy.cluster_policy import apply_policy, prefer
from controlplane.envoy.cluster_protocol import apply_protocol, keep_case, speaks_http2
from controlplane.envoy.cluster_specs import Spec, cluster_specs
from controlplane.envoy.cluster_tls import Security, apply_security, names_by_request
from controlplane.envoy.dynamic_dns import DISCOVERY as DYNAMIC
from controlplane.envoy.dynamic_dns import write_discovery
from controlplane.envoy.endpoints import localities
from controlplane.envoy.inbound_clusters import inbound_clusters, static_clusters
from controlplane.envoy.maps import Pairs
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import CLUSTER
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.endpoints import Endpoint, endpoints, subset_endpoints
from controlplane.mesh.locality import arrange
from controlplane.mesh.networks import reached_from
from controlplane.mesh.projections import Scope
from controlplane.mesh.rules import common_rule, merged_rule, policy_of, rule_of
from controlplane.mesh.scope import common_services, limited_ports, particular_services
from controlplane.mesh.service import ServiceId, service
from controlplane.mesh.settings import ClusterDefaults, cluster_defaults
from controlplane.model.keys import Key

__all__ = [
    "cluster",
    "common_clusters",
    "inbound_clusters",
    "particular_clusters",
    "static_clusters",
]


_DNS_JITTER = 100_000_000
_DNS_RETRY = 1_000_000_000


@keyed
def common_clusters(q: Q, mutual: bool) -> Plan:
    """Cluster name -> Resource, for the services that look the same to everybody."""
    return flat(common_services(q), _common_clusters, mutual)


@query
def _common_clusters(q: Q, mutual: bool, id: ServiceId) -> Pairs:
    rule = q(common_rule, id)
    return q(service_clusters, id, rule or (), None, mutual)


@keyed
def particular_clusters(q: Q, scope: Scope, mutual: bool) -> Plan:
    """Cluster name -> Resource, for the other services that the scope sees."""
    return flat(q.map(particular_services, scope), _clusters_in_scope, scope, mutual)


@query
def _clusters_in_scope(q: Q, scope: Scope, mutual: bool, id: ServiceId) -> Pairs:
    return q(service_clusters, id, rule_of(q, scope, id), limited_ports(q, scope, id), mutual)


@query
def service_clusters(
    q: Q, id: ServiceId, rule: tuple[Key, ...], ports: tuple[int, ...] | None, mutual: bool
) -> Pairs:
    """The (name, cluster) pairs of a service under these DestinationRules, for whoever calls.

    Those that hold their endpoints, and prefer near ones, are `controlplane.envoy.cluster_places`'.
    """
    specs = q(cluster_specs, id, rule, ports)
    common = (spec for spec in specs if spec.discovery == "EDS" or not spec.placed)
    pairs = ((spec.name, q(cluster, id, rule, spec, mutual)) for spec in common)
    return tuple((name, built) for name, built in pairs if built is not None)


@query
def cluster(q: Q, id: ServiceId, rule: tuple[Key, ...], spec: Spec, mutual: bool) -> Resource | None:
    """One outbound cluster; None for one by DNS that has no name to resolve.

    `mutual`: the client has a certificate, with which it may speak mutual TLS.
    """
    found = q(service, id)
    port = None if found is None else found.port(spec.port)
    if found is None or port is None:
        return None
    defaults = q(cluster_defaults)
    alias = spec.name
    if defaults.stat_name:
        alias = stat_name(defaults.stat_name, found, port, spec.subset)
    message = pb.cluster.Cluster(name=spec.name, alt_stat_name=alias + ";")
    if spec.discovery == DYNAMIC:
        write_discovery(message)
    else:
        message.type = pb.cluster.Cluster.DiscoveryType.Value(spec.discovery)
    if not _find_endpoints(q, message, id, spec, defaults):
        return None
    # Not for a service with a virtual IP: there the port that was dialled is the only right one.
    if found.resolution == "NONE" and not found.headless and isinstance(port.target, int):
        message.original_dst_lb_config.upstream_port_override.value = port.target
    merged = q(merged_rule, rule) if rule else None
    policy = policy_of(q, merged, port.number, spec.subset)
    http2 = speaks_http2(port.protocol, policy.connection_pool, defaults.h2_upgrade)
    apply_policy(message, policy, defaults)
    prefer(message, spec.preference)
    apply_protocol(message, port.protocol, policy, http2=http2, auto_sni=names_by_request(policy.tls))
    if defaults.case:
        keep_case(message, port.protocol)
    security = Security(
        found.subject_alt_names,
        mutual_tls(q, found, spec, policy.tls) if mutual else None,
        offered(port.protocol, http2=http2),
        spec.credential if mutual else "",
        defaults.tls,
    )
    apply_security(message, policy, security, http2=http2)
    describe_outbound(message, found, port.number, spec.subset, merged)
    return resource(CLUSTER, spec.name, message, (spec.name,) if spec.discovery == "EDS" else ())


def _find_endpoints(q: Q, message: Any, id: ServiceId, spec: Spec, defaults: ClusterDefaults) -> bool:
    """Write where the endpoints come from; False where a name to resolve is missing."""
    if spec.discovery == "EDS":
        source = message.eds_cluster_config.eds_config
        source.ads.SetInParent()
        source.resource_api_version = pb.config_source.ApiVersion.V3
        # Wait for ever: endpoints always follow, and a cluster without them would answer 503.
        source.initial_fetch_timeout.SetInParent()
        return True
    if spec.discovery in ("ORIGINAL_DST", DYNAMIC):
        return True
    found = q(subset_endpoints, id, spec.port, spec.labels) if spec.labels else q(endpoints, id, spec.port)
    if not found:
        return False
    if spec.preference is not None and spec.preference.networks:
        found = reached_from(q, spec.place.network, found)
    _resolve(message, spec, found, defaults)
    return True


def _resolve(message: Any, spec: Spec, found: tuple[Endpoint, ...], defaults: ClusterDefaults) -> None:
    message.load_assignment.cluster_name = spec.name
    # A logical DNS cluster has exactly one endpoint.
    chosen = found[:1] if spec.discovery == "LOGICAL_DNS" else found
    message.load_assignment.endpoints.extend(localities(arrange(chosen, spec.preference, spec.place)))
    message.dns_lookup_family = pb.cluster.Cluster.V4_PREFERRED
    message.respect_dns_ttl = True
    message.dns_refresh_rate.CopyFrom(pb.duration(defaults.dns_refresh_rate))
    message.dns_jitter.CopyFrom(pb.duration(_DNS_JITTER))
    # Without it a name that appears late is looked up again only after a whole refresh, a minute by default.
    retry = message.dns_failure_refresh_rate
    retry.base_interval.CopyFrom(pb.duration(min(_DNS_RETRY, defaults.dns_refresh_rate)))
    retry.max_interval.CopyFrom(pb.duration(defaults.dns_refresh_rate))
    # Else one name that does not resolve would keep a new proxy from starting, and hold back the
    # ACK of every later CDS response of a running one.
    message.wait_for_warm_on_init.value = False
