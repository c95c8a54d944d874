"""Who answers for a service: slices, Endpoints, selected workloads, ServiceEntries."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.mesh.endpoints import Endpoint, endpoints, subset_endpoints
from controlplane.mesh.service import ServiceId
from controlplane.model.locality import Locality
from tests.unit.mesh.world import World, pod, service, slice_of

REVIEWS = ServiceId("reviews.default.svc.cluster.local", "default")
NODE = """
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels:
    topology.kubernetes.io/region: r1
    topology.kubernetes.io/zone: z1
    topology.istio.io/subzone: s1
---
"""


def of(world: World, port: int = 80, id: ServiceId = REVIEWS) -> list[str]:
    found: tuple[Endpoint, ...] = world.read(endpoints, id, port)
    return [f"{'' if e.healthy else '!'}{e.address}:{e.port}" for e in found]


def entry(spec: str, namespace: str = "default") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: db, namespace: {namespace}}}
spec:
  hosts: [db.example.com]
  ports:
  - {{number: 80, name: http, protocol: HTTP}}
  - {{number: 81, name: admin, protocol: HTTP, targetPort: 9081}}
{spec}
---
"""


DB = ServiceId("db.example.com", "default")


def test_slices_are_joined_and_addresses_counted_once() -> None:
    world = World(
        service("reviews", "http=80:web")
        + slice_of("reviews", "10.0.0.2, 10.0.0.1", suffix="a")
        + slice_of("reviews", "10.0.0.3, !10.0.0.1", suffix="b")
        + slice_of("other", "10.0.0.9")
    )
    assert of(world) == ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]


def test_those_not_ready_are_known_as_such_and_those_that_go_are_gone() -> None:
    world = World(service("reviews", "http=80") + slice_of("reviews", "10.0.0.1, !10.0.0.2, -10.0.0.3"))
    assert of(world) == ["10.0.0.1:8080", "!10.0.0.2:8080"]


def test_ports_are_joined_by_name() -> None:
    world = World(
        service("reviews", "http=80, admin=81")
        + slice_of("reviews", "10.0.0.1", port="http=8080", suffix="a")
        + slice_of("reviews", "10.0.0.1", port="admin=9999", suffix="b")
    )
    assert of(world, 80) == ["10.0.0.1:8080"]
    assert of(world, 81) == ["10.0.0.1:9999"]
    assert of(world, 82) == []


def test_a_pod_of_two_families_counts_once() -> None:
    six = slice_of("reviews", "'fd00::1'", suffix="b").replace("IPv4", "IPv6")
    world = World(service("reviews", "http=80") + slice_of("reviews", "10.0.0.1") + six)
    assert of(world) == ["10.0.0.1:8080"]
    world.delete("EndpointSlice", "reviews-a")
    assert of(world) == ["fd00::1:8080"]


def test_pods_lend_labels_identity_and_place() -> None:
    world = World(
        service("reviews", "http=80")
        + NODE
        + pod("reviews-1", "10.0.0.1", "app: reviews, version: v1", extra="  nodeName: n1")
        + slice_of("reviews", "10.0.0.1 reviews-1, 10.0.0.2")
    )
    first, second = world.read(endpoints, REVIEWS, 80)
    assert first.labels == (("app", "reviews"), ("version", "v1"))
    assert first.service_account == "reviews"
    assert first.locality == Locality("r1", "z1", "s1")
    assert (second.labels, second.locality, second.service_account) == ((), Locality(), "")


def test_the_locality_label_wins_over_the_node() -> None:
    world = World(
        service("reviews", "http=80")
        + NODE
        + pod("reviews-1", "10.0.0.1", "app: reviews, istio-locality: a.b", extra="  nodeName: n1")
        + slice_of("reviews", "10.0.0.1 reviews-1")
    )
    assert world.read(endpoints, REVIEWS, 80)[0].locality == Locality("a", "b")


def test_subsets_are_by_label() -> None:
    world = World(
        service("reviews", "http=80")
        + pod("a", "10.0.0.1", "app: reviews, version: v1")
        + pod("b", "10.0.0.2", "app: reviews, version: v2")
        + slice_of("reviews", "10.0.0.1 a, 10.0.0.2 b")
    )
    found = world.read(subset_endpoints, REVIEWS, 80, (("version", "v2"),))
    assert [e.address for e in found] == ["10.0.0.2"]


