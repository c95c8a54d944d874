"""Which DestinationRule speaks for a service, and what it says at a port and subset."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.mesh.rules import MergedRule, destination_rule, effective_policy
from controlplane.mesh.service import ServiceId
from controlplane.model.keys import Key
from tests.unit.mesh.world import World

REVIEWS = ServiceId("reviews.prod.svc.cluster.local", "prod")


def rule(
    name: str,
    host: str,
    namespace: str = "prod",
    spec: str = "subsets: []",
    created: str = "",
    to: str = "",
) -> str:
    export = f"exportTo: [{to}]" if to else ""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec:
  host: {host!r}
  {export}
  {spec}
---
"""


def sources(world: World, client: str, selected: tuple[Key, ...] = ()) -> list[str]:
    found: MergedRule | None = world.read(destination_rule, client, REVIEWS, selected)
    return [] if found is None else [f"{ref.namespace}/{ref.name}" for ref in found.sources]


def test_the_clients_namespace_decides_before_the_services_and_the_roots() -> None:
    world = World(
        rule("of-root", "*.local", "istio-system")
        + rule("of-service", "reviews", "prod")
        + rule("of-client", REVIEWS.host, "client")
    )
    assert sources(world, "client") == ["client/of-client"]
    assert sources(world, "stranger") == ["prod/of-service"]
    world.delete("DestinationRule", "of-service", "prod")
    assert sources(world, "stranger") == ["istio-system/of-root"]
    world.delete("DestinationRule", "of-root", "istio-system")
    assert sources(world, "stranger") == []


def test_a_short_host_means_the_rules_own_namespace() -> None:
    assert sources(World(rule("a", "reviews", "other")), "other") == []


def test_within_a_namespace_the_most_specific_host_wins() -> None:
    world = World(
        rule("any", "*") + rule("wide", "*.svc.cluster.local") + rule("narrow", "*.prod.svc.cluster.local")
    )
    assert sources(world, "x") == ["prod/narrow"]
    world.apply(rule("exact", "reviews"))
    assert sources(world, "x") == ["prod/exact"]


def test_wildcards_within_a_label_are_found_too() -> None:
    world = World(rule("partial", "*-views.prod.svc.cluster.local"))
    id = ServiceId("re-views.prod.svc.cluster.local", "prod")
    assert world.read(destination_rule, "x", id).host == "*-views.prod.svc.cluster.local"
    assert sources(world, "x") == []


def test_export_to() -> None:
    world = World(
        rule("private", "reviews", to="'.'") + rule("far", REVIEWS.host, "client", to="'elsewhere'")
    )
    assert sources(world, "prod") == ["prod/private"]
    assert sources(world, "client") == []
    world.apply(rule("private", "reviews", to="'client'"))
    assert sources(world, "client") == ["prod/private"]
    # Not exported to its own namespace, so not in force there.
    assert sources(world, "prod") == []


def test_the_meshs_default_export_to_applies() -> None:
    world = World(rule("a", "reviews") + "kind: MeshConfig\ndefaultDestinationRuleExportTo: ['.']\n")
    assert (sources(world, "prod"), sources(world, "client")) == (["prod/a"], [])


def test_rules_for_one_host_are_joined_under_the_oldest() -> None:
    policy = "trafficPolicy: {loadBalancer: {simple: RANDOM}}"
    subsets = "subsets: [{name: v1, labels: {a: b}}, {name: v2}]"
    young = rule("young", "reviews", spec=f"{policy}\n  {subsets}", created="2024-02-01T00:00:00Z")
    old = rule(
        "old", "reviews", spec="subsets: [{name: v1, labels: {version: v1}}]", created="2024-01-01T00:00:00Z"
    )
    world = World(young + old)
    found = world.read(destination_rule, "x", REVIEWS)
    assert sources(world, "x") == ["prod/old", "prod/young"]
    assert found.traffic_policy is None
    assert [(s.name, s.labels) for s in found.subsets] == [("v1", (("version", "v1"),)), ("v2", ())]


def test_rules_that_differ_in_export_to_are_not_joined() -> None:
    world = World(
        rule("a", "reviews", created="2024-01-01T00:00:00Z")
        + rule("b", "reviews", created="2024-02-01T00:00:00Z", to="'.'")
    )
    assert sources(world, "prod") == ["prod/a"]


def test_a_rule_for_selected_workloads_is_for_them_alone_and_comes_first() -> None:
    chosen = "workloadSelector: {matchLabels: {app: web}}"
    world = World(
        rule("all", "reviews", created="2020-01-01T00:00:00Z") + rule("some", "reviews", spec=chosen)
    )
    assert sources(world, "prod") == ["prod/all"]
    assert sources(world, "prod", (Key("prod", "some"),)) == ["prod/some"]
    # It is private to its namespace.
    assert sources(world, "client", (Key("prod", "some"),)) == ["prod/all"]


def test_an_edit_of_a_policy_does_not_search_again() -> None:
    world = World(rule("a", "reviews", spec="trafficPolicy: {loadBalancer: {simple: RANDOM}}"))
    lease = world.graph.lease(destination_rule, "x", REVIEWS)
    world.graph.settle()
    with world.counting() as runs:
        world.apply(rule("a", "reviews", spec="trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"))
    assert lease.value.traffic_policy.load_balancer.simple == "ROUND_ROBIN"
    assert runs["rules.rule_keys"] == 0 and runs["rules.rules_for_host"] == 0


POLICY = """trafficPolicy:
    connectionPool: {tcp: {maxConnections: 1}}
    outlierDetection: {consecutive5xxErrors: 1}
    loadBalancer: {simple: RANDOM}
    portLevelSettings:
    - {port: {number: 80}, connectionPool: {tcp: {maxConnections: 2}}}
  subsets:
  - name: plain
  - name: own
    trafficPolicy:
      connectionPool: {tcp: {maxConnections: 3}}
      portLevelSettings:
      - {port: {number: 81}, loadBalancer: {simple: ROUND_ROBIN}}
"""


def blocks(found: Any, port: int, subset: str = "") -> tuple[int | None, bool, str | None]:
    policy = effective_policy(found, port, subset)
    return (
        None if policy.connection_pool is None else policy.connection_pool.tcp.max_connections,
        policy.outlier_detection is not None,
        None if policy.load_balancer is None else policy.load_balancer.simple,
    )


@pytest.mark.parametrize(
    ("port", "subset", "expected"),
    [
        (90, "", (1, True, "RANDOM")),
        # A port level replaces all blocks, also those that it leaves out.
        (80, "", (2, False, None)),
        (90, "plain", (1, True, "RANDOM")),
        (80, "plain", (2, False, None)),
        # A subset overrides block by block, over what holds at the port.
        (90, "own", (3, True, "RANDOM")),
        (80, "own", (3, False, None)),
        (81, "own", (None, False, "ROUND_ROBIN")),
    ],
)
def test_effective_policy(port: int, subset: str, expected: object) -> None:
    found = World(rule("a", "reviews", spec=POLICY)).read(destination_rule, "x", REVIEWS)
    assert blocks(found, port, subset) == expected


def test_no_rule_says_nothing() -> None:
    assert blocks(None, 80) == (None, False, None)
