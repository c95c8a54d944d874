"""The objects on pages of the documentation: they are understood, and do what the page says.

Each page's YAML is a mesh of its own, with the services that the page takes for granted; the simulator plays
calls in it.  What pages show of real Envoys, tests/envoy show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson

from controlplane.model.kinds import BY_NAME
from controlplane.sim import Call, End, Http, Tls, simulate
from tests.support.pages import (
    CLIENT,
    HTTP,
    Described,
    documents_of,
    hosts,
    objects_of,
    of_text,
    pod,
    request,
    service,
)
from tests.support.snippets import ROOT, blocks

PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("**/*.md"))
TASKS = "docs/tasks/"


@pytest.mark.parametrize("page", PAGES)
def test_what_pages_show_is_understood(page: str) -> None:
    for raw in documents_of(page):
        if isinstance(raw, dict) and ("apiVersion" in raw or "kind" in raw):
            parsed = BY_NAME[raw["kind"]].parse(raw)
            assert parsed.value is not None and parsed.problems == ()


def reviews() -> list[dict[str, Any]]:
    versions = [pod(f"reviews-v{n}", "shop", f"10.244.0.{n}", app="reviews", version=f"v{n}") for n in (1, 2)]
    return [service("reviews", "shop", "10.96.0.3", HTTP), *versions]


def objects_named(page: str, *names: str) -> list[dict[str, Any]]:
    """Those of a page's objects that belong together."""
    return [one for one in objects_of(page) if one["metadata"]["name"] in names]


def test_a_virtual_service_decides_by_header_and_by_weight() -> None:
    mesh = Described([*objects_named("docs/virtual-services.md", "reviews"), *reviews()])
    assert mesh.problems == []
    proxy = mesh.served_to("shop/client", CLIENT)
    v1, v2 = (f"outbound|80|v{n}|reviews.shop.svc.cluster.local" for n in (1, 2))
    assert request(proxy, "10.96.0.3", 80, "reviews").clusters() == pytest.approx({v1: 0.9, v2: 0.1})
    jasons = request(proxy, "10.96.0.3", 80, "reviews", x_user="jason")
    assert jasons.clusters() == pytest.approx({v2: 1})
    assert jasons.end.delayed == 2_000_000_000
    assert "delays 10% of the requests" in {step.why for step in jasons.steps}
    assert hosts(jasons.end) == {"10.244.0.2:80": 1}


def test_a_delegate_decides_below_the_path_that_it_was_given() -> None:
    there = (("front", "shop"), ("bank", "payments"), ("refunds", "payments"))
    around = [
        *(service(name, namespace, f"10.96.0.{n}", HTTP) for n, (name, namespace) in enumerate(there, 1)),
        *(pod(name, namespace, f"10.244.0.{n}") for n, (name, namespace) in enumerate(there, 1)),
    ]
    mesh = Described([*objects_named("docs/virtual-services.md", "front", "pay"), *around])
    assert mesh.problems == []
    proxy = mesh.served_to("shop/client", CLIENT)
    found = {
        path: request(proxy, "10.96.0.1", 80, "front", path).end
        for path in ("/", "/pay/in", "/pay/refunds/1")
    }
    assert [(end.cluster.split("|")[3].split(".")[0], end.route) for end in found.values()] == [
        ("front", "default"),
        ("bank", "payments-rest"),
        ("refunds", "payments-refunds"),
    ]


def test_a_subset_has_what_it_names_of_its_own_and_inherits_the_rest() -> None:
    mesh = Described([*objects_of("docs/destination-rules.md"), *reviews()])
    assert mesh.problems == []
    clusters = mesh.served_to("shop/client", CLIENT).clusters
    whole, v2 = (clusters[f"outbound|80|{subset}|reviews.shop.svc.cluster.local"] for subset in ("", "v2"))
    assert [one.circuit_breakers.thresholds[0].max_connections.value for one in (whole, v2)] == [
        100,
        2**32 - 1,
    ]
    assert [one.circuit_breakers.thresholds[0].max_pending_requests.value for one in (whole, v2)] == [10, 1]
    assert [one.outlier_detection.consecutive_5xx.value for one in (whole, v2)] == [3, 3]
    assert [one.connect_timeout.seconds for one in (whole, v2)] == [1, 10]


