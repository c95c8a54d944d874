"""Clusters for key sets that a proxy fetches from hosts which are no services of the mesh."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.cluster_tls import SYSTEM_ROOTS
from controlplane.envoy.names import key_cluster
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import CLUSTER
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.projections import Security
from controlplane.mesh.request_authentication import jwt_rules
from controlplane.mesh.settings import cluster_defaults
from controlplane.model.hosts import is_address
from controlplane.model.keys import Key

Cluster = pb.cluster.Cluster


@keyed
def key_clusters(q: Q, namespace: str, requests: tuple[Key, ...]) -> Plan:
    """Cluster name -> Resource, for workloads of a namespace that these policies hold for."""
    return flat(q.fixed("all"), _key_clusters, namespace, requests)


@query
def _key_clusters(
    q: Q, namespace: str, requests: tuple[Key, ...], _name: str
) -> tuple[tuple[str, Resource], ...]:
    rules = q(jwt_rules, namespace, Security(requests=requests))
    own = {one.remote for one in rules.providers if one.remote is not None and not one.remote.service}
    # Two URIs of one host share its cluster.
    places = sorted({(keys.host, keys.port, keys.tls) for keys in own})
    found = {key_cluster(port, host): q(_cluster, host, port, tls) for host, port, tls in places}
    return tuple(sorted(found.items()))


@query
def _cluster(q: Q, host: str, port: int, tls: bool) -> Resource:
    defaults = q(cluster_defaults)
    message = Cluster(name=key_cluster(port, host))
    message.connect_timeout.CopyFrom(pb.duration(defaults.connect_timeout))
    message.load_assignment.cluster_name = message.name
    endpoint = message.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    endpoint.address, endpoint.port_value = host, port
    if is_address(host):
        message.type = Cluster.STATIC
    else:
        message.type = Cluster.STRICT_DNS
        message.dns_lookup_family = Cluster.V4_PREFERRED
        message.respect_dns_ttl = True
        # Else a name that does not resolve would hold back everything else.
        message.wait_for_warm_on_init.value = False
    if tls:
        message.transport_socket.CopyFrom(_tls(host))
    return resource(CLUSTER, message.name, message)


def _tls(host: str) -> Any:
    """TLS to a server that proves the host's name to the public authorities that the proxy knows."""
    context = pb.tls.UpstreamTlsContext()
    literal = is_address(host)
    if not literal:
        context.sni = host
    validation = context.common_tls_context.validation_context
    validation.trusted_ca.filename = SYSTEM_ROOTS
    matchers = pb.tls_common.SubjectAltNameMatcher
    kind = matchers.IP_ADDRESS if literal else matchers.DNS
    validation.match_typed_subject_alt_names.add(san_type=kind).matcher.exact = host
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))