def test_older_endpoints_count_where_there_is_no_slice() -> None:
    older = """
apiVersion: v1
kind: Endpoints
metadata: {name: reviews, namespace: default}
subsets:
- addresses: [{ip: 10.0.0.1}]
  notReadyAddresses: [{ip: 10.0.0.2}]
  ports: [{name: http, port: 8081}]
---
"""
    world = World(service("reviews", "http=80") + older)
    assert of(world) == ["10.0.0.1:8081", "!10.0.0.2:8081"]
    world.apply(slice_of("reviews", "10.0.0.7"))
    assert of(world) == ["10.0.0.7:8080"]


def test_without_a_controller_the_selected_workloads_answer() -> None:
    unready = pod("c", "10.0.0.3", "app: reviews").replace('"True"', '"False"')
    world = World(
        service("reviews", "http=80:web")
        + pod("a", "10.0.0.1", "app: reviews")
        + pod("b", "10.0.0.2", "app: other")
        + pod("d", "10.0.0.4", "app: reviews", namespace="elsewhere")
        + unready
        + """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: default}
spec: {address: 10.0.1.1, labels: {app: reviews}, ports: {http: 7000}, locality: r/z, weight: 5}
"""
    )
    # The port's name is looked up in the pod's containers, the WorkloadEntry has its own.
    assert of(world) == ["10.0.0.1:9080", "!10.0.0.3:9080", "10.0.1.1:7000"]
    assert world.read(endpoints, REVIEWS, 80)[-1].weight == 5
    world.apply(service("reviews", "http=80:web", extra="publishNotReadyAddresses: true"))
    assert of(world) == ["10.0.0.1:9080", "10.0.0.3:9080", "10.0.1.1:7000"]


def test_a_static_service_entry() -> None:
    world = World(
        entry("""
  resolution: STATIC
  endpoints:
  - {address: 10.1.0.2, ports: {http: 8080}, weight: 3, locality: r/z/s, serviceAccount: db}
  - {address: 10.1.0.1}
""")
    )
    assert of(world, 80, DB) == ["10.1.0.1:80", "10.1.0.2:8080"]
    assert of(world, 81, DB) == ["10.1.0.1:9081", "10.1.0.2:9081"]
    second = world.read(endpoints, DB, 80)[1]
    assert (second.weight, second.locality, second.service_account) == (3, Locality("r", "z", "s"), "db")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("  resolution: DNS", ["db.example.com:80"]),
        ("  resolution: DNS_ROUND_ROBIN", ["db.example.com:80"]),
        ("  resolution: NONE", []),
        ("  resolution: DNS\n  endpoints: [{address: a.internal, ports: {http: 8080}}]", ["a.internal:8080"]),
    ],
)
def test_service_entries_by_resolution(spec: str, expected: list[str]) -> None:
    assert of(World(entry(spec)), 80, DB) == expected


def test_a_socket_is_the_endpoint_of_the_only_port() -> None:
    spec = "  resolution: STATIC\n  endpoints: [{address: unix:///run/db.sock}]"
    second = "  - {number: 81, name: admin, protocol: HTTP, targetPort: 9081}\n"
    one_port = entry(spec).replace(second, "")
    assert of(World(one_port), 80, DB) == ["unix:///run/db.sock:0"]


def test_a_service_entry_selects_workloads_of_its_namespace() -> None:
    world = World(
        entry("  resolution: STATIC\n  workloadSelector: {labels: {app: db}}")
        + pod("a", "10.0.0.1", "app: db")
        + pod("b", "10.0.0.2", "app: db", namespace="other")
        + """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: default, labels: {app: db}}
spec: {address: 10.0.1.1, ports: {admin: 7001}}
"""
    )
    assert of(world, 80, DB) == ["10.0.0.1:80", "10.0.1.1:80"]
    assert of(world, 81, DB) == ["10.0.0.1:9081", "10.0.1.1:7001"]


def test_a_change_of_a_pod_that_endpoints_do_not_show_ends_at_the_pod() -> None:
    pods = pod("reviews-1", "10.0.0.1", "app: reviews")
    world = World(service("reviews", "http=80") + pods + slice_of("reviews", "10.0.0.1 reviews-1"))
    lease = world.graph.lease(endpoints, REVIEWS, 80)
    world.graph.settle()
    before: Any = lease.value
    with world.counting() as runs:
        world.apply(pods.replace('"True"', '"False"').replace("Running", "Pending"))
    assert runs == {"workload.pod_facts": 1}
    assert lease.value is before
