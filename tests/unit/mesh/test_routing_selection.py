"""Which VirtualService speaks for a host."""

from __future__ import annotations

import pytest

from controlplane.graph import Q, query
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing import (
    attachment,
    candidates,
    l4_selectors,
    routed_alike,
    source_selectors,
    virtual_service,
)
from controlplane.model.keys import Key
from tests.unit.envoy.traffic import virtual_service as vs
from tests.unit.mesh.world import World

REVIEWS = "reviews.default.svc.cluster.local"
ROUTE = "[{route: [{destination: {host: reviews}}]}]"


@query
def chosen(q: Q, scope: Scope, host: str, layer: str) -> Key | None:
    return virtual_service(q, scope, host, layer)  # type: ignore[arg-type]


def name(world: World, host: str = REVIEWS, namespace: str = "default", layer: str = "http") -> str | None:
    key = world.read(chosen, Scope(namespace), host, layer)
    return None if key is None else key.name


def test_a_short_host_is_completed_with_the_namespace_of_its_object() -> None:
    world = World(vs("a", "[reviews]", ROUTE, namespace="prod"))
    assert name(world, "reviews.prod.svc.cluster.local") == "a"
    assert name(world, REVIEWS) is None


def test_the_longest_name_decides_before_age() -> None:
    world = World(
        vs("all", '["*.local"]', ROUTE, created="2020-01-01T00:00:00Z")
        + vs("cluster", '["*.svc.cluster.local"]', ROUTE, created="2020-01-01T00:00:00Z")
        + vs("space", '["*.default.svc.cluster.local"]', ROUTE, created="2021-01-01T00:00:00Z")
        + vs("part", '["*-v2.default.svc.cluster.local"]', ROUTE, created="2022-01-01T00:00:00Z")
    )
    assert name(world, "reviews-v2.default.svc.cluster.local") == "part"
    assert name(world, "ratings.default.svc.cluster.local") == "space"
    assert name(world, "ratings.prod.svc.cluster.local") == "cluster"
    assert name(world, "printer.local") == "all"
    world.apply(vs("exact", "[reviews]", ROUTE, created="2023-01-01T00:00:00Z"))
    assert name(world) == "exact"


def test_among_equals_the_oldest_wins_and_then_the_name() -> None:
    world = World(
        vs("young", "[reviews]", ROUTE, created="2024-01-02T00:00:00Z")
        + vs("old-b", "[reviews]", ROUTE, created="2024-01-01T00:00:00Z")
        + vs("old-a", "[reviews]", ROUTE, created="2024-01-01T00:00:00Z")
    )
    assert name(world) == "old-a"
    world.delete("VirtualService", "old-a")
    assert name(world) == "old-b"
    world.delete("VirtualService", "old-b")
    assert name(world) == "young"


def test_private_before_exported_before_public() -> None:
    host = f"[{REVIEWS}]"
    world = World(
        vs("public", host, ROUTE, namespace="prod", created="2024-01-01T00:00:00Z")
        + vs(
            "named",
            host,
            ROUTE,
            namespace="prod",
            exportTo="[default, other]",
            created="2024-01-02T00:00:00Z",
        )
        + vs("private", host, ROUTE, exportTo='["."]', created="2024-01-03T00:00:00Z")
    )
    assert name(world) == "private"
    assert name(world, namespace="other") == "named"
    assert name(world, namespace="third") == "public"
    assert name(world, namespace="prod") == "public"
    world.delete("VirtualService", "private")
    assert name(world) == "named"


def test_the_mesh_says_where_rules_hold_that_do_not_say_so() -> None:
    world = World(vs("a", f"[{REVIEWS}]", ROUTE, namespace="prod"))
    assert name(world) == "a"
    world.apply("kind: MeshConfig\ndefaultVirtualServiceExportTo: ['.']")
    assert name(world) is None
    assert name(world, namespace="prod") == "a"


