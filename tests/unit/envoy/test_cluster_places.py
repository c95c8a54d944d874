"""Endpoints by the caller's place: who has maps of its own, what callers share, and what a change costs."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.cluster_maps import assignment_maps, cluster_maps
from controlplane.envoy.cluster_places import (
    Caller,
    placed_assignment_maps,
    placed_assignments,
    placed_cluster_maps,
)
from controlplane.envoy.endpoints import common_assignments
from controlplane.mesh.locality import Place
from controlplane.mesh.projections import ProxyView, Scope
from controlplane.model.locality import parse_locality
from tests.unit.mesh.world import World, pod, service, written

EU, US = Place(parse_locality("eu/a")), Place(parse_locality("us/a"))
SHOP = "shop.default.svc.cluster.local"
NAME = f"outbound|80||{SHOP}"
NODES = """
apiVersion: v1
kind: Node
metadata: {name: one, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: a}}
---
apiVersion: v1
kind: Node
metadata: {name: two, labels: {topology.kubernetes.io/region: us, topology.kubernetes.io/zone: a}}
---
"""
PODS = pod("s1", "10.0.0.1", "app: shop", extra="  nodeName: one") + pod(
    "s2", "10.0.0.2", "app: shop", extra="  nodeName: two"
)


def rule(policy: str, *, host: str = "shop", namespace: str = "default", extra: str = "") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        f"metadata: {{name: {host.split('.')[0]}, namespace: {namespace}}}\n"
        f"spec:\n  host: {host}\n  trafficPolicy: {policy}\n{extra}---\n"
    )


COUNTED = "{outlierDetection: {consecutive5xxErrors: 1}}"


def at(place: Place, namespace: str = "default", *, sidecar: Any = None) -> ProxyView:
    return ProxyView(Scope(namespace, sidecar), None, place=place)


def order(world: World, view: ProxyView, name: str = NAME) -> dict[str, int]:
    """Address -> priority."""
    found = pb.endpoint.ClusterLoadAssignment.FromString(world.resources(assignment_maps(view))[name].body)
    return {written(e): place.priority for place in found.endpoints for e in place.lb_endpoints}


def test_a_mesh_that_prefers_nothing_has_nothing_by_place() -> None:
    world = World(NODES + PODS + service("shop", "http=80") + rule("{loadBalancer: {simple: RANDOM}}"))
    for view in (at(EU), at(US)):
        assert world.resources(placed_assignment_maps(view)) == {}
        assert world.resources(placed_cluster_maps(view)) == {}
    assert NAME in world.map(common_assignments)


def test_each_place_has_its_own_order() -> None:
    world = World(NODES + PODS + service("shop", "http=80") + service("plain", "http=80") + rule(COUNTED))
    assert order(world, at(EU)) == {"10.0.0.1:80": 0, "10.0.0.2:80": 1}
    assert order(world, at(US)) == {"10.0.0.2:80": 0, "10.0.0.1:80": 1}
    assert set(world.map(common_assignments)) == {"outbound|80||plain.default.svc.cluster.local"}


def test_only_the_ports_and_subsets_that_ask_for_it_are_by_place() -> None:
    world = World(
        NODES
        + PODS
        + service("shop", "http=80, admin=81")
        + rule(
            "{portLevelSettings: [{port: {number: 81}, outlierDetection: {consecutive5xxErrors: 1}}]}",
            extra="  subsets: [{name: v1, trafficPolicy: " + COUNTED + "}]\n",
        )
    )
    placed = world.resources(placed_assignment_maps(at(EU)))
    assert set(placed) == {f"outbound|80|v1|{SHOP}", f"outbound|81||{SHOP}", f"outbound|81|v1|{SHOP}"}
    assert set(world.map(common_assignments)) == {NAME}


def test_services_of_one_scope_alone() -> None:
    world = World(NODES + PODS + service("shop", "http=80") + rule(COUNTED, host=SHOP, namespace="client"))
    assert order(world, at(US, "client")) == {"10.0.0.2:80": 0, "10.0.0.1:80": 1}
    assert order(world, at(US)) == {"10.0.0.1:80": 0, "10.0.0.2:80": 0}


def test_a_scope_with_a_sidecar() -> None:
    world = World(
        NODES
        + PODS
        + service("shop", "http=80")
        + rule(COUNTED)
        + "apiVersion: networking.istio.io/v1\nkind: Sidecar\n"
        "metadata: {name: side, namespace: default}\nspec: {egress: [{hosts: ['./*']}]}\n"
    )
    view = world.view("sidecar~10.0.0.9~c.default~default.svc.cluster.local")
    assert view.scope.sidecar is not None
    assert order(world, view._replace(place=US)) == {"10.0.0.2:80": 0, "10.0.0.1:80": 1}


def test_callers_that_a_preference_does_not_tell_apart_share_bytes() -> None:
    by_label = "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [shard]}}}"
    world = World(NODES + PODS + service("shop", "http=80") + rule(by_label))
    one, two = (
        world.resources(assignment_maps(at(place._replace(labels=(("shard", "blue"),)))))[NAME]
        for place in (EU, US)
    )
    assert one is two
    other = world.resources(assignment_maps(at(EU._replace(labels=(("shard", "red"),)))))[NAME]
    assert other is not one


def test_an_endpoint_costs_one_assignment_for_each_place() -> None:
    text = NODES + PODS + service("shop", "http=80") + rule(COUNTED)
    many = "".join(service(f"p{n}", "http=80") for n in range(20))
    world = World(text + many)
    views = [at(EU), at(US), at(EU, "other")]
    for view in views:
        world.resources(assignment_maps(view))
        world.resources(cluster_maps(view))
    with world.counting() as runs:
        world.apply(pod("s3", "10.0.0.3", "app: shop", extra="  nodeName: two"))
    # The third client stands where the first one does.
    assert runs["endpoints.load_assignment"] == 2
    assert runs["clusters.cluster"] == 0
    assert runs["endpoints.service_assignments"] == 0


def test_a_service_moves_between_the_maps() -> None:
    world = World(NODES + PODS + service("shop", "http=80"))
    near = (placed_assignments, Caller(EU, False, False))
    assert set(world.map(common_assignments)) == {NAME} and world.map(*near) == {}
    world.apply(rule(COUNTED))
    assert world.map(common_assignments) == {} and set(world.map(*near)) == {NAME}
    world.delete("DestinationRule", "shop")
    assert set(world.map(common_assignments)) == {NAME} and world.map(*near) == {}


def test_the_meshs_own_settings() -> None:
    world = World(NODES + PODS + service("shop", "http=80"))
    assert order(world, at(US)) == {"10.0.0.1:80": 0, "10.0.0.2:80": 0}
    mesh = "apiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\n"
    world.apply(mesh + "defaultTrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}\n")
    assert order(world, at(US)) == {"10.0.0.2:80": 0, "10.0.0.1:80": 1}
    world.apply(
        mesh + "defaultTrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}\n"
        "localityLbSetting: {enabled: false}\n"
    )
    assert order(world, at(US)) == {"10.0.0.1:80": 0, "10.0.0.2:80": 0}
    world.apply(mesh + "localityLbSetting: {distribute: [{from: us, to: {eu: 100}}]}\n")
    assert order(world, at(US)) == {"10.0.0.1:80": 0}
    assert order(world, at(EU)) == {"10.0.0.1:80": 0, "10.0.0.2:80": 0}


def test_the_place_of_a_proxy_is_what_somebody_asks_for() -> None:
    client = pod("c1", "10.0.0.9", "app: client, shard: blue", extra="  nodeName: two")
    world = World(NODES + PODS + client + service("shop", "http=80"))
    node = "sidecar~10.0.0.9~c1.default~default.svc.cluster.local"
    assert world.view(node).place == US
    world.apply(rule("{loadBalancer: {localityLbSetting: {failoverPriority: [shard, tier=x]}}}"))
    assert world.view(node).place == US._replace(labels=(("shard", "blue"),))
    world.apply(service("shop", "http=80", extra="internalTrafficPolicy: Local"))
    assert world.view(node).place == US._replace(node="two", labels=(("shard", "blue"),))
    assert order(world, world.view(node)) == {"10.0.0.2:80": 0}


def test_a_workload_that_nobody_knows_stands_where_its_envoy_says() -> None:
    world = World(service("shop", "http=80"))
    view = world.view("sidecar~10.0.0.9~c1.default~default.svc.cluster.local", {"NETWORK": "n1"})
    assert view.place == Place(network="n1")
