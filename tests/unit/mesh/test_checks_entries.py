"""ServiceEntries that nobody could reach, and addresses that count only where proxies answer names."""

from __future__ import annotations

import pytest

from controlplane.mesh.checks import checks
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
    assert told(two) == [("a", "spec.ports[0]", "warning")]
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
