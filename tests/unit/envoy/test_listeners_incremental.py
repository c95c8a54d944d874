"""Listeners and routes wherever a Sidecar or a node puts them: edited equals fresh, and no name is twice."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import LISTENER, ROUTE
from tests.unit.envoy.traffic import Traffic, domains, virtual_service
from tests.unit.mesh.world import service

Object = tuple[tuple[str, str, str], str]
PORTS = ("http=80", "http=80, web=81", "tcp=81", "odd=90", "redis=90, http=8080", "http=7000, grpc-web=81")
LISTENERS = (
    "{port: {number: 81, protocol: HTTP}, hosts: [%s]}",
    "{port: {number: 81, protocol: TCP}, captureMode: NONE, hosts: [%s]}",
    "{port: {number: 90, protocol: ''}, bind: 127.0.0.1, captureMode: NONE, hosts: [%s]}",
    "{port: {number: 7000, protocol: HTTP_PROXY}, hosts: [%s]}",
    "{port: {number: 7001, protocol: HTTP_PROXY}, bind: 127.0.0.1, captureMode: NONE, hosts: [%s]}",
    "{port: {protocol: HTTP}, bind: 'unix:///run/a.sock', hosts: [%s]}",
    "{port: {protocol: TCP}, bind: 'unix:///run/b.sock', hosts: [%s]}",
)
LAST = ("{hosts: [%s]}", "{captureMode: NONE, hosts: [%s]}", "{bind: 10.0.0.9, hosts: [%s]}")
HOSTS = ("./*", "two/*", "'*/*'", "two/a.two.svc.cluster.local", "./*, '~one/b.one.svc.cluster.local'")
INGRESS = (
    "",
    "ingress: [{port: {number: 81, protocol: HTTP}, captureMode: NONE, bind: 127.0.0.1}]",
    "ingress: [{port: {number: 7000, protocol: TCP}}, {port: {number: 81, protocol: ''}, captureMode: NONE}]",
)
NODES: tuple[Mapping[str, Any], ...] = (
    {},
    {"HTTP_PROXY_PORT": "7000", "HTTP10": "true", "IDLE_TIMEOUT": "9s"},
    {"INTERCEPTION_MODE": "NONE"},
    {"INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": "81", "UNPRIVILEGED_POD": "true"},
    {"INTERCEPTION_MODE": "TPROXY", "INSTANCE_IPS": "fd00::1"},
)


def some_service(pick: random.Random) -> Object:
    name, namespace = pick.choice("abc"), pick.choice(("one", "two"))
    address = pick.choice(("10.96.0.1", "10.96.0.2", '"None"'))
    return ("Service", name, namespace), service(name, pick.choice(PORTS), namespace=namespace, ip=address)


def some_entry(pick: random.Random) -> Object:
    host = pick.choice(("a", "a.one", "'*.one.svc.cluster.local'", "x.example.com"))
    text = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: x, namespace: two}}
spec:
  hosts: [{host}]
  resolution: NONE
  ports: [{{number: {pick.choice((80, 8080))}, name: p, protocol: HTTP}}]
---
"""
    return ("ServiceEntry", "x", "two"), text


def some_route(pick: random.Random) -> Object:
    host = pick.choice(("a", "x.example.com", "a.one", "'*.example.com'"))
    http = "[{route: [{destination: {host: c.two.svc.cluster.local, port: {number: 80}}}]}]"
    return ("VirtualService", "v", "one"), virtual_service("v", f"[{host}]", http, namespace="one")


def some_sidecar(pick: random.Random) -> Object:
    chosen = [*pick.sample(LISTENERS, pick.randrange(4)), *pick.sample(LAST, pick.randrange(2))]
    written = [one % pick.choice(HOSTS) for one in chosen if chosen.count(one) == 1]
    numbers = [text for text in written if "number: 81" in text]
    egress = ", ".join(text for text in written if text not in numbers[1:])
    text = f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: s, namespace: one}}
spec:
  {f"egress: [{egress}]" if egress else "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
  {pick.choice(INGRESS)}
---
"""
    return ("Sidecar", "s", "one"), text


def some_mesh(pick: random.Random) -> Object:
    said = pick.choice(("proxyHttpPort: 7001", "proxyListenPort: 90", "protocolDetectionTimeout: 1s"))
    return ("MeshConfig", "mesh", ""), f"kind: MeshConfig\n{said}\n---\n"


MAKERS = (some_service, some_service, some_entry, some_route, some_sidecar, some_sidecar, some_mesh)


def everything(world: Traffic) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for namespace in ("one", "two"):
        for number, node in enumerate(NODES):
            view = world.view(f"sidecar~10.0.0.1~p.{namespace}~{namespace}.svc.cluster.local", node)
            found = feeds(view)
            listeners, routes = world.resources(found[LISTENER]), world.resources(found[ROUTE])
            out[namespace, number] = listeners, routes
            wanted = {name for one in listeners.values() for name in one.refs}
            assert wanted <= routes.keys()
            for configuration in world.routes(view).values():
                domains(configuration)
    return out


@pytest.mark.parametrize("seed", range(3))
def test_edited_equals_fresh(seed: int) -> None:
    pick = random.Random(seed)
    edited = Traffic()
    objects: dict[tuple[str, str, str], str] = {}
    for step in range(30):
        if objects and pick.random() < 0.2:
            gone = pick.choice(sorted(objects))
            edited.delete(*gone)
            del objects[gone]
        else:
            key, text = pick.choice(MAKERS)(pick)
            edited.apply(text)
            objects[key] = text
        if step % 6 == 5:
            assert everything(edited) == everything(Traffic("".join(objects.values())))
    assert edited.graph.counters.failed == 0
