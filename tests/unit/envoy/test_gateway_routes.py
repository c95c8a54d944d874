"""Which VirtualServices answer through a gateway, for which names, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import ROUTE
from controlplane.mesh.gateways_hosts import common_names
from controlplane.model.kinds.gateway import ServerHost
from tests.unit.envoy.edges import Edge, gateway, http
from tests.unit.envoy.traffic import virtual_service
from tests.unit.mesh.world import service

ALL = "['*']"
BLACKHOLE = {"*": ["/* -> 404"]}


def one(server: str) -> str:
    return f"[{server}]"


def bound(name: str, hosts: str, status: int, *, path: str = "", **spec: str) -> str:
    """A VirtualService that answers with a status, at a path or everywhere."""
    match = f"match: [{{uri: {{exact: {path}}}}}], " if path else ""
    rules = f"[{{{match}directResponse: {{status: {status}}}}}]"
    return virtual_service(name, hosts, rules, **{"namespace": "shop", "gateways": "[edge/web]", **spec})


def test_without_virtual_services_everything_is_404() -> None:
    world = Edge(gateway("web", one(http(ALL))))
    assert world.answers("http.80") == BLACKHOLE
    (host,) = world.routes()["http.80"].virtual_hosts
    assert host.name == "blackhole:80"


def test_hosts_of_server_and_virtual_service_meet() -> None:
    world = Edge(
        gateway("web", one(http("[a.example.com, '*.shop.com']")))
        + bound("wide", "['*.example.com', b.shop.com, elsewhere.org]", 200)
    )
    assert world.answers("http.80") == {"a.example.com b.shop.com": ["/* -> 200"], **BLACKHOLE}


@pytest.mark.parametrize(
    ("offered", "asked", "common"),
    [
        (["*/*"], ["*", "a.b"], ["*", "a.b"]),
        (["*/a.b"], ["*"], ["a.b"]),
        (["*/*.b"], ["a.b", "b"], ["a.b"]),
        (["*/*.a.b"], ["*.b"], ["*.a.b"]),
        (["other/a.b", "shop/*.c"], ["a.b", "a.c"], ["a.c"]),
        (["*/a.b"], ["b.b"], []),
    ],
)
def test_common_names(offered: list[str], asked: list[str], common: list[str]) -> None:
    hosts = tuple(ServerHost(*host.split("/")) for host in offered)
    assert common_names(hosts, tuple(asked), "shop") == tuple(common)


def test_a_server_may_leave_its_hosts_to_one_namespace() -> None:
    world = Edge(
        gateway("web", one(http("[./a.com, shop/b.com, '*/c.com']")))
        + bound("v", "[a.com, b.com, c.com]", 200)
    )
    assert world.answers("http.80") == {"b.com c.com": ["/* -> 200"], **BLACKHOLE}


@pytest.mark.parametrize("names", ["[edge/web]", "[mesh, edge/web]", "[web.edge.svc.cluster.local]"])
def test_how_a_virtual_service_names_its_gateway(names: str) -> None:
    world = Edge(gateway("web", one(http(ALL))) + bound("v", "[a.com]", 200, gateways=names))
    assert world.answers("http.80") == {"a.com": ["/* -> 200"], **BLACKHOLE}


@pytest.mark.parametrize("names", ["[]", "[mesh]", "[web]", "[shop/web]"])
def test_others_are_not_asked(names: str) -> None:
    world = Edge(gateway("web", one(http(ALL))) + bound("v", "[a.com]", 200, gateways=names))
    assert world.answers("http.80") == BLACKHOLE


def test_what_is_not_exported_to_the_gateway_is_not_served() -> None:
    private = bound("v", "[a.com]", 200, exportTo="['.']")
    shared = bound("w", "[b.com]", 200, exportTo="[edge]")
    world = Edge(gateway("web", one(http(ALL))) + private + shared)
    assert world.answers("http.80") == {"b.com": ["/* -> 200"], **BLACKHOLE}


def test_several_virtual_services_of_one_name_follow_each_other_and_catch_alls_come_last() -> None:
    world = Edge(
        gateway("web", one(http(ALL)))
        + bound("first", "[a.com]", 201, created="2024-01-01T00:00:00Z")
        + bound("second", "[a.com]", 202, created="2024-01-02T00:00:00Z", path="/two")
        + bound("third", "[a.com]", 203, created="2024-01-03T00:00:00Z", path="/three")
        + bound("fourth", "[a.com]", 204, created="2024-01-04T00:00:00Z")
    )
    assert world.answers("http.80") == {
        "a.com": ["/two -> 202", "/three -> 203", "/* -> 201"],
        **BLACKHOLE,
    }


def test_those_of_the_gateways_own_namespace_come_before_public_ones() -> None:
    world = Edge(
        gateway("web", one(http(ALL)))
        + bound("public", "[a.com]", 201, created="2024-01-01T00:00:00Z", path="/one")
        + bound("own", "[a.com]", 202, namespace="edge", exportTo="['.']", created="2024-01-02T00:00:00Z")
    )
    assert world.answers("http.80")["a.com"] == ["/one -> 201", "/* -> 202"]
    world.apply(bound("public", "[a.com]", 201, created="2024-01-01T00:00:00Z"))
    assert world.answers("http.80")["a.com"] == ["/* -> 202"]


def test_rules_may_be_meant_for_one_gateway() -> None:
    rules = (
        "[{match: [{gateways: [mesh]}], directResponse: {status: 501}},"
        " {match: [{gateways: [edge/web], uri: {exact: /w}}], directResponse: {status: 201}},"
        " {match: [{gateways: [edge/back], uri: {exact: /b}}], directResponse: {status: 202}},"
        " {match: [{uri: {exact: /all}}], directResponse: {status: 203}}]"
    )
    both = virtual_service("v", "[a.com]", rules, gateways="[edge/web, edge/back]")
    world = Edge(
        gateway("web", one(http(ALL)), created="2024-01-02T00:00:00Z")
        + gateway("back", one(http(ALL, 8080)), created="2024-01-01T00:00:00Z")
        + both
    )
    assert world.answers("http.80")["a.com"] == ["/w -> 201", "/all -> 203", "/* -> 404"]
    assert world.answers("http.8080")["a.com"] == ["/b -> 202", "/all -> 203", "/* -> 404"]
    # On one port the routes of the older Gateway come first.
    world.apply(gateway("back", one(http(ALL)), created="2024-01-01T00:00:00Z"))
    expected = ["/b -> 202", "/all -> 203", "/w -> 201", "/all -> 203", "/* -> 404"]
    assert world.answers("http.80")["a.com"] == expected


def test_the_port_that_rules_ask_for_is_the_servers() -> None:
    rules = "[{match: [{port: 80}], directResponse: {status: 200}}]"
    world = Edge(
        service("gw", "http=80:8080", namespace="edge", app="gw").replace("app: gw", "istio: gw")
        + gateway("web", one(http(ALL)))
        + virtual_service("v", "[a.com]", rules, gateways="[edge/web]")
    )
    assert world.answers("http.8080")["a.com"] == ["/* -> 200"]
    assert [host.name for host in world.routes()["http.8080"].virtual_hosts] == ["a.com:80", "blackhole:80"]


def test_a_redirecting_server_redirects_all_its_hosts() -> None:
    world = Edge(
        gateway("web", one(http("[a.com, '*.b.com']", tls="{httpsRedirect: true}")))
        + gateway("plain", one(http("[c.com]")))
        + bound("v", "[a.com, c.com]", 200, gateways="[edge/web, edge/plain]")
    )
    assert world.answers("http.80") == {
        "a.com": ["/* -> https", "/* -> 200"],
        "*.b.com": ["/* -> https", "/* -> 404"],
        "c.com": ["/* -> 200"],
        **BLACKHOLE,
    }


def test_virtual_services_with_source_labels_mean_the_gateways_own() -> None:
    rules = (
        "[{match: [{sourceLabels: {istio: gw}, uri: {exact: /own}}], directResponse: {status: 200}},"
        " {match: [{sourceLabels: {istio: other}}], directResponse: {status: 500}},"
        " {match: [{sourceNamespace: edge, uri: {exact: /edge}}], directResponse: {status: 200}},"
        " {match: [{sourceNamespace: shop}], directResponse: {status: 500}}]"
    )
    world = Edge(
        gateway("web", one(http(ALL))) + virtual_service("v", "[a.com]", rules, gateways="[edge/web]")
    )
    assert world.answers("http.80")["a.com"] == ["/own -> 200", "/edge -> 200", "/* -> 404"]


# -- what Istio ships as samples ------------------------------------------------------------------------

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "istio-samples"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="Istio's samples are not beside this repository")
@pytest.mark.parametrize(
    ("file", "route", "expected"),
    [
        ("httpbin/httpbin-gateway", "http.80", ["/* -> httpbin:8000"]),
        ("helloworld/helloworld-gateway", "http.80", ["/hello -> helloworld:5000", "/* -> 404"]),
        (
            "bookinfo/networking/bookinfo-gateway",
            "http.8080",
            [
                *(
                    f"{path} -> productpage:9080"
                    for path in ("/productpage", "/static*", "/login", "/logout")
                ),
                "/api/v1/products* -> productpage:9080",
                "/* -> 404",
            ],
        ),
    ],
)
def test_istios_samples(file: str, route: str, expected: list[str]) -> None:
    text = (SAMPLES / f"{file}.yaml").read_text()
    world = Edge(text.replace("istio: ingressgateway", "istio: gw"))
    assert world.answers(route) == {"*": expected}
    assert world.listeners().keys() == {f"0.0.0.0_{route.removeprefix('http.')}"}


# -- what a change touches ------------------------------------------------------------------------------


@pytest.fixture
def many() -> Edge:
    world = Edge(
        service("s", "http=9080", namespace="shop")
        + gateway("web", one(http(ALL)))
        + gateway("other", one(http(ALL)), created="2024-01-01T00:00:00Z")
        + "".join(bound(f"v{n}", f"[a{n}.com, b{n}.com]", 200) for n in range(20))
    )
    world.routes(), world.listeners()
    return world


def test_one_edit_serializes_one_virtual_host(many: Edge) -> None:
    view = many.view_of()
    with many.counting() as runs:
        many.apply(bound("v7", "[a7.com, b7.com]", 404))
        assert many.view_of() == view
        many.resources(feeds(view)[ROUTE])
    assert runs["gateway_routes.gateway_host_frame"] == 1
    assert runs["routing_http.http_routes"] == 1
    assert runs["gateway_routes.site_routes"] == 1
    assert not [name for name in runs if name.startswith("gateway_listeners")]
    # The other nineteen are not even looked at.
    assert runs["gateways_hosts._names"] <= 1
    assert runs["gateways_hosts._alike"] <= 2


def test_a_new_virtual_service_is_one_more(many: Edge) -> None:
    with many.counting() as runs:
        many.apply(bound("new", "[new.com]", 200))
        many.routes(), many.listeners()
    assert runs["gateway_routes.gateway_host_frame"] == 1
    assert runs["gateways_hosts._names"] == 1
    assert not [name for name in runs if name.startswith("gateway_listeners")]


def test_another_gateway_does_not_touch_the_virtual_services_of_this_one(many: Edge) -> None:
    with many.counting() as runs:
        many.apply(
            gateway("third", one(http("[third.com]")))
            + bound("v", "[third.com]", 200, gateways="[edge/third]")
        )
        many.routes(), many.listeners()
    assert runs["gateway_routes.gateway_host_frame"] == 1


def test_replicas_share_everything(many: Edge) -> None:
    many.routes()
    with many.counting() as runs:
        twin = many.view(
            "router~10.0.0.8~gw-2.edge~edge.svc.cluster.local",
            {"LABELS": {"istio": "gw", "pod-template-hash": "x"}},
        )
        assert twin == many.view_of()
    assert not [name for name in runs if name.startswith("gateway_")]


def test_among_many_gateways_an_edit_is_as_small() -> None:
    def pair(n: int | str, status: int = 200) -> str:
        web = gateway(f"web{n}", one(http(f"[h{n}.com]")))
        return web + bound(f"v{n}", f"[h{n}.com]", status, gateways=f"[edge/web{n}]")

    world = Edge(
        "".join(pair(n) for n in range(50)) + bound("elsewhere", "[h1.com]", 500, gateways="[edge/x]")
    )
    assert world.answers("http.80") == {**{f"h{n}.com": ["/* -> 200"] for n in range(50)}, **BLACKHOLE}
    view = world.view_of()
    with world.counting() as runs:
        world.apply(pair(7, 404))
        world.routes()
    assert runs["gateway_routes.gateway_host_frame"] == 1
    assert runs["gateways_hosts._names"] <= 1
    with world.counting() as runs:
        world.apply(pair("new"))
        assert world.answers("http.80")["hnew.com"] == ["/* -> 200"]
        assert world.view_of() == view
    assert runs["gateway_routes.gateway_host_frame"] == 1
    assert runs["gateways_hosts._names"] <= 2
