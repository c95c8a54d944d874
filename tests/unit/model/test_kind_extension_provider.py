"""MeshConfig.extensionProviders: who can be asked whether a request may pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.kinds.extension_provider import ExtAuthzProvider, ExtensionProvider, RequestBody

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
GRPC = {"service": "a.b", "port": 9000}


def mesh(*providers: dict[str, Any]) -> dict[str, Any]:
    return {"extensionProviders": list(providers)}


def test_everything(value: Values) -> None:
    http = {
        "service": "auth/Authz.auth.svc.cluster.local",
        "port": 8000,
        "timeout": "2s",
        "pathPrefix": "/check",
        "failOpen": True,
        "clearRouteCache": True,
        "statusOnError": "503",
        "includeRequestHeadersInCheck": ["cookie"],
        "includeAdditionalHeadersInCheck": {"b": "1", "a": "2"},
        "includeRequestBodyInCheck": {
            "maxRequestBytes": 10,
            "allowPartialMessage": True,
            "packAsBytes": True,
        },
        "headersToUpstreamOnAllow": ["x-*"],
        "headersToDownstreamOnDeny": ["y"],
        "headersToDownstreamOnAllow": ["z"],
    }
    read = value(
        "MeshConfig", mesh({"name": "h", "envoyExtAuthzHttp": http}, {"name": "g", "envoyExtAuthzGrpc": GRPC})
    )
    assert read.extension_providers == (
        ExtensionProvider(
            "h",
            ExtAuthzProvider(
                service="authz.auth.svc.cluster.local",
                port=8000,
                grpc=False,
                namespace="auth",
                timeout=2_000_000_000,
                fail_open=True,
                clear_route_cache=True,
                status_on_error=503,
                body=RequestBody(10, True, True),
                path_prefix="/check",
                headers_in_check=("cookie",),
                additional_headers=(("a", "2"), ("b", "1")),
                headers_upstream=("x-*",),
                headers_on_deny=("y",),
                headers_on_allow=("z",),
            ),
        ),
        ExtensionProvider("g", ExtAuthzProvider("a.b", 9000, grpc=True)),
    )


def test_providers_of_other_kinds_are_known(warned: Fields) -> None:
    told = warned("MeshConfig", mesh({"name": "z", "zipkin": {"service": "z", "port": 1}}))
    assert set(told) == {"extensionProviders[0].zipkin"}


@pytest.mark.parametrize(
    ("providers", "field"),
    [
        ([{"envoyExtAuthzGrpc": GRPC}], "[0].name"),
        ([{"name": "a[", "envoyExtAuthzGrpc": GRPC}], "[0].name"),
        ([{"name": "a", "envoyExtAuthzGrpc": GRPC}] * 2, "[1].name"),
        ([{"name": "a", "envoyExtAuthzGrpc": GRPC, "zipkin": {}}], "[0].zipkin"),
        ([{"name": "a", "envoyExtAuthzGrpc": {"port": 1}}], "[0].envoyExtAuthzGrpc.service"),
        ([{"name": "a", "envoyExtAuthzGrpc": {"service": "a.b"}}], "[0].envoyExtAuthzGrpc.port"),
        ([{"name": "a", "envoyExtAuthzGrpc": {**GRPC, "service": "*.b"}}], "[0].envoyExtAuthzGrpc.service"),
        (
            [{"name": "a", "envoyExtAuthzGrpc": {**GRPC, "statusOnError": "x"}}],
            "[0].envoyExtAuthzGrpc.statusOnError",
        ),
        (
            [{"name": "a", "envoyExtAuthzGrpc": {**GRPC, "includeRequestBodyInCheck": {}}}],
            "[0].envoyExtAuthzGrpc.includeRequestBodyInCheck.maxRequestBytes",
        ),
        (
            [{"name": "a", "envoyExtAuthzHttp": {**GRPC, "pathPrefix": "x"}}],
            "[0].envoyExtAuthzHttp.pathPrefix",
        ),
    ],
)
def test_what_is_refused(refused_mesh: Fields, providers: list[dict[str, Any]], field: str) -> None:
    assert f"extensionProviders{field}" in refused_mesh(mesh(*providers))


@pytest.fixture
def refused_mesh(read: Callable[..., Any]) -> Fields:
    def of(body: dict[str, Any]) -> dict[str, str]:
        parsed = read("MeshConfig", body)
        assert parsed.value is None
        return {problem.field: problem.message for problem in parsed.problems if problem.level == "error"}

    return of
