"""Endpoints of other networks, and the doors through which they are reached."""

from __future__ import annotations

import pytest

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import CLUSTER, ENDPOINT
from tests.unit.mesh.findings import found
from tests.unit.mesh.world import World, pod, service

CLUSTER_NAME = "outbound|80||echo.default.svc.cluster.local"


def door(name: str = "east", network: str = "n2", addresses: str = "[203.0.113.1]", **labels: str) -> str:
    more = "".join(f", {label}: {value!r}" for label, value in labels.items())
    return (
        "apiVersion: v1\nkind: Service\n"
        f"metadata: {{name: {name}, namespace: edge, "
        f"labels: {{topology.istio.io/network: {network}{more}}}}}\n"
        f"spec: {{type: LoadBalancer, externalIPs: {addresses}, ports: [{{name: tls, port: 15443}}]}}\n---\n"
    )


def meshed(name: str, ip: str, network: str, *, mutual: bool = True) -> str:
    labels = "app: echo" + (f", topology.istio.io/network: {network}" if network else "")
    return pod(name, ip, labels + (", security.istio.io/tlsMode: istio" if mutual else ""))


ECHO = service("echo", "http=80:8080")
PODS = (
    meshed("near", "10.0.0.1", "n1") + meshed("far-1", "10.0.0.2", "n2") + meshed("far-2", "10.0.0.3", "n2")
)


def seen(world: World, network: str = "", cluster: str = CLUSTER_NAME) -> list[str]:
    """address:port*weight of each endpoint of the service, as a client of a network has them."""
    node = "sidecar~10.9.9.9~client.default~default.svc.cluster.local"
    view = world.view(node, {"NETWORK": network})
    found = world.resources(feeds(view)[ENDPOINT])[cluster]
    out = []
    for place in pb.endpoint.ClusterLoadAssignment.FromString(found.body).endpoints:
        assert place.load_balancing_weight.value == sum(
            one.load_balancing_weight.value for one in place.lb_endpoints
        )
        for one in place.lb_endpoints:
            where = one.endpoint.address.socket_address
            out.append(f"{where.address}:{where.port_value}*{one.load_balancing_weight.value}")
    return out


DIRECT = ["10.0.0.1:8080*1", "10.0.0.2:8080*1", "10.0.0.3:8080*1"]


def test_a_network_without_a_door_is_dialled_directly() -> None:
    world = World(ECHO + PODS)
    assert seen(world, "n1") == DIRECT


def test_a_door_stands_for_what_is_ready_behind_it() -> None:
    world = World(ECHO + PODS + door())
    assert seen(world, "n1") == ["10.0.0.1:8080*1", "203.0.113.1:15443*2"]
    # Who is in the network goes to its endpoints, and to those of networks without a door.
    assert seen(world, "n2") == DIRECT
    # Who is in none can be anywhere.
    assert seen(world, "") == DIRECT
    world.delete("Pod", "far-2")
    assert seen(world, "n1") == ["10.0.0.1:8080*1", "203.0.113.1:15443*1"]
    world.delete("Service", "east", "edge")
    assert seen(world, "n1") == DIRECT[:2]


def test_two_doors_share_and_a_label_names_the_port() -> None:
    doors = door(addresses="['203.0.113.1', '203.0.113.2']", **{"networking.istio.io/gatewayPort": "443"})
    world = World(ECHO + PODS + doors)
    assert seen(world, "n1") == ["10.0.0.1:8080*2", "203.0.113.1:443*2", "203.0.113.2:443*2"]


def test_what_takes_no_mutual_tls_cannot_be_reached_through_a_door() -> None:
    world = World(ECHO + PODS + door() + meshed("plain", "10.0.0.4", "n2", mutual=False))
    assert seen(world, "n1") == ["10.0.0.1:8080*1", "203.0.113.1:15443*2"]
    assert "10.0.0.4:8080*1" in seen(world, "n2")


def test_a_service_within_one_network_stays_common() -> None:
    other = service("other", "http=80").replace("10.96.0.10", "10.96.0.11")
    world = World(ECHO + PODS + door() + other)
    view = world.view("sidecar~10.9.9.9~client.default~default.svc.cluster.local", {"NETWORK": "n1"})
    maps = dict(feeds(view)[ENDPOINT])
    homes = {name: keyed.name for keyed, args in feeds(view)[ENDPOINT] for name in world.map(keyed, *args)}
    assert maps
    assert homes["outbound|80||other.default.svc.cluster.local"] != homes[CLUSTER_NAME]


def test_an_endpoint_elsewhere_moves_no_cluster() -> None:
    world = World(ECHO + PODS + door())
    seen(world, "n1")
    view = world.view("sidecar~10.9.9.9~client.default~default.svc.cluster.local", {"NETWORK": "n1"})
    before = world.resources(feeds(view)[CLUSTER])[CLUSTER_NAME]
    world.apply(meshed("far-3", "10.0.0.5", "n2"))
    assert seen(world, "n1") == ["10.0.0.1:8080*1", "203.0.113.1:15443*3"]
    assert world.resources(feeds(view)[CLUSTER])[CLUSTER_NAME].body == before.body


@pytest.mark.parametrize("addresses", ["[]", "[east.example.com]"])
def test_a_door_without_an_address_is_none(addresses: str) -> None:
    assert seen(World(ECHO + PODS + door(addresses=addresses)), "n1") == DIRECT


ROOT = """
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: n1}}
---
"""


def test_who_says_nothing_is_in_the_network_of_the_root_namespace() -> None:
    anywhere = meshed("near", "10.0.0.1", "") + meshed("far-1", "10.0.0.2", "n2")
    world = World(ECHO + anywhere + door() + door("west", "n1", "[203.0.113.7]"))
    assert seen(world, "") == ["10.0.0.1:8080*1", "10.0.0.2:8080*1"]
    assert seen(world, "n2") == ["10.0.0.1:8080*1", "10.0.0.2:8080*1"]
    world.apply(ROOT)
    assert seen(world, "") == seen(world, "n1") == ["10.0.0.1:8080*1", "203.0.113.1:15443*1"]
    assert seen(world, "n2") == ["10.0.0.2:8080*1", "203.0.113.7:15443*1"]


def test_who_is_outside_the_mesh_is_in_no_network_of_it() -> None:
    outside = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: default}
spec:
  hosts: [out.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  location: LOCATION
  resolution: STATIC
  endpoints: [{address: 198.51.100.1, serviceAccount: out}]
---
"""
    name = "outbound|80||out.example.com"
    doors = ROOT + door("west", "n1", "[203.0.113.7]")
    far = {"network": "n2", "cluster": name}
    assert seen(World(outside.replace("LOCATION", "MESH_EXTERNAL") + doors), **far) == ["198.51.100.1:80*1"]
    assert seen(World(outside.replace("LOCATION", "MESH_INTERNAL") + doors), **far) == ["203.0.113.7:15443*1"]


def test_what_a_door_cannot_reach_is_told() -> None:
    plain = meshed("plain", "10.0.0.4", "n2", mutual=False)
    message = (
        "Service/echo spec.selector: endpoints in network n2 take no mutual TLS, and its door passes on "
        "nothing else: from other networks they are left out"
    )
    world = World(ECHO + PODS + door() + plain)
    assert message in found(world)
    world.delete("Pod", "plain")
    assert message not in found(world)
    # Without a door everybody dials directly.
    assert message not in found(World(ECHO + PODS + plain))
