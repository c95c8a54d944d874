"""What stands in front of one gateway, and the switches that say which Gateways and clusters it is given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import CLUSTER, ENDPOINT
from controlplane.mesh.checks import checks
from controlplane.mesh.features import FEATURES, Features, feature_rows
from controlplane.model.kinds.pod import POD
from tests.unit.envoy.edges import Edge, gateway, http, https, manager_of
from tests.unit.envoy.test_gateway_listeners import ALL, SHOP, Identified, pair
from tests.unit.envoy.traffic import virtual_service
from tests.unit.mesh.world import pod, service

WEB = gateway("web", f"[{http(ALL)}]")
MESH = """
defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}
kind: MeshConfig
---
"""


def gateway_pod(config: str) -> str:
    """The gateway's Pod, annotated."""
    plain = pod("gw-1", "10.0.0.9", "istio: gw", namespace="edge")
    assert "metadata: {" in plain
    return plain.replace(
        "metadata: {", f"metadata: {{annotations: {{proxy.istio.io/config: {json.dumps(config)}}}, ", 1
    )


def hops(world: Edge, **metadata: Any) -> int:
    (listener,) = world.listeners(**metadata).values()
    return int(manager_of(listener.filter_chains[0].filters[0]).xff_num_trusted_hops)


def switch(world: Edge, **features: bool) -> None:
    world.graph.commit([(feature_rows, FEATURES, Features(**features))])


def test_the_proxy_itself_before_its_pod_before_the_mesh() -> None:
    world = Edge(WEB + MESH)
    assert hops(world) == 1
    world.apply(gateway_pod("gatewayTopology:\n  numTrustedProxies: 2"))
    assert hops(world) == 2
    said = {"gatewayTopology": {"numTrustedProxies": 3}, "concurrency": 2}
    assert hops(world, PROXY_CONFIG=said) == 3
    # What is wrong in what a proxy says counts as not said, and ends no stream.
    assert hops(world, PROXY_CONFIG={"gatewayTopology": {"numTrustedProxies": "many"}}) == 2
    world.apply(gateway_pod("concurrency: 2"))
    assert hops(world) == 1


def test_how_one_gateway_treats_connections() -> None:
    world = Edge(
        WEB + "kind: MeshConfig\ndefaultConfig: {connectionSettings: {httpRequestTimeout: 7s}}\n---\n"
    )

    def limits(**metadata: Any) -> tuple[int, int, int]:
        (listener,) = world.listeners(**metadata).values()
        manager = manager_of(listener.filter_chains[0].filters[0])
        streams = manager.http2_protocol_options.max_concurrent_streams.value
        return manager.request_timeout.seconds, streams, listener.per_connection_buffer_limit_bytes.value

    assert limits() == (7, 0, 0)
    world.apply(gateway_pod("connectionSettings:\n  profile: EDGE"))
    assert limits() == (7, 100, 32768)
    assert limits(PROXY_CONFIG={"connectionSettings": {"httpMaxConcurrentStreams": 5}}) == (7, 5, 0)
    assert limits(PROXY_CONFIG={"connectionSettings": {"profile": "x"}}) == (7, 100, 32768)


def test_the_header_of_the_proxy_protocol_comes_before_everything_else() -> None:
    servers = f"[{http(ALL)}, {https(ALL, SHOP)}]"
    world = Identified(gateway("web", servers) + pair().secret("shop"))

    def inspectors() -> list[list[str]]:
        found = world.listeners().values()
        return [[one.name.rpartition(".")[2] for one in listener.listener_filters] for listener in found]

    assert inspectors() == [["tls_inspector"], []]
    world.apply(gateway_pod("gatewayTopology: {}"))
    assert inspectors() == [["tls_inspector"], []]
    world.apply(gateway_pod("gatewayTopology:\n  proxyProtocol: {}"))
    assert inspectors() == [["proxy_protocol", "tls_inspector"], ["proxy_protocol"]]
    name = world.listeners()["0.0.0.0_80"].listener_filters[0].typed_config
    # By default a connection without the header is refused: nobody may leave it out.
    assert not pb.proxy_protocol_listener.ProxyProtocol.FromString(
        name.value
    ).allow_requests_without_proxy_protocol


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gatewayTopology: [1]", "cannot be read: line 1"),
        ("concurrency: 2\ngatewayTopology: {}", "says 'concurrency'"),
    ],
)
def test_an_annotation_that_does_not_all_count(text: str, message: str) -> None:
    raw = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "gw", "annotations": {"proxy.istio.io/config": text}},
    }
    parsed = POD.parse(raw)
    (problem,) = parsed.problems
    assert parsed.value is not None
    assert (problem.level, problem.field) == ("warning", "metadata.annotations[proxy.istio.io/config]")
    assert message in problem.message


def test_a_gateway_may_be_told_to_stay_at_home() -> None:
    world = Edge(WEB + gateway("far", f"[{http(ALL, 81)}]", namespace="shop"))
    assert set(world.listeners()) == {"0.0.0.0_80", "0.0.0.0_81"}
    switch(world, scope_gateway_to_namespace=True)
    assert set(world.listeners()) == {"0.0.0.0_80"}
    world.apply(pod("gw-1", "10.0.0.9", "istio: gw", namespace="edge"))
    told = {problem.name for problems in world.map(checks).values() for problem in problems}
    # No workload of its own namespace has its labels.
    assert told == {"far"}


def clusters(world: Edge) -> set[str]:
    maps = feeds(world.view_of())
    found = {name for url in (CLUSTER, ENDPOINT) for name in world.resources(maps[url])}
    assert set(world.resources(maps[ENDPOINT])) == found - {"BlackHoleCluster"}
    return found


def test_a_frugal_gateway_has_the_clusters_of_what_its_routes_lead_to() -> None:
    services = "".join(service(name, "http=80") for name in ("cart", "shadow", "opaque", "other", "mesh"))
    rules = "[{route: [{destination: {host: cart}}], mirrors: [{destination: {host: shadow}}]}]"
    opaque = "[{route: [{destination: {host: opaque}}]}]"
    bound = virtual_service("v", "[a.com]", rules, gateways="[edge/web]", tcp=opaque)
    world = Edge(
        WEB + services + bound + virtual_service("m", "[mesh]", "[{route: [{destination: {host: mesh}}]}]")
    )
    everything = {
        f"outbound|80||{name}.default.svc.cluster.local"
        for name in ("cart", "shadow", "opaque", "other", "mesh")
    }
    assert clusters(world) == everything | {"BlackHoleCluster"}
    switch(world, filter_gateway_cluster_config=True)
    wanted = {name for name in everything if "other" not in name and "mesh" not in name}
    assert clusters(world) == wanted | {"BlackHoleCluster"}
    world.apply(virtual_service("v", "[a.com]", rules.replace("cart", "other"), gateways="[edge/web]"))
    assert {name.split("|")[3].partition(".")[0] for name in clusters(world) if "|" in name} == {
        "other",
        "shadow",
    }
    world.delete("Gateway", "web", "edge")
    assert clusters(world) == {"BlackHoleCluster"}
