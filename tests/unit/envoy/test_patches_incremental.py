"""Any patches, edited in any order, give what a mesh that was never edited gives; and none of them raises."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.patches.values import MESSAGES
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import CLUSTER, EXTENSION, LISTENER, ROUTE
from controlplane.mesh.checks import checks
from controlplane.model.kinds.envoy_filter import OPERATIONS
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.test_incremental import some_pod, some_route, some_rule, some_service

TYPES = "type.googleapis.com/envoy.extensions.filters"
LUA = {"@type": f"{TYPES}.http.lua.v3.Lua", "default_source_code": {"inline_string": "--"}}
ECHO = {"@type": f"{TYPES}.network.echo.v3.Echo"}
VALUES: dict[str, tuple[Any, ...]] = {
    "CLUSTER": ({"connect_timeout": "3s"}, {"circuit_breakers": {"thresholds": [{}]}}, {"type": "STATIC"}),
    "LISTENER": ({"use_original_dst": True}, {"filter_chains": [{"name": "merged"}]}),
    "LISTENER_FILTER": ({"filter_disabled": {"any_match": True}},),
    "FILTER_CHAIN": ({"filter_chain_match": {"destination_port": 80}}, {"name": "renamed"}),
    "NETWORK_FILTER": ({"typed_config": ECHO}, {}),
    "HTTP_FILTER": ({"typed_config": LUA}, {"disabled": True}),
    "ROUTE_CONFIGURATION": ({"virtual_hosts": [{"name": "merged"}]}, {"ignore_port_in_host_matching": False}),
    "VIRTUAL_HOST": ({"domains": ["more"]}, {"routes": [{"name": "merged"}]}),
    "HTTP_ROUTE": ({"route": {"timeout": "1s"}}, {"direct_response": {"status": 200}}),
    "EXTENSION_CONFIG": ({"typed_config": LUA},),
}
NAMES = {
    "HTTP_FILTER": ("", "envoy.filters.http.router", "x"),
    "NETWORK_FILTER": ("", "envoy.tcp_proxy", "envoy.filters.network.http_connection_manager", "x"),
}
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: one}
spec:
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: g, namespace: one}
spec:
  hosts: [g.example.com]
  gateways: [g]
  http: [{name: named, route: [{destination: {host: a, port: {number: 80}}}]}]
---
"""
PROXIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sidecar~10.0.0.1~p1.one~one.svc.cluster.local", {"ISTIO_VERSION": "1.29"}),
    ("sidecar~10.0.0.2~p2.one~one.svc.cluster.local", {}),
    ("router~10.0.0.3~g.one~one.svc.cluster.local", {"LABELS": {"app": "a"}}),
)


def some_match(pick: random.Random, what: str) -> dict[str, Any]:
    match: dict[str, Any] = {
        "context": pick.choice(("ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"))
    }
    if pick.random() < 0.2:
        match["proxy"] = {"proxyVersion": pick.choice((r"^1\.2", "^2"))}
    if pick.random() < 0.3:
        return match
    if what == "CLUSTER":
        match["cluster"] = pick.choice(({"service": "a.one.svc.cluster.local"}, {"portNumber": 80}))
    elif what in ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"):
        host = {"name": pick.choice(("", "a.one.svc.cluster.local:80", "allow_any", "g.example.com:80"))}
        route = {"name": pick.choice(("", "default", "named")), "action": pick.choice(("ANY", "ROUTE"))}
        match["routeConfiguration"] = {"portNumber": pick.choice((0, 80)), "vhost": {**host, "route": route}}
    elif what != "EXTENSION_CONFIG":
        match["listener"] = some_listener(pick, what)
    return match


def some_listener(pick: random.Random, what: str) -> dict[str, Any]:
    listener: dict[str, Any] = pick.choice(({}, {"portNumber": 80}, {"name": "virtualInbound"}))
    name = pick.choice(NAMES.get(what, ("",)))
    if what == "HTTP_FILTER" and name:
        manager = "envoy.filters.network.http_connection_manager"
        return {**listener, "filterChain": {"filter": {"name": manager, "subFilter": {"name": name}}}}
    return {**listener, "filterChain": {"filter": {"name": name}}} if name else listener


def some_filter(pick: random.Random) -> tuple[tuple[str, str, str], str]:
    name, namespace = pick.choice("ef"), pick.choice(("one", "istio-system"))
    patches = []
    for _ in range(pick.randrange(1, 5)):
        what = pick.choice(sorted(MESSAGES))
        how = pick.choice(OPERATIONS[what])
        value = {**pick.choice(VALUES[what])}
        if how not in ("MERGE", "MERGE_AND_REPLACE_LIST"):
            value["name"] = pick.choice("xyz")
        patches.append(
            {"applyTo": what, "match": some_match(pick, what), "patch": {"operation": how, "value": value}}
        )
    spec: dict[str, Any] = {"configPatches": patches, "priority": pick.randrange(3)}
    if pick.random() < 0.3:
        spec["workloadSelector"] = {"labels": {"app": "a"}}
    meta = {"name": name, "namespace": namespace}
    raw = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": meta,
        "spec": spec,
    }
    return ("EnvoyFilter", name, namespace), json.dumps(raw) + "\n---\n"


def served(world: Traffic) -> dict[Any, Any]:
    found: dict[Any, Any] = {"checks": world.map(checks)}
    for id, metadata in PROXIES:
        view = world.view(id, metadata)
        for url, maps in feeds(view).items():
            if url in (CLUSTER, LISTENER, ROUTE, EXTENSION):
                found[id, url] = world.resources(maps)
    return found


def readable(found: dict[Any, Any]) -> bool:
    """Whether every message is one, with its fields in order."""
    for one in found.values():
        for resource in one.values():
            if isinstance(resource, Resource):
                message = pb.parse(resource.type_url, resource.body)
                if pb.deterministic(message) != resource.body or message.name != resource.name:  # type: ignore[attr-defined]
                    return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_edited_equals_fresh(seed: int) -> None:
    pick = random.Random(seed)
    edited = Traffic(GATEWAY)
    objects: dict[tuple[str, str, str], str] = {}
    for step in range(40):
        if objects and pick.random() < 0.2:
            gone = pick.choice(sorted(objects))
            edited.delete(*gone[:2], namespace=gone[2])
            del objects[gone]
        else:
            maker = pick.choice((some_filter, some_filter, some_service, some_pod, some_route, some_rule))
            key, text = maker(pick)
            edited.apply(text)
            objects[key] = text
        if step % 4 == 3:
            found = served(edited)
            assert found == served(Traffic(GATEWAY + "".join(objects.values())))
            assert readable(found)
    assert edited.graph.counters.failed == 0
