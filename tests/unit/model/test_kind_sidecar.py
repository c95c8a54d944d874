"""Sidecar: all of its fields, and what Istio's validation refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.kinds import sidecars
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings, TCPSettings
from controlplane.model.kinds.http_route import Destination
from controlplane.model.kinds.sidecar import (
    IstioEgressListener,
    IstioIngressListener,
    OutboundTrafficPolicy,
    SidecarPort,
)
from controlplane.model.kinds.tls import ServerTLSSettings, TLSCertificate

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
POOL = {"tcp": {"maxConnections": 5}}
POOLED = ConnectionPoolSettings(TCPSettings(5))
PORT = {"number": 80}


def ingress(**listener: Any) -> dict[str, Any]:
    return {"ingress": [{"port": PORT, **listener}]}


SIMPLE = {"mode": "SIMPLE", "serverCertificate": "/c", "privateKey": "/k"}


def secured(**tls: Any) -> dict[str, Any]:
    return ingress(port={"number": 443, "protocol": "HTTPS"}, tls=tls)


def egress(**listener: Any) -> dict[str, Any]:
    return {"egress": [{"hosts": ["./*"], **listener}]}


def test_everything(value: Values) -> None:
    got = value(
        "Sidecar",
        {
            "workloadSelector": {"labels": {"app": "web"}},
            "ingress": [
                {
                    "port": {"number": 9080, "protocol": "HTTPS", "name": "https"},
                    "bind": "0.0.0.0",
                    "captureMode": "IPTABLES",
                    "defaultEndpoint": "127.0.0.1:8080",
                    "connectionPool": POOL,
                    "tls": {
                        "mode": "MUTUAL",
                        "serverCertificate": "/c",
                        "privateKey": "/k",
                        "caCertificates": "/ca",
                        "minProtocolVersion": "TLSV1_2",
                        "cipherSuites": ["AES128-SHA"],
                    },
                },
                {"port": {"number": 9081}, "defaultEndpoint": "unix:///run/app.sock"},
            ],
            "egress": [
                {
                    "hosts": ["*/b.com"],
                    "port": {"number": 3306, "protocol": "MySQL"},
                    "bind": "127.0.0.1",
                    "captureMode": "NONE",
                },
                {"hosts": ["~/*"], "port": {"protocol": "TCP"}, "bind": "unix:///run/out.sock"},
                {"hosts": ["./*", "istio-system/*", "~other/a.com"]},
            ],
            "outboundTrafficPolicy": {
                "mode": "ALLOW_ANY",
                "egressProxy": {"host": "gw", "subset": "s", "port": {"number": 443}},
            },
            "inboundConnectionPool": POOL,
        },
    )
    assert got.workload_selector == (("app", "web"),)
    assert got.ingress == (
        IstioIngressListener(
            SidecarPort(9080, "HTTPS", "https"),
            "0.0.0.0",
            "IPTABLES",
            "127.0.0.1:8080",
            ServerTLSSettings(
                mode="MUTUAL",
                server_certificate="/c",
                private_key="/k",
                ca_certificates="/ca",
                min_protocol_version="TLSV1_2",
                cipher_suites=("AES128-SHA",),
            ),
            POOLED,
        ),
        IstioIngressListener(SidecarPort(9081), default_endpoint="unix:///run/app.sock"),
    )
    assert got.egress == (
        IstioEgressListener(("*/b.com",), SidecarPort(3306, "MySQL"), "127.0.0.1", "NONE"),
        IstioEgressListener(("~/*",), SidecarPort(0, "TCP"), "unix:///run/out.sock"),
        IstioEgressListener(("./*", "istio-system/*", "~other/a.com")),
    )
    assert got.outbound_traffic_policy == OutboundTrafficPolicy("ALLOW_ANY", Destination("gw", "s", 443))
    assert got.inbound_connection_pool == POOLED
    assert sidecars.selector is not None
    assert sidecars.selector(got) == (("app", "web"),)


def test_a_sidecar_without_selector_is_for_everybody(value: Values) -> None:
    assert sidecars.selector is not None
    assert sidecars.selector(value("Sidecar", egress())) == ()


def test_a_policy_that_does_not_say_its_mode_is_strict(value: Values) -> None:
    assert value("Sidecar", {"outboundTrafficPolicy": {}}).outbound_traffic_policy.mode == "REGISTRY_ONLY"


def test_certificates_may_come_as_a_list(value: Values) -> None:
    tls = {
        "mode": "SIMPLE",
        "tlsCertificates": [{"serverCertificate": "/c", "privateKey": "/k"}],
    }
    secured = ingress(tls=tls, port={"number": 443, "protocol": "HTTPS"})
    assert value("Sidecar", secured).ingress[0].tls.tls_certificates == (TLSCertificate("/c", "/k"),)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"ingress": [{}]}, "spec.ingress[0].port", "is missing"),
        ({"ingress": [{"port": {}}]}, "spec.ingress[0].port.number", "is missing"),
        ({"ingress": [{"port": PORT}, {"port": PORT}]}, "spec.ingress[1].port.number", "given twice"),
        (
            ingress(port={"number": 1, "protocol": "X"}),
            "spec.ingress[0].port.protocol",
            "not a known protocol",
        ),
        (ingress(bind="web"), "spec.ingress[0].bind", "no IP address"),
        (ingress(captureMode="X"), "spec.ingress[0].captureMode", "not allowed"),
        (
            ingress(defaultEndpoint="10.0.0.1:80"),
            "spec.ingress[0].defaultEndpoint",
            "not an endpoint of the workload",
        ),
        (
            ingress(defaultEndpoint="127.0.0.1"),
            "spec.ingress[0].defaultEndpoint",
            "not an endpoint of the workload",
        ),
        (
            ingress(defaultEndpoint="127.0.0.1:99999"),
            "spec.ingress[0].defaultEndpoint",
            "not an endpoint of the workload",
        ),
        (ingress(tls={"mode": "SIMPLE"}), "spec.ingress[0].tls.serverCertificate", "is missing"),
        (
            ingress(tls={"credentialName": "a", "credentialNames": ["b"]}),
            "spec.ingress[0].tls.credentialNames",
            "excludes credentialName",
        ),
        ({"egress": [{}]}, "spec.egress[0].hosts", "is missing"),
        (egress(hosts=["a.com"]), "spec.egress[0].hosts[0]", "names no namespace"),
        (egress(hosts=["~/a.com"]), "spec.egress[0].hosts[0]", "imports nothing but names a host"),
        (egress(hosts=["A/b"]), "spec.egress[0].hosts[0]", "no namespace"),
        (egress(hosts=["./a b"]), "spec.egress[0].hosts[0]", "not a DNS name"),
        (egress(bind="unix:///run/a"), "spec.egress[0].bind", "no port number"),
        (egress(bind="unix:///run/a", port={"number": 9}), "spec.egress[0].bind", "no port number"),
        (
            egress(bind="unix:///run/a", port={"protocol": "HTTP"}, captureMode="IPTABLES"),
            "spec.egress[0].captureMode",
            "cannot redirect to a socket",
        ),
        (
            {"egress": [{"hosts": ["./*"]}, {"hosts": ["./*"], "port": PORT}]},
            "spec.egress[0]",
            "is not the last one",
        ),
        (
            {"egress": [{"hosts": ["./*"], "port": PORT}, {"hosts": ["b/*"], "port": PORT}]},
            "spec.egress[1].port.number",
            "80 is given twice",
        ),
        (
            {"egress": [{"hosts": ["./*"], "port": {}, "bind": "unix:///run/a"}] * 2},
            "spec.egress[1].bind",
            "is given twice",
        ),
        (ingress(tls=SIMPLE), "spec.ingress[0].tls", "not allowed with protocol ''"),
        (secured(mode="ISTIO_MUTUAL"), "spec.ingress[0].tls.mode", "is for gateways"),
        (secured(**SIMPLE, httpsRedirect=True), "spec.ingress[0].tls.httpsRedirect", "is for gateways"),
        (secured(**{**SIMPLE, "mode": "MUTUAL"}), "spec.ingress[0].tls.caCertificates", "is missing"),
        (
            {"outboundTrafficPolicy": {"mode": "ALLOW_ANY", "egressProxy": {"host": "gw"}}},
            "spec.outboundTrafficPolicy.egressProxy.port",
            "is missing",
        ),
        (egress(port={"protocol": "HTTP"}), "spec.egress[0].port.number", "is missing"),
        (egress(port=PORT, bind="web"), "spec.egress[0].bind", "neither an IP address nor a socket"),
        (
            {"egress": [{"hosts": ["./*"]}, {"hosts": ["a/*"]}]},
            "spec.egress[1]",
            "second listener without a port",
        ),
        ({"outboundTrafficPolicy": {"mode": "SOME"}}, "spec.outboundTrafficPolicy.mode", "not allowed"),
        (
            {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY", "egressProxy": {"host": "a"}}},
            "spec.outboundTrafficPolicy.egressProxy",
            "needs mode ALLOW_ANY",
        ),
        (
            {"outboundTrafficPolicy": {"mode": "ALLOW_ANY", "egressProxy": {}}},
            "spec.outboundTrafficPolicy.egressProxy.host",
            "is missing",
        ),
        (
            {**egress(), "workloadSelector": {"labels": {"a": "*"}}},
            "spec.workloadSelector.labels[a]",
            "value of a label",
        ),
    ],
)
def test_sidecars_that_are_refused(refused: Fields, spec: dict[str, Any], field: str, message: str) -> None:
    assert message in refused("Sidecar", spec)[field]


def test_sidecars_with_a_warning(warned: Fields) -> None:
    assert "did you mean hosts?" in warned("Sidecar", egress(host=["a"]))["spec.egress[0].host"]
    assert (
        "is empty" in warned("Sidecar", {**egress(), "workloadSelector": {}})["spec.workloadSelector.labels"]
    )


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (ingress(port={**PORT, "protocol": "UDP"}), "spec.ingress[0].port.protocol", "passes by"),
        (egress(port={**PORT, "protocol": "UDP"}), "spec.egress[0].port.protocol", "passes by"),
        (egress(hosts=["a/b.c", "a/b.c"]), "spec.egress[0].hosts[1]", "named twice"),
        (egress(hosts=["*/*", "a/b.c"]), "spec.egress[0].hosts", "imports everything"),
        (secured(**SIMPLE, cipherSuites=["X"]), "spec.ingress[0].tls.cipherSuites[0]", "not known"),
        (secured(**SIMPLE, insecureSkipVerify=True), "spec.ingress[0].tls.insecureSkipVerify", "no effect"),
        (
            secured(
                mode="SIMPLE",
                tlsCertificates=[{"serverCertificate": "/c", "privateKey": "/k", "caCertificates": "/a"}],
            ),
            "spec.ingress[0].tls.tlsCertificates[0].caCertificates",
            "no effect",
        ),
    ],
)
def test_fields_that_do_nothing(warned: Fields, spec: dict[str, Any], field: str, message: str) -> None:
    assert message in warned("Sidecar", spec)[field]


def test_everything_but_some_is_no_repetition(value: Values) -> None:
    assert value("Sidecar", egress(hosts=["*/*", "~other/a.com"])).egress[0].hosts == ("*/*", "~other/a.com")
