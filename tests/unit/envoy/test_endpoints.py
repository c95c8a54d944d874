"""EDS: what a ClusterLoadAssignment holds, and that a change costs exactly one."""

from __future__ import annotations

from controlplane.envoy.cluster_maps import assignment_maps
from controlplane.envoy.endpoints import common_assignments
from controlplane.envoy.types import ENDPOINT
from controlplane.mesh.scope import ProxyView, Scope
from controlplane.model.keys import Key
from tests.unit.mesh.world import World, pod, service, slice_of

REVIEWS = "reviews.default.svc.cluster.local"
NAME = f"outbound|80||{REVIEWS}"
RULE = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews, namespace: default}}
spec:
  host: {REVIEWS}
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
---
"""
PODS = pod("one", "10.0.0.1", "app: reviews, version: v1") + pod(
    "two", "10.0.0.2", "app: reviews, version: v2"
)


def test_every_eds_cluster_has_an_assignment_and_nothing_else_has() -> None:
    world = World(
        service("reviews", "http=80, admin=81")
        + service("headless", "http=80", ip='"None"')
        + """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: default}
spec: {hosts: [a.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
"""
        + "---\n"
        + RULE
    )
    found = world.assignments()
    clusters = world.outbound()
    assert set(found) == {
        name for name, cluster in clusters.items() if cluster.HasField("eds_cluster_config")
    }
    assert len(found) == 6 and len(clusters) == 8
    assert all(assignment.cluster_name == name for name, assignment in found.items())
    # A cluster without endpoints has an assignment too: Envoy waits for one.
    assert not found[NAME].endpoints
    assert world.map(common_assignments)[NAME].type_url == ENDPOINT


def test_endpoints_by_subset() -> None:
    world = World(
        service("reviews", "http=80") + RULE + PODS + slice_of("reviews", "10.0.0.2 two, 10.0.0.1 one")
    )
    assert world.addresses(NAME) == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert world.addresses(f"outbound|80|v1|{REVIEWS}") == ["10.0.0.1:8080"]
    assert world.addresses(f"outbound|80|v2|{REVIEWS}") == ["10.0.0.2:8080"]


def test_localities_are_sorted_and_weigh_what_their_endpoints_do() -> None:
    world = World("""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: default}
spec:
  hosts: [a.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 10.0.0.3, locality: r2/z1/s1, weight: 5}
  - {address: 10.0.0.1, locality: r1/z1}
  - {address: 10.0.0.2, locality: r1/z1, weight: 2}
  - {address: 10.0.0.4}
""")
    places = world.assignments()["outbound|80||a.example.com"].endpoints
    found = [
        (
            (place.locality.region, place.locality.zone, place.locality.sub_zone),
            place.load_balancing_weight.value,
            [endpoint.load_balancing_weight.value for endpoint in place.lb_endpoints],
        )
        for place in places
    ]
    assert found == [
        (("", "", ""), 1, [1]),
        (("r1", "z1", ""), 3, [1, 2]),
        (("r2", "z1", "s1"), 5, [5]),
    ]
    assert not places[0].HasField("locality")
    assert all(place.priority == 0 for place in places)


def test_endpoints_that_are_not_ready_are_marked_unless_a_share_of_them_must_be_healthy() -> None:
    world = World(service("reviews", "http=80") + slice_of("reviews", "10.0.0.1, !10.0.0.2"))
    assert world.addresses(NAME) == ["10.0.0.1:8080", "!10.0.0.2:8080"]
    world.apply(f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews, namespace: default}}
spec: {{host: {REVIEWS}, trafficPolicy: {{outlierDetection: {{minHealthPercent: 50}}}}}}
""")
    assert world.addresses(NAME) == ["10.0.0.1:8080"]


def test_sockets() -> None:
    world = World("""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: default}
spec:
  hosts: [a.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: unix:///run/web.sock}]
""")
    assert world.addresses("outbound|80||a.example.com") == ["/run/web.sock"]


# What a change costs.


def test_an_endpoint_change_serializes_one_assignment_however_many_scopes_there_are() -> None:
    world = World("".join(service(f"s{n}", "http=80") + slice_of(f"s{n}", f"10.0.{n}.1") for n in range(20)))
    views = [ProxyView(Scope(f"ns{n}"), None) for n in range(5)]
    for view in views:
        assert len(world.resources(assignment_maps(view))) == 20
        world.clusters(view)
    with world.counting() as runs:
        world.apply(slice_of("s3", "10.0.3.1, 10.0.3.2"))
    assert runs == {
        "endpoints.endpoints": 1,
        "endpoints.load_assignment": 1,
        "endpoints.service_assignments": 1,
        "endpoints._common_assignments": 1,
    }
    assert world.changed(common_assignments) == ({"outbound|80||s3.default.svc.cluster.local"}, set())


def test_a_change_in_one_subset_leaves_the_others_bytes_alone() -> None:
    world = World(
        service("reviews", "http=80") + RULE + PODS + slice_of("reviews", "10.0.0.1 one, 10.0.0.2 two")
    )
    world.map(common_assignments)
    world.apply(slice_of("reviews", "10.0.0.1 one, !10.0.0.2 two"))
    world.map(common_assignments)
    assert world.changed(common_assignments) == ({NAME, f"outbound|80|v2|{REVIEWS}"}, set())


def test_a_slice_that_says_the_same_changes_nothing() -> None:
    world = World(service("reviews", "http=80") + slice_of("reviews", "10.0.0.1, 10.0.0.2"))
    world.map(common_assignments)
    world.apply(slice_of("reviews", "10.0.0.2, 10.0.0.1"))
    world.map(common_assignments)
    assert world.changed(common_assignments) == (set(), set())


def test_an_edit_of_a_policy_changes_no_endpoints() -> None:
    world = World(service("reviews", "http=80") + RULE + slice_of("reviews", "10.0.0.1"))
    world.map(common_assignments)
    with world.counting() as runs:
        world.apply(RULE.replace("subsets:", "trafficPolicy: {loadBalancer: {simple: RANDOM}}\n  subsets:"))
    assert runs["endpoints.load_assignment"] == 0
    assert runs["endpoints.service_assignments"] == 0


def test_a_sidecars_scope_has_the_endpoints_of_what_it_imports() -> None:
    world = World(
        service("reviews", "http=80")
        + service("other", "http=80", namespace="other")
        + """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: default}
spec: {egress: [{hosts: ["./*"]}]}
"""
    )
    assert list(world.assignments(Scope("default", Key("default", "default")))) == [NAME]


def test_two_worlds_of_equal_objects_have_equal_bytes() -> None:
    objects = [service("reviews", "http=80"), RULE, PODS, slice_of("reviews", "10.0.0.1 one, 10.0.0.2 two")]
    world = World("".join(objects))
    other = World()
    other.apply(slice_of("reviews", "10.0.0.9"))
    other.map(common_assignments)
    for text in reversed(objects):
        other.apply(text)
    assert world.map(common_assignments) == other.map(common_assignments)