@pytest.mark.parametrize(("gateways", "holds"), [("[mesh]", True), ("[edge, mesh]", True), ("[edge]", False)])
def test_only_rules_for_the_mesh_hold_for_sidecars(gateways: str, holds: bool) -> None:
    world = World(vs("a", "[reviews]", ROUTE, gateways=gateways))
    assert (name(world) == "a") is holds


def test_a_delegate_is_in_force_for_nobody() -> None:
    world = World(vs("a", "[]", ROUTE))
    assert world.read(attachment, Key("default", "a")) is None
    assert world.read(candidates, REVIEWS) == ()


def test_the_first_with_rules_of_the_asked_kind_wins_among_equal_names() -> None:
    tcp = "[{route: [{destination: {host: reviews}}]}]"
    world = World(
        vs("only-tcp", "[reviews]", "", tcp=tcp, created="2024-01-01T00:00:00Z")
        + vs("only-http", "[reviews]", ROUTE, created="2024-01-02T00:00:00Z")
        + vs("wide", '["*.default.svc.cluster.local"]', ROUTE, created="2020-01-02T00:00:00Z")
    )
    assert name(world, layer="http") == "only-http"
    assert name(world, layer="tcp") == "only-tcp"
    assert name(world, layer="tls") is None
    # The more specific name keeps the wildcard out, even if it has no rules of the kind.
    world.delete("VirtualService", "only-http")
    assert name(world, layer="http") is None


def test_a_sidecar_takes_rules_only_of_namespaces_and_hosts_that_it_imports() -> None:
    world = World(
        vs("near", f"[{REVIEWS}]", ROUTE, created="2024-01-02T00:00:00Z")
        + vs(
            "far", f"[{REVIEWS}, other.example.com]", ROUTE, namespace="prod", created="2024-01-01T00:00:00Z"
        )
        + """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: default}
spec: {egress: [{hosts: ["./*"]}]}
"""
    )
    scope = Scope("default", Key("default", "s"))
    assert world.read(chosen, Scope("default"), REVIEWS, "http").name == "far"
    assert world.read(chosen, scope, REVIEWS, "http").name == "near"
    world.apply(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s, namespace: default}\n"
        "spec: {egress: [{hosts: ['./*', 'prod/other.example.com']}]}"
    )
    # One imported host of a VirtualService is enough.
    assert world.read(chosen, scope, REVIEWS, "http").name == "far"


def test_an_edit_of_rules_selects_nothing_anew() -> None:
    world = World(vs("a", "[reviews]", ROUTE))
    assert name(world) == "a"
    lease = world.graph.lease(chosen, Scope("default"), REVIEWS, "http")
    with world.counting() as runs:
        world.apply(vs("a", "[reviews]", "[{timeout: 1s, route: [{destination: {host: reviews}}]}]"))
    assert runs["routing.attachment"] == 1
    assert runs["routing.candidates"] == 0
    with world.counting() as runs:
        world.apply(vs("b", "[ratings]", ROUTE))
    assert runs["routing.candidates"] == 0
    lease.release()


def test_alike_for_all_only_if_all_candidates_are_public() -> None:
    world = World(vs("a", "[reviews]", ROUTE))
    assert world.read(routed_alike, REVIEWS)
    assert world.read(routed_alike, "nobody.example.com")
    world.apply(vs("b", '["*.local"]', ROUTE, exportTo="[prod]"))
    assert not world.read(routed_alike, REVIEWS)


def test_source_selectors_are_distinct_and_known_by_layer() -> None:
    to = "route: [{destination: {host: r}}]"
    match = f"[{{match: [{{sourceLabels: {{app: a}}}}, {{sourceLabels: {{b: b, a: a}}}}], {to}}}]"
    tcp = "[{match: [{sourceLabels: {app: t}}], route: [{destination: {host: r}}]}]"
    world = World(vs("a", "[reviews]", match) + vs("b", "[ratings]", match, tcp=tcp))
    a, both, t = (("app", "a"),), (("a", "a"), ("b", "b")), (("app", "t"),)
    assert world.read(source_selectors) == (both, a, t)
    assert world.read(l4_selectors) == (t,)
    world.delete("VirtualService", "b")
    assert world.read(source_selectors) == (both, a)
