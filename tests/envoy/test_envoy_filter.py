"""EnvoyFilters at real Envoys: what a patch says happens to requests, is counted, and ends with the patch.

client ──► ratings.shop:9080 (sidecar)        gate (gateway, :8080) ──► ratings.shop:9080
       └─► other, an address that no service has
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.lab.pod_spec import PodSpec
from tests.support.envoy_filters import TYPES, envoy_filter, patch
from tests.support.envoys import MARKS, scenes
from tests.support.residents import Resident, pod, web
from tests.support.town import Town

pytestmark = MARKS

RATINGS = "ratings.shop"
OTHER = "10.244.0.12"
GATE = "10.244.0.13"

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: ratings}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gate, namespace: shop}
spec:
  selector: {app: gate}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gate, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [gate]
  http: [{route: [{destination: {host: ratings}}]}]
"""


def residents() -> Iterator[Resident]:
    yield pod("client", "shop", 10)
    yield pod("ratings", "shop", 11, web("ratings", 9080))
    yield pod("other", "shop", 12, web("other", 9080), meshed=False)
    yield Resident(PodSpec("gate", "shop", GATE, {"app": "gate"}, "gate", kind="router"))


town = scenes(lambda lab: Town(lab, residents(), OBJECTS))


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.apply()


def patches(*found: dict[str, Any], app: str = "client", name: str = "it") -> str:
    """An EnvoyFilter for the proxy of an app."""
    return envoy_filter(*found, name=name, namespace="shop", app=app)


def before_router(**listener: Any) -> dict[str, Any]:
    manager = "envoy.filters.network.http_connection_manager"
    chain = {"filter": {"name": manager, "subFilter": {"name": "envoy.filters.http.router"}}}
    return {**listener, "filterChain": chain}


def local_limit(tokens: int) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": f"{TYPES}.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "http_local_rate_limiter",
            "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "3600s"},
            "filter_enabled": {"runtime_key": "local_rate_limit_enabled", **always},
            "filter_enforced": {"runtime_key": "local_rate_limit_enforced", **always},
        },
    }


def lua(word: str) -> dict[str, Any]:
    code = f'function envoy_on_request(r) r:headers():replace("x-lua", "{word}") end'
    return {"@type": f"{TYPES}.http.lua.v3.Lua", "default_source_code": {"inline_string": code}}


def ask(town: Town, path: str = "/", **headers: str) -> Any:
    return town.call("client", RATINGS, path, port=9080, headers=headers)


def statuses(town: Town, count: int) -> Counter[int]:
    return Counter(one.status for one in town.calls(count, "client", RATINGS, port=9080))


def test_a_local_rate_limit_lets_through_what_its_bucket_holds(town: Town) -> None:
    limit = patch(
        "HTTP_FILTER",
        "INSERT_BEFORE",
        local_limit(10),
        context="SIDECAR_INBOUND",
        listener=before_router(portNumber=9080),
    )
    town.apply(patches(limit, app="ratings"))
    assert statuses(town, 25) == {200: 10, 429: 15}
    assert town.stat("ratings", "http_local_rate_limiter.*rate_limited") == 15
    town.apply()
    # Open connections have the filters that they began with, until they are drained.
    town.becomes({200: 25}, lambda: statuses(town, 25))
    town.accepted()


def test_a_filter_s_configuration_comes_by_itself_and_changes_by_itself(town: Town) -> None:
    fetched = {
        "name": "shop-lua",
        "config_discovery": {
            "config_source": {"ads": {}, "resource_api_version": "V3"},
            "type_urls": [f"{TYPES}.http.lua.v3.Lua"],
        },
    }
    inserts = patch(
        "HTTP_FILTER", "INSERT_BEFORE", fetched, context="SIDECAR_OUTBOUND", listener=before_router()
    )

    def says(word: str) -> str:
        value = {"name": "shop-lua", "typed_config": lua(word)}
        return patches(inserts, patch("EXTENSION_CONFIG", "ADD", value, context="SIDECAR_OUTBOUND"))

    def heard() -> str:
        ask(town, **{"x-key": "lua"})
        return str(town.seen("ratings", "lua", 9080)[-1]["headers"].get("x-lua"))

    town.apply(says("one"))
    town.becomes("one", heard)
    listeners = town.stat("client", "listener_manager.listener_(added|modified|in_place_updated)")
    town.apply(says("two"))
    town.becomes("two", heard)
    assert "EcdsConfigDump" in json.dumps(town.plane.get("/debug/config_dump?proxyID=client.shop"))
    assert town.stat("client", "listener_manager.listener_(added|modified|in_place_updated)") == listeners
    town.accepted()


def test_routes_are_patched_and_lead_to_clusters_that_are_added(town: Town) -> None:
    endpoint = {"address": {"socket_address": {"address": OTHER, "port_value": 9080}}}
    added = {
        "name": "other",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "other",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }
    host = {"portNumber": 9080, "vhost": {"name": "ratings.shop.svc.cluster.local:9080"}}
    out = "SIDECAR_OUTBOUND"
    teapot = {"match": {"path": "/tea"}, "direct_response": {"status": 418}}
    named = {"response_headers_to_add": [{"header": {"key": "x-host", "value": "patched"}}]}
    led = {"route": {"cluster": "other"}}
    town.apply(
        patches(
            patch("CLUSTER", "ADD", added, context=out),
            patch("HTTP_ROUTE", "INSERT_FIRST", teapot, context=out, routeConfiguration=host),
            patch("VIRTUAL_HOST", "MERGE", named, context=out, routeConfiguration=host),
            patch("HTTP_ROUTE", "MERGE", led, context=out, routeConfiguration=host),
        )
    )
    found = ask(town)
    assert (found.status, found.server, found.headers["x-host"]) == (200, "other", "patched")
    assert ask(town, "/tea").status == 418
    # The gateway is another proxy, and nobody's patches are its own.
    assert town.call("other", GATE, host="shop.example.com", port=8080).server == "ratings"
    town.apply()
    found = ask(town, "/tea")
    assert (found.status, found.server, found.headers.get("x-host")) == (200, "ratings", None)
    town.accepted()


