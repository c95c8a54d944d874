"""The objects on the task pages do what the pages say, step by step; as test_pages.py for the others.

tests/envoy/test_tasks.py plays them at real Envoys.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

from google.protobuf.json_format import MessageToJson

from controlplane.sim import Call, Http, Tls, simulate
from tests.support.pages import CLIENT, HTTP, Described, hosts, objects_of, pod, request, service
from tests.support.snippets import ROOT

TASKS = "docs/tasks/"


def test_near_endpoints_come_first_and_others_when_a_zone_dies() -> None:
    ready: dict[str, dict[str, Any]] = {
        str(n): pod(f"stock-{n}", "shop", f"10.244.{n}.1", f"machine-{n}", app="stock") for n in (1, 2, 3, 4)
    }
    client = pod("client", "shop", CLIENT, "machine-1")
    objects = [
        *objects_of(f"{TASKS}locality-failover.md"),
        service("stock", "shop", "10.96.0.3", HTTP),
        client,
    ]
    assert Described([*objects, *ready.values()]).problems == []
    order = []
    for gone in ("1", "2", "3", "4"):
        proxy = Described([*objects, *ready.values()]).served_to("shop/client", CLIENT)
        order.append(hosts(request(proxy, "10.96.0.3", 80, "stock").end))
        ready[gone]["status"]["conditions"][0]["status"] = "False"
    assert order == [{f"10.244.{n}.1:80": 1} for n in (1, 2, 3, 4)]
    shown = (ROOT / f"{TASKS}locality-failover.md").read_text()
    assert re.findall(r"10\.244\.(\d)\.1:80::priority::(\d)", shown) == [("1", "0"), ("2", "1")]


def test_what_leaves_leaves_by_the_gateway_and_nothing_else_leaves() -> None:
    gate = pod("egress", "istio-system", "10.244.0.21", app="egress", istio="egressgateway")
    del gate["metadata"]["labels"]["security.istio.io/tlsMode"]
    mesh = Described([*objects_of(f"{TASKS}egress-gateway.md"), gate])
    assert mesh.problems == []
    client = mesh.served_to("shop/client", CLIENT)
    out = simulate(client, Call("203.0.113.10", 443, tls=Tls("news.example.com"))).end
    assert hosts(out) == {"10.244.0.21:8443": 1}
    assert out.hosts[0].tls is None
    assert simulate(client, Call("203.0.113.10", 443, tls=Tls("other.example.com"))).end.kind == "closed"
    gateway = mesh.served_to(
        "istio-system/egress", "10.244.0.21", "router", LABELS={"istio": "egressgateway"}
    )
    onward = Call("10.244.0.21", 8443, tls=Tls("news.example.com"), way="direct", source=CLIENT)
    assert simulate(gateway, onward).end.cluster == "outbound|443||news.example.com"
    shown = (ROOT / f"{TASKS}egress-gateway.md").read_text()
    assert f"\n{out.cluster}::10.244.0.21:8443::cx_total::1\n" in shown


def test_databases_are_told_apart_by_the_addresses_that_the_page_shows() -> None:
    page = f"{TASKS}databases-by-name.md"
    entries = [one for one in objects_of(page) if one["kind"] != "MeshConfig"]
    assert [told.split(": ")[0] for told in Described(entries).problems] == [
        f"ServiceEntry shop/{name} spec.{field}"
        for name in ("orders", "stock")
        for field in ("hosts[0]", "ports[0]")
    ]
    mesh = Described(objects_of(page))
    assert mesh.problems == []
    proxy = mesh.served_to("shop/client", CLIENT, DNS_CAPTURE="true")
    shown = re.findall(r"^(240\.240\.\S+) STREAM (\S+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert len(shown) == 2
    for address, host in shown:
        assert f"{address}_5432" in proxy.listeners
        end = simulate(proxy, Call(address, 5432, silent=True)).end
        assert (end.kind, end.cluster) == ("tcp", f"outbound|5432||{host}")
    assert hosts(simulate(proxy, Call(shown[0][0], 5432)).end) == {"192.168.7.31:5432": 1}


def test_one_mesh_calls_the_other_through_its_gateway() -> None:
    objects = objects_of(f"{TASKS}two-meshes.md")
    east = Described([one for one in objects if one["metadata"]["namespace"] in ("foo", "istio-system")])
    server = pod("httpbin", "bar", "10.244.0.41")
    gate = pod("gateway", "edge", "10.244.0.44", app="gateway", istio="eastwestgateway")
    west = Described(
        [one for one in objects if one["metadata"]["namespace"] in ("bar", "edge")] + [server, gate]
    )
    assert (east.problems, west.problems) == ([], [])
    (host,) = request(east.served_to("foo/sleep", CLIENT), "240.0.0.2", 8000, "httpbin.bar.global").end.hosts
    assert host.address == "gateway.west.example.com:15443" and host.tls is not None
    gateway = west.served_to("edge/gateway", "10.244.0.44", "router", LABELS={"istio": "eastwestgateway"})
    passed = simulate(
        gateway, Call("10.244.0.44", 15443, tls=host.tls, way="direct", source="198.51.100.1")
    ).end
    assert (passed.kind, hosts(passed)) == ("tcp", {"10.244.0.41:8000": 1})


def test_a_limit_stands_before_the_router() -> None:
    shop = [service("productpage", "bookstore", "10.96.0.3", HTTP), pod("productpage", "bookstore", CLIENT)]
    mesh = Described([*objects_of(f"{TASKS}rate-limit.md"), *shop])
    assert mesh.problems == []
    proxy = mesh.served_to("bookstore/productpage", CLIENT)
    inward = simulate(proxy, Call(CLIENT, 80, Http("/", "productpage"), way="inbound", source="10.244.0.8"))
    assert any("local_ratelimit" in doubt for doubt in inward.doubts)
    shown = MessageToJson(proxy.listeners["virtualInbound"])
    named = re.findall(r'"name": "envoy\.filters\.http\.(\w+)"', shown)
    assert ("local_ratelimit", "router") in itertools.pairwise(named)
