"""Hosts whose addresses a proxy finds out when they are asked for: Envoy's dynamic forward proxy.

A ServiceEntry with resolution DYNAMIC_DNS stands for all hosts of a domain.  Which one is meant each request
says by its Host and each TLS connection by its server name; the proxy resolves it, and goes there.  A filter
asks for the name and a cluster uses the answer; they meet in a cache, which is one for all of them.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import names, pb
from controlplane.envoy.cluster_policy import apply_pool
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import CLUSTER
from controlplane.graph import Plan, Q, each, keyed, query
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing_fallback import fallback
from controlplane.mesh.settings import cluster_defaults

DISCOVERY = "DYNAMIC"
"""What a cluster's Spec says of such a cluster; Envoy's enum has no word for it."""

_CACHE = "dynamic_dns"


def cache() -> Any:
    """The cache.  Envoy knows it by its name and refuses other settings under that, so they never change."""
    config = pb.dynamic_dns_cache.DnsCacheConfig(name=_CACHE)
    config.dns_lookup_family = pb.cluster.Cluster.V4_PREFERRED
    return config


def write_discovery(message: Any) -> None:
    """Make a cluster one that goes where each request asks for; before its policy is applied."""
    # Whether the server's certificate is checked says the service's DestinationRule, as everywhere.
    config = pb.dynamic_cluster.ClusterConfig(dns_cache_config=cache(), allow_insecure_cluster_options=True)
    message.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    message.cluster_type.typed_config.CopyFrom(pb.pack(config))


def server_name_filter(port: int) -> Any:
    """The network filter that resolves the server name of a TLS connection, which goes to this port there."""
    config = pb.sni_dynamic_forward_proxy.FilterConfig(dns_cache_config=cache(), port_value=port)
    return pb.listener_components.Filter(
        name="envoy.filters.network.sni_dynamic_forward_proxy", typed_config=pb.pack(config)
    )


@keyed
def stranger_clusters(q: Q, scope: Scope) -> Plan:
    """Cluster name -> Resource: where hosts go that nobody knows, if the proxy is to resolve them itself."""
    return each(q.fixed(names.DYNAMIC), _stranger_cluster, scope)


@query
def _stranger_cluster(q: Q, scope: Scope, name: str) -> Resource | None:
    if not q(fallback, scope).dynamic:
        return None
    message = pb.cluster.Cluster(name=name, lb_policy=pb.cluster.Cluster.CLUSTER_PROVIDED)
    write_discovery(message)
    apply_pool(message, None, None, q(cluster_defaults))
    return resource(CLUSTER, name, message)
