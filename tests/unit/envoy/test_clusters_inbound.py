"""The clusters that lead to the application, and those that every proxy has."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.cluster_maps import cluster_maps
from controlplane.envoy.cluster_protocol import HTTP_OPTIONS
from controlplane.envoy.clusters import inbound_clusters, static_clusters
from controlplane.mesh.scope import Binding, Inbound, ProxyView
from controlplane.mesh.service import ServiceId
from controlplane.model.keys import Key
from tests.unit.mesh.world import World, pod, service

Cluster = pb.cluster.Cluster
ID = "sidecar~10.0.0.1~reviews-1.default~default.svc.cluster.local"
POD = pod("reviews-1", "10.0.0.1", "app: reviews")
REVIEWS = ServiceId("reviews.default.svc.cluster.local", "default")


def clusters(world: World, view: ProxyView | None = None) -> dict[str, Any]:
    view = view or world.view(ID)
    return {name: cluster for name, cluster in world.clusters(view).items() if name.startswith("inbound|")}


def ingress(endpoint: str, protocol: str = "HTTP", mesh: str = "") -> Any:
    world = World(mesh)
    binding = Binding(ServiceId("", "default"), 8080, 8080, protocol, endpoint)
    found = world.map(inbound_clusters, Inbound("default", (binding,)))
    return Cluster.FromString(found["inbound|8080||"].body)


def test_one_cluster_per_port_of_the_workload() -> None:
    world = World(service("reviews", "http=80:web, grpc=9000") + POD)
    found = clusters(world)
    assert sorted(found) == ["inbound|9000||", "inbound|9080||"]
    cluster = found["inbound|9080||"]
    assert cluster.type == Cluster.ORIGINAL_DST and cluster.lb_policy == Cluster.CLUSTER_PROVIDED
    source = cluster.upstream_bind_config.source_address
    assert source.address == "127.0.0.6" and source.WhichOneof("port_specifier") == "port_value"
    assert HTTP_OPTIONS not in cluster.typed_extension_protocol_options
    assert HTTP_OPTIONS in found["inbound|9000||"].typed_extension_protocol_options
    (described,) = cluster.metadata.filter_metadata["istio"].fields["services"].list_value.values
    assert described.struct_value.fields["host"].string_value == REVIEWS.host


def test_the_mesh_may_send_to_localhost() -> None:
    world = World(
        service("reviews", "http=80:web") + POD + "kind: MeshConfig\ninboundTrafficPolicy: {mode: LOCALHOST}"
    )
    cluster = clusters(world)["inbound|9080||"]
    assert cluster.type == Cluster.STATIC and not cluster.HasField("upstream_bind_config")
    address = cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (address.address, address.port_value) == ("127.0.0.1", 9080)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("127.0.0.1:70", ("127.0.0.1", 70)), ("[::1]:70", ("::1", 70)), ("unix:///run/x", "/run/x")],
)
def test_ingress_endpoints(endpoint: str, expected: object) -> None:
    cluster = ingress(endpoint)
    assert cluster.type == Cluster.STATIC
    address = cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address
    found = address.pipe.path or (address.socket_address.address, address.socket_address.port_value)
    assert found == expected


def test_another_port_of_the_same_address() -> None:
    cluster = ingress(":7001")
    assert cluster.type == Cluster.ORIGINAL_DST
    assert cluster.original_dst_lb_config.upstream_port_override.value == 7001


def test_an_upgrade_between_proxies_does_not_reach_the_application() -> None:
    cluster = ingress("", mesh="kind: MeshConfig\nh2UpgradePolicy: UPGRADE")
    assert HTTP_OPTIONS not in cluster.typed_extension_protocol_options


def test_limits_hold_on_the_receiving_side_too() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 5}}, loadBalancer: {simple: RANDOM}}
---
"""
    sidecar = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: default}
spec:
  inboundConnectionPool: {tcp: {maxConnections: 7}}
---
"""

    def limit(world: World) -> int:
        cluster = clusters(world)["inbound|9080||"]
        return int(cluster.circuit_breakers.thresholds[0].max_connections.value)

    world = World(service("reviews", "http=80:web") + POD + rule)
    assert limit(world) == 5
    world.apply(sidecar)
    assert limit(world) == 7
    world.apply(
        sidecar
        + """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: default}
spec:
  inboundConnectionPool: {tcp: {maxConnections: 7}}
  ingress:
  - {port: {number: 9080, protocol: HTTP, name: http}, connectionPool: {tcp: {maxConnections: 9}}}
"""
    )
    assert limit(world) == 9
    assert world.view(ID).scope.sidecar == Key("default", "default")


def test_what_every_proxy_has() -> None:
    found = {n: Cluster.FromString(r.body) for n, r in World().map(static_clusters).items()}
    assert sorted(found) == ["BlackHoleCluster", "InboundPassthroughCluster", "PassthroughCluster"]
    assert found["BlackHoleCluster"].type == Cluster.STATIC
    assert not found["BlackHoleCluster"].HasField("load_assignment")
    for name in ("InboundPassthroughCluster", "PassthroughCluster"):
        assert found[name].type == Cluster.ORIGINAL_DST
        options = pb.http_protocol_options.HttpProtocolOptions()
        assert found[name].typed_extension_protocol_options[HTTP_OPTIONS].Unpack(options)
        assert options.HasField("use_downstream_protocol_config")
    assert found["InboundPassthroughCluster"].HasField("upstream_bind_config")
    assert not found["PassthroughCluster"].HasField("upstream_bind_config")


def test_a_proxys_maps_have_no_name_in_common() -> None:
    world = World(service("reviews", "http=80:web") + POD)
    # World.resources asserts it.
    assert len(world.resources(cluster_maps(world.view(ID)))) == 5
    gateway = ID.replace("sidecar~", "router~")
    assert "inbound|9080||" not in world.clusters(world.view(gateway))
