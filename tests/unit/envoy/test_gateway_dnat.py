"""AUTO_PASSTHROUGH: connections that go on to the cluster that their client names."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import CLUSTER, ENDPOINT
from tests.unit.envoy.edges import gateway
from tests.unit.envoy.test_gateway_l4 import ways
from tests.unit.envoy.test_gateway_listeners import Identified
from tests.unit.mesh.world import pod, service

LOCAL, SHOPS, OWN = (
    f"['*.{name}']" for name in ("local", "shop.svc.cluster.local", "default.svc.cluster.local")
)
LISTENER = "0.0.0.0_15443"
ECHO = service("echo", "http=80:8080")
PODS = pod("meshed", "10.0.0.1", "app: echo, version: v1, security.istio.io/tlsMode: istio") + pod(
    "plain", "10.0.0.2", "app: echo, version: v2"
)
OUTSIDE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: default}
spec:
  hosts: [far.default.local]
  location: MESH_EXTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
"""


def rule(spec: str) -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        f"metadata: {{name: echo, namespace: default}}\nspec: {{host: echo, {spec}}}\n---\n"
    )


SUBSETS = rule("subsets: [{name: v1, labels: {version: v1}}]")


def auto(hosts: str, number: int = 15443, name: str = "tls") -> str:
    return (
        f"{{port: {{number: {number}, name: {name}, protocol: TLS}}, "
        f"hosts: {hosts}, tls: {{mode: AUTO_PASSTHROUGH}}}}"
    )


def named(subset: str = "", host: str = "echo.default.svc.cluster.local") -> str:
    return f"outbound_.80_.{subset}_.{host}"


def served(world: Identified, url: str) -> dict[str, Any]:
    """Name -> message, of the clusters (or endpoints) that clients can name."""
    types = {CLUSTER: pb.cluster.Cluster, ENDPOINT: pb.endpoint.ClusterLoadAssignment}
    found = world.resources(feeds(world.view_of())[url])
    return {n: types[url].FromString(one.body) for n, one in found.items() if n.startswith("outbound_")}


def addresses(assignment: Any) -> list[str]:
    return [
        one.endpoint.address.socket_address.address
        for place in assignment.endpoints
        for one in place.lb_endpoints
    ]


@pytest.fixture
def world() -> Identified:
    return Identified(gateway("east", f"[{auto(LOCAL)}]") + ECHO + PODS + SUBSETS + OUTSIDE)


def test_each_cluster_of_the_mesh_has_a_chain_by_its_name(world: Identified) -> None:
    assert ways(world, LISTENER) == {(named(s),): [named(s)] for s in ("", "v1")}
    (found,) = world.listeners().values()
    for chain in found.filter_chains:
        # Whoever asks by such a name and speaks anything but mutual TLS is turned away.
        assert set(chain.filter_chain_match.application_protocols) == {
            *("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
        }
        assert not chain.HasField("transport_socket")
    assert [one.name for one in found.listener_filters] == ["envoy.filters.listener.tls_inspector"]
    assert world.routes() == {}


def test_its_clusters_add_no_tls_and_lead_to_who_takes_the_clients(world: Identified) -> None:
    clusters = served(world, CLUSTER)
    assert set(clusters) == {named(), named("v1")}
    for one in clusters.values():
        assert not one.HasField("transport_socket")
        assert not one.transport_socket_matches
        assert not one.typed_extension_protocol_options
    found = {name: addresses(one) for name, one in served(world, ENDPOINT).items()}
    assert found == {named(): ["10.0.0.1"], named("v1"): ["10.0.0.1"]}


def test_only_gateways_with_such_a_server_have_them_and_only_for_its_hosts(world: Identified) -> None:
    world.apply(gateway("east", f"[{auto(SHOPS)}]"))
    assert (served(world, CLUSTER), world.listeners()) == ({}, {})
    world.apply(service("cart", "http=80", namespace="shop"))
    assert set(served(world, CLUSTER)) == {named(host="cart.shop.svc.cluster.local")}
    world.delete("Gateway", "east", "edge")
    assert (served(world, CLUSTER), served(world, ENDPOINT)) == ({}, {})


def test_hosts_that_overlap_have_each_chain_once() -> None:
    servers = f"[{auto(LOCAL)}, {auto(OWN, name='more')}]"
    world = Identified(gateway("east", servers) + ECHO)
    assert ways(world, LISTENER) == {(named(),): [named()]}


def test_limits_count_and_tls_of_a_rule_does_not(world: Identified) -> None:
    world.apply(rule("trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}, tls: {mode: SIMPLE}}"))
    one = served(world, CLUSTER)[named()]
    assert one.circuit_breakers.thresholds[0].max_connections.value == 3
    assert not one.HasField("transport_socket")


def test_a_name_to_resolve_stays_one() -> None:
    entry = OUTSIDE.replace("MESH_EXTERNAL", "MESH_INTERNAL")
    world = Identified(gateway("east", f"[{auto(LOCAL)}]") + entry)
    name = named(host="far.default.local")
    assert served(world, CLUSTER)[name].type == pb.cluster.Cluster.STRICT_DNS
    assert served(world, ENDPOINT) == {}


def test_a_service_without_a_name_of_its_own_cannot_be_asked_for() -> None:
    entry = OUTSIDE.replace("MESH_EXTERNAL", "MESH_INTERNAL").replace(
        "far.default.local", "'*.default.local'"
    )
    world = Identified(gateway("east", f"[{auto(LOCAL)}]") + entry.replace("DNS", "NONE") + ECHO)
    assert set(served(world, CLUSTER)) == {named()}


def test_a_pod_that_comes_moves_nothing_but_its_endpoints(world: Identified) -> None:
    served(world, ENDPOINT)
    world.listeners()
    served(world, CLUSTER)
    with world.counting() as runs:
        world.apply(pod("more", "10.0.0.3", "app: echo, security.istio.io/tlsMode: istio"))
    assert runs["gateway_dnat._assignment"] == 1
    assert runs["gateway_dnat._chain"] == runs["gateway_listeners._socket_listener"] == 0
    assert addresses(served(world, ENDPOINT)[named()]) == ["10.0.0.1", "10.0.0.3"]