def test_services_outside_are_reached_by_name_and_machines_by_address() -> None:
    only = of_text("{kind: MeshConfig, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}")
    mesh = Described([*objects_of("docs/service-entries.md"), *only])
    proxy = mesh.served_to("shop/client", CLIENT)
    paid = request(proxy, "203.0.113.1", 80, "api.payments.example.com").end
    assert paid.cluster == "outbound|80||api.payments.example.com"
    assert request(proxy, "203.0.113.1", 80, "others.example.com").end.status == 502
    assert hosts(request(proxy, "10.99.0.8", 9000, "ledger.internal").end) == {"192.168.7.20:9000": 1}


def test_a_sidecar_leaves_out_what_it_does_not_name() -> None:
    theirs = {
        name: service(name, namespace, f"10.96.0.{n}", HTTP)
        for n, (name, namespace) in enumerate(
            [("stock", "shop"), ("bank", "payments"), ("ledger", "payments"), ("other", "elsewhere")], 1
        )
    }
    cart = [service("cart", "shop", "10.96.0.9", HTTP), pod("cart", "shop", CLIENT)]
    mesh = Described([*objects_of("docs/sidecars.md"), *theirs.values(), *cart])
    assert mesh.problems == []
    proxy = mesh.served_to("shop/cart", CLIENT)
    seen = {name.split("|")[3].split(".")[0] for name in proxy.clusters if name.startswith("outbound|")}
    assert seen == {"stock", "bank", "cart"}
    assert request(proxy, "10.96.0.4", 80, "other.elsewhere").end.status == 502
    inward = simulate(proxy, Call(CLIENT, 80, Http("/", "cart"), way="inbound", source="10.244.0.8"))
    assert hosts(inward.end) == {"127.0.0.1:8080": 1}


def test_a_gateway_ends_tls_and_sends_on_by_path() -> None:
    gate = pod("gateway", "prod", CLIENT, app="gateway", istio="ingressgateway")
    cart = [service("cart", "prod", "10.96.0.1", HTTP), pod("cart", "prod", "10.244.0.1")]
    objects = objects_named("docs/gateways.md", "shop")
    mesh = Described([*objects, *cart, gate], held=["prod/shop-tls"])
    assert mesh.problems == []
    proxy = mesh.served_to("prod/gateway", CLIENT, "router", LABELS={"istio": "ingressgateway"})

    def asked(path: str, name: str = "shop.example.com") -> End:
        call = Call(CLIENT, 443, Http(path, name), Tls(name), way="direct", source="203.0.113.9")
        return simulate(proxy, call).end

    assert hosts(asked("/cart")) == {"10.244.0.1:80": 1}
    (own,) = (one["metadata"] for one in documents_of("docs/gateways.md") if set(one) == {"metadata"})
    gate["metadata"]["annotations"] = own["annotations"]
    behind = Described([*objects, *cart, gate], held=["prod/shop-tls"])
    assert behind.problems == []
    careful = behind.served_to("prod/gateway", CLIENT, "router").listeners["0.0.0.0_443"]
    assert "proxy_protocol" in MessageToJson(careful) and '"requestHeadersTimeout"' in MessageToJson(careful)
    assert '"requestHeadersTimeout"' not in MessageToJson(proxy.listeners["0.0.0.0_443"])
    assert asked("/else").status == 404
    assert asked("/cart", "others.example.com").kind == "closed"


def test_a_network_is_entered_by_its_door() -> None:
    far = pod("reviews", "prod", "10.244.7.1", app="reviews")
    far["metadata"]["labels"]["topology.istio.io/network"] = "n2"
    near = pod("client", "prod", CLIENT)
    near["metadata"]["labels"]["topology.istio.io/network"] = "n1"
    gate = pod("east", "edge", "10.244.7.2", app="east", istio="eastwestgateway")
    objects = objects_of("docs/networks.md")
    mesh = Described([*objects, far, near, gate, service("reviews", "prod", "10.96.0.3", HTTP)])
    assert mesh.problems == []
    end = request(mesh.served_to("prod/client", CLIENT), "10.96.0.3", 80, "reviews").end
    assert [(host.address, host.tls and host.tls.sni) for host in end.hosts] == [
        ("203.0.113.1:15443", "outbound_.80_._.reviews.prod.svc.cluster.local")
    ]


