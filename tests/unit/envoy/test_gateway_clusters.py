"""What a gateway can reach: what sidecars can, and without asking connections where they wanted to go."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import CLUSTER, ENDPOINT
from controlplane.mesh.projections import ProxyView, Scope
from tests.unit.envoy.edges import Edge
from tests.unit.mesh.world import service, slice_of, written

Cluster = pb.cluster.Cluster
ANYWHERE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: anywhere, namespace: edge}
spec:
  hosts: [anywhere.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: []
  resolution: NONE
---
"""
PASSING = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: passing, namespace: default}
spec: {host: passing, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}
---
"""


def seen(world: Edge) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Name -> Cluster, and cluster -> endpoints."""
    maps = feeds(world.view_of())
    clusters = {name: Cluster.FromString(r.body) for name, r in world.resources(maps[CLUSTER]).items()}
    found = {}
    for name, one in world.resources(maps[ENDPOINT]).items():
        message = pb.endpoint.ClusterLoadAssignment.FromString(one.body)
        found[name] = [written(e) for places in message.endpoints for e in places.lb_endpoints]
    by_eds = {name for name, cluster in clusters.items() if cluster.type == Cluster.EDS}
    assert found.keys() == by_eds
    return clusters, found


def test_nothing_passes_through_a_gateway() -> None:
    clusters, _ = seen(Edge(service("web", "http=80")))
    assert clusters.keys() == {"outbound|80||web.default.svc.cluster.local", "BlackHoleCluster"}


def test_a_headless_service_is_its_pods() -> None:
    world = Edge(service("db", "http=80:8080", ip='"None"') + slice_of("db", "10.0.0.1, 10.0.0.2"))
    clusters, endpoints = seen(world)
    name = "outbound|80||db.default.svc.cluster.local"
    assert clusters[name].lb_policy == Cluster.LEAST_REQUEST
    assert endpoints[name] == ["10.0.0.1:8080", "10.0.0.2:8080"]
    # A sidecar lets the client choose.
    theirs = world.outbound("edge")[name]
    assert theirs.type == Cluster.ORIGINAL_DST


def test_what_has_no_resolution_has_no_endpoints_unless_it_names_some() -> None:
    world = Edge(ANYWHERE)
    assert seen(world)[1] == {"outbound|80||anywhere.example.com": []}
    assert not seen(world)[0]["outbound|80||anywhere.example.com"].HasField("original_dst_lb_config")


def test_a_rule_cannot_make_connections_pass_through() -> None:
    world = Edge(service("passing", "http=80:8080") + slice_of("passing", "10.0.0.1") + PASSING)
    assert seen(world)[1]["outbound|80||passing.default.svc.cluster.local"] == ["10.0.0.1:8080"]


def test_all_others_are_the_very_clusters_of_sidecars() -> None:
    world = Edge(service("web", "http=80") + service("db", "tcp=5432") + slice_of("web", "10.0.0.1"))
    theirs = world.resources(feeds(ProxyView(Scope("edge"), None))[CLUSTER])
    own = world.resources(feeds(world.view_of())[CLUSTER])
    assert all(own[name] is theirs[name] for name in own if name.startswith("outbound|"))


def test_a_rule_may_choose_the_gateway() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: edge}
spec:
  host: web.default.svc.cluster.local
  workloadSelector: {matchLabels: {istio: gw}}
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
---
"""
    name = "outbound|80||web.default.svc.cluster.local"
    world = Edge(service("web", "http=80") + rule)
    assert seen(world)[0][name].lb_policy == Cluster.ROUND_ROBIN
    world.apply(rule.replace("istio: gw", "istio: other"))
    assert seen(world)[0][name].lb_policy == Cluster.LEAST_REQUEST
