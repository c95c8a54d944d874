"""Gateway: all of its fields, and what Istio's validation refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.keys import Key
from controlplane.model.kinds.gateway import Server, ServerHost, ServerPort, gateway_key, gateways
from controlplane.model.kinds.tls import ServerTLSSettings

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
PORT = {"number": 443, "protocol": "HTTPS", "name": "https"}
SIMPLE = {"mode": "SIMPLE", "credentialName": "shop"}


def server(**fields: Any) -> dict[str, Any]:
    return {"servers": [{"port": PORT, "hosts": ["*"], "tls": SIMPLE, **fields}]}


def test_everything(value: Values) -> None:
    got = value(
        "Gateway",
        {
            "selector": {"istio": "ingressgateway"},
            "servers": [
                {
                    "name": "secure",
                    "bind": "10.0.0.1",
                    "port": {"number": 443, "protocol": "https", "name": "https"},
                    "hosts": ["*", "./Shop.example.com.", "*/a.example.com", "other/*.example.com"],
                    "defaultEndpoint": "127.0.0.1:80",
                    "tls": {
                        "mode": "SIMPLE",
                        "credentialName": "shop",
                        "minProtocolVersion": "TLSV1_2",
                        "maxProtocolVersion": "TLSV1_3",
                        "cipherSuites": ["AES128-SHA"],
                        "ecdhCurves": ["P-256"],
                    },
                },
                {"port": {"number": 80, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]},
            ],
        },
    )
    assert got.selector == (("istio", "ingressgateway"),)
    assert got.servers == (
        Server(
            ServerPort(443, "HTTPS", "https"),
            (
                ServerHost("*", "*"),
                ServerHost("shop", "shop.example.com"),
                ServerHost("*", "a.example.com"),
                ServerHost("other", "*.example.com"),
            ),
            ServerTLSSettings(
                mode="SIMPLE",
                credential_name="shop",
                min_protocol_version="TLSV1_2",
                max_protocol_version="TLSV1_3",
                cipher_suites=("AES128-SHA",),
                ecdh_curves=("P-256",),
            ),
            "10.0.0.1",
            "secure",
        ),
        Server(ServerPort(80, "HTTP", "http"), (ServerHost("*", "*"),)),
    )
    assert gateways.traits(Key("shop", "it"), got).indexes["selector"] == {got.selector}


def test_an_address_is_a_host(value: Values) -> None:
    assert value("Gateway", server(hosts=["10.0.0.1"])).servers[0].hosts == (ServerHost("*", "10.0.0.1"),)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "spec.servers"),
        (server(hosts=[]), "spec.servers[0].hosts"),
        (server(hosts=["shop"]), "spec.servers[0].hosts[0]"),
        (server(hosts=["a b.example.com"]), "spec.servers[0].hosts[0]"),
        (server(hosts=["*", "No/a.example.com"]), "spec.servers[0].hosts[1]"),
        (server(hosts=["~/a.example.com"]), "spec.servers[0].hosts[0]"),
        (server(bind="here"), "spec.servers[0].bind"),
        (server(port={**PORT, "number": 0}), "spec.servers[0].port.number"),
        (server(bind="unix:///run/a.sock"), "spec.servers[0].port.number"),
        (server(bind="unix://a.sock", port={**PORT, "number": 0}), "spec.servers[0].bind"),
        (server(port={**PORT, "protocol": "HTTP"}), "spec.servers[0].tls.mode"),
        (
            server(port={**PORT, "protocol": "HTTP"}, tls={"privateKey": "/k", "httpsRedirect": True}),
            "spec.servers[0].tls.privateKey",
        ),
        (
            server(tls={"mode": "SIMPLE", "credentialNames": ["a", "b", "c"]}),
            "spec.servers[0].tls.credentialNames",
        ),
        (server(port={**PORT, "name": ""}), "spec.servers[0].port.name"),
        (server(port={**PORT, "protocol": "QUIC"}), "spec.servers[0].port.protocol"),
        (server(port={**PORT, "protocol": "UDP"}, tls=None), "spec.servers[0].port.protocol"),
        (server(tls=None), "spec.servers[0].tls"),
        (server(port={**PORT, "protocol": "TCP"}), "spec.servers[0].tls"),
        (server(tls={"mode": "SIMPLE"}), "spec.servers[0].tls.serverCertificate"),
        (
            server(tls={**SIMPLE, "verifyCertificateHash": ["00"]}),
            "spec.servers[0].tls.verifyCertificateHash[0]",
        ),
        (
            server(tls={**SIMPLE, "verifyCertificateSpki": ["x"]}),
            "spec.servers[0].tls.verifyCertificateSpki[0]",
        ),
        (
            server(tls={"mode": "MUTUAL", "serverCertificate": "/c", "privateKey": "/k"}),
            "spec.servers[0].tls.caCertificates",
        ),
        (
            server(tls={"mode": "OPTIONAL_MUTUAL", "serverCertificate": "/c", "privateKey": "/k"}),
            "spec.servers[0].tls.caCertificates",
        ),
        (server(tls={**SIMPLE, "mode": "ISTIO_MUTUAL"}), "spec.servers[0].tls.credentialName"),
        (
            server(tls={"mode": "ISTIO_MUTUAL", "caCertificates": "/ca"}),
            "spec.servers[0].tls.caCertificates",
        ),
        (server(tls={**SIMPLE, "credentialNames": ["b"]}), "spec.servers[0].tls.credentialNames"),
        (
            {"servers": [*server()["servers"], *server(hosts=["a.example.com"])["servers"]]},
            "spec.servers[1].port.name",
        ),
        ({**server(), "selector": {"a b": "c"}}, "spec.selector"),
    ],
)
def test_what_is_refused(refused: Fields, body: dict[str, Any], field: str) -> None:
    assert field in refused("Gateway", body)


def test_what_has_no_effect_is_said(warned: Fields) -> None:
    late = server(tls={**SIMPLE, "httpsRedirect": True})
    assert set(warned("Gateway", late)) == {"spec.servers[0].tls.httpsRedirect"}


def test_a_redirect_needs_no_mode(value: Values) -> None:
    body = server(port={**PORT, "protocol": "HTTP"}, tls={"httpsRedirect": True})
    assert value("Gateway", body).servers[0].tls == ServerTLSSettings(https_redirect=True)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mesh", None),
        ("web", Key("shop", "web")),
        ("./web", Key("shop", "web")),
        ("edge/web", Key("edge", "web")),
        ("web.edge.svc.cluster.local", Key("edge", "web")),
        ("web.edge", Key("edge", "web")),
    ],
)
def test_how_a_gateway_is_named(text: str, meant: Key | None) -> None:
    assert gateway_key(text, "shop") == meant


CHECKS = {"subjectAltNames": ["spiffe://a/b"], "caCrl": "/crl", "verifyCertificateHash": ["00" * 32]}


@pytest.mark.parametrize(
    ("tls", "fields"),
    [
        ({**SIMPLE, **CHECKS}, {*CHECKS}),
        ({"mode": "PASSTHROUGH", "credentialName": "shop", **CHECKS}, {"credentialName", *CHECKS}),
        # Whom the mesh's certificates name is looked at; the rest is not.
        (
            {"mode": "ISTIO_MUTUAL", "maxProtocolVersion": "TLSV1_2", **CHECKS},
            {"caCrl", "verifyCertificateHash", "maxProtocolVersion"},
        ),
        (
            {
                "mode": "MUTUAL",
                "caCertificates": "/ca",
                "tlsCertificates": [
                    {"serverCertificate": "/c", "privateKey": "/k"},
                    {"serverCertificate": "/d", "privateKey": "/l", "caCertificates": "/other"},
                ],
                **CHECKS,
            },
            {"tlsCertificates[1].caCertificates"},
        ),
        ({**SIMPLE, "mode": "MUTUAL", "caCertCredentialName": "ca", **CHECKS}, set()),
    ],
)
def test_nobody_may_think_that_clients_are_checked(
    warned: Fields, value: Values, tls: dict[str, Any], fields: set[str]
) -> None:
    if fields:
        assert set(warned("Gateway", server(tls=tls))) == {f"spec.servers[0].tls.{name}" for name in fields}
    else:
        value("Gateway", server(tls=tls))


def test_a_misspelled_field_of_its_tls_is_refused_and_others_are_warnings(
    refused: Fields, warned: Values
) -> None:
    wrong = server(tls={**SIMPLE, "minProtocolVerison": "TLSV1_3"})
    assert refused("Gateway", wrong) == {
        "spec.servers[0].tls.minProtocolVerison": "is not a known field",
    }
    # What is beside it keeps nobody out.
    assert set(warned("Gateway", server(nmae="x"))) == {"spec.servers[0].nmae"}