def gone(town: Town) -> str:
    """Ask once, with a key of its own."""
    key = f"gone-{time.monotonic_ns()}"
    ask(town, **{"x-key": key})
    return key


def test_clusters_are_merged_and_removed(town: Town) -> None:
    mine = {"context": "SIDECAR_OUTBOUND", "cluster": {"service": "ratings.shop.svc.cluster.local"}}
    none = {"circuit_breakers": {"thresholds": [{"max_requests": 0, "max_connections": 0}]}}
    town.apply(patches(patch("CLUSTER", "MERGE_AND_REPLACE_LIST", none, **mine)))
    assert ask(town, **{"x-key": "full"}).status == 503
    assert town.logged("client", "full", 1) == {"503 UO": 1}
    town.apply(patches(patch("CLUSTER", "REMOVE", **mine)))
    # A cluster goes when the routes of that revision are acknowledged.
    town.becomes({"503 NC"}, lambda: {*town.logged("client", gone(town), 1)})
    town.apply()
    town.becomes({200: 5}, lambda: statuses(town, 5))
    town.accepted()


def test_a_listener_of_one_s_own(town: Town) -> None:
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "own",
        "route_config": {
            "name": "own",
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 207}}],
                }
            ],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"},
            }
        ],
    }
    value = {
        "name": "own",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 7777}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    town.apply(patches(patch("LISTENER", "ADD", value)))
    town.becomes(207, lambda: town.call("client", "127.0.0.1", port=7777).status)
    town.apply()
    town.becomes(0, lambda: town.call("client", "127.0.0.1", port=7777).status)
    town.accepted()


def test_filters_that_a_mesh_s_patch_adds_run_at_gateways(town: Town) -> None:
    """As Istio's rate limit sample: its service is not there, and it says that then nobody gets through."""
    asks = {
        "name": "envoy.filters.http.ratelimit",
        "typed_config": {
            "@type": f"{TYPES}.http.ratelimit.v3.RateLimit",
            "domain": "ratings",
            "failure_mode_deny": True,
            "timeout": "1s",
            "rate_limit_service": {
                "grpc_service": {"envoy_grpc": {"cluster_name": "limits"}},
                "transport_api_version": "V3",
            },
        },
    }
    # Nobody knows the name, which must not hold back anything else.
    address = {"socket_address": {"address": "ratelimit.default.svc.cluster.local", "port_value": 8081}}
    nobody = {
        "name": "limits",
        "type": "STRICT_DNS",
        "connect_timeout": "0.2s",
        "http2_protocol_options": {},
        "load_assignment": {
            "cluster_name": "limits",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    by_path = {
        "rate_limits": [
            {"actions": [{"request_headers": {"header_name": ":path", "descriptor_key": "PATH"}}]}
        ]
    }
    town.apply(
        patches(
            patch("HTTP_FILTER", "INSERT_BEFORE", asks, context="GATEWAY", listener=before_router()),
            patch("CLUSTER", "ADD", nobody, cluster={"service": "ratelimit.default.svc.cluster.local"}),
            patch("VIRTUAL_HOST", "MERGE", by_path, context="GATEWAY"),
            app="gate",
        )
    )

    def through() -> int:
        return town.call("other", GATE, host="shop.example.com", port=8080).status

    town.becomes(500, through)
    assert ask(town).status == 200
    town.apply()
    town.becomes(200, through)
    town.accepted()


def test_what_envoy_refuses_stops_nobody(town: Town) -> None:
    """Well-formed, but Envoy wants a prefix: the listener stays as it was, and other patches count."""
    bad = local_limit(1)
    bad["typed_config"]["stat_prefix"] = ""
    limit = patch(
        "HTTP_FILTER",
        "INSERT_BEFORE",
        bad,
        context="SIDECAR_INBOUND",
        listener=before_router(portNumber=9080),
    )
    where = {"portNumber": 9080}
    named = {"response_headers_to_add": [{"header": {"key": "x-host", "value": "patched"}}]}
    good = patch("VIRTUAL_HOST", "MERGE", named, context="SIDECAR_INBOUND", routeConfiguration=where)
    town.apply(patches(limit, good, app="ratings"))
    town.becomes("patched", lambda: ask(town).headers.get("x-host"))
    assert statuses(town, 5) == {200: 5}


def test_a_patch_that_is_no_message_changes_nothing_and_is_told(town: Town) -> None:
    named = {"response_headers_to_add": [{"header": {"key": "x-host", "value": "first"}}]}
    town.apply(patches(patch("VIRTUAL_HOST", "MERGE", named, context="SIDECAR_OUTBOUND")))
    town.becomes("first", lambda: ask(town).headers.get("x-host"))
    wrong = patches(patch("VIRTUAL_HOST", "MERGE", {"domains": "all"}, context="SIDECAR_OUTBOUND"))
    (town.plane.config / "applied.yaml").write_text(wrong)
    what = "expected a list, got the string 'all'; the last valid version stays in use"
    told = f"EnvoyFilter it: spec.configPatches[0].patch.value.domains: {what}"
    town.becomes([told], town.problems)
    assert ask(town).headers.get("x-host") == "first"
