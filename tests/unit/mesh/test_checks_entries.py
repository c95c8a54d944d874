"""ServiceEntries that nobody could reach, and addresses that count only where proxies answer names."""

from __future__ import annotations

import pytest

from controlplane.mesh.checks import checks
from controlplane.mesh.endpoints import endpoints
from controlplane.mesh.service import ServiceId, service
from controlplane.mesh.visibility import Shelf, entry_shelves
from tests.support.addresses import settle_addresses
from tests.unit.mesh.world import World

CAPTURED = """
kind: MeshConfig
defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}}
---
"""


def entry(name: str, spec: str, created: str = "", namespace: str = "default") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}"}}
spec: {{hosts: [{name}.test], ports: [{{number: 5432, name: tcp, protocol: TCP}}], {spec}}}
---
"""


def told(text: str) -> list[tuple[str, str, str]]:
    world = World(text)
    settle_addresses(world.graph)
    found = [one for problems in world.map(checks).values() for one in problems]
    return [(one.name, one.field, one.level) for one in found]


STATIC = "resolution: STATIC, endpoints: [{address: 10.0.0.1}]"


def test_a_host_with_a_given_address_is_unreachable_by_name_unless_proxies_answer_names() -> None:
    assert told(entry("a", STATIC)) == [("a", "spec.hosts[0]", "info")]
    assert told(CAPTURED + entry("a", STATIC)) == []
    assert told(entry("a", STATIC + ", addresses: [10.1.1.1]")) == []
    assert told(entry("a", "resolution: DNS")) == []


def test_opaque_ports_of_hosts_with_given_addresses_clash_unless_proxies_answer_names() -> None:
    two = entry("a", "resolution: DNS", "2024-01-01T00:00:00Z") + entry("b", "resolution: DNS")
    both = [("a", "spec.ports[0]", "warning"), ("b", "spec.ports[0]", "warning")]
    assert sorted(told(two)) == both
    assert told(CAPTURED + two) == []


def test_static_without_endpoints_is_said() -> None:
    assert ("a", "spec.endpoints", "warning") in told(entry("a", "resolution: STATIC"))
    assert told(CAPTURED + entry("a", "resolution: STATIC, workloadSelector: {labels: {a: b}}")) == []


@pytest.mark.parametrize(
    ("limits", "seen"),
    [
        ("{applyToSidecars: true, defaultVisibility: NONE}", ()),
        ("{applyToSidecars: true, defaultVisibility: NAMESPACE}", ("default",)),
        ("{applyToSidecars: true, defaultVisibility: PUBLIC}", ("*",)),
        ("{applyToSidecars: true}", ("*",)),
        ("{defaultVisibility: NONE}", ("*",)),
    ],
)
def test_the_mesh_limits_how_far_entries_are_seen(limits: str, seen: tuple[str, ...]) -> None:
    world = World(f"kind: MeshConfig\nserviceEntryVisibility: {limits}\n---\n{entry('a', STATIC)}")
    found = world.read(service, ServiceId("a.test", "default"))
    assert found.export_to == seen


def test_a_limit_for_namespaces_follows_their_labels() -> None:
    policy = "{visibility: NAMESPACE, matchingRules: [{namespaceSelector: {matchLabels: {kind: partner}}}]}"
    world = World(
        f"kind: MeshConfig\nserviceEntryVisibility: {{applyToSidecars: true, policies: [{policy}]}}\n---\n"
        + entry("a", STATIC)
    )
    id = ServiceId("a.test", "default")
    # By name, because who sees it at all sees it alike.
    assert id in world.map(entry_shelves)[Shelf("*", host="a.test")]
    world.apply("{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {kind: partner}}}")
    shelves = world.map(entry_shelves)
    assert Shelf("*", host="a.test") not in shelves
    assert id in shelves[Shelf("default", host="a.test")]


MACHINE = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: default}
spec: {address: ADDRESS, labels: {app: vm}}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: default}
spec: {clusterIP: 10.96.0.7, selector: {app: vm}, ports: [{name: tcp, port: 5432}]}
---
"""


@pytest.mark.parametrize(("address", "said"), [("vm.example.com", True), ("10.0.0.9", False)])
def test_a_selected_machine_with_a_name_for_an_address_is_told(address: str, said: bool) -> None:
    chosen = "workloadSelector: {labels: {app: vm}}, addresses: [10.1.1.1], resolution: "
    text = MACHINE.replace("ADDRESS", address) + entry("a", chosen + "STATIC") + entry("b", chosen + "DNS")
    where = [("a", "spec.workloadSelector.labels", "warning")] if said else []
    assert [one for one in told(text) if one[1].startswith("spec.workload")] == where
    told_of_service = [
        one for one in told(MACHINE.replace("ADDRESS", address) + SERVICE) if one[0] == "plain"
    ]
    assert told_of_service == ([("plain", "spec.selector", "warning")] if said else [])


def test_an_endpoint_of_a_service_is_no_name() -> None:
    """Envoy refuses all endpoints of a cluster for one whose address is a name."""
    world = World(MACHINE.replace("ADDRESS", "vm.example.com") + SERVICE)
    plain = ServiceId("plain.default.svc.cluster.local", "default")
    assert world.read(endpoints, plain, 5432) == ()
    world.apply(MACHINE.replace("ADDRESS", "10.0.0.9"))
    assert [one.address for one in world.read(endpoints, plain, 5432)] == ["10.0.0.9"]
