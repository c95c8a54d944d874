"""How proxies behave as the mesh says: headers that they write, and what they refuse to pass on.

client ──► web.shop:80 ──► web      both with sidecars
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from controlplane.lab.fetch import fetch
from tests.support.envoys import MARKS, scenes
from tests.support.residents import pod, web
from tests.support.town import Reply, Town

pytestmark = MARKS

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http: [{rewrite: {authority: web.example.com}, route: [{destination: {host: web}}]}]
"""
RESIDENTS = (pod("client", "shop", 10), pod("web", "shop", 11, web("web", 80)))
QUIET = """
defaultConfig:
  proxyHeaders:
    server: {value: corp}
    requestId: {disabled: true}
    attemptCount: {disabled: true}
    envoyDebugHeaders: {disabled: true}
    preserveHttp1HeaderCase: true
    xForwardedHost: {enabled: true}
    xForwardedPort: {enabled: true}
"""
EDGE = """
defaultConfig:
  connectionSettings: {profile: EDGE, httpMaxStreamDuration: 1s}
"""

town = scenes(lambda lab: Town(lab, RESIDENTS, OBJECTS))


@pytest.fixture(autouse=True)
def usual(town: Town) -> Iterator[None]:
    yield
    town.accepted()
    town.mesh("")
    town.becomes("istio-envoy", lambda: called(town).headers.get("server"))
    town.becomes(200, lambda: called(town, {"x_y": "z"}).status)


def called(town: Town, headers: Mapping[str, str] = {}, path: str = "/") -> Reply:
    return town.call("client", "web.shop", path, headers=headers)


def arrived(reply: Reply) -> dict[str, Any]:
    """The headers that the application saw."""
    found: dict[str, Any] = reply.body["headers"]
    return found


def capitals(town: Town) -> bool:
    """Whether a header comes back as the application wrote it."""
    return (
        "Content-Type"
        in fetch(town.target("client", "web.shop", 80), "/", headers={"Host": "web.shop"}).headers
    )


def test_headers_that_proxies_write(town: Town) -> None:
    reply = called(town)
    assert {"x-request-id", "x-envoy-attempt-count"} <= arrived(reply).keys()
    assert "x-forwarded-host" not in arrived(reply)
    assert "x-envoy-upstream-service-time" in reply.headers
    assert not capitals(town)
    town.mesh(QUIET)
    town.becomes("corp", lambda: called(town).headers.get("server"))
    town.becomes(True, lambda: capitals(town))
    town.becomes("web.shop", lambda: arrived(called(town)).get("x-forwarded-host"))
    reply = called(town)
    assert arrived(reply)["x-forwarded-port"] == "80"
    assert arrived(reply).keys().isdisjoint({"x-request-id", "x-envoy-attempt-count"})
    assert not [name for name in reply.headers if name.startswith("x-envoy")]
    town.mesh("defaultConfig: {proxyHeaders: {server: {disabled: true}}}")
    town.becomes(True, lambda: called(town).headers.get("server", "").startswith("BaseHTTP"))


def test_strangers_are_kept_at_a_distance(town: Town) -> None:
    assert called(town, {"x_y": "z"}).status == 200
    assert called(town, path="/a%2Fb").status == 200
    town.mesh(EDGE)
    town.becomes(400, lambda: called(town, {"x_y": "z"}).status)
    assert called(town).status == 200
    turned = called(town, path="/a%2Fb//c")
    assert (turned.status, turned.headers["location"]) == (307, "/a/b/c")
    # Longer than a stream may last.
    assert called(town, path="/?delay=0.2").status == 200
    assert called(town, path="/?delay=3").status == 504
