"""After any sequence of edits a gateway is served what a mesh that was never edited would serve it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from controlplane.envoy.feeds import feeds
from controlplane.mesh import gateways_hosts
from controlplane.mesh.checks import checks
from controlplane.mesh.proxies import proxy_view
from controlplane.model.identity import Identity
from controlplane.model.proxy import parse_node
from tests.support.servers import Issuer, Pair
from tests.unit.envoy.edges import NODE, Edge, gateway, http, https
from tests.unit.envoy.traffic import virtual_service
from tests.unit.mesh.world import World, pod, service

ISSUER = Issuer()
HOSTS = ("'*'", "a.com", "'*.b.com'", "x.b.com", "./a.com", "shop/x.b.com")
Name = tuple[str, str, str]


@cache
def pair(number: int) -> Pair:
    return ISSUER.issue(f"{number}.com")


def some_gateway(pick: random.Random) -> tuple[Name, str]:
    name, namespace = pick.choice("gh"), pick.choice(("edge", "shop"))
    servers = []
    for number in range(pick.randrange(1, 3)):
        hosts = f"[{', '.join(pick.sample(HOSTS, pick.randrange(1, 3)))}]"
        port = pick.choice((80, 443, 8080))
        mode = pick.choice(("SIMPLE", "MUTUAL", "ISTIO_MUTUAL", "AUTO_PASSTHROUGH"))
        credential = (
            "" if mode in ("ISTIO_MUTUAL", "AUTO_PASSTHROUGH") else f", credentialName: {pick.choice('st')}"
        )
        tls = f"{{mode: {mode}{credential}}}"
        redirect = {"tls": "{httpsRedirect: true}"} if pick.random() < 0.3 else {}
        plain = http(hosts, port, f"p{number}", **redirect)
        servers.append(plain if pick.random() < 0.5 else https(hosts, tls, port, f"p{number}"))
    created = f"2024-01-0{pick.randrange(1, 4)}T00:00:00Z"
    text = gateway(name, f"[{', '.join(servers)}]", namespace=namespace, created=created)
    selector = pick.choice(("istio: gw", "istio: gw, tier: front", "istio: other"))
    return ("Gateway", name, namespace), text.replace("{istio: gw}", f"{{{selector}}}")


def some_route(pick: random.Random) -> tuple[Name, str]:
    name, namespace = pick.choice("vwxy"), pick.choice(("edge", "shop"))
    hosts = f"[{', '.join(pick.sample(('a.com', 'x.b.com', 'y.b.com', repr('*.c.com')), 2))}]"
    match = pick.choice(
        ("", "match: [{uri: {exact: /a}}], ", "match: [{gateways: [edge/g]}], ", "match: [{port: 80}], ")
    )
    action = pick.choice(
        ("route: [{destination: {host: s.shop.svc.cluster.local}}]", "directResponse: {status: 204}")
    )
    gateways = pick.choice(("[edge/g]", "[shop/g, edge/h]", "[g, mesh]", "[h.edge.svc.cluster.local]"))
    created = f"2024-01-0{pick.randrange(1, 4)}T00:00:00Z"
    text = virtual_service(
        name,
        hosts,
        f"[{{{match}{action}}}]",
        namespace=namespace,
        gateways=gateways,
        exportTo=pick.choice(("['*']", "['.']", "[edge]")),
        created=created,
    )
    return ("VirtualService", name, namespace), text


def some_secret(pick: random.Random) -> tuple[Name, str]:
    name, namespace = pick.choice("st"), pick.choice(("edge", "shop"))
    authorities = ISSUER.certificate if pick.random() < 0.5 else b""
    return ("Secret", name, namespace), pair(pick.randrange(2)).secret(name, namespace, authorities)


def some_service(pick: random.Random) -> tuple[Name, str]:
    name, namespace = pick.choice((("gw", "edge"), ("s", "shop")))
    ports = pick.choice(("http=80", "http=80:8080", "http=80:8080, https=443:8080"))
    text = service(name, ports, namespace=namespace, ip=pick.choice(("10.96.0.1", '"None"')))
    return ("Service", name, namespace), text.replace("app: gw", "istio: gw")


def some_pod(pick: random.Random) -> tuple[Name, str]:
    labels = pick.choice(("istio: gw", "istio: gw, tier: front", "istio: none"))
    return ("Pod", "gw-1", "edge"), pod("gw-1", "10.0.0.9", labels, namespace="edge")


def some_backend(pick: random.Random) -> tuple[Name, str]:
    """A pod behind the service, here or in another network."""
    name, ip = pick.choice((("s-1", "10.0.1.1"), ("s-2", "10.0.1.2")))
    mutual = pick.choice(("", ", security.istio.io/tlsMode: istio"))
    labels = f"app: s, topology.istio.io/network: {pick.choice(('n1', 'n2'))}{mutual}"
    return ("Pod", name, "shop"), pod(name, ip, labels, namespace="shop")


def some_door(pick: random.Random) -> tuple[Name, str]:
    text = service("door", "tls=15443", namespace="shop", ip="10.96.0.3", extra="externalIPs: [203.0.113.9]")
    network = pick.choice(("n1", "n2"))
    return ("Service", "door", "shop"), text.replace(
        "name: door,", f"name: door, labels: {{topology.istio.io/network: {network}}},"
    )


MAKERS = (
    some_gateway,
    some_gateway,
    some_route,
    some_route,
    some_secret,
    some_service,
    some_pod,
    some_backend,
    some_door,
)


def everything(world: World) -> dict[Any, Any]:
    """What gateways with and without an identity and a sidecar are served, and what is said about it."""
    out: dict[Any, Any] = {"checks": world.map(checks)}
    nobody = parse_node(NODE, {"NAMESPACE": "edge", "LABELS": {"istio": "gw"}})
    sidecar = parse_node("sidecar~10.0.0.8~a.shop~shop.svc.cluster.local", {"NETWORK": "n2"})
    far = parse_node(NODE, {"NAMESPACE": "edge", "LABELS": {"istio": "gw"}, "NETWORK": "n1"})
    for proxy in (nobody, far, sidecar, replace(nobody, identity=Identity("cluster.local", "edge", "gw"))):
        view = world.read(proxy_view, proxy)
        for url, maps in feeds(view).items():
            out[proxy.identity, proxy.metadata.network, url] = world.resources(maps)
    return out


@pytest.mark.parametrize(("seed", "many"), [(0, 32), (1, 0), (2, 1)])
def test_edited_equals_fresh(seed: int, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # From how many gateways on a port on they are found in another way.
    monkeypatch.setattr(gateways_hosts, "_MANY", many)
    pick = random.Random(seed)
    edited = Edge()
    objects: dict[Name, str] = {}
    most = 0
    for _ in range(14):
        for _ in range(pick.randrange(1, 4)):
            name, text = pick.choice(MAKERS)(pick)
            if name in objects and pick.random() < 0.3:
                del objects[name]
                edited.delete(*name)
            else:
                objects[name] = text
                edited.apply(text)
        after = everything(edited)
        assert after == everything(Edge("---\n".join(objects.values())))
        most = max(most, sum(len(found) for found in after.values()))
    assert most > 12
