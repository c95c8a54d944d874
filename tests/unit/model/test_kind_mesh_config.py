"""MeshConfig: Istio's defaults, the fields that are used, and the ones that are only known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controlplane.model.kinds import BY_NAME
from controlplane.model.kinds.connection_pool import TcpKeepalive
from controlplane.model.kinds.gateway_topology import GatewayTopology
from controlplane.model.kinds.http_effects import HTTPRetry
from controlplane.model.kinds.locality_setting import LocalityLoadBalancerSetting
from controlplane.model.kinds.mesh_config import (
    LabelSelector,
    LabelSelectorRequirement,
    MeshConfig,
    ProxyConfig,
)
from controlplane.model.kinds.proxy_manners import EDGE, ConnectionSettings, ProxyHeaders, settled
from controlplane.model.kinds.sidecar import OutboundTrafficPolicy

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
SECOND = 1_000_000_000


def test_an_empty_document_is_the_default(value: Values) -> None:
    assert value("MeshConfig", {}) == MeshConfig()


def test_everything(value: Values) -> None:
    got = value(
        "MeshConfig",
        {
            "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
            "inboundTrafficPolicy": {"mode": "LOCALHOST"},
            "pathNormalization": {"normalization": "MERGE_SLASHES"},
            "connectTimeout": "3s",
            "tcpKeepalive": {"time": "10s"},
            "defaultServiceExportTo": ["~"],
            "defaultVirtualServiceExportTo": ["."],
            "defaultDestinationRuleExportTo": [".", "infra"],
            "rootNamespace": "mesh",
            "trustDomain": "example.org",
            "trustDomainAliases": ["old.org"],
            "enableAutoMtls": False,
            "accessLogFile": "/dev/stdout",
            "accessLogFormat": '{"path": "%PATH%"}',
            "accessLogEncoding": "JSON",
            "defaultHttpRetryPolicy": {"attempts": 5, "retryOn": "5xx"},
            "localityLbSetting": {"enabled": True},
            "protocolDetectionTimeout": "5s",
            "h2UpgradePolicy": "UPGRADE",
            "dnsRefreshRate": "5s",
            "proxyListenPort": 16001,
            "proxyInboundListenPort": 16006,
            "discoverySelectors": [
                {
                    "matchLabels": {"mesh": "on"},
                    "matchExpressions": [
                        {"key": "env", "operator": "In", "values": ["a"]},
                        {"key": "x", "operator": "Exists"},
                    ],
                }
            ],
            "defaultConfig": {
                "concurrency": 0,
                "proxyMetadata": {"A": "b"},
                "gatewayTopology": {"numTrustedProxies": 2, "forwardClientCertDetails": "APPEND_FORWARD"},
            },
        },
    )
    assert got == MeshConfig(
        outbound_traffic_policy=OutboundTrafficPolicy("REGISTRY_ONLY"),
        inbound_traffic_policy="LOCALHOST",
        path_normalization="MERGE_SLASHES",
        connect_timeout=3 * SECOND,
        tcp_keepalive=TcpKeepalive(time=10 * SECOND),
        default_service_export_to=("~",),
        default_virtual_service_export_to=(".",),
        default_destination_rule_export_to=(".", "infra"),
        root_namespace="mesh",
        trust_domain="example.org",
        trust_domain_aliases=("old.org",),
        enable_auto_mtls=False,
        access_log_file="/dev/stdout",
        access_log_format='{"path": "%PATH%"}',
        access_log_encoding="JSON",
        default_http_retry_policy=HTTPRetry(5, retry_on="5xx"),
        locality_lb_setting=LocalityLoadBalancerSetting(enabled=True),
        protocol_detection_timeout=5 * SECOND,
        h2_upgrade_policy="UPGRADE",
        dns_refresh_rate=5 * SECOND,
        proxy_listen_port=16001,
        proxy_inbound_listen_port=16006,
        discovery_selectors=(
            LabelSelector(
                (("mesh", "on"),),
                (LabelSelectorRequirement("env", "In", ("a",)), LabelSelectorRequirement("x", "Exists")),
            ),
        ),
        default_config=ProxyConfig(0, (("A", "b"),), GatewayTopology(2, "APPEND_FORWARD")),
    )


def test_a_policy_that_does_not_say_its_mode_allows_any(value: Values) -> None:
    assert value("MeshConfig", {"outboundTrafficPolicy": {}}) == MeshConfig()


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({"connectTimeout": "soon"}, "connectTimeout", "not a duration"),
        ({"connectTimeout": "0s"}, "connectTimeout", "too short"),
        ({"outboundTrafficPolicy": {"mode": "X"}}, "outboundTrafficPolicy.mode", "not allowed"),
        ({"proxyListenPort": 70000}, "proxyListenPort", "from 0 to 65535"),
        ({"proxyListenPort": 15006}, "proxyInboundListenPort", "equals proxyListenPort"),
        ({"proxyHttpPort": 15001}, "proxyHttpPort", "traffic is redirected"),
        ({"rootNamespace": "A B"}, "rootNamespace", "name of a namespace"),
        ({"trustDomain": "a b"}, "trustDomain", "not a DNS name"),
        ({"defaultVirtualServiceExportTo": ["~"]}, "defaultVirtualServiceExportTo[0]", "no namespace"),
        ({"enableAutoMtls": "yes"}, "enableAutoMtls", "expected true or false"),
        (
            {"discoverySelectors": [{"matchLabels": {"a": "*"}}]},
            "discoverySelectors[0].matchLabels[a]",
            "value of a label",
        ),
        (
            {"discoverySelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]},
            "discoverySelectors[0].matchExpressions[0].values",
            "is missing",
        ),
        (
            {
                "discoverySelectors": [
                    {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}
                ]
            },
            "discoverySelectors[0].matchExpressions[0].values",
            "cannot be used with Exists",
        ),
        (
            {"discoverySelectors": [{"matchExpressions": [{"key": "a", "operator": "Like"}]}]},
            "discoverySelectors[0].matchExpressions[0].operator",
            "not allowed",
        ),
        ({"defaultConfig": {"concurrency": -1}}, "defaultConfig.concurrency", "got the number -1"),
    ],
)
def test_mesh_configs_that_are_refused(
    refused: Fields, document: dict[str, Any], field: str, message: str
) -> None:
    assert message in refused("MeshConfig", document)[field]


def test_known_fields_without_effect_and_unknown_fields_are_warnings(warned: Fields) -> None:
    document = {
        "extensionProviders": [{"name": "x", "zipkin": {}}],
        "enablePrometheusMerge": True,
        "defaultConfig": {"tracing": {}},
        "accesLogFile": "/dev/stdout",
    }
    warnings = warned("MeshConfig", document)
    inner = {"defaultConfig.tracing", "extensionProviders[0].zipkin"}
    assert set(warnings) == {*document} - {"defaultConfig", "extensionProviders"} | inner
    assert "has no effect: proxies send no spans" in warnings["extensionProviders[0].zipkin"]
    assert "has no effect: proxies send no spans" in warnings["defaultConfig.tracing"]
    assert "did you mean accessLogFile?" in warnings["accesLogFile"]


def test_what_says_how_it_is_anyway_is_no_warning(value: Values) -> None:
    document = {
        "enablePrometheusMerge": False,
        "ingressControllerMode": "OFF",
        "defaultProviders": {"metrics": ["prometheus"]},
        "defaultConfig": {"discoveryAddress": "istiod.istio-system.svc:15012", "statusPort": 15020},
    }
    assert value("MeshConfig", document) == MeshConfig()


def test_a_default_provider_is_the_access_log(value: Values) -> None:
    providers = [
        {"name": "text", "envoyFileAccessLog": {"path": "/dev/stderr", "logFormat": {"text": "%PATH%"}}},
        {"name": "json", "envoyFileAccessLog": {"logFormat": {"labels": {"code": "%RESPONSE_CODE%"}}}},
    ]

    def log(*names: str) -> tuple[str, str, str]:
        said = {"accessLogFile": "/own", "extensionProviders": providers}
        got = value("MeshConfig", {**said, "defaultProviders": {"accessLogging": [*names]}})
        return got.access_log_file, got.access_log_format, got.access_log_encoding

    assert log() == ("/own", "", "TEXT")
    assert log("text") == ("/dev/stderr", "%PATH%", "TEXT")
    assert log("json") == ("/dev/stdout", '{"code": "%RESPONSE_CODE%"}', "JSON")
    assert log("envoy") == ("/dev/stdout", "", "TEXT")


def test_default_access_logs_that_are_none(warned: Fields) -> None:
    names = {"accessLogging": ["zipkin", "envoy", "envoy"]}
    warnings = warned("MeshConfig", {"defaultProviders": names})
    assert set(warnings) == {f"defaultProviders.accessLogging[{index}]" for index in (0, 2)}
    assert "is no file" in warnings["defaultProviders.accessLogging[0]"]
    assert "one access log too many" in warnings["defaultProviders.accessLogging[2]"]


@pytest.mark.parametrize("text", ["%PROTOCOL%", "[1]"])
def test_a_format_that_is_no_json_is_the_default(warned: Fields, text: str) -> None:
    document = {"accessLogEncoding": "JSON", "accessLogFormat": text}
    assert "is no JSON object" in warned("MeshConfig", document)["accessLogFormat"]


def connections(value: Values, **said: object) -> ConnectionSettings:
    found: MeshConfig = value("MeshConfig", {"defaultConfig": {"connectionSettings": said}})
    return found.default_config.connection_settings


def test_a_profile_is_what_nobody_says(value: Values) -> None:
    mesh = connections(value, profile="EDGE", httpMaxConcurrentStreams=200, httpMergeSlashes=False)
    own = connections(value, httpMaxConcurrentStreams=300, httpIdleTimeout="0s")
    assert settled(mesh) == replace(EDGE, max_concurrent_streams=200, merge_slashes=False)
    assert settled(mesh, own) == replace(
        EDGE, max_concurrent_streams=300, merge_slashes=False, idle_timeout=0
    )
    inside = connections(value, profile="SIDECAR")
    assert settled(mesh, inside) == ConnectionSettings(max_concurrent_streams=200, merge_slashes=False)
    assert settled(inside) == ConnectionSettings() == settled()


def test_headers_of_proxies(value: Values) -> None:
    def headers(said: dict[str, object]) -> ProxyHeaders:
        found: MeshConfig = value("MeshConfig", {"defaultConfig": {"proxyHeaders": said}})
        return found.default_config.proxy_headers

    assert headers({"server": {"disabled": True, "value": "x"}}).server == ""
    assert headers({"server": {}}).server == "istio-envoy"
    assert headers({"server": {"value": "x"}}).server == "x"
    assert (
        headers({"requestId": {}, "attemptCount": {"disabled": False}, "xForwardedHost": {}})
        == ProxyHeaders()
    )
    assert headers({"setCurrentClientCertDetails": {"chain": True, "uri": False}}).client_cert == (
        ("chain", True),
        ("uri", False),
    )


@pytest.mark.parametrize(
    ("message", "field", "said"),
    [
        ("connectionSettings", "http2InitialStreamWindowSize", 1),
        ("connectionSettings", "httpMaxConcurrentStreams", 0),
        ("connectionSettings", "profile", "MIDDLE"),
        ("connectionSettings", "httpDrainTimeout", "-1s"),
        ("proxyHeaders", "forwardedClientCert", "NEVER"),
    ],
)
def test_manners_that_no_envoy_has(message: str, field: str, said: object) -> None:
    raw = {"kind": "MeshConfig", "defaultConfig": {message: {field: said}}}
    problems = BY_NAME["MeshConfig"].parse(raw).problems
    assert [problem.field for problem in problems] == [f"defaultConfig.{message}.{field}"]
