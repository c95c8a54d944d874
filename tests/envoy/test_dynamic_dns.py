"""Hosts of a domain that the proxy resolves itself, on real Envoys, whatever address the client dialled.

The client dials an address where nobody is.  By Host, or by server name, its Envoy finds the server.
"""

from __future__ import annotations

import json
import ssl

from controlplane.lab.fetch import connect
from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab
from tests.support.envoys import MARKS, scenes
from tests.support.residents import ECHO, Resident, outside, web
from tests.support.servers import Issuer
from tests.support.town import Town

pytestmark = MARKS

NOWHERE = "203.0.113.99"
RESOLVER = "203.0.113.53"
NAMES = {
    "a.example.com": ["203.0.113.11"],
    "b.example.com": ["203.0.113.12"],
    "t.example.com": ["203.0.113.13"],
    "b.elsewhere.test": ["203.0.113.12"],
}
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: any, namespace: shop}
spec:
  hosts: ["*.example.com"]
  ports:
  - {number: 8080, name: http, protocol: HTTP}
  - {number: 8443, name: tls, protocol: TLS}
  resolution: DYNAMIC_DNS
"""
OTHER_PORT = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other, namespace: shop}
spec:
  hosts: [known.example.org]
  ports: [{number: 8080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.11}]
"""


def inhabited(lab: Lab) -> Town:
    pair = Issuer().issue("t.example.com")
    pem = lab.directory / "t.pem"
    pem.write_bytes(pair.key + pair.chain)
    pem.chmod(0o644)
    client = PodSpec("client", "shop", "10.244.0.4", {"app": "client"}, "client", nameservers=(RESOLVER,))
    town = Town(
        lab,
        (
            outside("names", 53, App(ECHO / "names.py", ("53", json.dumps(NAMES)))),
            outside("a", 11, web("a", 8080)),
            outside("b", 12, web("b", 8080)),
            outside("t", 13, web("t", 8443, pem=pem)),
            Resident(client),
        ),
        "",
    )
    town.apply(ENTRY)
    town.becomes("a", lambda: asked(town, "a.example.com"))
    return town


town = scenes(inhabited)


def asked(town: Town, host: str) -> str:
    """Who answers an HTTP request for a host, or its status."""
    reply = town.call("client", NOWHERE, host=f"{host}:8080", port=8080)
    return reply.server or str(reply.status)


def test_each_request_goes_to_the_host_that_it_names(town: Town) -> None:
    assert {host: asked(town, host) for host in ("a.example.com", "b.example.com")} == {
        "a.example.com": "a",
        "b.example.com": "b",
    }
    # Nobody has the name: the proxy says so, and does not try where the client dialled.
    assert asked(town, "nobody.example.com") == "503"
    town.accepted()


def test_a_tls_connection_goes_to_the_server_that_it_names(town: Town) -> None:
    where = town.target("client", NOWHERE, 8443)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(where, 5.0) as plain, context.wrap_socket(plain, server_hostname="t.example.com") as secure:
        secure.sendall(b"GET / HTTP/1.1\r\nHost: t.example.com\r\nConnection: close\r\n\r\n")
        assert b'"name": "t"' in b"".join(iter(lambda: secure.recv(65536), b""))
    town.accepted()


def test_strangers_are_resolved_too_if_the_mesh_says_so(town: Town) -> None:
    town.apply(ENTRY + "---" + OTHER_PORT)
    assert asked(town, "b.elsewhere.test") != "b"
    town.mesh("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}\n")
    town.becomes("b", lambda: asked(town, "b.elsewhere.test"))
    assert asked(town, "known.example.org") == "a"
    town.accepted()
