"""Responses for peers: resources by name, in both variants of the protocol."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

DELTA, SOTW = "DELTA_GRPC", "GRPC"
REQUEST = {DELTA: pb.discovery.DeltaDiscoveryRequest, SOTW: pb.discovery.DiscoveryRequest}


def response(
    protocol: str,
    url: str,
    nonce: str,
    bodies: Mapping[str, bytes],
    *,
    removed: tuple[str, ...] = (),
    version: str = "v",
    versions: Mapping[str, str] | None = None,
    identifier: str = "",
) -> bytes:
    """A response as a server writes it; `versions` are those of resources, incremental variant."""
    if protocol == DELTA:
        message = pb.discovery.DeltaDiscoveryResponse(system_version_info=version, type_url=url, nonce=nonce)
        for name, body in bodies.items():
            found = (versions or {}).get(name, "" if versions is not None else f"v{hash(body)}")
            one = message.resources.add(name=name, version=found)
            one.resource.type_url, one.resource.value = url, body
        message.removed_resources.extend(removed)
    else:
        message = pb.discovery.DiscoveryResponse(version_info=version, type_url=url, nonce=nonce)
        for body in bodies.values():
            message.resources.add(type_url=url, value=body)
    if identifier:
        message.control_plane.identifier = identifier
    return message.SerializeToString()


def cluster(name: str, salt: int = 0, *, eds: str | None = "") -> bytes:
    """A cluster; `eds` is the service name that it fetches, "" its own, None is a static cluster."""
    made = pb.cluster.Cluster(name=name)
    made.connect_timeout.seconds = 1 + salt
    if eds is not None:
        made.type = pb.cluster.Cluster.EDS
        made.eds_cluster_config.service_name = eds
    return made.SerializeToString()


def endpoints(name: str, *addresses: str) -> bytes:
    made = pb.endpoint.ClusterLoadAssignment(cluster_name=name)
    for address in addresses:
        one = made.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
        one.address, one.port_value = address, 80
    return made.SerializeToString()


def listener(name: str, *routes: str, salt: int = 0) -> bytes:
    """A listener that fetches these route configurations, one in each filter chain."""
    made = pb.listener.Listener(name=name)
    made.per_connection_buffer_limit_bytes.value = 1 + salt
    for route in routes:
        manager = pb.hcm.HttpConnectionManager(stat_prefix=name)
        manager.rds.route_config_name = route
        # A filter that nobody here knows.
        unknown = manager.http_filters.add(name="some.filter")
        unknown.typed_config.type_url = "type.googleapis.com/somebody.elses.Filter"
        unknown.typed_config.value = b"\xff\xff"
        filters = made.filter_chains.add().filters
        other = filters.add(name="other")
        other.typed_config.type_url = "type.googleapis.com/somebody.elses.NetworkFilter"
        filters.add(name="http").typed_config.CopyFrom(pb.pack(manager))
    return made.SerializeToString()


def routes(name: str, *domains: str) -> bytes:
    made = pb.route.RouteConfiguration(name=name)
    for domain in domains:
        made.virtual_hosts.add(name=domain, domains=[domain])
    return made.SerializeToString()


def secret(name: str, content: str = "") -> bytes:
    made = pb.secret.Secret(name=name)
    made.generic_secret.secret.inline_string = content
    return made.SerializeToString()


URLS = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