def test_what_an_envoy_filter_merges_is_merged() -> None:
    ratings = [service("ratings", "shop", "10.96.0.3", HTTP), pod("ratings", "shop", CLIENT)]
    mesh = Described([*objects_of("docs/envoy-filter.md"), *ratings])
    assert mesh.problems == []
    found = MessageToJson(mesh.served_to("shop/ratings", CLIENT).listeners["virtualInbound"])
    assert '"maxRequestHeadersKb": 96' in found


def test_calls_are_shared_out_among_zones() -> None:
    places = objects_of(f"{TASKS}locality-failover.md")
    nodes = [one for one in places if one["kind"] == "Node"]
    pods = [pod(f"stock-{n}", "shop", f"10.244.{n}.1", f"machine-{n}", app="stock") for n in (1, 2, 3)]
    around = [service("stock", "shop", "10.96.0.3", HTTP), pod("client", "shop", CLIENT, "machine-1")]
    mesh = Described([*objects_of("docs/locality.md"), *nodes, *pods, *around])
    assert mesh.problems == []
    end = request(mesh.served_to("shop/client", CLIENT), "10.96.0.3", 80, "stock").end
    assert hosts(end) == pytest.approx({"10.244.1.1:80": 0.8, "10.244.2.1:80": 0.2})


def test_hosts_of_a_domain_are_resolved_when_they_are_asked_for() -> None:
    mesh = Described(objects_of("docs/dns.md"))
    assert mesh.problems == []
    proxy = mesh.served_to("shop/client", CLIENT)
    asked = request(proxy, "203.0.113.7", 80, "a.partners.example.com").end
    assert hosts(asked) == {"a.partners.example.com:80": 1}
    named = simulate(proxy, Call("203.0.113.7", 443, tls=Tls("b.partners.example.com"))).end
    assert hosts(named) == {"b.partners.example.com:443": 1}


def test_a_database_is_dialled_at_the_loopback() -> None:
    mysql = {"name": "mysql", "port": 3306}
    theirs = [service("orders", "db", "10.96.0.3", mysql), pod("orders", "db", "10.244.0.3")]
    other = [service("stock", "shop", "10.96.0.4", HTTP), pod("stock", "shop", "10.244.0.4")]
    mesh = Described([*objects_of("docs/listeners.md"), *theirs, *other, pod("cart", "shop", CLIENT)])
    assert mesh.problems == []
    proxy = mesh.served_to("shop/cart", CLIENT)
    dialled = simulate(proxy, Call("127.0.0.1", 3306, way="direct", silent=True)).end
    assert (dialled.kind, hosts(dialled)) == ("tcp", {"10.244.0.3:3306": 1})
    assert hosts(request(proxy, "10.96.0.4", 80, "stock").end) == {"10.244.0.4:80": 1}


def test_the_simulator_is_asked_as_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = {"name": "http", "port": 9080}
    mesh = Described(
        [service("reviews", "default", "10.96.0.3", ports), pod("reviews", "default", "10.244.0.1")]
    )
    proxy = mesh.served_to("default/client", CLIENT)
    dump = [
        section(
            "Listeners",
            "dynamic_listeners",
            [{"active_state": {"listener": one}} for one in shown(proxy.listeners)],
        ),
        section("Clusters", "dynamic_active_clusters", [{"cluster": one} for one in shown(proxy.clusters)]),
        section("Routes", "dynamic_route_configs", [{"route_config": one} for one in shown(proxy.routes)]),
        section(
            "Endpoints",
            "dynamic_endpoint_configs",
            [{"endpoint_config": one} for one in shown(proxy.endpoints)],
        ),
    ]
    (tmp_path / "config_dump.json").write_text(json.dumps({"configs": dump}))
    monkeypatch.chdir(tmp_path)
    source = "".join(blocks("docs/simulator.md", "python"))
    exec(compile(source, "docs/simulator.md", "exec", dont_inherit=True), {})
    first, *steps = capsys.readouterr().out.splitlines()
    assert first == "100% outbound|9080||reviews.default.svc.cluster.local ['10.244.0.1:9080']"
    assert steps and all(" because " in step for step in steps)


def section(name: str, field: str, items: list[Any]) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.admin.v3.{name}ConfigDump", field: items}


def shown(messages: Mapping[str, Any]) -> list[Any]:
    return [json.loads(MessageToJson(one, preserving_proto_field_name=True)) for one in messages.values()]
